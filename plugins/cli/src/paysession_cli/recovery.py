"""``paysession recover``, ``in-doubt`` and ``resolve``: what is open, and how it is settled."""

from __future__ import annotations

import functools
from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

import click

from paysession import NotFound
from paysession_cli import show
from paysession_cli.app import App, Seconds, asked_by, common, pass_app
from paysession_cli.terminal import complain
from paysession_cli.worker import Worker, report

if TYPE_CHECKING:
    from paysession import Payments, Resolution

__all__ = ["in_doubt", "recover", "resolve"]


@click.command()
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
@click.option("--provider", metavar="NAME", help="Only what belongs to this provider.")
@click.option("--now", is_flag=True, help="Also what is not due yet; with --watch, in the first run only.")
@click.option("--watch", is_flag=True, help="Work until SIGTERM or SIGINT; any number of workers may.")
@click.option(
    "--interval", type=Seconds(), default=5.0, show_default=True, metavar="SECONDS",
    help="How long to wait between two rounds, with --watch.",
)  # fmt: skip
@click.option(
    "--report", "report_every", type=Seconds(), default=60.0, show_default=True, metavar="SECONDS",
    help="How long to wait between two reports, with --watch, when nothing happened.",
)  # fmt: skip
@common
@pass_app
def recover(
    app: App, limit: int, provider: str | None, now: bool, watch: bool, interval: float, report_every: float
) -> None:
    """Settle what is due: doubt, pending operations, requested cancels, stored notifications.

    With --watch and --json every report is one line of JSON: what was done, how much is in doubt and
    since when, and what needs an operator (paysession resolve).
    """
    with ExitStack() as stack:

        def reopen() -> Payments:
            stack.close()
            return stack.enter_context(app.payments())

        payments = reopen()
        if watch:
            Worker(
                payments,
                reopen=reopen,
                limit=limit,
                provider=provider,
                now=now,
                interval=interval,
                report_every=report_every,
                tell=lambda tree: app.answer_line(tree, functools.partial(show.show_recovery, tree)),
                complain=complain,
            ).run()
            return
        done = payments.recover(limit=limit, provider=provider, now=now)
        tree = report([done], payments.in_doubt(limit=1000))
        app.answer(tree, functools.partial(show.show_recovery, tree))


@click.command("in-doubt")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
@click.option(
    "--needs-operator", is_flag=True, help="Only those that no provider can be queried about any more."
)
@common
@pass_app
def in_doubt(app: App, limit: int, needs_operator: bool) -> None:
    """List operations whose outcome is not known."""
    with app.payments(reading=True) as payments:
        found = [row for row in payments.in_doubt(limit=limit) if row.needs_operator or not needs_operator]
    app.answer([show.doubt_json(row) for row in found], lambda: show.show_doubts(found))


@click.command()
@click.argument("operation")
@click.argument("outcome", type=click.Choice(["succeeded", "declined", "not-applied"]))
@click.option("--note", required=True, help="How it is known; it is kept.")
@asked_by
@common
@pass_app
def resolve(app: App, operation: str, outcome: str, note: str, by: str) -> None:
    """Settle an operation of `paysession in-doubt` manually, where the gateway cannot be queried about it."""
    words: dict[str, Resolution] = {"not-applied": "not_applied"}
    with app.payments() as payments:
        try:
            done = payments.resolve(
                operation, words.get(outcome, cast("Resolution", outcome)), note=note, by=by
            )
        except NotFound:
            raise NotFound(
                f"there is no operation {operation!r:.80}; paysession in-doubt lists those in doubt"
            ) from None
        app.session(done)
