"""The only module that touches the ``stripe`` package: every call, and what each failure means.

It is imported when a provider is first used: the package takes 150 ms to load.

https://docs.stripe.com/api/idempotent_requests: once a request under a key has begun to be carried
out, its answer is kept for 24 hours, a 402 or a 500 too, and is given again to the same key. Refusals
before that (401, 429, most validation) are not kept. So the table below may sort by status alone,
with three exceptions: a key used with other parameters, a refusal for the state of the object (our
own earlier request may have brought it there), and whatever comes after an attempt whose answer was
lost.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

import requests
import stripe
from requests.adapters import HTTPAdapter

from paysession.provider import Declined, NotApplied, OutcomeUnknown, bounded_pools
from paysession_stripe.intent import json_object
from paysession_stripe.params import EXPAND

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stripe.params import (
        CustomerCreateParams,
        PaymentIntentCaptureParams,
        PaymentIntentConfirmParams,
        PaymentIntentCreateParams,
        PaymentIntentUpdateParams,
        RefundCreateParams,
    )

    from paysession.provider import Secret

    ProviderError = Declined | NotApplied | OutcomeUnknown

__all__ = ["API_VERSION", "Gateway"]

logger = logging.getLogger("paysession_stripe")

API_VERSION: Final = "2026-10-28.endive"
"""The version of Stripe's API that this package is written for; it is sent with every request."""

_PAGE: Final = 100
_PAGES: Final = 100
"""How many of them are read: 10,000 refunds of one charge are not a shop's any more."""

# Telemetry writes an id into the user's home folder and sends figures about us. The package has no
# switch for it but this global; nothing else that is global there is read or written.
stripe.enable_telemetry = False

_BY_STATUS: Final[Mapping[int, type[Declined | NotApplied]]] = {
    400: Declined,
    401: NotApplied,  # a wrong key
    402: Declined,
    403: NotApplied,  # a key that may not do this
    404: Declined,
    429: NotApplied,  # too many requests, or the object is locked by another one
}
"""Every other status (408, 409, 424, 5xx) says nothing about what happened."""

_STATE_CODES: Final = frozenset(
    {
        "charge_already_captured",
        "charge_already_refunded",
        "charge_expired_for_capture",
        "intent_invalid_state",
        "payment_intent_unexpected_state",
    }
)
"""Refusals because of the state that the object is in: our own earlier request may have brought it there,
so it is looked at, and the refusal never believed."""

_CLIENT_SECRET: Final = re.compile(rb'(client_secret"\s*:\s*"|_secret_)[^"&\\\s]+')
"""As a value of its own, and within the addresses of pages that the payer is sent to."""


class _Session(requests.Session):
    """A session of requests that sends what it is told to, where it is told to.

    - It follows no redirect. Stripe sends none; a proxy's leads the request on as a GET, or to another
      server, and what became of *that* one (refused, 404) would be taken for what became of ours.
    - It keeps the key that it is given, whatever ``~/.netrc`` says: an entry there, such as one for curl,
      would replace it, and the money would move in another account. Proxies are the environment's.
    - It reads an answer for as long as the timeout, and up to a size, however slowly it drips in.
    """

    def __init__(self) -> None:
        super().__init__()
        self.auth = _as_it_is  # requests asks ~/.netrc only where there is no other
        self.headers["Accept-Encoding"] = "identity"  # what is compressed could become a huge answer
        adapter = _Adapter()
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return nothing: a redirect is an answer like another, and proves nothing."""


class _Adapter(HTTPAdapter):
    """Connections whose answers end, to Stripe and through a proxy."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = bounded_pools(self.poolmanager.pool_classes_by_scheme)

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        manager: Any = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = bounded_pools(manager.pool_classes_by_scheme)
        return manager


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


class _Transport(stripe.RequestsClient):
    """The package's own HTTP client, which also keeps what its callers lose sight of.

    - It retries, and tells the last failure only: that no attempt before may have been carried out
      must be known, or a refused connection would be taken for "certainly not".
    - It writes whole answers to its log. The secret key, should one repeat it, and what lets a
      browser confirm a payment are masked before that; the answer as it came is kept beside, for
      `Gateway` to read.
    - It turns a notice of Stripe's into a warning. Where warnings are errors, a charge that was made
      would look as if it had failed; so a notice is logged.
    """

    def __init__(self, api_key: Secret, timeout: tuple[float, float], *, direct: bool) -> None:
        no_proxy: Any = dict.fromkeys(["http", "https", "all"])  # whatever the environment says
        super().__init__(timeout=timeout, proxy=no_proxy if direct else None)  # pyright: ignore[reportUnknownMemberType]
        self._api_key = api_key
        self._call = threading.local()

    def begin(self) -> None:
        """Forget the last call of this thread."""
        self._call.doubtful = False
        self._call.content = b""

    @property
    def doubtful(self) -> bool:
        """Whether an attempt of this call may have been carried out."""
        return bool(self._call.doubtful)

    def take(self) -> bytes:
        """Return the last answer of this call as it came, and forget it."""
        content: bytes = self._call.content
        self._call.content = b""
        return content

    def request(  # type: ignore[override] # as the package's own client does
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        if getattr(self._thread_local, "session", None) is None:
            self._thread_local.session = _Session()  # in place of the package's own for this thread
        try:
            send = cast("Callable[..., Any]", super().request)  # pyright: ignore[reportUnknownMemberType]
            content, status, answered = send(method, url, headers, post_data)
        except stripe.APIConnectionError as error:
            self._call.doubtful = self._call.doubtful or not _never_sent(error)
            raise
        if status not in _BY_STATUS and status >= 300:  # noqa: PLR2004 - not a success
            self._call.doubtful = True
        self._call.content = content
        notice = answered.pop("Stripe-Notice", None)
        if notice is not None:
            logger.warning("Stripe says: %s", notice)
        masked = _CLIENT_SECRET.sub(rb"\1***", content.replace(self._api_key.reveal().encode(), b"***"))
        return masked, status, answered


def _never_sent(error: stripe.APIConnectionError) -> bool:
    """Return whether no byte of the request can have left: no connection came about."""
    cause = error.__cause__
    if isinstance(cause, requests.ConnectTimeout):
        return True
    reason = getattr(cause.args[0], "reason", None) if isinstance(cause, requests.ConnectionError) else None
    if type(reason).__name__ in ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError"):
        return True  # by name: they are urllib3's, which is another package's business
    return isinstance(cause, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(cause)


class Gateway:
    """Stripe, for one account. Thread-safe; nothing of it is shared with another one.

    Every method returns Stripe's JSON, or raises what became of the request: ``Declined``,
    ``NotApplied``, or ``OutcomeUnknown`` for all that is not certain.

    Args:
        api_key: The secret key.
        api_base: Where Stripe is.
        stripe_account: The connected account to act for, or "".
        timeout: Seconds to connect, and seconds that a whole answer may take.
        max_network_retries: How often a request is sent again, under the same key, when its answer
            was lost.
    """

    def __init__(
        self,
        api_key: Secret,
        *,
        api_base: str,
        stripe_account: str,
        timeout: tuple[float, float],
        max_network_retries: int,
    ) -> None:
        # Plain http is for a stand-in on this machine, which no proxy can reach.
        self._transport = _Transport(api_key, timeout, direct=api_base.startswith("http://"))
        self._client = stripe.StripeClient(
            api_key.reveal(),
            stripe_account=stripe_account or None,
            stripe_version=API_VERSION,
            base_addresses={"api": api_base},
            max_network_retries=max_network_retries,
            http_client=self._transport,
        )

    def close(self) -> None:
        """Let go of this thread's connections; those of other threads go with them."""
        self._transport.close()  # type: ignore[no-untyped-call]

    # --- writes -----------------------------------------------------------------------------------

    def create_customer(self, params: CustomerCreateParams, *, key: str) -> dict[str, Any]:
        """Create a customer."""
        return self._call(lambda: self._client.v1.customers.create(params, options={"idempotency_key": key}))

    def create_intent(self, params: PaymentIntentCreateParams, *, key: str) -> dict[str, Any]:
        """Create a PaymentIntent."""
        return self._call(
            lambda: self._client.v1.payment_intents.create(params, options={"idempotency_key": key})
        )

    def update_intent(self, intent: str, params: PaymentIntentUpdateParams, *, key: str) -> dict[str, Any]:
        """Change a PaymentIntent that nobody has confirmed."""
        return self._call(
            lambda: self._client.v1.payment_intents.update(intent, params, options={"idempotency_key": key})
        )

    def confirm_intent(self, intent: str, params: PaymentIntentConfirmParams, *, key: str) -> dict[str, Any]:
        """Confirm a PaymentIntent: this charges."""
        return self._call(
            lambda: self._client.v1.payment_intents.confirm(intent, params, options={"idempotency_key": key})
        )

    def capture_intent(self, intent: str, params: PaymentIntentCaptureParams, *, key: str) -> dict[str, Any]:
        """Capture what is authorized."""
        return self._call(
            lambda: self._client.v1.payment_intents.capture(intent, params, options={"idempotency_key": key})
        )

    def cancel_intent(self, intent: str, *, key: str) -> dict[str, Any]:
        """Cancel a PaymentIntent."""
        return self._call(
            lambda: self._client.v1.payment_intents.cancel(
                intent, {"expand": [*EXPAND]}, options={"idempotency_key": key}
            )
        )

    def refund(self, params: RefundCreateParams, *, key: str) -> dict[str, Any]:
        """Give money back."""
        return self._call(lambda: self._client.v1.refunds.create(params, options={"idempotency_key": key}))

    # --- reads ------------------------------------------------------------------------------------

    def intent(self, intent: str) -> dict[str, Any]:
        """Return a PaymentIntent with its charge, and all refunds of that."""
        found = self._call(lambda: self._client.v1.payment_intents.retrieve(intent, {"expand": [*EXPAND]}))
        charge = found.get("latest_charge")
        if isinstance(charge, dict):
            found["latest_charge"] = self._with_all_refunds(cast("dict[str, Any]", charge))
        return found

    def _with_all_refunds(self, charge: dict[str, Any]) -> dict[str, Any]:
        """Return a charge with the further pages of its refunds."""
        refunds = json_object(charge.get("refunds")) or {}
        known: list[dict[str, Any]] = list(refunds.get("data") or ())
        more = refunds.get("has_more") is True and bool(known)
        for _ in range(_PAGES):
            if not more:
                return {**charge, "refunds": {**refunds, "data": known, "has_more": False}}
            page = self._refunds_after(charge["id"], known[-1]["id"])
            known += page["data"]
            more = page.get("has_more") is True and bool(page["data"])
        raise OutcomeUnknown(f"Stripe shows no end of the refunds of {charge['id']}")

    def _refunds_after(self, charge: str, refund: str) -> dict[str, Any]:
        return self._call(
            lambda: self._client.v1.refunds.list({"charge": charge, "limit": _PAGE, "starting_after": refund})
        )

    def find_intents(self, query: str) -> list[dict[str, Any]]:
        """Return the PaymentIntents that a search finds. It misses what is younger than a minute."""
        page = self._call(lambda: self._client.v1.payment_intents.search({"query": query, "limit": _PAGE}))
        return list(page["data"])

    def disputes(self, charge: str) -> list[dict[str, Any]]:
        """Return all disputes of a charge, the latest first: one may follow another.

        ``/v1/charges/{id}/dispute`` tells of one only: https://github.com/stripe/openapi/issues/156.
        """
        page = self._call(lambda: self._client.v1.disputes.list({"charge": charge, "limit": _PAGE}))
        if page.get("has_more") is True:
            raise OutcomeUnknown(f"Stripe shows no end of the disputes of {charge}")
        return list(page["data"])

    # --- sending ----------------------------------------------------------------------------------

    def _call(self, send: Callable[[], object]) -> dict[str, Any]:
        """Send a request; return the answer's JSON, or raise what became of the request."""
        self._transport.begin()
        failure: ProviderError | None = None
        try:
            send()
        except Exception as error:  # noqa: BLE001 - the package leaks AttributeError and others
            failure = self._sort(error)
        content = self._transport.take()
        # Raised outside, so that no chain leads to the request and its headers.
        if failure is not None:
            raise failure
        answer = json.loads(content)  # it was read before, by the package
        if not isinstance(answer, dict):
            raise OutcomeUnknown("Stripe answered something that cannot be read")
        return cast("dict[str, Any]", answer)

    def _sort(self, error: Exception) -> ProviderError:
        failure = _sorted(error)
        if isinstance(failure, NotApplied) and self._transport.doubtful:
            failure = OutcomeUnknown(f"{failure.message}; an attempt before may have been carried out")
        return failure


def _sorted(error: Exception) -> ProviderError:
    """Return what a failure of the package means."""
    if isinstance(error, stripe.APIConnectionError):
        if _never_sent(error):
            return NotApplied(f"Stripe cannot be reached: {type(error.__cause__).__name__}")
        return OutcomeUnknown(f"no answer came from Stripe: {type(error.__cause__).__name__}")
    if not isinstance(error, stripe.StripeError) or error.http_status is None:
        return OutcomeUnknown(f"Stripe's answer cannot be read: {type(error).__name__}")
    told = _told(error)
    code = told.get("decline_code") or told.get("code") or told.get("type") or "declined"
    message = _message(error, told)
    kind = _BY_STATUS.get(error.http_status)
    in_doubt = told.get("type") == "idempotency_error" or told.get("code") in _STATE_CODES
    if not told or kind is None or in_doubt:
        return OutcomeUnknown(message)
    if kind is NotApplied or told.get("code") in ("lock_timeout", "rate_limit"):
        return NotApplied(message, retry_after=_retry_after(error))
    return Declined(code, message)


def _told(error: stripe.StripeError) -> dict[str, str]:
    """Return the texts of Stripe's error object; empty: there is none."""
    details = json_object((json_object(error.json_body) or {}).get("error")) or {}
    return {name: value for name, value in details.items() if isinstance(value, str)}


def _message(error: stripe.StripeError, told: Mapping[str, str]) -> str:
    """Return Stripe's sentence with what its support asks for: the codes and the request's id."""
    parts = [told[name] for name in ("code", "decline_code") if told.get(name)]
    if told.get("param"):
        parts.append(f"parameter {told['param']}")
    parts.append(f"HTTP {error.http_status}")
    if error.request_id:
        parts.append(f"request {error.request_id}")
    sentence = told.get("message") or "Stripe's answer cannot be read"
    return f"{sentence} ({', '.join(parts)})"


def _retry_after(error: stripe.StripeError) -> timedelta | None:
    with suppress(TypeError, ValueError, OverflowError):  # it may be missing, or a date
        wait = timedelta(seconds=float((error.headers or {}).get("Retry-After", "")))
        return wait if wait >= timedelta(0) else None
    return None
