"""What is authorized can be raised: once, as asked, and never by an answer that nobody gave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from paysession import Declined, Kind, Outcome, PaysessionError, Status
from paysession_testing.contract.doubt import settled
from paysession_testing.contract.verdict import broken, not_declared

if TYPE_CHECKING:
    from paysession import Operation, PaymentSession
    from paysession_testing.contract.bench import Bench

__all__ = ["IncrementsContract"]

_FAULTS: Final = ("drop_before", "drop_after", "500_before", "500_after", "500_replayed", "cut")


class IncrementsContract:
    """Increments of an authorization, of a provider that declares ``increment``."""

    def test_an_increment_raises_what_is_authorized(self, bench: Bench) -> None:
        """The gateway authorizes more, a lookup shows it, and all of it can be captured."""
        session = self._raised(bench)
        if not bench.capabilities.local:
            bench.compare(session)
            snapshot = bench.handle.retrieve(session, None)
            if snapshot.amount != session.amount or snapshot.authorized not in (None, session.amount):
                broken(
                    "A lookup shows what is authorized since it was raised.",
                    found=f"the session is about {session.amount}; {snapshot!r}",
                    fix="give amount= (and authorized=) in the Snapshot as the gateway has it now",
                )
        if bench.capabilities.capture != "none":
            session = bench.finished(bench.payments.capture(session.id))
            if session.captured != session.amount.minor:
                broken(
                    "All that is authorized can be captured.",
                    found=f"{session.captured_amount} of {session.amount}; {bench.last().shown}",
                    fix="capture operation.amount, which may be more than was authorized first",
                )
        bench.compare(session)

    def test_what_was_raised_can_be_canceled(self, bench: Bench) -> None:
        """A cancel releases all of it."""
        session = self._raised(bench)
        session = bench.finished(bench.payments.cancel(session.id))
        released = bench.capabilities.local or bench.effects(session, Kind.CANCEL)
        if session.status is not Status.CANCELED or not released:
            broken(
                "A cancel releases all that is authorized.",
                found=f"{session!r}; {bench.last().shown}",
                fix="cancel the payment as before: what was raised is part of it",
            )
        bench.compare(session)

    def test_an_increment_that_is_declined_leaves_the_authorization(self, bench: Bench) -> None:
        """The payer's bank refuses more: what was authorized still is, and can be captured."""
        bench.needs_increment()
        bench.needs_gateway()
        before = self._ready(bench)
        bench.gateway.decline_increment(before)
        try:
            bench.act(Kind.UPDATE, before)
        except PaysessionError as error:
            declined = isinstance(error, Declined)
        else:
            declined = False
        if not declined:
            broken(
                "What the payer's bank refuses is Declined.",
                found=bench.last("update").shown,
                fix="ask the gateway for operation.amount, and raise Declined where the bank refuses it",
            )
        session = bench.look(before)
        if (session.amount, session.authorized, session.open) != (before.amount, before.authorized, None):
            broken(
                "A decline leaves what was authorized as it was.",
                found=f"{session!r}; {bench.last().shown}",
                fix="let retrieve give the amount that is authorized, not the one that was asked for",
            )
        bench.compare(session)
        if bench.capabilities.capture != "none":
            bench.compare(bench.finished(bench.payments.capture(session.id)))

    @pytest.mark.parametrize("fault", _FAULTS)
    def test_an_increment_in_doubt_is_settled_once(self, bench: Bench, fault: str) -> None:
        """Whatever was lost, recovery finds out whether it was raised, and it is raised once."""
        bench.needs_increment()
        bench.needs_gateway()
        strike = bench.strike(Kind.UPDATE, fault)
        self._all_or_nothing(bench, settled(bench, strike.session_id, f"update: {fault}"))

    @pytest.mark.parametrize("point", ["before", "after"])
    def test_a_crash_while_it_is_raised_is_recovered(self, bench: Bench, point: str) -> None:
        """The process dies before the hook, or between its answer and the commit."""
        bench.needs_increment()
        bench.needs_gateway()
        session_id = bench.crash(Kind.UPDATE, point, self._ready(bench))
        bench.pass_lease()
        self._all_or_nothing(bench, settled(bench, session_id, f"update: crash {point} the answer"))

    def test_the_same_increment_twice_raises_once(self, bench: Bench) -> None:
        """A hook that is called again with the same operation, as recovery does, raises nothing more."""
        session = self._raised(bench)
        bench.needs_gateway()
        if not bench.capabilities.window(Kind.UPDATE):
            not_declared("capabilities say that the gateway keeps no key of update")
        call = bench.last("update")
        bench.start()
        bench.ask(Kind.UPDATE, call.session, _operation(call.operation))
        bench.compare(bench.look(session))

    @pytest.mark.parametrize("fault", ["wrong_amount", "wrong_currency"])
    def test_a_wrong_total_is_not_believed(self, bench: Bench, fault: str) -> None:
        """What is authorized after an increment is what the gateway states, not what was asked for."""
        bench.needs_increment()
        bench.needs_gateway()
        strike = bench.strike(Kind.UPDATE, fault)
        answer = strike.call.answer
        if isinstance(answer, Outcome) and answer.amount in (None, bench.gateway.amount):
            broken(
                "What the gateway states of an increment is compared with what was asked.",
                found=f"{fault}, and {strike.call.shown}",
                fix="answer Outcome.authorized(amount=...) with the total that the gateway stated",
            )
        bench.compare(bench.settle(strike.session_id))

    def _ready(self, bench: Bench) -> PaymentSession:
        session = bench.ready_for(Kind.UPDATE)
        assert session is not None  # noqa: S101 - only initiate begins without one
        return session

    def _raised(self, bench: Bench) -> PaymentSession:
        bench.needs_increment()
        session = bench.act(Kind.UPDATE, self._ready(bench))
        if session.authorized != bench.gateway.amount.minor:
            broken(
                "An increment raises what is authorized.",
                found=f"{session!r}; {bench.last().shown}",
                fix="answer Outcome.authorized(amount=...) once the gateway has authorized operation.amount",
            )
        return session

    def _all_or_nothing(self, bench: Bench, session: PaymentSession) -> None:
        """Fail unless the session's amount is authorized, and that is either the former or the new one."""
        allowed = (bench.gateway.amount, bench.smaller(bench.gateway.amount))
        if session.authorized_amount != session.amount or session.amount not in allowed:
            broken(
                "An increment happens once, or not at all.",
                found=f"{session!r}; {bench.last().shown}",
                fix="send operation.amount, which is the whole, under operation.key",
            )


def _operation(operation: Operation | None) -> Operation:
    assert operation is not None  # noqa: S101 - every kind of operation is called with one
    return operation
