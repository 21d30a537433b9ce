"""The contract of a store: a test class that any store package subclasses and passes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from attrs import asdict, fields

from paysession import (
    Address,
    Checkout,
    ClientAction,
    Conflict,
    CursorLost,
    Dispute,
    Event,
    Failure,
    Instructions,
    Item,
    Kind,
    Money,
    Operation,
    Payer,
    PaymentCollection,
    Redirect,
    State,
    Status,
)
from paysession.store import Change, Identity, Notification, OverLimit, SessionRow, Stale, Sums, replace
from paysession_testing import hostile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paysession.store import Store

__all__ = ["StoreContract"]

NOW = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
EUR = "EUR"


def a_collection(number: int = 1, minor: int = 4200) -> PaymentCollection:
    """Return a collection."""
    return PaymentCollection(
        id=f"pc_{number:04}",
        reference=f"order {number} ü",
        amount=Money.from_minor(minor, EUR),
        created_at=NOW,
        updated_at=NOW,
    )


def a_session(number: int = 1, **changes: Any) -> SessionRow:
    """Return a session with every attribute set to something."""
    session = SessionRow(
        id=f"ps_{number:04}",
        collection_id="pc_0001",
        collection_reference="order 1 ü",
        provider="fake",
        amount=Money.from_minor(4200, EUR),
        created_at=NOW,
        updated_at=NOW + timedelta(microseconds=1),
        status=Status.REQUIRES_MORE,
        capture="automatic",
        checkout=Checkout(
            return_url="https://x/?a=1&b=ü",
            email="a@b.c",
            locale="de-DE",
            address=Address(line1="Ü 1", country="DE"),
            items=[Item("Book", Money.from_minor(2100, EUR), quantity=2, reference="b1")],
            payer=Payer(name="A", address=Address(city="B")),
        ),
        payer=Payer(name="Ä", email="a@b.c", address=Address(postal_code="1")),
        reference=f"gw_{number}",
        next_action=Redirect("https://x", "POST", {"k": "v"}),
        expires_at=NOW + timedelta(days=1),
        error=Failure("code", "words", "authentication", "check_details"),
        conflict="amount",
        version=1,
        data='{"customer":"cus_1","n":[1,2.5,null,true],"ü":"\\u00fc"}',
        authorized=9,
        captured=8,
        refunded=7,
        charged_back=12,
        capturing=6,
        refunding=5,
        pending=4,
        disputes=2,
        granted=11,
        released=True,
        held=3,
        initiated=True,
        ordinal=2,
        open=f"ps_{number:04}-2",
        authorizing=f"ps_{number:04}-1",
        cancel_requested=True,
        cancel_by="bob ü",
        abandon_at=NOW + timedelta(days=2),
        due_at=NOW + timedelta(seconds=number),
        attention_at=NOW + timedelta(minutes=number),
        checks=1,
    )
    return replace(session, **changes)


def an_operation(session: str = "ps_0001", ordinal: int = 1, **changes: Any) -> Operation:
    """Return an operation with every kept attribute set to something."""
    operation = Operation(
        id=f"{session}-{ordinal}",
        session_id=session,
        kind=Kind.REFUND,
        ordinal=ordinal,
        amount=Money.from_minor(100, EUR),
        state=State.STARTED,
        created_at=NOW + timedelta(seconds=ordinal),
        updated_at=NOW,
        origin="provider",
        by="ann ü",
        idempotency_key=f"key {ordinal}",
        fingerprint="f",
        final=True,
        reason="r",
        capture_id=f"{session}-0",
        reverses=f"{session}-9",
        reference=f"fx_{session}_{ordinal}",
        answer="refunded",
        error=Failure("c", "m", "hard", "canceled"),
        note="n",
        dispute=Dispute("lost", reason="ü", evidence_due_by=NOW, fee=Money.from_minor(1500, "JPY")),
        payload='{"a":1}',
        data='{"b":2}',
        session_reference="gw",
        session_status=Status.ERROR,
        hold=12,
        attempt=3,
        lease_until=NOW,
        sent_at=NOW,
        doubted_at=NOW,
    )
    return replace(operation, **changes)


def an_event(session: str = "ps_0001", version: int = 1) -> Event:
    """Return an event."""
    return Event(
        id=f"{session}:{version}.0",
        type="session.captured",
        session_id=session,
        collection_id="pc_0001",
        reference="order 1 ü",
        provider="fake",
        operation_id=f"{session}-1",
        by="ann",
        amount=Money.from_minor(1, EUR),
        status=Status.AUTHORIZED,
        authorized=2,
        captured=3,
        refunded=4,
        charged_back=5,
        version=version,
        detail="d",
        occurred_at=NOW,
    )


def a_notification(number: int = 1, **changes: Any) -> Notification:
    """Return a notification with every attribute set to something."""
    notification = Notification(
        id=f"wh_{number:04}",
        provider="fake",
        type="t",
        received_at=NOW,
        session_id="ps_0001",
        references=("a", "b"),
        effects="[1]",
        details='{"data":"{}"}',
        body=b"\x00\xff body",
        state="received",
        due_at=NOW + timedelta(seconds=number),
        attempts=2,
    )
    return replace(notification, **changes)


def a_conflict(number: int = 1, session: str = "ps_0001", **changes: Any) -> Conflict:
    """Return an open conflict."""
    conflict = Conflict(
        id=f"cf_{number:04}",
        session_id=session,
        kind="amount",
        expected="42.00 EUR",
        found="40.00 EUR ü",
        opened_at=NOW + timedelta(seconds=number),
    )
    return replace(conflict, **changes)


class StoreContract:
    """Subclass it as ``class TestMyStore(StoreContract)`` with a fixture ``store``: an empty one.

    A durable store also overrides `reopen`.
    """

    def reopen(self, store: Store) -> Store:
        """Return the same ledger through a newly opened store; override it in a durable store."""
        return store

    def begun(self, store: Store, number: int = 1, **changes: Any) -> SessionRow:
        """Write a collection (once) and a session."""
        if store.collection("pc_0001") is None:
            store.commit(Change(collection=a_collection()))
        session = a_session(number, **changes)
        store.commit(Change(session=session))
        return session

    # --- what is written is what is read ---

    @pytest.mark.parametrize(
        "action",
        [None, Redirect("u"), ClientAction("k", {"a": [1, {"b": None}]}), Instructions("k", {"iban": "x"})],
    )
    def test_every_attribute_of_a_session_is_read_back(self, store: Store, action: Any) -> None:
        session = self.begun(store, next_action=action)
        assert session == self.reopen(store).session(session.id)

    def test_a_session_with_nothing_set_is_read_back(self, store: Store) -> None:
        store.commit(Change(collection=a_collection()))
        session = SessionRow(
            id="ps_1",
            collection_id="pc_0001",
            collection_reference="r",
            provider="p",
            amount=Money("1", EUR),
            created_at=NOW,
            updated_at=NOW,
        )
        store.commit(Change(session=session))
        assert session == self.reopen(store).session("ps_1")

    def test_every_attribute_of_an_operation_is_read_back(self, store: Store) -> None:
        session = self.begun(store)
        bare = an_operation(ordinal=2)
        for attribute in fields(Operation):
            if attribute.default is None:
                none: dict[str, Any] = {attribute.alias or attribute.name: None}
                bare = replace(bare, **none)
        full = an_operation()
        changed = replace(session, version=2)
        store.commit(Change(session=changed, expected=1, operations=(full, bare)))
        assert full == store.operation(full.id)
        assert [full, bare] == list(self.reopen(store).operations(session.id))

    def test_every_attribute_of_an_event_is_read_back(self, store: Store) -> None:
        store.commit(Change(collection=a_collection()))
        store.commit(Change(session=a_session(), events=(an_event(),)))
        (event,) = self.reopen(store).events()
        assert an_event() == replace(event, cursor="")
        assert event.cursor

    def test_every_attribute_of_a_notification_is_read_back(self, store: Store) -> None:
        store.commit(Change(notification=a_notification()))
        assert a_notification() == self.reopen(store).notification("wh_0001")

    def test_a_collection_is_read_back_without_derived_figures(self, store: Store) -> None:
        store.commit(Change(collection=a_collection()))
        assert a_collection() == self.reopen(store).collection("pc_0001")

    def test_what_does_not_exist_is_none(self, store: Store) -> None:
        assert store.collection("nix") is None
        assert store.session("nix") is None
        assert store.operation("nix") is None
        assert store.operation("") is None
        assert store.notification("nix") is None
        assert store.repeated("nix", "nix", "nix") is None
        assert store.find_session("nix", ["nix"]) is None
        assert not store.operations("nix")

    # --- guards ---

    def test_a_second_insert_is_stale_and_changes_nothing(self, store: Store) -> None:
        session = self.begun(store)
        other = replace(session, provider="other")
        with pytest.raises(Stale):
            store.commit(Change(session=other, events=(an_event(),)))
        with pytest.raises(Stale):
            store.commit(Change(collection=a_collection(minor=1)))
        assert session == store.session(session.id)
        assert not store.events()
        assert store.collection("pc_0001") == a_collection()

    def test_a_change_of_another_version_is_refused_whole(self, store: Store) -> None:
        session = self.begun(store)
        changed = replace(session, version=8, status=Status.CANCELED)
        change = Change(
            session=changed,
            expected=7,
            operations=(an_operation(),),
            events=(an_event(),),
            hold=10,
            notification=a_notification(),
        )
        with pytest.raises(Stale):
            store.commit(change)
        assert session == store.session(session.id)
        assert not store.operations(session.id)
        assert not store.events()
        assert store.notification("wh_0001") is None
        assert store.collection("pc_0001") == a_collection()

    def test_a_change_of_what_does_not_exist_is_stale(self, store: Store) -> None:
        store.commit(Change(collection=a_collection()))
        with pytest.raises(Stale):
            store.commit(Change(session=a_session(version=2), expected=1))
        with pytest.raises(Stale):
            store.commit(Change(collection=a_collection(2), collection_amount=True))
        with pytest.raises(Stale):
            store.commit(Change(notification=a_notification(), notification_seen=True))

    def test_an_operation_is_written_and_then_changed(self, store: Store) -> None:
        session = self.begun(store)
        store.commit(Change(session=replace(session, version=2), expected=1, operations=(an_operation(),)))
        settled = an_operation(
            state=State.SUCCEEDED, reference="fx", error=None, _payload=None, lease_until=None, attempt=4
        )
        store.commit(Change(session=replace(session, version=3), expected=2, operations=(settled,)))
        assert [settled] == list(store.operations(session.id))

    def test_what_is_personal_is_erased_from_rows_that_else_keep_it(self, store: Store) -> None:
        session = self.begun(store)
        operation, conflict = an_operation(), a_conflict(note="words")
        store.commit(
            Change(
                session=replace(session, version=2),
                expected=1,
                operations=(operation,),
                conflicts=(conflict,),
                notification=a_notification(attempts=0),
            )
        )
        erased = replace(session, version=3, checkout=Checkout(), payer=None, data="{}", forgotten_at=NOW)
        changed = replace(operation, reason=None, note=None, data="{}")
        change = Change(
            session=erased,
            expected=2,
            operations=(changed,),
            conflicts=(replace(conflict, note=None),),
            notification=a_notification(attempts=1, body=b"", details="{}", effects="[]"),
            notification_seen=True,
            erased=True,
        )
        store.commit(change)
        kept = self.reopen(store)
        assert erased == kept.session(session.id)
        assert [changed] == list(kept.operations(session.id))
        assert replace(conflict, note=None) == kept.conflict(conflict.id)
        assert change.notification == kept.notification("wh_0001")
        with pytest.raises(Stale):
            kept.commit(change)

    def test_a_hold_within_the_amount_is_taken_and_released(self, store: Store) -> None:
        session = self.begun(store)
        store.commit(Change(session=replace(session, version=2), expected=1, hold=4200))
        held = store.collection("pc_0001")
        assert held is not None and held.held == 4200
        store.commit(Change(session=replace(session, version=3), expected=2, hold=-4200))
        released = store.collection("pc_0001")
        assert released is not None and released.held == 0

    def test_a_hold_beyond_the_amount_is_refused_whole(self, store: Store) -> None:
        session = self.begun(store)
        change = Change(
            session=replace(session, version=2), expected=1, hold=4201, operations=(an_operation(),)
        )
        with pytest.raises(OverLimit):
            store.commit(change)
        assert session == store.session(session.id)
        assert not store.operations(session.id)

    def test_what_has_happened_already_is_held_beyond_the_amount(self, store: Store) -> None:
        session = self.begun(store)
        change = Change(session=replace(session, version=2), expected=1, hold=5000, guarded=False)
        store.commit(change)
        held = store.collection("pc_0001")
        assert held is not None and held.held == 5000

    def test_the_amount_of_a_collection_changes_down_to_what_is_held(self, store: Store) -> None:
        session = self.begun(store)
        store.commit(Change(session=replace(session, version=2), expected=1, hold=4000))
        later = NOW + timedelta(hours=1)
        less = replace(a_collection(minor=4000), updated_at=later, by="cleo")
        store.commit(Change(collection=less, collection_amount=True))
        with pytest.raises(OverLimit):
            store.commit(Change(collection=a_collection(minor=3999), collection_amount=True))
        row = store.collection("pc_0001")
        assert row is not None
        assert (4000, 4000, later, "cleo") == (row.amount.minor, row.held, row.updated_at, row.by)

    def test_a_changed_amount_is_in_the_feed_if_it_was_changed(self, store: Store) -> None:
        """Such an event has no session, no provider and no status."""
        session = self.begun(store)
        store.commit(Change(session=replace(session, version=2), expected=1, hold=4000))
        event = replace(
            an_event(),
            type="collection.updated",
            session_id=None,
            provider=None,
            operation_id=None,
            status=None,
            version=0,
        )
        less = a_collection(minor=3999)
        with pytest.raises(OverLimit):
            store.commit(Change(collection=less, collection_amount=True, events=(event,)))
        assert not store.events()
        less = a_collection(minor=4000)
        store.commit(Change(collection=less, collection_amount=True, events=(event,)))
        (found,) = store.events()
        assert replace(found, cursor="") == event

    # --- conflicts ---

    def test_conflicts_are_listed_in_their_order_until_they_are_closed(self, store: Store) -> None:
        """Each as it was written last, by session and after one of them."""
        rows = [a_conflict(1), a_conflict(2), a_conflict(3, "ps_0002")]
        store.commit(Change(collection=a_collection()))
        store.commit(Change(session=a_session(1), conflicts=tuple(rows[:2])))
        store.commit(Change(session=a_session(2), conflicts=tuple(rows[2:])))
        closed = a_conflict(1, closed_at=NOW + timedelta(hours=1), closed_by="ann", note="asked the bank")
        store.commit(Change(session=a_session(1, version=2), expected=1, conflicts=(closed,)))
        store = self.reopen(store)
        assert store.conflict("cf_0001") == closed
        assert store.conflict("cf_0009") is None
        assert list(store.conflicts()) == rows[1:]
        assert list(store.conflicts(open=False)) == [closed, *rows[1:]]
        assert list(store.conflicts(open=False, after="cf_0001", limit=1)) == rows[1:2]
        assert list(store.conflicts(session_id="ps_0001")) == rows[1:2]
        assert list(store.conflicts(session_id="ps_0001", open=False)) == [closed, rows[1]]
        with pytest.raises(Stale):
            store.commit(Change(session=a_session(1, version=2), expected=1, conflicts=(a_conflict(4),)))
        assert store.conflict("cf_0004") is None

    def test_a_notification_is_stored_once_and_then_changed(self, store: Store) -> None:
        store.commit(Change(notification=a_notification()))
        with pytest.raises(Stale):
            store.commit(Change(notification=a_notification(body=b"other")))
        later = NOW + timedelta(minutes=1)
        seen = a_notification(state="processed", due_at=None, attempts=3, body=b"", received_at=later)
        store.commit(Change(notification=seen, notification_seen=True))
        assert seen == store.notification("wh_0001")
        assert not store.due_notifications(NOW + timedelta(days=1), 10, "fake")

    def test_of_two_who_change_a_notification_the_second_is_refused(self, store: Store) -> None:
        store.commit(Change(notification=a_notification()))
        first, second = a_notification(attempts=3, state="processed"), a_notification(attempts=3, due_at=None)
        store.commit(Change(notification=first, notification_seen=True))
        for late in (second, a_notification(attempts=5)):
            with pytest.raises(Stale):
                store.commit(Change(notification=late, notification_seen=True))
        with pytest.raises(Stale):
            store.commit(Change(notification=a_notification(2), notification_seen=True))
        assert store.notification("wh_0001") == first
        assert store.notification("wh_0002") is None

    # --- hostile callers, payers and gateways ---

    def test_every_error_of_a_public_call_is_a_paysession_error(self, store: Store) -> None:
        hostile.try_calls(store)

    def test_whatever_a_gateway_says_is_recorded_and_kept_alike(self, store: Store) -> None:
        hostile.try_words(store)

    # --- reads ---

    def test_sessions_are_filtered_and_paged_in_order(self, store: Store) -> None:
        for number in (3, 1, 2):
            status = Status.CANCELED if number == 2 else Status.PENDING
            self.begun(store, number, status=status, provider="fake" if number < 3 else "other")

        def ids(**filters: Any) -> list[str]:
            return [row.id for row in store.sessions(**filters)]

        assert ids() == ["ps_0001", "ps_0002", "ps_0003"]
        assert ids(limit=2) == ["ps_0001", "ps_0002"]
        assert ids(after=a_session(1), limit=1) == ["ps_0002"]
        assert ids(limit=None, after=a_session(2)) == ["ps_0003"]
        assert ids(status="canceled") == ["ps_0002"]
        assert ids(provider="fake", status="pending") == ["ps_0001"]
        assert ids(collection_id="pc_0001", provider="other") == ["ps_0003"]
        assert ids(collection_id="pc_0002") == []

    def test_sessions_are_listed_in_the_order_in_which_they_were_created(self, store: Store) -> None:
        hours = {1: 5, 2: 1, 3: 3, 4: 3, 5: 2}
        for number, hour in hours.items():
            self.begun(
                store,
                number,
                created_at=NOW + timedelta(hours=hour),
                status=list(Status)[number % 5],
                conflict="amount" if number in (1, 5) else None,
                reference=f"gw_{number}" if number != 3 else None,
                provider="other" if number == 4 else "fake",
            )
        store.commit(
            Change(
                session=replace(a_session(2, created_at=NOW + timedelta(hours=1), conflict=None), version=2),
                expected=1,
                operations=(an_operation("ps_0002", reference="re_7"),),
            )
        )

        def numbers(**filters: Any) -> list[int]:
            return [int(row.id[-1]) for row in store.sessions(**filters)]

        def at(hour: int) -> datetime:
            return NOW + timedelta(hours=hour)

        def row(number: int) -> SessionRow:
            return a_session(number, created_at=at(hours[number]))

        assert numbers() == [2, 5, 3, 4, 1]
        assert numbers(newest=True) == [1, 4, 3, 5, 2]
        assert numbers(after=row(3)) == [4, 1]
        assert numbers(after=row(4), newest=True, limit=2) == [3, 5]
        assert numbers(created_after=at(2), created_before=at(5)) == [5, 3, 4]
        assert numbers(created_after=at(2), created_before=at(5), newest=True, after=row(3)) == [5]
        assert numbers(created_after=at(2), after=row(2)) == [5, 3, 4, 1]
        assert numbers(has_conflict=True) == [5, 1]
        assert numbers(has_conflict=False, newest=True) == [4, 3, 2]
        assert numbers(has_conflict=True, provider="other") == []
        assert numbers(gateway_reference="gw_4") == [4]
        assert numbers(gateway_reference="re_7") == [2]
        assert numbers(gateway_reference="re_7", provider="other") == []
        assert numbers(gateway_reference="gw_0") == []
        assert numbers(provider="fake", collection_id="pc_0001", newest=True) == [1, 3, 5, 2]

    def test_the_sums_of_collections_are_those_of_their_sessions(self, store: Store) -> None:
        assert store.sums(["pc_0001"]) == {}
        store.commit(Change(collection=a_collection(2)))
        store.commit(Change(collection=a_collection(3)))
        for number, (status, collection) in enumerate(
            [
                (Status.AUTHORIZED, "pc_0001"),
                (Status.CANCELED, "pc_0001"),
                (Status.PENDING, "pc_0002"),
                (Status.REQUIRES_MORE, "pc_0001"),
                (Status.ERROR, "pc_0001"),
            ]
        ):
            self.begun(
                store,
                number,
                status=status,
                collection_id=collection,
                authorized=number + 1,
                captured=10 * number,
                refunded=100 * number,
                charged_back=1000 * number,
            )
        assert store.sums(["pc_0001", "pc_0002", "pc_0003"]) == {
            "pc_0001": Sums(4, 1, 1, 12, 80, 800, 8000),
            "pc_0002": Sums(1, 0, 1, 3, 20, 200, 2000),
        }
        assert store.sums(["pc_0002"])["pc_0002"].captured == 20
        assert store.sums([]) == {}

    def test_a_capture_is_read_with_what_refers_to_it(self, store: Store) -> None:
        session = self.begun(store)
        rows = [
            an_operation(session.id, 1, kind=Kind.CAPTURE, capture_id=None, reverses=None),
            an_operation(session.id, 2, kind=Kind.CAPTURE, capture_id=None, reverses=None),
            an_operation(session.id, 3, capture_id=f"{session.id}-1", reverses=None),
            an_operation(session.id, 4, capture_id=f"{session.id}-2", reverses=None),
            an_operation(session.id, 5, capture_id=None, reverses=f"{session.id}-3"),
            an_operation(session.id, 6, capture_id=None, reverses=f"{session.id}-1"),
            an_operation(session.id, 7, capture_id=f"{session.id}-1", reverses=f"{session.id}-3"),
            an_operation(session.id, 8, capture_id=None, reverses=f"{session.id}-4"),
        ]
        store.commit(
            Change(session=replace(session, version=2), expected=1, operations=tuple(reversed(rows)))
        )
        assert [row.ordinal for row in store.refunds_of(f"{session.id}-1")] == [1, 3, 5, 6, 7]
        assert list(store.refunds_of(f"{session.id}-2")) == [rows[1], rows[3], rows[7]]
        assert not store.refunds_of("nix")

    def test_what_an_operation_refers_to_may_change(self, store: Store) -> None:
        session = self.begun(store)
        row = an_operation()
        moved = replace(row, capture_id=f"{session.id}-7", reverses=f"{session.id}-8")
        for version, written in ((2, row), (3, moved)):
            changed = replace(session, version=version)
            store.commit(Change(session=changed, expected=version - 1, operations=(written,)))
        assert list(store.refunds_of(f"{session.id}-7")) == [moved]
        assert moved == self.reopen(store).operation(row.id)

    def test_sessions_touched_since_a_time_are_paged_in_order(self, store: Store) -> None:
        for number in (3, 1, 2, 4):
            self.begun(store, number, updated_at=NOW + timedelta(hours=number if number < 4 else 0))

        def ids(hours: float, **filters: Any) -> list[str]:
            rows = store.sessions(touched_since=NOW + timedelta(hours=hours), **filters)
            return [row.id for row in rows]

        assert ids(2) == ["ps_0002", "ps_0003"]
        assert ids(0) == ["ps_0001", "ps_0002", "ps_0003", "ps_0004"]
        assert ids(0, limit=1, after=a_session(1)) == ["ps_0002"]
        assert ids(2, provider="other") == []

    def test_unprocessed_notifications_are_paged_in_order(self, store: Store) -> None:
        for number, state in ((3, "received"), (1, "unmatched"), (2, "processed"), (4, "received")):
            provider = "other" if number == 4 else "fake"
            store.commit(
                Change(notification=a_notification(number, state=state, provider=provider, due_at=None))
            )

        def ids(**filters: Any) -> list[str]:
            return [row.id for row in store.unprocessed(**filters)]

        assert ids() == ["wh_0001", "wh_0003", "wh_0004"]
        assert ids(limit=1, after="wh_0001") == ["wh_0003"]
        assert ids(provider="other") == ["wh_0004"]

    def test_old_notifications_are_pruned_unless_something_is_due_for_them(self, store: Store) -> None:
        for number, (age, due) in enumerate([(5, False), (4, True), (3, False), (1, False), (0, True)], 1):
            store.commit(
                Change(
                    notification=a_notification(
                        number,
                        received_at=NOW - timedelta(days=age),
                        due_at=NOW if due else None,
                        state="received" if due else "processed",
                    )
                )
            )
        old = {"notifications_before": NOW - timedelta(days=2), "events_before": None}
        assert store.prunable(**old) == (2, 0)
        assert store.prune(**old, limit=1) == (1, 0)
        assert store.prune(**old, limit=10) == (1, 0)
        assert store.prune(**old, limit=10) == (0, 0)
        left = [number for number in range(1, 6) if store.notification(f"wh_{number:04}") is not None]
        assert left == [2, 4, 5]
        assert store.prune(notifications_before=None, events_before=None, limit=10) == (0, 0)

    def test_a_reader_that_waited_finds_its_place_after_old_events_were_pruned(self, store: Store) -> None:
        session = self.begun(store)
        for version, age in enumerate((9, 8, 7, 1), 1):
            event = replace(an_event(session.id, version), occurred_at=NOW - timedelta(days=age))
            store.commit(
                Change(session=replace(session, version=version + 1), expected=version, events=(event,))
            )
        first, _, third, last = store.events()
        old = {"notifications_before": None, "events_before": NOW - timedelta(days=2)}
        assert store.prunable(**old) == (0, 2)
        assert store.prune(**old, limit=100) == (0, 2)
        assert store.prune(**old, limit=100) == (0, 0)
        assert list(store.events()) == [third, last]
        assert list(store.events(after=third.cursor)) == [last]
        with pytest.raises(CursorLost):
            store.events(after=first.cursor)
        all_ = {"notifications_before": None, "events_before": NOW + timedelta(days=1)}
        assert store.prune(**all_, limit=100) == (0, 1)
        assert list(store.events(after=last.cursor)) == []
        more = replace(an_event(session.id, 5), occurred_at=NOW)
        store.commit(Change(session=replace(session, version=6), expected=5, events=(more,)))
        assert [event.id for event in store.events(after=last.cursor)] == [more.id]

    def test_collections_are_paged_in_order(self, store: Store) -> None:
        for number in (2, 3, 1):
            store.commit(Change(collection=a_collection(number)))
        assert [row.id for row in store.collections(limit=2)] == ["pc_0001", "pc_0002"]
        assert [row.id for row in store.collections(after="pc_0002")] == ["pc_0003"]

    def test_a_session_is_found_by_its_own_and_its_operations_references(self, store: Store) -> None:
        for number in (1, 2):
            session = self.begun(store, number)
            row = an_operation(session.id)
            store.commit(Change(session=replace(session, version=2), expected=1, operations=(row,)))
        assert store.find_session("fake", ["nix", "gw_2"]) == "ps_0002"
        assert store.find_session("fake", ["fx_ps_0001_1"]) == "ps_0001"
        assert store.find_session("other", ["gw_2", "fx_ps_0001_1"]) is None
        assert store.find_session("fake", []) is None

    def test_a_repeated_key_finds_the_last_operation_with_it(self, store: Store) -> None:
        session = self.begun(store)
        rows = tuple(an_operation(ordinal=n, idempotency_key="k" if n < 11 else None) for n in (2, 10, 11))
        store.commit(Change(session=replace(session, version=2), expected=1, operations=rows))
        found = store.repeated(session.id, "k", "zzzzzzzz")
        assert found is not None and found.ordinal == 10
        assert [row.ordinal for row in store.operations(session.id)] == [2, 10, 11]
        assert store.repeated(session.id, "other", "zzzzzzzz") is None

    def test_operations_of_one_number_are_in_the_order_of_their_times(self, store: Store) -> None:
        """What was found at the gateway has the number of the operation before it."""
        session = self.begun(store)
        rows = [
            an_operation(
                ordinal=9, id=f"{session.id}-0{name}", created_at=NOW + timedelta(microseconds=micros)
            )
            for name, micros in (("b", 2), ("c", 3), ("a", 4))
        ]
        change = Change(session=replace(session, version=2), expected=1, operations=tuple(rows[::-1]))
        store.commit(change)
        assert [row.id for row in store.operations(session.id)][-3:] == [row.id for row in rows]
        found = store.repeated(session.id, "key 9", "none")
        assert found is not None and found.id == rows[-1].id

    def test_a_repeated_call_finds_the_operation_whose_id_ends_with_its_digest(self, store: Store) -> None:
        session = self.begun(store)
        lost = an_operation(id=f"{session.id}-1-abcdefgh", idempotency_key=None, fingerprint=None)
        kept = an_operation(ordinal=2, id=f"{session.id}-2-ijklmnop", idempotency_key="k")
        other = an_operation("ps_0002", id="ps_0002-1-qrstuvwx")
        store.commit(Change(session=replace(session, version=2), expected=1, operations=(lost, kept)))
        second = self.begun(store, 2)
        store.commit(Change(session=replace(second, version=2), expected=1, operations=(other,)))
        assert store.repeated(session.id, "lost", "abcdefgh") == lost
        assert store.repeated(session.id, "k", "abcdefgh") == kept  # the last of both
        assert store.repeated(session.id, "lost", "bcdefgh") is None
        assert store.repeated(session.id, "lost", "qrstuvwx") is None

    def test_what_is_due_comes_the_longest_due_first(self, store: Store) -> None:
        for number in (3, 1, 2):
            self.begun(store, number)
        self.begun(store, 4, due_at=None)
        self.begun(store, 5, provider="other", due_at=NOW)
        assert list(store.due(NOW + timedelta(seconds=2), 10, "fake")) == ["ps_0001", "ps_0002"]
        assert list(store.due(NOW + timedelta(days=1), 2, "fake")) == ["ps_0001", "ps_0002"]
        assert list(store.due(NOW, 10, "fake")) == []
        assert list(store.due(NOW, 10, "other")) == ["ps_0005"]
        assert list(store.due(NOW, 10, "nobody")) == []

    def test_due_notifications_come_the_longest_due_first(self, store: Store) -> None:
        for number in (2, 1):
            store.commit(Change(notification=a_notification(number)))
        store.commit(Change(notification=a_notification(3, provider="other", due_at=NOW)))
        found = store.due_notifications(NOW + timedelta(days=1), 10, "fake")
        assert [row.id for row in found] == ["wh_0001", "wh_0002"]
        assert len(store.due_notifications(NOW + timedelta(days=1), 1, "fake")) == 1
        assert not store.due_notifications(NOW, 10, "fake")
        assert [row.id for row in store.due_notifications(NOW, 10, "other")] == ["wh_0003"]

    def test_providers_with_anything_due_come_the_longest_due_first(self, store: Store) -> None:
        assert list(store.due_providers(NOW + timedelta(days=1))) == []
        self.begun(store, 1, provider="a")
        self.begun(store, 2, provider="b")
        self.begun(store, 3, provider="b")
        self.begun(store, 4, provider="idle", due_at=None)
        for number, name in ((4, "c"), (3, "d"), (5, "a"), (0, "b")):
            store.commit(Change(notification=a_notification(number, provider=name)))
        store.commit(Change(notification=a_notification(9, provider="idle", due_at=None)))
        assert list(store.due_providers(NOW + timedelta(days=1))) == ["b", "a", "d", "c"]
        assert list(store.due_providers(NOW + timedelta(seconds=2))) == ["b", "a"]
        assert list(store.due_providers(NOW)) == ["b"]
        assert list(store.due_providers(NOW - timedelta(seconds=1))) == []

    def test_operations_in_doubt_come_the_oldest_first(self, store: Store) -> None:
        session = self.begun(store)
        rows = (
            an_operation(ordinal=3),
            an_operation(ordinal=1),
            an_operation(ordinal=2, state=State.PENDING),
        )
        store.commit(Change(session=replace(session, version=2), expected=1, operations=rows))
        assert [row.ordinal for row in store.in_doubt(10)] == [1, 3]
        assert len(store.in_doubt(1)) == 1

    def test_sessions_left_to_an_operator_come_the_earliest_first(self, store: Store) -> None:
        """And not those that need none."""
        store.commit(Change(collection=a_collection()))
        for number, minutes in ((1, 3), (2, 1), (3, None), (4, 2)):
            moment = None if minutes is None else NOW + timedelta(minutes=minutes)
            store.commit(Change(session=a_session(number, attention_at=moment)))
        assert [row.id for row in store.unattended(10)] == ["ps_0002", "ps_0004", "ps_0001"]
        assert [row.id for row in store.unattended(1)] == ["ps_0002"]

    def test_events_are_read_by_cursor_in_pages(self, store: Store) -> None:
        session = self.begun(store)
        for version in range(1, 6):
            changed = replace(session, version=version + 1)
            store.commit(Change(session=changed, expected=version, events=(an_event(version=version),)))
        first = store.events(limit=2)
        rest = store.events(after=first[-1].cursor, limit=10)
        assert [row.version for row in [*first, *rest]] == [1, 2, 3, 4, 5]
        assert not store.events(after=rest[-1].cursor)

    @pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "1", "-", "x-x", "'; --"])
    def test_what_is_no_cursor_is_refused(self, store: Store, cursor: str) -> None:
        with pytest.raises(ValueError):
            store.events(after=cursor)

    def test_a_cursor_whose_event_is_not_there_is_refused(self, store: Store) -> None:
        session = self.begun(store)
        for version in (1, 2):
            changed = replace(session, version=version + 1)
            store.commit(Change(session=changed, expected=version, events=(an_event(version=version),)))
        first, second = store.events()
        place, _, digest = second.cursor.rpartition("-")
        last = int(place[-1])
        beyond = f"{place[:-1]}{last + 1}-{digest}"
        another = f"{place}-{first.cursor.rpartition('-')[2]}"
        for cursor in (beyond, another):
            with pytest.raises(CursorLost, match="after=None"):
                store.events(after=cursor)

    def test_the_identity_is_kept_and_does_not_show(self, store: Store) -> None:
        secret = store.identity.secret.reveal()
        assert len(bytes.fromhex(secret)) == 32
        again = self.reopen(store).identity
        assert again == store.identity
        assert again.digest("a text") == store.identity.digest("a text") != Identity.made().digest("a text")
        assert secret not in f"{again!r} {asdict(again)!r} {vars(store)!r}"

    def test_the_clock_has_a_time_zone(self, store: Store) -> None:
        assert store.now().utcoffset() == timedelta(0)

    # --- at once ---

    def test_of_many_changes_of_one_version_one_is_made(self, store: Store) -> None:
        session = self.begun(store)
        threads = 8
        barrier = threading.Barrier(threads)

        def change(worker: int) -> int:
            won = 0
            for version in range(1, 11):
                barrier.wait()
                row = an_operation(ordinal=worker * 100 + version, reverses=None)
                changed = replace(session, version=version + 1, ordinal=worker)
                try:
                    store.commit(
                        Change(
                            session=changed,
                            expected=version,
                            operations=(row,),
                            events=(an_event(version=version),),
                            hold=1,
                        )
                    )
                    won += 1
                except Stale:
                    pass
                barrier.wait()
            return won

        with ThreadPoolExecutor(threads) as pool:
            assert sum(pool.map(change, range(threads))) == 10
        after = store.session(session.id)
        collection = store.collection("pc_0001")
        assert after is not None and collection is not None
        assert (after.version, collection.held) == (11, 10)
        assert len(store.operations(session.id)) == 10
        assert [row.version for row in store.events()] == list(range(1, 11))

    def test_holds_at_once_never_exceed_the_amount(self, store: Store) -> None:
        sessions = [self.begun(store, number) for number in range(1, 9)]

        def hold(session: SessionRow) -> bool:
            try:
                store.commit(Change(session=replace(session, version=2), expected=1, hold=1000))
            except OverLimit:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(hold, sessions)) == 4
        collection = store.collection("pc_0001")
        assert collection is not None and collection.held == 4000

    def test_a_reader_by_cursor_misses_no_event(self, store: Store) -> None:
        writers, each = 4, 25
        sessions = [self.begun(store, number) for number in range(1, writers + 1)]
        seen: list[Event] = []
        done = threading.Event()

        def write(session: SessionRow) -> None:
            for version in range(1, each + 1):
                changed = replace(session, version=version + 1)
                event = an_event(session.id, version)
                store.commit(Change(session=changed, expected=version, events=(event,)))

        def read() -> None:
            cursor: str | None = None
            while True:
                last = done.is_set()
                page: Sequence[Event] = store.events(after=cursor, limit=7)
                seen.extend(page)
                if page:
                    cursor = page[-1].cursor
                elif last:
                    return

        reader = threading.Thread(target=read)
        reader.start()
        with ThreadPoolExecutor(writers) as pool:
            list(pool.map(write, sessions))
        done.set()
        reader.join()
        for session in sessions:
            versions = [row.version for row in seen if row.session_id == session.id]
            assert versions == list(range(1, each + 1))
