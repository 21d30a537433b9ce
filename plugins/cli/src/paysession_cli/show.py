"""How values are shown: as tables for people, as JSON for scripts. A session's ``data`` is neither."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict
from rich.table import Table
from rich.text import Text

from paysession import Kind, Money, State
from paysession_cli.terminal import Terminal, json_line, visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta
    from decimal import Decimal

    from paysession import (
        Conflict,
        Dispute,
        Event,
        Health,
        InDoubt,
        Operation,
        PaymentCollection,
        PaymentSession,
        PaysessionError,
        ProviderInfo,
        Resync,
        Unmatched,
    )

__all__ = [
    "collection_json",
    "conflict_json",
    "console",
    "doubt_json",
    "emit",
    "error_json",
    "event_json",
    "failed_later",
    "health_json",
    "operation_json",
    "print_table",
    "provider_json",
    "resync_json",
    "resync_line",
    "session_json",
    "show_collections",
    "show_conflicts",
    "show_doubts",
    "show_events",
    "show_health",
    "show_history",
    "show_providers",
    "show_recovery",
    "show_resync",
    "show_session",
    "show_sessions",
    "show_unmatched",
    "text",
    "unmatched_json",
]

STYLES = {
    "authorized": "green",
    "captured": "green",
    "succeeded": "green",
    "refunded": "cyan",
    "requires_more": "yellow",
    "pending": "yellow",
    "started": "yellow",
    "error": "red",
    "declined": "red",
    "canceled": "dim",
    "not_applied": "dim",
}


def console() -> Terminal:
    """Return the console that writes to standard output as it is now."""
    return Terminal()


def emit(tree: Any, *, indent: int | None = 2) -> None:
    """Write JSON to standard output; without an indent, on one line."""
    sys.stdout.write(json_line(tree, indent=indent))


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


def _clock(moment: datetime) -> str:
    return moment.strftime("%m-%d %H:%M:%S")


def _money(money: Money) -> dict[str, str]:
    return {"amount": f"{money.amount:f}", "currency": money.currency}


def text(words: str, style: str = "") -> Text:
    """Return a text of one line, with what would act on a terminal made visible."""
    return Text(visible(words), style=style)


def _word(word: str) -> Text:
    return text(word, STYLES.get(word, ""))


def _minor(minor: int, session: PaymentSession) -> Decimal:
    return Money.from_minor(minor, session.amount.currency).amount


def _pending(session: PaymentSession) -> str:
    """Return what the gateway has accepted and not finished, such as ``refund 5.00``, or nothing."""
    parts = [
        f"{kind} {_minor(minor, session):f}"
        for kind, minor in ((Kind.CAPTURE, session.capturing), (Kind.REFUND, session.refunding))
        if minor
    ]
    if session.authorizing is not None:
        parts.append(str(Kind.AUTHORIZE))
    return ", ".join(parts) or ("an operation" if session.pending else "")


def failed_later(operations: Sequence[Operation]) -> list[Operation]:
    """Return the operations that a gateway had accepted and that failed, or were undone, afterwards.

    The call that asked for them did not say so. Those that the session shows by itself are left
    out: a payment that failed is its error, a dispute that was won is no failure.
    """
    kinds = (Kind.CAPTURE, Kind.REFUND, Kind.CANCEL)
    refused = (State.DECLINED, State.NOT_APPLIED)
    return [
        row
        for row in operations
        if row.kind in kinds
        and (row.reverses is not None or (row.state in refused and row.answer in ("failed", "pending")))
    ]


# --- JSON -----------------------------------------------------------------------------------------


def collection_json(collection: PaymentCollection) -> dict[str, Any]:
    """Return a collection as JSON values."""
    return {
        "id": collection.id,
        "reference": collection.reference,
        "status": collection.status,
        **_money(collection.amount),
        "authorized": f"{collection.authorized_amount.amount:f}",
        "captured": f"{collection.captured_amount.amount:f}",
        "refunded": f"{collection.refunded_amount.amount:f}",
        "charged_back": f"{collection.charged_back_amount.amount:f}",
        "by": collection.by,
        "created_at": _time(collection.created_at),
        "updated_at": _time(collection.updated_at),
    }


def session_json(session: PaymentSession) -> dict[str, Any]:
    """Return a session as JSON values."""
    action = session.next_action
    return {
        "id": session.id,
        "collection_id": session.collection_id,
        "collection_reference": session.collection_reference,
        "provider": session.provider,
        "status": str(session.status),
        "in_doubt": session.in_doubt,
        **_money(session.amount),
        "authorized": f"{session.authorized_amount.amount:f}",
        "captured": f"{session.captured_amount.amount:f}",
        "refunded": f"{session.refunded_amount.amount:f}",
        "charged_back": f"{session.charged_back_amount.amount:f}",
        "disputes": session.disputes,
        "capturable": f"{session.capturable_amount.amount:f}",
        "refundable": f"{session.refundable_amount.amount:f}",
        "pending": session.pending,
        "capturing": f"{_minor(session.capturing, session):f}",
        "refunding": f"{_minor(session.refunding, session):f}",
        "capture": session.capture,
        "reference": session.reference,
        "next_action": action.to_json() if action is not None else None,
        "expires_at": _time(session.expires_at),
        "error": asdict(session.error) if session.error is not None else None,
        "conflict": session.conflict,
        "version": session.version,
        "created_at": _time(session.created_at),
        "updated_at": _time(session.updated_at),
    }


def operation_json(operation: Operation) -> dict[str, Any]:
    """Return an operation as JSON values."""
    return {
        "id": operation.id,
        "session_id": operation.session_id,
        "kind": str(operation.kind),
        **_money(operation.amount),
        "state": str(operation.state),
        "origin": operation.origin,
        "by": operation.by,
        "answer": operation.answer,
        "reference": operation.reference,
        "idempotency_key": operation.idempotency_key,
        "capture": operation.capture_id,
        "reverses": operation.reverses,
        "reason": operation.reason,
        "final": operation.final,
        "error": asdict(operation.error) if operation.error is not None else None,
        "note": operation.note,
        "dispute": _dispute_json(operation.dispute),
        "created_at": _time(operation.created_at),
        "updated_at": _time(operation.updated_at),
    }


def _dispute_json(dispute: Dispute | None) -> dict[str, Any] | None:
    if dispute is None:
        return None
    return {
        "status": dispute.status,
        "reason": dispute.reason,
        "evidence_due_by": _time(dispute.evidence_due_by),
        "fee": _money(dispute.fee) if dispute.fee is not None else None,
    }


def event_json(event: Event) -> dict[str, Any]:
    """Return an event as JSON values."""
    return {
        "cursor": event.cursor,
        "id": event.id,
        "type": event.type,
        "session_id": event.session_id,
        "collection_id": event.collection_id,
        "reference": event.reference,
        "provider": event.provider,
        "operation_id": event.operation_id,
        "by": event.by,
        **_money(event.amount),
        "status": str(event.status) if event.status is not None else None,
        "authorized": f"{event.authorized_amount.amount:f}",
        "captured": f"{event.captured_amount.amount:f}",
        "refunded": f"{event.refunded_amount.amount:f}",
        "charged_back": f"{event.charged_back_amount.amount:f}",
        "version": event.version,
        "detail": event.detail,
        "occurred_at": _time(event.occurred_at),
    }


def provider_json(provider: ProviderInfo) -> dict[str, Any]:
    """Return a provider as JSON values."""
    capabilities = provider.capabilities
    return {
        "name": provider.name,
        "distribution": provider.distribution,
        "selected": provider.selected,
        "offered": provider.offered,
        "mode": provider.mode,
        "problem": provider.problem,
        "capabilities": None
        if capabilities is None
        else {
            "capture": capabilities.capture,
            "refund": capabilities.refund,
            "lookup": capabilities.lookup,
            "local": capabilities.local,
            "operator_only": capabilities.operator_only,
        },
    }


def doubt_json(doubt: InDoubt) -> dict[str, Any]:
    """Return an operation in doubt as JSON values."""
    return {
        "order_reference": doubt.reference,
        "provider": doubt.provider,
        "operation": operation_json(doubt.operation),
        "age_seconds": round(doubt.age.total_seconds(), 3),
        "reason": doubt.reason,
        "next_check": _time(doubt.next_check),
        "needs_operator": doubt.needs_operator,
        "leased_until": _time(doubt.leased_until),
    }


def health_json(health: Health) -> dict[str, Any]:
    """Return how payments are as JSON values; durations are in seconds.

    While the database cannot be read nobody knows the figures: they are null.
    """
    known = health.store is None

    def count(figure: int) -> int | None:
        return figure if known else None

    def seconds(duration: timedelta | None) -> float | None:
        return None if duration is None or not known else round(duration.total_seconds(), 3)

    return {
        "failing": health.failing,
        "problems": list(health.problems),
        "at": _time(health.at),
        "store": health.store,
        "in_doubt": count(health.in_doubt),
        "oldest_doubt_seconds": seconds(health.oldest_doubt),
        "needs_operator": count(health.needs_operator),
        "conflicts": count(health.conflicts),
        "unmatched": count(health.unmatched),
        "recovery_lag_seconds": seconds(health.recovery_lag),
        "inbox_lag_seconds": seconds(health.inbox_lag),
        "feed_lag_seconds": seconds(health.feed_lag),
        "unselected": list(health.unselected) if known else None,
    }


def conflict_json(conflict: Conflict) -> dict[str, Any]:
    """Return a conflict as JSON values."""
    return {
        "id": conflict.id,
        "session_id": conflict.session_id,
        "kind": conflict.kind,
        "expected": conflict.expected,
        "found": conflict.found,
        "opened_at": _time(conflict.opened_at),
        "closed_at": _time(conflict.closed_at),
        "closed_by": conflict.closed_by,
        "note": conflict.note,
    }


def error_json(error: PaysessionError) -> dict[str, Any]:
    """Return an error as JSON values."""
    return {
        "error": {
            "type": type(error).__name__,
            "message": str(error),
            "code": getattr(error, "code", None),
            "session_id": error.session_id,
            "operation_id": error.operation_id,
        }
    }


# --- tables ---------------------------------------------------------------------------------------


_PAD: Final = 2
"""Spaces between two columns."""

_WORDS: Final = 16
"""Columns of words are folded, but not narrower than that."""


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False, box=None)
    for column in columns:
        right = column in ("amount", "authorized", "captured", "refunded")
        words = column in ("note", "reason", "problem", "reference", "for", "expected", "found")
        table.add_column(column, justify="right" if right else "left", no_wrap=not words, overflow="fold")
    return table


def show_collections(collections: Sequence[PaymentCollection]) -> None:
    """Show collections as a table."""
    table = _table("collection", "reference", "status", "amount", "authorized", "captured", "refunded")
    for row in collections:
        table.add_row(
            text(row.id),
            text(row.reference),
            _word(row.status),
            str(row.amount),
            f"{row.authorized_amount.amount:f}",
            f"{row.captured_amount.amount:f}",
            f"{row.refunded_amount.amount:f}",
        )
    _print(table, collections, "no collections yet; create one with: paysession collection create")


def show_sessions(sessions: Sequence[PaymentSession]) -> None:
    """Show sessions as a table; what is pending only if something is."""
    pending = ("pending",) if any(row.pending for row in sessions) else ()
    table = _table(
        "session", "for", "provider", "status", "amount", "authorized", "captured", "refunded", *pending
    )
    for row in sessions:
        table.add_row(
            text(row.id),
            text(row.collection_reference),
            text(row.provider),
            _word(str(row.status)),
            str(row.amount),
            f"{row.authorized_amount.amount:f}",
            f"{row.captured_amount.amount:f}",
            f"{row.refunded_amount.amount:f}",
            *(text(_pending(row), "yellow") for _ in pending),
        )
    _print(table, sessions, "no sessions")


def show_session(
    session: PaymentSession, conflicts: Sequence[Conflict] = (), failed: Sequence[Operation] = ()
) -> None:
    """Show one session and what its payer is to do, and where they were read conflicts and failures."""
    out = console()
    out.print(text(f"{session.id}  {session.provider}  for {session.collection_reference}"))
    out.print(
        _word(str(session.status)),
        f"{session.amount}: authorized {session.authorized_amount.amount:f}, captured "
        f"{session.captured_amount.amount:f}, refunded {session.refunded_amount.amount:f}"
        + (f", charged back {session.charged_back_amount.amount:f}" if session.charged_back else ""),
    )
    if session.disputes:
        out.print(text("a dispute is not decided: see `paysession session history`", style="yellow"))
    if session.in_doubt:
        out.print(text(f"in doubt: {session.open}; `paysession recover` settles it", "yellow"))
    if session.pending:
        words = f"pending: {_pending(session)}, which the gateway accepted and has not finished"
        out.print(text(words, style="yellow"))
    for operation in failed:
        how = "was undone" if operation.reverses is not None else "failed after the gateway had accepted it"
        why = "" if operation.error is None else f": {operation.error.code}: {operation.error.message}"
        moment = _clock(operation.updated_at)
        out.print(text(f"{operation.kind} of {operation.amount} {how}, {moment}{why}", style="red"))
    if session.error is not None:
        out.print(text(f"error: {session.error.code}: {session.error.message}", style="red"))
    for row in conflicts:
        out.print(text(f"conflict: {row.kind} since {_clock(row.opened_at)}: {row.id}", style="red"))
        out.print(text(f"  expected: {row.expected}"))
        out.print(text(f"  found: {row.found}"))
    if session.conflict is not None and not conflicts:
        out.print(text(f"conflict: {session.conflict}; see `paysession session show`", style="red"))
    action = session.next_action
    if action is not None:
        out.print(text(f"next: {type(action).__name__}", style="yellow"))
        for name, value in asdict(action).items():
            if isinstance(value, dict):
                for key, shown in value.items():
                    out.print(text(f"  {key}: {shown}"))
            else:
                out.print(text(f"  {name}: {value}"))


def show_history(operations: Sequence[Operation], *, ids: bool = True) -> None:
    """Show a session's operations as a timeline, with their ids or without."""
    more = ("id",) if ids else ()
    table = _table("#", *more, "time (UTC)", "operation", "amount", "state", "by", "note")
    for row in operations:
        said = row.note or (f"{row.error.code}: {row.error.message}" if row.error is not None else "")
        if row.dispute is not None:
            said = f"{row.dispute.summary}; {said}" if said else row.dispute.summary
        kind = f"{row.kind} (reversed)" if row.reverses is not None else str(row.kind)
        table.add_row(
            str(row.ordinal),
            *(text(row.id) for _ in more),
            _clock(row.created_at),
            kind,
            str(row.amount),
            _word(str(row.state)),
            text(row.by or row.origin),
            text(said),
        )
    _print(table, operations, "no operations")


def show_events(
    events: Sequence[Event], kinds: Mapping[str, str] | None = None, *, references: bool = True
) -> None:
    """Show events as a table.

    Args:
        events: The events.
        kinds: The kinds of operations, by the ids of events that do not say it.
        references: Whether they are of several collections, whose references are shown.
    """
    more = ("operation",) if kinds else ()
    whose = ("for",) if references else ()
    table = _table("cursor", "time (UTC)", "event", *more, *whose, "by", "amount", "captured", "refunded")
    for row in events:
        table.add_row(
            text(row.cursor),
            _clock(row.occurred_at),
            text(row.type),
            *((kinds or {}).get(row.id, "") for _ in more),
            *(text(row.reference) for _ in whose),
            text(row.by or ""),
            str(row.amount),
            f"{row.captured_amount.amount:f}",
            f"{row.refunded_amount.amount:f}",
        )
    _print(table, events, "no events")


def show_providers(providers: Sequence[ProviderInfo]) -> None:
    """Show providers as a table, with what is wrong with each."""
    table = _table(
        "provider", "from", "selected", "offered", "mode", "capture", "refund", "lookup", "problem"
    )
    for row in providers:
        can = row.capabilities
        table.add_row(
            text(row.name),
            text(row.distribution),
            "yes" if row.selected else "no",
            "yes" if row.offered else "operators" if can and can.operator_only else "no",
            text(row.mode or "", style="bold red" if row.mode == "live" else ""),
            can.capture if can else "",
            can.refund if can else "",
            ("local" if can.local else can.lookup) if can else "",
            text(row.problem or "", style="red"),
        )
    _print(table, providers, "no providers are installed; try: pip install paysession-manual")


def show_doubts(doubts: Sequence[InDoubt]) -> None:
    """Show operations in doubt as a table."""
    table = _table(
        "for", "provider", "operation", "kind", "amount", "age", "next check (UTC)", "who", "reason"
    )
    for row in doubts:
        table.add_row(
            text(row.reference),
            text(row.provider),
            text(row.operation.id),
            str(row.operation.kind),
            str(row.operation.amount),
            str(row.age).partition(".")[0],
            _clock(row.next_check) if row.next_check is not None else "",
            text("an operator", style="red") if row.needs_operator else "recovery",
            text(row.reason),
        )
    _print(table, doubts, "nothing is in doubt")


def show_conflicts(conflicts: Sequence[Conflict]) -> None:
    """Show conflicts as a table; who closed them only if one is closed."""
    closed = any(row.closed_at is not None for row in conflicts)
    more = ("closed (UTC)", "by", "note") if closed else ()
    table = _table("conflict", "session", "kind", "expected", "found", "opened (UTC)", *more)
    for row in conflicts:
        last = (
            _clock(row.closed_at) if row.closed_at is not None else "",
            text(row.closed_by or ""),
            text(row.note or ""),
        )
        table.add_row(
            text(row.id),
            text(row.session_id),
            text(row.kind),
            text(row.expected),
            text(row.found),
            _clock(row.opened_at),
            *last[: len(more)],
        )
    _print(table, conflicts, "no conflicts")


def show_health(health: Health) -> None:
    """Say how payments are: what is wrong, then the figures."""
    out = console()
    if health.failing:
        out.print(text("failing", style="bold red"))
    elif health.problems:
        out.print(text("well, and something is left to an operator", style="yellow"))
    else:
        out.print(text("well", style="green"))
    for problem in health.problems:
        out.print(text(f"- {problem}"))
    if health.store is None:
        figures = health_json(health)
        for name in ("failing", "problems", "at", "store"):
            del figures[name]
        out.print(text(", ".join(f"{name} {value}" for name, value in figures.items() if value is not None)))


def show_recovery(report: Mapping[str, Any]) -> None:
    """Say what rounds of recovery did, what is open, and what needs an operator."""
    if report.get("store_error") is not None:
        return  # it was said on standard error
    out = console()
    settled, waiting = len(report["settled"]), len(report["waiting"])
    out.print(
        f"{report['looked']} due, {settled} settled, {waiting} waiting; {report['notifications']} "
        f"notifications due, {report['notifications_done']} done; {report['in_doubt']} in doubt"
    )
    for row in report["needs_operator"]:
        operation = row["operation"]
        out.print(
            text(
                f"needs an operator: {operation['kind']} {operation['id']} of {operation['amount']} "
                f"{operation['currency']}, open for {row['age_seconds']:.0f} s ({row['reason']}): "
                "paysession resolve",
                style="red",
            )
        )


def resync_json(report: Resync) -> dict[str, Any]:
    """Return what a resync did as JSON."""
    return asdict(report)


def resync_line(report: Resync) -> str:
    """Return what a resync has done so far, in one line."""
    return (
        f"{report.looked} sessions looked at, {report.changed} changed, {report.failed} failed, "
        f"{report.not_queryable} not queryable"
    )


def show_resync(report: Resync) -> None:
    """Say what a resync did, and show the sessions that are not synchronized."""
    console().print(resync_line(report))
    if report.unsynced:
        table = _table("session", "provider", "reason")
        for row in report.unsynced:
            table.add_row(
                row.session_id, row.provider, Text(row.reason, style="red" if row.queryable else "")
            )
        print_table(table)
    more = report.failed + report.not_queryable - len(report.unsynced)
    if more:
        console().print(f"and {more} more")


def unmatched_json(row: Unmatched) -> dict[str, Any]:
    """Return a notification without a session as JSON."""
    return {
        **asdict(row),
        "received_at": row.received_at.isoformat(),
        "due_at": row.due_at and row.due_at.isoformat(),
    }


def show_unmatched(rows: Sequence[Unmatched]) -> None:
    """Show notifications that match no session as a table."""
    table = _table("notification", "received (UTC)", "provider", "type", "session", "reference")
    for row in rows:
        table.add_row(
            row.id,
            _clock(row.received_at),
            row.provider,
            Text(row.type),
            Text(row.session_id or ""),
            Text(", ".join(row.references)),
        )
    _print(table, rows, "every notification matches a session")


def _print(table: Table, rows: Sequence[object], otherwise: str) -> None:
    if rows:
        print_table(table)
    else:
        console().print(otherwise)


def print_table(table: Table) -> None:
    """Print a table with a row or more so that nothing in it is cut, however narrow the terminal is.

    If there is no room for all columns, those that are empty are left out; if that is not enough, each row is
    a list of its columns.
    """
    out = console()
    if _least_width(table, out) > out.width:
        table = _without_empty(table)
    if _least_width(table, out) <= out.width:
        out.print(table)
        return
    for number in range(table.row_count):
        if number:
            out.print()
        out.print(_as_list(table, number))


def _without_empty(table: Table) -> Table:
    kept = [column for column in table.columns if any(map(str, column.cells))]
    made = Table(
        *(column.copy() for column in kept), header_style=table.header_style, pad_edge=False, box=None
    )
    for cells in zip(*(column.cells for column in kept), strict=True):
        made.add_row(*cells)
    return made


def _least_width(table: Table, out: Terminal) -> int:
    """Return the width at which no id, amount or status of a table is cut."""
    width = -_PAD
    for column in table.columns:
        longest = max((out.measure(cell).maximum for cell in column.cells), default=0)
        if not column.no_wrap:
            longest = min(longest, _WORDS)
        width += max(out.measure(column.header).maximum, longest) + _PAD
    return width


def _as_list(table: Table, number: int) -> Table:
    """Return a row of a table as a list of its columns that are not empty."""
    listed = Table(box=None, pad_edge=False, show_header=False)
    listed.add_column(style="bold", no_wrap=True)
    listed.add_column(overflow="fold")
    for column in table.columns:
        cell = list(column.cells)[number]
        if str(cell):
            listed.add_row(column.header, cell)
    return listed
