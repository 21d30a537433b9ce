"""``paysession resync`` and ``webhooks``: what is at the gateway and not in the ledger."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from paysession_cli import show
from paysession_cli.app import EXIT_FAILED, App, Time, asked_by, common, pass_app

if TYPE_CHECKING:
    from paysession import Resync

__all__ = ["resync", "webhooks"]


@click.command()
@click.option("--since", type=Time(), required=True, help="Sessions touched since this time (UTC).")
@click.option("--provider", help="Only sessions of this provider.")
@click.option("--after", metavar="SESSION", help="Go on after this session, where a run was interrupted.")
@asked_by
@common
@pass_app
def resync(app: App, since: datetime, provider: str | None, after: str | None, by: str) -> None:
    """Query the gateways about every session touched since a time, and record what they show.

    For a database that was restored or failed over, and for notifications that were lost. Progress goes to
    standard error. It may be interrupted and repeated. The exit status is 1 if a session failed: then run it
    again.
    """
    if since > datetime.now(UTC):
        raise click.BadParameter(f"{since:%Y-%m-%dT%H:%M:%SZ} is in the future", param_hint="'--since'")

    def progress(report: Resync) -> None:
        click.echo(f"{show.resync_line(report)}; last {report.last or 'none'}", err=True)

    with app.payments() as payments:
        report = payments.resync(since=since, provider=provider, after=after, progress=progress, by=by)
    app.answer(show.resync_json(report), lambda: show.show_resync(report))
    if report.failed:
        sys.exit(EXIT_FAILED)


@click.command()
@click.option("--unmatched", is_flag=True, required=True, help="Those that match no session.")
@click.option("--provider", help="Only those for this provider.")
@click.option("--after", metavar="ID", help="Go on after this notification.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
@common
@pass_app
def webhooks(app: App, unmatched: bool, provider: str | None, after: str | None, limit: int) -> None:
    """List notifications of gateways that led to nothing.

    After a restore those that match no session name payments that were begun since the backup was made.
    """
    del unmatched  # there are no others to list yet
    with app.payments(reading=True) as payments:
        found = payments.unmatched(provider=provider, after=after, limit=limit)
    app.answer([show.unmatched_json(row) for row in found], lambda: show.show_unmatched(found))
