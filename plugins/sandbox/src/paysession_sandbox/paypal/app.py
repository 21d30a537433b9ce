"""The fake PayPal's side of HTTP, without sockets: routes, tokens, request ids and faults."""

from __future__ import annotations

import json
import re
import threading
from base64 import b64encode
from collections import defaultdict
from copy import deepcopy
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qs, urlencode, urlsplit

from attrs import evolve, field, frozen

from paysession_sandbox.paypal import documents, payer, vault
from paysession_sandbox.paypal.ledger import Ledger
from paysession_sandbox.paypal.objects import Authorization, Capture, Dispute, Order, Refund
from paysession_sandbox.paypal.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from paysession_sandbox.paypal.clock import Clock
    from paysession_sandbox.paypal.faults import Fault

__all__ = ["CALLS", "Answer", "App", "Event", "Exchange"]

TOKEN_LIVES: Final = 32_400
_ID: Final = "([A-Z0-9]+)"
CALLS: Final = (
    ("POST", "/v2/checkout/orders", "create"),
    ("GET", "/v2/checkout/orders/ID", "show"),
    ("PATCH", "/v2/checkout/orders/ID", "patch"),
    ("POST", "/v2/checkout/orders/ID/authorize", "authorize"),
    ("POST", "/v2/checkout/orders/ID/capture", "capture_order"),
    ("GET", "/v2/payments/authorizations/ID", "show_authorization"),
    ("POST", "/v2/payments/authorizations/ID/capture", "capture"),
    ("POST", "/v2/payments/authorizations/ID/void", "void"),
    ("POST", "/v2/payments/authorizations/ID/reauthorize", "reauthorize"),
    ("GET", "/v2/payments/captures/ID", "show_capture"),
    ("POST", "/v2/payments/captures/ID/refund", "refund"),
    ("GET", "/v2/payments/refunds/ID", "show_refund"),
    ("GET", "/v1/customer/disputes", "show_disputes"),
    ("GET", "/v1/customer/disputes/ID", "show_dispute"),
    ("POST", "/v3/vault/setup-tokens", "begin_to_save"),
    ("GET", "/v3/vault/setup-tokens/ID", "show_setup"),
    ("POST", "/v3/vault/payment-tokens", "save"),
    ("GET", "/v3/vault/payment-tokens", "show_all_saved"),
    ("GET", "/v3/vault/payment-tokens/ID", "show_saved"),
    ("DELETE", "/v3/vault/payment-tokens/ID", "forget"),
    ("GET", "/v1/notifications/webhooks", "show_webhooks"),
    ("POST", "/v1/notifications/webhooks", "webhook"),
    ("PATCH", "/v1/notifications/webhooks/ID", "change_webhook"),
    ("POST", "/v1/notifications/verify-webhook-signature", "verify"),
)
"""Every call that is offered: its method, its path with ID for an id, and its name."""
_ROUTES: Final = [(method, re.compile(path.replace("ID", _ID)), call) for method, path, call in CALLS]
_TAKES_JSON: Final = (
    "create",
    "patch",
    "authorize",
    "capture_order",
    "capture",
    "reauthorize",
    "refund",
    "begin_to_save",
    "save",
    "verify",
)
"""The calls whose requests may have a body: without its type PayPal answers 415, even where none is sent."""
_SHOWN: Final = {
    "show": "order",
    "show_authorization": "authorization",
    "show_capture": "capture",
    "show_refund": "refund",
    "show_dispute": "dispute",
    "show_setup": "setup",
    "show_saved": "saved",
}
_LISTED_BY: Final = {"show_disputes": "disputed_transaction_id", "show_all_saved": "customer_id"}
_MINIMAL: Final = ("id", "status", "payment_source", "payer", "customer", "links")
_PAYMENTS: Final = ("capture", "reauthorize", "void", "refund")
_VAULT: Final = ("begin_to_save", "save")
_KEPT: Final = {
    "orders": timedelta(hours=6),
    "payments": timedelta(days=45),
    "vault": timedelta(hours=3),
}


@frozen
class Answer:
    """What is answered over HTTP; ``twisted``: changed by a test, so that it need not fit PayPal's files."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(factory=dict[str, str])
    twisted: bool = False


_HTML: Final = {"Content-Type": "text/html; charset=utf-8"}
_NOT_THERE: Final = Answer(404, b"Things do not appear to be working at the moment.", _HTML)


@frozen
class Exchange:
    """One request as it came, and what was answered.

    Attributes:
        call: The name of the call, such as ``capture``; empty for the payer's pages.
        method: The HTTP method.
        path: The path and the query.
        headers: With lower-case names.
        body: The request's body.
        answer: The answer; None: none was sent.
        faulty: Something was made to go wrong with it.
    """

    call: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    answer: Answer | None
    faulty: bool


@frozen
class Event:
    """A notification that PayPal would send: its JSON."""

    document: dict[str, Any]

    @property
    def body(self) -> bytes:
        """The bytes that are signed and sent."""
        return json.dumps(self.document, ensure_ascii=False).encode()


class App:
    """The fake PayPal without sockets.

    Args:
        clock: The time at PayPal.
        client_id: The REST app's client id.
        client_secret: Its secret.
        verify: Answers the postback, given it and the ids of the webhooks that are registered; None: no
            notification is PayPal's.

    Attributes:
        lock: Held while anything is read or changed.
        events: Every notification.
        tokens: Until when each token is good.
        done: What came of each write, by the call with its id and the request id: when it was, and the kind
            and the id of the object that it is about.
        number: The number of the last request or notification.
    """

    def __init__(
        self,
        clock: Clock,
        client_id: str,
        client_secret: str,
        verify: Callable[[bytes, Collection[str]], bool] | None = None,
    ) -> None:
        self.clock = clock
        self.ledger = Ledger(clock, self._tell)
        self.base = ""
        self.events: list[Event] = []
        self.told: Callable[[Event], None] = lambda _event: None
        self.faults: dict[str, list[Fault | None]] = defaultdict(list)
        self._basic = "Basic " + b64encode(f"{client_id}:{client_secret}".encode()).decode()
        self._verify = verify
        self.number = 0
        self.tokens: dict[str, datetime] = {}
        self.done: dict[tuple[str, str], tuple[datetime, str, str]] = {}
        self.webhooks: dict[str, dict[str, Any]] = {}
        self.lock = threading.RLock()
        self.twist: Callable[[str, Any], Any] = lambda _, document: document

    def _next(self) -> int:
        self.number += 1
        return self.number

    def call_of(self, method: str, path: str) -> tuple[str, str]:
        """Return the name of a call, and the id in its path."""
        if path == "/v1/oauth2/token":
            return "token", ""
        for known, pattern, call in _ROUTES:
            match = pattern.fullmatch(path)
            if known == method and match is not None:
                return call, match.group(1) if match.groups() else ""
        return "", ""

    def take_fault(self, call: str) -> Fault | None:
        """Return what is to go wrong with this call, or None."""
        with self.lock:
            waiting = self.faults[call]
            return waiting.pop(0) if waiting else None

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Carry a request out."""
        url = urlsplit(path)
        call, identifier = self.call_of(method, url.path)
        with self.lock:
            if not call:
                return self._page(method, url.path, parse_qs(url.query))
            if call == "token":
                return self._token(headers, body)
            debug_id = f"f{self._next():012x}"
            try:
                if call in _LISTED_BY:
                    identifier = parse_qs(url.query).get(_LISTED_BY[call], [""])[0]
                status, document = self._carry_out(call, identifier, headers, body)
            except Problem as problem:
                status, document = problem.status, problem.document(call, debug_id)
            except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
                # A body of another shape than PayPal's files give it.
                status, document = 400, Problem(400).document(call, debug_id)
            shown = self.twist(call, deepcopy(document))
            answer = _json(status, shown, {"Paypal-Debug-Id": debug_id})
            return evolve(answer, twisted=shown != document)

    # --- tokens ---

    def _token(self, headers: Mapping[str, str], body: bytes) -> Answer:
        if headers.get("authorization") != self._basic or b"grant_type=client_credentials" not in body:
            error = {"error": "invalid_client", "error_description": "Client Authentication failed"}
            return _json(401, error)
        token = f"A21AA{self._next():040d}"
        self.tokens[token] = self.clock() + timedelta(seconds=TOKEN_LIVES)
        # For a page that knows the payer: https://developer.paypal.com/sdk/js/v5/save-without-purchase/paypal
        wanted = {"id_token": f"{token}.id"} if b"response_type=id_token" in body else {}
        return _json(
            200,
            {
                **wanted,
                "scope": "https://uri.paypal.com/services/payments/payment",
                "access_token": token,
                "token_type": "Bearer",
                "app_id": "APP-80W284485P519543T",
                "expires_in": TOKEN_LIVES,
                "nonce": "n",
            },
        )

    def forget_tokens(self) -> None:
        """Let every token be worth nothing from now on."""
        with self.lock:
            self.tokens.clear()

    # --- calls ---

    def _carry_out(
        self, call: str, identifier: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, Any] | None]:
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if self.tokens.get(token, datetime.min.replace(tzinfo=self.clock().tzinfo)) <= self.clock():
            raise Problem(401)
        if headers.get("content-type") != "application/json" and call in _TAKES_JSON:
            raise Problem(415)
        if call == "verify":
            genuine = self._verify is not None and self._verify(body, self.webhooks)
            return 200, {"verification_status": "SUCCESS" if genuine else "FAILURE"}
        tree = _parsed(body)
        if call == "forget":
            self.ledger.forget(identifier)
            return 204, None
        if call.endswith(("webhook", "webhooks")):
            return self._webhook(call, identifier, tree)
        if call.startswith("show"):
            return 200, self._show(call, identifier)
        if call == "patch":
            self.ledger.patch(identifier, cast("list[Any]", tree))
            return 204, None
        return self._write(call, identifier, headers, cast("dict[str, Any]", tree or {}))

    def _webhook(self, call: str, identifier: str, tree: Any) -> tuple[int, dict[str, Any]]:
        if call == "show_webhooks":
            return 200, {"webhooks": list(self.webhooks.values())}
        if call == "webhook":
            if any(known["url"] == tree["url"] for known in self.webhooks.values()):
                raise Problem(400, "WEBHOOK_URL_ALREADY_EXISTS")
            row = {
                "id": f"WH{self._next():08d}",
                "url": tree["url"],
                "event_types": tree["event_types"],
            }
            self.webhooks[row["id"]] = row
            return 201, row
        if identifier not in self.webhooks:
            raise Problem(404, "INVALID_RESOURCE_ID")
        (step,) = tree
        self.webhooks[identifier]["event_types"] = step["value"]
        return 200, self.webhooks[identifier]

    def _show(self, call: str, identifier: str) -> dict[str, Any]:
        if call == "show_all_saved":
            return vault.listed(self.ledger, identifier, self.base)
        if call == "show":
            self.ledger.order(identifier)  # one that nobody approved in time is gone
        if call == "show_disputes":
            return self._listed(identifier)
        return self._document(_SHOWN[call], identifier)

    def _document(self, kind: str, identifier: str) -> dict[str, Any]:
        """Return an object as it is by now."""
        if kind == "setup":
            return vault.setup(vault.setup_of(self.ledger, identifier), self.base)
        if kind == "saved":
            return vault.saved(self.ledger, identifier, self.base)
        if kind == "order":
            return documents.order(self.ledger.orders[identifier], self.base)
        if kind == "authorization":
            order, authorization = self.ledger.authorization(identifier)
            return documents.authorization(authorization, order, self.base)
        if kind == "refund":
            order, capture, refund = self.ledger.refund_of(identifier)
            return documents.refund(refund, capture, order, self.base)
        if kind == "dispute":
            order, capture, dispute = self.ledger.dispute_of(identifier)
            return documents.dispute(dispute, capture, order, self.base)
        order, capture = self.ledger.capture_of(identifier)
        return documents.capture(capture, order, self.base)

    def _listed(self, capture_id: str) -> dict[str, Any]:
        """Return a list of disputes."""
        rows = self.ledger.disputes(capture_id)
        items = [documents.dispute_summary(row, order, self.base) for order, row in rows]
        link = {"href": f"{self.base}/v1/customer/disputes", "rel": "self", "method": "GET"}
        return {**({"items": items} if items else {}), "links": [link]}

    def _write(
        self, call: str, identifier: str, headers: Mapping[str, str], tree: dict[str, Any]
    ) -> tuple[int, dict[str, Any] | None]:
        """Carry a change out once per request id: a repetition is shown what the first has become."""
        request_id = headers.get("paypal-request-id")
        wanted = call in _VAULT or (call == "create" and "payment_source" in tree)
        if wanted and request_id is None:
            raise Problem(400, "PAYPAL_REQUEST_ID_REQUIRED")
        key = (f"{call} {identifier}", request_id or "")
        kept = _KEPT["payments" if call in _PAYMENTS else "vault" if call in _VAULT else "orders"]
        if request_id is not None and key in self.done:
            at, kind, of = self.done[key]
            if self.clock() < at + kept:
                return 201 if call in ("capture", "reauthorize", "refund") else 200, self._document(kind, of)
        kind, of = self._effect(call, identifier, tree)
        if request_id is not None:
            self.done[key] = (self.clock(), kind, of)
        if headers.get("prefer") == "return=representation":
            return 200 if call == "void" else 201, self._document(kind, of)
        return (204, None) if call == "void" else (201, _minimal(self._document(kind, of)))

    def _effect(self, call: str, identifier: str, tree: dict[str, Any]) -> tuple[str, str]:
        """Carry a change out; return the kind and the id of the object that it is about."""
        ledger = self.ledger
        if call == "refund":
            return "refund", ledger.refund(identifier, tree)[-1].id
        if call == "capture":
            return "capture", ledger.capture(identifier, tree)[-1].id
        if call == "reauthorize":
            return "authorization", ledger.reauthorize(identifier, tree)[-1].id
        if call == "void":
            return "authorization", ledger.void(identifier).id
        if call == "begin_to_save":
            return "setup", vault.begin(ledger, tree).id
        if call == "save":
            return "saved", vault.turn(ledger, tree)
        if call == "create":
            return "order", ledger.create(tree).id
        pay = ledger.authorize if call == "authorize" else ledger.capture_order
        return "order", pay(identifier, tree).id

    # --- the payer's browser ---

    def _page(self, method: str, path: str, query: Mapping[str, list[str]]) -> Answer:
        if path.startswith("/agreements/approve"):
            return self._page_of_setup(method, path, query)
        order_id = query.get("token", [""])[0]
        try:
            order = self.ledger.order(order_id)
        except Problem:
            return _NOT_THERE
        if method == "GET" and path == "/checkoutnow":
            return Answer(200, payer.order(order), _HTML)
        if method != "POST" or path not in ("/checkoutnow/approve", "/checkoutnow/cancel"):
            return Answer(404)
        approves = path.endswith("approve")
        if approves:
            self.ledger.approve(order_id)
        return Answer(302, headers={"Location": self.back(order, approved=approves)})

    def _page_of_setup(self, method: str, path: str, query: Mapping[str, list[str]]) -> Answer:
        token = query.get("approval_session_id", [""])[0]
        try:
            row = vault.setup_of(self.ledger, token)
        except Problem:
            return _NOT_THERE
        if method == "GET" and path == "/agreements/approve":
            return Answer(200, payer.setup(row), _HTML)
        if method != "POST" or path not in ("/agreements/approve/yes", "/agreements/approve/no"):
            return Answer(404)
        approves = path.endswith("yes")
        if approves:
            vault.approve(self.ledger, token)
        context = row.told.get("experience_context", {})
        back = context.get("return_url" if approves else "cancel_url") or f"{self.base}/thanks"
        return Answer(
            302, headers={"Location": _with(back, approval_token_id=token, approval_session_id=token)}
        )

    def back(self, order: Order, *, approved: bool) -> str:
        """Return the URL that the payer's browser is sent back to."""
        back = order.context.get("return_url" if approved else "cancel_url") or f"{self.base}/thanks"
        return _with(back, token=order.id, **({"PayerID": documents.PAYER} if approved else {}))

    # --- notifications ---

    def _tell(self, kind: str, order: Order, row: object) -> None:
        if isinstance(row, Dispute):
            capture = next(c for c in order.captures if row in c.disputes)
            resource, name = documents.dispute(row, capture, order, self.base), "dispute"
        elif isinstance(row, Refund):
            capture = next(c for c in order.captures if row in c.refunds)
            resource, name = documents.refund(row, capture, order, self.base), "refund"
        elif isinstance(row, Capture):
            resource, name = documents.capture(row, order, self.base), "capture"
        elif isinstance(row, Authorization):
            resource, name = documents.authorization(row, order, self.base), "authorization"
        else:
            resource, name = documents.order(order, self.base), "checkout-order"
        event = Event(
            {
                "id": f"WH-{self._next():017d}",
                "event_version": "1.0",
                "create_time": self.clock().strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                "resource_type": name,
                "resource_version": "2.0",
                "event_type": kind,
                "summary": kind.replace(".", " ").lower(),
                "resource": resource,
                "links": [],
            }
        )
        self.events.append(event)
        self.told(event)


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body) if body else None
    except ValueError:
        raise Problem(400, "MALFORMED_REQUEST_JSON") from None


def _json(status: int, document: object, headers: Mapping[str, str] | None = None) -> Answer:
    body = json.dumps(document).encode() if document is not None else b""
    return Answer(status, body, {"Content-Type": "application/json", **(headers or {})})


def _minimal(document: dict[str, Any]) -> dict[str, Any]:
    """Return what PayPal shows of an object to who does not ask for the whole of it."""
    shown: dict[str, Any] = {name: document[name] for name in _MINIMAL if name in document}
    units = [row for row in document.get("purchase_units", ()) if "payments" in row]
    if units:
        keep = ("reference_id", "payments")
        shown["purchase_units"] = [{name: row[name] for name in keep if name in row} for row in units]
    return shown


def _with(address: str, **query: str) -> str:
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"
