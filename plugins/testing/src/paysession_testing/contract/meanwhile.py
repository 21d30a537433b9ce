"""What others do at the gateway while we ask it, and behind our back: payers, banks, a dashboard."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from paysession import Kind, PaysessionError, Status
from paysession_testing.contract.notifications import deliver, notify
from paysession_testing.contract.verdict import broken, not_declared
from paysession_testing.contract.wire import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from paysession import PaymentSession, WebhookReply
    from paysession_testing.contract.bench import Bench
    from paysession_testing.contract.counterpart import Request

__all__ = ["MeanwhileContract"]


def _between(bench: Bench, act: Callable[[], object], meanwhile: Callable[[Request], object]) -> None:
    """Act, and let something happen whenever a request was carried out and is not answered yet."""
    wire = bench.wire
    if not isinstance(wire, Proxy):
        not_declared("this wire cannot hold an answer back")
    wire.meanwhile = meanwhile
    try:
        act()
    finally:
        wire.meanwhile = None
    if wire.errors:
        raise wire.errors[0]


class MeanwhileContract:
    """What others do meanwhile."""

    @pytest.mark.parametrize("kind", ["authorize", "capture", "refund"])
    def test_a_notification_may_overtake_the_answer(self, bench: Bench, kind: str) -> None:
        """The gateway reports an effect before it answers: recorded once, and the next step goes on."""
        bench.needs(Kind(kind))
        bench.needs_gateway()
        bench.needs_webhooks()
        session = bench.ready_for(Kind(kind))
        assert session is not None  # noqa: S101 - only initiate begins without one
        replies: list[WebhookReply] = []

        def tell(request: Request) -> None:
            if not bench.gateway.is_write(request):
                return
            if bench.hears:  # it has finished before its answer is there
                bench.gateway.finish(session)
                bench.hear(session)
            replies.append(deliver(bench, *notify(bench, session)))

        try:
            _between(bench, lambda: bench.act(Kind(kind), session, part=True), tell)
            if not replies:
                not_declared(f"{kind} sends nothing that can cause an effect")
            after = bench.finished(bench.payments.get(session.id))
            if kind != "refund":
                self._go_on(bench, after)
        except PaysessionError as error:
            broken(
                "A notification that overtakes the answer disturbs nothing.",
                found=f"{type(error).__name__}: {error}; {bench.last().shown}",
                fix="what `data` a later step needs let retrieve tell as well: it may come first",
            )
        rows = [row.origin for row in bench.payments.history(session.id) if row.kind is Kind(kind)]
        if replies[-1].status >= 300 or after.open is not None or after.conflict or rows != ["host"]:
            broken(
                "What a notification tells of before the answer is there is our own operation.",
                found=f"answered {replies[-1]}; {after!r}; {kind} of {', '.join(rows)}",
                fix="give each Effect the key of its operation, and the reference that the hook answers",
            )

    @pytest.mark.parametrize("kind", ["capture", "refund"])
    def test_a_failure_may_overtake_the_answer(self, bench: Bench, kind: str) -> None:
        """The gateway reports the failure before it answers that it was accepted: nothing is left of it."""
        bench.needs(Kind(kind))
        bench.needs_report()
        if not bench.act(Kind(kind), bench.ready_for(Kind(kind)), part=True).pending:
            not_declared(f"{kind} finishes at once")
        session = bench.ready_for(Kind(kind))
        assert session is not None  # noqa: S101 - neither is initiate
        wrote: list[Request] = []

        def tell(request: Request) -> None:
            if bench.gateway.is_write(request) and not wrote:
                wrote.append(request)
                bench.gateway.fail(session)
                bench.look(session)

        with suppress(PaysessionError):  # the caller may well be told that it failed
            _between(bench, lambda: bench.act(Kind(kind), session, part=True), tell)
        after = bench.look(bench.payments.get(session.id))
        moved = (after.captured, after.refunded) != (session.captured, session.refunded)
        if moved or after.pending or after.open is not None:
            broken(
                "A failure that overtakes the answer is the end of the operation.",
                found=f"{after!r}",
                fix="give the Effect in the state failed the operation's key, or the reference that the "
                "hook answers",
            )
        bench.compare(after)

    def _go_on(self, bench: Bench, session: PaymentSession) -> None:
        """Do what comes next, with what the ledger knows now."""
        bench.compare(session)
        capture, refund = bench.capabilities.capture, bench.capabilities.refund
        if capture != "none" and not session.captured:
            session = bench.finished(bench.act(Kind.CAPTURE, session))
        elif refund != "none" and session.captured:
            session = bench.finished(bench.act(Kind.REFUND, session))
        bench.compare(session)

    @pytest.mark.parametrize("when", ["during", "after"])
    def test_the_payer_may_approve_at_any_time(self, bench: Bench, when: str) -> None:
        """While `authorize` asks the gateway, or after it was told to wait: authorized, and once."""
        bench.needs_gateway()
        bench.needs_feature("ask")
        bench.needs_feature("approval")
        session = bench.initiate()
        approved: list[Request] = []

        def approve(request: Request) -> None:
            if not approved:
                approved.append(request)
                bench.approve(session)

        with suppress(PaysessionError):  # what it says so early counts for nothing
            if when == "during":
                _between(bench, lambda: bench.payments.authorize(session.id), approve)
            else:
                bench.payments.authorize(session.id)
        if not approved:
            bench.approve(session)
        session = bench.finished(bench.hear(bench.payments.get(session.id)))
        if session.status is not Status.AUTHORIZED:
            session = bench.authorize(session)
        if session.status is not Status.AUTHORIZED:
            broken(
                "What the payer approved late is authorized when the payer comes back.",
                found=f"status {session.status}, error {session.error}; {bench.last('authorize').shown}",
                fix="look at the gateway in each `authorize`, and send operation.key, which is new",
            )
        bench.compare(session)

    @pytest.mark.parametrize("what", ["capture", "cancel", "chargeback"])
    def test_what_others_do_at_the_gateway_is_booked(self, bench: Bench, what: str) -> None:
        """A capture, a cancel or a chargeback of others shows after a look, and a chargeback is no refund."""
        bench.needs_report()
        if what == "chargeback":
            before = bench.captured()
            bench.gateway.charge_back(before, before.captured_amount)
        else:
            bench.needs(Kind(what))
            before = bench.authorized()
            if before.captured:
                not_declared("authorizing captures")
            if what == "capture":
                bench.gateway.capture_in_dashboard(before, before.authorized_amount)
            else:
                bench.gateway.cancel_in_dashboard(before)
        session = bench.look(before)
        row = bench.payments.history(before.id)[-1]
        right = {
            "capture": session.captured == session.amount.minor,
            "cancel": session.status is Status.CANCELED,
            "chargeback": session.captured == session.charged_back and not session.refunded,
        }
        if not right[what] or row.origin != "provider":
            broken(
                f"A {what} that we did not ask for is recorded, as the provider's.",
                found=f"{session!r}; {bench.last().shown}",
                fix="let retrieve, or the notification, tell all that happened to the object, whoever "
                "caused it: a dispute as an Effect of the kind chargeback, beside its capture; give the key "
                "of an Effect only if it is ours",
            )
        bench.compare(session)

    def test_a_dispute_takes_nothing_while_it_is_open(self, bench: Bench) -> None:
        """One that has begun, or that the merchant has won, is no chargeback; what is captured stays so."""
        bench.needs_report()
        session = bench.captured()
        bench.gateway.open_dispute(session, session.captured_amount)
        self._disputed(bench, session, 1)
        bench.gateway.win_dispute(session)
        self._disputed(bench, session, 0)

    def _disputed(self, bench: Bench, before: PaymentSession, disputes: int) -> None:
        """Fail unless so many disputes are open, and no money has moved."""
        session = bench.look(before)
        moved = session.charged_back or session.refunded or session.captured != before.captured
        if moved or session.disputes != disputes:
            broken(
                "A dispute takes money when the gateway takes it, and not before.",
                found=f"{disputes} is open and nothing was taken: {session.disputes} is recorded, and "
                f"{session.charged_back_amount} as charged back; {bench.last().shown}",
                fix="report an Effect of the kind chargeback in the state pending while the money is still "
                "the merchant's, and failed if it ends so; captured and refunded stay as they are",
            )
