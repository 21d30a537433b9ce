"""What the tests of evidence share: sessions and operations as they were, and the ledger after something came."""

from datetime import timedelta

from helpers import NOW, a_session, eur
from paysession import (
    Capabilities,
    State,
    Status,
)
from paysession._ledger.evidence import (
    from_answer,
    from_effects,
    from_snapshot,
)
from paysession._ledger.ledger import Ledger
from paysession._ledger.rules import Request, begin
from paysession.operation import Operation
from paysession.values import replace

LATER = NOW + timedelta(minutes=1)
CAN = Capabilities(capture="multiple", refund="multiple", lookup="consistent", increment=True)
LAGGING = replace(CAN, lookup="lagging", lookup_lag=timedelta(hours=1))
TOLD = Capabilities(capture="multiple", refund="multiple")
"""A gateway that cannot be queried, but notifies."""


def at_gateway(status=Status.PENDING, **changes):
    return a_session(status, **{"reference": "pi_1"} | changes)


def authorized(**changes):
    return at_gateway(Status.AUTHORIZED, **{"granted": 4200, "authorized": 4200, "held": 4200} | changes)


def canceled(**changes):
    return at_gateway(Status.CANCELED, **{"released": True} | changes)


def an_operation(kind, amount="42.00", state=State.SUCCEEDED, place=1, **changes):
    given = {"session_status": Status.AUTHORIZED} | changes
    return Operation(
        id=f"ps_1-{place}-{kind}", session_id="ps_1", kind=kind, ordinal=place, amount=eur(amount),
        state=state, created_at=NOW, updated_at=NOW, **given,
    )  # fmt: skip


def in_doubt(session, kind, amount="42.00", **changes):
    """Return a session with an operation in doubt, and the operation."""
    operation = an_operation(kind, amount, State.STARTED, 2, **{"session_status": session.status} | changes)
    return replace(session, open=operation.id), operation


def answered(
    session, kind, answer, amount=None, *, capabilities=CAN, meanwhile=None, others=(), note=None, **request
):
    """Return the ledger once a request was answered, and the operation.

    ``meanwhile`` is what changed of the session since it was sent, ``others`` what else was recorded.
    """
    ledger, operation = begin(session, Request(kind, amount, **request), capabilities, NOW)
    ledger = Ledger(replace(ledger.session, **meanwhile or {}), LATER, [operation, *others])
    from_answer(ledger, operation, answer, capabilities, note=note)
    return ledger, ledger.written[operation.id]


def reported(session, *effects, operations=(), conflicts=(), patient=False, capabilities=TOLD, room=0):
    """Return the ledger once a notification was recorded, and whether all of it was."""
    ledger = Ledger(session, LATER, operations, conflicts)
    recorded = from_effects(ledger, effects, capabilities, room=room, patient=patient)
    return ledger, recorded


def notified(session, *effects, **options):
    """Return the ledger once a notification of a gateway that cannot be queried was recorded."""
    ledger, _ = reported(session, *effects, **options)
    return ledger


def looked(session, snapshot, *operations, capabilities=None, fresh=True, room=0, conflicts=(), **options):
    """Return the ledger once a lookup was recorded; without ``fresh`` it may be of an hour ago."""
    ledger = Ledger(session, LATER, operations, conflicts)
    capabilities = capabilities or (CAN if fresh else LAGGING)
    from_snapshot(ledger, snapshot, capabilities, **{"asked_at": LATER, "room": room} | options)
    return ledger


def of_kind(ledger, kind):
    return [row for row in ledger.operations if row.kind is kind]


def events(ledger):
    return [type_ for type_, _, _ in ledger.events]


def kinds(ledger):
    return [conflict.kind for conflict in ledger.opened]
