"""What a lookup tells: the gateway's truth, all of it, and nothing that contradicts itself."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from paysession import Kind, PaysessionError, ProviderError, Status
from paysession.store import replace
from paysession_testing.contract import advice
from paysession_testing.contract.verdict import broken

if TYPE_CHECKING:
    from paysession import CaptureMode, PaymentSession
    from paysession_testing.contract.bench import Bench

__all__ = ["TruthContract"]


class TruthContract:
    """The gateway's truth."""

    def test_retrieve_tells_what_happened(self, bench: Bench) -> None:
        """A lookup shows every effect that a provider can cause, so that its absence is evidence."""
        bench.needs_lookup()
        made = "object" not in bench.gateway.cannot
        session = bench.initiate()
        if made:
            self._shows(bench, session, {Status.PENDING, Status.REQUIRES_MORE}, Kind.INITIATE)
        if made and bench.handle.implements("update"):
            self._shows(bench, session, {Status.PENDING, Status.REQUIRES_MORE}, Kind.UPDATE)
        session = bench.authorized()
        self._shows(bench, session, {Status.AUTHORIZED}, Kind.AUTHORIZE)
        if bench.capabilities.capture != "none" or bench.capabilities.refund != "none":
            session = bench.captured()
            self._shows(bench, session, {Status.AUTHORIZED}, Kind.CAPTURE)
        if bench.capabilities.refund != "none":
            session = bench.finished(bench.act(Kind.REFUND, session))
            self._shows(bench, session, {Status.AUTHORIZED}, Kind.REFUND)

    def _shows(self, bench: Bench, session: PaymentSession, statuses: set[Status], kind: Kind) -> None:
        snapshot = bench.handle.retrieve(session, None)
        lacking = advice.untold(snapshot, kind)
        if snapshot.status not in statuses or lacking is not None:
            known = " or ".join(sorted(statuses))
            broken(
                f"After {kind}, `retrieve` shows a session that is {known}, and tells what {kind} did.",
                found=f"{snapshot!r}",
                fix=lacking or f"answer the status that the gateway's object has: {known}",
            )
        rows = [row for row in bench.payments.history(session.id) if row.kind is kind]
        answered = [row.reference for row in rows if row.reference is not None]
        for effect in snapshot.effects if kind in (Kind.CAPTURE, Kind.REFUND) else ():
            if effect.kind is kind and answered and effect.reference not in (None, *answered):
                broken(
                    "An effect is told under the reference that the hook answered.",
                    found=f"{effect!r}; the hook answered {', '.join(answered)}",
                    fix="give the gateway's id of the capture or refund in both, not that of the payment",
                )
        for name, ours in (("captured", session.captured), ("refunded", session.refunded)):
            told = getattr(snapshot, name)
            if told is not None and told.minor != ours:
                broken(
                    "The totals of a snapshot are cumulative, and true.",
                    found=f"{name} is {told} where the ledger holds {ours} in minor units",
                    fix="add up what the gateway shows",
                )

    @pytest.mark.parametrize("capture", ["manual", "automatic"])
    def test_a_lookup_changes_nothing(self, bench: Bench, capture: CaptureMode) -> None:
        """`retrieve` only looks: whatever state a session is in, it sends nothing that writes."""
        bench.needs_lookup()
        session = bench.initiate(capture=capture)
        self._only_looks(bench, session)
        bench.approve(session)
        self._only_looks(bench, session)
        session = bench.look(bench.finished(bench.must_be_authorized(bench.authorize(session))))
        self._only_looks(bench, session)
        if bench.capabilities.capture != "none" and not session.captured:
            session = bench.finished(bench.act(Kind.CAPTURE, session, part=True))
            self._only_looks(bench, session)
        if bench.capabilities.refund != "none" and session.captured:
            session = bench.finished(bench.act(Kind.REFUND, session, part=True))
            self._only_looks(bench, session)
        if session.authorized > session.captured:
            self._only_looks(bench, bench.finished(bench.payments.cancel(session.id)))

    def _only_looks(self, bench: Bench, session: PaymentSession) -> None:
        """Fail if a lookup writes, or has written since the session began; something in doubt or not."""
        held = list(bench.gateway.ledger(session))
        for operation in (None, bench.payments.history(session.id)[-1]):
            bench.handle.retrieve(session, operation)
        looks = [call for call in bench.recorder.calls if call.hook == "retrieve"]
        sent = [request for call in looks for request in call.sent if bench.gateway.is_write(request)]
        after = list(bench.gateway.ledger(session))
        if sent or after != held:
            shown = ", ".join(f"{request.method} {request.path}" for request in sent) or "no write"
            broken(
                "A lookup changes nothing at the gateway: it has no key, and nobody asked for an effect.",
                found=f"of a session that is {session.status} `retrieve` sent {shown}; the gateway held "
                f"{held}, and then {after}",
                fix="capture, cancel and authorize in their own hooks; say ready=True where `authorize` "
                "has to go on; a POST that only reads is said by the counterpart's is_write",
            )

    @pytest.mark.parametrize("kind", ["capture", "refund"])
    def test_totals_and_effects_tell_the_same(self, bench: Bench, kind: str) -> None:
        """A total counts what succeeded: not what is under way or failed, and no more than the effects."""
        bench.needs_lookup()
        bench.needs(Kind(kind))
        for end in (bench.gateway.fail, bench.gateway.finish):
            before = bench.ready_for(Kind(kind))
            session = bench.act(Kind(kind), before, part=True)
            operation = bench.last(kind).operation
            assert before is not None and operation is not None  # noqa: PT018, S101 - neither is initiate
            asked = operation.amount.minor
            self._agree(bench, session, before, kind, 0 if session.pending else asked)
            if not session.pending:
                return
            end(session)
            bench.clock.forward(bench.capabilities.lookup_lag + timedelta(seconds=1))
            self._agree(bench, session, before, kind, asked if end == bench.gateway.finish else 0)

    def _agree(
        self, bench: Bench, session: PaymentSession, before: PaymentSession, changed: str, minor: int
    ) -> None:
        """Fail unless a snapshot tells what was there before, and so much more of one kind."""
        snapshot = bench.handle.retrieve(session, None)
        for kind, total, ours in (
            (Kind.CAPTURE, snapshot.captured, before.captured),
            (Kind.REFUND, snapshot.refunded, before.refunded),
        ):
            right = ours + minor if kind is Kind(changed) else ours
            told = [effect for effect in snapshot.effects if effect.kind is kind]
            done = sum(effect.amount.minor for effect in told if effect.state == "succeeded")
            # Who tells a total may tell, one by one, only what is under way or failed.
            added_up = not told or done == right or (total is not None and not done)
            if not added_up or (total is not None and total.minor != right):
                shown = ", ".join(f"{effect.amount} {effect.state}" for effect in told) or "none"
                broken(
                    "A total counts what succeeded, and the effects add up to it.",
                    found=f"{right} of {kind} succeeded in minor units; the total is {total}, one by one: "
                    f"{shown}",
                    fix="add up those that succeeded only, and give each Effect the state that it has now",
                )

    def test_a_session_that_the_gateway_does_not_know_is_absent(self, bench: Bench) -> None:
        """A lookup that certainly finds nothing says `Snapshot.absent`, and raises nothing."""
        bench.needs_lookup()
        known = bench.initiate()
        stranger = replace(known, id=known.id[:-6] + "ffffff", reference=None, data="{}")
        try:
            snapshot = bench.handle.retrieve(stranger, None)
        except ProviderError as error:
            broken(
                "What the gateway does not know is absent.",
                found=f"{type(error).__name__}: {error}; {bench.last().shown}",
                fix="answer Snapshot.absent() if there is no reference to look for, and on a certain 404",
            )
        if snapshot.status is not None:
            broken(
                "A lookup finds the session that was asked for, and no other.",
                found=f"{snapshot!r}",
                fix="look for session.reference or session.id; give session_id= as the object carries it",
            )

    def test_a_payer_who_never_returns_is_no_lost_sale(self, bench: Bench) -> None:
        """What the payer approved is authorized by recovery, without the payer's return."""
        bench.needs_gateway()
        bench.needs_feature("ask")
        if "approval" in bench.gateway.cannot:
            self._unheard_of(bench)
            bench.needs_feature("approval")
        bench.needs_report()
        session = bench.initiate()
        bench.gateway.approve(session)
        bench.hear(session)
        for _ in range(0 if bench.hears else 3):
            bench.clock.now = bench.row(session).due_at or bench.clock.now
            bench.payments.recover()
        session = bench.payments.get(session.id)
        if session.status is not Status.AUTHORIZED and session.authorizing is None:
            broken(
                "A payer who approved and never returned is no lost sale.",
                found=f"status {session.status}; {bench.last().shown}",
                fix="let retrieve say ready=True once the payer approved, or status authorized",
            )
        bench.compare(session)

    def _unheard_of(self, bench: Bench) -> None:
        """Fail if a payer is heard of without `authorize`, though the counterpart says otherwise."""
        session = bench.initiate()
        payload = bench.gateway.approve(session)
        if bench.capabilities.lookup != "none":
            session = bench.payments.sync(session.id)
        with suppress(PaysessionError):  # without what the payer brings it may well refuse
            session = bench.payments.authorize(session.id)
        if payload is None or session.status is Status.AUTHORIZED or bench.effects(session, Kind.AUTHORIZE):
            broken(
                "A counterpart says `approval` in cannot only if the payer acts through `authorize` alone.",
                found=f"approve() returned {'no' if payload is None else 'a'} payload, and without one the "
                f"session is {session.status}",
                fix="take `approval` out of cannot; or return from approve() what the browser brings, and "
                "authorize nothing without it",
            )

    def test_a_refund_in_the_dashboard_is_booked(self, bench: Bench) -> None:
        """What somebody refunded at the gateway shows in the ledger after a look."""
        bench.needs_report()
        bench.needs(Kind.REFUND)
        bench.needs_feature("dashboard")
        session = bench.captured()
        amount = session.captured_amount
        if bench.capabilities.refund == "multiple":
            amount = bench.smaller(amount)
        bench.gateway.refund_in_dashboard(session, amount)
        session = bench.look(session)
        if session.refunded != amount.minor:
            broken(
                "A refund that was made in the dashboard is recorded.",
                found=f"{session.refunded_amount} of {amount} is recorded; {bench.last().shown}",
                fix="let retrieve give refunded= as the gateway's total, or an Effect for each refund; a "
                "gateway that cannot be queried reports it by an Effect of its notification",
            )
        rows = [row for row in bench.payments.history(session.id) if row.kind is Kind.REFUND]
        if [row.origin for row in rows] != ["provider"]:
            broken(
                "An effect that we did not cause is the provider's.",
                found=f"{rows}",
                fix="give the key of an Effect only if it is ours",
            )
