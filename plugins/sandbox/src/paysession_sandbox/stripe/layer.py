"""Stripe without an account: localstripe in a process of its own, and what it lacks in front of it.

localstripe (https://github.com/adrienverge/localstripe) imitates Stripe's API. It is under the GPL,
so it is neither imported nor copied here: it is started, and spoken to. The provider speaks today's
API and is not bent to what localstripe does not know; `Sandbox` stands between the two and

- keeps from it the parameters that it refuses, and remembers those that show in an answer;
- adds ``amount_received``, ``amount_capturable``, ``amount_captured`` and the search;
- keeps a payment method with its customer where ``setup_future_usage`` asks for it;
- refuses what Stripe refuses: a change of a PaymentIntent that is in no state for it, a capture or a
  refund of more than there is;
- captures several times, where the account may.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

from attrs import Factory, frozen

from paysession_sandbox.stripe.local import StripeRefusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType
    from typing import Self

    from paysession_sandbox.stripe.local import LocalStripe

__all__ = ["Answer", "Request", "Sandbox", "decode_form"]

Json = dict[str, Any]

_PART: Final = re.compile(r"\[([^\]]*)\]")
_INTENT: Final = re.compile(r"/v1/payment_intents/(pi_\w+)(?:/(\w+))?")
_UNDERSTOOD: Final = ("amount", "currency", "customer", "payment_method", "metadata", "capture_method")
_OPEN: Final = ("requires_payment_method", "requires_confirmation", "requires_action")


@frozen
class Request:
    """A request as it came: the parameters of its query or of its form, as nested values of text."""

    method: str
    path: str
    params: Json
    headers: Mapping[str, str] = Factory(dict[str, str])


@frozen
class Answer:
    """An answer; None as the status: the connection is cut without one."""

    status: int | None
    body: bytes = b""
    headers: Mapping[str, str] = Factory(dict[str, str])

    @classmethod
    def json(cls, status: int, found: Json) -> Answer:
        """Return an answer of JSON."""
        return cls(status, json.dumps(found).encode())


def decode_form(text: str) -> Json:
    """Return a form, or a query, as nested values: ``a[b]=1&c[0]=2`` is ``{"a": {"b": "1"}, "c": ["2"]}``."""
    tree: Json = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        names = [name.partition("[")[0], *_PART.findall(name)]
        place = tree
        for part in names[:-1]:
            place = place.setdefault(part, {})
        place[names[-1]] = value
    return {name: _lists(value) for name, value in tree.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    found: Json = {str(name): _lists(part) for name, part in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return list(found.values()) if found and all(name.isdigit() for name in found) else found


class Sandbox:
    """Answers as Stripe does; as a context, at a local address.

    Args:
        local: localstripe.
        multicapture: Whether the account may capture one payment several times.

    Attributes:
        url: The address, within the context.
    """

    def __init__(self, local: LocalStripe, *, multicapture: bool = True) -> None:
        self.local = local
        self._multicapture = multicapture
        self._lock = threading.Lock()
        self._remembered: dict[str, Json] = {}
        self._captured: dict[str, list[int]] = {}
        self._server: ThreadingHTTPServer | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def serve(self, request: Request) -> Answer:
        """Answer a request."""
        try:
            with self._lock:
                return Answer.json(200, self.carry_out(request))
        except StripeRefusal as refusal:
            return Answer.json(refusal.status, {"error": refusal.error})

    def captures(self, intent: str) -> list[int]:
        """Return the captures of a PaymentIntent one by one, which Stripe itself does not tell."""
        received = self._show(self.local.call("GET", f"/v1/payment_intents/{intent}"), [])["amount_received"]
        return [part for part in self._captured.get(intent, [received]) if part]

    # --- what a request does ----------------------------------------------------------------------

    def carry_out(self, request: Request) -> Json:
        """Carry a request out; return the answer's body, or raise `StripeRefusal`."""
        params = dict(request.params)
        expand: list[str] = list(params.pop("expand", ()))
        if request.path == "/v1/payment_intents/search":
            return self._search(params)
        if request.path == "/v1/refunds" and request.method == "POST":
            return self._refund(params)
        if request.path == "/v1/payment_intents" and request.method == "POST":
            return self._create(params, expand)
        intent = _INTENT.fullmatch(request.path)
        if intent is None:
            return self.local.call(request.method, request.path, params)
        if request.method == "GET":
            return self._show(self.local.call("GET", request.path), expand)
        act = {
            None: self._change,
            "confirm": self._confirm,
            "_authenticate": self._authenticate,
            "capture": self._capture,
            "cancel": self._cancel,
        }[intent[2]]
        return self._show(act(intent[1], params), expand)

    def _create(self, params: Json, expand: list[str]) -> Json:
        known = {name: value for name, value in params.items() if name in _UNDERSTOOD}
        made = self.local.call("POST", "/v1/payment_intents", {**known, "amount": int(params["amount"])})
        self._remembered[made["id"]] = {
            name: params[name] for name in ("description", "setup_future_usage") if name in params
        }
        return self._show(made, expand)

    def _change(self, intent: str, params: Json) -> Json:
        self._state(intent, _OPEN)
        known = {name: value for name, value in params.items() if name in _UNDERSTOOD}
        if "amount" in known:
            known["amount"] = int(known["amount"])
        return self.local.call("POST", f"/v1/payment_intents/{intent}", known)

    def _confirm(self, intent: str, params: Json) -> Json:
        self._state(intent, ("requires_payment_method", "requires_confirmation"))
        path = f"/v1/payment_intents/{intent}"
        if "payment_method" in params:
            # A name for tests, such as pm_card_visa, becomes a payment method when it is looked up.
            card = self.local.call("GET", f"/v1/payment_methods/{params['payment_method']}")
            self.local.call("POST", path, {"payment_method": card["id"]})
        confirmed = self.local.call("POST", f"{path}/confirm")
        if confirmed["status"] == "requires_action" and params.get("off_session") == "true":
            # The payer is away, so the bank's wish to see them is a decline.
            secret = {"client_secret": confirmed["client_secret"], "success": "false"}
            self.local.call("POST", f"{path}/_authenticate", secret)
            error = {
                "code": "authentication_required",
                "decline_code": "authentication_required",
                "message": "Your card was declined. This transaction requires authentication.",
            }
            self._remembered[intent]["last_payment_error"] = error
            raise StripeRefusal(402, **error)
        self._remembered.setdefault(intent, {}).pop("last_payment_error", None)
        return self._kept_for_later(confirmed)

    def _authenticate(self, intent: str, params: Json) -> Json:
        path = f"/v1/payment_intents/{intent}/_authenticate"
        return self._kept_for_later(self.local.call("POST", path, params))

    def _kept_for_later(self, intent: Json) -> Json:
        """Attach what paid to the customer, if it is to be kept."""
        kept = "setup_future_usage" in self._remembered.get(intent["id"], {})
        if kept and intent["customer"] and intent["status"] in ("requires_capture", "succeeded"):
            path = f"/v1/payment_methods/{intent['payment_method']}/attach"
            self.local.call("POST", path, {"customer": intent["customer"]})
        return intent

    def _capture(self, intent: str, params: Json) -> Json:
        found = self._state(intent, ("requires_capture",))
        parts = self._captured.setdefault(intent, [])
        left = int(found["amount"]) - sum(parts)
        amount = int(params.get("amount_to_capture", left))
        final = params.get("final_capture", "true") == "true"
        if amount > left:
            raise StripeRefusal(400, code="amount_too_large", param="amount_to_capture", message="Too much.")
        if not final and not self._multicapture:
            raise StripeRefusal(400, param="final_capture", message="Multicapture is not available.")
        marks = self._remembered.setdefault(intent, {}).setdefault("metadata", {})
        marks.update(params.get("metadata", {}))
        parts.append(amount)
        if not final:
            return found
        return self.local.call(
            "POST", f"/v1/payment_intents/{intent}/capture", {"amount_to_capture": sum(parts)}
        )

    def _cancel(self, intent: str, params: Json) -> Json:
        del params
        self._state(intent, (*_OPEN, "requires_capture"))
        return self.local.call("POST", f"/v1/payment_intents/{intent}/cancel")

    def _refund(self, params: Json) -> Json:
        path = f"/v1/payment_intents/{params['payment_intent']}"
        intent = self._show(self.local.call("GET", path), ["latest_charge.refunds"])
        charge = intent["latest_charge"]
        left = intent["amount_received"] - sum(
            refund["amount"] for refund in charge["refunds"]["data"] if refund["balance_transaction"]
        )
        amount = int(params.get("amount", left))
        if left == 0:
            raise StripeRefusal(400, code="charge_already_refunded", message="It has been refunded.")
        if amount > left:
            raise StripeRefusal(
                400, param="amount", message="Refund amount is greater than unrefunded amount."
            )
        known = ("payment_intent", "metadata")
        made = self.local.call(
            "POST", "/v1/refunds", {"amount": amount} | {n: params[n] for n in known if n in params}
        )
        return {**made, "reason": params.get("reason")}

    def _search(self, params: Json) -> Json:
        wanted = re.fullmatch(r"metadata\['(\w+)'\]:'(\w+)'", params["query"])
        if wanted is None:
            raise StripeRefusal(400, param="query", message="This query is not understood.")
        name, value = wanted.groups()
        every = self.local.call("GET", "/v1/payment_intents", {"limit": 1000})["data"]
        found = [self._show(intent, []) for intent in every if intent["metadata"].get(name) == value]
        return {
            "object": "search_result",
            "url": "/v1/payment_intents/search",
            "has_more": False,
            "data": found,
        }

    def _state(self, intent: str, allowed: tuple[str, ...]) -> Json:
        found = self.local.call("GET", f"/v1/payment_intents/{intent}")
        if found["status"] not in allowed:
            raise StripeRefusal(
                400,
                code="payment_intent_unexpected_state",
                message=f"This PaymentIntent's status is {found['status']}.",
            )
        return found

    # --- what an answer shows ---------------------------------------------------------------------

    def _show(self, intent: Json, expand: list[str]) -> Json:
        """Return a PaymentIntent as Stripe shows it."""
        remembered = self._remembered.get(intent["id"], {})
        charge: Json | None = intent.pop("latest_charge", None)
        received = sum(self._captured.get(intent["id"], ()))
        shown: Json | str | None = None
        if charge is not None:
            refunds = self._refunds(charge["id"])
            if charge["captured"] and charge["status"] == "succeeded":
                released = sum(r["amount"] for r in refunds["data"] if not r["balance_transaction"])
                received = charge["amount"] - released
            charge |= {"amount_captured": received, "disputed": False, "refunds": refunds}
            if "latest_charge.refunds" not in expand:
                del charge["refunds"]
            shown = charge if any(path.startswith("latest_charge") for path in expand) else charge["id"]
        capturable = int(intent["amount"]) - received if intent["status"] == "requires_capture" else 0
        return {
            **intent,
            **{name: value for name, value in remembered.items() if name != "metadata"},
            "metadata": {**intent["metadata"], **remembered.get("metadata", {})},
            "latest_charge": shown,
            "amount_received": received,
            "amount_capturable": capturable,
        }

    def _refunds(self, charge: str) -> Json:
        """Return a charge's refunds; what lets go of an authorization moves no money."""
        found = self.local.call("GET", "/v1/refunds", {"charge": charge, "limit": 100})
        for refund in found["data"]:
            if refund["payment_intent"] is None:
                refund["balance_transaction"] = None
        return found


def _lowered(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


def _handler(sandbox: Sandbox) -> type[BaseHTTPRequestHandler]:
    """Return what speaks HTTP for a sandbox."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            self._reply(Request("GET", url.path, decode_form(url.query), _lowered(self.headers.items())))

        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            self._reply(Request("POST", self.path, decode_form(form), _lowered(self.headers.items())))

        def _reply(self, request: Request) -> None:
            answer = sandbox.serve(request)
            if answer.status is None:
                self.close_connection = True
                with suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)
                return
            with suppress(OSError):  # the client may be gone
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is its own
            """Say nothing."""

    return Handler
