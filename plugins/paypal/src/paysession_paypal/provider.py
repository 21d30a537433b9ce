"""The provider ``paypal``: its settings, and the hooks that carry a session's operations out."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from attrs import define, evolve, field

from paysession.provider import (
    API_VERSION,
    Capabilities,
    ClientAction,
    Declined,
    Kind,
    NotApplied,
    Operation,
    Outcome,
    OutcomeUnknown,
    PaymentSession,
    Redirect,
    Snapshot,
    Status,
    hookimpl,
)
from paysession_paypal import amounts, bodies, registration, webhooks
from paysession_paypal.bodies import key_of
from paysession_paypal.data import PayPalData
from paysession_paypal.disputes import read_case
from paysession_paypal.document import as_list, text_in
from paysession_paypal.gateway import Gateway
from paysession_paypal.orders import Order, read_authorization, read_capture, read_order, read_refund
from paysession_paypal.reading import PAYMENTS_KEY, Reading, captured, refunded
from paysession_paypal.refusals import (
    CANNOT_BE_VOIDED,
    EXPIRED,
    NOT_APPROVED,
    OVER,
    PAYER_MUST_ACT,
    StateRefusal,
)
from paysession_paypal.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paysession.provider import WebhookEvent
    from paysession_paypal.disputes import Case
    from paysession_paypal.document import Document
    from paysession_paypal.gateway import Found
    from paysession_paypal.orders import Authorization
    from paysession_paypal.registration import Webhook
    from paysession_paypal.webhooks import Verifier
    from paysession_paypal.wire import Transport

__all__ = ["PayPal"]

logger = logging.getLogger("paysession_paypal")

ORDERS_KEY: Final = timedelta(hours=6)
"""How long PayPal keeps an order's request id; see `PAYMENTS_KEY`."""

_MOST_DISPUTES: Final = 5
"""How many disputes one lookup asks for: of a capture there is rarely more than one."""
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@define(kw_only=True, eq=False)
class PayPal(Settings):
    """The provider ``paypal``. Its settings are those of `Settings`."""

    API_VERSION: ClassVar = API_VERSION

    _locks: dict[int, threading.Lock] = field(factory=dict[int, threading.Lock], init=False, repr=False)
    _process: int | None = field(default=None, init=False, repr=False)
    _verifier_process: int | None = field(default=None, init=False, repr=False)

    @property
    def mode(self) -> str:
        """``live`` or ``test``: whose money it moves."""
        return "live" if self.environment == "live" else "test"

    @property
    def capabilities(self) -> Capabilities:
        """What PayPal can do.

        PayPal does not promise that an order shows at once what was just done to it, so for a while
        an absence proves nothing: the lookup is ``lagging``.
        """
        return Capabilities(
            capture="multiple",
            refund="multiple",
            replay_window={
                Kind.INITIATE: ORDERS_KEY,
                Kind.AUTHORIZE: ORDERS_KEY,
                Kind.CAPTURE: PAYMENTS_KEY,
                Kind.REFUND: PAYMENTS_KEY,
                Kind.CANCEL: PAYMENTS_KEY,
                Kind.UPDATE: timedelta(0),
            },
            lookup="lagging",
            lookup_lag=timedelta(seconds=30),
            refund_needs_capture=True,
            keyed_effects=True,  # at the end of the invoice number that each of our captures and refunds has
            currency_exponents=amounts.EXPONENTS,
            # The budget of a hook, and one last wait that may have begun just before its end.
            call_limit=timedelta(seconds=self._budget + 2 * self.timeout),
        )

    # --- before the payment -----------------------------------------------------------------------

    @hookimpl
    def initiate(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Create the order that the payer is to approve. It moves no money by itself."""
        gateway, headers = (
            self._gateway(operation),
            bodies.order_headers(session, self.partner_attribution_id),
        )
        body = bodies.order_body(session, self)
        order = self._created(gateway, gateway.create_order(body, operation.key, headers))
        if order.session_id != session.id or order.amount != session.amount:
            raise OutcomeUnknown(f"PayPal made the order {order.id} for something else than was asked")
        if PayPalData.of(session).vault_id is None:
            return self._payer_acts(order, session)
        # The payer has nothing to do: the host authorizes, with what was saved.
        reading = Reading(order, session)
        data = reading.seen(bodies.source_of(session, self).name)
        return Outcome.pending(data=data.json(), reference=order.id, expires_at=reading.expires_at)

    def _created(self, gateway: Gateway, document: Document) -> Order:
        """Return the order that was just made; one whose answer says little but its id is queried.

        Raises:
            OutcomeUnknown: It cannot be read. The error carries its id.
        """
        order_id = text_in(document, "id")
        try:
            order = read_order(document)
        except OutcomeUnknown:
            if order_id is None:
                raise
        else:
            if order.approve_url is not None:
                return order
        try:
            found = gateway.order(str(order_id)).document
        except NotApplied as error:
            raise OutcomeUnknown(error.message, reference=order_id) from None
        if found is None:
            raise OutcomeUnknown("PayPal does not show the order yet", reference=order_id)
        return read_order(found)

    @hookimpl
    def update(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Change the order's amount, and look whether it is changed: PayPal's answer is empty."""
        gateway, order_id = self._gateway(operation), _order_id(session)
        gateway.patch_order(order_id, bodies.amount_patch(session, operation.amount), operation.key)
        try:
            order = _own(gateway.order(order_id), session)
        except NotApplied as error:
            raise OutcomeUnknown(f"the order was to be changed, and: {error}") from None
        if order is None or order.amount != operation.amount:
            raise OutcomeUnknown("PayPal accepted the new amount, and does not show it yet")
        return self._payer_acts(order, session)

    @hookimpl
    def authorize(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Settle the payer's return: authorize (or capture) what the payer approved, once.

        The order is queried first. What it shows already is the answer; only an approved order
        is written to. The payer's query proves nothing and is only compared with the order.
        """
        order_id, data = _order_id(session), PayPalData.of(session)
        token = _token(operation.payload)
        if token is not None and token != order_id:
            raise NotApplied("the payer came back with another order's token; nothing was done")
        gateway = self._gateway(operation)
        found = gateway.order(order_id)
        order = _own(found, session)
        if order is None:
            if _expired(found, session):
                return Outcome.canceled()
            raise NotApplied(f"PayPal does not know the order {order_id} (yet); nothing was done")
        outcome = Reading(order, session, found.at).answer(data)
        if outcome is not None:
            return outcome
        body = bodies.authorize_body(session)
        if body is not None and operation.origin != "host":
            raise NotApplied("what a payer saved is charged at the shop's request only; nothing was done")
        if order.status != "APPROVED" and body is None:
            return self._payer_acts(order, session)
        if order.amount != session.amount:
            raise NotApplied(f"the order is for {order.amount}, the session for {session.amount}: update it")
        self._check_liability(data.seen(order))
        action = "capture" if order.intent == "CAPTURE" else "authorize"
        headers = bodies.order_headers(session)
        try:
            document = gateway.pay_order(order_id, action, body, operation.key, headers)
        except Declined as error:
            if error.code in PAYER_MUST_ACT:
                order = self._after_decline(gateway, order, session)
                if error.code == NOT_APPROVED and order.status == "APPROVED":
                    # PayPal's services lag behind each other: the one that writes has not seen it yet.
                    raise NotApplied("PayPal does not act on the payer's approval yet") from None
                return self._payer_acts(order, session, error.code)
            if error.code == EXPIRED:
                # Looked at just now, it showed no payment; and none can follow any more.
                return Outcome.canceled(data=data.seen(order).json())
            raise
        answered = read_order(document)
        outcome = Reading(answered, session).answer(data.seen(order)) if answered.id == order_id else None
        if outcome is None:
            raise OutcomeUnknown("PayPal accepted the request and shows no payment yet")
        return outcome

    def _check_liability(self, data: PayPalData) -> None:
        """Refuse a card for which the issuer does not take the liability, if the settings say so.

        Raises:
            Declined: It does not. Nothing was sent.
        """
        shift = data.card.get("liability_shift", "NO")
        of_card = data.source.name in ("card", "apple_pay", "google_pay")
        if self.require_liability_shift and of_card and shift not in ("POSSIBLE", "YES"):
            message = f"the card's issuer does not take the liability ({shift}); the payer may try again"
            raise Declined("LIABILITY_NOT_SHIFTED", message, conclusive=True, data=data.json())

    # --- the payment ------------------------------------------------------------------------------

    @hookimpl
    def capture(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Take a part of the authorization; ``final`` releases the rest."""
        gateway, data = self._gateway(operation), PayPalData.of(session)
        body = bodies.capture_body(session, operation)
        authorization_id = data.only_live or self._newest(gateway, session)
        if authorization_id is None:
            raise NotApplied("PayPal shows no authorization to capture from; nothing was captured")
        row = None
        if self.reauthorize and self._is_due(data, session, operation):
            row = self._reauthorized(gateway, session, operation, authorization_id)
        if row is not None:
            data, authorization_id = data.reauthorized(row), row.id
        try:
            document = self._capture(gateway, session, operation, authorization_id, body)
        except (Declined, NotApplied, OutcomeUnknown) as error:
            error.data = data.json() if row is not None else error.data
            raise
        expires_at = row.expires_at if row is not None else None
        return captured(read_capture(document), session, operation, data, expires_at)

    def _capture(
        self,
        gateway: Gateway,
        session: PaymentSession,
        operation: Operation,
        authorization_id: str,
        body: Mapping[str, Any],
    ) -> Document:
        try:
            return gateway.capture(authorization_id, body, operation.key)
        except (Declined, StateRefusal) as error:
            other = self._successor(gateway, session, operation, authorization_id, error)
            if other is None:
                raise
            return gateway.capture(other, body, operation.key)

    def _is_due(self, data: PayPalData, session: PaymentSession, operation: Operation) -> bool:
        """Return whether the funds were not kept for certain any more when a capture was asked for."""
        until, several = data.honored_until, len(data.authorizations) > 1
        return until is not None and operation.created_at >= until and not session.captured and not several

    def _reauthorized(
        self, gateway: Gateway, session: PaymentSession, operation: Operation, authorization_id: str
    ) -> Authorization | None:
        """Return a reauthorization to capture from, if PayPal makes one.

        An account's rules, or the payer's funds, may not allow one. The capture may be accepted all the same.
        """
        body = {"amount": amounts.write(session.authorized_amount)}
        try:
            document = gateway.reauthorize(authorization_id, body, operation.subkey("reauthorize"))
        except (Declined, StateRefusal) as error:
            logger.info("PayPal does not reauthorize %s: %s", authorization_id, error.message)
            return None
        row = read_authorization(document)
        return row if row.live else None

    def _newest(self, gateway: Gateway, session: PaymentSession) -> str | None:
        """Return the authorization to capture from: of several, the one that was made last."""
        order = self._shown(gateway, session)
        live = _oldest_first(order)
        return live[-1].id if live else None

    def _successor(
        self,
        gateway: Gateway,
        session: PaymentSession,
        operation: Operation,
        ended: str,
        refusal: Declined | StateRefusal,
    ) -> str | None:
        """Return what took the place of an authorization that has ended, such as a reauthorization.

        None if the order shows the operation's effect, or not that it ended: then nothing is sent again.
        """
        issue = refusal.code if isinstance(refusal, Declined) else refusal.issue
        if issue not in OVER:
            return None
        try:
            order = self._shown(gateway, session)
        except NotApplied:
            return None  # the refusal stands: that the order cannot be queried now says nothing of it
        if order is None or any(
            key_of(row.invoice_id, session.id) == operation.key for row in order.captures
        ):
            return None
        over = any(row.id == ended and not row.live for row in order.authorizations)
        live = [row.id for row in _oldest_first(order) if row.id != ended]
        return live[-1] if live and over else None

    @hookimpl
    def refund(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Give back a part of one capture."""
        of, data = operation.capture, PayPalData.of(session)
        capture_id = of.reference if of is not None else None
        if capture_id is None and len(data.captures) == 1:
            (capture_id,) = data.captures  # captured with the authorization, which names no capture
        if capture_id is None:
            raise NotApplied("PayPal refunds one capture, and it is not known which; sync() finds out")
        row = read_refund(
            self._gateway(operation).refund(capture_id, bodies.refund_body(session, operation), operation.key)
        )
        return refunded(row, session, operation)

    @hookimpl
    def cancel(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Void what is left of the authorization; an order that nobody paid needs nothing.

        PayPal has no call that cancels such an order. Money moves by our own authorize call only,
        and a canceled session makes none.
        """
        gateway, data = self._gateway(operation), PayPalData.of(session)
        if data.source.bank:
            return self._wait_for_the_end(gateway, session, operation)
        if len(data.authorizations) == 1:
            (authorization_id,) = data.authorizations
            try:
                self._void(gateway, authorization_id, operation.key)
            except StateRefusal as refusal:
                # It ended before, and another may have taken its place.
                try:
                    others = self._void_live(gateway, session, operation, but=authorization_id)
                except NotApplied:
                    raise refusal from None
                if not others:
                    raise
        elif not self._void_live(gateway, session, operation):
            return Outcome.canceled()
        if not session.captured_amount:
            self._check_untouched(gateway, session)
        return Outcome.canceled(data=data.voided().json())

    def _wait_for_the_end(self, gateway: Gateway, session: PaymentSession, operation: Operation) -> Outcome:
        """Cancel an order that a payer may still pay at a bank: it is canceled once it has expired.

        Raises:
            Declined: The payer has paid.
        """
        found = gateway.order(_order_id(session))
        order = _own(found, session)
        if order is None:
            if _expired(found, session):
                return Outcome.canceled()
            raise NotApplied("PayPal does not show the order (yet); nothing was done")
        if any(not row.failed for row in order.captures):
            raise Declined("ORDER_ALREADY_CAPTURED", "PayPal captured the order: refund it instead")
        if order.status == "VOIDED":
            return Outcome.canceled()
        data = evolve(PayPalData.of(session).seen(order), canceling=operation.key)
        return Outcome.pending(data=data.json())

    def _void(self, gateway: Gateway, authorization_id: str, key: str) -> None:
        document = gateway.void(authorization_id, key)
        if document and read_authorization(document).status != "VOIDED":
            raise OutcomeUnknown("PayPal accepted the void, and does not show it yet")

    def _void_live(
        self, gateway: Gateway, session: PaymentSession, operation: Operation, *, but: str | None = None
    ) -> bool:
        """Void every authorization that the order shows as live, but one; return whether there was any.

        The oldest first: a reauthorization cannot be voided by itself, and ends with the original one.

        Raises:
            Declined: The order is captured already, or PayPal refuses: there is nothing to void.
            OutcomeUnknown: One is live still.
        """
        order = self._shown(gateway, session)
        live = [row for row in _oldest_first(order) if row.id != but]
        if order is not None and order.intent == "CAPTURE" and any(not row.failed for row in order.captures):
            raise Declined("ORDER_ALREADY_CAPTURED", "PayPal captured the order: refund it instead")
        refused: Declined | StateRefusal | None = None
        done = False
        try:
            for row in live:
                try:
                    # The key says which one: in a repetition there may be fewer of them.
                    self._void(gateway, row.id, operation.subkey(bodies.label_of(row.id)))
                    done = True
                except StateRefusal as error:
                    refused = error
                except Declined as error:
                    if error.code != CANNOT_BE_VOIDED:
                        raise
                    refused = error
            several = refused is not None or but is not None or len(live) > 1
            left = _oldest_first(self._shown(gateway, session)) if several else []
        except NotApplied as error:
            if not done and refused is None:
                raise
            raise OutcomeUnknown(f"an authorization was voided, and then: {error.message}") from None
        if left and refused is not None:
            raise refused
        if left:
            raise OutcomeUnknown("PayPal accepted the void, and does not show it yet")
        return bool(live)

    def _check_untouched(self, gateway: Gateway, session: PaymentSession) -> None:
        """Look whether others captured a part before the void, which PayPal's answer does not tell.

        Raises:
            OutcomeUnknown: They did, so the session is not canceled; or the order could not be queried.
        """
        try:
            order = _own(gateway.order(_order_id(session)), session)
        except NotApplied as error:
            raise OutcomeUnknown(f"the authorization was to be voided, and: {error}") from None
        known = PayPalData.of(session).captures
        if order is not None and any(not row.failed and row.id not in known for row in order.captures):
            raise OutcomeUnknown("PayPal voided what was left: a part had been captured")

    def _shown(self, gateway: Gateway, session: PaymentSession) -> Order | None:
        """Return the session's order as PayPal shows it now; None: there is none."""
        return _own(gateway.order(session.reference), session) if session.reference is not None else None

    # --- what was saved ---------------------------------------------------------------------------

    def forget(self, vault_id: str) -> None:
        """Delete how a payer pays, which was saved with a payment (``PayPalData.of(session).vaulted``).

        Args:
            vault_id: Its id. One that PayPal does not know is deleted already.

        Raises:
            Declined: PayPal refused.
            NotApplied: It was not done.
            OutcomeUnknown: It may have been; doing it again does no harm.
        """
        self._gateway().forget(vault_id)

    # --- the webhook ------------------------------------------------------------------------------

    def register_webhook(self, url: str) -> Webhook:
        """Return the account's webhook with an address; it is made, or what it lacks is added.

        Args:
            url: Where notifications go, such as ``https://shop.example/webhooks/paypal``.

        Raises:
            Declined: The address is none that PayPal takes; or PayPal refused.
            NotApplied: It was not done.
            OutcomeUnknown: It may have been; doing it again does no harm.
        """
        return registration.register(self._gateway(), url)

    def check_webhook(self) -> Webhook | None:
        """Return the account's webhook whose id is in the settings; None: there is none.

        Raises:
            Declined: PayPal refused.
            NotApplied: PayPal could not be reached.
            OutcomeUnknown: Its answer was lost.
        """
        if not self.webhook_id:
            return None
        return registration.find(self._gateway(), webhook_id=self.webhook_id)

    # --- finding out ------------------------------------------------------------------------------

    @hookimpl
    def retrieve(self, session: PaymentSession, operation: Operation | None) -> Snapshot:
        """Look at the order, which lists every authorization, capture and refund."""
        if session.reference is None:
            return Snapshot.absent()  # PayPal finds orders by its own id only
        gateway = self._gateway(operation)
        found = gateway.order(session.reference)
        order = _own(found, session)
        if order is not None:
            reading = Reading(order, session, found.at)
            return self._with_disputes(gateway, reading, operation).snapshot(operation)
        if PayPalData.of(session).authorizations or session.authorized_amount:
            raise OutcomeUnknown(f"PayPal does not show the order {session.reference} any more")
        # An order that nobody paid is gone some hours after it was made.
        return Snapshot(Status.CANCELED) if _expired(found, session) else Snapshot.absent()

    def _with_disputes(self, gateway: Gateway, reading: Reading, operation: Operation | None) -> Reading:
        """Return a reading with the disputes that its order shows, or a notification named.

        An order is read all the same if they cannot be queried: an app needs a permission of its own for it.
        """
        data = PayPalData.of(reading.session)
        named, known = data.dispute, {row.id: row.updated_at for row in data.disputes.values()}
        questions = reading.chargebacks.questions(thorough=operation is None)
        if named is None and not questions:
            return reading
        cases: dict[str, Case] = {}
        later: dict[str, str] = {}
        asked = False
        try:
            if named is not None:
                _ask(gateway, named, "", cases)
            asked = True
            for capture in questions:
                for found, changed in gateway.disputes(capture).items():
                    if changed is not None and known.get(found) == changed:
                        later[found] = capture  # what is known must not keep others from being seen
                    elif len(cases) < _MOST_DISPUTES:
                        _ask(gateway, found, capture, cases)
            for found, capture in list(later.items())[: max(0, _MOST_DISPUTES - len(cases))]:
                _ask(gateway, found, capture, cases)
        except (Declined, NotApplied, OutcomeUnknown) as error:
            logger.info("the disputes of %s cannot be queried: %s", reading.order.id, error)
            asked = asked or isinstance(error, Declined)
        return evolve(reading, cases=list(cases.values()), asked=asked)

    @hookimpl
    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> Sequence[WebhookEvent]:
        """Verify and read a notification: a hint that there is something to see."""
        with self._lock:
            process = os.getpid()
            if self._verifier_process not in (None, process):
                self.verifier = None  # the parent's, which a thread of it may have locked
            if self.verifier is None:
                self._verifier_process = process
                self.verifier = self._make_verifier()
        return webhooks.parse(self.verifier, headers, body)

    @hookimpl
    def close(self) -> None:
        """Close the pooled connections."""
        with self._lock:
            transport, self.transport = self.transport, None
            ours = self._process in (None, os.getpid())
        if transport is not None and ours:
            transport.close()

    # --- what the hooks share ---------------------------------------------------------------------

    @property
    def _lock(self) -> threading.Lock:
        """This process's lock: one that a thread holds when the process forks stays locked in the child."""
        return self._locks.setdefault(os.getpid(), threading.Lock())

    @property
    def _budget(self) -> float:
        """How many seconds all calls of one hook together may begin in."""
        return 3 * self.timeout

    @property
    def _account(self) -> dict[str, str]:
        """The headers of every call: on which merchant's behalf it is made.

        It is a token without a signature (https://developer.paypal.com/api/rest/requests/#paypal-auth-assertion).
        """
        if not self.merchant_id:
            return {}
        parts = ({"alg": "none"}, {"iss": self.client_id, "payer_id": self.merchant_id})
        texts = (json.dumps(part, separators=(",", ":")).encode() for part in parts)
        encoded = (urlsafe_b64encode(text).decode().rstrip("=") for text in texts)
        return {"PayPal-Auth-Assertion": f"{'.'.join(encoded)}."}

    def _gateway(self, operation: Operation | None = None) -> Gateway:
        """Return the gateway for one hook; the transport behind it is built once, when first used.

        Once per process: one that was forked (by a web server that loads the application first)
        inherits the open connections, and two processes on one of them would read each other's
        answers. An empty 204, say, fits any void. A transport that was given is its giver's affair.

        Args:
            operation: The hook's, whose caller may have less time than the hook's budget.
        """
        left = operation.time_left() if operation is not None else None
        budget = self._budget if left is None else min(self._budget, left)
        with self._lock:
            process = os.getpid()
            if self._process not in (None, process):
                self.transport = None  # the parent's
            if self.transport is None:
                self._process = process
                self.transport = self._make_transport()
            return Gateway(self.transport, time.monotonic() + budget, self._account)

    def _make_transport(self) -> Transport:
        from paysession_paypal.transport import SdkTransport  # noqa: PLC0415 - the SDK takes 0.1 s to import

        return SdkTransport(
            self.client_id,
            self.client_secret.reveal(),
            environment=self.environment,
            endpoint=self.endpoint,
            timeout=self.timeout,
            proxy=self.proxy.reveal(),
        )

    def _make_verifier(self) -> Verifier:
        if self.webhook_verification == "postback":
            return webhooks.Postback(
                self.webhook_id,
                lambda body: self._gateway().verify_webhook(body),
                environment=self.environment,
            )
        from paysession_paypal.signature import Signature  # noqa: PLC0415 - cryptography takes a while

        return Signature(
            self.webhook_id,
            environment=self.environment,
            ca_file=self.webhook_ca,
            timeout=self.timeout,
            proxy=self.proxy.reveal(),
        )

    def _after_decline(self, gateway: Gateway, order: Order, session: PaymentSession) -> Order:
        """Return the order as it is after a decline, which may have changed it; as it was, if unknown."""
        try:
            return _own(gateway.order(order.id), session) or order
        except (NotApplied, OutcomeUnknown):
            return order

    def _payer_acts(self, order: Order, session: PaymentSession, declined: str | None = None) -> Outcome:
        """Return that the payer is to go to PayPal's page."""
        reading = Reading(order, session)
        data = reading.seen(bodies.source_of(session, self).name, declined)
        page = data.approve_url or (self.approval_page and self.approval_page + order.id)
        if data.script:
            action: Redirect | ClientAction = ClientAction(data.script, self._script_needs(order))
        elif page:
            action = Redirect(page)
        else:
            raise OutcomeUnknown(
                f"PayPal gives no approval page for the order {order.id}", reference=order.id
            )
        return Outcome.requires_more(
            next_action=action,
            data=data.json(),
            payer=order.payer,
            reference=order.id,
            expires_at=reading.expires_at,
        )

    def _script_needs(self, order: Order) -> dict[str, str]:
        """Return what PayPal's script in the page is loaded and called with; nothing of it is secret."""
        needs = {
            "order": order.id,
            "client_id": self.client_id,
            "currency": order.amount.currency,
            "intent": order.intent.lower(),
        }
        return {**needs, "merchant_id": self.merchant_id} if self.merchant_id else needs


def _ask(gateway: Gateway, dispute_id: str, capture: str, cases: dict[str, Case]) -> None:
    """Ask PayPal for a dispute that was listed for a capture, or named without one, unless that is done."""
    case = cases.get(dispute_id)
    document = gateway.dispute(dispute_id) if case is None else None
    if document:
        case = read_case(document)
    if case is not None:
        cases[dispute_id] = evolve(case, captures=(*case.captures, capture))


def _order_id(session: PaymentSession) -> str:
    if session.reference is None:
        raise NotApplied("this session has no order at PayPal; nothing was done")
    return session.reference


def _token(payload: Mapping[str, Any]) -> object:
    """Return the order's id that the payer's browser brought, in the query or from PayPal's buttons.

    A framework may give a list of values for each name, as ``dict`` of Django's ``QueryDict`` does.
    """
    value: object = payload.get("token", payload.get("orderID"))
    several = as_list(value)
    return several[0] if len(several) == 1 else value


def _oldest_first(order: Order | None) -> list[Authorization]:
    """Return the authorizations that can be captured or voided, in the order in which they were made."""
    live = [row for row in order.authorizations if row.live] if order is not None else []
    return sorted(live, key=lambda row: row.created_at or _LONG_AGO)


def _own(found: Found, session: PaymentSession) -> Order | None:
    """Return the order that was found, if there is one and it is this session's.

    Raises:
        NotApplied: It carries another session's id.
        OutcomeUnknown: It cannot be read.
    """
    if found.document is None:
        return None
    order = read_order(found.document)
    if order.session_id != session.id:
        raise NotApplied(f"the order {order.id} is not this session's: nothing was done")
    return order


def _expired(found: Found, session: PaymentSession) -> bool:
    """Return whether an order that PayPal does not know is one that waited too long, by its clock."""
    return found.at is not None and session.expires_at is not None and found.at >= session.expires_at
