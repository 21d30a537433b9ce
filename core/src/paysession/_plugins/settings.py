"""Settings: from code, from the environment and from a TOML file, checked against what a plugin takes.

A plugin's settings are the arguments of its class. The environment's names are
``PAYSESSION_<PROVIDER>__<SETTING>`` in capitals, with ``-`` written as ``_``: for the account
``stripe-us`` that is ``PAYSESSION_STRIPE_US__API_KEY``. What stands in code wins over the
environment, and the environment over the file.

Where a secret is sent is a setting as well, and settings may come from somebody else: from a file that
lies in the working directory, or from the environment of a server. So an `Endpoint` is guarded:

- A file that was found rather than named (`Found`) never redirects a secret that comes from elsewhere.
- A key of live or unknown mode goes only to the gateway's own hosts, unless code says otherwise.
"""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from paysession.endpoint import Endpoint
from paysession.errors import PaysessionError, SettingsError
from paysession.values import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from os import PathLike

__all__ = [
    "TEST_MODES",
    "Found",
    "Settings",
    "Table",
    "build",
    "from_environment",
    "listed",
    "load_config",
    "redact",
]

Settings = typing.Mapping[str, Any]

_FILE_KEYS: Final = (
    "store",
    "public_url",
    "plugins",
    "offered",
    "allow_mixed_modes",
    "call_deadline",
    "abandon_after",
    "retention",
    "providers",
)
TEST_MODES: Final = ("test", "sandbox")
"""The modes of a provider that moves no real money."""
_SECRET_NAME: Final = re.compile("key|secret|token|passw", re.IGNORECASE)
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def listed(values: Iterable[Any], what: str) -> list[Any]:
    """Return the items of an iterable that is given in code, or refuse one that fails on the way.

    Raises:
        SettingsError: It raised something.
    """
    try:
        return list(values)
    except Exception as error:
        raise SettingsError(f"{what} cannot be read: it raised {type(error).__name__}") from error


class Found(str):
    """The path of a settings file that was found (in the working directory, say) rather than named."""

    __slots__ = ()


class Table(dict[str, Any]):
    """The settings of one provider as code and a file give them, code first.

    Args:
        code: What code says.
        file: What a file says.
        path: The file, if it was found rather than named.

    Attributes:
        from_file: The names of the settings that only the file gives.
        found: The path of the file, if it was found rather than named.
    """

    def __init__(self, code: Settings, file: Settings | None = None, path: Found | None = None) -> None:
        super().__init__({**(file or {}), **code})
        self.from_file = frozenset(file or ()) - frozenset(code)
        self.found = path

    def source(self, key: str) -> str:
        """Return where a setting comes from: ``code``, ``file`` or ``found``."""
        if key not in self.from_file:
            return "code"
        return "file" if self.found is None else "found"


def load_config(path: str | PathLike[str]) -> dict[str, Any]:
    """Return the settings of a TOML file: ``store``, ``plugins``, ``[providers.NAME]`` and so on.

    Raises:
        SettingsError: The file is missing, is not TOML, or has a key that is not known.
    """
    import tomllib  # noqa: PLC0415 - only who has such a file pays for the parser

    try:
        with open(path, "rb") as file:  # noqa: PTH123 - path may be any PathLike
            tree = tomllib.load(file)
    except FileNotFoundError:
        raise SettingsError(f"there is no settings file {path!s}") from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file {path!s} cannot be read: {error}") from None
    for key in tree:
        if key not in _FILE_KEYS:
            raise SettingsError(f"unknown key {key!r} in {path!s}{_suggest(key, _FILE_KEYS)}")
    if not hasattr(tree.get("retention", {}), "keys"):
        raise SettingsError(f"in {path!s} retention is a table: [retention]")
    providers: Any = tree.get("providers", {})
    if not hasattr(providers, "values") or not all(hasattr(part, "keys") for part in providers.values()):
        raise SettingsError(f"in {path!s} each provider is a table: [providers.NAME]")
    return tree


def from_environment(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that the environment holds for a selected provider."""
    prefix = f"PAYSESSION_{name.upper().replace('-', '_')}__"
    return {key[len(prefix) :].lower(): value for key, value in environ.items() if key.startswith(prefix)}


def build(name: str, factory: Callable[..., Any], given: Settings, environ: Mapping[str, str]) -> Any:
    """Make a plugin from its settings.

    Args:
        name: The name under which it is selected; also that of its settings in the environment.
        factory: The plugin's class.
        given: A `Table`, or what code says; ``use`` is the installed plugin's name, if it is another one.
        environ: The environment.

    Raises:
        SettingsError: A setting is unknown, is missing, or was refused by the plugin; or it would send a
            secret to where it must not go. No setting's value is repeated in the message.
    """
    table = given if isinstance(given, Table) else Table(given)
    parameters = _parameters(factory)
    hints = _hints(factory)
    texts = from_environment(name, environ)
    for key in (*(key for key in table if key != "use"), *texts):
        if key not in parameters:
            known = ", ".join(sorted(parameters)) or "none"
            raise SettingsError(
                f"{name}: unknown setting {key!r}{_suggest(key, parameters)}; known are: {known}"
            )
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for key in parameters:
        if key in texts and (key in table.from_file or key not in table):
            values[key] = _convert(name, key, texts[key], hints.get(key), text=True)
            sources[key] = "environment"
        elif key in table:
            values[key] = _convert(name, key, table[key], hints.get(key), text=False)
            sources[key] = table.source(key)
    missing = [key for key, required in parameters.items() if required and key not in values]
    if missing:
        prefix = f"PAYSESSION_{name.upper().replace('-', '_')}__"
        variables = ", ".join(f"{prefix}{key.upper()}" for key in missing)
        raise SettingsError(
            f"{name}: missing setting {', '.join(missing)}; "
            f"give it in code, in the settings file or as {variables}"
        )
    if table.found is not None:
        _check_found(name, table, values, sources, hints)
    try:
        plugin = factory(**values)
    except (TypeError, ValueError, PaysessionError) as error:
        # attrs validators put the offending value into the error's arguments; only the sentence goes on.
        sentence = _without(values.values(), str(error.args[0] if error.args else error))
        raise SettingsError(f"{name}: {sentence}") from None
    _check_hosts(name, plugin, factory, values, sources)
    return plugin


def _check_found(name: str, table: Table, values: Settings, sources: Settings, hints: Settings) -> None:
    """Refuse a file that was found if it says where a secret goes that does not stand in it.

    A class that declares no `Endpoint` does not say which of its settings do that, so all are taken to.

    Raises:
        SettingsError: It does; the sentence names the settings.
    """
    secrets = [
        key
        for key, value in values.items()
        if sources[key] != "found" and (secrets_of([value]) or _SECRET_NAME.search(key))
    ]
    declared = [key for key, hint in hints.items() if _is_endpoint(hint)]
    redirecting = [key for key in values if sources[key] == "found" and (key in declared or not declared)]
    if "use" in table.from_file and table["use"] != name:
        redirecting.insert(0, "use")  # the key would go to another plugin's gateway
    if secrets and redirecting:
        raise SettingsError(
            f"{name}: {', '.join(secrets)} comes from elsewhere, and {table.found}, which was found and not "
            f"named, would say where it is sent ({', '.join(redirecting)}): name the file (--config) if you "
            "trust it, or leave that out of it"
        )


def _check_hosts(
    name: str, plugin: object, factory: Callable[..., Any], values: Settings, sources: Settings
) -> None:
    """Refuse an address from the environment or a file that is not the gateway's, unless in test mode.

    Raises:
        SettingsError: It is not; the sentence names the gateway's own hosts.
    """
    mode = getattr(plugin, "mode", None)
    if mode in TEST_MODES:
        return
    defaults = inspect.signature(factory).parameters
    for key, value in values.items():
        own = getattr(defaults[key].default, "hosts", frozenset[str]())
        if isinstance(value, Endpoint) and value and own and sources[key] != "code" and value.host not in own:
            raise SettingsError(
                f"{name}: {key} names no host of the gateway's own ({', '.join(sorted(own))}), and a key of "
                f"{mode or 'unknown'} mode is sent to no other, unless the address is given in code"
            )


def _is_endpoint(hint: Any) -> bool:
    return hint is Endpoint or Endpoint in typing.get_args(hint)


def _without(values: typing.Iterable[Any], sentence: str) -> str:
    """Return a plugin's sentence without the values of its settings, such as attrs' validators repeat."""
    texts: set[str] = set()
    for value in values:
        texts.update(secrets_of([value]))
        texts.update(repr(part) for part in (value, str(value)) if isinstance(value, str) and value)
        if isinstance(value, str):
            texts.add(str(value))
        elif not isinstance(value, Secret):
            sentence = re.sub(rf"(: |got ){re.escape(repr(value))}(?!\w)", r"\1***", sentence)
    for text in sorted(filter(None, texts), key=len, reverse=True):
        # A short text may well be a part of a word of the sentence.
        sentence = re.sub(rf"(?<!\w){re.escape(text)}(?!\w)", "***", sentence)
    return sentence


def redact(text: str, secrets: list[str]) -> str:
    """Return a text without any of the secrets."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def secrets_of(values: typing.Iterable[Any]) -> list[str]:
    """Return the texts of all `Secret` values among these, in lists and tuples too."""
    found: list[str] = []
    for value in values:
        if isinstance(value, Secret):
            if value:
                found.append(value.reveal())
        elif isinstance(value, tuple | list):
            found.extend(secrets_of(typing.cast("list[Any]", value)))
    return found


def _parameters(factory: Callable[..., Any]) -> dict[str, bool]:
    """Return the names of the settings, and whether each is required."""
    return {
        parameter.name: parameter.default is parameter.empty
        for parameter in inspect.signature(factory).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def _hints(factory: Callable[..., Any]) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for source in (getattr(factory, "__init__", None), factory):
        try:
            hints.update(typing.get_type_hints(source))
        except (NameError, TypeError):
            # Names imported for type checking only; such settings are handed over as they are.
            annotations = getattr(source, "__annotations__", {})
            hints.update({key: _KNOWN.get(str(value), value) for key, value in annotations.items()})
    return hints


_KNOWN: Final[dict[str, Any]] = {
    "Secret": Secret,
    "Secret | None": Secret,
    "Endpoint": Endpoint,
    "tuple[Secret, ...]": tuple[Secret, ...],
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
}


def _convert(name: str, key: str, value: Any, hint: Any, *, text: bool) -> Any:
    """Return a setting in the type that the plugin states; texts of the environment are parsed."""
    if hint is None:
        return value
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        if value is None or len(options) != 1:
            return value
        hint = options[0]
    try:
        return _into(hint, value, text=text)
    except (TypeError, ValueError) as error:
        if hint is Endpoint and isinstance(value, str):
            raise SettingsError(f"{name}: setting {key!r}: {error}") from None
        wanted = getattr(hint, "__name__", str(hint))
        raise SettingsError(f"{name}: setting {key!r} must be of type {wanted}") from None


def _into(hint: Any, value: Any, *, text: bool) -> Any:
    if hint is Secret:
        # A file made by `echo` ends with a line break, which no header can carry.
        return Secret(Secret(value).reveal().strip())
    if hint is Endpoint:
        return value if isinstance(value, Endpoint) else Endpoint(value.strip())
    if typing.get_origin(hint) in (tuple, list) and typing.get_args(hint):
        if isinstance(value, str):
            value = json.loads(value) if value.lstrip().startswith("[") else value.split(",")
        elif isinstance(value, Secret):
            value = [value]
        inner = typing.get_args(hint)[0]
        return tuple(
            _into(inner, part.strip() if isinstance(part, str) else part, text=text) for part in value
        )
    if hint is timedelta and isinstance(value, str | int | float):
        return timedelta(seconds=float(value))
    if not text:
        if hint in (bool, int, float) and not isinstance(value, int | float if hint is float else hint):
            raise TypeError(value)
        return value
    if hint is bool:
        lowered = value.strip().lower()
        if lowered not in (*_TRUE, *_FALSE):
            raise ValueError(value)
        return lowered in _TRUE
    if hint in (int, float):
        return hint(value)
    return value


def _suggest(word: str, known: typing.Iterable[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only who mistypes pays for it

    close = get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
