"""Rows are made without ``__init__``: that they have all attributes, and that a misspelled one is found."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from attrs import fields

from paysession import Capabilities, Event, Kind, Money, Operation
from paysession._ledger import ledger
from paysession._ledger.rules import Request, begin
from paysession.session import SessionRow
from paysession.values import Failure, new, replace

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def names(cls):
    return {part.name for part in fields(cls)}


def begun():
    session = SessionRow(
        id="ps_1", collection_id="pc_1", collection_reference="r", provider="p", amount=Money("42.00", "EUR"),
        created_at=NOW, updated_at=NOW, initiated=True,
    )  # fmt: skip
    return begin(session, Request(Kind.AUTHORIZE), Capabilities(), NOW)


def test_an_operation_that_begins_has_all_attributes():
    assert set(vars(begun()[1])) == names(Operation)


def test_an_event_has_all_attributes():
    change = begun()[0]
    change._record("session.changed")
    (event,) = change.change().events
    assert set(vars(event)) == names(Event)


@pytest.mark.parametrize(
    ("changes", "cls"),
    [(ledger._Changes, Operation), (ledger._Extra, Operation), (ledger._Row, SessionRow)],
    ids=["changes of an operation", "what is found", "a session's row"],
)
def test_what_the_ledger_may_change_are_attributes_of_the_row(changes, cls):
    assert set(changes.__annotations__) <= names(cls)


def test_a_copy_and_a_new_value_take_the_names_of_init():
    _, operation = begun()
    assert replace(operation, payload='{"a":1}').payload == {"a": 1}
    assert replace(operation, payload='{"a":1}', note="n")._data == operation._data
    assert new(Failure, {}, code="a", message="b", category=None, payer_message_key=None).code == "a"


WRONG = """
from paysession import Operation
from paysession._ledger.ledger import Ledger
from paysession.values import Failure, new, replace

def wrong(ledger: Ledger, operation: Operation) -> None:
    replace(operation, atempt=1)
    replace(operation, attempt="1")
    new(Failure, {}, cod="a", message="b")
    ledger._put(operation, stat=None)
    ledger.row.autorized = 1
    operation.atempt
"""


@pytest.mark.slow
def test_a_misspelled_attribute_and_a_wrong_type_fail_the_check_of_types(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", tmp_path / "wrong.py"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert found == set(range(7, 13)), done.stdout
