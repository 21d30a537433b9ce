"""The bench on which a provider is tried: its ledger, its payer, its crashes, and what it answered."""

from __future__ import annotations

import itertools
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from attrs import frozen

from paysession import (
    Checkout,
    Kind,
    Money,
    Operation,
    Payments,
    PaysessionError,
    ProviderError,
    State,
    Status,
)
from paysession.provider import Registry, secrets_of
from paysession.store import MemoryStore, SessionRow, digest_of, replace
from paysession_testing.contract import advice
from paysession_testing.contract.counterpart import FEATURES
from paysession_testing.contract.recorder import Call, Crash, Recorder
from paysession_testing.contract.verdict import broken, not_declared

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from paysession import Capabilities, CaptureMode, Outcome, PaymentSession
    from paysession.provider import Effect, Provider
    from paysession_testing.contract.counterpart import Counterpart, Request
    from paysession_testing.contract.wire import Target, Wire

__all__ = ["NAME", "Bench", "Clock", "Strike"]

NAME: Final = "contract"
"""The name under which the provider is selected."""

MARGIN: Final = timedelta(minutes=1)
"""Longer than the lease of an operation outlives the provider's ``call_limit``."""
_ROUNDS: Final = 80
_MORE_ROUNDS: Final = 400
"""Where nothing but a notification settles doubt, a request is repeated for as long as its key is kept."""
_TARGETS: Final[tuple[Target, ...]] = ("write", "any")


class Clock:
    """The clock of the ledger: it begins at the real time, and stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def forward(self, duration: timedelta) -> None:
        """Let time pass."""
        self.now += duration


@frozen
class Strike:
    """What came of an operation whose requests were made to fail."""

    call: Call
    session_id: str
    on: Target
    requests: Sequence[Request]


class Bench:
    """A provider with a ledger of its own, its gateway, and its payer.

    Args:
        gateway: The gateway's counterpart.
        wire: What stands between.
        make_provider: Returns the provider that speaks to an address, anew for each process played.
    """

    def __init__(self, gateway: Counterpart, wire: Wire, make_provider: Callable[[str], object]) -> None:
        unknown = set(gateway.cannot) - set(FEATURES)
        if unknown:
            raise ValueError(f"cannot names features of {', '.join(FEATURES)}; not {', '.join(unknown)}")
        self.gateway = gateway
        self.wire = wire
        self.clock = Clock()
        self.store = MemoryStore(clock=self.clock)
        self.recorder = Recorder(wire)
        self.make_provider = make_provider
        self._opened: list[Payments] = []
        self._numbers = itertools.count(1)
        self._payloads: dict[str, Mapping[str, Any] | None] = {}
        self._heard: set[bytes] = set()
        self._increments = False
        self.start()

    # --- processes ----------------------------------------------------------------------------------

    def start(self, url: str | None = None) -> None:
        """Begin a new process on the same ledger: a new provider, and new `Payments`."""
        self.start_with(self.make_provider(url or self.wire.url))

    def start_with(self, plugin: object) -> None:
        """Begin a new process with this provider."""
        self.plugin = plugin
        registry = Registry({NAME: self.plugin}, [self.recorder])
        self.handle: Provider = registry.provider(NAME)
        self.payments = Payments(self.store, registry, public_url="https://shop.example/pay")
        self._opened.append(self.payments)

    def crash(self, kind: Kind, point: str, session: PaymentSession | None) -> str:
        """Let the process die in an operation; return the session's id. A new process is started."""
        self.recorder.crash = (kind, point)
        key = f"crash-{next(self._numbers)}"
        try:
            with pytest.raises(Crash):
                self.act(kind, session, key=key)
        finally:
            self.recorder.crash = None
        self.start()
        return session.id if session is not None else self.store.sessions(limit=None)[-1].id

    def close(self) -> None:
        """Close every provider."""
        for payments in self._opened:
            payments.close()

    # --- what is declared ---------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        """What the provider declared."""
        return self.handle.capabilities

    def needs(self, kind: Kind) -> None:
        """Report the test as not declared if the provider does not offer the operation."""
        if not self.handle.implements(kind):
            not_declared(f"the provider does not implement {kind}")
        offered = {Kind.CAPTURE: self.capabilities.capture, Kind.REFUND: self.capabilities.refund}
        if offered.get(kind) == "none":
            not_declared(f"capabilities say {kind}='none'")

    def needs_gateway(self) -> None:
        """Report the test as not declared if the effects are the provider's own."""
        if self.capabilities.local:
            not_declared("capabilities say local=True: there is no gateway")

    def needs_lookup(self) -> None:
        """Report the test as not declared if the gateway cannot be asked."""
        self.needs_gateway()
        if self.capabilities.lookup == "none":
            not_declared("capabilities say lookup='none'")

    def needs_increment(self) -> None:
        """Report the test as not declared if what is authorized cannot be raised; an update does it now."""
        if not self.capabilities.increment:
            not_declared("capabilities say increment=False")
        self._increments = True

    @property
    def hears(self) -> bool:
        """Whether the gateway reports by notification only: the kit delivers what it sends."""
        return self.capabilities.lookup == "none" and self.handle.implements("parse_webhook")

    def needs_report(self) -> None:
        """Report the test as not declared if nothing tells what happened at the gateway."""
        self.needs_gateway()
        if self.capabilities.lookup == "none" and not self.hears:
            not_declared("capabilities say lookup='none', and the provider does not implement parse_webhook")

    def needs_webhooks(self) -> None:
        """Report the test as not declared if the provider takes no notifications."""
        if not self.handle.implements("parse_webhook"):
            not_declared("the provider does not implement parse_webhook")

    def needs_feature(self, feature: str) -> None:
        """Report the test as not declared if the counterpart says why the gateway lacks it."""
        if feature in self.gateway.cannot:
            not_declared(f"{feature}: {self.gateway.cannot[feature]}")

    # --- steps of a life ----------------------------------------------------------------------------

    def initiate(
        self, amount: Money | None = None, *, capture: CaptureMode = "manual", key: str | None = None
    ) -> PaymentSession:
        """Initiate a session of an order of its own."""
        number = next(self._numbers)
        amount = amount or self.gateway.amount
        order = self.payments.create_collection(amount, reference=f"order-{number}")
        try:
            return self.payments.initiate(
                order.id,
                provider=NAME,
                data=self.gateway.data,
                checkout=Checkout(
                    return_url="https://shop.example/back",
                    cancel_url="https://shop.example/gave-up",
                    email="jenny@example.com",
                    description=f"Order {number}",
                ),
                capture=capture,
                idempotency_key=key or f"initiate-{number}",
            )
        finally:
            if self.wire.errors:  # whatever came of it, the mistake is the counterpart's
                raise self.wire.errors[0]

    def known(self, *, key: str | None = None) -> PaymentSession:
        """Return a session that the gateway knows of: initiated, or authorized if it hears only then."""
        session = self.initiate(key=key)
        if "object" not in self.gateway.cannot:
            return session
        self.approve(session)
        return self.must_be_authorized(self.authorize(session))

    def ahead(self) -> PaymentSession:
        """Return a session of which the gateway knows more than the ledger: that the payer approved."""
        session = self.initiate()
        self.approve(session)
        if {"ask", "approval"} & set(self.gateway.cannot):  # it hears from `authorize` only
            self.crash(Kind.AUTHORIZE, "after", session)
            self.clock.forward(self.capabilities.lookup_lag + timedelta(seconds=1))
        return self.payments.get(session.id)

    def approve(self, session: PaymentSession) -> None:
        """Let the payer approve."""
        if "ask" not in self.gateway.cannot:
            self._payloads[session.id] = self.gateway.approve(session)

    def reported(self) -> PaymentSession:
        """Return a session that the gateway has sent a notification about."""
        return self.authorized() if self.hears else self.known()

    def authorize(self, session: PaymentSession) -> PaymentSession:
        """Let the payer come back, and authorize."""
        done = self.payments.authorize(session.id, payload=self._payloads.get(session.id))
        return self.finished(self.hear(done))

    def hear(self, session: PaymentSession) -> PaymentSession:
        """Deliver what a gateway that cannot be queried has sent about a session, and was not delivered."""
        for body in self.gateway.notifications(session) if self.hears else ():
            if body in self._heard:
                continue
            self._heard.add(body)
            reply = self.payments.handle_webhook(
                NAME, headers=self.gateway.sign(body, datetime.now(UTC)), body=body
            )
            if reply.status >= 300:
                broken(
                    "A genuine notification is acknowledged.",
                    found=f"{body!r:.300} was answered with {reply.status} {reply.body}",
                    fix="reject what cannot be trusted; a signed one that is not understood is no event",
                )
        return self.payments.get(session.id)

    def look(self, session: PaymentSession) -> PaymentSession:
        """Bring a session up to date: by a lookup after its lag, or by what the gateway has sent."""
        if self.capabilities.local:
            return session
        if self.capabilities.lookup == "none":
            return self.hear(session)
        self.clock.forward(self.capabilities.lookup_lag + timedelta(seconds=1))
        return self.payments.sync(session.id)

    def authorized(self, amount: Money | None = None, *, capture: CaptureMode = "manual") -> PaymentSession:
        """Return a session that the payer approved and that is authorized."""
        session = self.initiate(amount, capture=capture)
        self.approve(session)
        return self.must_be_authorized(self.authorize(session))

    def must_be_authorized(self, session: PaymentSession) -> PaymentSession:
        """Fail unless a session that the payer approved is authorized; return it."""
        if session.status is not Status.AUTHORIZED and self.hears:
            broken(
                "A session that the payer approved is authorized by the gateway's notification.",
                found=f"status {session.status}, error {session.error}; {self.last().shown}",
                fix="return a WebhookEvent with the Effect of kind authorize, found by session_id= or "
                "references=, and with an id= of its own",
            )
        if session.status is not Status.AUTHORIZED:
            broken(
                "A session that the payer approved is authorized by `authorize`.",
                found=f"status {session.status}, error {session.error}; {self.last().shown}",
                fix="answer Outcome.authorized(), or .captured(amount) from a gateway that captures at once",
            )
        return session

    def captured(self) -> PaymentSession:
        """Return a session of which all is captured."""
        session = self.authorized()
        if self.capabilities.capture == "none":
            return session
        return self.finished(self.payments.capture(session.id))

    def finished(self, session: PaymentSession) -> PaymentSession:
        """Let the gateway finish what it accepted."""
        if not session.pending:
            return session
        self.compare(session)
        self.gateway.finish(session)
        session = self.look(session)
        if session.pending and self.hears:
            broken(
                "What the gateway has finished is recorded once its notification came.",
                found=f"{session.pending} operations are still pending; {self.last().shown}",
                fix="return an Effect with the reference that the hook answered, or with the operation's "
                "key; and give each notification an id of its own",
            )
        return session

    def ready_for(self, kind: Kind) -> PaymentSession | None:
        """Return a session on which such an operation can begin; None for ``initiate``."""
        if kind is Kind.INITIATE:
            return None
        if kind is Kind.CAPTURE or (kind is Kind.CANCEL and self.capabilities.capture != "none"):
            return self.authorized()
        if kind is Kind.REFUND:
            return self.captured()
        if kind is Kind.UPDATE and self._increments:
            session = self.authorized(self.smaller(self.gateway.amount))
            self.payments.update_collection(session.collection_id, self.gateway.amount)
            return session
        if kind is Kind.CANCEL:
            self.needs_feature("cancel")
        session = self.initiate()
        if kind is Kind.AUTHORIZE:
            self.approve(session)
        return session

    def act(
        self, kind: Kind, session: PaymentSession | None, *, key: str | None = None, part: bool = False
    ) -> PaymentSession:
        """Carry an operation out.

        Args:
            kind: Which.
            session: A session that is ready for it; None for ``initiate``.
            key: The caller's key.
            part: Capture or refund a quarter, where the provider takes parts.
        """
        if session is None:
            return self.initiate(key=key)
        payments, id_ = self.payments, session.id
        takes_parts = getattr(self.capabilities, kind, "none") == "multiple"
        amount = Money.from_minor(session.amount.minor // 4, session.amount.currency)
        quarter = amount if part and takes_parts else None
        match kind:
            case Kind.UPDATE if self._increments:
                return payments.update(id_, self.gateway.amount, idempotency_key=key)
            case Kind.UPDATE:
                return payments.update(id_, self.smaller(session.amount), idempotency_key=key)
            case Kind.AUTHORIZE:
                return payments.authorize(id_, payload=self._payloads.get(id_), idempotency_key=key)
            case Kind.CAPTURE:
                return payments.capture(id_, quarter, idempotency_key=key)
            case Kind.REFUND:
                return payments.refund(id_, quarter, idempotency_key=key)
            case _:
                return payments.cancel(id_, idempotency_key=key)

    @staticmethod
    def smaller(amount: Money) -> Money:
        """Return about two thirds of an amount, to the last digit but one."""
        return Money.from_minor(amount.minor * 2 // 3 // 10 * 10, amount.currency)

    def strike(self, kind: Kind, fault: str, *, key: str | None = None) -> Strike:
        """Let the requests of an operation fail, and return what came of it.

        Requests that can cause an effect are hit; all of them, where the hook sends only others.

        Args:
            kind: Which operation.
            fault: One of `FAULTS`.
            key: The caller's key begins so, and ends with a hyphen and what was hit.
        """
        self.needs_feature("http")
        for on in _TARGETS:
            session = self.ready_for(kind)
            begun = len(self.recorder.calls), len(self.wire.requests)
            if fault == "refused":
                self.start(self.wire.refused())
            else:
                self.wire.fail(fault, on=on, amount=self.gateway.amount)
            with suppress(PaysessionError):  # what the provider itself said is in the recorder
                self.act(kind, session, key=f"{key}-{on}" if key else None)
            calls = [call for call in self.recorder.calls[begun[0] :] if call.hook == kind]
            sent = self.wire.requests[begun[1] :]
            struck = bool(self.wire.struck)
            self.wire.clear()
            if fault == "refused":  # nobody counts those; but who sends nothing hears of no refusal
                self.start()
                struck = calls[0].error is not None or self._sends(kind)
            if struck:
                return Strike(calls[0], calls[0].session.id, on, sent)
        if kind is Kind.INITIATE:
            self.needs_feature("object")
        return not_declared(f"{kind} sends no request that this fault could hit")

    def _sends(self, kind: Kind) -> bool:
        session = self.ready_for(kind)
        begun = len(self.wire.requests)
        self.act(kind, session)
        return len(self.wire.requests) > begun

    def row(self, session: PaymentSession) -> SessionRow:
        """Return a session as the store keeps it."""
        row = self.store.session(session.id)
        if row is None:
            raise LookupError(f"the store lost the session {session.id}")
        return row

    def settle(self, session_id: str) -> PaymentSession:
        """Let recovery come round, each time when it is due, until nothing is open."""
        session = self.payments.get(session_id)
        for number in range(_MORE_ROUNDS if self.hears else _ROUNDS):
            self.payments.recover()
            session = self.payments.get(session_id)
            if self.hears and number and session.open is not None:
                self.gateway.finish(session)  # it goes on, whether we heard its answer or not
            session = self.hear(session)
            if session.pending:
                session = self.finished(session)
            row = self.row(session)
            if session.open is None and not session.pending and not row.cancel_requested:
                break
            self.clock.now = max(self.clock.now + timedelta(seconds=1), row.due_at or self.clock.now)
        return session

    def pass_lease(self) -> None:
        """Let so much time pass that nobody can be at an operation any more."""
        self.clock.forward(self.capabilities.call_limit + MARGIN)

    # --- looking ------------------------------------------------------------------------------------

    def last(self, hook: str | None = None) -> Call:
        """Return the last call of a hook, or of any."""
        return next(call for call in reversed(self.recorder.calls) if hook in (None, call.hook))

    def effects(self, session: PaymentSession, kind: Kind) -> list[Effect]:
        """Return what the gateway's ledger holds of one kind, undone and failed ones left out."""
        return self._effects(session)[kind]

    def _effects(self, session: PaymentSession) -> Mapping[Kind, list[Effect]]:
        """Return the same of all kinds: reading the ledger may take the gateway's counterpart a while."""
        found: dict[Kind, list[Effect]] = {kind: [] for kind in Kind}
        for row in self.gateway.ledger(session):
            if row.state in ("succeeded", "pending"):
                found[row.kind].append(row)
        return found

    def compare(self, session: PaymentSession) -> None:
        """Fail unless the ledger says what the gateway's ledger says, and each effect happened once."""
        if self.capabilities.local:
            return
        rows = self.payments.history(session.id)
        ledger = self._effects(session)
        self._compare_pending(session, ledger)
        totals = {
            Kind.CAPTURE: session.captured + session.capturing,
            Kind.REFUND: session.refunded + session.refunding,
        }
        for kind in (Kind.INITIATE, Kind.AUTHORIZE, Kind.CAPTURE, Kind.REFUND, Kind.CANCEL):
            effects = ledger[kind]
            caused = [
                row for row in rows if row.kind is kind and row.state in (State.SUCCEEDED, State.PENDING)
            ]
            most = 1 if kind is Kind.INITIATE else len(caused)
            total = sum(effect.amount.minor for effect in effects)
            if len(effects) > most or total != totals.get(kind, total):
                broken(
                    "Each operation causes its effect once, and the ledger says what the gateway says.",
                    found=f"the ledger shows {len(effects)} x {kind} of {total} in minor units; "
                    f"the ledger shows {len(caused)}, of {totals.get(kind, session.authorized)}",
                    fix=advice.of_ledger(self, rows, kind, len(effects)),
                )
        authorized = ledger[Kind.AUTHORIZE]
        if authorized and sum(effect.amount.minor for effect in authorized) != session.amount.minor:
            broken(
                "What is authorized is the session's amount.",
                found=f"the gateway authorized {authorized}, the session is about {session.amount}",
                fix="convert Money.minor into the unit that the gateway counts in",
            )

    def _compare_pending(self, session: PaymentSession, ledger: Mapping[Kind, list[Effect]]) -> None:
        """Fail if what the gateway has only accepted is recorded as done, or holds something else."""
        done = {Kind.CAPTURE: session.captured, Kind.REFUND: session.refunded}
        if session.status is Status.CANCELED and not session.captured:
            done[Kind.CANCEL] = 1
        for kind, minor in done.items():
            effects = ledger[kind]
            waiting = [effect for effect in effects if effect.state == "pending"]
            finished = sum(effect.amount.minor for effect in effects) - sum(e.amount.minor for e in waiting)
            if waiting and minor > finished:
                broken(
                    "What the gateway has accepted and not finished is pending, and not done.",
                    found=f"the ledger shows {kind} {waiting[0].state}, and it is recorded as done; "
                    f"{self.last().shown}",
                    fix="answer Outcome.pending(reference=...) where the gateway answers 'received'",
                )
        held = self.gateway.held(session)
        kept = session.captured + session.capturing
        if held is None or session.pending or session.open is not None or session.cancel_requested:
            return
        if held.minor != session.authorized - kept:
            broken(
                "The ledger holds what the gateway holds.",
                found=f"the gateway holds {held}, the ledger {session.authorized_amount} of which "
                f"{session.captured_amount} is captured; {self.last().shown}",
                fix="answer released=True, or declare final_capture_releases, only where the gateway "
                "releases the rest; report a cancel or an expiry as an Effect of kind cancel",
            )

    def secrets(self) -> list[str]:
        """Return every text that must show nowhere: told, declared, or seen on the wire."""
        found = set(self.gateway.secrets)
        fields: dict[str, Any] = getattr(self.plugin, "__dict__", None) or {
            slot: getattr(self.plugin, slot, None)
            for cls in type(self.plugin).__mro__
            for slot in getattr(cls, "__slots__", ())
        }
        found.update(secrets_of(fields.values()))
        for request in self.wire.requests:
            for name, value in request.headers.items():
                words = ("authorization", "secret", "token", "api-key", "apikey", "access-key")
                if any(word in name for word in words) and name not in self.gateway.keyed:
                    found.add(value.rpartition(" ")[2])
        return sorted(text for text in found if len(text) > 5)

    def new_operation(self, call: Call) -> Operation:
        """Return the operation of a call as another attempt would be, with a key of its own."""
        assert call.operation is not None  # noqa: S101 - operations are recorded with theirs
        ordinal = call.operation.ordinal + 50
        key = f"{call.session.id}-{ordinal}-{digest_of(call.operation.id)}"
        return replace(call.operation, id=key, ordinal=ordinal)

    def ask(self, kind: Kind, session: PaymentSession, operation: Operation) -> Outcome | ProviderError:
        """Call a hook as the core does, outside of any ledger."""
        try:
            return self.handle.perform(kind, session, operation)
        except ProviderError as error:
            return error
