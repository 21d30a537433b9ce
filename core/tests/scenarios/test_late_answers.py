"""A process that was paused in a call: somebody else settled its operation, and then its answer comes."""

from datetime import UTC, datetime, timedelta

import pytest

from helpers import eur
from paysession import Declined, NotApplied, Outcome, OutcomeUnknown, SessionBusy
from paysession.provider import Effect, Redirect, Snapshot

REFUSALS = [NotApplied("never arrived"), Declined("no", "said the bank")]
LOOKUPS = ["consistent", "none"]


def settle_meanwhile(shop, kind, answer, session_id):
    """Have a person settle the next operation of a kind while its call hangs."""

    def person():
        shop.clock.forward(minutes=5)
        operation = shop.payments.history(session_id)[-1]
        shop.payments.resolve(operation.id, answer, note="ann, by phone")

    shop.fake.meanwhile[kind] = person


def recover_meanwhile(shop, kind):
    def takes_over():
        shop.clock.forward(minutes=5)
        shop.payments.recover()

    shop.fake.meanwhile[kind] = takes_over


@pytest.mark.parametrize("lookup", LOOKUPS)
def test_an_answer_that_agrees_with_what_recovery_found_is_the_result(make_told, lookup):
    told = make_told(lookup=lookup)
    session = told.session()
    recover_meanwhile(told, "capture")
    session = told.payments.capture(session.id)
    assert session == told.payments.get(session.id)
    assert told.books(session.id) == ("authorized", 4200, 4200, 0, None)
    assert told.fake.total(session.id, "capture") == 4200
    assert told.told(session.id).count("session.captured") == 1
    assert told.payments.history(session.id)[-1].note is None


EXPIRY = datetime(2026, 1, 8, tzinfo=UTC)


def look_meanwhile(told, kind, status, **shown):
    """Have a notification lead to a lookup while the next call of a kind has yet to answer."""

    def look():
        (session,) = told.payments.sessions()
        told.fake.snapshot = Snapshot(status, session_id=session.id, **shown)
        told.payments.sync(session.id)
        told.fake.snapshot = None

    told.fake.meanwhile[kind] = look


def test_what_else_an_answer_tells_is_kept_where_a_notification_was_faster(told):
    told.fake.answers["authorize"] = Outcome.authorized(data={"card": "card_1"}, expires_at=EXPIRY)
    look_meanwhile(told, "authorize", "authorized", authorized=eur("42.00"))
    session = told.session()
    assert (session.status, session.data, session.expires_at) == ("authorized", {"card": "card_1"}, EXPIRY)
    assert session == told.payments.get(session.id)
    assert session.due_at == EXPIRY
    assert told.told() == ["session.initiated", "session.authorized"]


def test_the_object_that_an_answer_names_is_kept_where_a_notification_was_faster(told):
    action = Redirect("https://pay.example/1")
    told.fake.answers["initiate"] = Outcome.requires_more(next_action=action, reference="obj_1")
    look_meanwhile(told, "initiate", "requires_more")
    session = told.session("requires_more")
    assert (session.status, session.next_action, session.reference) == ("requires_more", action, "obj_1")
    assert told.told() == ["session.initiated"]


def test_what_a_lookup_wrote_since_outweighs_the_answer_that_came_late(told):
    action, late = Redirect("https://pay.example/2"), Redirect("https://pay.example/1")
    told.fake.answers["initiate"] = Outcome.requires_more(
        next_action=late, reference="obj_1", data={"old": 1}, expires_at=EXPIRY - timedelta(days=1)
    )
    shown = {"next_action": action, "reference": "obj_1", "data": {"new": 1}, "expires_at": EXPIRY}
    look_meanwhile(told, "initiate", "requires_more", **shown)
    session = told.session("requires_more")
    assert (session.next_action, session.data, session.expires_at) == (action, {"new": 1}, EXPIRY)


def test_a_captures_reference_is_not_taken_for_the_sessions(told):
    session = told.session()
    told.fake.answers["capture"] = Outcome.captured(eur("42.00"), reference="fx_9")
    look_meanwhile(told, "capture", "authorized", captured=eur("42.00"))
    captured = told.payments.capture(session.id)
    assert (captured.captured, captured.reference) == (4200, session.reference)


def test_an_authorized_session_asks_the_payer_for_nothing_more(told):
    told.fake.answers["authorize"] = Outcome.authorized(next_action=Redirect("https://pay.example/thanks"))
    look_meanwhile(told, "authorize", "authorized", authorized=eur("42.00"))
    assert told.session().next_action is None


def test_an_answer_that_comes_while_recovery_is_at_it_is_kept_and_looked_into_at_once(make_told):
    told = make_told(lookup="none")
    session = told.session()
    recover_meanwhile(told, "capture")
    told.fake.fail_next("timeout", kind="capture")  # recovery's own try: nobody knows
    with pytest.raises(SessionBusy, match="lost its lease") as caught:
        told.payments.capture(session.id)
    operation = told.payments.history(session.id)[-1]
    assert (caught.value.session_id, caught.value.operation_id) == (session.id, operation.id)
    assert (operation.state, operation.note) == ("started", "late answer: captured 42.00 EUR fx_2")
    assert told.payments.get(session.id).due_at == told.clock.now
    assert told.payments.recover().settled == (session.id,)
    assert told.books(session.id) == ("authorized", 4200, 4200, 0, None)
    assert told.fake.total(session.id, "capture") == 4200


def test_a_refusal_that_comes_while_recovery_is_at_it_is_kept(make_told):
    told = make_told(lookup="none")
    session = told.session()
    recover_meanwhile(told, "capture")
    told.fake.fail_next("timeout", kind="capture")
    told.fake.fail_next("declined", kind="capture")
    with pytest.raises(SessionBusy):
        told.payments.capture(session.id)
    assert told.payments.history(session.id)[-1].note == "late answer: Declined: refused on demand"
    assert told.payments.get(session.id).in_doubt


@pytest.mark.parametrize("lookup", LOOKUPS)
@pytest.mark.parametrize("refusal", REFUSALS, ids=["not applied", "declined"])
@pytest.mark.parametrize("kind", ["capture", "refund"])
def test_what_was_done_after_it_had_been_settled_as_refused_is_booked(make_told, lookup, refusal, kind):
    told = make_told(lookup=lookup)
    session = told.session("authorized" if kind == "capture" else "captured")
    settle_meanwhile(told, kind, refusal, session.id)
    call = getattr(told.payments, kind)
    with pytest.raises(OutcomeUnknown, match="look at the session before you repeat it") as caught:
        call(session.id, eur("10.00"), idempotency_key="k")
    operation = told.payments.history(session.id)[-2]
    assert (caught.value.session_id, caught.value.operation_id) == (session.id, operation.id)
    assert operation.note.startswith(f"ann, by phone; late answer: {kind}")
    found = told.payments.history(session.id)[-1]
    assert (found.origin, found.state, found.amount) == ("provider", "succeeded", eur("10.00"))
    session = told.payments.get(session.id)
    booked = {"capture": session.captured, "refund": session.refunded}[kind]
    assert (booked, session.conflict) == (1000, "effect_after_refusal")
    event = next(row for row in told.payments.events() if row.type == "session.conflict")
    expected = f"effect_after_refusal: expected {operation.id} {operation.state}, found 10.00 EUR succeeded"
    assert event.detail == expected
    # The caller's key names what was done: repeated, it is no second effect.
    again = call(session.id, eur("10.00"), idempotency_key="k")
    assert again == session
    assert told.fake.total(session.id, kind) == 1000
    told.settle()
    assert told.payments.sync(session.id).version == session.version
    assert told.told().count("session.conflict") == 1


@pytest.mark.parametrize("lookup", LOOKUPS)
@pytest.mark.parametrize("refusal", REFUSALS, ids=["not applied", "declined"])
@pytest.mark.parametrize("capture", ["manual", "automatic"])
def test_an_authorization_after_it_had_been_settled_as_refused_is_the_result(
    make_told, lookup, refusal, capture
):
    told = make_told(lookup=lookup)
    session = told.session("requires_more", capture=capture)
    settle_meanwhile(told, "authorize", refusal, session.id)
    session = told.payments.authorize(session.id)
    captured = 4200 if capture == "automatic" else 0
    assert told.books(session.id) == ("authorized", 4200, captured, 0, None)
    assert (session, session.held) == (told.payments.get(session.id), 4200)
    assert told.payments.collection(told.order.id).held == 4200
    assert told.told().count("session.authorized") == 1


@pytest.mark.parametrize("lookup", LOOKUPS)
def test_a_cancel_after_it_had_been_settled_as_refused_ends_the_session(make_told, lookup):
    told = make_told(lookup=lookup)
    session = told.session()
    settle_meanwhile(told, "cancel", NotApplied("never arrived"), session.id)
    with pytest.raises(OutcomeUnknown):
        told.payments.cancel(session.id)
    assert told.books(session.id) == ("canceled", 0, 0, 0, None)
    assert told.payments.cancel(session.id).status == "canceled"
    assert told.fake.total(session.id, "cancel") == 4200
    assert told.told().count("session.canceled") == 1


@pytest.mark.parametrize("lookup", LOOKUPS)
def test_an_authorization_that_ended_the_object_ends_the_session(make_told, lookup):
    told = make_told(lookup=lookup)
    session = told.session("requires_more")
    told.fake.cancel_in_dashboard(session.id)
    settle_meanwhile(told, "authorize", NotApplied("never arrived"), session.id)
    assert told.payments.authorize(session.id).status == "canceled"
    assert told.payments.collection(told.order.id).held == 0


def test_a_slow_refund_after_it_had_been_settled_as_refused_is_pending(make_told):
    told = make_told(lookup="none")
    session = told.session("captured")
    told.fake.answers["refund"] = Outcome.pending(reference="re_1")
    settle_meanwhile(told, "refund", NotApplied("never arrived"), session.id)
    with pytest.raises(OutcomeUnknown):
        told.payments.refund(session.id, eur("10.00"))
    session = told.payments.get(session.id)
    assert (session.refunded, session.refunding, session.pending) == (0, 1000, 1)


@pytest.mark.parametrize("kind", ["initiate", "update"])
def test_what_moves_no_money_is_refused_as_it_was_settled(make_told, kind):
    told = make_told(lookup="none")
    session = told.session("requires_more", idempotency_key="k")
    if kind == "update":
        settle_meanwhile(told, "update", NotApplied("never arrived"), session.id)
        with pytest.raises(OutcomeUnknown):
            told.payments.update(session.id, eur("40.00"))
        assert told.payments.get(session.id).amount == eur("42.00")
        return

    def person():
        told.clock.forward(minutes=5)
        (doubt,) = told.payments.in_doubt()
        told.payments.resolve(doubt.operation.id, NotApplied("never arrived"), note="ann")

    told.fake.meanwhile["initiate"] = person
    with pytest.raises(NotApplied, match="never arrived") as caught:
        told.session("requires_more")
    assert told.payments.get(caught.value.session_id).status == "canceled"
    assert caught.value.operation_id == told.key(caught.value.session_id, 1)


def test_a_refusal_that_contradicts_a_persons_word_has_the_gateway_decide(told):
    session = told.session()
    settle_meanwhile(told, "capture", Outcome.captured(eur("42.00")), session.id)
    told.fake.fail_next("declined", kind="capture")
    session = told.payments.capture(session.id)
    assert told.books(session.id) == ("authorized", 4200, 0, 0, None)
    operation = told.payments.history(session.id)[2]
    assert operation.note == "ann, by phone; late answer: Declined: refused on demand"
    assert told.told()[-3:] == ["session.captured", "session.reversed", "session.changed"]


def test_an_answer_that_a_person_settled_without_a_reference_agrees(told):
    session = told.session()
    settle_meanwhile(told, "capture", Outcome.captured(eur("10.00")), session.id)
    session = told.payments.capture(session.id, eur("10.00"))
    assert told.payments.history(session.id)[-1].note == "ann, by phone"
    assert told.books(session.id) == ("authorized", 4200, 1000, 0, None)
    assert len(told.fake.looks) == 1  # before the word of the operator was believed


@pytest.mark.parametrize("kind", ["capture", "refund", "cancel"])
def test_an_answer_that_agrees_with_what_a_notification_showed_asks_nobody(told, kind):
    session = told.session("captured" if kind == "refund" else "authorized")
    if kind == "cancel":
        told.payments.capture(session.id, eur("10.00"))
        look_meanwhile(told, kind, "authorized", authorized=eur("10.00"), captured=eur("10.00"))
        told.fake.answers[kind] = Outcome.canceled()
    else:
        shown = Effect(
            kind, eur("10.00"), reference="fx_1", key=told.next_key(session.id, kind, eur("10.00"))
        )
        look_meanwhile(told, kind, "authorized", effects=[shown])
        outcome = {"capture": Outcome.captured, "refund": Outcome.refunded}[kind]
        told.fake.answers[kind] = outcome(eur("10.00"), reference="fx_1")
    told.fake.looks.clear()
    getattr(told.payments, kind)(session.id, *([] if kind == "cancel" else [eur("10.00")]))
    assert told.payments.history(session.id)[-1].answer == "found"
    assert len(told.fake.looks) == 1  # the notification's


def test_a_late_answer_is_looked_into_later_where_the_gateway_is_down(told):
    session = told.session()
    settle_meanwhile(told, "capture", NotApplied("never arrived"), session.id)
    told.fake.snapshot = NotApplied("down")
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id, eur("10.00"))
    session = told.payments.get(session.id)
    assert (session.captured, session.due_at) == (0, told.clock.now)
    told.fake.snapshot = None
    assert told.payments.recover().settled == (session.id,)
    assert told.books(session.id) == ("authorized", 4200, 1000, 0, "effect_after_refusal")


def test_an_answer_that_tells_nothing_adds_nothing(told):
    session = told.session()
    settle_meanwhile(told, "capture", NotApplied("never arrived"), session.id)
    told.fake.fail_next("timeout", kind="capture")
    told.fake.snapshot = Snapshot("authorized")
    with pytest.raises(NotApplied, match="never arrived") as caught:
        told.payments.capture(session.id)
    operation = told.payments.history(session.id)[-1]
    assert (caught.value.session_id, caught.value.operation_id) == (session.id, operation.id)
    assert operation.note == "ann, by phone"


def test_a_capture_that_the_answer_tells_after_a_lookup_saw_the_authorization_is_booked(told):
    session = told.session("requires_more", capture="automatic")

    def webhook():
        told.fake.snapshot = Snapshot(
            "authorized", authorized=eur("42.00"), captured=eur("0.00"), session_id=session.id
        )
        headers, body = told.fake.webhook(session.id)
        assert told.payments.handle_webhook("fake", headers=headers, body=body).status == 200
        told.fake.snapshot = None

    told.fake.meanwhile["authorize"] = webhook
    told.payments.authorize(session.id)
    told.settle()
    assert told.fake.total(session.id, "capture") == 4200
    assert told.books(session.id) == ("authorized", 4200, 4200, 0, None)


def test_a_definite_answer_after_a_notification_of_pending_is_booked(make_told):
    told = make_told(lookup="none")
    session = told.session("authorized")

    def meanwhile():
        told.payments._recovery.record_effects(
            told.payments._registry.provider("fake"),
            session.id,
            [Effect("capture", eur("42.00"), "pending", key=told.key(session.id, 3))],
        )

    told.fake.meanwhile["capture"] = meanwhile
    told.payments.capture(session.id)
    told.settle()
    s = told.payments.get(session.id)
    assert (s.captured, s.pending) == (4200, 0)


def test_a_total_that_was_somebody_elses_capture_does_not_hide_ours(told):
    session = told.session("authorized")

    def meanwhile():
        told.fake.snapshot = Snapshot(
            "authorized", authorized=eur("42.00"), captured=eur("10.00"), session_id=session.id
        )
        told.payments.sync(session.id)
        told.fake.snapshot = Snapshot(
            "authorized", authorized=eur("42.00"), captured=eur("20.00"), session_id=session.id
        )

    told.fake.meanwhile["capture"] = meanwhile
    assert told.payments.capture(session.id, eur("10.00")).captured == 2000
    told.settle()
    assert told.books(session.id)[:3] == ("authorized", 4200, 2000)


def test_a_total_that_was_somebody_elses_refund_does_not_hide_ours(told):
    session = told.session("captured")
    shown = {"authorized": eur("42.00"), "captured": eur("42.00"), "session_id": session.id}

    def meanwhile():
        told.fake.snapshot = Snapshot("authorized", refunded=eur("10.00"), **shown)
        told.payments.sync(session.id)
        told.fake.snapshot = Snapshot("authorized", refunded=eur("20.00"), **shown)

    told.fake.meanwhile["refund"] = meanwhile
    assert told.payments.refund(session.id, eur("10.00")).refunded == 2000


@pytest.mark.parametrize("kind", ["capture", "refund"])
def test_a_total_that_leaves_nothing_is_asked_for_once(told, kind):
    session = told.session("captured" if kind == "refund" else "authorized")
    totals = {"authorized": eur("42.00"), "captured": eur("42.00")}
    if kind == "refund":
        totals["refunded"] = eur("42.00")
    look_meanwhile(told, kind, "authorized", **totals)
    told.fake.looks.clear()
    getattr(told.payments, kind)(session.id)
    assert len(told.fake.looks) == 1  # the notification's: nobody else's can be left to show


@pytest.mark.parametrize("named", [True, False], ids=["named", "not named"])
def test_an_answer_of_before_what_a_notification_showed_asks_nobody(told, named):
    session = told.session()
    reference = "c1" if named else None
    told.fake.answers["capture"] = Outcome.pending(reference=reference)
    effects = [
        Effect(
            "capture",
            eur("10.00"),
            reference=reference,
            key=told.next_key(session.id, "capture", eur("10.00")),
        )
    ]
    look_meanwhile(told, "capture", "authorized", effects=effects)
    told.fake.looks.clear()
    assert told.payments.capture(session.id, eur("10.00")).captured == 1000
    assert len(told.fake.looks) == 1


def test_an_authorization_that_is_answered_after_a_persons_requires_more_is_booked(make_told):
    told = make_told(lookup="none")
    session = told.session("requires_more")

    def person():
        told.clock.forward(minutes=5)
        (doubt,) = told.payments.in_doubt()
        told.payments.resolve(doubt.operation.id, Outcome.requires_more(), note="ann")

    told.fake.meanwhile["authorize"] = person
    told.payments.authorize(session.id)
    told.settle()
    assert told.books(session.id) == ("authorized", 4200, 0, 0, None)


# --- what the caller hears ---------------------------------------------------------------------------


def shown_as(told, session_id, state):
    """Have a notification show the capture of 10 euros that is in flight."""
    effect = Effect("capture", eur("10.00"), state, "fx_1", told.key(session_id, 3))
    told.payments._recovery.record_effects(told.payments._registry.provider("fake"), session_id, [effect])


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Outcome.captured(eur("10.00"), reference="fx_1"), OutcomeUnknown), (Outcome.pending(), Declined)],
    ids=["captured", "pending"],
)
@pytest.mark.parametrize("lookup", LOOKUPS)
def test_an_answer_to_what_was_shown_as_failed_is_no_decline_if_it_says_more(
    make_told, lookup, answer, error
):
    told = make_told(lookup=lookup)
    session = told.session()
    failed = [
        Effect("capture", eur("10.00"), "failed", "fx_1", told.next_key(session.id, "capture", eur("10.00")))
    ]
    told.fake.snapshot = Snapshot("authorized", effects=failed, session_id=session.id)
    told.fake.answers["capture"] = answer
    told.fake.meanwhile["capture"] = lambda: shown_as(told, session.id, "failed")
    with pytest.raises(error):
        told.payments.capture(session.id, eur("10.00"))
    assert told.payments.history(session.id)[2].state == "declined"


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Outcome.captured(eur("10.00"), reference="fx_1"), OutcomeUnknown), (Declined("no"), Declined)],
    ids=["captured", "declined"],
)
def test_what_was_pending_and_has_failed_by_the_time_of_its_answer_is_not_reported_as_done(
    told, answer, error
):
    session = told.session()

    def meanwhile():
        shown_as(told, session.id, "pending")
        failed = [Effect("capture", eur("10.00"), "failed", "fx_1", told.key(session.id, 3))]
        told.fake.snapshot = Snapshot("authorized", effects=failed, session_id=session.id)

    told.fake.meanwhile["capture"] = meanwhile
    told.fake.answers["capture"] = answer
    with pytest.raises(error):
        told.payments.capture(session.id, eur("10.00"))
    session = told.payments.get(session.id)
    assert (session.captured, session.pending, session.in_doubt) == (0, 0, False)


@pytest.mark.parametrize("lookup", LOOKUPS)
@pytest.mark.parametrize("late", REFUSALS, ids=["not applied", "declined"])
def test_a_refusal_of_what_had_been_settled_as_refused_is_raised_as_it_was_settled(make_told, lookup, late):
    told = make_told(lookup=lookup)
    session = told.session()
    settle_meanwhile(told, "capture", Declined("stolen_card", "said the bank"), session.id)
    told.fake.answers["capture"] = late
    with pytest.raises(Declined) as caught:
        told.payments.capture(session.id)
    assert (caught.value.code, told.payments.get(session.id).captured) == ("stolen_card", 0)


def test_a_refusal_that_contradicts_a_persons_word_is_noted_where_nobody_can_be_asked(make_told):
    told = make_told(lookup="none")
    session = told.session()
    settle_meanwhile(told, "capture", Outcome.captured(eur("42.00")), session.id)
    told.fake.answers["capture"] = Declined("no", "not now")
    assert told.payments.capture(session.id) == told.payments.get(session.id)
    assert told.books(session.id) == ("authorized", 4200, 4200, 0, None)
    assert told.payments.history(session.id)[-1].note == "ann, by phone; late answer: Declined: not now"


def test_no_answer_adds_nothing_to_a_persons_word(make_told):
    told = make_told(lookup="none")
    session = told.session()
    settle_meanwhile(told, "capture", Outcome.captured(eur("42.00")), session.id)
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    assert told.payments.capture(session.id).captured == 4200
    assert told.payments.history(session.id)[-1].note == "ann, by phone"


def test_no_answer_is_noted_while_recovery_is_at_it(make_told):
    told = make_told(lookup="none")
    session = told.session()
    recover_meanwhile(told, "capture")
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    with pytest.raises(SessionBusy, match="lost its lease"):
        told.payments.capture(session.id)
    assert told.payments.history(session.id)[-1].note == "late answer: OutcomeUnknown: reset"


def test_a_lost_answer_to_what_a_lookup_shows_as_pending_is_looked_up_once(told):
    session = told.session()
    pending = Effect(
        "capture", eur("10.00"), "pending", "fx_1", told.next_key(session.id, "capture", eur("10.00"))
    )
    told.fake.snapshot = Snapshot("authorized", effects=[pending], session_id=session.id)
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    after = told.payments.capture(session.id, eur("10.00"))
    assert (after.pending, after.capturing, len(told.fake.looks)) == (1, 1000, 1)
    assert told.payments.history(session.id)[-1].note is None


@pytest.mark.parametrize("lookup", LOOKUPS)
def test_an_authorization_that_is_answered_after_a_persons_canceled_is_given_back(make_told, lookup):
    told = make_told(lookup=lookup)
    session = told.session("requires_more")
    settle_meanwhile(told, "authorize", Outcome.canceled(), session.id)
    session = told.payments.authorize(session.id)
    assert (session.status, session.held, session) == ("canceled", 0, told.payments.get(session.id))
    assert told.fake.total(session.id, "cancel") == 4200
    event = next(row for row in told.events() if row.type == "session.conflict")
    assert event.detail == "authorized_after_cancel: expected nothing, found 42.00 EUR"


@pytest.mark.parametrize("lookup", LOOKUPS)
def test_an_authorization_that_is_answered_as_canceled_after_a_persons_authorized_is_over(make_told, lookup):
    told = make_told(lookup=lookup)
    session = told.session("requires_more")
    told.fake.cancel_in_dashboard(session.id)
    settle_meanwhile(told, "authorize", Outcome.authorized(), session.id)
    session = told.payments.authorize(session.id)
    assert (session.status, session.held, session) == ("canceled", 0, told.payments.get(session.id))
    assert told.payments.collection(told.order.id).held == 0


def test_an_answer_with_another_name_than_a_persons_is_noted_where_nobody_can_be_asked(make_told):
    """It may be the same effect by another name, so that it is not counted twice."""
    told = make_told(lookup="none")
    session = told.session()
    settle_meanwhile(told, "capture", Outcome.captured(eur("10.00"), reference="a"), session.id)
    told.fake.answers["capture"] = Outcome.captured(eur("10.00"), reference="b")
    assert told.payments.capture(session.id, eur("10.00")).captured == 1000
    operation = told.payments.history(session.id)[-1]
    assert (operation.reference, operation.note) == ("a", "ann, by phone; late answer: captured 10.00 EUR b")
