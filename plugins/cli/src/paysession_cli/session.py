"""``paysession session``: an amount to be authorized by one provider."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, get_args

import click

from paysession import CaptureMode, Checkout, Money, Status
from paysession_cli import show
from paysession_cli.app import EXIT_FAILED, App, Time, asked_by, common, money, pairs_of, pass_app
from paysession_cli.collection import collection_id

if TYPE_CHECKING:
    from datetime import datetime

    from paysession import Payments

__all__ = ["session"]


@click.group()
def session() -> None:
    """An amount to be authorized by one provider."""


_key = click.option("--idempotency-key", "--key", "key", help="The same key again returns the first result.")


@session.command("initiate")
@click.argument("collection_", metavar="COLLECTION")
@click.option("--provider", default="manual", show_default=True)
@click.option("--amount", help="Less than all that is left.")
@click.option(
    "--data", multiple=True, metavar="KEY=VALUE", help="What the provider needs, such as customer=cus_1."
)
@click.option("--email", help="The payer's address.")
@click.option("--return-url", help="Where the provider sends the payer back to.")
@click.option("--cancel-url", help="Where it sends a payer who gave up.")
@click.option("--capture", type=click.Choice(get_args(CaptureMode)), default="manual", show_default=True)
@click.option("--replaces", metavar="SESSION", help="A session to cancel first.")
@_key
@asked_by
@common
@pass_app
def session_initiate(
    app: App,
    collection_: str,
    provider: str,
    amount: str | None,
    data: tuple[str, ...],
    email: str | None,
    return_url: str | None,
    cancel_url: str | None,
    capture: CaptureMode,
    replaces: str | None,
    key: str | None,
    by: str,
) -> None:
    """Begin a payment of a collection, named by its id or reference. Nothing is charged by this."""
    with app.payments() as payments:
        found = payments.collection(collection_id(payments, collection_))
        begun = payments.initiate(
            found.id,
            provider=provider,
            amount=money(amount, found.amount.currency),
            data=pairs_of(data, "data"),
            checkout=Checkout(return_url=return_url, cancel_url=cancel_url, email=email),
            capture=capture,
            replaces=replaces,
            idempotency_key=key,
            by=by,
        )
    app.session(begun)


@session.command("authorize")
@click.argument("id_", metavar="SESSION")
@click.option("--reference", help="By what, such as: statement 12, line 3.")
@click.option("--payload", multiple=True, metavar="KEY=VALUE", help="What the payer's browser sent.")
@_key
@asked_by
@common
@pass_app
def session_authorize(
    app: App, id_: str, reference: str | None, payload: tuple[str, ...], key: str | None, by: str
) -> None:
    """Authorize the session's amount."""
    with app.payments() as payments:
        sent = pairs_of(payload, "payload") or {}
        if _is_local(payments, payments.get(id_).provider):
            sent.setdefault("by", by)
        if reference is not None:
            sent["reference"] = reference
        done = payments.authorize(id_, payload=sent or None, idempotency_key=key, by=by)
    app.session(done)
    if done.status is Status.ERROR:
        sys.exit(EXIT_FAILED)


def _is_local(payments: Payments, provider: str) -> bool:
    """Say whether a person confirms: `manual`, under whatever name it is selected."""
    rows = [row for row in payments.providers() if row.name == provider]
    return any(row.capabilities is not None and row.capabilities.local for row in rows)


@session.command("capture")
@click.argument("id_", metavar="SESSION")
@click.argument("amount", required=False)
@click.option("--final", is_flag=True, help="Release the rest.")
@_key
@asked_by
@common
@pass_app
def session_capture(app: App, id_: str, amount: str | None, final: bool, key: str | None, by: str) -> None:
    """Take what is authorized: all that is left, or AMOUNT of it."""
    with app.payments() as payments:
        part = money(amount, payments.get(id_).amount.currency)
        app.session(payments.capture(id_, part, final=final, idempotency_key=key, by=by))


@session.command("refund")
@click.argument("id_", metavar="SESSION")
@click.argument("amount", required=False)
@click.option("--capture", metavar="OPERATION", help="Which capture it refers to.")
@click.option("--reason", help="Why.")
@_key
@asked_by
@common
@pass_app
def session_refund(
    app: App,
    id_: str,
    amount: str | None,
    capture: str | None,
    reason: str | None,
    key: str | None,
    by: str,
) -> None:
    """Give back what was captured: all that is left, or AMOUNT of it."""
    with app.payments() as payments:
        part = money(amount, payments.get(id_).amount.currency)
        done = payments.refund(id_, part, capture=capture, reason=reason, idempotency_key=key, by=by)
        app.session(done)


@session.command("update")
@click.argument("id_", metavar="SESSION")
@click.argument("amount")
@_key
@asked_by
@common
@pass_app
def session_update(app: App, id_: str, amount: str, key: str | None, by: str) -> None:
    """Change the amount of a session, or raise what it has authorized where the provider can."""
    with app.payments() as payments:
        part = Money(amount, payments.get(id_).amount.currency)
        app.session(payments.update(id_, part, idempotency_key=key, by=by))


@session.command("cancel")
@click.argument("id_", metavar="SESSION")
@_key
@asked_by
@common
@pass_app
def session_cancel(app: App, id_: str, key: str | None, by: str) -> None:
    """Release what is authorized and not captured."""
    with app.payments() as payments:
        app.session(payments.cancel(id_, idempotency_key=key, by=by))


@session.command("sync")
@click.argument("id_", metavar="SESSION")
@asked_by
@common
@pass_app
def session_sync(app: App, id_: str, by: str) -> None:
    """Query the gateway about a session, and authorize it if the payer approved there."""
    with app.payments() as payments:
        app.session(payments.sync(id_, by=by))


@session.command("show")
@click.argument("id_", metavar="SESSION")
@common
@pass_app
def session_show(app: App, id_: str) -> None:
    """Show a session as the ledger has it, with its open conflicts, and what failed after it was accepted."""
    with app.payments(reading=True) as payments:
        found = payments.get(id_)
        conflicts = payments.conflicts(session_id=id_) if found.conflict is not None else ()
        failed = show.failed_later(payments.history(id_))
    tree = {
        **show.session_json(found),
        "conflicts": [show.conflict_json(row) for row in conflicts],
        "failed": [show.operation_json(row) for row in failed],
    }
    app.answer(tree, lambda: show.show_session(found, conflicts, failed))


@session.command("list")
@click.option("--collection", "collection_", metavar="ID", help="Only those of a collection.")
@click.option("--reference", help="Only those of the collection with this reference.")
@click.option("--provider", help="Only those of a provider.")
@click.option(
    "--status", type=click.Choice([str(status) for status in Status]), help="Only those with this status."
)
@click.option(
    "--gateway-reference", metavar="ID", help="Only those with this id of the gateway's, or a part with it."
)
@click.option("--conflict/--no-conflict", default=None, help="Only those with an open conflict, or without.")
@click.option("--created-after", type=Time(), help="Only those created at this time (UTC) or later.")
@click.option("--created-before", type=Time(), help="Only those created earlier than this time (UTC).")
@click.option("--oldest", is_flag=True, help="The oldest first.")
@click.option("--after", metavar="ID", help="Go on after this session.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
@common
@pass_app
def session_list(
    app: App,
    collection_: str | None,
    reference: str | None,
    provider: str | None,
    status: str | None,
    gateway_reference: str | None,
    conflict: bool | None,
    created_after: datetime | None,
    created_before: datetime | None,
    oldest: bool,
    after: str | None,
    limit: int,
) -> None:
    """List sessions, the newest first."""
    with app.payments(reading=True) as payments:
        found = payments.sessions(
            collection_id=collection_,
            reference=reference,
            provider=provider,
            status=status,
            gateway_reference=gateway_reference,
            has_conflict=conflict,
            created_after=created_after,
            created_before=created_before,
            newest=not oldest,
            after=after,
            limit=limit,
        )
    app.answer([show.session_json(row) for row in found], lambda: show.show_sessions(found))


@session.command("history")
@click.argument("id_", metavar="SESSION")
@common
@pass_app
def session_history(app: App, id_: str) -> None:
    """Show every operation of a session."""
    with app.payments(reading=True) as payments:
        rows = payments.history(id_)
        found = payments.get(id_)

    def shown() -> None:
        show.show_history(rows)
        click.echo()
        show.show_session(found)

    tree = {**show.session_json(found), "operations": [show.operation_json(row) for row in rows]}
    app.answer(tree, shown)
