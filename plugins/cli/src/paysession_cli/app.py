"""What all commands share: the options, the open store, and how an error is printed."""

from __future__ import annotations

import functools
import getpass
import json
import math
import os
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import urlsplit

import click

import paysession  # what opens payments is loaded when it is first named: not to show a help text
from paysession import InvalidData, Money, OutcomeUnknown, PaysessionError, State, StoreError
from paysession_cli import show
from paysession_cli.terminal import complain, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paysession import Payments, PaymentSession, ProviderInfo

__all__ = [
    "EXIT_FAILED",
    "App",
    "Seconds",
    "Time",
    "asked_by",
    "common",
    "money",
    "pairs_of",
    "pass_app",
    "remember",
]

DEFAULT_DB: Final = "sqlite:///paysession.db"
DEFAULT_CONFIG: Final = "paysession.toml"
EXIT_FAILED, EXIT_IN_DOUBT = 1, 3

_ARGUMENT: Final = re.compile(r"\b([a-z_]+)=(?:True\b|(?=[\s,.;)]|$))")
"""An argument of the library as its messages name it: ``capture=``, ``final=True``."""

MOST_SECONDS: Final = 36_500 * 86_400
"""The longest duration that a command takes: a hundred years."""


class App:
    """What every command shares: the database, the settings, and how to answer."""

    def __init__(self) -> None:
        self.db: str | None = None
        self.config: str | None = None
        self.json = False
        self.changes = False
        """Whether payments were opened to change something."""
        self._announced = False

    def payments(self, *, make: bool = False, reading: bool = False) -> Payments:
        """Open the ledger; a file that is not there is an error, unless it is to be made.

        A command in the wrong folder would otherwise say of a new, empty ledger that nothing is in doubt.

        Args:
            make: Whether a file that is not there is made.
            reading: Whether no provider is needed, so that none is loaded, and none's secrets are needed.
        """
        file = self.missing_file()
        if file is not None and not make:
            raise StoreError(
                f"there is no database {file}: name yours with --db or --config "
                "(paysession collection create makes one)"
            )
        self.changes = self.changes or not reading
        return paysession.Payments.open(self.url(), config=self._settings_file(), load_providers=not reading)

    def providers(self) -> Sequence[ProviderInfo]:
        """Return the providers, for which no store needs to exist."""
        url = "memory:" if self.missing_file() is not None else self.url()
        with paysession.Payments.open(url, config=self._settings_file()) as payments:
            return payments.providers()

    def missing_file(self) -> str | None:
        """Return the SQLite file that the ledger would be in, if it is not there."""
        scheme, _, path = self.url().partition(":///")
        path = path.partition("?")[0]
        missing = scheme.partition("+")[0] == "sqlite" and path and not os.path.exists(path)  # noqa: PTH110
        return os.path.abspath(path) if missing else None  # noqa: PTH100

    def url(self) -> str:
        """Return where the ledger is kept."""
        url, file = self.db, self._settings_file()
        if url is None and file is not None:
            url = paysession.load_config(file).get("store")
            if isinstance(file, paysession.Found):
                _check_store(url)
        url = url or DEFAULT_DB
        return url if ":" in url else f"sqlite:///{url}"

    def _settings_file(self) -> str | None:
        """Return the settings file: the named one, or the one in the working directory.

        Nobody asked for the latter, and it may be a stranger's, so it is announced.
        """
        if self.config is not None or not os.path.exists(DEFAULT_CONFIG):  # noqa: PTH110
            return self.config
        found = paysession.Found(os.path.abspath(DEFAULT_CONFIG))  # noqa: PTH100
        if not self._announced:
            self._announced = True
            click.echo(f"Settings are read from {visible(found)}", err=True)
        return found

    def answer(self, tree: Any, shown: Callable[[], None]) -> None:
        """Answer in JSON, or as a table."""
        if self.json:
            show.emit(tree)
        else:
            shown()

    def answer_line(self, tree: Any, shown: Callable[[], None]) -> None:
        """Answer in one line of JSON, or as a table, and write it out at once."""
        if self.json:
            show.emit(tree, indent=None)
        else:
            shown()
        sys.stdout.flush()

    def session(self, session: PaymentSession) -> None:
        """Answer with a session."""
        self.answer(show.session_json(session), lambda: show.show_session(session))


pass_app = click.make_pass_decorator(App, ensure=True)


def remember(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return the callback of an option that `App` keeps under this name, wherever it was given."""

    def keep(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        if value == "":  # a script's variable that is not set: the default may be another shop's ledger
            raise click.BadParameter("it is empty", context, parameter)
        if value:
            setattr(context.ensure_object(App), name, value)
        return value

    return keep


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--db``, ``--config`` and ``--json``, and turn errors into one sentence."""

    @click.option(
        "--db",
        envvar="PAYSESSION_DB",
        metavar="URL",
        expose_value=False,
        callback=remember("db"),
        help=f"Where the ledger is kept: a URL or a file. [default: {DEFAULT_DB}]",
    )
    @click.option(
        "--config",
        envvar="PAYSESSION_CONFIG",
        type=click.Path(dir_okay=False),
        expose_value=False,
        callback=remember("config"),
        help=f"A TOML file with settings. [default: {DEFAULT_CONFIG}, if there is one; it is announced then]",
    )
    @click.option(
        "--json",
        "json_",
        is_flag=True,
        expose_value=False,
        callback=remember("json"),
        help="Answer in JSON.",
    )
    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        app = click.get_current_context().ensure_object(App)
        try:
            return command(*args, **kwargs)
        except PaysessionError as error:
            _fail(app, error)
        except KeyboardInterrupt:
            if not app.changes:
                raise
            _fail(app, _interrupted(app, kwargs.get("id_")))

    return run


def _interrupted(app: App, session_id: str | None) -> OutcomeUnknown:
    """Return the error of a command that was interrupted: what it began stands in the ledger, and may go on.

    Args:
        app: The app.
        session_id: The session that the command names, if it names one.
    """
    begun = (
        "interrupted: what was begun is in the ledger, and may have been carried out; "
        "look before you repeat it"
    )
    if session_id is None:
        return OutcomeUnknown(begun)
    try:
        with app.payments(reading=True) as payments:
            last = payments.history(session_id)[-1]
    except (PaysessionError, IndexError):  # no session of that name, or a database that is down
        return OutcomeUnknown(begun)
    advice = "; paysession recover settles it" if last.state is State.STARTED else ""
    return OutcomeUnknown(
        f"interrupted: the session's last operation is {last.kind} of {last.amount}, {last.state} "
        f"({last.id}){advice}",
        session_id=session_id,
        operation_id=last.id,
    )


def asked_by(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--by``: who asks, the system user by default."""
    return click.option(
        "--by", default=_user, help="Who asks; it is kept. [default: your user name]", show_default=False
    )(command)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without users
        return "somebody at the command line"


def _check_store(url: object) -> None:
    """Refuse a server that a file names which nobody named, if it would be sent the environment's password.

    Raises:
        StoreError: It would.
    """
    server = isinstance(url, str) and url.startswith("postgres")
    if server and os.environ.get("PGPASSWORD") and not urlsplit(str(url)).password:
        raise StoreError(
            f"{DEFAULT_CONFIG} names a database server and no password, and was found, not named: "
            "PGPASSWORD is not sent there. Name the file with --config, or the database with --db"
        )


def _fail(app: App, error: PaysessionError) -> NoReturn:
    if app.json:
        show.emit(show.error_json(error))
    complain(_as_typed(str(error)))
    sys.exit(EXIT_IN_DOUBT if isinstance(error, OutcomeUnknown) else EXIT_FAILED)


def _as_typed(sentence: str) -> str:
    """Return an error's sentence with each argument that it names, ``capture=``, spelled as the option."""
    options = {param.name: param.opts[0] for param in click.get_current_context().command.params}
    return _ARGUMENT.sub(lambda found: options.get(found[1], found[0]), sentence)


class Time(click.ParamType[datetime]):
    """A date, or a date and time; in UTC unless it says otherwise."""

    name = "time"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the time."""
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time; write 2026-03-14 or 2026-03-14T15:09:26Z", param, ctx)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


class Seconds(click.ParamType[float]):
    """A duration in seconds: from 0 to a hundred years, so that a timedelta holds it."""

    name = "seconds"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds <= MOST_SECONDS:  # NaN is not, either
            self.fail(f"{value!r} is no duration; write seconds, from 0 to {MOST_SECONDS}", param, ctx)
        return seconds


def money(amount: str | None, currency: str) -> Money | None:
    """Return an optional amount in a currency."""
    return None if amount is None else Money(amount, currency)


def pairs_of(pairs: tuple[str, ...], name: str) -> dict[str, Any] | None:
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
