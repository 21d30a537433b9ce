"""``paysession prune``: delete notifications and events that nobody needs any more."""

from __future__ import annotations

from datetime import timedelta

import click
from attrs import asdict, evolve

from paysession_cli import show
from paysession_cli.app import App, common, pass_app

__all__ = ["prune"]

_days = click.IntRange(1, 36_500)


@click.command()
@click.option("--notifications", type=_days, metavar="DAYS", help="How long notifications are kept.")
@click.option("--events", type=_days, metavar="DAYS", help="How long events are kept.")
@click.option("--dry-run", is_flag=True, help="Only say how many would be deleted.")
@common
@pass_app
def prune(app: App, notifications: int | None, events: int | None, dry_run: bool) -> None:
    """Delete notifications and events that nobody needs any more; payments are kept.

    How long they are kept stands in the settings file: [retention] notifications = 90, events = 400, which
    is also what holds without it, or "forever". A reader of events that is further behind loses its place.
    """
    with app.payments(reading=True) as payments:
        retention = payments.retention
        if notifications is not None:
            retention = evolve(retention, notifications=timedelta(days=notifications))
        if events is not None:
            retention = evolve(retention, events=timedelta(days=events))
        done = payments.prune(retention, dry_run=dry_run)
    word = "would be deleted" if dry_run else "deleted"
    sentence = f"{word}: {done.notifications} notifications, {done.events} events"
    app.answer({**asdict(done), "dry_run": dry_run}, lambda: show.console().print(sentence))
