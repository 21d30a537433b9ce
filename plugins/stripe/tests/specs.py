"""Stripe's own description of its API, against which every request of every test is held.

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
    folders.append(Path(__file__).resolve().parents[3].parent / "shared" / "specs")
    return next((found for folder in folders if (found := Path(folder) / NAME).exists()), None)


@cache
def _paths():
    return json.loads(path().read_text())["paths"]


def problems(method, url_path, params):
    """Return what is wrong with a request: unknown, missing or of the wrong type."""
    for template, operations in sorted(_paths().items(), key=lambda item: item[0].count("{")):
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, url_path) and method.lower() in operations:
            operation = operations[method.lower()]
            break
    else:
        return [f"there is no {method} {url_path}"]
    if method == "GET":
        query = [p for p in operation.get("parameters", ()) if p["in"] == "query"]
        schema = {
            "type": "object",
            "properties": {p["name"]: p["schema"] for p in query},
            "required": [p["name"] for p in query if p.get("required")],
            "additionalProperties": False,
        }
    else:
        schema = operation["requestBody"]["content"][FORM]["schema"]
    return list(_check(params, schema, f"{method} {url_path}", top=True))


def _check(value, schema, where, *, top=False):
    """Tell what is wrong with a value of a form, in which everything is text."""
    if "anyOf" in schema:
        tried = [list(_check(value, option, where)) for option in schema["anyOf"]]
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
                yield from _check(part, properties[name], f"{where}.{name}")
            elif isinstance(extra, dict):
                yield from _check(part, extra, f"{where}.{name}")
            elif not extra or top:
                yield f"{where}: {name} is unknown"
    elif kind == "array":
        if not isinstance(value, list):
            yield f"{where}: {value!r} is no list"
            return
        for place, part in enumerate(value):
            yield from _check(part, schema["items"], f"{where}[{place}]")
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
