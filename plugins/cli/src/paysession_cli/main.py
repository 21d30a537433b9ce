"""The commands."""

from __future__ import annotations

import functools
import getpass
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from paysession import (
    Checkout,
    Declined,
    InvalidData,
    Money,
    NotApplied,
    NotFound,
    Outcome,
    OutcomeUnknown,
    Payments,
    PaysessionError,
    Status,
)
from paysession_cli import show

if TYPE_CHECKING:
    from collections.abc import Callable

    from paysession import PaymentSession

__all__ = ["cli", "main"]

DEFAULT_DB: Final = "sqlite:///paysession.db"
DEFAULT_CONFIG: Final = "paysession.toml"
EXIT_FAILED, EXIT_IN_DOUBT = 1, 3


class App:
    """What every command shares: the database, the settings, and how to answer."""

    def __init__(self) -> None:
        self.db: str | None = None
        self.config: str | None = None
        self.json = False

    def payments(self, **options: Any) -> Payments:
        """Open the books."""
        config = self.config or (DEFAULT_CONFIG if os.path.exists(DEFAULT_CONFIG) else None)  # noqa: PTH110
        url = self.db or (DEFAULT_DB if config is None else None)
        if url is not None and ":" not in url:
            url = f"sqlite:///{url}"
        return Payments.open(url, config=config, **options)

    def answer(self, tree: Any, shown: Callable[[], None]) -> None:
        """Answer in JSON, or as a table."""
        if self.json:
            show.emit(tree)
        else:
            shown()

    def session(self, session: PaymentSession) -> None:
        """Answer with a session."""
        self.answer(show.session_json(session), lambda: show.show_session(session))


pass_app = click.make_pass_decorator(App, ensure=True)


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def remember(context: click.Context, _: click.Parameter, value: Any) -> Any:
        if value:
            setattr(context.ensure_object(App), name, value)
        return value

    return remember


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--db``, ``--config`` and ``--json``, and turn errors into one sentence."""

    @click.option(
        "--db",
        envvar="PAYSESSION_DB",
        metavar="URL",
        expose_value=False,
        callback=_remember("db"),
        help=f"Where the books are kept: a URL or a file. [default: {DEFAULT_DB}]",
    )
    @click.option(
        "--config",
        envvar="PAYSESSION_CONFIG",
        type=click.Path(dir_okay=False),
        expose_value=False,
        callback=_remember("config"),
        help=f"A TOML file with settings. [default: {DEFAULT_CONFIG}, if there is one]",
    )
    @click.option(
        "--json",
        "json_",
        is_flag=True,
        expose_value=False,
        callback=_remember("json"),
        help="Answer in JSON.",
    )
    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        app = click.get_current_context().ensure_object(App)
        try:
            return command(*args, **kwargs)
        except PaysessionError as error:
            _fail(app, error)

    return run


def _fail(app: App, error: PaysessionError) -> NoReturn:
    if app.json:
        show.emit(show.error_json(error))
    click.secho(f"Error: {error}", fg="red", err=True)
    sys.exit(EXIT_IN_DOUBT if isinstance(error, OutcomeUnknown) else EXIT_FAILED)


def _money(amount: str | None, currency: str) -> Money | None:
    return None if amount is None else Money(amount, currency)


def _pairs(pairs: tuple[str, ...], name: str) -> dict[str, Any] | None:
    """Return ``KEY=VALUE`` options as a mapping; one that begins with ``{`` is JSON."""
    found: dict[str, Any] = {}
    for pair in pairs:
        if pair.lstrip().startswith("{"):
            try:
                found.update(json.loads(pair))
            except json.JSONDecodeError as error:
                raise InvalidData(f"--{name} is not JSON: {error}") from None
            continue
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InvalidData(f"--{name} is KEY=VALUE or a JSON object, not {pair!r:.80}")
        found[key] = value
    return found or None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="paysession-cli", prog_name="paysession")
@click.option("--db", metavar="URL", expose_value=False, callback=_remember("db"), help="See each command.")
@click.option("--config", type=click.Path(), expose_value=False, callback=_remember("config"), hidden=True)
@click.option(
    "--json", "json_", is_flag=True, expose_value=False, callback=_remember("json"), help="Answer in JSON."
)
def cli() -> None:
    """Take payments: money is never moved twice and never lost.

    Begin with `paysession demo`. Every command works on the books in --db, and answers in JSON
    with --json. The exit status is 0, 1 for a failure, 2 for wrong usage, and 3 if it is not known
    what became of an operation (then: paysession recover).
    """


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
    with app.payments() as payments:
        found = payments.providers()
    app.answer([show.provider_json(row) for row in found], lambda: show.show_providers(found))
    if any(row.problem for row in found):
        sys.exit(EXIT_FAILED)


# --- collections ----------------------------------------------------------------------------------


@cli.group()
def collection() -> None:
    """What has to be paid."""


@collection.command("create")
@click.argument("amount")
@click.argument("currency")
@click.option("--reference", required=True, help="Your own name for it, such as the order's number.")
@common
@pass_app
def collection_create(app: App, amount: str, currency: str, reference: str) -> None:
    """Say what has to be paid, such as: 42.00 EUR. The same reference again is the same collection."""
    with app.payments() as payments:
        made = payments.create_collection(Money(amount, currency), reference=reference)
        made = payments.collection(made.id)
    app.answer(show.collection_json(made), lambda: show.show_collections([made]))


@collection.command("show")
@click.argument("id_or_reference")
@common
@pass_app
def collection_show(app: App, id_or_reference: str) -> None:
    """Show a collection and its sessions."""
    with app.payments() as payments:
        found = payments.collection(_collection_id(payments, id_or_reference))
        sessions = payments.sessions(collection_id=found.id)

    def shown() -> None:
        show.show_collections([found])
        show.show_sessions(sessions)

    tree = {**show.collection_json(found), "sessions": [show.session_json(row) for row in sessions]}
    app.answer(tree, shown)


@collection.command("update")
@click.argument("id_or_reference")
@click.argument("amount")
@common
@pass_app
def collection_update(app: App, id_or_reference: str, amount: str) -> None:
    """Change what has to be paid."""
    with app.payments() as payments:
        found = payments.collection(_collection_id(payments, id_or_reference))
        changed = payments.update_collection(found.id, Money(amount, found.amount.currency))
    app.answer(show.collection_json(changed), lambda: show.show_collections([changed]))


@collection.command("list")
@click.option("--after", metavar="ID", help="Go on after this collection.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
@common
@pass_app
def collection_list(app: App, after: str | None, limit: int) -> None:
    """List collections."""
    with app.payments() as payments:
        found = payments.collections(after=after, limit=limit)
    app.answer([show.collection_json(row) for row in found], lambda: show.show_collections(found))


def _collection_id(payments: Payments, word: str) -> str:
    """Return the id of a collection that is named by its id or by its reference."""
    try:
        return payments.collection(word).id
    except NotFound:
        return payments.collection(reference=word).id


# --- sessions -------------------------------------------------------------------------------------


@cli.group()
def session() -> None:
    """An amount to be authorized by one provider."""


_key = click.option("--idempotency-key", "--key", "key", help="The same key again returns the first result.")


@session.command("initiate")
@click.argument("collection_")
@click.option("--provider", default="manual", show_default=True)
@click.option("--amount", help="Less than all that is left.")
@click.option(
    "--data", multiple=True, metavar="KEY=VALUE", help="What the provider needs, such as customer=cus_1."
)
@click.option("--email", help="The payer's address.")
@click.option("--return-url", help="Where the provider sends the payer back to.")
@click.option("--cancel-url", help="Where it sends a payer who gave up.")
@click.option("--capture", type=click.Choice(["manual", "automatic"]), default="manual", show_default=True)
@click.option("--replaces", metavar="SESSION", help="A session to cancel first.")
@_key
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
    capture: str,
    replaces: str | None,
    key: str | None,
) -> None:
    """Begin a payment of a collection, named by its id or reference. Nothing is charged by this."""
    with app.payments() as payments:
        found = payments.collection(_collection_id(payments, collection_))
        begun = payments.initiate(
            found.id,
            provider=provider,
            amount=_money(amount, found.amount.currency),
            data=_pairs(data, "data"),
            checkout=Checkout(return_url=return_url, cancel_url=cancel_url, email=email),
            capture=capture,
            replaces=replaces,
            idempotency_key=key,
        )
    app.session(begun)


@session.command("authorize")
@click.argument("id_")
@click.option("--by", default=None, help="Who confirms, for the provider manual. [default: your user name]")
@click.option("--reference", help="By what, such as: statement 12, line 3.")
@click.option("--payload", multiple=True, metavar="KEY=VALUE", help="What the payer's browser sent.")
@_key
@common
@pass_app
def session_authorize(
    app: App, id_: str, by: str | None, reference: str | None, payload: tuple[str, ...], key: str | None
) -> None:
    """Authorize the session's amount."""
    with app.payments() as payments:
        sent = _pairs(payload, "payload") or {}
        if payments.get(id_).provider == "manual" or by is not None:
            sent.setdefault("by", by or _user())
        if reference is not None:
            sent["reference"] = reference
        done = payments.authorize(id_, payload=sent or None, idempotency_key=key)
    app.session(done)
    if done.status is Status.ERROR:
        sys.exit(EXIT_FAILED)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without users
        return "somebody at the command line"


@session.command("capture")
@click.argument("id_")
@click.argument("amount", required=False)
@click.option("--final", is_flag=True, help="Let go of the rest.")
@_key
@common
@pass_app
def session_capture(app: App, id_: str, amount: str | None, final: bool, key: str | None) -> None:
    """Take what is authorized: all that is left, or AMOUNT of it."""
    with app.payments() as payments:
        part = _money(amount, payments.get(id_).amount.currency)
        app.session(payments.capture(id_, part, final=final, idempotency_key=key))


@session.command("refund")
@click.argument("id_")
@click.argument("amount", required=False)
@click.option("--capture", metavar="OPERATION", help="Which capture it refers to.")
@click.option("--reason", help="Why.")
@_key
@common
@pass_app
def session_refund(
    app: App, id_: str, amount: str | None, capture: str | None, reason: str | None, key: str | None
) -> None:
    """Give back what was captured: all that is left, or AMOUNT of it."""
    with app.payments() as payments:
        part = _money(amount, payments.get(id_).amount.currency)
        app.session(payments.refund(id_, part, capture=capture, reason=reason, idempotency_key=key))


@session.command("update")
@click.argument("id_")
@click.argument("amount")
@_key
@common
@pass_app
def session_update(app: App, id_: str, amount: str, key: str | None) -> None:
    """Change the amount of a session that is not authorized yet."""
    with app.payments() as payments:
        part = Money(amount, payments.get(id_).amount.currency)
        app.session(payments.update(id_, part, idempotency_key=key))


@session.command("cancel")
@click.argument("id_")
@_key
@common
@pass_app
def session_cancel(app: App, id_: str, key: str | None) -> None:
    """Let go of what is authorized and not captured."""
    with app.payments() as payments:
        app.session(payments.cancel(id_, idempotency_key=key))


@session.command("sync")
@click.argument("id_")
@common
@pass_app
def session_sync(app: App, id_: str) -> None:
    """Ask the provider how the session stands."""
    with app.payments() as payments:
        app.session(payments.sync(id_))


@session.command("show")
@click.argument("id_")
@common
@pass_app
def session_show(app: App, id_: str) -> None:
    """Show a session as the books have it."""
    with app.payments() as payments:
        app.session(payments.get(id_))


@session.command("list")
@click.option("--collection", "collection_", metavar="ID", help="Only those of a collection.")
@click.option("--reference", help="Only those of the collection with this reference.")
@click.option("--provider", help="Only those of a provider.")
@click.option("--status", type=click.Choice([str(status) for status in Status]))
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
    after: str | None,
    limit: int,
) -> None:
    """List sessions."""
    with app.payments() as payments:
        found = payments.sessions(
            collection_id=collection_,
            reference=reference,
            provider=provider,
            status=status,
            after=after,
            limit=limit,
        )
    app.answer([show.session_json(row) for row in found], lambda: show.show_sessions(found))


@session.command("history")
@click.argument("id_")
@common
@pass_app
def session_history(app: App, id_: str) -> None:
    """Show every operation of a session."""
    with app.payments() as payments:
        rows = payments.history(id_)
        found = payments.get(id_)

    def shown() -> None:
        show.show_history(rows)
        show.show_session(found)

    tree = {**show.session_json(found), "operations": [show.operation_json(row) for row in rows]}
    app.answer(tree, shown)


# --- what is open ---------------------------------------------------------------------------------


@cli.command()
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


@cli.command("in-doubt")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
@common
@pass_app
def in_doubt(app: App, limit: int) -> None:
    """List operations whose outcome is not known."""
    with app.payments() as payments:
        found = payments.in_doubt(limit=limit)
    app.answer([show.doubt_json(row) for row in found], lambda: show.show_doubts(found))


@cli.command()
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


@cli.command()
@click.option("--after", metavar="CURSOR", help="Go on after this event.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
@common
@pass_app
def events(app: App, after: str | None, limit: int) -> None:
    """List what happened, in the order in which it happened."""
    with app.payments() as payments:
        found = payments.events(after=after, limit=limit)
    app.answer([show.event_json(row) for row in found], lambda: show.show_events(found))


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
    try:
        cli(prog_name="paysession")
    except Exception as error:
        if os.environ.get("PAYSESSION_DEBUG"):
            raise
        click.secho(
            f"Error: {type(error).__name__}: {error} (PAYSESSION_DEBUG=1 shows where)", fg="red", err=True
        )
        sys.exit(EXIT_FAILED)
