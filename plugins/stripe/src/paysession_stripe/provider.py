"""The provider: each hook as a few requests to Stripe, and what their answers mean.

A payer pays in the browser, with Stripe's own script or on Stripe's own page: ``initiate`` makes what
they need, which is inert, and ``authorize`` looks what became of it. Only a kept payment method is charged
from here.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from attrs import evolve, field, frozen
from attrs.validators import ge, in_, instance_of, le, matches_re

from paysession.provider import (
    API_VERSION,
    Capabilities,
    Changes,
    ConfigurationError,
    Declined,
    Endpoint,
    InvalidData,
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
from paysession_stripe import amounts, endpoint, evidence, params, webhooks
from paysession_stripe.data import StripeData
from paysession_stripe.errors import Refused, StateRefused
from paysession_stripe.intent import SESSION, read_customer, read_dispute, read_intent, read_refund
from paysession_stripe.options import CAPTURES, PAGES, check_suffix
from paysession_stripe.page import read_page
from paysession_stripe.reading import json_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from paysession_stripe.evidence import Reading
    from paysession_stripe.gateway import Account, Gateway
    from paysession_stripe.intent import Dispute, Intent
    from paysession_stripe.page import Page
    from paysession_stripe.reading import Json

__all__ = ["Stripe"]

logger = logging.getLogger("paysession_stripe")

_CONNECT: Final = 10.0
"""Seconds to connect at most, of the setting ``timeout``."""
_REQUESTS: Final = 5
"""How many requests a hook that changes something makes at most."""
_BACKOFF: Final = 5.0
"""Seconds that the stripe package waits at most before it sends a request again."""
_PAGE: Final = "cs_"
_LISTED: Final = timedelta(days=30) - timedelta(minutes=5)
"""How far back Stripe lists events."""
_REFUSED: Final = 86_400.0
"""Seconds after which Stripe is asked again for a list that this key may not read."""

MOST_PATIENCE: Final = 300.0
"""The longest timeout, in seconds: an operation is in flight for several of them."""

_KEY: Final = re.compile(r"(sk|rk)_\w+", re.ASCII)

_Found = TypeVar("_Found")


def _secrets(value: str | Secret | Iterable[str | Secret]) -> tuple[Secret, ...]:
    given = [value] if isinstance(value, str | Secret) else list(value)
    return tuple(secret for part in given if (secret := _key(part)))


def _key(value: str | Secret) -> Secret:
    """Return a key without the line break with which a file of it ends: no header could carry that."""
    return Secret(Secret(value).reveal().strip())


def _check_key(_: object, __: object, key: Secret) -> None:
    if not _KEY.fullmatch(key.reveal()):
        raise ValueError("api_key is a secret key, sk_... or rk_..., of letters, digits and _")


def _check_secrets(_: object, __: object, secrets: tuple[Secret, ...]) -> None:
    if not all(secret.reveal().startswith("whsec_") for secret in secrets):
        raise ValueError("webhook_secret is the signing secret of the endpoint, whsec_...")


def _check_suffix(_: object, __: object, suffix: str) -> None:
    if suffix:
        check_suffix(suffix)


def _check_base(_: object, __: object, address: Endpoint) -> None:
    if not address or address.endswith("/"):
        raise ValueError("api_base is an address without a slash at its end")


class _Lazy:
    """A gateway that is built when it is first used, whichever thread is first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.gateway: Gateway | None = None
        self.unlisted_until = 0.0
        """Until when, on the clock of ``time.monotonic``, Stripe is not asked for its list of events."""
        self.disputes_refused = False
        """Whether the key may not read disputes, and that was logged."""


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
        ui: ``elements`` for Stripe's form in your page, ``hosted`` for a page of Stripe's, or ``embedded``
            for that page in a frame of yours.
        capture_method: ``manual``, ``automatic`` to capture whatever is authorized, or
            ``where_possible``: later with the payment methods that can wait, at once with the others. A
            session that asks for automatic capture has it in any case.
        statement_descriptor_suffix: What follows the shop's name on the payer's statement.
        receipts: Whether Stripe sends a receipt to ``Checkout.email``; in live mode it does so whatever
            the dashboard says (https://docs.stripe.com/api/payment_intents/create).
        multicapture: Whether this account may capture one payment several times. Stripe gives this
            on request, for cards: https://docs.stripe.com/payments/multicapture. Without it a
            capture is the only one, and releases the rest.
        extended_authorization: Whether a card is held for longer than a week where that is available, for up
            to 30 days. Stripe gives this on request: https://docs.stripe.com/payments/extended-authorization.
        incremental_authorization: Whether what a card holds can be raised before it is captured, by
            ``update`` of an authorized session, where that is available. Stripe gives this on request:
            https://docs.stripe.com/payments/incremental-authorization.
        max_digits: How many digits an amount may have. Eight are taken with every payment method; a
            shop that takes cards only may set up to 12.
    """

    API_VERSION: ClassVar = API_VERSION

    api_key: Secret = field(converter=_key, validator=_check_key)
    webhook_secret: tuple[Secret, ...] = field(default=(), converter=_secrets, validator=_check_secrets)
    publishable_key: str = field(default="", validator=matches_re(r"(pk_\w+)?"))
    api_base: Endpoint = field(
        default=Endpoint("https://api.stripe.com"), converter=Endpoint, validator=_check_base
    )
    stripe_account: str = field(default="", validator=matches_re(r"(acct_\w+)?"))
    timeout: float = field(default=20.0, validator=[instance_of((int, float)), ge(1), le(MOST_PATIENCE)])
    max_network_retries: int = field(default=1, validator=[instance_of(int), ge(0), le(5)])
    ui: str = field(default="elements", validator=in_(("elements", *PAGES)))
    capture_method: str = field(default="manual", validator=in_(CAPTURES))
    statement_descriptor_suffix: str = field(default="", validator=_check_suffix)
    receipts: bool = field(default=True, validator=instance_of(bool))
    multicapture: bool = field(default=False, validator=instance_of(bool))
    extended_authorization: bool = field(default=False, validator=instance_of(bool))
    incremental_authorization: bool = field(default=False, validator=instance_of(bool))
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
            # Whether a card can do it shows when it is authorized: another one is refused then.
            increment=self.incremental_authorization,
            keyed_effects=True,  # in the metadata that each of our captures and refunds writes
            replay_window=timedelta(hours=24),
            # A PaymentIntent that is fetched by its id is up to date. The search that finds one
            # whose id was lost lags, and serves `initiate` only, which is repeated under its key.
            lookup="consistent",
            currency_exponents=amounts.EXPONENTS,
            call_limit=timedelta(seconds=_REQUESTS * request),
        )

    # --- the life of a session --------------------------------------------------------------------

    @hookimpl
    def initiate(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Create the PaymentIntent, or the page, and the customer before it if one is described."""
        try:
            data = StripeData.requested(session.data, self.ui)
        except ValueError as error:
            raise InvalidData(str(error)) from None
        if data.ui in PAGES and session.checkout.return_url is None:
            raise InvalidData(f"Stripe's {data.ui} page needs Checkout(return_url=...)")
        amount = amounts.to_charge(session.amount, self.max_digits)
        account = self._account(data, operation)
        create = self._create_page if data.ui in PAGES else self._create_intent
        try:
            data = evolve(data, customer=self._customer(account, session, operation, data))
            reading = create(account, session, operation, data, amount)
        except Refused as error:
            # Nothing is charged here, so it is no decline: Stripe does not take what was asked for.
            raise InvalidData(error.message) from None
        except (NotApplied, OutcomeUnknown) as error:
            # A customer who was found or made is named by the next attempt, whatever became of the payment.
            known = data if data.customer is None else evolve(data, customer_reference=None)
            error.data = known.to_json()
            raise
        return evidence.made(reading, operation)

    def _customer(
        self, account: Account, session: PaymentSession, operation: Operation, data: StripeData
    ) -> str | None:
        """Return the id of the customer at Stripe, found or made; None: it is a guest's payment."""
        if data.customer is not None:
            return data.customer
        form = params.customer(session, data)
        if data.customer_reference is not None:
            known = _known_customer(account, data.customer_reference)
            if known is not None:
                return known
            # The search lags: until it shows a customer that was just made, the key finds it.
            return _understood(read_customer, account.create_customer(form, key=params.customer_key(form)))
        if data.email or data.name or (data.setup_future_usage and session.checkout.email):
            return _understood(read_customer, account.create_customer(form, key=operation.subkey("customer")))
        return None

    def _create_intent(
        self, account: Account, session: PaymentSession, operation: Operation, data: StripeData, amount: int
    ) -> Reading:
        form = params.intent(session, operation, data, self._defaults, amount=amount)
        intent = _understood(read_intent, account.create_intent(form, key=operation.key))
        return evidence.read(intent, session, data.made(), self._browser(session, data))

    def _create_page(
        self, account: Account, session: PaymentSession, operation: Operation, data: StripeData, amount: int
    ) -> Reading:
        form = params.page(session, operation, data, self._defaults, amount=amount)
        page = _understood(read_page, account.create_page(form, key=operation.key))
        # All of the data is kept: a page with another amount is a new one.
        return evidence.read(None, session, data, self._browser(session, data), page)

    @hookimpl
    def update(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Change the amount, or raise what is authorized.

        If the payer confirms while the amount is changed Stripe refuses, or was in time.
        """
        amount = amounts.to_charge(operation.amount, self.max_digits)
        data = StripeData.from_json(session.data)
        account = self._account(data, operation)
        if operation.increments:
            return self._increment(account, session, operation, amount)
        former = _page_id(session)
        if former is not None:
            return self._replace_page(account, session, operation, former, amount)
        try:
            found = account.update_intent(_id(session), {"amount": amount}, key=operation.key)
        except StateRefused as refused:
            return self._after_refusal(account, session, operation, refused)
        intent = _understood(read_intent, found)
        return evidence.made(evidence.read(intent, session, data, self._browser(session, data)), operation)

    def _increment(
        self, account: Account, session: PaymentSession, operation: Operation, amount: int
    ) -> Outcome:
        """Raise what the card holds. The bank may refuse, which leaves the authorization as it was.

        https://docs.stripe.com/api/payment_intents/increment_authorization
        """
        data, intent_id = StripeData.from_json(session.data), _id(session)
        if data.incremental is False:
            raise Declined(
                "incremental_authorization_unavailable",
                f"what {intent_id} holds cannot be raised: Stripe does not have that for this card. Capture "
                "what is authorized, and take the difference in another session",
                conclusive=True,
                category="configuration",
            )
        try:
            found = account.increment_intent(intent_id, params.increment(amount), key=operation.key)
        except StateRefused as refused:
            return self._after_refusal(account, session, operation, refused)
        return evidence.raised(self._read(found, session, data))

    def _replace_page(
        self, account: Account, session: PaymentSession, operation: Operation, former: str, amount: int
    ) -> Outcome:
        """Make a page with another amount, and close the former one; Stripe changes no page's amount.

        Nobody knows of the new page before the former one is closed, so nobody can pay both.
        """
        data = StripeData.from_json(session.data)
        reading = self._create_page(account, session, operation, data, amount)
        try:
            account.expire_page(former, key=operation.subkey("former"))
        except Declined as error:  # it is not open any more
            page = _understood(read_page, account.page(former))
            if page.status != "expired":
                account.expire_page(reading.reference, key=operation.subkey("new"))
                if session.authorized:  # it is recorded already, and no lookup has settled this
                    raise evidence.paid_before(operation) from None
                doubt = OutcomeUnknown(f"the payer was at the former page: {error.message}")
                return self._after_refusal(account, session, operation, doubt, page)
        return evidence.made(reading, operation)

    @hookimpl
    def authorize(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Look what the payer did; charge a kept payment method, if the host asks for it."""
        data = StripeData.from_json(session.data)
        account = self._account(data, operation)
        reading = self._look(account, session)
        intent = reading.intent
        if operation.origin == "host" and intent is not None and _is_ours_to_confirm(intent, session, data):
            form = params.confirmation(session, data)
            try:
                intent = _understood(read_intent, account.confirm_intent(intent.id, form, key=operation.key))
            except Refused as error:
                # The next attempt depends on it, and is to be the same when it is repeated.
                data = data if error.intent is None else data.seen(error.intent)
                error.data = evolve(data, last_error=error.code).to_json()
                raise
            reading = evidence.read(intent, session, data, self._browser(session, data))
        return evidence.authorization(reading)

    @hookimpl
    def capture(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Take what is authorized, or a part of it."""
        data = StripeData.from_json(session.data)
        last = operation.final or params.is_last(session, operation)
        if self.multicapture and data.multicapture is False and not last:
            raise Declined(
                "multicapture_unavailable",
                "this payment can be captured once, which releases the rest: capture it with final=True",
                category="configuration",
            )
        form = params.capture(session, operation, data, multicapture=self.multicapture)
        account = self._account(data, operation)
        try:
            found = account.capture_intent(_id(session), form, key=operation.key)
        except StateRefused as refused:
            return self._after_refusal(account, session, operation, refused)
        return evidence.capture(self._read(found, session, data))

    @hookimpl
    def refund(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Give back what was captured, or a part of it."""
        account = self._account(StripeData.from_json(session.data), operation)
        form = params.refund(session, operation, _id(session))
        found = account.refund(form, key=operation.key)
        return evidence.refund(_understood(read_refund, found))

    @hookimpl
    def cancel(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Cancel the payment, or close its page; after a partial capture, release the rest."""
        data = StripeData.from_json(session.data)
        account = self._account(data, operation)
        page = _page_id(session)
        if page is not None and not session.authorized:
            return self._close_page(account, session, operation, page)
        intent_id = _id(session) if page is None else self._paid(account, page)
        try:
            if session.captured_amount:
                found = account.capture_intent(intent_id, params.release(), key=operation.key)
            else:
                found = account.cancel_intent(intent_id, key=operation.key)
        except StateRefused as refused:
            return self._after_refusal(account, session, operation, refused)
        return evidence.release(self._read(found, session, data))

    @staticmethod
    def _paid(account: Account, page_id: str) -> str:
        """Return the PaymentIntent of a page that was paid after this operation had begun."""
        page = _understood(read_page, account.page(page_id))
        if page.intent is None:
            raise OutcomeUnknown(f"Stripe shows no payment of {page_id}")
        return page.intent

    def _close_page(
        self, account: Account, session: PaymentSession, operation: Operation, page_id: str
    ) -> Outcome:
        """Close the page, so that nobody can pay there any more."""
        try:
            found = account.expire_page(page_id, key=operation.subkey("page"))
        except Declined as error:  # it is not open: the payer has paid, or it has closed by itself
            reading = self._look(account, session)
            if reading.failed_for_good:
                reading = self._end_failed(account, session, operation, reading)
            if reading.status is Status.CANCELED:
                return evidence.release(reading)
            return evidence.after_refusal(reading, operation, OutcomeUnknown(error.message))
        data, page = StripeData.from_json(session.data), _understood(read_page, found)
        return evidence.release(evidence.read(None, session, data, self._browser(session, data), page))

    def _end_failed(
        self, account: Account, session: PaymentSession, operation: Operation, reading: Reading
    ) -> Reading:
        """Cancel a payment that failed after its payer had left the page, such as a returned bank debit.

        Stripe refuses that (https://docs.stripe.com/api/payment_intents/cancel), and closes no such page
        either. Nobody can pay there any more: what still waits for its payer then has ended as well.
        """
        data = StripeData.from_json(session.data)
        try:
            found = account.cancel_intent(reading.data.payment_intent or "", key=operation.key)
        except (Declined, StateRefused):
            seen = self._look(account, session, reading.page)
            return evolve(seen, status=Status.CANCELED) if seen.failed_for_good else seen
        intent = _understood(read_intent, found)
        return evidence.read(intent, session, data, self._browser(session, data), reading.page)

    def _after_refusal(
        self,
        account: Account,
        session: PaymentSession,
        operation: Operation,
        refused: OutcomeUnknown,
        page: Page | None = None,
    ) -> Outcome:
        """Look at the object that refused because of its state, and decide by it; ``page``: as just seen."""
        try:
            reading = self._look(account, session, page)
        except (Declined, NotApplied, OutcomeUnknown):
            raise refused from None  # recovery looks again
        return evidence.after_refusal(reading, operation, refused)

    # --- reconciling ------------------------------------------------------------------------------

    @hookimpl
    def retrieve(self, session: PaymentSession, operation: Operation | None) -> Snapshot:
        """Show the truth: captures, refunds and disputes one by one, whoever made them."""
        data = StripeData.from_json(session.data)
        account = self._account(data, operation)
        try:
            reading = self._found(account, session, data)
            if reading is None:
                return Snapshot.absent()
            if reading.replaced_by(operation):
                # Perhaps the update closed the page: that is no end, and sent again it finds the new one.
                return evidence.snapshot(evolve(reading, intent=None, status=Status.PENDING))
            disputes: Sequence[Dispute] | None = ()
            charge = reading.intent.charge if reading.intent is not None else None
            if charge is not None and (charge.disputed or data.disputed):
                disputes = self._disputes(account, charge.id)
        except Declined as error:
            # Stripe forgets no payment: one that it does not know is another account's.
            raise OutcomeUnknown(f"Stripe cannot be asked about this session: {error}") from None
        if reading.data.fraud_actionable is not None:
            _log_fraud(session, reading)
            reading = evolve(reading, data=reading.data.noted())
        return evidence.snapshot(reading, disputes, operation)

    def _disputes(self, account: Account, charge_id: str) -> Sequence[Dispute] | None:
        """Fetch the disputes of a charge; None: the key may not read them, which is logged once a process."""
        try:
            found = account.disputes(charge_id)
        except ConfigurationError as error:  # the same key has just read the payment
            lazy = self._lazy.here
            if not lazy.disputes_refused:
                lazy.disputes_refused = True
                logger.warning(
                    "disputes are not recorded: Stripe does not let this key read them; give it the "
                    "permission to read disputes: %s",
                    error,
                )
            return None
        return tuple(_understood(read_dispute, dispute) for dispute in found)

    def _found(
        self, account: Account, session: PaymentSession, data: StripeData, page: Page | None = None
    ) -> Reading | None:
        """Fetch what the session is at Stripe, ``page`` if it was not just fetched; None: it is not there."""
        browser = self._browser(session, data)
        page_id = _page_id(session)
        if page_id is not None:
            page = page or _understood(read_page, account.page(page_id))
            if page.intent is None:
                return evidence.read(None, session, data, browser, page)
        known = page.intent if page is not None else session.reference or data.payment_intent
        intent_id = known or _lost_id(account, session)
        if intent_id is None:
            return None
        intent = _understood(read_intent, account.intent(intent_id))
        return evidence.read(intent, session, data, browser, page)

    @hookimpl
    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> Sequence[WebhookEvent]:
        """Verify and read a notification. It is a hint: what is recorded is fetched."""
        return webhooks.parse(
            headers,
            body,
            secrets=self.webhook_secret,
            now=time.time(),
            livemode=None if self.mode == "unknown" else self.mode == "live",
        )

    @hookimpl
    def changes(self, since: datetime) -> Changes:
        """List the events since a time, as they would have been notified of, of this account."""
        now, lazy = datetime.now(UTC), self._lazy.here
        if time.monotonic() < lazy.unlisted_until:
            raise NotApplied("Stripe refused to list its events: it is asked again after a day")
        account = self._gateway().account(self.stripe_account)
        try:
            found, until = account.events(max(since, now - _LISTED), now)
        except (ConfigurationError, Declined) as error:
            lazy.unlisted_until = time.monotonic() + _REFUSED
            raise NotApplied(f"Stripe does not list its events: {error.message}") from None
        events = [event for row in found if (event := webhooks.listed(row)) is not None]
        return Changes(events, until)

    @hookimpl
    def close(self) -> None:
        """Close the connections of this process."""
        lazy = self._lazy.here
        with lazy.lock:
            gateway, lazy.gateway = lazy.gateway, None
        if gateway is not None:
            gateway.close()

    # --- the webhook endpoint ---------------------------------------------------------------------

    def create_endpoint(self, url: str) -> Secret:
        """Create the webhook endpoint for an address; return its signing secret, which Stripe shows once.

        Args:
            url: Where notifications go, such as ``https://shop.example/pay/webhooks/stripe``.

        Raises:
            ConfigurationError: There is one already, or Stripe does not take it.
        """
        account = self._gateway().account(self.stripe_account)
        return endpoint.create(account, url)

    def check_endpoint(self, url: str) -> list[str]:
        """Return what is wrong with the webhook endpoint for an address; nothing: it is as it has to be.

        Args:
            url: Where notifications go.

        Raises:
            NotApplied, OutcomeUnknown, ConfigurationError: Stripe could not be asked.
        """
        account = self._gateway().account(self.stripe_account)
        problems = endpoint.problems(account, url)
        if not self.webhook_secret:
            problems.append("the setting webhook_secret is missing: every notification is rejected")
        return problems

    # --- what the hooks share ---------------------------------------------------------------------

    def _gateway(self) -> Gateway:
        lazy = self._lazy.here
        with lazy.lock:
            if lazy.gateway is None:
                from paysession_stripe.gateway import Gateway  # noqa: PLC0415 - loads the package: 150 ms

                lazy.gateway = Gateway(
                    self.api_key,
                    api_base=self.api_base,
                    timeout=(min(self.timeout, _CONNECT), self.timeout),
                    max_network_retries=self.max_network_retries,
                )
            return lazy.gateway

    def _account(self, data: StripeData, operation: Operation | None) -> Account:
        """Return Stripe for a session's account, for as long as the caller of a hook waits."""
        left = operation.time_left() if operation is not None else None
        until = None if left is None else time.monotonic() + left
        return self._gateway().account(data.stripe_account or self.stripe_account, until=until)

    @property
    def _defaults(self) -> params.Defaults:
        return params.Defaults(
            capture=self.capture_method,
            multicapture=self.multicapture,
            extended=self.extended_authorization,
            incremental=self.incremental_authorization,
            suffix=self.statement_descriptor_suffix,
            receipts=self.receipts,
        )

    def _browser(self, session: PaymentSession, data: StripeData) -> evidence.Browser:
        return evidence.Browser(
            self.publishable_key,
            data.stripe_account or self.stripe_account,
            session.checkout.locale,
            session.checkout.email,
        )

    def _read(self, found: Json, session: PaymentSession, data: StripeData) -> Reading:
        """Read the PaymentIntent that answers a write."""
        intent = _understood(read_intent, found)
        reading = evidence.read(intent, session, data, self._browser(session, data))
        return evolve(reading, reference=session.reference or reading.reference)

    def _look(self, account: Account, session: PaymentSession, page: Page | None = None) -> Reading:
        """Fetch what the session is at Stripe, before anything is written or after a refusal.

        Raises:
            OutcomeUnknown: It cannot be looked at: nothing was sent, but the payer may have paid.
            NotApplied: It is not known, or it is another session's.
        """
        data = StripeData.from_json(session.data)
        if session.reference is None and data.payment_intent is None:
            raise NotApplied("this session has no PaymentIntent; sync() looks for one")
        try:
            reading = self._found(account, session, data, page)
        except Declined as error:
            raise OutcomeUnknown(f"the payment cannot be looked at: {error}") from None
        if reading is None:
            raise OutcomeUnknown("Stripe shows no payment for this session")
        if reading.session_id not in (None, session.id):  # None: somebody took it off in the dashboard
            raise NotApplied(f"nothing was sent: {reading.reference} carries another session's id")
        return reading


def _is_ours_to_confirm(intent: Intent, session: PaymentSession, data: StripeData) -> bool:
    """Return whether the saved payment method is to be charged now."""
    if data.payment_method is None:
        return False
    if intent.status == "requires_confirmation":
        return True
    # A failure that was reported already is tried again; one that was not is this operation's answer.
    return intent.status == "requires_payment_method" and (
        intent.error is None or session.status is Status.ERROR
    )


def _understood(read: Callable[[Json], _Found], found: Json) -> _Found:
    """Read an answer; one that cannot be read tells nothing."""
    try:
        return read(found)
    except ValueError as error:
        raise OutcomeUnknown(str(error)) from None


def _log_fraud(session: PaymentSession, reading: Reading) -> None:
    """Log the early fraud warning that a notification brought."""
    logger.warning(
        "the issuer of the card takes the payment %s of session %s for fraud (%s), and no money moved: %s",
        reading.data.payment_intent,
        session.id,
        reading.data.fraud_warning,
        "refund it before it is disputed" if reading.data.fraud_actionable else "it is settled already",
    )


def _id(session: PaymentSession) -> str:
    """Return the id of the session's PaymentIntent."""
    data = StripeData.from_json(session.data)
    if session.reference is not None and _page_id(session) is None:
        return session.reference
    if data.payment_intent is None:
        raise NotApplied("this session has no PaymentIntent; sync() looks for one")
    return data.payment_intent


def _page_id(session: PaymentSession) -> str | None:
    """Return the id of the page where the payer pays; None: there is none, or they have paid there."""
    reference = session.reference
    return reference if reference is not None and reference.startswith(_PAGE) else None


def _lost_id(account: Account, session: PaymentSession) -> str | None:
    """Return the id of the PaymentIntent that carries our session's id, if the search shows one."""
    try:
        found = account.find_intents(f"metadata['{SESSION}']:'{session.id}'")
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


def _known_customer(account: Account, reference: str) -> str | None:
    """Return the id of the customer who carries the shop's own id, if the search shows one."""
    quoted = reference.replace("\\", "\\\\").replace("'", "\\'")
    try:
        found = account.find_customers(f"metadata['{params.CUSTOMER}']:'{quoted}'")
    except Declined:
        return None  # some countries' accounts have no search
    ours = [
        row for row in found if (json_object(row.get("metadata")) or {}).get(params.CUSTOMER) == reference
    ]
    return _understood(read_customer, ours[0]) if ours else None
