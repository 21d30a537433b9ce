"""The small values that everything else is made of: what a browser may see, what nobody may see."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NoReturn, ParamSpec, TypeVar, cast

from attrs import Factory, asdict, field, fields, frozen

from paysession.errors import InvalidData
from paysession.reasons import category_of, payer_message_key_of
from paysession.text import as_text, is_storable, storable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from attrs import Attribute, AttrsInstance

    from paysession.reasons import FailureCategory, PayerMessageKey

__all__ = [
    "MAX_DEPTH",
    "MAX_JSON",
    "ClientAction",
    "Failure",
    "Instructions",
    "NextAction",
    "Redirect",
    "Secret",
    "Status",
    "Value",
    "decode",
    "dump_action",
    "encode",
    "in_utc",
    "load_action",
    "made",
    "merged",
    "new",
    "replace",
    "text_or_none",
]

MAX_JSON: Final = 65_536
"""The largest ``data`` or ``payload``, in characters of JSON."""

MAX_DEPTH: Final = 100
"""How deep ``data`` or ``payload`` may be nested: far below where Python's JSON reader gives up."""

_EARLIEST: Final = datetime(1, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)

_Value = TypeVar("_Value")
_Names = ParamSpec("_Names")
_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')  # a bracket within a text is none
_write: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def text_or_none(text: str | None) -> str | None:
    """Return an optional text as a database can hold it: the converter of such an attribute."""
    return storable(text) if isinstance(text, str) else text  # what is none, the validator refuses


def in_utc(moment: datetime | None) -> datetime | None:
    """Return an optional time in UTC; what is beyond the years 1 to 9999 there, at their end.

    Raises:
        TypeError: It is no time, or one without a time zone.
    """
    if moment is None:
        return None
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise TypeError("a time is a datetime with a time zone, such as datetime.now(UTC)")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return _LATEST if moment.year > 1 else _EARLIEST


class Status(StrEnum):
    """Where a payment session stands: these five and no others."""

    PENDING = "pending"
    """Not authorized yet."""
    REQUIRES_MORE = "requires_more"
    """The provider says that the payer must act: an approval page, 3DS."""
    AUTHORIZED = "authorized"
    """The amount is authorized; ``captured_amount`` says how much of it was taken."""
    ERROR = "error"
    """Authorizing failed; it may be tried again."""
    CANCELED = "canceled"
    """Final."""


class Value:
    """What all frozen values have in common: they are equal by class and attributes, and show them.

    An attribute whose ``repr`` is a function is shown as that writes it, as with attrs' own.

    Written once: to generate it for each class would take a fifth of the time of ``import paysession``.
    """

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, part.name) for part in self._parts())))

    def __repr__(self) -> str:
        shown = (
            f"{part.alias}={(part.repr if callable(part.repr) else repr)(getattr(self, part.name))}"
            for part in self._parts()
            if part.repr
        )
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def _parts(self) -> tuple[Attribute[Any], ...]:
        parts: tuple[Attribute[Any], ...] = fields(cast("type[AttrsInstance]", type(self)))
        return parts


class Secret:
    """A string that does not show itself: not in repr, ``attrs.asdict``, logs, JSON, a copy or a pickle.

    Only `reveal` returns it. It is no attribute either, so what walks through an object's attributes
    (a debugger's page, a serializer) finds none.

    Args:
        value: The secret, or another `Secret`.
    """

    __slots__ = ("_reveal",)
    _reveal: Callable[[], str]

    def __init__(self, value: str | Secret) -> None:
        if isinstance(value, Secret):
            value = value.reveal()
        if not isinstance(value, str):
            raise TypeError(f"a secret is a str, not {type(value).__name__}")
        text = value
        self._reveal = lambda: text

    def reveal(self) -> str:
        """Return the secret itself, to hand to the provider's SDK and to nobody else."""
        return self._reveal()

    def __bool__(self) -> bool:
        return bool(self._reveal())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        from hmac import compare_digest  # noqa: PLC0415 - it loads OpenSSL, and settings are seldom compared

        # A secret that UTF-8 has no form for must not be shown by the error that says so.
        mine, theirs = (secret.reveal().encode("utf-8", "surrogatepass") for secret in (self, other))
        return compare_digest(mine, theirs)

    def __hash__(self) -> int:
        return hash((Secret, self._reveal()))

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: hand the setting over instead")

    def __getstate__(self) -> NoReturn:
        self.__reduce__()


def _as_it_is(key: PayerMessageKey | None) -> PayerMessageKey:
    return cast("PayerMessageKey", key)  # what is none of them is replaced once the category is known


@frozen(slots=False, eq=False, repr=False)
class Failure(Value):
    """Why a session or an operation failed. What is no text is kept as it is written.

    Attributes:
        code: The provider's machine-readable reason, such as ``card_declined``.
        message: A sentence for the merchant: the payer must not read it.
        category: What may follow: ``hard``, ``soft``, ``authentication``, ``try_later`` or
            ``configuration``; ``soft`` if the provider says nothing else.
        payer_message_key: What the payer may be told, as a stable key that a shop translates; by default
            that of the category.
    """

    code: str = field(converter=as_text)
    message: str = field(converter=as_text)
    category: FailureCategory = field(default=None, converter=category_of)
    payer_message_key: PayerMessageKey = field(default=None, converter=_as_it_is)

    def __attrs_post_init__(self) -> None:
        key = payer_message_key_of(self.payer_message_key, self.category)
        self.__dict__["payer_message_key"] = key


def _action_text(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a next action's text is a str, not {type(value).__name__}")
    return storable(value)


def _action_parts(parts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a next action's fields or parameters as every store and every page can hold them."""
    if not parts:
        return parts
    try:
        if is_storable("".join(parts) + "".join(parts.values())):
            return parts  # as they mostly are, a few short texts
    except (TypeError, AttributeError):
        pass
    try:
        text = json.dumps(parts, default=dict, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidData(f"a next action cannot be written as JSON: {error}") from None
    _check_depth(text, "a next action")
    escaped: dict[str, Any] = _escaped(json.loads(text))
    return escaped


def _escaped(tree: Any) -> Any:
    if isinstance(tree, str):
        return storable(tree)
    if isinstance(tree, dict):
        return {storable(key): _escaped(part) for key, part in cast("dict[str, Any]", tree).items()}
    if isinstance(tree, list):
        return [_escaped(part) for part in cast("Iterable[Any]", tree)]
    return tree


def _names(parts: Mapping[str, Any]) -> str:
    """Return the names of a next action's fields or parameters: one of them is a secret of the payer's."""
    return repr(list(parts))


class _Action(Value):
    """What the payer must do. Its repr shows which kind it is, and names: who has the rest could pay or read.

    That holds for a hosted page's address as well as for the secret of a page's script.
    """

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON for the page: ``type`` says which it is, beside its attributes."""
        return {"type": _NAMES[type(self)], **asdict(cast("AttrsInstance", self))}


@frozen(slots=False, eq=False, repr=False)
class Redirect(_Action):
    """Send the payer's browser to ``url``.

    Attributes:
        url: The provider's page.
        method: ``GET``, or ``POST`` with ``fields`` as a form.
        fields: The form's fields.
    """

    url: str = field(converter=_action_text, repr=False)
    method: str = field(default="GET", converter=_action_text)
    fields: Mapping[str, str] = field(default=Factory(dict[str, str]), converter=_action_parts, repr=_names)


@frozen(slots=False, eq=False, repr=False)
class ClientAction(_Action):
    """What the provider's own script in the browser needs.

    Attributes:
        kind: Which script, such as ``stripe.payment_element``.
        params: Its parameters. They are shown to the payer: no secret of the merchant.
    """

    kind: str = field(converter=_action_text)
    params: Mapping[str, Any] = field(default=Factory(dict[str, Any]), converter=_action_parts, repr=_names)


@frozen(slots=False, eq=False, repr=False)
class Instructions(_Action):
    """What to show the payer, as keys and values without translated text.

    Attributes:
        kind: Which instructions, such as ``bank_transfer``.
        fields: For instance ``iban``, ``reference``, ``due``.
    """

    kind: str = field(converter=_action_text)
    fields: Mapping[str, str] = field(default=Factory(dict[str, str]), converter=_action_parts, repr=_names)


NextAction = Redirect | ClientAction | Instructions
"""What the payer must do: all that a browser may see of a session; ``to_json()`` is for the page.

A repr shows the kind and names alone: no address of a page, no parameter's value."""

_ACTIONS: Final[dict[str, type[NextAction]]] = {
    "redirect": Redirect,
    "client_action": ClientAction,
    "instructions": Instructions,
}
_NAMES: Final[dict[type, str]] = {cls: name for name, cls in _ACTIONS.items()}


if TYPE_CHECKING:
    # A checker of types sees `attrs.evolve`, and so finds a misspelled attribute and a wrong type.
    from attrs import evolve as replace
else:

    def replace(value: _Value, /, **changes: Any) -> _Value:
        """Return a copy of a frozen value with some attributes changed.

        A fifth of the cost of ``attrs.evolve`` (no ``__init__``, no converters), which every step of
        every operation would pay several times. Names are those of ``__init__``.
        """
        cls = type(value)
        return made(cls, value.__dict__ | _by_attribute(cls, changes))


def new(
    cls: Callable[_Names, _Value],
    private: dict[str, object],
    /,
    *_: _Names.args,
    **attributes: _Names.kwargs,
) -> _Value:
    """Return a frozen value made of all of its attributes, which nothing converts or validates.

    For values that every operation makes: half the cost of an ``__init__`` with twenty arguments. A checker
    of types compares names and types with those of ``__init__``.

    Args:
        cls: The class.
        private: The attributes that have another name in ``__init__``, by their own names.
        attributes: The others.
    """
    if private:
        attributes.update(private)
    return made(cls, attributes)  # type: ignore[arg-type] # a class is called as its `__init__` is


def made(cls: type[_Value], attributes: dict[str, Any]) -> _Value:
    """Return a frozen value with these attributes, all of them, by their own names."""
    value = _blank(cls)
    _assign(value, "__dict__", attributes)
    return value


_blank: Final = object.__new__
_assign: Final = object.__setattr__


def _by_attribute(cls: type[Any], named: dict[str, Any]) -> dict[str, Any]:
    """Return what is named as in ``__init__`` by the names of the attributes."""
    private = _PRIVATE.get(cls)
    if private is None:
        parts = fields(cast("type[AttrsInstance]", cls))
        private = [(part.alias or part.name, part.name) for part in parts if part.alias != part.name]
        _PRIVATE[cls] = private
    for alias, name in private:
        if alias in named:
            named[name] = named.pop(alias)
    return named


_PRIVATE: Final[dict[type, list[tuple[str, str]]]] = {}
"""For each class the attributes that have another name in its ``__init__``, with that name first."""


def encode(value: Mapping[str, Any] | None, name: str) -> str:
    """Return a mapping as the JSON text that is stored; None is the empty mapping.

    Raises:
        InvalidData: Not a mapping of JSON values with str keys, longer than `MAX_JSON`, or nested deeper
            than `MAX_DEPTH`.
    """
    if value is None:
        return "{}"
    try:
        plain = dict(value) if hasattr(value, "keys") else None
        if plain == {}:
            return "{}"
        text = _write(plain) if plain is not None else ""
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidData(f"{name} cannot be written as JSON: {error}") from None
    except Exception as error:  # noqa: BLE001 - a mapping of the caller's own may raise whatever it likes
        raise InvalidData(f"{name} cannot be read: {type(error).__name__}") from None
    if plain is None:
        raise InvalidData(f"{name} must be a mapping, not {type(value).__name__}")
    if len(text) > MAX_JSON:
        raise InvalidData(f"{name} is {len(text):,} characters of JSON; at most {MAX_JSON:,} are kept")
    if not all(isinstance(key, str) for key in plain):
        raise InvalidData(f"{name} must have keys of type str")
    _check_depth(text, name)
    return text


def _check_depth(text: str, name: str) -> None:
    """Refuse JSON that is nested deeper than `MAX_DEPTH`; only what has many brackets is read for it."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = deepest = 0
    for found in _BRACKETS.finditer(text):
        bracket = found[0]
        depth += (bracket in "[{") - (bracket in "]}")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise InvalidData(f"{name} is nested {deepest} deep; at most {MAX_DEPTH} levels are kept")


def decode(text: str | None) -> dict[str, Any]:
    """Return the mapping that `encode` wrote, a new one at each call."""
    return json.loads(text) if text and text != "{}" else {}


def merged(text: str, more: str) -> str:
    """Return the JSON text of a mapping with the names of another added, or put in their place.

    Raises:
        InvalidData: It would be longer than `MAX_JSON`.
    """
    return more if text == "{}" else encode({**decode(text), **decode(more)}, "data")


def dump_action(action: NextAction | None) -> str | None:
    """Return a next action as JSON text, for a store."""
    if action is None:
        return None
    name = _NAMES.get(type(action))
    if name is None:
        raise InvalidData(f"not a next action: {type(action).__name__}")
    return json.dumps([name, asdict(action)], default=dict)


def load_action(text: str | None) -> NextAction | None:
    """Return the next action that `dump_action` wrote."""
    if text is None:
        return None
    name, parts = json.loads(text)
    return _ACTIONS[name](**parts)
