"""Stripe's own description of its API: every request and every answer of the tests is held against it.

The file is not part of the repository: it lies in the folder that PAYSESSION_SPECS names, or in
shared/specs beside the repository.
"""

import json
import os
import re
from functools import cache
from pathlib import Path

NAME = "stripe/openapi_v1_trimmed.json"
FORM = "application/x-www-form-urlencoded"


def path():
    """Return where the description lies, or None."""
    folders = [os.environ["PAYSESSION_SPECS"]] if "PAYSESSION_SPECS" in os.environ else []
    above = Path(__file__).resolve().parents
    folders += [above[3].parent / "shared" / "specs", above[3].parent.parent / "shared" / "specs"]
    return next((found for folder in folders if (found := Path(folder) / NAME).exists()), None)


@cache
def tree():
    document = json.loads(path().read_text())
    _repair(document["components"])
    _repair(document["paths"])
    return document


def _repair(node):
    """Make JSON Schema of OpenAPI's dialect, in place."""
    if isinstance(node, list):
        for part in node:
            _repair(part)
    if not isinstance(node, dict):
        return
    for part in node.values():
        _repair(part)
    if node.get("nullable") is True:
        if isinstance(node.get("type"), str):
            node["type"] = [node["type"], "null"]
        if "enum" in node:
            node["enum"] = [*node["enum"], None]
        if "anyOf" in node:
            node["anyOf"] = [*node["anyOf"], {"type": "null"}]


@cache
def _operations():
    found = []
    for template, methods in sorted(tree()["paths"].items(), key=lambda item: item[0].count("{")):
        pattern = re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)))
        found += [
            (pattern, method.upper(), operation)
            for method, operation in methods.items()
            if method in ("get", "post", "delete")
        ]
    return found


def operation(method, url_path):
    return next((o for pattern, m, o in _operations() if m == method and pattern.fullmatch(url_path)), None)


def resolve(schema):
    while "$ref" in schema:
        schema = tree()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


# --- requests -------------------------------------------------------------------------------------


def request_problems(method, url_path, params):
    """Return what is wrong with a request: unknown, missing or of the wrong type."""
    found = operation(method, url_path)
    if found is None:
        return [f"there is no {method} {url_path}"]
    if method == "GET":
        query = [p for p in found.get("parameters", ()) if p["in"] == "query"]
        schema = {
            "type": "object",
            "properties": {p["name"]: p["schema"] for p in query},
            "required": [p["name"] for p in query if p.get("required")],
            "additionalProperties": False,
        }
    else:
        schema = found["requestBody"]["content"][FORM]["schema"]
    return list(_sent(params, schema, f"{method} {url_path}", top=True))


def _sent(value, schema, where, *, top=False):
    """Yield what is wrong with a value of a form, in which everything is text."""
    if "anyOf" in schema:
        tried = [list(_sent(value, option, where)) for option in schema["anyOf"]]
        if all(tried):
            yield from min(tried, key=len)
        return
    kind = schema.get("type")
    if kind == "object":
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is no object"
            return
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties", not properties)
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{where}: {name} is missing"
        for name, part in value.items():
            if name in properties:
                yield from _sent(part, properties[name], f"{where}.{name}")
            elif isinstance(extra, dict):
                yield from _sent(part, extra, f"{where}.{name}")
            elif not extra or top:
                yield f"{where}: {name} is unknown"
    elif kind == "array":
        if not isinstance(value, list):
            yield f"{where}: {value!r} is no list"
            return
        for place, part in enumerate(value):
            yield from _sent(part, schema["items"], f"{where}[{place}]")
    elif not isinstance(value, str):
        yield f"{where}: {value!r} is no {kind}"
    elif kind == "integer" and not re.fullmatch(r"-?[0-9]+", value):
        yield f"{where}: {value!r} is no integer"
    elif kind == "boolean" and value not in ("true", "false"):
        yield f"{where}: {value!r} is no boolean"
    elif kind == "string" and "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    elif kind == "string" and len(value) > schema.get("maxLength", len(value)):
        yield f"{where}: {value[:20]!r} is too long"


# --- answers --------------------------------------------------------------------------------------


def answer_problems(method, url_path, status, found):
    """Return what is wrong with an answer: missing, unknown or of the wrong type."""
    asked = operation(method, url_path)
    if asked is None:
        return [f"there is no {method} {url_path}"]
    responses = asked["responses"]
    schema = responses[str(status) if str(status) in responses else "default"]["content"]["application/json"][
        "schema"
    ]
    return list(_shown(found, schema, f"{method} {url_path} {status}"))


def object_problems(found):
    """Return what is wrong with an object that is shown elsewhere, such as in an event."""
    return list(_shown(found, {"$ref": f"#/{found['object']}"}, found["object"]))


_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def _shown(value, schema, where):
    schema = resolve(schema)
    if "anyOf" in schema:
        tried = [list(_shown(value, option, where)) for option in schema["anyOf"]]
        if all(tried):
            yield from min(tried, key=lambda problems: (len(problems), str(problems)))
        return
    kinds = schema.get("type", ())
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    fits = [kind for kind in kinds if isinstance(value, _TYPES[kind])]
    if isinstance(value, bool) and "boolean" not in kinds:
        fits = []
    if kinds and not fits:
        yield f"{where}: {value!r:.60} is no {kinds}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum'][:12]}"
    if isinstance(value, dict) and "properties" in schema:
        properties = schema["properties"]
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{where}: {name} is missing"
        for name, part in value.items():
            if name in properties:
                yield from _shown(part, properties[name], f"{where}.{name}")
            elif schema.get("additionalProperties") in (None, False):
                yield f"{where}: {name} is unknown"
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from _shown(part, schema.get("items", {}), f"{where}[{place}]")
    elif isinstance(value, str) and len(value) > schema.get("maxLength", len(value)):
        yield f"{where}: {value[:20]!r} is too long"
