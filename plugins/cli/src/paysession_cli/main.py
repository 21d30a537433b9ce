"""The ``paysession`` command: its group, and the commands that need no module of their own."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING

import click

from paysession_cli import show
from paysession_cli.app import EXIT_FAILED, App, common, pass_app, remember
from paysession_cli.check import check
from paysession_cli.collection import collection
from paysession_cli.conflicts import acknowledge, conflicts
from paysession_cli.db import db
from paysession_cli.health import health
from paysession_cli.new_provider import new_provider
from paysession_cli.others import Commands
from paysession_cli.prune import prune
from paysession_cli.recovery import in_doubt, recover, resolve
from paysession_cli.resync import resync, webhooks
from paysession_cli.session import session
from paysession_cli.terminal import LogLines, complain, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paysession import Event, Payments

__all__ = ["cli", "main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="paysession-cli", prog_name="paysession")
@click.option("--db", metavar="URL", expose_value=False, callback=remember("db"), help="See each command.")
@click.option("--config", type=click.Path(), expose_value=False, callback=remember("config"), hidden=True)
@click.option(
    "--json", "json_", is_flag=True, expose_value=False, callback=remember("json"), help="Answer in JSON."
)
def cli() -> None:
    """Take payments: money is never moved twice and never lost.

    Begin with `paysession demo`. Every command works on the store in --db, and answers in JSON
    with --json. The exit status is 0, 1 for a failure, 2 for wrong usage, and 3 if it is not known
    what became of an operation (then: paysession recover), or a change was interrupted.
    """


for _command in (
    collection,
    session,
    health,
    recover,
    in_doubt,
    resolve,
    conflicts,
    acknowledge,
    resync,
    webhooks,
    prune,
    db,
    check,
    new_provider,
):
    cli.add_command(_command)


@cli.command()
@click.option("--provider", default="manual", show_default=True, help="Which provider to show.")
@click.option("--keep", metavar="FILE", help="Keep the demo's database in this file.")
@common
@pass_app
def demo(app: App, provider: str, keep: str | None) -> None:
    """Show the life of a payment session on a fresh SQLite file."""
    from paysession_cli.demo import run  # noqa: PLC0415 - only the demo pays for what it needs

    run(provider, keep=keep, json=app.json)


@cli.command()
@common
@pass_app
def providers(app: App) -> None:
    """List providers: installed, selected, what they can do, what is wrong."""
    found = app.providers()
    app.answer([show.provider_json(row) for row in found], lambda: show.show_providers(found))
    if any(row.problem for row in found):
        sys.exit(EXIT_FAILED)


@cli.command()
@click.option("--after", metavar="CURSOR", help="Go on after this event.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
@common
@pass_app
def events(app: App, after: str | None, limit: int) -> None:
    """List what happened, in the order in which it happened."""
    with app.payments(reading=True) as payments:
        found = payments.events(after=after, limit=limit)
        kinds = _kinds(payments, found)
    tree = [{**show.event_json(row), "operation": kinds.get(row.id)} for row in found]
    app.answer(tree, lambda: show.show_events(found, kinds))


def _kinds(payments: Payments, events: Sequence[Event]) -> dict[str, str]:
    """Return the kinds of the operations of events whose type does not say it, by the events' ids."""
    silent = [row for row in events if row.type.startswith("operation.") or row.type == "session.reversed"]
    sessions = {row.session_id for row in silent if row.session_id is not None}
    kinds = {row.id: str(row.kind) for id_ in sorted(sessions) for row in payments.history(id_)}
    return {row.id: kinds[row.operation_id] for row in silent if row.operation_id in kinds}


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell, such as: eval "$(paysession completion bash)"."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - this command only

    cls = get_completion_class(shell)
    assert cls is not None  # noqa: S101 - the choice offers only shells that click knows
    click.echo(cls(cli, {}, "paysession", "_PAYSESSION_COMPLETE").source())


def main() -> None:
    """Run the command; whatever goes wrong is one sentence, never a traceback."""
    if logging.lastResort is not None:  # where nobody configured logging, warnings go to the terminal
        logging.lastResort.setFormatter(LogLines())
    try:
        sys.exit(cli(prog_name="paysession", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:  # the help text, which repeats nothing
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:  # wrong usage: the message repeats what was typed
        # That an argument is missing has our own words only: the choices, one in a line.
        own = isinstance(error, click.MissingParameter)
        message = error.format_message().expandtabs(2) if own else error.format_message()
        click.UsageError(visible(message, lines=own), getattr(error, "ctx", None)).show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("Aborted!", err=True)
        sys.exit(EXIT_FAILED)
    except Exception as error:  # noqa: BLE001 - it is shown, with the place where that is asked for
        if os.environ.get("PAYSESSION_DEBUG"):
            click.echo(visible(traceback.format_exc(), lines=True), err=True)
        complain(f"{type(error).__name__}: {error} (PAYSESSION_DEBUG=1 shows where)")
        sys.exit(EXIT_FAILED)
