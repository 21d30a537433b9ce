"""``paysession collection``: what has to be paid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from paysession import Money, NotFound
from paysession_cli import show
from paysession_cli.app import App, asked_by, common, pass_app

if TYPE_CHECKING:
    from paysession import Payments

__all__ = ["collection", "collection_id"]


@click.group()
def collection() -> None:
    """What has to be paid."""


@collection.command("create")
@click.argument("amount")
@click.argument("currency")
@click.option("--reference", required=True, help="Your own name for it, such as the order's number.")
@asked_by
@common
@pass_app
def collection_create(app: App, amount: str, currency: str, reference: str, by: str) -> None:
    """Say what has to be paid, such as: 42.00 EUR. The same reference again is the same collection."""
    with app.payments(make=True) as payments:
        made = payments.create_collection(Money(amount, currency), reference=reference, by=by)
        made = payments.collection(made.id)
    app.answer(show.collection_json(made), lambda: show.show_collections([made]))


@collection.command("show")
@click.argument("id_or_reference")
@common
@pass_app
def collection_show(app: App, id_or_reference: str) -> None:
    """Show a collection and its sessions."""
    with app.payments(reading=True) as payments:
        found = payments.collection(collection_id(payments, id_or_reference))
        sessions = payments.sessions(collection_id=found.id)

    def shown() -> None:
        show.show_collections([found])
        click.echo()
        show.show_sessions(sessions)

    tree = {**show.collection_json(found), "sessions": [show.session_json(row) for row in sessions]}
    app.answer(tree, shown)


@collection.command("update")
@click.argument("id_or_reference")
@click.argument("amount")
@asked_by
@common
@pass_app
def collection_update(app: App, id_or_reference: str, amount: str, by: str) -> None:
    """Change what has to be paid."""
    with app.payments() as payments:
        found = payments.collection(collection_id(payments, id_or_reference))
        changed = payments.update_collection(found.id, Money(amount, found.amount.currency), by=by)
    app.answer(show.collection_json(changed), lambda: show.show_collections([changed]))


@collection.command("list")
@click.option("--after", metavar="ID", help="Go on after this collection.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
@common
@pass_app
def collection_list(app: App, after: str | None, limit: int) -> None:
    """List collections."""
    with app.payments(reading=True) as payments:
        found = payments.collections(after=after, limit=limit)
    app.answer([show.collection_json(row) for row in found], lambda: show.show_collections(found))


@collection.command("forget")
@click.argument("id_or_reference")
@asked_by
@common
@pass_app
def collection_forget(app: App, id_or_reference: str, by: str) -> None:
    """Erase a payer's personal data: of a collection's sessions, their operations and notifications.

    Amounts, states, times and ids are kept. Sessions must be over: captured, canceled or refunded.
    """
    with app.payments() as payments:
        key = collection_id(payments, id_or_reference)
        found = payments.forget(key, by=by)
    app.answer(show.collection_json(found), lambda: show.show_collections([found]))


def collection_id(payments: Payments, word: str) -> str:
    """Return the id of a collection that is named by its id or by its reference."""
    try:
        return payments.collection(word).id
    except NotFound:
        return payments.collection(reference=word).id
