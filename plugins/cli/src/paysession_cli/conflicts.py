"""``paysession conflicts`` and ``acknowledge``: what a gateway showed that contradicts the ledger."""

from __future__ import annotations

import click

from paysession import NotFound
from paysession_cli import show
from paysession_cli.app import App, asked_by, common, pass_app

__all__ = ["acknowledge", "conflicts"]


@click.command()
@click.option("--session", "session_id", metavar="ID", help="Only those of a session.")
@click.option("--all", "closed", is_flag=True, help="Also those that are closed, with who closed them.")
@click.option("--after", metavar="ID", help="Go on after this conflict.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
@common
@pass_app
def conflicts(app: App, session_id: str | None, closed: bool, after: str | None, limit: int) -> None:
    """List open conflicts, the oldest first: what gateways showed that contradicts the ledger."""
    with app.payments(reading=True) as payments:
        found = payments.conflicts(session_id=session_id, open=not closed, after=after, limit=limit)
    app.answer([show.conflict_json(row) for row in found], lambda: show.show_conflicts(found))


@click.command()
@click.argument("conflict", metavar="CONFLICT")
@click.option("--note", required=True, help="What you found out, or did about it; it is kept.")
@asked_by
@common
@pass_app
def acknowledge(app: App, conflict: str, note: str, by: str) -> None:
    """Close a conflict of `paysession conflicts` by hand. Nothing of the payment changes.

    It opens again, as a new one, when the gateway shows its cause again. One that is closed stays as it is.
    """
    with app.payments() as payments:
        try:
            done = payments.acknowledge(conflict, by=by, note=note)
        except NotFound:
            raise NotFound(
                f"there is no conflict {conflict!r:.80}; paysession conflicts lists those that are open"
            ) from None
    app.answer(show.conflict_json(done), lambda: show.show_conflicts([done]))
