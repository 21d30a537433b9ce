"""Which operation an effect belongs to that the gateway shows, and what is told of it."""

from datetime import timedelta

import pytest

from helpers import eur
from paysession import Declined, Failure, Money, NotApplied, Outcome, OutcomeUnknown
from paysession._ledger.ledger import Ledger
from paysession.outcome import Effect, Snapshot


def shows(told, session_id, *effects, **totals):
    """Have the gateway show these effects; return what is told of them."""
    earlier = len(told.events())
    told.fake.snapshot = Snapshot("authorized", effects=effects, **totals)
    version = told.payments.sync(session_id).version
    assert told.payments.sync(session_id).version == version  # looking again changes nothing
    return [event.type for event in told.events()[earlier:]]


def references(told, session_id, kind):
    return [row.reference for row in told.payments.history(session_id) if row.kind == kind]


def test_two_effects_of_one_amount_are_two(told):
    session = told.session()
    two = [Effect("capture", eur("5.00"), reference=name) for name in "ab"]
    assert shows(told, session.id, *two) == ["session.captured"] * 2
    assert told.payments.get(session.id).captured == 1000
    assert references(told, session.id, "capture") == ["a", "b"]


def reads_of_all_operations(told, session_id, monkeypatch):
    """Return how often a lookup goes through all operations of a session."""
    whole, reads = Ledger.operations.fget, []
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "operations", property(lambda ledger: reads.append(1) or whole(ledger)))
        told.payments.sync(session_id)
    return len(reads)


def test_a_lookup_does_not_go_through_all_operations_for_each_effect(told, monkeypatch):
    session = told.session()
    shown = [Effect("capture", eur("0.01"), reference=f"ch_{number}") for number in range(40)]
    shows(told, session.id, *shown[:2])
    few = reads_of_all_operations(told, session.id, monkeypatch)
    assert shows(told, session.id, *shown) == ["session.captured"] * 38
    assert reads_of_all_operations(told, session.id, monkeypatch) == few


def test_two_effects_that_nothing_tells_apart_are_two_and_stay_two(told):
    session = told.session()
    one = Effect("capture", eur("5.00"))
    assert shows(told, session.id, one, one) == ["session.captured"] * 2
    assert shows(told, session.id, one, one) == []
    assert shows(told, session.id, one, one, one) == ["session.captured"]
    assert told.payments.get(session.id).captured == 1500


def test_an_effect_gets_its_reference_later_and_is_still_the_same(told):
    session = told.session()
    shows(told, session.id, captured=eur("5.00"))
    assert shows(told, session.id, Effect("capture", eur("5.00"), reference="a")) == []
    assert references(told, session.id, "capture") == ["a"]
    assert shows(told, session.id, Effect("capture", eur("5.00"), reference="b")) == ["session.captured"]


def test_an_effect_with_a_key_alone_is_known_by_it(told):
    session = told.session()
    foreign = Effect("capture", eur("5.00"), key="somebody-else-1")
    assert shows(told, session.id, foreign) == ["session.captured"]
    assert references(told, session.id, "capture") == ["somebody-else-1"]
    assert shows(told, session.id, Effect("capture", eur("6.00"), key="somebody-else-1")) == []


def test_an_effect_under_our_key_with_another_reference_is_a_second_one(told):
    """A gateway that forgot the key did it twice: both are in the ledger."""
    session = told.session()
    told.payments.capture(session.id, eur("5.00"))
    capture = told.payments.history(session.id)[-1]
    first = Effect("capture", eur("5.00"), "succeeded", capture.reference, capture.key)
    second = Effect("capture", eur("5.00"), "succeeded", "again", capture.key)
    assert shows(told, session.id, first, second) == ["session.captured"]
    assert told.payments.get(session.id).captured == 1000


def test_an_effect_of_another_kind_under_our_key_is_not_that_operation(told):
    session = told.session(capture="automatic")
    authorize, capture = told.payments.history(session.id)[1:]
    shown = Effect("capture", eur("42.00"), "succeeded", "ch_1", authorize.key)
    assert shows(told, session.id, shown) == []
    assert told.payments.get(session.id).captured == 4200
    assert references(told, session.id, "capture") == ["ch_1"]
    assert capture.reference is None


def test_an_effect_of_another_amount_is_not_our_operation_in_doubt(told):
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    told.fake.snapshot = NotApplied("down")
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id, eur("10.00"))
    told.fake.snapshot = Snapshot("authorized", effects=[Effect("capture", eur("9.00"), reference="x")])
    session = told.payments.sync(session.id)
    assert (session.captured, session.in_doubt) == (900, True)
    told.fake.snapshot = Snapshot(
        "authorized", effects=[*told.fake.snapshot.effects, Effect("capture", eur("10.00"), reference="y")]
    )
    session = told.payments.sync(session.id)
    assert (session.captured, session.in_doubt) == (1900, False)
    assert references(told, session.id, "capture") == ["y", "x"]
    operation = told.payments.history(session.id)[2]
    assert (operation.answer, operation.error, operation.doubted_at) == ("found", None, None)


def test_a_declined_operation_does_not_stand_for_an_effect_of_its_amount(told):
    session = told.session()
    told.fake.fail_next("declined", kind="capture")
    with pytest.raises(Declined):
        told.payments.capture(session.id, eur("5.00"))
    assert shows(told, session.id, Effect("capture", eur("5.00"), reference="a")) == ["session.captured"]
    assert told.payments.get(session.id).conflict is None
    assert references(told, session.id, "capture") == [None, "a"]


def test_another_amount_than_was_asked_says_what_was_asked(told):
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    taken = Effect(
        "capture", eur("19.00"), "succeeded", "a", told.next_key(session.id, "capture", eur("20.00"))
    )
    told.fake.snapshot = Snapshot("authorized", effects=[taken])
    session = told.payments.capture(session.id, eur("20.00"))
    operation = told.payments.history(session.id)[-1]
    assert (operation.amount, operation.note, operation.reference) == (
        eur("19.00"),
        "20.00 EUR was asked for",
        "a",
    )
    assert told.events()[-2].detail == "amount: expected 20.00 EUR, found 19.00 EUR"
    assert told.events()[-1].amount == eur("19.00")


@pytest.mark.parametrize("kind", ["capture", "refund"])
def test_a_pending_effect_reserves_and_a_failed_one_lets_go(told, kind):
    session = told.session("captured" if kind == "refund" else "authorized")
    reserved = {"capture": "capturing", "refund": "refunding"}[kind]
    assert shows(told, session.id, Effect(kind, eur("5.00"), "pending", "a")) == ["operation.pending"]
    session = told.payments.get(session.id)
    assert (getattr(session, reserved), session.pending) == (500, 1)
    assert (session.due_at - told.clock.now).total_seconds() == 300
    reason = Failure("bounced", "It bounced.")
    failed = Effect(kind, eur("5.00"), "failed", "a", error=reason)
    assert shows(told, session.id, failed) == ["operation.failed"]
    session = told.payments.get(session.id)
    assert (getattr(session, reserved), session.pending, session.due_at) == (0, 0, None)
    operation = told.payments.history(session.id)[-1]
    assert (operation.origin, operation.state, operation.error) == ("provider", "declined", reason)


def test_an_operation_in_doubt_that_the_gateway_has_under_way_is_pending(told):
    session = told.session("captured")
    told.fake.answers["refund"] = OutcomeUnknown("reset")
    told.fake.snapshot = NotApplied("down")
    with pytest.raises(OutcomeUnknown):
        told.payments.refund(session.id, eur("5.00"))
    under_way = Effect("refund", eur("5.00"), "pending", "a", told.key(session.id, 4))
    assert shows(told, session.id, under_way) == ["operation.pending"]
    session = told.payments.get(session.id)
    operation = told.payments.history(session.id)[-1]
    assert (operation.state, operation.answer, operation.error) == ("pending", "pending", None)
    assert (session.refunding, session.refunded, session.in_doubt) == (500, 0, False)


def test_where_one_capture_is_offered_one_that_is_found_releases_the_rest(make_told):
    told = make_told(capture="once")
    session = told.session()
    assert shows(told, session.id, Effect("capture", eur("20.00"), reference="a")) == ["session.captured"]
    assert told.books(session.id) == ("authorized", 2000, 2000, 0, None)
    assert told.payments.collection(told.order.id).held == 2000


def test_totals_settle_what_is_pending_and_what_is_beyond_is_found(told):
    session = told.session("captured")
    told.fake.answers["refund"] = Outcome.pending(reference="re_1")
    for amount in ("5.00", "7.00"):
        told.payments.refund(session.id, eur(amount))
    assert shows(told, session.id, refunded=eur("6.00")) == ["session.refunded"] * 2
    assert told.rows(session.id)[3:] == [
        ("refund", "host", "succeeded", "found", 500),
        ("refund", "host", "pending", "pending", 700),
        ("refund", "provider", "succeeded", "found", 100),
    ]
    session = told.payments.get(session.id)
    assert (session.refunded, session.refunding, session.pending) == (600, 700, 1)


def test_a_total_that_is_exactly_an_operation_in_doubt_is_that_operation(told):
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    told.fake.snapshot = Snapshot("authorized", captured=eur("5.00"))
    told.payments.capture(session.id, eur("5.00"))
    assert told.rows(session.id)[2:] == [("capture", "host", "succeeded", "found", 500)]


def test_totals_count_every_cent(told):
    session = told.session("captured")
    told.fake.answers["refund"] = Outcome.pending()
    told.payments.refund(session.id, eur("0.01"))
    assert shows(told, session.id, refunded=eur("0.01")) == ["session.refunded"]
    assert shows(told, session.id, refunded=eur("0.02")) == ["session.refunded"]
    assert shows(told, session.id, refunded=eur("0.01")) == ["session.reversed"]
    assert [row[1:] for row in told.rows(session.id)[3:]] == [
        ("host", "succeeded", "found", 1),
        ("provider", "succeeded", "found", 1),
        ("provider", "succeeded", "reversed", 1),
    ]


def test_a_chargeback_of_what_was_refunded_is_reported_once(told):
    session = told.session("captured")
    told.payments.refund(session.id)
    refund = told.payments.history(session.id)[-1]
    ours = Effect("refund", eur("42.00"), "succeeded", refund.reference, refund.key)
    chargeback = Effect("refund", eur("42.00"), reference="dp_1")
    assert shows(told, session.id, ours, chargeback) == ["session.refunded", "session.conflict"]
    assert told.books(session.id) == ("authorized", 4200, 4200, 8400, "over_captured")
    assert told.events()[-1].detail == "over_captured: expected 42.00 EUR, found 84.00 EUR"
    assert told.payments.collection(told.order.id).status == "refunded"


@pytest.mark.parametrize(("amount", "beyond"), [("50.00", "8.00"), ("42.01", "0.01")])
def test_an_amount_beyond_the_order_is_reported_with_both_amounts(told, amount, beyond):
    session = told.session()
    assert shows(told, session.id, Effect("capture", eur(amount), reference="a")) == [
        "session.captured",
        "session.conflict",
    ]
    minor = eur(amount).minor
    assert told.books(session.id) == ("authorized", minor, minor, 0, "over_limit")
    assert told.events()[-1].detail == f"over_limit: expected 0.00 EUR, found {beyond} EUR"


def test_what_the_gateway_says_of_itself_is_kept(told):
    session = told.session()
    expires = told.clock.now.replace(day=8)
    told.fake.snapshot = Snapshot(
        "authorized", data={"n": 1}, reference=session.reference, expires_at=expires, authorized=eur("42.00")
    )
    session = told.payments.sync(session.id)
    assert (session.data, session.expires_at, session.due_at) == ({"n": 1}, expires, expires)
    told.fake.snapshot = Snapshot("authorized")
    assert told.payments.sync(session.id).data == {"n": 1}


def test_an_authorization_that_runs_out_is_asked_about_until_the_gateway_says_so(told):
    session = told.session()
    expires = told.clock.now.replace(day=8)
    told.fake.snapshot = Snapshot("authorized", expires_at=expires)
    told.payments.sync(session.id)
    assert told.payments.recover().looked == 0
    told.clock.now = expires
    assert told.payments.recover().waiting == (session.id,)
    told.fake.snapshot = Snapshot("canceled")
    told.clock.forward(hours=1)
    assert told.payments.recover().settled == (session.id,)
    assert told.payments.get(session.id).status == "canceled"


@pytest.mark.parametrize("name", ["amount", "authorized", "captured", "refunded"])
def test_no_total_in_another_currency_is_believed(told, name):
    session = told.session()
    told.fake.snapshot = Snapshot("authorized", data={"x": 1}, **{name: Money("1.00", "USD")})
    for _ in range(2):
        told.payments.sync(session.id)
    assert told.books(session.id) == ("authorized", 4200, 0, 0, "currency")
    assert told.events()[-1].detail == "currency: expected EUR, found 1.00 USD"
    assert told.payments.get(session.id).data == session.data
    assert told.told().count("session.conflict") == 1


def test_each_event_tells_the_operation_its_amount_and_the_figures_after_it(told):
    session = told.session()
    told.payments.capture(session.id, eur("20.00"))
    told.payments.refund(session.id, eur("5.00"))
    told.fake.fail_next("declined", kind="capture")
    with pytest.raises(Declined):
        told.payments.capture(session.id, eur("1.00"))
    told.payments.cancel(session.id)
    rows = told.payments.history(session.id)
    figures = [
        (e.type, e.operation_id, e.amount.minor, e.authorized, e.captured, e.refunded, e.detail)
        for e in told.events()
    ]
    assert figures == [
        ("session.initiated", rows[0].id, 4200, 0, 0, 0, None),
        ("session.authorized", rows[1].id, 4200, 4200, 0, 0, None),
        ("session.captured", rows[2].id, 2000, 4200, 2000, 0, None),
        ("session.refunded", rows[3].id, 500, 4200, 2000, 500, None),
        ("operation.failed", rows[4].id, 100, 4200, 2000, 500, "refused"),
        ("session.released", rows[5].id, 2200, 2000, 2000, 500, None),
    ]
    assert [row.answer for row in rows] == [
        "requires_more", "authorized", "captured", "refunded", None, "canceled",
    ]  # fmt: skip
    assert [row.error and row.error.code for row in rows] == [None, None, None, None, "refused", None]
    assert {e.provider for e in told.events()} == {"fake"}
    assert {(e.collection_id, e.reference) for e in told.events()} == {(told.order.id, "order-1")}


def test_a_provider_may_say_when_to_look_again(told):
    session = told.session("captured")
    told.fake.answers["refund"] = Outcome.pending(check_after=timedelta(minutes=90))
    session = told.payments.refund(session.id)
    assert session.due_at - told.clock.now == timedelta(minutes=90)


def test_a_pending_authorization_takes_back_what_the_payer_was_asked_to_do(told):
    session = told.session("requires_more")
    assert session.next_action is not None
    told.fake.answers["authorize"] = Declined("no", "refused")
    told.payments.authorize(session.id)
    told.fake.answers["authorize"] = Outcome.pending()
    session = told.payments.authorize(session.id)
    assert (session.status, session.next_action, session.error) == ("pending", None, None)


def test_an_update_keeps_what_the_payer_must_do_and_clears_the_error(told):
    session = told.session("requires_more")
    told.fake.fail_next("declined", kind="authorize")
    session = told.payments.authorize(session.id)
    assert (session.status, session.error.code, session.next_action) == ("error", "refused", None)
    session = told.payments.update(session.id, eur("40.00"))
    assert (session.status, session.error, session.held) == ("requires_more", None, 0)


def test_an_update_of_what_is_held_moves_the_hold_up_front(told):
    told.payments.update_collection(told.order.id, eur("50.00"))
    session = told.payments.initiate(told.order.id, provider="fake", amount=eur("42.00"))
    told.fake.answers["authorize"] = Outcome.requires_more()
    told.payments.authorize(session.id)
    held = []
    told.fake.meanwhile["update"] = lambda: held.append(told.payments.collection(told.order.id).held)
    session = told.payments.update(session.id, eur("50.00"))
    assert (held, session.held, session.amount) == ([5000], 5000, eur("50.00"))
    told.fake.fail_next("declined", kind="update")
    with pytest.raises(Declined):
        told.payments.update(session.id, eur("10.00"))
    assert told.payments.collection(told.order.id).held == 5000


def test_an_effect_whose_reference_is_its_key_changes_nothing_when_it_is_shown_again(told):
    session = told.session()
    effect = Effect("capture", eur("42.00"), reference="pi_1", key="pi_1")
    told.fake.snapshot = Snapshot("authorized", authorized=eur("42.00"), effects=[effect])
    session = told.payments.sync(session.id)
    assert session.captured == 4200
    assert told.payments.sync(session.id) == session
