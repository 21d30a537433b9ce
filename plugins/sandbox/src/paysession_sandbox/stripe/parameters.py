"""Parameters as they are read: what a call does not know is refused, and so is what is not of its type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

from paysession_sandbox.stripe.refusals import Refusal, invalid, missing, not_imitated, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from paysession_sandbox.stripe.wire import Json

__all__ = [
    "EXPAND",
    "Shape",
    "anything",
    "boolean",
    "choice",
    "clearable",
    "currency",
    "integer",
    "left_out",
    "list_of",
    "merged",
    "metadata",
    "nested",
    "pick",
    "read",
    "required",
    "text",
    "url",
]

Shape = dict[str, Any]
"""The parameters of a call: a reader for each name."""

_KEYS, _KEY_LENGTH, _VALUE_LENGTH = 50, 40, 500
"""https://docs.stripe.com/metadata"""

_LONGEST: Final = 5000
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_CODES: Final = """
usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd cad
cdf chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd hnl
htg huf idr ils inr isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd
mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd
rub rwf sar sbd scr sek sgd shp sle sos srd std szl thb tjs tnd top try ttd twd tzs uah ugx uyu uzs vnd
vuv wst xaf xcd xcg xof xpf yer zar zmw
"""
_CURRENCIES: Final = frozenset(_CODES.split())
"""https://docs.stripe.com/currencies"""


def read(params: Mapping[str, Any], shape: Shape, inside: str = "") -> Json:
    """Return the parameters of a call with their types.

    Raises:
        Refusal: One is unknown, missing, or not of its type.
    """
    for name in params:
        if name not in shape:
            raise unknown(f"{inside}[{name}]" if inside else name)
    found: Json = {}
    for name, reader in shape.items():
        full = f"{inside}[{name}]" if inside else name
        if name in params:
            found[name] = reader(full, params[name])
        elif getattr(reader, "required", False):
            raise missing(full)
    return found


def required(reader: Any) -> Any:
    """Return a reader of what must be there."""

    def read_it(name: str, raw: Any) -> Any:
        if raw == "":
            raise invalid(name, f"You passed an empty string for '{name}'.", "parameter_invalid_empty")
        return reader(name, raw)

    read_it.required = True  # type: ignore[attr-defined]
    return read_it


def clearable(reader: Any) -> Any:
    """Return a reader of what an empty text takes away: None is returned for it."""

    def read_it(name: str, raw: Any) -> Any:
        return None if raw == "" else reader(name, raw)

    return read_it


def text(longest: int = _LONGEST, pattern: str | None = None) -> Any:
    """Return a reader of a text."""

    def read_it(name: str, raw: Any) -> str:
        if not isinstance(raw, str):
            raise invalid(name, f"Invalid string: {name}", "parameter_invalid_string")
        if len(raw) > longest:
            raise invalid(name, f"Invalid string: {name} must be at most {longest} characters")
        if pattern is not None and not re.fullmatch(pattern, raw):
            raise invalid(name, f"Invalid string: {name}")
        return raw

    return read_it


def integer(least: int | None = None, most: int | None = None) -> Any:
    """Return a reader of a whole number."""

    def read_it(name: str, raw: Any) -> int:
        if not isinstance(raw, (str, int)) or not _INTEGER.fullmatch(str(raw)):
            raise invalid(name, f"Invalid integer: {raw}", "parameter_invalid_integer")
        value = int(raw)
        if (least is not None and value < least) or (most is not None and value > most):
            raise invalid(name, f"Invalid integer: {value}", "parameter_invalid_integer")
        return value

    return read_it


def boolean(name: str, raw: Any) -> bool:
    """Read a truth value."""
    if raw in (True, "true"):
        return True
    if raw in (False, "false"):
        return False
    raise invalid(name, f"Invalid boolean: {raw}")


def choice(*values: str) -> Any:
    """Return a reader of one of several words."""

    def read_it(name: str, raw: Any) -> str:
        if raw not in values:
            raise invalid(name, f"Invalid {name}: must be one of {', '.join(values)}")
        return cast("str", raw)

    return read_it


def currency(name: str, raw: Any) -> str:
    """Read a currency: a code of three small letters, in which Stripe takes payments."""
    code = raw.lower() if isinstance(raw, str) else ""
    if code not in _CURRENCIES:
        raise invalid(name, f"Invalid currency: {raw}")
    return code


def url(name: str, raw: Any) -> str:
    """Read an address."""
    if not isinstance(raw, str) or not re.match(r"[a-z][a-z0-9+.-]*://.+", raw, re.IGNORECASE):
        raise invalid(name, "Not a valid URL", "url_invalid")
    return raw


def nested(shape: Shape) -> Any:
    """Return a reader of parameters within a parameter."""

    def read_it(name: str, raw: Any) -> Json:
        if not isinstance(raw, dict):
            raise invalid(name, f"Invalid object: {name}")
        return read(cast("Json", raw), shape, name)

    return read_it


def list_of(reader: Any) -> Any:
    """Return a reader of a list."""

    def read_it(name: str, raw: Any) -> list[Any]:
        if not isinstance(raw, list):
            raise invalid(name, "Invalid array")
        items: list[Any] = list(raw)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        return [reader(f"{name}[{place}]", item) for place, item in enumerate(items)]

    return read_it


def anything(name: str, raw: Any) -> Any:
    """Read what is kept as it comes, and has no effect here."""
    del name
    return raw


def left_out(name: str, raw: Any) -> Any:
    """Refuse what Stripe has, and is not imitated."""
    del raw
    raise not_imitated(name)


def metadata(name: str, raw: Any) -> Json:
    """Read metadata: at most 50 keys of 40 characters, with values of 500; an empty one takes a key away."""
    if raw == "":
        return {"": ""}
    if not isinstance(raw, dict):
        raise invalid(name, "Invalid object")
    found = cast("Json", raw)
    if len(found) > _KEYS:
        raise invalid(name, f"Metadata can have at most {_KEYS} keys")
    for key, value in found.items():
        if not isinstance(value, str) or len(value) > _VALUE_LENGTH:
            raise invalid(
                f"{name}[{key}]", f"Metadata values are texts of at most {_VALUE_LENGTH} characters"
            )
        if len(key) > _KEY_LENGTH or "[" in key or "]" in key:
            raise invalid(
                name, f"Metadata keys have at most {_KEY_LENGTH} characters, and no square brackets"
            )
    return found


def merged(kept: Json, change: Json | None) -> Json:
    """Return metadata after a change.

    Raises:
        Refusal: It would have too many keys.
    """
    if change is None:
        return kept
    if change == {"": ""}:
        return {}
    found = {name: value for name, value in {**kept, **change}.items() if value != ""}
    if len(found) > _KEYS:
        raise Refusal(400, param="metadata", message=f"Metadata can have at most {_KEYS} keys")
    return found


def pick(params: Mapping[str, Any], names: Iterable[str]) -> Json:
    """Return those parameters that were given."""
    return {name: params[name] for name in names if name in params}


EXPAND: Final = list_of(text())
"""Which ids are to be shown as the objects that they name."""
