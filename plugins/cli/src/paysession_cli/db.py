"""``paysession db``: the schema of the database, where it is not upgraded when it is opened."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

import click

import paysession
from paysession import StoreError
from paysession_cli import show
from paysession_cli.app import EXIT_FAILED, App, common, pass_app

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["db"]


class Schema(Protocol):
    """What a distribution offers under ``paysession.schemas`` for the scheme of its URLs."""

    needed: str
    found: str | None

    @property
    def current(self) -> bool:
        """Whether the database can be used as it is."""
        ...

    def upgrade(self) -> None:
        """Bring it up to date."""
        ...


@click.group()
def db() -> None:
    """The schema of the database."""


@db.command("upgrade")
@common
@pass_app
def db_upgrade(app: App) -> None:
    """Bring the schema up to date, before new versions of the application start.

    On PostgreSQL this is a step of its own; applications of the release before go on meanwhile.
    """
    before = _schema(app)
    if not before.current:
        before.upgrade()
    _answer(app, _schema(app), before.found)


@db.command("check")
@common
@pass_app
def db_check(app: App) -> None:
    """Say whether the schema is up to date; the exit status is 1 if it is not."""
    found = _schema(app)
    _answer(app, found, found.found)
    if not found.current:
        sys.exit(EXIT_FAILED)


def _schema(app: App) -> Schema:
    url = app.url()
    scheme = url.partition(":")[0].partition("+")[0]
    entry = paysession.installed("paysession.schemas", scheme).get(scheme)
    if entry is None:
        raise StoreError(f"a store {scheme!r} has no schema; sqlite and postgresql have, in paysession-sql")
    opened: Callable[[str], Schema] = entry.load()
    return opened(url)


def _answer(app: App, schema: Schema, before: str | None) -> None:
    tree = {
        "current": schema.current, "found": schema.found, "needed": schema.needed, "before": before,
    }  # fmt: skip
    if schema.current:
        sentence = f"the schema is up to date: {schema.found}"
        if before != schema.found:
            sentence += f" (it was {before or 'not there'})"
    else:
        file = app.missing_file()
        found = (
            f"the schema is {schema.found or 'not there'}" if file is None else f"there is no database {file}"
        )
        sentence = f"{found}, and schema {schema.needed} is needed: paysession db upgrade"
    app.answer(tree, lambda: show.console().print(sentence))
