"""The provider ``paypal``: its settings, and the hooks that carry a session's operations out."""

from __future__ import annotations

import os
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final

from attrs import define, field
from attrs.validators import gt, in_, instance_of, le

from paysession.provider import (
    API_VERSION,
    Capabilities,
    Declined,
    Endpoint,
    Kind,
    NotApplied,
    Operation,
    Outcome,
    OutcomeUnknown,
    PaymentSession,
    Secret,
    Snapshot,
    Status,
    hookimpl,
)
from paysession_paypal import bodies, outcomes, settings, webhooks
from paysession_paypal.data import PayPalData
from paysession_paypal.gateway import Gateway
from paysession_paypal.orders import Order, read_authorization, read_capture, read_order, read_refund
from paysession_paypal.refusals import EXPIRED, NOT_APPROVED, PAYER_MUST_ACT
from paysession_paypal.snapshot import snapshot_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paysession.provider import WebhookEvent
    from paysession_paypal.gateway import Found
    from paysession_paypal.webhooks import Verifier
    from paysession_paypal.wire import Transport

__all__ = ["PayPal"]

ORDERS_KEY: Final = timedelta(hours=6)
PAYMENTS_KEY: Final = timedelta(days=45)
"""How long PayPal keeps a request id (https://developer.paypal.com/api/rest/reference/idempotency/)."""

MOST_PATIENCE: Final = 300.0
"""The longest timeout, in seconds: an operation is in flight for several of them."""

_ENVIRONMENTS: Final = ("sandbox", "live")
_INTENTS: Final = ("authorize", "capture")
_OWN: Final = Endpoint("", hosts=("api-m.paypal.com", "api-m.sandbox.paypal.com"))
_SHIPPING: Final = ("NO_SHIPPING", "GET_FROM_FILE", "SET_PROVIDED_ADDRESS")


@define(kw_only=True, eq=False)
class PayPal:
    """The provider ``paypal``.

    Args:
        client_id: The client id of the REST app, from PayPal's developer dashboard.
        client_secret: Its secret.
        environment: ``sandbox`` or ``live``.
        endpoint: Another server in place of PayPal's, for tests. Plain http goes to this machine only.
        webhook_id: The id that PayPal gave the webhook; without it no notification is accepted.
        webhook_verification: ``local`` checks PayPal's signature and certificate here; ``postback``
            asks PayPal about each notification.
        webhook_ca: A PEM file of certificates to trust in place of the public authorities.
        timeout: Seconds for connecting, and for a whole answer.
        intent: ``authorize``, or ``capture`` to have PayPal capture at once; a session initiated
            with ``capture="automatic"`` is captured at once in any case.
        return_url: Where the payer comes back to, if the session's checkout does not say;
            ``{session_id}`` is filled in.
        cancel_url: Where a payer who gave up comes back to.
        brand_name: What PayPal's pages call the shop.
        shipping_preference: ``NO_SHIPPING`` (the shop knows the address), ``GET_FROM_FILE``
            (the payer chooses one at PayPal) or ``SET_PROVIDED_ADDRESS``.
        transport: Carries the requests, in place of the one on ``paypalrestsdk``.
        verifier: Checks notifications, in place of the one that ``webhook_verification`` names.
    """

    API_VERSION: ClassVar = API_VERSION

    client_id: str = field(validator=[instance_of(str), settings.filled])
    client_secret: Secret = field(converter=settings.stripped, validator=settings.filled)
    environment: str = field(default="sandbox", validator=in_(_ENVIRONMENTS))
    endpoint: Endpoint = field(default=_OWN, converter=Endpoint, validator=settings.bare)
    webhook_id: str = field(default="", validator=instance_of(str))
    webhook_verification: str = field(default="local", validator=in_(("local", "postback")))
    webhook_ca: str = field(default="", validator=[instance_of(str), settings.file])
    timeout: float = field(default=10.0, converter=float, validator=[gt(0), le(MOST_PATIENCE)])
    intent: str = field(default="authorize", validator=in_(_INTENTS))
    return_url: str = field(default="", validator=instance_of(str))
    cancel_url: str = field(default="", validator=instance_of(str))
    brand_name: str = field(default="", validator=instance_of(str))
    shipping_preference: str = field(default="NO_SHIPPING", validator=in_(_SHIPPING))
    transport: Transport | None = field(default=None, repr=False, validator=settings.offers("send", "close"))
    verifier: Verifier | None = field(default=None, repr=False, validator=settings.offers("check"))
    _locks: dict[int, threading.Lock] = field(factory=dict, init=False, repr=False)
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
            # The budget of a hook, and one last wait that may have begun just before its end.
            call_limit=timedelta(seconds=self._budget + 2 * self.timeout),
        )

    # --- before the payment -----------------------------------------------------------------------

    @hookimpl
    def initiate(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Create the order that the payer is to approve. It moves no money by itself."""
        automatic = self.intent == "capture" or session.capture == "automatic"
        body = bodies.order_body(
            session,
            intent="CAPTURE" if automatic else "AUTHORIZE",
            return_url=self.return_url,
            cancel_url=self.cancel_url,
            brand_name=self.brand_name,
            shipping_preference=self.shipping_preference,
        )
        order = read_order(self._gateway().create_order(body, operation.key))
        if order.session_id != session.id or order.amount != session.amount:
            raise OutcomeUnknown(f"PayPal made the order {order.id} for something else than was asked")
        return self._payer_acts(order, session)

    @hookimpl
    def update(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Change the order's amount, and look whether it is changed: PayPal's answer is empty."""
        gateway, order_id = self._gateway(), _order_id(session)
        gateway.patch_order(order_id, bodies.amount_patch(operation.amount), operation.key)
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

        The order is looked at first. What it shows already is the answer; only an approved order
        is written to. The payer's query proves nothing and is only compared with the order.
        """
        order_id, data = _order_id(session), PayPalData.of(session)
        token = operation.payload.get("token")
        if token is not None and token != order_id:
            raise NotApplied("the payer came back with another order's token; nothing was done")
        gateway = self._gateway()
        found = gateway.order(order_id)
        order = _own(found, session)
        if order is None:
            if _expired(found, session):
                return Outcome.canceled()
            raise NotApplied(f"PayPal does not know the order {order_id} (yet); nothing was done")
        outcome = outcomes.held(order, data)
        if outcome is not None:
            return outcome
        if order.status != "APPROVED":
            return self._payer_acts(order, session)
        if order.amount != session.amount:
            raise NotApplied(f"the order is for {order.amount}, the session for {session.amount}: update it")
        write = gateway.capture_order if order.intent == "CAPTURE" else gateway.authorize_order
        try:
            document = write(order_id, operation.key)
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
        outcome = outcomes.held(answered, data.seen(order)) if answered.id == order_id else None
        if outcome is None:
            raise OutcomeUnknown("PayPal accepted the request and shows no payment yet")
        return outcome

    # --- the payment ------------------------------------------------------------------------------

    @hookimpl
    def capture(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Take a part of the authorization; ``final`` lets go of the rest."""
        gateway, data = self._gateway(), PayPalData.of(session)
        authorizations = data.authorizations or self._look_up(gateway, session)
        if not authorizations:
            raise NotApplied("PayPal shows no authorization of this session; nothing was captured")
        # The last one: a reauthorization takes the place of the original.
        body = bodies.capture_body(session, operation)
        row = read_capture(gateway.capture(authorizations[-1], body, operation.key))
        return outcomes.captured(row, session, operation)

    @hookimpl
    def refund(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Give back a part of one capture."""
        of, data = operation.capture, PayPalData.of(session)
        capture_id = of.reference if of is not None else None
        if capture_id is None and len(data.captures) == 1:
            capture_id = data.captures[0]  # captured with the authorization, which names no capture
        if capture_id is None:
            raise NotApplied("PayPal refunds one capture, and it is not known which; sync() finds out")
        row = read_refund(
            self._gateway().refund(capture_id, bodies.refund_body(session, operation), operation.key)
        )
        return outcomes.refunded(row, session, operation)

    @hookimpl
    def cancel(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Void what is left of the authorization; an order that nobody paid needs nothing.

        PayPal has no call that cancels such an order. Money moves by our own authorize call only,
        and a canceled session makes none.
        """
        gateway, data = self._gateway(), PayPalData.of(session)
        authorizations = data.authorizations or self._look_up(gateway, session)
        if not authorizations:
            return Outcome.canceled()
        # The original one: PayPal does not void a reauthorization by itself.
        document = gateway.void(authorizations[0], operation.key)
        if document and read_authorization(document).status != "VOIDED":
            raise OutcomeUnknown("PayPal accepted the void, and does not show it yet")
        if not session.captured_amount:
            self._check_untouched(gateway, session)
        return Outcome.canceled()

    def _check_untouched(self, gateway: Gateway, session: PaymentSession) -> None:
        """Look whether others captured a part before the void, which PayPal's answer does not tell.

        Raises:
            OutcomeUnknown: They did, so the session is not canceled; or it could not be looked at.
        """
        try:
            order = _own(gateway.order(_order_id(session)), session)
        except NotApplied as error:
            raise OutcomeUnknown(f"the authorization was to be voided, and: {error}") from None
        known = PayPalData.of(session).captures
        if order is not None and any(not row.failed and row.id not in known for row in order.captures):
            raise OutcomeUnknown("PayPal voided what was left: a part had been captured")

    def _look_up(self, gateway: Gateway, session: PaymentSession) -> tuple[str, ...]:
        """Return the authorizations that the order shows, where we do not know any.

        Raises:
            Declined: The order is captured already: there is nothing to void.
        """
        order_id = session.reference
        order = _own(gateway.order(order_id), session) if order_id is not None else None
        if order is None:
            return ()
        if order.intent == "CAPTURE" and any(not row.failed for row in order.captures):
            raise Declined("ORDER_ALREADY_CAPTURED", "PayPal captured the order: refund it instead")
        return tuple(row.id for row in order.authorizations)

    # --- finding out ------------------------------------------------------------------------------

    @hookimpl
    def retrieve(self, session: PaymentSession, operation: Operation | None) -> Snapshot:
        """Look at the order, which lists every authorization, capture and refund."""
        if session.reference is None:
            return Snapshot.absent()  # PayPal finds orders by its own id only
        found = self._gateway().order(session.reference)
        order = _own(found, session)
        if order is not None:
            return snapshot_of(order, session, operation, found.at)
        if PayPalData.of(session).authorizations or session.authorized_amount:
            raise OutcomeUnknown(f"PayPal does not show the order {session.reference} any more")
        # An order that nobody paid is gone some hours after it was made.
        return Snapshot(Status.CANCELED) if _expired(found, session) else Snapshot.absent()

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

    def _gateway(self) -> Gateway:
        """Return the gateway for one hook; the transport behind it is built once, when first used.

        Once per process: one that was forked (by a web server that loads the application first)
        inherits the open connections, and two processes on one of them would read each other's
        answers. An empty 204, say, fits any void. A transport that was given is its giver's affair.
        """
        with self._lock:
            process = os.getpid()
            if self._process not in (None, process):
                self.transport = None  # the parent's
            if self.transport is None:
                self._process = process
                self.transport = self._make_transport()
            return Gateway(self.transport, time.monotonic() + self._budget)

    def _make_transport(self) -> Transport:
        from paysession_paypal.transport import SdkTransport  # noqa: PLC0415 - the SDK takes 0.1 s to import

        return SdkTransport(
            self.client_id,
            self.client_secret.reveal(),
            environment=self.environment,
            endpoint=self.endpoint,
            timeout=self.timeout,
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
            self.webhook_id, environment=self.environment, ca_file=self.webhook_ca, timeout=self.timeout
        )

    def _after_decline(self, gateway: Gateway, order: Order, session: PaymentSession) -> Order:
        """Return the order as it is after a decline, which may have changed it; as it was, if unknown."""
        try:
            return _own(gateway.order(order.id), session) or order
        except (NotApplied, OutcomeUnknown):
            return order

    def _payer_acts(self, order: Order, session: PaymentSession, declined: str | None = None) -> Outcome:
        """Return that the payer is to go to PayPal's page."""
        data = PayPalData.of(session).seen(
            order, declined=declined, declined_approval=order.approval if declined else None
        )
        action = outcomes.redirect(order, data)
        if action is None:
            raise OutcomeUnknown(f"PayPal gives no approval page for the order {order.id}")
        return Outcome.requires_more(
            next_action=action,
            data=data.json(),
            reference=order.id,
            expires_at=outcomes.expiry(order),
        )


def _order_id(session: PaymentSession) -> str:
    if session.reference is None:
        raise NotApplied("this session has no order at PayPal; nothing was done")
    return session.reference


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
