"""What an order and its disputes come to, put together without any request."""

from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve

from paysession.provider import Kind, Money, OutcomeUnknown
from paysession_paypal.chargebacks import Chargebacks
from paysession_paypal.disputes import Disputed, read_case
from paysession_paypal.orders import Capture, Refund

OPENED = datetime(2026, 1, 2, 12, tzinfo=UTC)
DECIDED = OPENED + timedelta(days=9)


def eur(amount):
    return Money(amount, "EUR")


def row(status="COMPLETED", amount="20.00", number=1, reason=None):
    return Capture(
        id=f"C{number}", status=status, amount=eur(amount), invoice_id=None, final=False, reason=reason
    )


def refund(amount, made=DECIDED, of="C1"):
    return Refund(
        id="R1",
        status="COMPLETED",
        amount=eur(amount),
        invoice_id=None,
        capture=of,
        reason=None,
        created_at=made,
    )


def case(number=1, status="OPEN", amount="20.00", of=("C1",), outcome=None, moved=(), **more):
    """Return a dispute as PayPal shows it; ``moved``: what was debited, or with a minus credited."""
    document = {
        "dispute_id": f"PP-D-{number}",
        "status": status,
        "reason": "UNAUTHORISED",
        "dispute_amount": amount and {"currency_code": "EUR", "value": amount},
        "disputed_transactions": [{"seller_transaction_id": capture} for capture in of],
        "create_time": (OPENED + timedelta(hours=number - 1)).isoformat(),
        "update_time": DECIDED.isoformat(),
        "dispute_outcome": outcome and {"outcome_code": outcome},
        "money_movements": [
            {
                "affected_party": "SELLER",
                "type": "CREDIT" if value.startswith("-") else "DEBIT",
                "reason": "DISPUTE_SETTLEMENT",
                "amount": {"currency_code": "EUR", "value": value.lstrip("-")},
            }
            for value in moved
        ],
    }
    return read_case({**document, **more})


def lost(number=1, amount="20.00", **more):
    return case(number, "RESOLVED", amount, outcome="RESOLVED_BUYER_FAVOUR", **more)


def won(number=1, amount="20.00", **more):
    return case(number, "RESOLVED", amount, outcome="RESOLVED_SELLER_FAVOUR", **more)


def look(*rows, now=DECIDED, gone=None, room=None, **more):
    """Put an order's captures and its disputes together; ``gone``: what no refund explains, by the id."""
    return Chargebacks(
        captures=rows,
        gone={key: eur(amount) for key, amount in (gone or {}).items()},
        room={one.id: eur((room or {}).get(one.id, str(one.amount.amount))) for one in rows},
        partly=more.pop("partly", ()),
        refunds=more.pop("refunds", ()),
        known=more.pop("known", {}),
        now=now,
        **more,
    )


def told(found):
    return [(one.reference, one.state, str(one.amount.amount), one.entry.status) for one in found.all]


def again(before, *rows, **more):
    """Look once more, with what was kept."""
    return look(*rows, known=before.kept, **more)


# --- a dispute as PayPal shows it ------------------------------------------------------------------


def movement(value, reason="DISPUTE_SETTLEMENT", currency="EUR", **more):
    amount = {"currency_code": currency, "value": value}
    return {"affected_party": "SELLER", "type": "DEBIT", "reason": reason, "amount": amount, **more}


def test_a_dispute_is_read_whole():
    found = case(of=("C1", None, "C2"), seller_response_due_date="2026-01-12T12:00:00Z")
    assert ("PP-D-1", ("C1", "C2"), "UNAUTHORISED", eur("20.00")) == (
        found.id, found.captures, found.reason, found.amount,
    )  # fmt: skip
    assert (OPENED, DECIDED, datetime(2026, 1, 12, 12, tzinfo=UTC)) == (
        found.created_at, found.updated_at, found.due,
    )  # fmt: skip
    assert (None, False, None) == (found.taken, found.moved, found.fee)
    with pytest.raises(OutcomeUnknown, match="no dispute_id"):
        case(dispute_id=None)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [movement("5.00", affected_party="BUYER")],
        [movement("5.00", affected_party="PAYMENT_PROCESSOR")],
        [movement("5.00", type="HOLD")],
        [movement("5.00", reason="SOMETHING_NEW")],
        [movement("5.00", amount=None)],
        [movement("5.00", currency="USD"), movement("5.00")],
        [None],
    ],
)
def test_what_moved_nothing_of_the_merchants_is_nothing_that_was_taken(rows):
    found = case(money_movements=rows)
    assert (None, False, None) == (found.taken, found.moved, found.fee)
    decided = lost(amount="7.00", money_movements=rows)
    assert eur("7.00") == decided.taken


def test_what_was_returned_is_taken_off_and_leaves_no_less_than_nothing():
    assert eur("0.00") == case(moved=["5.00", "-7.00"]).taken
    assert eur("0.00") == lost(moved=["5.00", "-5.00"]).taken
    assert lost(moved=["5.00", "-5.00"]).moved


def test_fees_are_told_apart_from_what_was_taken():
    fees = [
        movement("15.00", "DISPUTE_FEE"),
        movement("20.00", "CHARGEBACK_FEE"),
        movement("1.00", "DISPUTE_SETTLEMENT_FEE"),
    ]
    found = case(money_movements=[*fees, movement("5.00")])
    assert (eur("36.00"), eur("5.00"), True) == (found.fee, found.taken, found.moved)
    returned = movement("36.00", "DISPUTE_FEE", type="CREDIT")
    assert case(money_movements=[*fees, returned]).fee is None


def test_what_was_decided_is_what_is_refunded_or_all_that_was_disputed():
    refunded = {
        "outcome_code": "RESOLVED_BUYER_FAVOUR",
        "amount_refunded": {"currency_code": "EUR", "value": "4.00"},
    }
    found = lost(dispute_outcome=refunded)
    assert (eur("4.00"), False, "lost") == (found.taken, found.moved, found.status)
    assert eur("20.00") == lost().taken
    assert lost(amount=None).taken is None
    still_open = case(dispute_outcome=refunded)
    assert (None, "opened") == (still_open.taken, still_open.status)
    for_us = case(status="RESOLVED", dispute_outcome={**refunded, "outcome_code": "RESOLVED_SELLER_FAVOUR"})
    assert (None, "won") == (for_us.taken, for_us.status)


def test_what_was_debited_in_another_currency_is_what_was_decided():
    dollars = [movement("6.00", currency="USD")]
    assert (eur("20.00"), True) == (lost(money_movements=dollars).taken, lost(money_movements=dollars).moved)
    assert case(money_movements=dollars).taken is None
    nothing = [movement("6.00", currency="USD"), movement("6.00", currency="USD", type="CREDIT")]
    assert Money("0.00", "USD") == lost(money_movements=nothing).taken
    unstated = lost(amount=None, money_movements=dollars)
    assert Money("6.00", "USD") == unstated.taken


KEPT = Disputed(capture="C1", amount=eur("5.00"))


def test_what_is_kept_of_a_dispute_leaves_out_what_is_not_known():
    assert {"capture": "C1", "amount": "5.00 EUR", "status": "opened"} == KEPT.json()
    assert {"C1 dispute": KEPT} == Disputed.read({"C1 dispute": KEPT.json()})


@pytest.mark.parametrize("status", ["opened", "under_review", "won", "lost"])
def test_how_a_dispute_stands_is_kept(status):
    kept = evolve(KEPT, status=status)
    assert {"C1 dispute": kept} == Disputed.read({"C1 dispute": kept.json()})
    assert (status in ("opened", "under_review")) is kept.is_open


@pytest.mark.parametrize("name", ["capture", "amount", "status"])
def test_what_was_kept_and_cannot_be_read_is_left_out(name):
    for value in (None, "", "junk" if name != "capture" else 7):
        stored = {"bad": {**KEPT.json(), name: value}, "good": KEPT.json(), "none": None}
        assert {"good": KEPT} == Disputed.read(stored)
    assert {} == Disputed.read(None)


# --- what the order alone shows --------------------------------------------------------------------


def test_a_capture_that_is_gone_is_a_lost_dispute_of_what_no_refund_explains():
    found = look(row("REVERSED", reason="CHARGEBACK"), gone={"C1": "15.00"})
    assert [("C1 dispute", "succeeded", "15.00", "lost")] == told(found)
    assert {"C1": eur("15.00")} == found.taken
    effect = found.all[0].effect
    assert (Kind.CHARGEBACK, eur("15.00"), "succeeded", "C1 dispute", "C1") == (
        effect.kind, effect.amount, effect.state, effect.reference, effect.capture,
    )  # fmt: skip
    assert ("lost", "CHARGEBACK") == (effect.dispute.status, effect.dispute.reason)


def test_money_that_is_held_is_an_open_dispute_that_has_taken_nothing():
    held = row("PENDING", reason="BUYER_COMPLAINT")
    found = look(held)
    assert ([("C1 dispute", "pending", "20.00", "opened")], {}) == (told(found), found.taken)
    freed = again(found, row())
    assert [("C1 dispute", "failed", "20.00", "won")] == told(freed)
    assert [("C1 dispute", "failed", "20.00", "won"), ("C1 dispute 2", "pending", "20.00", "opened")] == told(
        again(freed, held)
    )


def test_what_came_back_is_reversed_once_and_taken_again_is_another():
    gone = {"gone": {"C1": "20.00"}}
    taken = look(row("REVERSED"), **gone)
    back = again(taken, row())
    assert [("C1 dispute", "reversed", "20.00", "won")] == told(back)
    assert {} == back.taken
    assert [("C1 dispute", "reversed", "20.00", "won")] == told(again(back, row()))
    twice = again(back, row("REVERSED"), **gone)
    assert [
        ("C1 dispute", "reversed", "20.00", "won"),
        ("C1 dispute 2", "succeeded", "20.00", "lost"),
    ] == told(twice)
    assert {"C1": eur("20.00")} == twice.taken


def test_a_capture_at_rest_has_no_dispute():
    assert [] == look(row(), row(number=2)).all


def test_each_capture_has_its_own():
    found = look(
        row("REVERSED"), row("PENDING", "10.00", 2, "BUYER_COMPLAINT"), row(number=3), gone={"C1": "20.00"}
    )
    assert [
        ("C1 dispute", "succeeded", "20.00", "lost"),
        ("C2 dispute", "pending", "10.00", "opened"),
    ] == told(found)
    assert {"C1": eur("20.00")} == found.taken
    assert {"C1 dispute", "C2 dispute"} == set(found.kept)
    assert told(found) == told(again(found, *found.captures, gone={"C1": "20.00"}))


def test_the_reason_is_that_of_how_the_capture_stands_now():
    held = look(row("PENDING", reason="BUYER_COMPLAINT"))
    assert "BUYER_COMPLAINT" == held.all[0].effect.dispute.reason
    taken = again(held, row("DECLINED", reason="CHARGEBACK"), gone={"C1": "20.00"})
    assert [("C1 dispute", "succeeded", "20.00", "lost")] == told(taken)
    assert "CHARGEBACK" == taken.all[0].effect.dispute.reason


# --- what a dispute adds ---------------------------------------------------------------------------


def test_an_inquiry_holds_nothing_and_is_pending():
    (one,) = look(row(), cases=[case(amount="5.00", seller_response_due_date="2026-01-12T12:00:00Z")]).all
    assert ("pending", eur("5.00"), "PP-D-1") == (one.state, one.amount, one.entry.id)
    assert datetime(2026, 1, 12, 12, tzinfo=UTC) == one.effect.dispute.evidence_due_by
    assert ("opened", "UNAUTHORISED") == (one.effect.dispute.status, one.effect.dispute.reason)


def test_an_answer_that_was_given_is_due_no_more():
    answered = case(status="UNDER_REVIEW", seller_response_due_date="2026-01-12T12:00:00Z")
    dispute = look(row(), cases=[answered]).all[0].effect.dispute
    assert ("under_review", None) == (dispute.status, dispute.evidence_due_by)


@pytest.mark.parametrize(
    ("stated", "amount"),
    [("5.00", "5.00"), ("25.00", "20.00"), (None, "20.00")],
)
def test_what_is_disputed_is_at_most_the_capture(stated, amount):
    assert [eur(amount)] == [one.amount for one in look(row(), cases=[case(amount=stated)]).all]


def test_what_is_disputed_in_another_currency_is_the_capture():
    other = case(amount=None, dispute_amount={"currency_code": "USD", "value": "5.00"})
    assert [eur("20.00")] == [one.amount for one in look(row(), cases=[other]).all]


def test_a_dispute_of_another_capture_is_not_this_ones():
    assert [] == look(row(), cases=[case(of=("C9",))]).all
    found = look(row(), row(number=2), cases=[case(of=("C2",))])
    assert ["C2 dispute"] == [one.reference for one in found.all]


def test_what_the_order_showed_first_is_the_dispute_that_is_seen_later():
    first = look(row("PENDING", reason="BUYER_COMPLAINT"))
    second = again(first, row("PENDING", reason="BUYER_COMPLAINT"), cases=[case(amount="5.00")])
    assert [("C1 dispute", "pending", "5.00", "opened")] == told(second)
    both = again(second, row(), cases=[case(amount="5.00"), case(2, amount="6.00")])
    assert [
        ("C1 dispute", "pending", "5.00", "opened"),
        ("C1 dispute 2", "pending", "6.00", "opened"),
    ] == told(both)


def test_a_dispute_that_only_the_order_showed_and_is_over_is_not_the_next_one():
    freed = again(look(row("PENDING", reason="BUYER_COMPLAINT")), row())
    found = again(freed, row(), cases=[case()])
    assert [("C1 dispute", "failed", "20.00", "won"), ("C1 dispute 2", "pending", "20.00", "opened")] == told(
        found
    )


def test_the_fee_of_a_dispute_is_told_with_it():
    charged = {"affected_party": "SELLER", "type": "DEBIT", "reason": "DISPUTE_FEE"}
    fee = {**charged, "amount": {"currency_code": "USD", "value": "15.00"}}
    (one,) = look(row(), cases=[case(money_movements=[fee])]).all
    assert ("pending", Money("15.00", "USD")) == (one.state, one.effect.dispute.fee)


def test_what_is_stated_in_another_currency_took_nothing_of_the_capture_that_is_known():
    dollars = {"currency_code": "USD", "value": "5.00"}
    moved = {"affected_party": "SELLER", "type": "DEBIT", "reason": "DISPUTE_SETTLEMENT", "amount": dollars}
    found = look(row(), cases=[case(dispute_amount=dollars, money_movements=[moved])])
    assert ([("C1 dispute", "pending", "20.00", "opened")], {}) == (told(found), found.taken)
    of_two = case(of=("C1", "C2"), dispute_amount=dollars, money_movements=[moved])
    assert {} == look(row(), row(number=2), cases=[of_two]).taken


def test_of_two_disputes_the_older_is_the_first_whatever_their_order():
    found = look(row(), cases=[case(2, amount="6.00"), case(1, amount="5.00")])
    assert ["PP-D-1", "PP-D-2"] == [one.entry.id for one in found.all]
    undated = look(row(), cases=[case(1, amount="5.00"), case(2, amount="6.00", create_time=None)])
    assert ["PP-D-2", "PP-D-1"] == [one.entry.id for one in undated.all]


def test_a_decision_that_the_order_does_not_show_yet_is_pending_for_a_day():
    for now, expected in (
        (DECIDED, "pending"),
        (DECIDED + timedelta(days=1) - timedelta(seconds=1), "pending"),
        (DECIDED + timedelta(days=1), "failed"),
        (None, "failed"),
    ):
        (one,) = look(row(), cases=[lost()], now=now).all
        assert (expected, "lost" if expected == "pending" else "won") == (one.state, one.entry.status)
    assert ["failed"] == [one.state for one in look(row(), cases=[won()]).all]
    undated = evolve(lost(), updated_at=None)
    assert ["failed"] == [one.state for one in look(row(), cases=[undated]).all]


def test_what_was_debited_was_taken_whatever_the_order_shows():
    found = look(row(), cases=[case(moved=["7.00", "-2.00"])])
    assert [("C1 dispute", "succeeded", "5.00", "opened")] == told(found)
    returned = again(found, row(), cases=[won(moved=["7.00", "-2.00", "-5.00"])])
    assert [("C1 dispute", "reversed", "5.00", "won")] == told(returned)
    assert told(returned) == told(again(returned, row(), cases=[won(moved=["7.00", "-7.00"])]))


def test_what_was_decided_was_taken_where_the_order_shows_a_part():
    partly = row("PARTIALLY_REFUNDED")
    assert [("C1 dispute", "succeeded", "5.00", "lost")] == told(look(partly, cases=[lost(amount="5.00")]))
    assert ["failed"] == [one.state for one in look(partly, cases=[won(amount="5.00")]).all]


def test_what_was_decided_came_back_once_the_order_shows_all_of_it():
    first = look(row("PARTIALLY_REFUNDED"), cases=[lost(amount="5.00")])
    whole = again(first, row(), cases=[lost(amount="5.00")], now=DECIDED + timedelta(days=2))
    assert [("C1 dispute", "reversed", "5.00", "won")] == told(whole)


def test_no_dispute_takes_more_than_the_refunds_have_left():
    partly = row("PARTIALLY_REFUNDED")
    found = look(partly, cases=[lost(amount="15.00")], room={"C1": "12.00"})
    assert [("C1 dispute", "succeeded", "12.00", "lost")] == told(found)
    two = look(partly, cases=[lost(amount="9.00"), lost(2, "9.00")], room={"C1": "12.00"})
    assert ["9.00", "3.00"] == [str(one.amount.amount) for one in two.all]
    assert {"C1": eur("12.00")} == two.taken
    none = look(partly, cases=[lost(amount="9.00")], room={"C1": "0.00"}, now=None)
    assert ["failed"] == [one.state for one in none.all]


def test_of_a_capture_that_is_gone_the_last_dispute_took_what_none_states():
    gone = {"C1": "20.00"}
    one = look(row("REVERSED"), gone=gone, cases=[lost(amount="5.00")])
    assert [("C1 dispute", "succeeded", "20.00", "lost")] == told(one)
    two = look(row("REVERSED"), gone=gone, cases=[lost(amount="5.00"), lost(2, "6.00")])
    assert ["5.00", "15.00"] == [str(found.amount.amount) for found in two.all]
    silent = look(row("REVERSED"), gone=gone, cases=[lost(amount="5.00"), case(2)])
    assert ["5.00", "15.00"] == [str(found.amount.amount) for found in silent.all]
    more = look(row("REVERSED"), gone={"C1": "4.00"}, cases=[lost(amount="5.00"), lost(2, "6.00")], now=None)
    assert [("succeeded", "4.00"), ("failed", "6.00")] == [(f.state, str(f.amount.amount)) for f in more.all]


def test_what_one_dispute_took_stays_taken_while_another_holds_the_rest():
    first = look(row("PARTIALLY_REFUNDED"), cases=[lost(amount="5.00")])
    held = row("PENDING", reason="BUYER_COMPLAINT")
    both = again(first, held, cases=[lost(amount="5.00"), case(2, amount="15.00")])
    assert [
        ("C1 dispute", "succeeded", "5.00", "lost"),
        ("C1 dispute 2", "pending", "15.00", "opened"),
    ] == told(both)
    unseen = look(held, cases=[lost(amount="5.00")])
    assert ["pending"] == [one.state for one in unseen.all]


def test_a_dispute_that_takes_money_again_after_it_was_over_is_another_chargeback():
    partly = row("PARTIALLY_REFUNDED")
    first = look(partly, cases=[lost(amount="5.00")])
    over = again(first, row(), cases=[won(amount="5.00")])
    assert [("C1 dispute", "reversed", "5.00", "won")] == told(over)
    assert over.kept["C1 dispute"].over
    appeal = again(over, partly, cases=[lost(amount="5.00")])
    assert [("C1 dispute", "reversed", "5.00", "won"), ("C1 dispute 2", "succeeded", "5.00", "lost")] == told(
        appeal
    )
    assert {"C1": eur("5.00")} == appeal.taken
    assert told(appeal) == told(again(appeal, partly, cases=[lost(amount="5.00")]))
    reopened = again(over, row(), cases=[case(amount="5.00")])
    assert [("C1 dispute", "reversed", "5.00", "won"), ("C1 dispute 2", "pending", "5.00", "opened")] == told(
        reopened
    )
    ended = again(reopened, row(), cases=[won(amount="5.00")])
    assert [("C1 dispute", "reversed", "5.00", "won"), ("C1 dispute 2", "failed", "5.00", "won")] == told(
        ended
    )


def test_two_disputes_that_are_taken_up_again_are_two_more():
    both = [lost(amount="5.00"), lost(2, "6.00")]
    first = look(row("PARTIALLY_REFUNDED"), cases=both)
    over = again(first, row(), cases=[won(amount="5.00"), won(2, "6.00")])
    found = again(over, row("PARTIALLY_REFUNDED"), cases=both)
    assert ["reversed", "reversed", "succeeded", "succeeded"] == [one.state for one in found.all]
    assert {"C1": eur("11.00")} == found.taken


def test_a_decision_that_the_order_never_showed_begins_no_other_chargeback():
    over = again(
        look(row("PARTIALLY_REFUNDED"), cases=[lost(amount="5.00")]), row(), cases=[won(amount="5.00")]
    )
    found = again(over, row(), cases=[lost(amount="5.00")], now=DECIDED + timedelta(days=2))
    assert [("C1 dispute", "reversed", "5.00", "won")] == told(found)


# --- a dispute of several captures -----------------------------------------------------------------


def test_what_a_dispute_of_several_captures_took_counts_once():
    rows = [row(), row("PARTIALLY_REFUNDED", number=2), row("REVERSED", number=3)]
    of = ("C1", "C2", "C3")
    found = look(*rows, gone={"C3": "20.00"}, cases=[lost(amount="25.00", of=of, moved=["25.00"])])
    assert {"C3": eur("20.00"), "C2": eur("5.00")} == found.taken
    more = look(
        *rows, gone={"C3": "20.00"}, room={"C2": "8.00"}, cases=[lost(amount="30.00", of=of, moved=["30.00"])]
    )
    assert {"C3": eur("20.00"), "C2": eur("8.00"), "C1": eur("2.00")} == more.taken
    apart = look(*rows, gone={"C3": "20.00"}, cases=[lost(amount="5.00", of=("C1", "C2"), moved=["5.00"])])
    assert {"C3": eur("20.00"), "C2": eur("5.00")} == apart.taken


# --- a refund that ended a dispute -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended_by", "taken"),
    [
        (refund("5.00"), {}),
        (refund("5.00", OPENED), {}),
        (refund("5.00", DECIDED + timedelta(hours=1)), {}),
        (refund("5.00", None), {}),
        (refund("5.00", DECIDED + timedelta(hours=1, seconds=1)), {"C1": eur("5.00")}),
        (refund("5.00", OPENED - timedelta(seconds=1)), {"C1": eur("5.00")}),
        (refund("4.99"), {"C1": eur("5.00")}),
        (refund("5.00", of="C2"), {"C1": eur("5.00")}),
    ],
    ids=[
        "it",
        "at its begin",
        "an hour late",
        "undated",
        "too late",
        "before",
        "other amount",
        "other capture",
    ],
)
def test_a_claim_that_ended_with_a_refund_counts_once(ended_by, taken):
    found = look(row("PARTIALLY_REFUNDED"), cases=[lost(amount="5.00")], refunds=[ended_by])
    assert taken == found.taken


@pytest.mark.parametrize("unknown", ["created_at", "updated_at"])
def test_of_a_dispute_that_is_not_dated_a_refund_may_be_the_end(unknown):
    undated = evolve(lost(amount="5.00"), **{unknown: None})
    found = look(row("PARTIALLY_REFUNDED"), cases=[undated], refunds=[refund("5.00")])
    assert {} == found.taken


# --- what PayPal is asked about --------------------------------------------------------------------


def test_paypal_is_asked_about_what_the_order_leaves_open():
    rows = [
        row(),
        row("PARTIALLY_REFUNDED", number=2),
        row("PENDING", number=3, reason="BUYER_COMPLAINT"),
        row("PARTIALLY_REFUNDED", number=4),
        row("REVERSED", number=5),
    ]
    found = look(*rows, gone={"C5": "20.00"}, partly=["C4"])
    assert ["C3", "C4", "C5"] == found.questions(thorough=False)
    assert ["C3", "C4", "C5", "C2"] == found.questions(thorough=True)


def test_paypal_is_not_asked_again_about_what_a_dispute_took_whole():
    gone = {"gone": {"C1": "20.00"}}
    first = look(row("REVERSED"), cases=[lost()], **gone)
    assert [] == again(first, row("REVERSED"), **gone).questions(thorough=False)
    grown = again(first, row("REVERSED"), gone={"C1": "15.00"})
    assert ["C1"] == grown.questions(thorough=False)
    part = look(row("PARTIALLY_REFUNDED"), cases=[lost(amount="5.00")])
    assert ["C1"] == again(part, row("PARTIALLY_REFUNDED")).questions(thorough=False)
    open_ = look(row(), cases=[case()])
    assert ["C1"] == again(open_, row()).questions(thorough=False)
    assert [] == again(look(row(), cases=[won()]), row()).questions(thorough=False)


def test_a_part_that_a_known_dispute_took_is_no_question_of_its_own():
    known = {"C1 dispute": Disputed(capture="C1", amount=eur("5.00"), id="PP-D-1", status="won", over=True)}
    assert [] == look(row(), known=known, partly=["C1"]).questions(thorough=False)
    assert ["C1"] == look(row(), partly=["C1"]).questions(thorough=False)
