"""What becomes of doubt: one effect, whatever was lost, and in whichever process it is settled."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from paysession import (
    Kind,
    Outcome,
    OutcomeUnknown,
    PaysessionError,
    ProviderError,
    SessionBusy,
    State,
    Status,
)
from paysession.provider import Money
from paysession_testing.contract import advice
from paysession_testing.contract.faults import KINDS
from paysession_testing.contract.verdict import broken, not_declared
from paysession_testing.contract.wire import FAULTS

if TYPE_CHECKING:
    from paysession import Operation, PaymentSession
    from paysession_testing.contract.bench import Bench
    from paysession_testing.contract.counterpart import Request
    from paysession_testing.contract.recorder import Call

__all__ = ["DoubtContract", "settled"]

_LOST: Final = ("drop_before", "drop_after", "500_after", "500_replayed", "cut")
_THREADS: Final = 8


class DoubtContract:
    """Keys, repetitions, recovery, threads."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_write_carries_the_operations_key(self, bench: Bench, kind: str) -> None:
        """Whatever can cause an effect is sent with the key of its operation."""
        bench.needs(Kind(kind))
        _needs_keys(bench, Kind(kind))
        session = bench.ready_for(Kind(kind))
        begun = len(bench.wire.requests)
        bench.act(Kind(kind), session)
        operation = _operation(bench.last(kind))
        for request in bench.wire.requests[begun:]:
            if bench.gateway.is_write(request) and not bench.gateway.carries(request, operation.key):
                broken(
                    "Every request that can cause an effect carries the operation's key.",
                    found=f"{request.method} {request.path} of {kind} carries no {operation.key}",
                    fix="send operation.key as the idempotency key, operation.subkey(label) with a second "
                    "request; or declare replay_window=timedelta(0) if the gateway knows no keys",
                )

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_repetition_carries_the_same_key(self, bench: Bench, kind: str) -> None:
        """What recovery sends again is the same request, with the same key."""
        bench.needs(Kind(kind))
        _needs_keys(bench, Kind(kind))
        strike = bench.strike(Kind(kind), "drop_before")
        if strike.on != "write":
            not_declared(f"{kind} sends nothing that can cause an effect")
        first = [request for request in strike.requests if bench.gateway.is_write(request)]
        begun = len(bench.wire.requests)
        bench.settle(strike.session_id)
        again = [request for request in bench.wire.requests[begun:] if bench.gateway.is_write(request)]
        if not again:
            broken(
                "Doubt is settled by sending the same again, within replay_window.",
                found="recovery sent nothing",
                fix="raise OutcomeUnknown where the answer was lost, and let retrieve tell the truth",
            )
        if first and not _same(again[0], first[0]):
            broken(
                "A repetition is the same request: gateways refuse a key with other parameters.",
                found=f"{first[0].path} {first[0].body!r:.200} became {again[0].path} {again[0].body!r:.200}",
                fix="send nothing that changes by itself: no time, no random id, nothing kept in the object",
            )
        key = _operation(strike.call).key
        if not bench.gateway.carries(again[0], key):
            broken(
                "A repetition carries the same key.",
                found=f"{again[0].method} {again[0].path} carries no {key}",
                fix="send operation.key; never a random one",
            )

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_same_operation_twice_has_one_effect(self, bench: Bench, kind: str) -> None:
        """A hook that is called again with the same operation, as recovery does, causes nothing new."""
        bench.needs(Kind(kind))
        _needs_keys(bench, Kind(kind))
        bench.act(Kind(kind), bench.ready_for(Kind(kind)), part=True)
        call = bench.last(kind)
        bench.start()
        bench.ask(Kind(kind), call.session, _operation(call))
        session = bench.finished(bench.hear(bench.payments.get(call.session.id)))
        bench.compare(session)

    @pytest.mark.parametrize("fault", _LOST)
    @pytest.mark.parametrize("kind", KINDS)
    def test_doubt_is_settled_with_one_effect(self, bench: Bench, kind: str, fault: str) -> None:
        """Whatever was lost, recovery finds out, and the effect happens once."""
        bench.needs(Kind(kind))
        bench.needs_gateway()
        strike = bench.strike(Kind(kind), fault)
        if strike.on == "any" and bench.capabilities.lookup != "none":
            bench.payments.sync(strike.session_id)  # a failed look is no doubt: the next one tells
        settled(bench, strike.session_id, f"{kind}: {fault}")

    @pytest.mark.parametrize("point", ["before", "after"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_crash_is_recovered_with_one_effect(self, bench: Bench, kind: str, point: str) -> None:
        """The process dies before the hook, or between its answer and the commit: one effect."""
        bench.needs(Kind(kind))
        session = bench.ready_for(Kind(kind))
        if bench.capabilities.local:
            _nothing_was_booked(bench, Kind(kind), point, session)
            return
        session_id = bench.crash(Kind(kind), point, session)
        bench.pass_lease()
        settled(bench, session_id, f"{kind}: crash {point} the answer")

    @pytest.mark.parametrize("point", ["before", "after"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_after_the_key_expired_it_is_only_looked_up(self, bench: Bench, kind: str, point: str) -> None:
        """Past ``replay_window`` nothing is sent again: the gateway would take it for something new."""
        bench.needs(Kind(kind))
        bench.needs_report()
        session_id = bench.crash(Kind(kind), point, bench.ready_for(Kind(kind)))
        operation = bench.store.operations(session_id)[-1]
        bench.clock.forward(bench.capabilities.window(Kind(kind)))
        bench.pass_lease()
        begun = len(bench.wire.requests)
        session = settled(bench, session_id, f"{kind}: crash {point} the answer, key expired")
        sent = [
            request
            for request in bench.wire.requests[begun:]
            if bench.gateway.is_write(request) and bench.gateway.carries(request, operation.key)
        ]
        if sent:
            broken(
                "After its key expired an operation is looked up, and not sent again.",
                found=f"{sent[0].method} {sent[0].path} was sent",
                fix="write nothing in retrieve; if that request only looks, say so in is_write()",
            )
        if session.open is None:
            bench.compare(session)

    @pytest.mark.parametrize("kind", ["authorize", "capture", "refund", "cancel"])
    def test_a_refusal_for_the_objects_state_is_no_decline(self, bench: Bench, kind: str) -> None:
        """A capture of what is captured may be our own earlier one: it is looked up, never `Declined`."""
        bench.needs(Kind(kind))
        bench.needs_lookup()
        session = bench.ready_for(Kind(kind))
        bench.finished(bench.act(Kind(kind), session))
        call = bench.last(kind)
        begun = _count(bench, call.session, kind)
        answer = bench.ask(Kind(kind), call.session, bench.new_operation(call))
        if isinstance(answer, Outcome):
            if Kind(kind) in (Kind.CAPTURE, Kind.REFUND) and _count(bench, call.session, kind) == begun:
                broken(
                    "An answer of success is an effect at the gateway.",
                    found=f"{bench.last(kind).shown}, and the ledger shows nothing new",
                    fix="raise OutcomeUnknown if the gateway says that it is done already",
                )
            if Kind(kind) is Kind.AUTHORIZE and _count(bench, call.session, kind) > begun:
                broken(
                    "`authorize` looks before it writes: the session may be authorized already.",
                    found=f"{bench.last(kind).shown}, and the ledger shows another authorization",
                    fix="look for the payment by session.reference or session.id first, and answer with it",
                )
        elif not isinstance(answer, OutcomeUnknown):
            broken(
                "A refusal because of the object's state is OutcomeUnknown: it may be our own doing.",
                found=bench.last(kind).shown,
                fix="sort 'already captured', 'already refunded' and 'already canceled' as OutcomeUnknown",
            )

    @pytest.mark.parametrize("kind", ["update", "authorize", "capture", "refund", "cancel"])
    def test_what_was_refused_can_be_tried_again(self, bench: Bench, kind: str) -> None:
        """After a definite refusal the cause is fixed, and another attempt has a key of its own."""
        bench.needs(Kind(kind))
        _needs_keys(bench, Kind(kind))
        for status in bench.gateway.refuses:
            self._refused(bench, kind, status)

    def _refused(self, bench: Bench, kind: str, status: str) -> None:
        strike = bench.strike(Kind(kind), status)
        if strike.on != "write":
            not_declared(f"{kind} sends nothing that can cause an effect")
        session = bench.payments.get(strike.session_id)
        if strike.call.error is None or session.open is not None:
            broken(
                "A definite refusal is Declined or NotApplied: nothing happened, and it is not in doubt.",
                found=f"{FAULTS[status]}; {strike.call.shown}",
                fix=f"sort {status} as NotApplied, or as Declined where it is the payment that is refused",
            )
        try:
            session = bench.finished(bench.act(Kind(kind), session))
        except PaysessionError as error:
            broken(
                "What was refused can be tried again: each attempt has a key of its own.",
                found=f"the second attempt: {error}; {bench.last(kind).shown}",
                fix="send operation.key, and nothing that stays the same from one operation to the next",
            )
        bench.compare(session)

    def test_one_provider_serves_many_threads(self, bench: Bench) -> None:
        """Hooks run in threads: sessions of different threads do not get into each other's way."""
        bench.start()  # cold: whatever is built once is built now
        barrier = threading.Barrier(_THREADS)
        amount = bench.gateway.amount
        amounts = [Money.from_minor(amount.minor + 10 * i, amount.currency) for i in range(_THREADS)]

        def buy(place: int) -> PaymentSession:
            barrier.wait()
            session = bench.initiate(amounts[place])
            bench.approve(session)
            return bench.authorize(session)

        with ThreadPoolExecutor(_THREADS) as pool:
            futures = [pool.submit(buy, place) for place in range(_THREADS)]
        errors = [future.exception() for future in futures if future.exception() is not None]
        if errors:
            broken(
                "One provider serves many threads.",
                found=f"{len(errors)} of {_THREADS} threads failed: {errors[0]!r:.300}",
                fix="build the client once, under a lock; keep nothing of a call in the object",
            )
        sessions = [future.result() for future in futures]
        for session, amount in zip(sessions, amounts, strict=True):
            if session.status is not Status.AUTHORIZED or session.authorized != amount.minor:
                broken(
                    "Sessions of different threads do not get into each other's way.",
                    found=f"{amount} was asked for: status {session.status}, {session.authorized_amount}",
                    fix="keep nothing of a call in the object",
                )
            bench.compare(session)
        if len({session.reference for session in sessions}) < _THREADS and not bench.capabilities.local:
            broken("Each session has its own object.", found="two share one", fix="keep nothing of a call")

    @pytest.mark.parametrize("kind", ["capture", "refund"])
    def test_the_same_call_in_many_threads_has_one_effect(self, bench: Bench, kind: str) -> None:
        """With the same caller's key, one thread carries it out; the others hear the result, or busy."""
        bench.needs(Kind(kind))
        session = bench.ready_for(Kind(kind))
        barrier = threading.Barrier(_THREADS)

        def act() -> None:
            barrier.wait()
            bench.act(Kind(kind), session, key="same")

        with ThreadPoolExecutor(_THREADS) as pool:
            futures = [pool.submit(act) for _ in range(_THREADS)]
        errors = [future.exception() for future in futures]
        strange = [error for error in errors if error is not None and not isinstance(error, SessionBusy)]
        if strange:
            broken(
                "The same call in many threads is one effect, and an answer or SessionBusy for each.",
                found=f"{strange[0]!r:.300}",
                fix="answer an Outcome",
            )
        assert session is not None  # noqa: S101 - only initiate begins without one
        bench.compare(bench.finished(bench.payments.get(session.id)))


def _needs_keys(bench: Bench, kind: Kind) -> None:
    bench.needs_gateway()
    if not bench.capabilities.window(kind):
        not_declared(f"capabilities say that the gateway keeps no key of {kind}")


def _same(one: Request, other: Request) -> bool:
    return (one.method, one.path, one.body) == (other.method, other.path, other.body)


def _operation(call: Call) -> Operation:
    assert call.operation is not None  # noqa: S101 - every kind of operation is called with one
    return call.operation


def _count(bench: Bench, session: PaymentSession, kind: str) -> int:
    return len(bench.effects(session, Kind(kind)))


def settled(bench: Bench, session_id: str, what: str) -> PaymentSession:
    """Let recovery settle a session, and fail if it cannot."""
    session = bench.settle(session_id)
    capabilities = bench.capabilities
    if session.open is not None:
        operation = bench.store.operation(session.open)
        assert operation is not None  # noqa: S101 - it is open
        repeatable = bench.clock() < operation.created_at + capabilities.window(operation.kind)
        if capabilities.lookup == "none" and not repeatable:
            return session  # an operator's turn: neither asking nor repeating can tell
        broken(
            "Doubt is settled: by a lookup, or by sending the same again within replay_window.",
            found=f"{what}: {operation.kind} is still {operation.state} ({operation.error}); "
            f"{bench.last().shown}",
            fix=advice.of_doubt(bench, operation),
        )
    bench.compare(session)
    kind = what.partition(":")[0]
    rows = [row for row in bench.payments.history(session_id) if row.kind == kind]
    if kind in ("capture", "refund") and any(row.origin != "host" for row in rows):
        broken(
            "What recovery finds of our own operation is recorded as ours: otherwise it is done again.",
            found=f"{what}: it is recorded as the provider's; {bench.last('retrieve').shown}",
            fix="give the Effect the operation.key that was sent as its key; or none, if the gateway "
            "does not keep it",
        )
    return session


def _nothing_was_booked(bench: Bench, kind: Kind, point: str, session: PaymentSession | None) -> None:
    """For effects of our own: what was not committed did not happen, and can be done again."""
    count = len(bench.store.sessions(limit=None))
    version = session.version if session is not None else 0
    if session is None:
        bench.recorder.crash = (kind, point)
        with pytest.raises(BaseException, match="initiate"):
            bench.initiate(key="once")
        bench.recorder.crash = None
        if len(bench.store.sessions(limit=None)) != count:
            broken("A crash leaves nothing behind.", found="a session", fix="write nothing in the hook")
        return
    bench.crash(kind, point, session)
    after = bench.payments.get(session.id)
    if after.version != version or bench.store.operations(session.id)[-1].state is State.STARTED:
        broken("A crash leaves nothing behind.", found=f"{after!r}", fix="write nothing in the hook")
    try:
        bench.act(kind, after)
    except (PaysessionError, ProviderError) as error:
        broken("What did not happen can be done again.", found=f"{error}", fix="keep nothing in the object")
