"""Settings: from code, from the environment and from a TOML file, checked against what a plugin takes.

A plugin's settings are the arguments of its class. The environment's names are
``PAYSESSION_<PROVIDER>__<SETTING>`` in capitals, with ``-`` written as ``_``: for the account
``stripe-us`` that is ``PAYSESSION_STRIPE_US__API_KEY``. What stands in code wins over the
environment, and the environment over the file.
"""

from __future__ import annotations

import inspect
import json
import types
import typing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from paysession.errors import PaysessionError, SettingsError
from paysession.values import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

__all__ = ["Settings", "build", "from_environment", "load_file", "redact"]

Settings = typing.Mapping[str, Any]

_FILE_KEYS: Final = ("store", "public_url", "plugins", "offered", "allow_mixed_modes", "providers")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def load_file(path: str | PathLike[str]) -> dict[str, Any]:
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

    Raises:
        SettingsError: A setting is unknown, is missing, or was refused by the plugin. What the
            plugin takes as a `Secret` is never repeated in the message.
    """
    parameters = _parameters(factory)
    hints = _hints(factory)
    texts = from_environment(name, environ)
    for key in (*given, *texts):
        if key not in parameters:
            known = ", ".join(sorted(parameters)) or "none"
            raise SettingsError(
                f"{name}: unknown setting {key!r}{_suggest(key, parameters)}; known are: {known}"
            )
    values: dict[str, Any] = {}
    for key in parameters:
        if key in given:
            values[key] = _convert(name, key, given[key], hints.get(key), text=False)
        elif key in texts:
            values[key] = _convert(name, key, texts[key], hints.get(key), text=True)
    missing = [key for key, required in parameters.items() if required and key not in values]
    if missing:
        prefix = f"PAYSESSION_{name.upper().replace('-', '_')}__"
        variables = ", ".join(f"{prefix}{key.upper()}" for key in missing)
        raise SettingsError(
            f"{name}: missing setting {', '.join(missing)}; "
            f"give it in code, in the settings file or as {variables}"
        )
    try:
        return factory(**values)
    except (TypeError, ValueError, PaysessionError) as error:
        # attrs validators put the offending value into the error's arguments; only the sentence goes on.
        sentence = redact(str(error.args[0] if error.args else error), secrets_of(values.values()))
        raise SettingsError(f"{name}: {sentence}") from None


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
    except (TypeError, ValueError):
        wanted = getattr(hint, "__name__", str(hint))
        raise SettingsError(f"{name}: setting {key!r} must be of type {wanted}") from None


def _into(hint: Any, value: Any, *, text: bool) -> Any:
    if hint is Secret:
        return Secret(value)
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
