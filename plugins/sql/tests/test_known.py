"""What a SQLite store does not read or write again: sessions as it has written them itself."""

import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import pytest

from paysession import Money, Payer
from paysession.change import Change
from paysession.store import OverLimit, Stale
from paysession.values import replace
from paysession_sql import SqliteStore, known
from paysession_sql.places import Call
from paysession_sql.schema import OPERATION, SESSION
from paysession_testing.stores import a_collection, a_session, an_operation


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/books.db"


@pytest.fixture
def store(url):
    store = SqliteStore.open(url)
    store.commit(Change(collection=a_collection()))
    yield store
    store.close()


@pytest.fixture
def other(store):
    connection = sqlite3.connect(store.path, isolation_level=None)
    yield connection
    connection.close()


@pytest.fixture
def said(store):
    """Return a list of what is executed on the connection that writes, from now on."""
    texts = []
    store._places.connections[0].set_trace_callback(texts.append)
    return texts


def changed(session, **attributes):
    """Return a change of a session that is written next."""
    return Change(
        session=replace(session, version=session.version + 1, **attributes), expected=session.version
    )


def begun(store, number=1):
    session = a_session(number)
    store.commit(Change(session=session, operations=(an_operation(session.id),)))
    return session


def test_a_session_is_not_read_again_after_this_store_wrote_it(store, said):
    session = begun(store)
    assert store.session(session.id) == session
    assert not [text for text in said if text.startswith("SELECT")]


def test_a_session_is_read_once_while_nobody_writes(store, url):
    session = begun(store)
    reader = SqliteStore.open(url)
    assert reader.session(session.id) == session
    texts = []
    reader._places.connections[0].set_trace_callback(texts.append)
    assert reader.session(session.id) == session
    assert not [text for text in texts if text.startswith("SELECT")]
    reader.close()


@pytest.mark.parametrize("moves", [True, False])
def test_a_session_that_somebody_else_wrote_is_read_again(store, other, moves):
    session = begun(store)
    assert store.session(session.id) == session
    other.execute("UPDATE session SET reference = 'by hand', version = version + ?", (moves,))
    expected = replace(session, reference="by hand", version=session.version + moves)
    assert store.session(session.id) == expected
    store.commit(changed(expected, reference="again"))
    assert store.session(session.id).reference == "again"


@pytest.fixture
def busy(store):
    """Keep the connection that writes in use, so that reads take another one."""
    blocker = Call()
    assert store._places.take(0, blocker)
    yield
    store._places.leave(blocker)


def test_a_known_session_is_only_looked_at_while_the_connection_that_writes_is_in_use(store, request):
    session = begun(store)
    request.getfixturevalue("busy")
    assert store.session(session.id) == session
    texts = []
    store._places.connections[1].set_trace_callback(texts.append)
    assert store.session(session.id) == session
    assert texts == [f"SELECT version, updated_at FROM session WHERE id = '{session.id}'"]


def test_a_session_that_another_process_wrote_is_read_while_the_connection_that_writes_is_in_use(
    store, url, request
):
    session = begun(store)
    another = SqliteStore.open(url)
    next_ = changed(session, reference="by another")
    another.commit(next_)
    another.close()
    request.getfixturevalue("busy")
    assert store.session(session.id) == next_.session


def test_a_session_of_a_restored_backup_is_read_while_the_connection_that_writes_is_in_use(
    store, other, request
):
    session = begun(store)
    other.execute("UPDATE session SET reference = 'restored', updated_at = updated_at - 1")
    request.getfixturevalue("busy")
    assert store.session(session.id).reference == "restored"


def test_a_session_that_was_deleted_is_gone_while_the_connection_that_writes_is_in_use(store, other, request):
    session = begun(store)
    other.execute("DELETE FROM session")
    request.getfixturevalue("busy")
    assert store.session(session.id) is None


def test_a_group_looks_whether_others_have_written(store, other):
    session, another = begun(store), begun(store, 2)
    other.execute("UPDATE session SET reference = 'by hand'")
    results = together(store, changed(another), Change(collection=a_collection(2)))
    assert results == [None, None]
    assert store._known.last(session.id) is None
    assert store.session(session.id).reference == "by hand"


@pytest.mark.parametrize("alone", [True, False])
def test_a_change_is_whole_over_what_somebody_else_wrote_under_the_same_version(store, other, alone):
    session = begun(store)
    other.execute("UPDATE session SET reference = 'restored'")
    change = changed(session, captured=7)
    if alone:
        store.commit(change)
    else:
        together(store, change, changed(replace(a_session(9), version=3)))
    assert other.execute("SELECT reference, captured FROM session").fetchall() == [(session.reference, 7)]


def test_a_session_that_somebody_else_deleted_is_gone(store, other):
    session = begun(store)
    other.execute("DELETE FROM session")
    assert store.session(session.id) is None
    with pytest.raises(Stale):
        store.commit(changed(session))


def test_a_change_decided_on_what_is_no_more_is_refused_however_well_the_row_is_known(store, other):
    session = begun(store)
    other.execute("UPDATE session SET version = 9")
    with pytest.raises(Stale):
        store.commit(changed(session))
    assert store.session(session.id).version == 9


def test_a_refused_change_is_not_what_is_read_next(store):
    session = begun(store)
    next_ = changed(session, reference="first")
    store.commit(next_)
    with pytest.raises(Stale):
        store.commit(changed(session, reference="second"))
    with pytest.raises(OverLimit):
        store.commit(changed(next_.session)._replace(hold=10**9))
    assert store.session(session.id) == next_.session


def test_a_change_names_only_what_it_changes(store, said):
    session, operation = a_session(), an_operation()
    store.commit(Change(session=session, operations=(operation,)))
    del said[:]
    operation = replace(operation, note="noted")
    store.commit(changed(session, captured=7)._replace(operations=(operation,)))
    updates = [text for text in said if text.startswith("UPDATE")]
    assert updates == [
        f'UPDATE session SET "version" = 2, "captured" = 7 WHERE id = \'{session.id}\' AND version = 1',
        f"UPDATE operation SET \"note\" = 'noted' WHERE id = '{operation.id}'",
    ]
    assert list(store.operations(session.id)) == [operation]


def another(place, value):
    """Return another value for an attribute."""
    if place.nullable and value is not None:
        return None
    match value:
        case None:  # of all times only `forgotten_at` is
            return datetime(2026, 11, 30, tzinfo=UTC)
        case StrEnum():
            return next(word for word in type(value) if word is not value)
        case bool():
            return not value
        case int():
            return value + 1
        case datetime():
            return value + timedelta(seconds=1)
        case Money():
            return replace(value, minor=value.minor + 1)
    return f"{value} "


@pytest.mark.parametrize("place", SESSION.places, ids=lambda place: place.attribute)
def test_every_attribute_of_a_session_can_be_the_only_one_that_changes(store, url, place):
    if place.fixed or place.attribute == "version":
        return
    session, reader, name = begun(store), SqliteStore.open(url), place.attribute.lstrip("_")
    value = getattr(session, place.attribute)
    for part in (another(place, value), value):
        change = changed(session, **{name: part})
        store.commit(change)
        session = change.session
        assert reader.session(session.id) == session
    reader.close()


@pytest.mark.parametrize("place", OPERATION.places, ids=lambda place: place.attribute)
def test_every_attribute_of_an_operation_can_be_the_only_one_that_changes(store, url, place):
    if place.fixed:
        return
    session, operation, name = a_session(), an_operation(), place.attribute.lstrip("_")
    store.commit(Change(session=session, operations=(operation,)))
    reader, value = SqliteStore.open(url), getattr(operation, place.attribute)
    for part in (another(place, value), value):
        operation = replace(operation, **{name: part})
        change = changed(session)._replace(operations=(operation,))
        store.commit(change)
        session = change.session
        assert list(reader.operations(session.id)) == [operation]
    reader.close()


def test_an_operation_that_somebody_else_deleted_is_written_whole(store, other):
    session = begun(store)
    other.execute("DELETE FROM operation")
    operation = replace(an_operation(session.id), note="noted")
    store.commit(changed(session)._replace(operations=(operation,)))
    assert list(store.operations(session.id)) == [operation]


def test_what_is_erased_is_erased_from_a_known_row_as_well(store, other):
    session = replace(a_session(), payer=Payer(email="payer@example.com"))
    store.commit(Change(session=session))
    store.commit(changed(session, payer=None)._replace(erased=True))
    assert store.session(session.id).payer is None
    assert other.execute("SELECT payer FROM session").fetchone() == (None,)


def test_no_more_sessions_are_kept_than_are_in_progress(store):
    for number in range(known.MOST + 3):
        begun(store, number)
    kept = store._known._rows
    assert len(kept) == known.MOST
    assert a_session(known.MOST + 2).id in kept
    assert a_session(2).id not in kept


def together(store, *changes):
    """Commit changes in one group, in this order, and return what became of each."""
    blocker, results, threads = Call(), {}, []

    def commit(place, change):
        try:
            results[place] = store.commit(change)
        except Exception as error:  # noqa: BLE001 - returned
            results[place] = error

    assert store._places.take(0, blocker)
    for place, change in enumerate(changes):
        threads.append(threading.Thread(target=commit, args=(place, change)))
        threads[-1].start()
        while len(store._places.waiting) <= place:
            pass
    store._places.leave(blocker)
    for thread in threads:
        thread.join(20)
    return [results[place] for place in range(len(changes))]


def test_a_group_needs_no_savepoints_if_what_is_refused_has_written_nothing(store, said):
    session, another = begun(store), begun(store, 2)
    first, second = changed(session), changed(session, reference="second")
    del said[:]
    results = together(store, first, second, changed(another, reference="third"))
    assert [type(result) for result in results] == [type(None), Stale, type(None)]
    assert said.count("COMMIT") == 1
    assert not [text for text in said if "SAVEPOINT" in text]
    assert store.session(session.id) == first.session
    assert store.session(another.id).reference == "third"


def test_what_a_refused_change_wrote_before_in_a_group_is_undone_and_the_others_stand(store):
    session, another = begun(store), begun(store, 2)
    first, second = changed(session), changed(session)._replace(hold=40)
    results = together(store, first, second, changed(another, reference="third")._replace(hold=2))
    assert [type(result) for result in results] == [type(None), Stale, type(None)]
    assert store.collection(session.collection_id).held == 2
    assert store.session(session.id) == first.session
    assert store.session(another.id).reference == "third"


def test_a_change_that_cannot_be_written_fails_alone_in_a_group(store):
    session, another = begun(store), begun(store, 2)
    wrong = an_operation(session.id, 2, hold=2**70)
    results = together(
        store, changed(session)._replace(operations=(wrong,)), changed(another, reference="second")
    )
    assert "could not be written" in str(results[0])
    assert results[1] is None
    assert store.session(session.id) == session
    assert store.session(another.id).reference == "second"
