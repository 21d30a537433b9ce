"""``paysession recover``, ``in-doubt`` and ``resolve``: what is open, and how it is settled."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

import click

from paysession import Declined, NotApplied, NotFound, Outcome
from paysession_cli import show
from paysession_cli.app import App, common, pass_app

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_doubt", "recover", "resolve"]


@click.command()
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
@click.option("--watch", is_flag=True, help="Go on until interrupted.")
@click.option("--interval", default=5.0, show_default=True, help="Seconds between two rounds, with --watch.")
@common
@pass_app
def recover(app: App, limit: int, watch: bool, interval: float) -> None:
    """Settle what is due: doubt, pending operations, wanted cancels, stored notifications."""
    with app.payments() as payments:
        while True:
            done = payments.recover(limit=limit)
            if not watch or done.looked or done.notifications:
                app.answer(show.recovery_json(done), functools.partial(show.show_recovery, done))
            if not watch:
                break
            time.sleep(max(0.1, interval))


@click.command("in-doubt")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
@common
@pass_app
def in_doubt(app: App, limit: int) -> None:
    """List operations whose outcome is not known."""
    with app.payments() as payments:
        found = payments.in_doubt(limit=limit)
    app.answer([show.doubt_json(row) for row in found], lambda: show.show_doubts(found))


@click.command()
@click.argument("operation")
@click.argument("outcome", type=click.Choice(["succeeded", "declined", "not-applied"]))
@click.option("--note", required=True, help="Who says so, and why; it is kept.")
@common
@pass_app
def resolve(app: App, operation: str, outcome: str, note: str) -> None:
    """Settle an operation by your word, where the provider cannot tell."""
    with app.payments() as payments:
        row = next(
            (row for row in payments.history(operation.rpartition("-")[0]) if row.id == operation), None
        )
        if row is None:
            raise NotFound(f"there is no operation {operation!r:.80}")
        answers: dict[str, Callable[[], Outcome]] = {
            "initiate": Outcome.pending,
            "update": Outcome.pending,
            "authorize": Outcome.authorized,
            "capture": lambda: Outcome.captured(row.amount, released=row.final),
            "refund": lambda: Outcome.refunded(row.amount),
            "cancel": Outcome.canceled,
        }
        if outcome == "succeeded":
            answer: Outcome | Declined | NotApplied = answers[row.kind]()
        elif outcome == "declined":
            answer = Declined("resolved", note)
        else:
            answer = NotApplied(note)
        app.session(payments.resolve(operation, answer, note=note))
