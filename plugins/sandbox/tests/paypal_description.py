"""PayPal's own description of its API: every request and every answer of the tests is held against it.

The files are data of PayPal's and no part of this repository. They are looked for in the folder
that PAYSESSION_SPECS names, or in shared/specs beside the repository.
"""

import json
import os
import re
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from jsonschema import Draft7Validator

FILES = (
    "checkout_orders_v2.json",
    "payments_payment_v2.json",
    "notifications_webhooks_v1.json",
    "customer_disputes_v1.json",
    "vault_payment_tokens_v3.json",
)
UNDECLARED = {
    # PayPal takes a request id with every write and documents it for these elsewhere.
    ("patch", "/v2/checkout/orders/{id}"): {"paypal-request-id", "prefer"},
    ("post", "/v2/payments/authorizations/{authorization_id}/void"): {"paypal-request-id"},
}
NEWER = {
    # Not in the files of 2024: PayPal's pages about iDEAL and the like send it with the order, and PayPal's
    # own client sends the other.
    "POST /v2/checkout/orders request": {"/processing_instruction"},
    "POST /v3/vault/setup-tokens request": {"/payment_source/paypal/experience_context/user_action"},
}
ANY = {}
"""The schema of what is not described."""
SHOWN_AT = {
    "checkout-order": "/v2/checkout/orders/O1",
    "authorization": "/v2/payments/authorizations/A1",
    "capture": "/v2/payments/captures/C1",
    "refund": "/v2/payments/refunds/R1",
    "dispute": "/v1/customer/disputes/PP-D-1",
}


def folder():
    """Return where the files lie, or None."""
    above = Path(__file__).resolve().parents[4:6]
    named = [os.environ["PAYSESSION_SPECS"]] if "PAYSESSION_SPECS" in os.environ else []
    for place in [*named, *(parent / "shared" / "specs" for parent in above)]:
        for found in (Path(place) / "paypal", Path(place)):
            if (found / FILES[0]).exists():
                return found
    return None


def available():
    return folder() is not None


def need():
    """Skip without the files, on a person's machine; in CI they must be there."""
    if available():
        return
    if os.environ.get("CI"):
        pytest.fail("PayPal's OpenAPI files are missing: set PAYSESSION_SPECS")
    pytest.skip("PayPal's OpenAPI files are not here: set PAYSESSION_SPECS to their folder")


class Spec:
    """The operations of all files, each with the components of its own."""

    def __init__(self):
        self.operations = []
        # An order is shown again and again, and a check takes milliseconds: what passed is remembered, with
        # the schema, whose id no other may have then.
        self._passed = {}
        for name in FILES:
            tree = json.loads((folder() / name).read_text())
            repair(tree)
            if "token_id_request" in tree["components"]["schemas"]:
                # Not in the file of 2024; PayPal's pages about its vault turn a setup token into a payment token.
                kind = tree["components"]["schemas"]["token_id_request"]["properties"]["type"]
                kind["enum"] = [*kind["enum"], "SETUP_TOKEN"]
            for path, methods in tree["paths"].items():
                pattern = re.compile(re.sub(r"\\\{[^}]*\\\}", "([^/]+)", re.escape(path)))
                for method, operation in methods.items():
                    if isinstance(operation, dict) and "responses" in operation:
                        self.operations.append((method, path, pattern, operation, tree))

    def find(self, method, path):
        for known, template, pattern, operation, tree in self.operations:
            match = pattern.fullmatch(path)
            if known == method.lower() and match:
                return template, operation, tree, match.groups()
        raise AssertionError(f"PayPal has no {method} {path}")

    def check(self, exchange):
        """Check one exchange of the fake; answers that a test made faulty are not checked."""
        path = exchange.path.partition("?")[0]
        template, operation, tree, values = self.find(exchange.method, path)
        where = f"{exchange.method} {path}"
        self.check_headers(where, template, exchange, operation, tree)
        for value, name in zip(values, re.findall(r"\{([^}]*)\}", template), strict=True):
            schema = next(
                (p["schema"] for p in parameters(operation, tree) if (p["in"], p["name"]) == ("path", name)),
                ANY,
            )
            self.check_value(f"{where} {name}", schema, value, tree)
        self.check_query(where, exchange, operation, tree)
        body = resolve(operation.get("requestBody"), tree)
        schema = body["content"]["application/json"]["schema"] if body else None
        if exchange.body:
            assert schema is not None, f"{where}: PayPal takes no body here"
            assert exchange.headers["content-type"] == "application/json", where
            self.check_value(f"{where} request", schema, json.loads(exchange.body), tree, sent=True)
        else:
            assert not (body or {}).get("required"), f"{where}: a body is missing"
            assert "content-length" not in exchange.headers or exchange.headers["content-length"] == "0", (
                where
            )
        if exchange.answer is None or exchange.faulty:
            return
        status = str(exchange.answer.status)
        responses = operation["responses"]
        response = resolve(responses.get(status) or responses["default"], tree)
        content = response.get("content")
        if not content:
            assert not exchange.answer.body, f"{where} {status}: PayPal answers nothing here"
            return
        answer = json.loads(exchange.answer.body)
        self.check_value(f"{where} {status}", content["application/json"]["schema"], answer, tree)

    def check_event(self, event):
        """Check a notification, and the object that it shows."""
        for path, document in (
            ("/v1/notifications/webhooks-events/WH-1", event),
            (SHOWN_AT[event["resource_type"]], event["resource"]),
        ):
            _, operation, tree, _ = self.find("GET", path)
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            self.check_value(event["event_type"], schema, document, tree)

    def check_query(self, where, exchange, operation, tree):
        declared = {p["name"]: p["schema"] for p in parameters(operation, tree) if p["in"] == "query"}
        for name, values in parse_qs(exchange.path.partition("?")[2], keep_blank_values=True).items():
            assert name in declared, f"{where}: PayPal knows no parameter {name} here"
            (value,) = values
            self.check_value(f"{where} {name}", declared[name], value, tree)

    def check_headers(self, where, template, exchange, operation, tree):
        declared = {p["name"].lower(): p for p in parameters(operation, tree) if p["in"] == "header"}
        for name, value in exchange.headers.items():
            if name.startswith("paypal-") or name == "prefer":
                if name == "paypal-auth-assertion":
                    continue  # documented for all requests: /api/rest/requests/#paypal-auth-assertion
                if name in UNDECLARED.get((exchange.method.lower(), template), ()):
                    continue
                assert name in declared, f"{where}: PayPal knows no header {name} here"
                self.check_value(f"{where} {name}", declared[name]["schema"], value, tree)
        for name, parameter in declared.items():
            assert name in exchange.headers or not parameter.get("required"), f"{where}: no header {name}"

    def check_value(self, where, schema, value, tree, *, sent=False):
        known = id(schema), sent, json.dumps(value, sort_keys=True)
        if known in self._passed:
            return
        whole = {**schema, "components": tree["components"]}
        errors = sorted(Draft7Validator(whole).iter_errors(value), key=str)
        assert not errors, f"{where}: {errors[0].json_path}: {errors[0].message}"
        unknown = list(unknown_fields(schema, value, tree, "", sent=sent))
        unknown = [name for name in unknown if name not in NEWER.get(where, ())]
        assert not unknown, f"{where}: unknown fields {unknown}"
        self._passed[known] = schema


@cache
def spec():
    return Spec()


def parameters(operation, tree):
    return [resolve(parameter, tree) for parameter in operation.get("parameters", [])]


def resolve(node, tree):
    while isinstance(node, dict) and "$ref" in node:
        target = tree
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def repair(node):
    """Make JSON Schema of OpenAPI's dialect, in place."""
    if isinstance(node, list):
        for part in node:
            repair(part)
    if not isinstance(node, dict):
        return
    for part in node.values():
        repair(part)
    if node.get("nullable") is True and isinstance(node.get("type"), str):
        node["type"] = [node["type"], "null"]
    pattern = node.get("pattern")
    if isinstance(pattern, str):
        try:
            re.compile(pattern)
        except re.error:
            # PayPal's e-mail pattern has a class that runs backwards; the rest of it is sound.
            repaired = pattern.replace("\\x21-\\x5a\\x53-\\x7f", "\\x21-\\x7f")
            re.compile(repaired)
            node["pattern"] = repaired


def unknown_fields(schema, value, tree, at, *, sent):
    """Go through a value and yield what no part of the schema knows, or what may not be sent."""
    if isinstance(value, list):
        items = [s["items"] for s in parts(schema, tree) if "items" in s]
        for place, part in enumerate(value):
            for item in items[:1]:
                yield from unknown_fields(item, part, tree, f"{at}/{place}", sent=sent)
    if not isinstance(value, dict):
        return
    known = {}
    free = True
    for part in parts(schema, tree):
        for name, inner in part.get("properties", {}).items():
            known.setdefault(name, []).append(inner)
            free = False
        if part.get("additionalProperties") is True:
            return
    if free:
        return
    for name, inner in value.items():
        if name not in known:
            yield f"{at}/{name}"
            continue
        if sent and any(option.get("readOnly") for option in known[name]):
            yield f"{at}/{name} (read only)"
        # A notification goes back as it came, with what PayPal wrote into it.
        inside = sent and name != "webhook_event"
        found = [
            list(unknown_fields(option, inner, tree, f"{at}/{name}", sent=inside)) for option in known[name]
        ]
        yield from min(found, key=len)


def parts(schema, tree):
    """Yield a schema and all that it is made of."""
    schema = resolve(schema, tree)
    yield schema
    for word in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(word, []):
            yield from parts(part, tree)
