"""The ledger is restored from a backup: what was done since is at the gateway only."""

import contextlib
import re

import pytest

from helpers import Backup, eur
from paysession import Declined, NotApplied, OutcomeUnknown
from paysession._ledger.ids import found_id, number_of
from paysession.provider import Effect, Snapshot


def captures(shop):
    """Return the keys under which captures were sent."""
    return [key for kind, key in shop.fake.calls if kind == "capture"]


def test_another_call_never_gets_the_key_of_a_lost_one(shop):
    session = shop.session()
    backup = Backup(shop)
    sent = set()
    calls = [
        lambda pay: pay.capture(session.id, eur("4.00"), idempotency_key="p1"),
        lambda pay: pay.capture(session.id, eur("3.00"), idempotency_key="p1"),  # the host restored, too
        lambda pay: pay.capture(session.id, eur("4.00"), idempotency_key="p2"),
        lambda pay: pay.capture(session.id, eur("4.00"), final=True, idempotency_key="p1"),
        lambda pay: pay.capture(session.id, eur("4.00")),
        lambda pay: pay.capture(session.id, eur("3.00")),
        lambda pay: pay.capture(session.id, eur("4.00"), final=True),
        lambda pay: pay.capture(session.id),
        lambda pay: pay.cancel(session.id),
        lambda pay: pay.cancel(session.id, idempotency_key="p1"),
    ]
    for call in calls:
        backup.restore()
        shop.fake.calls.clear()
        with contextlib.suppress(Declined, OutcomeUnknown):  # the gateway has done more since
            call(shop.payments)
        sent.add(shop.fake.calls[0][1])
    assert len(sent) == len(calls)


def test_refunds_of_two_captures_have_two_keys(shop):
    session = shop.session()
    shop.payments.capture(session.id, eur("20.00"))
    shop.payments.capture(session.id, eur("22.00"))
    one, two = [row.id for row in shop.payments.history(session.id) if row.kind == "capture"]
    backup, sent = Backup(shop), []
    for capture in (one, two):
        backup.restore()
        shop.payments.refund(session.id, eur("5.00"), capture=capture)
        sent.append(shop.fake.calls[-1][1])
    assert len(set(sent)) == 2


@pytest.mark.parametrize("key", ["p1", None], ids=["with a key", "without one"])
def test_the_same_call_again_has_the_same_key(shop, key):
    session = shop.session()
    backup = Backup(shop)
    for _ in range(2):
        after = shop.payments.capture(session.id, eur("4.00"), idempotency_key=key)
        backup.restore()
    first, second = captures(shop)
    assert first == second
    assert (after.captured, shop.fake.total(session.id, "capture")) == (400, 400)


@pytest.mark.parametrize("resynced", [True, False], ids=["after resync", "without it"])
@pytest.mark.parametrize("key", ["u1", None], ids=["with a key", "without one"])
def test_an_increment_that_is_asked_for_again_is_recorded_and_raises_nothing_more(make_told, key, resynced):
    shop = make_told(increment=True)
    session = shop.session()
    shop.payments.update_collection(shop.order.id, eur("50.00"))
    backup = Backup(shop)
    shop.payments.update(session.id, eur("50.00"), idempotency_key=key)
    backup.restore()
    if resynced:
        shop.payments.resync(since=session.created_at)
        assert shop.books(session.id) == ("authorized", 5000, 0, 0, "amount")
    after = shop.payments.update(session.id, eur("50.00"), idempotency_key=key)
    assert (after.amount, after.authorized, after.conflict) == (eur("50.00"), 5000, None)
    assert shop.payments.collection(shop.order.id).held == 5000
    assert shop.fake.total(session.id, "update") == 800


def test_the_same_call_has_the_same_key_in_whichever_order_calls_are_repeated(shop):
    session = shop.session()
    backup = Backup(shop)
    calls = [
        lambda: shop.payments.capture(session.id, eur("4.00"), idempotency_key="p1"),
        lambda: shop.payments.capture(session.id, eur("4.00"), idempotency_key="p2"),
        lambda: shop.payments.refund(session.id, eur("1.00"), idempotency_key="r1"),
    ]
    for call in calls:
        call()
    sent = {key for _, key in shop.fake.calls}
    backup.restore()
    for call in (calls[1], calls[0], calls[2]):
        call()
    assert {key for _, key in shop.fake.calls} == sent
    assert [shop.fake.total(session.id, kind) for kind in ("capture", "refund")] == [800, 100]
    assert shop.books(session.id)[1:4] == (4200, 800, 100)


def test_an_attempt_after_one_that_was_not_applied_has_another_key(shop):
    session = shop.session()
    for _ in range(2):
        shop.fake.fail_next("not_applied", kind="capture")
        with pytest.raises(NotApplied):
            shop.payments.capture(session.id, eur("4.00"), idempotency_key="p1")
    shop.payments.capture(session.id, eur("4.00"), idempotency_key="p1")
    ids = [row.id for row in shop.payments.history(session.id)[2:]]
    assert [number_of(session.id, key) for key in ids] == [1, 2, 3]
    assert len({key.rpartition("-")[2] for key in ids}) == 1


def test_a_lost_operation_gets_its_id_back_and_is_not_done_again(shop):
    session = shop.session()
    backup = Backup(shop)
    shop.payments.capture(session.id, eur("4.00"), idempotency_key="p1")
    shop.payments.refund(session.id, eur("1.00"), idempotency_key="r1")
    lost = shop.payments.history(session.id)[2:]
    backup.restore()
    shop.payments.sync(session.id)
    found = shop.payments.history(session.id)[2:]
    assert [(row.id, row.kind, row.ordinal, row.amount) for row in found] == [
        (row.id, row.kind, row.ordinal, row.amount) for row in lost
    ]
    assert {row.origin for row in found} == {"provider"}
    calls = list(shop.fake.calls)
    session = shop.payments.capture(session.id, eur("4.00"), idempotency_key="p1")
    session = shop.payments.refund(session.id, eur("1.00"), idempotency_key="r1")
    assert (session.captured, session.refunded) == (400, 100)
    assert shop.fake.calls == calls
    # Another call under another key is another effect, with an ordinal of its own.
    session = shop.payments.capture(session.id, eur("4.00"), idempotency_key="p2")
    assert (session.captured, session.ordinal) == (800, 5)


def test_a_lost_operation_found_out_of_order_leaves_its_ordinal_to_nobody(told):
    """Of two lost captures the gateway shows the later first; an operation begins between the two."""
    session = told.session()
    backup = Backup(told)
    told.payments.capture(session.id, eur("1.00"))
    told.payments.capture(session.id, eur("2.00"))
    third, fourth = [row.id for row in told.payments.history(session.id)[2:]]
    backup.restore()
    later = Effect("capture", eur("2.00"), reference="b", key=fourth)
    told.fake.snapshot = Snapshot("authorized", effects=[later])
    told.payments.sync(session.id)
    told.payments.capture(session.id, eur("1.00"))
    earlier = Effect("capture", eur("1.00"), reference="a", key=third)
    told.fake.snapshot = Snapshot("authorized", effects=[later, earlier])
    told.payments.sync(session.id)
    rows = told.payments.history(session.id)[2:]
    assert [row.ordinal for row in rows] == [4, 5, 6]
    assert [rows[0].id, rows[2].id] == [fourth, third]
    assert number_of(session.id, rows[1].id) == 5
    assert told.payments.get(session.id).captured == 400


def test_an_operation_that_was_closed_in_the_lost_history_is_not_sent_again(told):
    """It was in doubt when the backup was made, then not applied, and the caller's next attempt succeeded."""
    session = told.session()
    told.fake.snapshot = NotApplied("down")
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id, eur("4.00"), idempotency_key="p1")
    backup = Backup(told)
    told.payments.resolve(told.key(session.id, 3), NotApplied("read from the statement"), note="ann")
    told.fake.answers.clear()
    told.payments.capture(session.id, eur("4.00"), idempotency_key="p1")
    fourth = told.key(session.id, 4)
    told.fake.snapshot = None
    backup.restore()
    told.fake.calls.clear()
    for minutes in (1, 10):  # the gateway still knows the keys
        told.clock.forward(minutes=minutes)
        told.payments.recover()
    assert told.fake.calls == []
    assert [(row.id, row.state) for row in told.payments.history(session.id)[2:]] == [
        (told.key(session.id, 3), "not_applied"),
        (fourth, "succeeded"),
    ]
    assert told.fake.total(session.id, "capture") == 400
    assert told.payments.capture(session.id, eur("4.00"), idempotency_key="p1").captured == 400
    assert told.fake.total(session.id, "capture") == 400


def test_what_a_restore_lost_before_an_operation_in_doubt_does_not_keep_it_from_being_sent_again(told):
    session = told.session()
    backup = Backup(told)
    told.payments.capture(session.id, eur("4.00"), idempotency_key="p1")
    backup.restore()
    told.payments.sync(session.id)
    told.fake.fail_next("timeout", kind="capture")
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id, eur("3.00"), idempotency_key="p2")
    told.clock.forward(minutes=1)
    told.payments.recover()
    assert told.payments.get(session.id).captured == told.fake.total(session.id, "capture") == 700


def test_what_may_have_been_closed_in_the_lost_history_is_given_its_time_from_when_it_was_last_sent(told):
    """It was sent a second time half an hour after the first, and that request may be under way."""
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id, eur("4.00"), idempotency_key="p1")
    told.clock.forward(minutes=30)
    told.payments.recover()
    backup = Backup(told)
    told.payments.resolve(told.key(session.id, 3), NotApplied("read from the statement"), note="ann")
    told.fake.answers.clear()
    told.payments.capture(session.id, eur("4.00"), idempotency_key="p1")
    backup.restore()
    told.fake.calls.clear()
    told.clock.forward(minutes=9)
    told.payments.sync(session.id)
    assert told.payments.get(session.id).in_doubt
    told.clock.forward(minutes=1)
    told.payments.sync(session.id)
    assert [row.state for row in told.payments.history(session.id)[2:]] == ["not_applied", "succeeded"]
    assert told.fake.calls == []


def test_what_a_lookup_would_not_show_stays_in_doubt_and_is_not_sent_again(told):
    session = told.session()
    told.payments.capture(session.id, eur("10.00"))
    told.fake.snapshot = NotApplied("down")
    told.fake.answers["cancel"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        told.payments.cancel(session.id)
    first = Effect("capture", eur("10.00"), key=told.key(session.id, 3))
    later = Effect("capture", eur("1.00"), key=f"{session.id}-5-abcdefgh")
    told.fake.snapshot = Snapshot("authorized", effects=[first, later])  # it says nothing of the rest
    told.fake.calls.clear()
    told.clock.forward(minutes=1)
    told.payments.recover()
    assert told.fake.calls == []
    assert told.payments.get(session.id).open == told.key(session.id, 4)


def test_keys_of_ours_are_told_from_others():
    assert number_of("ps_1", "ps_1-12-abcdefg2") == 12
    others = [
        None, "", "ps_1", "ps_1-3", "ps_1-0-abcdefgh", "ps_1-3-abcdefg", "ps_1-3-abcdefghi", "ps_1-3-ABCDEFGH",
        "ps_1-3-abcdefgh-customer", "ps_2-3-abcdefgh", "xps_1-3-abcdefgh", "ps_1-1234567890-abcdefgh",
        "ps_1-03-abcdefgh", "ps_1-3-abcdefg1", found_id("ps_1", "capture"),
    ]  # fmt: skip
    for other in others:
        assert number_of("ps_1", other) is None
    assert re.fullmatch("ps_1-0[a-z2-7]{8}", found_id("ps_1", "capture"))
