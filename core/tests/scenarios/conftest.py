"""Replay: in every scenario, what each commit writes of a session is what its operations give."""

import pytest

from paysession import MemoryStore
from paysession.operation import Kind

SUMS = {
    Kind.CAPTURE: ("captured", "capturing"),
    Kind.REFUND: ("refunded", "refunding"),
    Kind.CHARGEBACK: ("charged_back", None),
}
"""What each kind adds to once it has succeeded, and while it is pending."""


def replayed(rows):
    """Return what a session's operations give of its row, whatever the rules made of them."""
    found = dict.fromkeys(["pending", *(name for pair in SUMS.values() for name in pair if name)], 0)
    for row in rows:
        done, waits = SUMS.get(row.kind, (None, None))
        if row.state == "pending" and row.kind is not Kind.CHARGEBACK:
            found["pending"] += 1
            if waits is not None:
                found[waits] += row.amount.minor
        elif row.state == "succeeded" and done is not None:
            found[done] += -row.amount.minor if row.reverses else row.amount.minor
    authorizing = [row.id for row in rows if row.kind is Kind.AUTHORIZE and row.state == "pending"]
    started = [row.id for row in rows if row.state == "started"]
    return {**found, "authorizing": authorizing, "open": started}


@pytest.fixture(autouse=True)
def _every_commit_can_be_replayed(monkeypatch):
    """Compare each session that is committed with its operations, in every test."""
    commit = MemoryStore.commit
    found = []

    def compared(store, change):
        commit(store, change)
        row = change.session
        if row is None or store.session(row.id) is not row:
            return  # another thread has committed since
        expected = replayed(store.operations(row.id))
        kept = {name: getattr(row, name) for name in expected}
        for name in ("authorizing", "open"):
            kept[name] = [kept[name]] if kept[name] is not None else []
        if store.session(row.id) is row and kept != expected:
            found.append(f"{row.id}: the session has {kept}, its operations give {expected}")
        if row.status in ("authorized", "canceled") and row.granted > 0:
            capped = row.captured + row.capturing
            derived = capped if row.released else max(row.granted, capped)
            opened = store.operation(row.open) if row.open is not None else None
            raising = opened.hold if opened is not None and opened.increments and not row.released else 0
            if (row.authorized, row.held) != (derived, derived + raising):
                found.append(f"{row.id}: {row.authorized} is authorized and {row.held} held, not {derived}")

    monkeypatch.setattr(MemoryStore, "commit", compared)
    yield
    assert not found, found[0]
