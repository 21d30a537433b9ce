"""How long rows are kept that payments themselves do not need."""

from datetime import timedelta

import pytest

from paysession import MemoryStore, Payments, Pruned, Retention, SettingsError
from paysession import payments as module
from paysession._plugins.registry import Registry
from paysession.change import Change
from paysession.values import replace
from paysession_testing import FakeProvider
from paysession_testing.stores import NOW, a_collection, a_notification, a_session, an_event


@pytest.fixture
def store():
    store = MemoryStore(clock=lambda: NOW)
    store.commit(Change(collection=a_collection()))
    session = a_session()
    store.commit(Change(session=session))
    for number in range(1, 8):
        age = timedelta(days=700 - number * 100)
        event = replace(an_event(session.id, number), occurred_at=NOW - age)
        store.commit(Change(session=replace(session, version=number + 1), expected=number, events=(event,)))
        store.commit(
            Change(notification=a_notification(number, received_at=NOW - age, due_at=None, state="processed"))
        )
    return store


@pytest.mark.parametrize("most", [2, 1000])
def test_what_is_older_than_the_retention_is_pruned_batch_by_batch(store, most, monkeypatch):
    monkeypatch.setattr(module, "PRUNED_AT_ONCE", most)
    with Payments(store, Registry({"fake": FakeProvider()})) as payments:
        assert payments.prune(dry_run=True) == Pruned(6, 1)
        assert len(payments.events()) == 7
        assert payments.prune(limit=1) == Pruned(1, 1)
        assert payments.prune() == Pruned(5, 0)
        assert payments.prune() == Pruned(0, 0)
        assert len(payments.events()) == 6
        assert payments.prune(Retention(notifications=None, events=timedelta(days=150))) == Pruned(0, 3)
        assert payments.prune(Retention(notifications=None, events=timedelta.max)) == Pruned(0, 0)


def test_the_retention_is_a_setting(tmp_path):
    file = tmp_path / "paysession.toml"
    file.write_text('store = "memory:"\n[retention]\nnotifications = 7\nevents = "forever"\n')
    with Payments.open(config=file, providers=[]) as payments:
        assert payments.retention == Retention(notifications=timedelta(days=7), events=None)
    with Payments.open("memory:", providers=[]) as payments:
        assert payments.retention == Retention()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("retention = 7", "retention is a table"),
        ("[retention]\nevent = 7", "unknown setting 'event'"),
        ("[retention]\nevents = 0", "a day or more"),
        ("[retention]\nevents = true", "a number of days"),
        ('[retention]\nevents = "never"', "a number of days"),
        ("[retention]\nevents = 999999999999", "forever"),
    ],
)
def test_what_is_no_retention_is_refused(tmp_path, line, sentence):
    file = tmp_path / "paysession.toml"
    file.write_text(f'store = "memory:"\n{line}\n')
    with pytest.raises(SettingsError, match=sentence):
        Payments.open(config=file, providers=[])
