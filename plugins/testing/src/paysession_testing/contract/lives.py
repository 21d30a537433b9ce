"""What a provider keeps while all goes well: answers, amounts, data, and telling the truth."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from paysession import (
    Declined,
    InvalidData,
    Kind,
    Money,
    NotApplied,
    Outcome,
    PaysessionError,
    Redirect,
    State,
    Status,
)
from paysession.provider import ANSWERS, Snapshot
from paysession.store import replace
from paysession_testing.contract.verdict import broken, not_declared

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from paysession import PaymentSession
    from paysession.provider import Effect
    from paysession_testing.contract.bench import Bench

__all__ = ["LivesContract"]

_SAMPLE = {0: 4200, 2: 1999, 3: 4210, 4: 12340}
"""Minor units by decimals: ``int(19.99 * 100)`` is 1998, and some gateways want three to end in 0."""

_MADE_UP = {
    **dict.fromkeys(["resultCode", "authResult", "result"], "Authorised"),
    **dict.fromkeys(["status", "state", "payment_status", "paymentStatus", "redirect_status"], "authorized"),
    **dict.fromkeys(["success", "paid", "approved", "authorized", "authorised"], "true"),
}
"""What somebody may make up who has paid nothing: under the names that gateways' scripts use."""

_NAMES = (
    *("id", "order", "order_id", "orderId", "payment", "payment_id", "paymentId", "payment_intent"),
    *("session", "session_id", "sessionId", "checkout", "checkout_id", "reference", "transaction"),
)
"""Names under which browsers bring back which payment it was."""


def _reported(bench: Bench, session: PaymentSession) -> list[Effect]:
    """Return the effects that the last lookup has shown, or all that the notifications report."""
    if bench.capabilities.lookup != "none":
        call = bench.last("retrieve")
        assert isinstance(call.answer, Snapshot)  # noqa: S101 - it was recorded
        return list(call.answer.effects)
    now = datetime.now(UTC)
    bodies = bench.gateway.notifications(session) if bench.hears else ()
    events = (
        event for body in bodies for event in bench.handle.parse_webhook(bench.gateway.sign(body, now), body)
    )
    return [effect for event in events for effect in event.effects]


def _check_names(bench: Bench, session: PaymentSession) -> None:
    """Fail unless what the gateway reports of our operations tells them apart, as is declared."""
    history = bench.payments.history(session.id)
    # Captures of one charge may have no reference of their own: these cannot be matched here.
    own = {row.reference: row for row in history if row.origin != "provider" and row.reference is not None}
    for effect in _reported(bench, session):
        if effect.kind not in (Kind.CAPTURE, Kind.REFUND):
            continue
        if bench.hears and not effect.reference and not effect.key:
            broken(
                "Without a lookup each effect has a reference or a key: reported again, it is no second one.",
                found=f"{effect!r} has neither",
                fix="give the gateway's id of it as Effect.reference, or operation.key as Effect.key",
            )
        row = own.get(effect.reference or "")
        if bench.capabilities.keyed_effects and row is not None and effect.key != row.key:
            broken(
                "Where `keyed_effects` is declared each effect of ours carries the key of its operation.",
                found=f"the {effect.kind} {effect.reference} of {row.key} has the key {effect.key}",
                fix="send operation.key where the gateway keeps it with the effect, such as metadata, and "
                "give it as Effect.key; or declare keyed_effects=False",
            )


def live(bench: Bench, *, restart: bool = False) -> PaymentSession:
    """Go through a whole life, as far as declared: update, raise, capture, refund, and cancel the rest."""

    def step() -> None:
        if restart:
            bench.start()

    session = bench.initiate()
    step()
    if bench.handle.implements("update"):
        session = bench.payments.update(session.id, bench.smaller(session.amount))
        step()
    bench.approve(session)
    session = bench.must_be_authorized(bench.authorize(session))
    step()
    if bench.capabilities.increment and not session.captured:
        session = bench.payments.update(session.id, bench.gateway.amount)
        step()
    capture, refund = bench.capabilities.capture, bench.capabilities.refund
    half = bench.smaller(session.amount)
    if capture != "none" and not session.captured:
        session = bench.payments.capture(session.id, None if capture == "full" else half)
        session = bench.finished(session)
        step()
    if capture == "multiple" and session.captured == half.minor:
        session = bench.payments.capture(session.id, bench.smaller(session.amount - half))
        session = bench.finished(session)
        step()
    if refund != "none" and session.captured:
        capture_id = next(row.id for row in bench.payments.history(session.id) if row.kind is Kind.CAPTURE)
        named = capture_id if bench.capabilities.refund_needs_capture else None
        part = None if refund == "full" else bench.smaller(half)
        session = bench.finished(bench.payments.refund(session.id, part, capture=named, reason="returned"))
        step()
    if session.authorized > session.captured:
        session = bench.finished(bench.payments.cancel(session.id))
    return session


class LivesContract:
    """Answers, amounts, data, and the gateway's truth."""

    def test_initiate_charges_nothing(self, bench: Bench) -> None:
        """``initiate`` makes the gateway's object, with our session's id, and moves no money."""
        session = bench.initiate()
        if session.status not in (Status.PENDING, Status.REQUIRES_MORE):
            broken(
                "`initiate` is inert: after it the session is pending, or requires more.",
                found=f"status {session.status}",
                fix="authorize and capture in `authorize` only",
            )
        if bench.capabilities.local:
            return
        moved = [row for row in bench.gateway.ledger(session) if row.kind is not Kind.INITIATE]
        if moved:
            broken(
                "`initiate` is inert: nothing is charged by it alone.",
                found=f"the ledger shows {moved}",
                fix="move whatever charges the payer into `authorize`",
            )

    def test_the_gateways_object_carries_the_sessions_id(self, bench: Bench) -> None:
        """What is made at the gateway can be found again by our id, and is known by its own."""
        bench.needs_gateway()
        session, hook = bench.initiate(), "initiate"
        if "object" in bench.gateway.cannot:
            session, hook = self._made_late(bench, session), "authorize"
        carried = re.escape(session.id) + r"(?!-\d)"
        sent = any(re.search(carried, r.text) for r in bench.wire.requests if bench.gateway.is_write(r))
        # Where an id has no room a hash of it is sent, which only the counterpart knows.
        nameless = replace(session, reference=None, collection_id="", collection_reference="")
        if not sent and not bench.gateway.ledger(nameless):
            broken(
                "Every object made at a gateway carries our session's id, so that it can be found.",
                found=f"no request of `{hook}` carries {session.id}, and ledger() finds nothing by it",
                fix="send session.id in the object's metadata, reference or custom id; where it has no "
                "room, a hash of it, by which ledger() finds the object too",
            )
        if session.reference is None and bench.hears:  # a notification may name what later requests need
            bench.approve(session)
            session, hook = bench.must_be_authorized(bench.authorize(session)), "the notification"
        if session.reference is None:
            broken(
                "The session knows the gateway's id of its object.",
                found=f"session.reference is None after `{hook}`",
                fix="answer with reference=, the gateway's id; where a notification names it first, give it "
                "as WebhookEvent.reference",
            )

    def _made_late(self, bench: Bench, session: PaymentSession) -> PaymentSession:
        """Return a session of which the gateway heard from `authorize` first, as the counterpart says."""
        written = [request for request in bench.wire.requests if bench.gateway.is_write(request)]
        if written or session.reference is not None:
            broken(
                "A counterpart says `object` in cannot only if `initiate` sends nothing that writes.",
                found=f"{written[0].method} {written[0].path} was sent, and the reference is "
                f"{session.reference}",
                fix="take `object` out of cannot",
            )
        bench.approve(session)
        return bench.must_be_authorized(bench.authorize(session))

    def test_every_hook_answers_what_it_may(self, bench: Bench) -> None:
        """In a whole life each hook answers an `Outcome` that is allowed for it, at once."""
        try:
            live(bench)
        except PaysessionError as error:
            broken(
                "A life in which nothing fails raises nothing.",
                found=f"{type(error).__name__}: {error}; {bench.last().shown}",
                fix="return an Outcome from each hook; async hooks, None and dicts count as unknown",
            )
        for call in bench.recorder.calls:
            if call.hook == "retrieve":
                if type(call.answer) is not Snapshot:
                    broken("`retrieve` answers a Snapshot.", found=call.shown, fix="return Snapshot(...)")
            elif not isinstance(call.answer, Outcome) or call.answer.answer not in ANSWERS[Kind(call.hook)]:
                broken(
                    f"`{call.hook}` answers one of {', '.join(sorted(ANSWERS[Kind(call.hook)]))}.",
                    found=call.shown,
                    fix="see the table of answers in docs/reference/lifecycle.md",
                )

    def test_a_life_leaves_the_ledger_as_the_gateway_has_it(self, bench: Bench) -> None:
        """After a whole life our ledger and the gateway's agree, and asking the gateway changes nothing."""
        session = live(bench)
        bench.compare(session)
        if not bench.capabilities.local:
            again = bench.payments.sync(session.id)
            told, known = (
                (row.status, row.authorized, row.captured, row.refunded, row.data) for row in (again, session)
            )
            if told != known or again.conflict is not None:
                broken(
                    "`retrieve` tells what the answers told: asking again changes nothing.",
                    found=f"{session!r} became {again!r}",
                    fix="give cumulative totals, effects with the reference that the hook answered, and no "
                    "data= or the same",
                )
            _check_names(bench, session)

    def test_a_life_goes_on_in_another_process(self, bench: Bench) -> None:
        """Nothing that a later step needs is kept in the provider itself: it stands in ``data``."""
        try:
            session = live(bench, restart=True)
        except PaysessionError as error:
            broken(
                "Nothing that a later step needs is kept in the provider itself.",
                found=f"in another process: {error}",
                fix="keep the gateway's ids in `data`, or as session.reference",
            )
        bench.compare(session)

    def test_a_payer_who_is_forgotten_can_still_be_refunded(self, bench: Bench) -> None:
        """``data`` may be erased with what is personal: a refund names the gateway's ids."""
        bench.needs(Kind.REFUND)
        session = bench.captured()
        try:
            bench.payments.forget(session.collection_id, by="the kit")
            bench.start()
            session = bench.finished(bench.payments.refund(session.id))
        except PaysessionError as error:
            broken(
                "A session whose data was erased can still be refunded.",
                found=f"{error}; {bench.last().shown}",
                fix="find the payment by session.reference and operation.capture.reference, not by `data`",
            )
        bench.compare(bench.look(session))

    def test_data_is_json(self, bench: Bench) -> None:
        """What a provider keeps in ``data`` is written as JSON, and read back the same."""
        session = live(bench)
        for call in bench.recorder.calls:
            if isinstance(call.error, InvalidData):
                broken(
                    "`data` is a mapping of JSON values with keys of type str.",
                    found=call.shown,
                    fix="turn dates and decimals into text, and objects of an SDK into dicts",
                )
        if json.loads(session.data_text) != json.loads(json.dumps(session.data)):
            broken("`data` survives a round trip.", found=session.data_text, fix="keep plain JSON values")

    def test_amounts_are_right_in_every_currency(self, bench: Bench) -> None:
        """Currencies without decimals, with two and with three: exact to the last digit, or refused."""
        late = "object" in bench.gateway.cannot  # the gateway hears of the amount from `authorize`
        own = bench.gateway.currency_exponents
        if dict(own) != dict(bench.capabilities.currency_exponents) and not bench.capabilities.local:
            broken(
                "A gateway's own numbers of decimals are declared, once.",
                found=f"the counterpart counts with {dict(own)}, and the capabilities declare "
                f"{dict(bench.capabilities.currency_exponents)}",
                fix="declare Capabilities(currency_exponents=...), and convert with capabilities.minor and "
                ".money; the counterpart's currency_exponents say how the gateway counts",
            )
        form = ""
        for place, currency in enumerate(dict.fromkeys([*bench.gateway.currencies, *own])):
            digits = len(f"{Money.from_minor(1, currency).amount:f}".partition(".")[2])
            amount = Money.from_minor(_SAMPLE[digits], currency)
            if own.get(currency, digits) < digits:
                amount = Money.from_minor(_SAMPLE[digits] // 10**digits * 10**digits, currency)
            begun = len(bench.wire.requests)
            try:
                session = bench.initiate(amount)
            except (Declined, NotApplied):
                if place:
                    continue  # refused for certain, which is right for a currency that is not offered
                raise
            if not bench.capabilities.local and not late:
                form = self._said(bench, amount, begun, form)
            bench.approve(session)
            session = bench.authorize(session)
            if place and late and session.status is Status.ERROR:
                bench.compare(session)
                continue
            if not bench.capabilities.local and late:
                form = self._said(bench, amount, begun, form)
            if session.status is not Status.AUTHORIZED or session.authorized != amount.minor:
                broken(
                    "An amount is authorized as it is, in every currency that is offered.",
                    found=f"{amount}: status {session.status}, authorized {session.authorized_amount}; "
                    f"{bench.last().shown}",
                    fix="convert with the currency's number of decimals; raise Declined for others",
                )
            bench.compare(session)

    def _said(self, bench: Bench, amount: Money, begun: int, form: str) -> str:
        """Return whether amounts are sent in minor or main units; fail if it is none, or not as before."""
        if "http" in bench.gateway.cannot:
            return form
        text = "\n".join(r.text for r in bench.wire.requests[begun:] if bench.gateway.is_write(r))
        main = {f"{amount.amount:f}", f"{amount.amount.normalize():f}"}
        words = {"minor": {str(bench.capabilities.minor(amount))}, "main": main}
        numbers = set(re.findall(r"(?<![\w.-])\d+(?:\.\d+)?(?![\w.-])", text))
        found = [name for name, numerals in words.items() if numerals & numbers and form in ("", name)]
        if not found:
            known = sorted(words[form] if form else {*words["minor"], *main})
            broken(
                "The amount that is sent is the session's, in main or in minor units.",
                found=f"{amount} was sent as none of {', '.join(known)}",
                fix="send amount.minor or amount.amount; do not multiply by 100 what has no cents; where "
                "the gateway has its own decimals, declare currency_exponents and send what "
                "capabilities.minor(amount) returns",
            )
        return found[0] if len(found) == 1 else form

    def test_nothing_is_authorized_before_the_payer_acts(self, bench: Bench) -> None:
        """``authorize`` of a session that the payer did not approve says so."""
        bench.needs_feature("ask")
        session = bench.payments.authorize(bench.initiate().id)
        limit = bench.capabilities.call_limit.total_seconds()
        if bench.last("authorize").took > limit:
            broken(
                "A hook does not wait for the payer: it answers within call_limit.",
                found=f"authorize took {bench.last('authorize').took:.1f} s; call_limit is {limit:.1f} s",
                fix="look once, and answer Outcome.requires_more(); what the payer does later is notified, "
                "or found by recovery",
            )
        if session.status is Status.AUTHORIZED:
            broken(
                "Nothing is authorized before the payer has approved.",
                found=bench.last("authorize").shown,
                fix="answer Outcome.requires_more(next_action=...) while the payer has something to do; "
                "a gateway that asks no payer says so in cannot['ask']",
            )
        if not bench.capabilities.local and "approval" not in bench.gateway.cannot:
            self._believes_the_browser(bench)

    def _believes_the_browser(self, bench: Bench) -> None:
        """Fail if what one payer brings back authorizes another's session, as it is or with its ids."""
        other, paid = bench.initiate(), bench.authorized()
        brought = bench.gateway.approve(other) or {}
        forged: dict[str, Callable[[PaymentSession], Mapping[str, Any]]] = {
            "the payload of another session": lambda _: brought,
            "the payload of another session and its own ids": lambda session: {
                name: {other.id: session.id, other.reference: session.reference}.get(str(value), value)
                for name, value in brought.items()
            },
            "a payload that says that it succeeded": lambda _: _MADE_UP,
            "the id of another session's payment": lambda _: dict.fromkeys(_NAMES, paid.reference),
        }
        for words, payload in forged.items():
            session = bench.initiate()
            with suppress(PaysessionError):  # it may well refuse
                bench.payments.authorize(session.id, payload=payload(session))
            if bench.payments.get(session.id).status is Status.AUTHORIZED:
                broken(
                    "What a browser brings authorizes nothing by itself: anybody can send it.",
                    found=f"with {words} {bench.last('authorize').shown}",
                    fix="ask the gateway about this session in `authorize`, and believe its answer only",
                )

    def test_the_payer_is_sent_back_to_the_shop(self, bench: Bench) -> None:
        """Where the payer is sent to the gateway's page, the gateway hears where to send the payer next."""
        bench.needs_gateway()
        bench.needs_feature("http")
        bench.needs_feature("return")
        session = bench.initiate()
        if not isinstance(session.next_action, Redirect):
            not_declared("`initiate` answers no Redirect: the payer stays in the shop")
        url = str(session.checkout.return_url)
        if not any(url in request.text for request in bench.wire.requests):
            broken(
                "A payer who was sent to the gateway's page comes back to the shop.",
                found=f"the payer is sent to {session.next_action.url}, and no request names {url}",
                fix="send session.checkout.return_url with the payment; where it is a setting of the "
                "account, the counterpart says so in cannot['return']",
            )

    def test_a_payer_who_declines_is_told_so(self, bench: Bench) -> None:
        """After a decline the session shows the error, and nothing is authorized."""
        bench.needs_feature("decline")
        session = bench.initiate()
        payload = bench.gateway.decline(session)
        session = bench.hear(bench.payments.authorize(session.id, payload=payload))
        if session.status not in (Status.ERROR, Status.CANCELED) or session.in_doubt:
            broken(
                "A decline is certain: the session's status is error, or canceled where nothing can follow.",
                found=f"status {session.status}; {bench.last('authorize').shown}",
                fix="raise Declined(code, message), or answer Outcome.canceled() if the object is dead; a "
                "notification says so by an Effect of kind authorize in the state failed",
            )
        if session.status is Status.ERROR and (session.error is None or not session.error.code):
            broken("A decline has a code.", found=f"{session.error}", fix="raise Declined(code, message)")
        bench.compare(session)

    def test_a_session_is_canceled_before_and_after_authorization(self, bench: Bench) -> None:
        """``cancel`` ends a session that is not authorized, and releases one that is."""
        self._too_late_for_the_payer(bench)
        late = bench.authorized()
        if late.authorized > late.captured:
            late = self._canceled(bench, late)
            if not bench.capabilities.local and not bench.effects(late, Kind.CANCEL):
                broken(
                    "`cancel` releases what the gateway holds.",
                    found="the session is canceled, and the ledger shows no cancel",
                    fix="void the authorization at the gateway",
                )
        bench.compare(late)

    def _canceled(self, bench: Bench, session: PaymentSession) -> PaymentSession:
        after = bench.finished(bench.payments.cancel(session.id))
        if session.reference not in (None, after.reference):
            broken(
                "After `cancel` the session is known by the gateway's id that it had.",
                found=f"{session.reference} became {after.reference}; {bench.last('cancel').shown}",
                fix="leave reference= out: that of a cancel is the object's, by which retrieve looks",
            )
        if after.status is not Status.CANCELED:
            broken(
                "After `cancel` the session is canceled.",
                found=f"status {after.status}; {bench.last('cancel').shown}",
                fix="answer Outcome.canceled() once the gateway holds nothing any more",
            )
        return after

    def _too_late_for_the_payer(self, bench: Bench) -> None:
        """Cancel before the payer acts: then nothing is paid; or it is refused, and nothing is hidden."""
        session = bench.initiate()
        if "cancel" in bench.gateway.cannot:
            with suppress(Declined):
                session = bench.payments.cancel(session.id)
            if session.status is Status.CANCELED:
                broken(
                    "What cannot be canceled is not said to be: nobody would look for what is paid then.",
                    found=bench.last("cancel").shown,
                    fix="raise Declined in `cancel`, or take `cancel` out of cannot",
                )
            return
        begun = len(bench.wire.requests)
        session = self._canceled(bench, session)
        bench.compare(session)
        if bench.capabilities.local or any(map(bench.gateway.is_write, bench.wire.requests[begun:])):
            return
        with suppress(Exception):  # each fake refuses in its own way
            bench.approve(session)
        if bench.effects(session, Kind.AUTHORIZE) or bench.effects(session, Kind.CAPTURE):
            broken(
                "After `cancel` nobody can pay: nobody would look for it.",
                found="`cancel` sent nothing that writes, and after approve() the ledger shows a payment",
                fix="cancel the object at the gateway; one that cannot says so in cannot['cancel'], and "
                "`cancel` raises Declined",
            )

    def test_two_captures_of_one_amount_are_two(self, bench: Bench) -> None:
        """Two captures of the same amount cause two effects, and are told apart."""
        bench.needs(Kind.CAPTURE)
        if bench.capabilities.capture != "multiple":
            not_declared(f"capabilities say capture={bench.capabilities.capture!r}")
        session = bench.authorized()
        part = Money.from_minor(session.amount.minor // 4, session.amount.currency)
        for _ in range(2):
            session = bench.finished(bench.payments.capture(session.id, part))
        again = session if bench.capabilities.local else bench.payments.sync(session.id)
        if again.captured != 2 * part.minor:
            broken(
                "Two captures are two effects.",
                found=f"{again.captured_amount} of two times {part} is captured",
                fix="answer with reference=, the capture's own id, and give it in the effects of retrieve",
            )
        bench.compare(again)

    def test_a_refund_goes_to_the_capture_that_it_names(self, bench: Bench) -> None:
        """Where a refund refers to one capture, each of two can be refunded by its own, in any order."""
        bench.needs(Kind.REFUND)
        if not bench.capabilities.refund_needs_capture:
            not_declared("capabilities say refund_needs_capture=False")
        if bench.capabilities.capture != "multiple":
            not_declared("capabilities do not say capture='multiple': there is one capture")
        session = bench.authorized()
        if session.captured:
            not_declared("authorizing captures")
        larger = bench.smaller(session.amount)
        for amount in (session.amount - larger, larger):
            session = bench.finished(bench.payments.capture(session.id, amount))
        captures = [row for row in bench.payments.history(session.id) if row.kind is Kind.CAPTURE]
        for capture in reversed(captures):  # the larger one first: the other has not so much to give back
            with suppress(PaysessionError):
                session = bench.payments.refund(session.id, capture.amount, capture=capture.id)
                session = bench.finished(session)
            call = bench.last("refund")
            if bench.payments.history(session.id)[-1].state is not State.SUCCEEDED:
                broken(
                    "A refund goes to the capture that it names.",
                    found=f"{capture.amount}, all of the capture {capture.reference}, were to be refunded; "
                    f"{call.shown}",
                    fix="name operation.capture.reference in the request, not the first capture",
                )
        bench.compare(bench.look(session))

    def test_a_final_capture_lets_go_of_the_rest(self, bench: Bench) -> None:
        """After a final capture of a part nothing more is authorized: by the capture, or by our cancel."""
        bench.needs(Kind.CAPTURE)
        if bench.capabilities.capture not in ("once", "multiple"):
            not_declared(f"capabilities say capture={bench.capabilities.capture!r}")
        session = bench.authorized()
        part = bench.smaller(session.amount)
        session = bench.payments.capture(session.id, part, final=True)
        session = bench.look(bench.finished(bench.settle(bench.finished(session).id)))
        if (session.authorized, session.captured) != (part.minor, part.minor):
            broken(
                "A final capture of a part leaves that part authorized and captured, and nothing else.",
                found=f"{session.authorized_amount} authorized, {session.captured_amount} captured; "
                f"{bench.last('capture').shown}",
                fix="answer released=True only if the gateway release the rest: else the core cancels it",
            )
        if bench.hears and not self._is_released(bench) and not bench.effects(session, Kind.CANCEL):
            broken(
                "What a final capture leaves is released at the gateway.",
                found="the ledger shows no cancel, and nothing says that the capture released the rest",
                fix="cancel the rest at the gateway in `cancel`, which the core calls after the capture; or "
                "declare final_capture_releases",
            )
        bench.compare(session)

    def _is_released(self, bench: Bench) -> bool:
        """Return whether it is declared, or was answered, that the capture itself releases the rest."""
        can, answer = bench.capabilities, bench.last("capture").answer
        answered = isinstance(answer, Outcome) and answer.released
        return answered or can.final_capture_releases or can.capture == "once"

    def test_a_manual_session_is_not_captured_by_itself(self, bench: Bench) -> None:
        """Without ``capture="automatic"`` an authorization takes nothing: the host captures when it ships."""
        if bench.capabilities.capture == "none":
            not_declared("capabilities say capture='none'")
        session = bench.authorized()
        taken = [] if bench.capabilities.local else bench.effects(session, Kind.CAPTURE)
        if session.captured or taken:
            broken(
                "Only an automatic session is captured with its authorization.",
                found=f"{session.captured_amount} is captured, and the ledger shows {taken}",
                fix="ask the gateway for a manual capture unless session.capture is 'automatic'; a gateway "
                "that always captures at once declares capture='none'",
            )
        bench.compare(session)

    def test_an_automatic_session_is_captured(self, bench: Bench) -> None:
        """With ``capture="automatic"`` all is captured once the payer has approved, whoever finds it out."""
        if bench.capabilities.capture == "none":
            not_declared("capabilities say capture='none'")
        session = bench.initiate(capture="automatic")
        bench.approve(session)
        session = bench.look(bench.finished(bench.must_be_authorized(bench.authorize(session))))
        if session.captured != session.amount.minor:
            broken(
                "An automatic session is captured together with its authorization.",
                found=f"{session.captured_amount} captured; {bench.last('authorize').shown}",
                fix="where session.capture is 'automatic', answer Outcome.captured(amount) in `authorize`, "
                "or .pending() until it is: it has to capture where the gateway does not by itself",
            )
        bench.compare(session)

    @pytest.mark.parametrize("kind", ["authorize", "capture", "refund"])
    def test_what_was_accepted_can_still_fail(self, bench: Bench, kind: str) -> None:
        """A slow capture or refund that fails after all is released: nothing moved."""
        bench.needs(Kind(kind))
        bench.needs_report()
        session = bench.act(Kind(kind), bench.ready_for(Kind(kind)))
        if not session.pending:
            not_declared(f"{kind} finishes at once")
        before = session.captured, session.refunded
        bench.gateway.fail(session)
        session = bench.look(session)
        if session.pending or (session.captured, session.refunded) != before:
            broken(
                "What was accepted and failed after all is released, and nothing is recorded.",
                found=f"{session!r}; {bench.last().shown}",
                fix="let retrieve, or the notification, give an Effect with state failed, or status error "
                "for an authorization",
            )
        bench.compare(session)

    @pytest.mark.parametrize("kind", ["capture", "refund"])
    def test_what_succeeded_can_still_be_undone(self, bench: Bench, kind: str) -> None:
        """A capture or refund that the bank bounces afterwards is undone: it is none of its own."""
        bench.needs(Kind(kind))
        bench.needs_report()
        session = bench.finished(bench.act(Kind(kind), bench.ready_for(Kind(kind))))
        before = len(bench.payments.history(session.id))
        bench.gateway.undo(session, kind)
        session = bench.look(session)
        added = bench.payments.history(session.id)[before:]
        left = session.captured if kind == "capture" else session.refunded
        if left or [row.reverses is None for row in added if row.kind is Kind(kind)] != [False]:
            broken(
                "What had succeeded and was undone is reversed, once.",
                found=f"{left} of {kind} is left in minor units, and {added} was recorded",
                fix="report an Effect in the state reversed, with the reference of the one that succeeded",
            )
        bench.compare(session)
