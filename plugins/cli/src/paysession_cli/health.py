"""``paysession health``: how payments are, for a person or a probe."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import click

import paysession
from paysession import StoreError
from paysession_cli import show
from paysession_cli.app import EXIT_FAILED, App, Seconds, common, pass_app

__all__ = ["health"]


@click.command()
@click.option("--after", metavar="CURSOR", help="The cursor of a reader of the feed: how far behind is it?")
@click.option(
    "--max-lag", type=Seconds(), default=300.0, show_default=True, metavar="SECONDS",
    help="How far behind recovery, the inbox and the reader may be.",
)  # fmt: skip
@click.option(
    "--max-doubt", type=Seconds(), default=3600.0, show_default=True, metavar="SECONDS",
    help="How long an operation may be in doubt.",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit with 1 for what is left to an operator as well.")
@common
@pass_app
def health(app: App, after: str | None, max_lag: float, max_doubt: float, strict: bool) -> None:
    """Say how payments are; the exit status is 1 if they cannot go on as they should.

    That is the database, or how far behind recovery, the inbox or a reader of the feed is. What is left to
    an operator is listed as well. No gateway is queried, and no provider's secret is needed.
    """
    lag, doubt = timedelta(seconds=max_lag), timedelta(seconds=max_doubt)
    try:
        with app.payments(reading=True) as payments:
            found = payments.health(after=after, max_lag=lag, max_doubt=doubt)
    except StoreError as error:
        found = paysession.Health(at=datetime.now(UTC), store=str(error)).judged(lag, doubt)
    app.answer(show.health_json(found), lambda: show.show_health(found))
    if found.failing or (strict and found.problems):
        sys.exit(EXIT_FAILED)
