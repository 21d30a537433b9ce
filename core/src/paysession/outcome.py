"""What a provider answers: outcomes, snapshots, effects, notifications, and what it can do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import Factory, field, frozen
from attrs.validators import in_, instance_of

from paysession.checkout import reported
from paysession.errors import InvalidAmount
from paysession.money import Money, exponent
from paysession.operation import Dispute, Kind
from paysession.text import storable
from paysession.values import (
    ClientAction,
    Failure,
    Instructions,
    Redirect,
    Status,
    Value,
    encode,
    in_utc,
    text_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from attrs import Attribute

    from paysession.checkout import Payer
    from paysession.operation import Operation
    from paysession.values import NextAction

__all__ = [
    "ANSWERS",
    "Answer",
    "Capabilities",
    "Changes",
    "Effect",
    "Outcome",
    "Snapshot",
    "WebhookEvent",
    "WebhookReply",
    "effects_of",
]


class Answer(StrEnum):
    """What an `Outcome` says."""

    PENDING = "pending"
    REQUIRES_MORE = "requires_more"
    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    REFUNDED = "refunded"
    CANCELED = "canceled"


ANSWERS: Final[Mapping[Kind, frozenset[Answer]]] = {
    Kind.INITIATE: frozenset({Answer.PENDING, Answer.REQUIRES_MORE}),
    Kind.UPDATE: frozenset({Answer.PENDING, Answer.REQUIRES_MORE, Answer.AUTHORIZED}),
    Kind.AUTHORIZE: frozenset(
        {Answer.PENDING, Answer.REQUIRES_MORE, Answer.AUTHORIZED, Answer.CAPTURED, Answer.CANCELED}
    ),
    Kind.CAPTURE: frozenset({Answer.PENDING, Answer.CAPTURED}),
    Kind.REFUND: frozenset({Answer.PENDING, Answer.REFUNDED}),
    Kind.CANCEL: frozenset({Answer.PENDING, Answer.CANCELED}),
    Kind.CHARGEBACK: frozenset({Answer.REFUNDED}),
}
"""Which hook may answer what. Any other answer counts as unknown. An update is answered ``authorized`` where
it raised what was authorized already, and only there. No hook charges back: an operator may say that a
dispute took the money."""


def _check(name: str, types: tuple[type, ...], value: object) -> None:
    if not isinstance(value, types):
        wanted = " or ".join(cls.__name__ for cls in types)
        raise TypeError(f"{name} is a {wanted}, not {type(value).__name__}")


def _optional(*types: type) -> Callable[[object, Attribute[Any], Any], None]:
    """Return a validator: one call, where attrs' own make three for each field."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if value is not None:
            _check(attribute.name, types, value)

    return check


_ACTIONS: Final = (Redirect, ClientAction, Instructions)
_ACTION = _optional(*_ACTIONS)
_TEXT = _optional(str)
_AMOUNT = _optional(Money)
_LONGEST_WAIT: Final = timedelta(days=366)


def _storable_word(word: str) -> str:
    return storable(word) if isinstance(word, str) else word


def _status(status: Status | str | None) -> Status | None:
    return None if status is None else Status(status)


def _json(data: Mapping[str, Any] | None) -> str | None:
    return None if data is None else encode(data, "data")


@frozen(slots=False, eq=False, repr=False, kw_only=True)
class Outcome(Value):
    """What became of an operation: made with one of the six class methods.

    Each takes ``data=`` (replaces the session's data; None leaves it), ``reference=`` (the
    gateway's id: of the session's object, or of the capture or refund just made), ``payer=`` (who
    paid, as far as it is reported), ``next_action=`` and ``expires_at=``. Amounts are this
    operation's, not totals.
    """

    answer: Answer
    amount: Money | None = None
    released: bool = False
    data: str | None = field(default=None, converter=_json, repr=False)
    """The new data as JSON text; None leaves the session's."""
    reference: str | None = None
    next_action: NextAction | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    check_after: timedelta | None = None
    payer: Payer | None = field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        # Asked of what was given only: a validator would be a call for each attribute of each answer.
        if self.amount is not None:
            _check("amount", (Money,), self.amount)
        if self.reference is not None:
            _check("reference", (str,), self.reference)
            self.__dict__["reference"] = storable(self.reference)
        if self.next_action is not None:
            _check("next_action", _ACTIONS, self.next_action)
        if self.check_after is not None:
            _check("check_after", (timedelta,), self.check_after)
            self.__dict__["check_after"] = min(max(timedelta(0), self.check_after), _LONGEST_WAIT)
        if self.expires_at is not None:
            self.__dict__["expires_at"] = in_utc(self.expires_at)
        if self.payer is not None:
            self.__dict__["payer"] = reported(self.payer)

    @classmethod
    def pending(
        cls,
        *,
        data: Mapping[str, Any] | None = None,
        reference: str | None = None,
        payer: Payer | None = None,
        next_action: NextAction | None = None,
        expires_at: datetime | None = None,
        check_after: timedelta | None = None,
        released: bool = False,
    ) -> Outcome:
        """``initiate``/``update``: waiting for the payer. Other hooks: accepted, not finished there.

        Args:
            released: For a capture: the gateway has released the rest of the authorization already.
            check_after: When to ask the provider again, if no notification comes first: within 366 days.
        """
        return cls(
            answer=Answer.PENDING,
            released=released,
            data=data,
            reference=reference,
            payer=payer,
            next_action=next_action,
            expires_at=expires_at,
            check_after=check_after,
        )

    @classmethod
    def requires_more(
        cls,
        *,
        next_action: NextAction | None = None,
        data: Mapping[str, Any] | None = None,
        reference: str | None = None,
        payer: Payer | None = None,
        expires_at: datetime | None = None,
    ) -> Outcome:
        """The payer must act: ``next_action`` says how."""
        return cls(
            answer=Answer.REQUIRES_MORE,
            data=data,
            reference=reference,
            payer=payer,
            next_action=next_action,
            expires_at=expires_at,
        )

    @classmethod
    def authorized(
        cls,
        *,
        amount: Money | None = None,
        data: Mapping[str, Any] | None = None,
        reference: str | None = None,
        payer: Payer | None = None,
        next_action: NextAction | None = None,
        expires_at: datetime | None = None,
    ) -> Outcome:
        """The amount is authorized: the session's, or ``amount`` as the gateway stated it.

        From ``update``: what was authorized already was raised, and ``amount`` is all that is authorized now.
        """
        return cls(
            answer=Answer.AUTHORIZED,
            amount=amount,
            data=data,
            reference=reference,
            payer=payer,
            next_action=next_action,
            expires_at=expires_at,
        )

    @classmethod
    def captured(
        cls,
        amount: Money,
        *,
        released: bool = False,
        data: Mapping[str, Any] | None = None,
        reference: str | None = None,
        payer: Payer | None = None,
        next_action: NextAction | None = None,
        expires_at: datetime | None = None,
    ) -> Outcome:
        """``amount`` was taken, as the gateway stated it.

        Args:
            amount: What this operation took. From ``authorize``: the provider captures at once.
            released: The gateway released the rest of the authorization.
        """
        return cls(
            answer=Answer.CAPTURED,
            amount=amount,
            released=released,
            data=data,
            reference=reference,
            payer=payer,
            next_action=next_action,
            expires_at=expires_at,
        )

    @classmethod
    def refunded(
        cls,
        amount: Money,
        *,
        data: Mapping[str, Any] | None = None,
        reference: str | None = None,
        payer: Payer | None = None,
        next_action: NextAction | None = None,
        expires_at: datetime | None = None,
    ) -> Outcome:
        """``amount`` was given back, as the gateway stated it."""
        return cls(
            answer=Answer.REFUNDED,
            amount=amount,
            data=data,
            reference=reference,
            payer=payer,
            next_action=next_action,
            expires_at=expires_at,
        )

    @classmethod
    def canceled(
        cls,
        *,
        data: Mapping[str, Any] | None = None,
        reference: str | None = None,
        payer: Payer | None = None,
        next_action: NextAction | None = None,
        expires_at: datetime | None = None,
    ) -> Outcome:
        """Nothing is authorized any more beyond what was captured."""
        return cls(
            answer=Answer.CANCELED,
            data=data,
            reference=reference,
            payer=payer,
            next_action=next_action,
            expires_at=expires_at,
        )


def effects_of(operation: Operation, outcome: Outcome) -> tuple[Effect, ...]:
    """Return what an answer says that happened at the gateway; nothing, if it moved no money."""
    kind, answer = operation.kind, outcome.answer
    if kind in (Kind.INITIATE, Kind.UPDATE) or answer is Answer.REQUIRES_MORE:
        return ()
    state: EffectState = "pending" if answer is Answer.PENDING else "succeeded"
    if kind is Kind.AUTHORIZE and answer is Answer.CANCELED:
        kind = Kind.CANCEL
    amount = outcome.amount or operation.amount
    effects: tuple[Effect, ...] = (Effect(kind, amount, state, outcome.reference, operation.key),)
    if kind is Kind.AUTHORIZE and answer is Answer.CAPTURED:
        effects += (Effect(Kind.CAPTURE, amount, key=operation.key),)
    return effects


EffectState = Literal["pending", "succeeded", "failed", "reversed"]


@frozen(slots=False, eq=False, repr=False)
class Effect(Value):
    """One thing that happened at the gateway, whoever caused it.

    Attributes:
        kind: ``authorize``, ``capture``, ``refund``, ``cancel``, or ``chargeback``: the payer disputes a
            payment with their bank, which is no refund. The disputed capture stays ``succeeded``.
        amount: Its amount.
        state: ``pending``, ``succeeded``, ``failed``, or ``reversed`` (it had succeeded, and was
            undone since). A chargeback is ``pending`` while the money is not taken back, ``failed`` if the
            dispute ended without that, and ``reversed`` once money that was taken came back.
        reference: The gateway's id of it. What has one is never taken for something else.
        key: The operation's key, if the gateway keeps it (in metadata, say). What has one is
            matched beyond doubt.
        capture: For a refund or chargeback: the gateway's id of the capture that it refers to, so that it
            counts against what is left of that one.
        error: For one that failed or was reversed: why.
        dispute: For a chargeback: how the dispute stands.
        created_at: When it was made there, by the gateway's clock. One that is older than an operation is
            never taken for it.
    """

    kind: Kind = field(converter=Kind)
    amount: Money = field(validator=instance_of(Money))
    state: EffectState = field(
        default="succeeded", validator=in_(("pending", "succeeded", "failed", "reversed"))
    )
    reference: str | None = field(default=None, converter=text_or_none, validator=_TEXT)
    key: str | None = field(default=None, converter=text_or_none, validator=_TEXT)
    capture: str | None = field(default=None, converter=text_or_none, validator=_TEXT, kw_only=True)
    error: Failure | None = field(default=None, validator=_optional(Failure), kw_only=True)
    dispute: Dispute | None = field(default=None, validator=_optional(Dispute), kw_only=True)
    created_at: datetime | None = field(default=None, converter=in_utc, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.dispute is not None and self.kind is not Kind.CHARGEBACK:
            raise TypeError("only an effect of the kind chargeback has a dispute")


def _effects(effects: Iterable[Effect]) -> tuple[Effect, ...]:
    effects = tuple(effects)
    if not all(isinstance(effect, Effect) for effect in effects):
        raise TypeError("effects are Effect values")
    return effects


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    texts = tuple(texts)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("references are str")
    return tuple(map(storable, texts))


@frozen(slots=False, eq=False, repr=False)
class Snapshot(Value):
    """The gateway's truth about one session, as ``retrieve`` saw it. Totals are cumulative.

    Attributes:
        status: The session's status as the gateway sees it; None if it knows no such object.
        amount: What the gateway's object is to authorize, or has authorized; None: not reported. It settles
            an update.
        authorized: What is authorized now, captured parts included; None: not reported.
        captured: All that was captured; None: not reported.
        refunded: All that was given back, chargebacks not included; None: not reported.
        charged_back: All that disputes took back and did not return; None: not reported.
        effects: What happened there, one by one.
        ready: The payer approved, and our ``authorize`` may go on.
        session_id: Our session's id as the object carries it. One that carries another is refused, and
            so is one that carries none and is not the object with the session's ``reference``.
        data: Replaces the session's data; None leaves it. Stored as JSON text.
        reference: The gateway's id of the session's object.
        next_action: What the payer must do, with ``requires_more``.
        expires_at: When the object, or its authorization, expires.
        error: Why it failed, with ``error``.
        payer: Who paid, as far as it is reported: what it leaves out stays as it is known.
    """

    status: Status | None = field(converter=_status)
    amount: Money | None = field(default=None, validator=_AMOUNT, kw_only=True)
    authorized: Money | None = field(default=None, validator=_AMOUNT, kw_only=True)
    captured: Money | None = field(default=None, validator=_AMOUNT, kw_only=True)
    refunded: Money | None = field(default=None, validator=_AMOUNT, kw_only=True)
    charged_back: Money | None = field(default=None, validator=_AMOUNT, kw_only=True)
    effects: Sequence[Effect] = field(default=(), converter=_effects, kw_only=True)
    ready: bool = field(default=False, kw_only=True)
    session_id: str | None = field(default=None, converter=text_or_none, validator=_TEXT, kw_only=True)
    data: str | None = field(default=None, converter=_json, kw_only=True, repr=False)
    reference: str | None = field(default=None, converter=text_or_none, validator=_TEXT, kw_only=True)
    next_action: NextAction | None = field(default=None, validator=_ACTION, kw_only=True, repr=False)
    expires_at: datetime | None = field(default=None, converter=in_utc, kw_only=True)
    error: Failure | None = field(default=None, validator=_optional(Failure), kw_only=True)
    payer: Payer | None = field(default=None, converter=reported, kw_only=True, repr=False)

    def covers(self, kind: Kind) -> bool:
        """Return whether an effect of this kind would show here, so that its absence is evidence."""
        if kind is Kind.UPDATE:  # what is not there has no amount that could have changed
            return self.amount is not None or self.status is None
        if kind is Kind.CAPTURE:
            return self.status is not None and (self.captured is not None or bool(self.effects))
        if kind is Kind.REFUND:
            return self.status is not None and (self.refunded is not None or bool(self.effects))
        return self.status is not None or kind in (Kind.INITIATE, Kind.AUTHORIZE)

    @classmethod
    def absent(cls) -> Snapshot:
        """Return the snapshot of a session that the gateway does not know."""
        return cls(None)


@frozen(slots=False, eq=False, repr=False)
class WebhookEvent(Value):
    """One notification: a hint to query the gateway, unless it carries ``effects``.

    Attributes:
        id: The gateway's id of it. Without one it is never taken for a duplicate.
        type: The gateway's name for what happened.
        session_id: Our session's id, if the notification carries it.
        references: The gateway's ids in it, by which the session may be found.
        effects: Only from a gateway that cannot be queried, such as a bank's statement.
        reference: The gateway's id that later hooks need, as ``session.reference``. Where it is not given,
            and nothing else has named the gateway's object, an authorization's own id is.
        data: The gateway's own data for later hooks. Its names are added to the session's ``data``: here
            nobody knows what is there already.
        payer: Who paid, as far as it is reported.
        payment: The gateway's id of the payment that the notification is about: what ``retrieve`` reports as
            ``reference``. Only where `session_id` is given. A session has one payment; another that is alive
            is reported as the conflict ``second_payment``. None: not said, or not sure.
    """

    id: str | None = field(converter=text_or_none, validator=_TEXT)
    type: str = field(converter=_storable_word, validator=instance_of(str))
    session_id: str | None = field(default=None, converter=text_or_none, validator=_TEXT)
    references: Sequence[str] = field(default=(), converter=_texts)
    effects: Sequence[Effect] = field(default=(), converter=_effects)
    reference: str | None = field(default=None, converter=text_or_none, validator=_TEXT)
    data: str | None = field(default=None, converter=_json, repr=False)
    payer: Payer | None = field(default=None, converter=reported, repr=False)
    payment: str | None = field(default=None, converter=text_or_none, validator=_TEXT)


def _moment(moment: datetime) -> datetime:
    found = in_utc(moment)
    if found is None:
        raise TypeError("a time is a datetime with a time zone, such as datetime.now(UTC)")
    return found


def _events(events: Iterable[WebhookEvent]) -> tuple[WebhookEvent, ...]:
    events = tuple(events)
    if not all(isinstance(event, WebhookEvent) and event.id is not None for event in events):
        raise TypeError("changes are WebhookEvent values with the id that their notifications have")
    return events


@frozen(slots=False, eq=False, repr=False)
class Changes(Value):
    """What changed at a gateway: the answer of the hook ``changes``.

    Attributes:
        events: What ``parse_webhook`` makes of the notification of each change that is ours, with the same
            ``id``, whether it was delivered or not; the earliest first.
        until: All changes before this time are among them. It is the next call's ``since``: the time of the
            call, or, where the list goes on, of the last entry that was read.
    """

    events: Sequence[WebhookEvent] = field(converter=_events)
    until: datetime = field(converter=_moment)


@frozen(slots=False, eq=False, repr=False)
class WebhookReply(Value):
    """What to answer to the gateway: an HTTP status and a body of plain text."""

    status: int
    body: str


Windows = timedelta | Mapping[str, timedelta]

_MOST_DECIMALS: Final = 6


def _power(places: int) -> int:
    return int(10**places)


def _exponents(given: Mapping[str, int]) -> Mapping[str, int]:
    """Return a gateway's own numbers of decimals, checked."""
    for currency, decimals in given.items():
        exponent(currency)
        if type(decimals) is not int or not 0 <= decimals <= _MOST_DECIMALS:
            raise InvalidAmount(f"currency_exponents: {currency} has 0 to {_MOST_DECIMALS} decimals")
    return dict(given)


@frozen(slots=False, eq=False, repr=False, kw_only=True)
class Capabilities(Value):
    """What a provider can do: one declaration, read by the core and by the contract kit.

    Attributes:
        capture: ``none``, ``full`` (all at once), ``once`` (one partial capture, the rest is
            released) or ``multiple``.
        refund: ``none``, ``full`` or ``multiple``.
        replay_window: How long the gateway keeps an idempotency key: sending again within it
            cannot cause a second effect. One for all, or one per kind of operation; zero: never.
        lookup: Whether ``retrieve`` sees every effect at once (``consistent``), after
            ``lookup_lag`` (``lagging``), or there is no asking (``none``).
        lookup_lag: How long a lookup may miss what was just written.
        final_capture_releases: The gateway releases the rest of the authorization itself when a final capture
            succeeds. Where it does not, the core sends ``cancel`` once it has.
        refund_needs_capture: A refund refers to one capture.
        call_limit: The longest that one hook call can take, its SDK's retries included.
        keyed_effects: Each effect that an operation of ours had carries its key (``Effect.key``), as
            metadata does, in lookups and notifications alike. Without it an effect for the same amount that
            nothing else tells apart is taken for the operation, and ``Operation.sure`` is False.
        local: The effects are ours (cash, a bank transfer that a person confirms): there is no
            gateway, and an operation is one transaction.
        unsigned_webhooks: Nothing shows who sent a notification, so that ``parse_webhook`` cannot verify
            it. The core keeps only those that match a known session, one for each, without their body
            and ``effects``, and queries the gateway about a session at most every 30 seconds because
            of them. Needs a ``lookup``.
        operator_only: Only an operator may begin a payment with it, such as cash at a till: a payer
            may not choose it.
        increment: What is authorized can be raised as long as nothing of it was captured: ``update`` takes an
            authorized session, asks for ``operation.amount`` in all, and answers ``authorized``. The lookup
            reports that as ``Snapshot.amount`` once it succeeded.
        partial_authorization: The payer may pay less than was asked, as with a bank transfer. What comes is
            recorded, and its collection is ``partially_authorized`` until the rest comes, here or in another
            session. More than was asked is a conflict all the same.
        currency_exponents: How many decimals the gateway counts with, where that is not ISO 4217's number:
            ``{"HUF": 0, "ISK": 2}``. An amount that it cannot state is refused before anything is sent.
            `minor` and `money` convert with it.
    """

    capture: Literal["none", "full", "once", "multiple"] = field(
        default="none", validator=in_(("none", "full", "once", "multiple"))
    )
    refund: Literal["none", "full", "multiple"] = field(
        default="none", validator=in_(("none", "full", "multiple"))
    )
    replay_window: Windows = timedelta(0)
    lookup: Literal["consistent", "lagging", "none"] = field(
        default="none", validator=in_(("consistent", "lagging", "none"))
    )
    lookup_lag: timedelta = timedelta(0)
    final_capture_releases: bool = False
    refund_needs_capture: bool = False
    call_limit: timedelta = timedelta(seconds=60)
    keyed_effects: bool = False
    local: bool = False
    unsigned_webhooks: bool = False
    operator_only: bool = False
    increment: bool = False
    partial_authorization: bool = False
    currency_exponents: Mapping[str, int] = field(default=Factory(dict[str, int]), converter=_exponents)

    def window(self, kind: Kind) -> timedelta:
        """Return how long the gateway keeps the key of an operation of this kind."""
        if isinstance(self.replay_window, timedelta):
            return self.replay_window
        return self.replay_window.get(kind, timedelta(0))

    def exponent(self, currency: str) -> int:
        """Return with how many decimals the gateway counts a currency: its own number, or ISO 4217's.

        Raises:
            InvalidAmount: There is no such currency.
        """
        own = self.currency_exponents.get(currency)
        return exponent(currency) if own is None else own

    def minor(self, money: Money) -> int:
        """Return an amount in the smallest unit that the gateway counts in: 5 ISK is 500 where it has 2.

        Raises:
            InvalidAmount: The amount has more decimals than the gateway takes.
        """
        places = self.exponent(money.currency) - exponent(money.currency)
        if places >= 0:
            return money.minor * _power(places)
        minor, rest = divmod(money.minor, _power(-places))
        if rest:
            taken = self.exponent(money.currency) or "no"
            raise InvalidAmount(
                f"the gateway takes {taken} decimals of {money.currency}, and {money} has more"
            )
        return minor

    def money(self, minor: int, currency: str) -> Money:
        """Return the amount that the gateway states in its smallest unit: 500 ISK is 5 where it has 2.

        Raises:
            InvalidAmount: It is no amount, or has a fraction that the currency does not have.
        """
        if type(minor) is not int:
            raise InvalidAmount(f"minor units are given as an int, not as {type(minor).__name__}")
        places = self.exponent(currency) - exponent(currency)
        if places <= 0:
            return Money.from_minor(minor * _power(-places), currency)
        whole, rest = divmod(minor, _power(places))
        if rest:
            raise InvalidAmount(
                f"{minor} is a fraction of {currency} where it has {exponent(currency)} decimals"
            )
        return Money.from_minor(whole, currency)
