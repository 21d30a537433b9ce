"""The provider: each hook as a few requests to Stripe, and what their answers mean.

A payer pays in the browser, with Stripe's own script: ``initiate`` makes a PaymentIntent, which is
inert, and ``authorize`` looks what became of it. Only a saved payment method is charged from here.
"""

from __future__ import annotations

import os
import re
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from attrs import evolve, field, frozen
from attrs.validators import ge, in_, instance_of, le, matches_re

from paysession.provider import (
    API_VERSION,
    Capabilities,
    Declined,
    Endpoint,
    NotApplied,
    Operation,
    Outcome,
    OutcomeUnknown,
    PaymentSession,
    Secret,
    Snapshot,
    Status,
    WebhookEvent,
    hookimpl,
)
from paysession_stripe import amounts, params, snapshot, webhooks
from paysession_stripe.data import StripeData
from paysession_stripe.intent import (
    SESSION,
    Intent,
    json_object,
    read_customer,
    read_dispute,
    read_intent,
    read_refund,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from paysession_stripe.gateway import Gateway
    from paysession_stripe.intent import Dispute, Json

__all__ = ["Stripe"]

_CONNECT: Final = 10.0
"""Seconds to connect at most, of the setting ``timeout``."""
_REQUESTS: Final = 3
"""How many requests a hook that changes something makes at most."""
_BACKOFF: Final = 5.0
"""Seconds that the stripe package waits at most before it sends a request again."""


_KEY: Final = re.compile(r"(sk|rk)_\w+", re.ASCII)

_Found = TypeVar("_Found")


def _secrets(value: str | Secret | Iterable[str | Secret]) -> tuple[Secret, ...]:
    given = [value] if isinstance(value, str | Secret) else list(value)
    return tuple(Secret(part) for part in given if part)


def _key(value: str | Secret) -> Secret:
    """Return a key without the line break with which a file of it ends: no header could carry that."""
    return Secret(Secret(value).reveal().strip())


def _check_key(_: object, __: object, key: Secret) -> None:
    if not _KEY.fullmatch(key.reveal()):
        raise ValueError("api_key is a secret key, sk_... or rk_..., of letters, digits and _")


def _check_base(_: object, __: object, address: Endpoint) -> None:
    if not address or address.endswith("/"):
        raise ValueError("api_base is an address without a slash at its end")


class _Lazy:
    """A gateway that is built when it is first used, whichever thread is first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.gateway: Gateway | None = None


class _PerProcess:
    """A gateway for each process.

    A process that was forked (by a web server that loads the application first) inherits the open
    connections: two processes on one of them would read each other's answers. It inherits the lock as
    well, which stays locked if a thread of the parent held it.
    """

    def __init__(self) -> None:
        self._lazies: dict[int, _Lazy] = {}

    @property
    def here(self) -> _Lazy:
        """The one of this process."""
        return self._lazies.setdefault(os.getpid(), _Lazy())


@frozen(kw_only=True, eq=False)
class Stripe:
    """The provider ``stripe``.

    Args:
        api_key: The secret key (``sk_...``), or a restricted one (``rk_...``).
        webhook_secret: The signing secret of the webhook endpoint (``whsec_...``), or several while
            one replaces another. Without one every notification is rejected.
        publishable_key: The key for the browser (``pk_...``); it is no secret.
        api_base: Where Stripe is; another address serves tests. Plain http goes to this machine only.
        stripe_account: The connected account (``acct_...``) to act for.
        timeout: How many seconds a whole answer may take.
        max_network_retries: How often a request whose answer was lost is sent again, under the same
            key, before the operation is in doubt.
        capture_method: ``manual``, or ``automatic`` to capture whatever is authorized. A session
            that asks for automatic capture has it in any case.
        statement_descriptor_suffix: What follows the shop's name on the payer's statement.
        multicapture: Whether this account may capture one payment several times. Stripe gives this
            on request, for cards: https://docs.stripe.com/payments/multicapture. Without it a
            capture is the only one, and lets go of the rest.
        max_digits: How many digits an amount may have. Eight are taken with every payment method; a
            shop that takes cards only may set up to 12.
    """

    API_VERSION: ClassVar = API_VERSION

    api_key: Secret = field(converter=_key, validator=_check_key)
    webhook_secret: tuple[Secret, ...] = field(default=(), converter=_secrets)
    publishable_key: str = field(default="", validator=matches_re(r"(pk_\w+)?"))
    api_base: Endpoint = field(
        default=Endpoint("https://api.stripe.com"), converter=Endpoint, validator=_check_base
    )
    stripe_account: str = field(default="", validator=matches_re(r"(acct_\w+)?"))
    timeout: float = field(default=20.0, validator=[instance_of((int, float)), ge(1)])
    max_network_retries: int = field(default=1, validator=[instance_of(int), ge(0), le(5)])
    capture_method: str = field(default="manual", validator=in_(("manual", "automatic")))
    statement_descriptor_suffix: str = field(default="", validator=matches_re(r"""[^<>\\'"*]{0,22}"""))
    multicapture: bool = field(default=False, validator=instance_of(bool))
    max_digits: int = field(default=amounts.MAX_DIGITS, validator=[instance_of(int), ge(8), le(12)])
    _lazy: _PerProcess = field(init=False, factory=_PerProcess, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.mode == "live" and not self.api_base.startswith("https://"):
            raise ValueError("a live key is only sent over https")
        other = "_live_" if self.mode == "test" else "_test_"
        if self.mode != "unknown" and other in self.publishable_key:
            raise ValueError(f"api_key is of {self.mode} mode, and publishable_key is not")

    @property
    def mode(self) -> str:
        """``live``, ``test``, or ``unknown``: which money the key is about."""
        key = self.api_key.reveal()
        return next((mode for mode in ("live", "test") if key[2:].startswith(f"_{mode}_")), "unknown")

    @property
    def capabilities(self) -> Capabilities:
        """What this account can do; see `paysession.provider.Capabilities`."""
        retries = self.max_network_retries
        request = (1 + retries) * (self.timeout + min(self.timeout, _CONNECT)) + retries * _BACKOFF
        return Capabilities(
            # A payer's card decides whether several captures are possible, and only after it is
            # authorized; so "multiple" is what an account was given, and what a host may plan with.
            capture="multiple" if self.multicapture else "once",
            refund="multiple",
            replay_window=timedelta(hours=24),
            # A PaymentIntent that is fetched by its id is up to date. The search that finds one
            # whose id was lost lags, and serves `initiate` only, which is repeated under its key.
            lookup="consistent",
            call_limit=timedelta(seconds=_REQUESTS * request),
        )

    # --- the life of a session --------------------------------------------------------------------

    @hookimpl
    def initiate(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Create the PaymentIntent, and the customer before it if one is described."""
        try:
            data = StripeData.requested(session.data)
        except (TypeError, ValueError) as error:
            raise Declined("invalid_data", str(error)) from None
        amount = amounts.to_charge(session.amount, self.max_digits)
        gateway = self._gateway()
        if data.customer is None and (data.email or data.name):
            wanted = params.customer(session, data)
            made = gateway.create_customer(wanted, key=operation.subkey("customer"))
            data = evolve(data, customer=_understood(read_customer, made))
        form = params.intent(
            session,
            operation,
            data,
            amount=amount,
            automatic="automatic" in (session.capture, self.capture_method),
            multicapture=self.multicapture,
            suffix=self.statement_descriptor_suffix,
        )
        try:
            intent = _understood(read_intent, gateway.create_intent(form, key=operation.key))
        except (Declined, NotApplied, OutcomeUnknown) as error:
            error.data = data.to_json()  # the customer is made, whatever became of the PaymentIntent
            raise
        return self._prepared(intent, operation, data)

    @hookimpl
    def update(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Change the amount. If the payer confirms at this moment Stripe refuses, or was in time."""
        amount = amounts.to_charge(operation.amount, self.max_digits)
        gateway = self._gateway()
        intent = _understood(
            read_intent, gateway.update_intent(_id(session), {"amount": amount}, key=operation.key)
        )
        return self._prepared(intent, operation, StripeData.from_json(session.data))

    def _prepared(self, intent: Intent, operation: Operation, data: StripeData) -> Outcome:
        """Return the answer for a PaymentIntent that waits to be paid."""
        told = data.seen(intent).to_json()
        if intent.amount != operation.amount:
            raise OutcomeUnknown(
                f"{intent.id} is about {intent.amount} where {operation.amount} was asked",
                data=told,
                reference=intent.id,
            )
        status = snapshot.status_of(intent)
        if status in (Status.AUTHORIZED, Status.CANCELED):
            raise OutcomeUnknown(f"{intent.id} is {intent.status} already", data=told, reference=intent.id)
        action = self._browser.action(intent, data)
        if status is Status.REQUIRES_MORE:
            return Outcome.requires_more(next_action=action, data=told, reference=intent.id)
        return Outcome.pending(next_action=action, data=told, reference=intent.id)

    @hookimpl
    def authorize(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Look what the payer did in the browser; charge a saved payment method, if the host asks for it."""
        data = StripeData.from_json(session.data)
        gateway = self._gateway()
        intent = self._look(gateway, session)
        if operation.origin == "host" and _is_ours_to_confirm(intent, session, data):
            try:
                form = params.confirmation(session, data)
                intent = _understood(read_intent, gateway.confirm_intent(intent.id, form, key=operation.key))
            except Declined as error:
                # The next attempt depends on it, and is to be the same when it is repeated.
                error.data = evolve(data, last_error=error.code).to_json()
                raise
        return snapshot.authorization(intent, session, data, self._browser)

    @hookimpl
    def capture(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Take what is authorized, or a part of it."""
        form = params.capture(session, operation, multicapture=self.multicapture)
        intent = _understood(
            read_intent, self._gateway().capture_intent(_id(session), form, key=operation.key)
        )
        return snapshot.capture(intent, session, StripeData.from_json(session.data))

    @hookimpl
    def refund(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Give back what was captured, or a part of it."""
        form = params.refund(session, operation, _id(session))
        found = self._gateway().refund(form, key=operation.key)
        return snapshot.refund(_understood(read_refund, found))

    @hookimpl
    def cancel(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Cancel the PaymentIntent; after a partial capture, let go of the rest."""
        gateway, intent_id = self._gateway(), _id(session)
        if session.captured_amount:
            found = gateway.capture_intent(intent_id, params.release(), key=operation.key)
        else:
            found = gateway.cancel_intent(intent_id, key=operation.key)
        intent = _understood(read_intent, found)
        return snapshot.release(intent, session, StripeData.from_json(session.data))

    # --- finding out ------------------------------------------------------------------------------

    @hookimpl
    def retrieve(self, session: PaymentSession, operation: Operation | None) -> Snapshot:
        """Tell the truth: captures, refunds and disputes one by one, whoever made them."""
        data = StripeData.from_json(session.data)
        gateway = self._gateway()
        try:
            intent_id = session.reference or data.payment_intent or _lost_id(gateway, session)
            if intent_id is None:
                return Snapshot.absent()
            intent = _understood(read_intent, gateway.intent(intent_id))
            disputes: tuple[Dispute, ...] = ()
            if intent.charge is not None and intent.charge.disputed:
                found = gateway.disputes(intent.charge.id)
                disputes = tuple(_understood(read_dispute, dispute) for dispute in found)
        except Declined as error:
            # Stripe forgets no PaymentIntent: one that it does not know is another account's.
            raise OutcomeUnknown(f"Stripe cannot be asked about this session: {error}") from None
        return snapshot.snapshot(intent, disputes, session, data, self._browser, operation)

    @hookimpl
    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> Sequence[WebhookEvent]:
        """Verify and read a notification. It is a hint: what is booked is fetched."""
        return webhooks.parse(
            headers,
            body,
            secrets=self.webhook_secret,
            now=time.time(),
            livemode=None if self.mode == "unknown" else self.mode == "live",
            account=self.stripe_account,
        )

    @hookimpl
    def close(self) -> None:
        """Close the connections of this process."""
        lazy = self._lazy.here
        with lazy.lock:
            gateway, lazy.gateway = lazy.gateway, None
        if gateway is not None:
            gateway.close()

    # --- what the hooks share ---------------------------------------------------------------------

    def _gateway(self) -> Gateway:
        lazy = self._lazy.here
        with lazy.lock:
            if lazy.gateway is None:
                from paysession_stripe.gateway import Gateway  # noqa: PLC0415 - loads the package: 150 ms

                lazy.gateway = Gateway(
                    self.api_key,
                    api_base=self.api_base,
                    stripe_account=self.stripe_account,
                    timeout=(min(self.timeout, _CONNECT), self.timeout),
                    max_network_retries=self.max_network_retries,
                )
            return lazy.gateway

    @property
    def _browser(self) -> snapshot.Browser:
        return snapshot.Browser(self.publishable_key, self.stripe_account)

    def _look(self, gateway: Gateway, session: PaymentSession) -> Intent:
        """Fetch the session's PaymentIntent before anything is written.

        Raises:
            OutcomeUnknown: It cannot be looked at: nothing was sent, but the payer may have paid.
        """
        try:
            intent = _understood(read_intent, gateway.intent(_id(session)))
        except Declined as error:
            raise OutcomeUnknown(f"the PaymentIntent cannot be looked at: {error}") from None
        if intent.session_id not in (None, session.id):  # None: somebody took it off in the dashboard
            raise NotApplied(f"nothing was sent: {intent.id} carries another session's id")
        return intent


def _is_ours_to_confirm(intent: Intent, session: PaymentSession, data: StripeData) -> bool:
    """Return whether the saved payment method is to be charged now."""
    if data.payment_method is None:
        return False
    if intent.status == "requires_confirmation":
        return True
    # A failure that was told already is tried again; one that was not is this operation's answer.
    return intent.status == "requires_payment_method" and (
        intent.error is None or session.status is Status.ERROR
    )


def _understood(read: Callable[[Json], _Found], found: Json) -> _Found:
    """Read an answer; one that cannot be read tells nothing."""
    try:
        return read(found)
    except ValueError as error:
        raise OutcomeUnknown(str(error)) from None


def _id(session: PaymentSession) -> str:
    """Return the id of the session's PaymentIntent."""
    intent_id = session.reference or StripeData.from_json(session.data).payment_intent
    if intent_id is None:
        raise NotApplied("this session has no PaymentIntent; sync() looks for one")
    return intent_id


def _lost_id(gateway: Gateway, session: PaymentSession) -> str | None:
    """Return the id of the PaymentIntent that carries our session's id, if the search shows one."""
    try:
        found = gateway.find_intents(f"metadata['{SESSION}']:'{session.id}'")
    except Declined:
        # Some countries' accounts have no search. Only `initiate` loses an id, and it is repeated
        # under its key; should that have expired, the PaymentIntent waits for nobody's money.
        return None
    ours = [
        intent for intent in found if (json_object(intent.get("metadata")) or {}).get(SESSION) == session.id
    ]
    # One key makes one; should there be two after all, the one that is still alive matters.
    ours.sort(key=lambda intent: (intent.get("status") == "canceled", str(intent.get("created"))))
    return str(ours[0]["id"]) if ours else None
