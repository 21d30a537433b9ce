"""The requests that are sent, with the ``stripe`` package's own typed services.

It is imported when a provider is first used: the package takes 150 ms to load. The decision for the package,
and which parts of it are used, is written down at the end of docs/stripe.md.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import stripe

from paysession.provider import OutcomeUnknown
from paysession_stripe.params import EXPAND
from paysession_stripe.reading import json_object
from paysession_stripe.refusal import sort
from paysession_stripe.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from stripe.params import (
        CustomerCreateParams,
        EventListParams,
        PaymentIntentCaptureParams,
        PaymentIntentConfirmParams,
        PaymentIntentCreateParams,
        PaymentIntentIncrementAuthorizationParams,
        PaymentIntentUpdateParams,
        RefundCreateParams,
        WebhookEndpointCreateParams,
    )
    from stripe.params.checkout import SessionCreateParams as CheckoutSessionCreateParams

    from paysession.provider import ConfigurationError, Declined, NotApplied, Secret

    Json = dict[str, Any]

__all__ = ["API_VERSION", "Gateway"]

API_VERSION: Final = "2026-10-28.endive"
"""The version of Stripe's API that this package is written for; it is sent with every request."""

_PAGE: Final = 100
_PAGES_OF_EVENTS: Final = 3
_SHORTER: Final = 64
"""By how much the time is shortened in which there are more events than a call may read."""
_PAGES: Final = 100
"""How many of them are read: 10,000 refunds of one charge are not a shop's any more."""

# Telemetry writes an id into the user's home folder and sends figures about us. The package has no
# switch for it but this global; nothing else that is global there is read or written.
stripe.enable_telemetry = False


class Gateway:
    """Stripe, for one account. Thread-safe; nothing of it is shared with another one.

    Every method returns Stripe's JSON, or raises what became of the request: ``Declined``,
    ``NotApplied``, ``ConfigurationError`` for a key that is wrong or may not do this, or
    ``OutcomeUnknown`` for all that is not certain.

    Args:
        api_key: The secret key.
        api_base: Where Stripe is.
        timeout: Seconds to connect, and seconds that a whole answer may take.
        max_network_retries: How often a request is sent again, under the same key, when its answer
            was lost.
    """

    def __init__(
        self, api_key: Secret, *, api_base: str, timeout: tuple[float, float], max_network_retries: int
    ) -> None:
        # Plain http is for a stand-in on this machine, which no proxy can reach.
        self._transport = Transport(api_key, timeout, direct=api_base.startswith("http://"))
        self._client = stripe.StripeClient(
            api_key.reveal(),
            stripe_version=API_VERSION,
            base_addresses={"api": api_base},
            max_network_retries=max_network_retries,
            http_client=self._transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def account(self, account: str, *, until: float | None = None) -> Account:
        """Return the same for one connected account.

        Args:
            account: The account; "" is the key's own.
            until: When to give up, on the clock of ``time.monotonic``.
        """
        return Account(self._client, self._transport, account, until)


class Account:
    """The requests of one session: all of them are for the same account.

    Args:
        client: The package's client.
        transport: What it sends with.
        account: The connected account (``acct_...``), or "".
        until: When to give up, on the clock of ``time.monotonic``; None: each request has its own time.
    """

    def __init__(
        self, client: stripe.StripeClient, transport: Transport, account: str, until: float | None = None
    ) -> None:
        self._v1 = client.v1
        self._transport = transport
        self._account = account
        self._until = until

    # --- writes -----------------------------------------------------------------------------------

    def create_customer(self, params: CustomerCreateParams, *, key: str) -> Json:
        """Create a customer."""
        return self._call(lambda: self._v1.customers.create(params, options=self._options(key)))

    def create_intent(self, params: PaymentIntentCreateParams, *, key: str) -> Json:
        """Create a PaymentIntent."""
        return self._call(lambda: self._v1.payment_intents.create(params, options=self._options(key)))

    def update_intent(self, intent: str, params: PaymentIntentUpdateParams, *, key: str) -> Json:
        """Change a PaymentIntent that nobody has confirmed."""
        return self._call(lambda: self._v1.payment_intents.update(intent, params, options=self._options(key)))

    def confirm_intent(self, intent: str, params: PaymentIntentConfirmParams, *, key: str) -> Json:
        """Confirm a PaymentIntent: this charges."""
        return self._call(
            lambda: self._v1.payment_intents.confirm(intent, params, options=self._options(key))
        )

    def increment_intent(
        self, intent: str, params: PaymentIntentIncrementAuthorizationParams, *, key: str
    ) -> Json:
        """Raise what is authorized."""
        return self._call(
            lambda: self._v1.payment_intents.increment_authorization(
                intent, params, options=self._options(key)
            )
        )

    def capture_intent(self, intent: str, params: PaymentIntentCaptureParams, *, key: str) -> Json:
        """Capture what is authorized."""
        return self._call(
            lambda: self._v1.payment_intents.capture(intent, params, options=self._options(key))
        )

    def cancel_intent(self, intent: str, *, key: str) -> Json:
        """Cancel a PaymentIntent."""
        return self._call(
            lambda: self._v1.payment_intents.cancel(intent, {"expand": [*EXPAND]}, options=self._options(key))
        )

    def create_page(self, params: CheckoutSessionCreateParams, *, key: str) -> Json:
        """Create a page of Stripe's."""
        return self._call(lambda: self._v1.checkout.sessions.create(params, options=self._options(key)))

    def expire_page(self, page: str, *, key: str) -> Json:
        """Close a page of Stripe's."""
        return self._call(lambda: self._v1.checkout.sessions.expire(page, options=self._options(key)))

    def refund(self, params: RefundCreateParams, *, key: str) -> Json:
        """Give money back."""
        return self._call(lambda: self._v1.refunds.create(params, options=self._options(key)))

    # --- reads ------------------------------------------------------------------------------------

    def intent(self, intent: str) -> Json:
        """Return a PaymentIntent with its charge, and all refunds of that."""
        found = self._call(
            lambda: self._v1.payment_intents.retrieve(intent, {"expand": [*EXPAND]}, options=self._options())
        )
        charge = found.get("latest_charge")
        if isinstance(charge, dict):
            found["latest_charge"] = self._with_all_refunds(cast("Json", charge))
        return found

    def page(self, page: str) -> Json:
        """Return a page of Stripe's."""
        return self._call(lambda: self._v1.checkout.sessions.retrieve(page, options=self._options()))

    def _with_all_refunds(self, charge: Json) -> Json:
        """Return a charge with the further pages of its refunds."""
        refunds = json_object(charge.get("refunds")) or {}
        known: list[Json] = list(refunds.get("data") or ())
        more = refunds.get("has_more") is True and bool(known)
        for _ in range(_PAGES):
            if not more:
                return {**charge, "refunds": {**refunds, "data": known, "has_more": False}}
            page = self._refunds_after(charge["id"], known[-1]["id"])
            known += page["data"]
            more = page.get("has_more") is True and bool(page["data"])
        raise OutcomeUnknown(f"Stripe shows no end of the refunds of {charge['id']}")

    def _refunds_after(self, charge: str, refund: str) -> Json:
        return self._call(
            lambda: self._v1.refunds.list(
                {"charge": charge, "limit": _PAGE, "starting_after": refund}, options=self._options()
            )
        )

    def find_intents(self, query: str) -> list[Json]:
        """Return the PaymentIntents that a search finds. It misses what is younger than a minute."""
        page = self._call(
            lambda: self._v1.payment_intents.search({"query": query, "limit": _PAGE}, options=self._options())
        )
        return list(page["data"])

    def find_customers(self, query: str) -> list[Json]:
        """Return the customers that a search finds. It misses what is younger than a minute."""
        page = self._call(
            lambda: self._v1.customers.search({"query": query, "limit": 1}, options=self._options())
        )
        return list(page["data"])

    def disputes(self, charge: str) -> list[Json]:
        """Return all disputes of a charge, the latest first: one may follow another.

        ``/v1/charges/{id}/dispute`` shows one only: https://github.com/stripe/openapi/issues/156.
        """
        page = self._call(
            lambda: self._v1.disputes.list({"charge": charge, "limit": _PAGE}, options=self._options())
        )
        if page.get("has_more") is True:
            raise OutcomeUnknown(f"Stripe shows no end of the disputes of {charge}")
        return list(page["data"])

    def events(self, since: datetime, until: datetime) -> tuple[list[Json], datetime]:
        """Return the account's events of a time, the earliest first, and how far they go.

        Stripe lists the newest first, and those of the last 30 days. Where there are more than a call may
        read, the time is shortened until all of it can be read.

        Args:
            since: The first second of it.
            until: What comes after its last second.
        """
        first, last = math.floor(since.timestamp()), math.ceil(until.timestamp())
        while True:
            found, whole = self._events_between(first, last)
            if whole or last - first <= 1:
                return found[::-1], min(until, datetime.fromtimestamp(last, UTC))
            last = first + max(1, (last - first) // _SHORTER)

    def _events_between(self, first: int, last: int) -> tuple[list[Json], bool]:
        """Return the events of some seconds, and whether they are all."""
        found: list[Json] = []
        for _ in range(_PAGES_OF_EVENTS):
            params: EventListParams = {"limit": _PAGE, "created": {"gte": first, "lt": last}}
            if found:
                params["starting_after"] = found[-1]["id"]
            page = self._call(partial(self._v1.events.list, params, options=self._options()))
            found += page["data"]
            if page.get("has_more") is not True or not page["data"]:
                return found, True
        return found, False

    # --- the account's webhook endpoints ------------------------------------------------------------

    def endpoints(self) -> list[Json]:
        """Return the webhook endpoints; there are at most 16."""
        page = self._call(lambda: self._v1.webhook_endpoints.list({"limit": _PAGE}, options=self._options()))
        return list(page["data"])

    def create_endpoint(self, params: WebhookEndpointCreateParams, *, key: str) -> Json:
        """Create a webhook endpoint. Only this answer shows its signing secret."""
        return self._call(lambda: self._v1.webhook_endpoints.create(params, options=self._options(key)))

    # --- sending ----------------------------------------------------------------------------------

    def _options(self, key: str | None = None) -> stripe.RequestOptions:
        options: stripe.RequestOptions = {}
        if key is not None:
            options["idempotency_key"] = key
        if self._account:
            options["stripe_account"] = self._account
        return options

    def _call(self, send: Callable[[], stripe.StripeObject]) -> Json:
        """Send a request; return the answer's JSON, or raise what became of the request."""
        self._transport.begin(self._until)
        failure: ConfigurationError | Declined | NotApplied | OutcomeUnknown
        try:
            answer = send().last_response
            found = json_object(answer.data) if answer is not None else None
            if found is not None:
                return dict(found)
            failure = OutcomeUnknown("Stripe answered something that cannot be read")
        except Exception as error:  # noqa: BLE001 - the package leaks AttributeError and others
            failure = sort(error, doubtful=self._transport.doubtful)
        # Raised outside, so that no chain leads to the request and its headers.
        raise failure
