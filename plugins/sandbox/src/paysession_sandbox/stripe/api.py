"""The calls of Stripe's API: keys, routes, idempotency, and what each call does."""

from __future__ import annotations

import hmac
import json
import re
import threading
from base64 import b64decode
from binascii import Error as NotBase64
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from attrs import define

from paysession_sandbox.stripe import (
    attempts,
    balance,
    charges,
    checkout,
    customers,
    disputes,
    events,
    payment_intents,
    payment_methods,
    radar,
    refunds,
    search,
    setup_intents,
)
from paysession_sandbox.stripe.account import API_VERSION, Account, Settings, token
from paysession_sandbox.stripe.parameters import EXPAND, read
from paysession_sandbox.stripe.refusals import Refusal, invalid, unauthorized
from paysession_sandbox.stripe.wire import Answer, Json, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from paysession_sandbox.clock import Clock

__all__ = ["Api"]

_KEPT_FOR: Final = timedelta(hours=24)
"""https://docs.stripe.com/api/idempotent_requests: a key can be forgotten once it is 24 hours old."""

_LONGEST_KEY: Final = 255
_SECRET_KEY: Final = re.compile(r"[sr]k_test_\w+")
_PUBLISHABLE_KEY: Final = re.compile(r"pk_test_\w+")


def _account(account: Account, params: Json) -> Json:
    """GET /v1/account."""
    read(params, {"expand": EXPAND})
    return {
        "id": account.id or "acct_sandbox",
        "object": "account",
        "charges_enabled": True,
        "country": "DE",
        "default_currency": "eur",
        "details_submitted": True,
        "email": "shop@example.com",
        "payouts_enabled": True,
        "type": "standard",
    }


def _mandate(account: Account, params: Json, identifier: str) -> Json:
    """GET /v1/mandates/{id}."""
    asked = read(params, {"expand": EXPAND})
    return account.show(account.get("mandate", identifier), asked.get("expand", ()))


def _search_charges(account: Account, params: Json) -> Json:
    return search.search(account, "charge", params, "/v1/charges/search")


def _search_customers(account: Account, params: Json) -> Json:
    return search.search(account, "customer", params, "/v1/customers/search")


_CALLS: Final[Mapping[str, Callable[..., Json]]] = {
    "GET /v1/account": _account,
    "GET /v1/balance_transactions": balance.listed,
    "GET /v1/balance_transactions/ID": balance.retrieve,
    "GET /v1/charges": charges.listed,
    "GET /v1/charges/search": _search_charges,
    "GET /v1/charges/ID": charges.retrieve,
    "POST /v1/charges/ID": charges.update,
    "GET /v1/checkout/sessions": checkout.listed,
    "POST /v1/checkout/sessions": checkout.create,
    "GET /v1/checkout/sessions/ID": checkout.retrieve,
    "POST /v1/checkout/sessions/ID": checkout.update,
    "POST /v1/checkout/sessions/ID/expire": checkout.expire,
    "GET /v1/checkout/sessions/ID/line_items": checkout.line_items,
    "POST /v1/customer_sessions": customers.session,
    "GET /v1/customers": customers.listed,
    "POST /v1/customers": customers.create,
    "GET /v1/customers/search": _search_customers,
    "GET /v1/customers/ID": customers.retrieve,
    "POST /v1/customers/ID": customers.update,
    "DELETE /v1/customers/ID": customers.delete,
    "GET /v1/customers/ID/payment_methods": payment_methods.of_customer,
    "GET /v1/disputes": disputes.listed,
    "GET /v1/disputes/ID": disputes.retrieve,
    "POST /v1/disputes/ID": disputes.update,
    "POST /v1/disputes/ID/close": disputes.close,
    "GET /v1/events": events.listed,
    "GET /v1/events/ID": events.retrieve,
    "GET /v1/mandates/ID": _mandate,
    "GET /v1/payment_intents": payment_intents.listed,
    "POST /v1/payment_intents": payment_intents.create,
    "GET /v1/payment_intents/search": payment_intents.search_for,
    "GET /v1/payment_intents/ID": payment_intents.retrieve,
    "POST /v1/payment_intents/ID": payment_intents.update,
    "POST /v1/payment_intents/ID/cancel": payment_intents.cancel,
    "POST /v1/payment_intents/ID/capture": payment_intents.capture,
    "POST /v1/payment_intents/ID/confirm": payment_intents.confirm,
    "POST /v1/payment_intents/ID/increment_authorization": payment_intents.increment_authorization,
    "GET /v1/payment_methods": payment_methods.listed,
    "POST /v1/payment_methods": payment_methods.create,
    "GET /v1/payment_methods/ID": payment_methods.retrieve,
    "POST /v1/payment_methods/ID": payment_methods.update,
    "POST /v1/payment_methods/ID/attach": payment_methods.attach,
    "POST /v1/payment_methods/ID/detach": payment_methods.detach,
    "GET /v1/radar/early_fraud_warnings": radar.listed,
    "GET /v1/radar/early_fraud_warnings/ID": radar.retrieve,
    "GET /v1/refunds": refunds.listed,
    "POST /v1/refunds": refunds.create,
    "GET /v1/refunds/ID": refunds.retrieve,
    "POST /v1/refunds/ID": refunds.update,
    "POST /v1/refunds/ID/cancel": refunds.cancel,
    "GET /v1/setup_intents": setup_intents.listed,
    "POST /v1/setup_intents": setup_intents.create,
    "GET /v1/setup_intents/ID": setup_intents.retrieve,
    "POST /v1/setup_intents/ID": setup_intents.update,
    "POST /v1/setup_intents/ID/cancel": setup_intents.cancel,
    "POST /v1/setup_intents/ID/confirm": setup_intents.confirm,
    "GET /v1/webhook_endpoints": events.listed_endpoints,
    "POST /v1/webhook_endpoints": events.create_endpoint,
    "GET /v1/webhook_endpoints/ID": events.retrieve_endpoint,
    "POST /v1/webhook_endpoints/ID": events.update_endpoint,
    "DELETE /v1/webhook_endpoints/ID": events.delete_endpoint,
}
_ROUTES: Final = [
    (name.partition(" ")[0], re.compile(name.partition(" ")[2].replace("ID", r"(\w+)")), call)
    for name, call in _CALLS.items()
]
_OF_A_BROWSER: Final = {
    payment_intents.retrieve: payment_intents.PUBLIC,
    payment_intents.confirm: payment_intents.PUBLIC,
    setup_intents.retrieve: setup_intents.PUBLIC,
    setup_intents.confirm: setup_intents.PUBLIC,
    payment_methods.create: None,
}
"""The calls that a publishable key may make, and what they show then; all, where there is None."""

_ACTS: Final[Mapping[str, Callable[[Account, str], None]]] = {
    "balance": charges.balance_comes,
    "checkout_over": checkout.time_is_over,
    "debit": attempts.debit_is_due,
    "dispute_over": disputes.time_is_over,
    "expire": attempts.expire,
    "refund_fails": lambda account, identifier: refunds.settle_later(account, identifier, "failed"),
    "refund_succeeds": lambda account, identifier: refunds.settle_later(account, identifier, "succeeded"),
}


@define
class Kept:
    """An answer that is kept for its idempotency key.

    Attributes:
        path: Of the request.
        params: Of the request.
        status: Of the answer; None while the request is still being carried out.
        found: What was answered.
        at: When.
    """

    path: str
    params: Json
    status: int | None
    found: Json
    at: int


class Api:
    """Stripe's API without sockets: requests in, answers out.

    Args:
        clock: The time.
        settings: What the accounts may do.
        notify: Called with the account and the event, for each event.
    """

    def __init__(self, clock: Clock, settings: Settings, notify: Callable[[Account, Json], None]) -> None:
        self.clock = clock
        self.settings = settings
        self.base = ""
        self.accounts: dict[str, Account] = {}
        self.kept: dict[tuple[str, str], Kept] = {}
        self.patches: list[tuple[str, Callable[[Json], object]]] = []
        self.lock = threading.RLock()
        self._notify = notify
        self.account("")

    def account(self, identifier: str) -> Account:
        """Return an account, the platform's own or a connected one; it is there once it is named."""
        with self.lock:
            if identifier not in self.accounts:
                self.accounts[identifier] = Account(
                    identifier,
                    self.clock,
                    self.settings,
                    base=self.base,
                    acts=_ACTS,
                    patches=self.patches,
                    notify=self._notify,
                )
            account = self.accounts[identifier]
            account.base = self.base
            return account

    def settle(self) -> None:
        """Have everything happen that is due."""
        with self.lock:
            for account in list(self.accounts.values()):
                account.settle()
                self._follow(account)

    @staticmethod
    def _follow(account: Account) -> None:
        for session in list(account.all("checkout.session")):
            checkout.follow(account, session)

    def answer(self, request: Request, *, begun: Callable[[], None] | None = None) -> Answer:
        """Answer a request.

        Args:
            request: The request.
            begun: Called while the request is being carried out, outside of the lock: a second one
                with its key is refused meanwhile.
        """
        identifier = f"req_{token(14)}"
        headers = {
            "Request-Id": identifier,
            "Stripe-Version": request.headers.get("stripe-version", API_VERSION),
        }
        if request.key is not None:
            headers["Idempotency-Key"] = request.key
            headers["Original-Request"] = identifier
        try:
            status, found, replayed = self._once(request, identifier, begun)
        except Refusal as refusal:
            status, found, replayed = refusal.status, {"error": refusal.error}, False
        if replayed:
            headers["Idempotent-Replayed"] = "true"
        if "error" in found:
            found = {"error": {**found["error"], "request_log_url": f"{self.base}/#{identifier}"}}
        return Answer.json(status, found, headers)

    # --- idempotency ---

    def _once(
        self, request: Request, identifier: str, begun: Callable[[], None] | None
    ) -> tuple[int, Json, bool]:
        """Carry a request out once for its key: https://docs.stripe.com/api/idempotent_requests."""
        with self.lock:
            self.settle()
            account, publishable = self._authenticated(request)
            key = request.key
            if key is None:
                return 200, self._carry_out(account, request, identifier, publishable=publishable), False
            if len(key) > _LONGEST_KEY:
                raise Refusal(400, message=f"An idempotency key has at most {_LONGEST_KEY} characters.")
            place = (account.id, key)
            known = self.kept.get(place)
            if known is not None and known.at + int(_KEPT_FOR.total_seconds()) > account.now:
                return self._again(known, request)
            self.kept[place] = Kept(request.path, request.params, None, {}, account.now)
        try:
            if begun is not None:
                begun()
            return self._first(account, request, identifier, place, publishable=publishable)
        finally:
            with self.lock:
                if place in self.kept and self.kept[place].status is None:
                    del self.kept[place]

    @staticmethod
    def _again(known: Kept, request: Request) -> tuple[int, Json, bool]:
        if (known.path, known.params) != (request.path, request.params):
            raise Refusal(
                400,
                type="idempotency_error",
                message="Keys for idempotent requests can only be used with the same parameters they were "
                "first used with. Use another key if you meant to make another request.",
            )
        if known.status is None:
            raise Refusal(
                409,
                type="idempotency_error",
                code="idempotency_key_in_use",
                message="There is currently another in-progress request using this key. Try again later.",
            )
        return known.status, known.found, True

    def _first(
        self,
        account: Account,
        request: Request,
        identifier: str,
        place: tuple[str, str],
        *,
        publishable: bool,
    ) -> tuple[int, Json, bool]:
        with self.lock:
            kept = self.kept[place]
            try:
                found = self._carry_out(account, request, identifier, publishable=publishable)
            except Refusal as refusal:
                if refusal.executed:
                    kept.status, kept.found = refusal.status, {"error": refusal.error}
                raise
            kept.status, kept.found = 200, found
            return 200, found, False

    # --- one request ---

    def _authenticated(self, request: Request) -> tuple[Account, bool]:
        """Return the account that a request is about, and whether it comes from a browser."""
        key = _key_of(request.headers.get("authorization", ""))
        if key is None:
            raise unauthorized("You did not provide an API key.")
        publishable = bool(_PUBLISHABLE_KEY.fullmatch(key))
        if not publishable and not _SECRET_KEY.fullmatch(key):
            raise unauthorized("Invalid API Key provided: it is not a test key.")
        return self.account(request.headers.get("stripe-account", "")), publishable

    def _carry_out(self, account: Account, request: Request, identifier: str, *, publishable: bool) -> Json:
        found_call = _route(request)
        if found_call is None:
            raise Refusal(404, message=f"Unrecognized request URL ({request.method}: {request.path}).")
        call, groups = found_call
        account.request = {"id": identifier, "idempotency_key": request.key}
        if not publishable:
            found = call(account, request.params, *groups)
        else:
            found = self._for_a_browser(account, call, request, groups)
        self._follow(account)
        shown: Json = json.loads(json.dumps(found))  # what is shown does not change with what is kept
        return shown

    @staticmethod
    def _for_a_browser(account: Account, call: Any, request: Request, groups: tuple[Any, ...]) -> Json:
        if call not in _OF_A_BROWSER:
            raise Refusal(401, message="This API call cannot be made with a publishable API key.")
        shown = _OF_A_BROWSER[call]
        if shown is None:
            return call(account, request.params)  # type: ignore[no-any-return]
        kind = "payment_intent" if call.__module__ == payment_intents.__name__ else "setup_intent"
        thing = account.get(kind, groups[0], param="intent")
        secret = request.params.get("client_secret")
        if not isinstance(secret, str) or not hmac.compare_digest(
            secret.encode(), thing["client_secret"].encode()
        ):
            raise invalid(
                "client_secret", "The client_secret provided does not match the client_secret of this object."
            )
        extra = {"browser": True} if request.method == "POST" else {}
        try:
            found = call(account, request.params, *groups, **extra)
        except Refusal as refusal:
            if kind in refusal.error:
                refusal.error[kind] = {
                    name: value for name, value in refusal.error[kind].items() if name in shown
                }
            raise
        return {name: value for name, value in found.items() if name in shown}


def _route(request: Request) -> tuple[Callable[..., Json], tuple[Any, ...]] | None:
    """Return what carries a request out, and the ids in its path."""
    for method, pattern, call in _ROUTES:
        match = pattern.fullmatch(request.path)
        if match is not None and method == request.method:
            return call, match.groups()
    return None


def _key_of(header: str) -> str | None:
    """Return the API key: as a bearer's token, or as the name of basic authentication."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return b64decode(value, validate=True).decode().partition(":")[0]
        except (NotBase64, UnicodeDecodeError):
            return None
    return None
