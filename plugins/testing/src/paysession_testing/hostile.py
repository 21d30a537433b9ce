"""What hostile callers, payers and gateways pass in: for the tests of every store (`StoreContract`)."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from paysession import (
    Checkout,
    ConfigurationError,
    Money,
    Payments,
    PaysessionError,
    RequestError,
    Secret,
    State,
)
from paysession.provider import (
    Capabilities,
    Declined,
    Effect,
    Failure,
    Instructions,
    Kind,
    NotApplied,
    Outcome,
    Registry,
    Snapshot,
    Status,
    WebhookEvent,
    hookimpl,
)
from paysession.store import storable
from paysession_testing.fake import FakeProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from paysession.provider import Operation, PaymentSession
    from paysession.store import Store

__all__ = ["Babbler", "Victim", "calls", "texts", "try_calls", "try_words"]

EUR: Final = "EUR"
_numbers = count(1)


class _Text(str):
    """A subclass of str, as enumerations and template engines make them."""

    __slots__ = ()


class _Evil:
    """An object that cannot be compared, shown, hashed or judged."""

    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    def __repr__(self) -> str:
        raise ZeroDivisionError

    __str__ = __repr__

    def __bool__(self) -> bool:
        raise ZeroDivisionError

    def __iter__(self) -> Iterator[str]:
        raise StopIteration


class _EvilMapping(dict[str, Any]):
    """A mapping that ends in the middle of being read."""

    def keys(self) -> Any:
        raise StopIteration

    items = keys
    __iter__ = keys


def _nested(depth: int) -> Any:
    tree: Any = "leaf"
    for _ in range(depth):
        tree = {"a": [tree]}
    return tree


_NUMBERS: Final = [
    0,
    1,
    -1,
    2**63,
    2**64,
    -(2**70),
    10**5000,
    1.5,
    float("nan"),
    float("inf"),
    Decimal("sNaN"),
]
_TEXTS: Final = [
    "",
    "\0",
    "a\0b",
    "\ud800",
    "a\udfff",
    "\ud83d\ude00",
    "ü" * 200,
    "x" * 201,
    _Text("k"),
    "9" * 5000,
]
_OTHERS: Final = [
    None,
    True,
    False,
    b"bytes",
    bytearray(b"x"),
    [],
    ["a"],
    (),
    {1, 2},
    object(),
    str,
    dict,
    iter(()),
]
_MAPPINGS: Final = [
    {},
    {1: "a"},
    {"a": float("nan")},
    {"a": 10**5000},
    {"a": b"x"},
    {"\ud800": 1},
    {"a": ["\0"]},
    {"card": {"number": "4242424242424242"}},
    {"a": [{"CVC": "123"}]},
    {"a": "x" * 70_000},
    {"a": Secret("s")},
]


def texts(min_size: int = 0) -> st.SearchStrategy[str]:
    """Return any text, NUL and halves of surrogate pairs included."""
    letters = st.one_of(st.characters(), st.sampled_from("\0\ud800\udbff\udc00\udfff\x1b\u202e"))
    return st.text(letters, min_size=min_size, max_size=20)


def _hostile() -> st.SearchStrategy[Any]:
    made: list[Callable[[], Any]] = [
        _Evil,
        _EvilMapping,
        lambda: _nested(60),
        lambda: {"a": _nested(400)},
        lambda: {"a": _nested(20_000)},
        lambda: Money("0", EUR),
        lambda: Money("9999999999999.99", EUR),
        lambda: Money("1", "JPY"),
        lambda: Checkout(description="\ud800"),
        lambda: Checkout(return_url=7),  # type: ignore[arg-type]
        lambda: Checkout(return_url="https://shop.example/?card_number=4242"),
        lambda: Checkout(return_url="https://[/?a=b", user_agent="x" * 100_000),
        lambda: Declined("\ud800", "\0", data={"a": object()}),
        lambda: NotApplied(7, reference=8, data=_EvilMapping(a=1)),  # type: ignore[arg-type]
        lambda: Outcome.captured(Money("9999999999999.99", EUR), data={"pan": "4242"}),
        lambda: datetime(2026, 1, 1),  # noqa: DTZ001 - that is the point
        lambda: datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        lambda: datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12))),
        lambda: (character for character in "abc"),
    ]
    return st.one_of(
        st.sampled_from([*_NUMBERS, *_TEXTS, *_OTHERS, *_MAPPINGS]),
        st.sampled_from(made).map(lambda make: make()),
        texts(),
        st.integers(),
        st.binary(max_size=20),
        st.dictionaries(texts(), texts(), max_size=3),
    )


_METHODS: Final = {
    name: inspect.signature(function).parameters
    for name, function in inspect.getmembers(Payments, inspect.isfunction)
    if not name.startswith("_") and name != "close"
}

_SKIPPED: Final = ("self", "progress")  # what a function of the caller's own raises is the caller's
_LEFT_OUT: Final = object()
_GOOD: Final = object()


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Return a public call of `Payments`: its name and arguments; `Victim.call` fills in the good ones."""
    name = draw(st.sampled_from(sorted(_METHODS)))
    given: dict[str, Any] = {}
    for parameter in _METHODS[name].values():
        if parameter.name in _SKIPPED:
            continue
        required = parameter.default is parameter.empty
        # One hostile argument among good ones gets further than many.
        how = draw(st.sampled_from(["good", "good", "hostile", "good" if required else "left out"]))
        if how != "left out":
            given[parameter.name] = _GOOD if how == "good" else draw(_hostile())
    return name, given


class Victim:
    """Payments on a store, with a session that hostile calls are about.

    Args:
        store: Where the ledger is kept.
    """

    def __init__(self, store: Store) -> None:
        self.fake = FakeProvider()
        self.store = store
        self.payments = Payments(store, Registry({"fake": self.fake}))
        self._begin()

    def _begin(self) -> None:
        reference = f"hostile {next(_numbers)}"
        self.order = self.payments.create_collection(Money("42.00", EUR), reference=reference)
        session = self.payments.initiate(self.order.id, provider="fake", amount=Money("20.00", EUR))
        self.session = self.payments.authorize(session.id)
        self.payments.capture(session.id, Money("5.00", EUR))

    def _good(self) -> dict[str, Any]:
        headers, body = self.fake.webhook(self.session.id)
        return {
            "collection_id": self.order.id,
            "id": self.order.id,
            "session_id": self.session.id,
            "replaces": self.session.id,
            "operation_id": self.payments.history(self.session.id)[1].id,
            "amount": Money("1.00", EUR),
            "reference": self.order.reference,
            "provider": "fake",
            "data": {"customer": "cus_1"},
            "payload": {"token": "tok_1"},
            "checkout": Checkout(return_url="https://shop.example/back"),
            "capture": "manual",
            "idempotency_key": "key",
            "final": False,
            "reason": "because",
            "outcome": Outcome.authorized(),
            "note": "ann",
            "by": "ann",
            "limit": 10,
            "status": "authorized",
            "settle": True,
            "now": True,
            "origin": "payer",
            "since": datetime.now(UTC),
            "headers": headers,
            "body": body,
        }

    def _ledger(self) -> Any:
        payments = self.payments
        sessions = payments.sessions(collection_id=self.order.id)
        history = [payments.history(session.id) for session in sessions]
        return payments.collection(self.order.id), sessions, history

    def call(self, name: str, given: Mapping[str, Any]) -> None:
        """Make a call; fail unless it answers, or raises a `PaysessionError` and has changed nothing."""
        good, parameters = self._good(), _METHODS[name]
        for key in given:
            required = parameters[key].default is inspect.Parameter.empty
            good.setdefault(key, "something" if required else _LEFT_OUT)
        arguments = {key: good[key] if value is _GOOD else value for key, value in given.items()}
        arguments = {key: value for key, value in arguments.items() if value is not _LEFT_OUT}
        before = self._ledger()
        try:
            self.answer(name, arguments)
        except (RequestError, ConfigurationError) as error:
            str(error).encode()
            after = self._ledger()
            assert before == after, f"{name} was refused ({error}), and has changed something"
        except PaysessionError as error:
            str(error).encode()

    def answer(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Return what a call answers."""
        return getattr(self.payments, name)(**arguments)

    def check(self) -> None:
        """Fail unless the session can still be used to its end."""
        session = self.payments.sync(self.session.id)
        assert not session.in_doubt
        if session.status is Status.AUTHORIZED:
            session = self.payments.capture(session.id)
            session = self.payments.refund(session.id)
            assert session.refunded == session.captured == session.authorized
        assert all(row.state is not State.STARTED for row in self.payments.history(session.id))


class Babbler:
    """A provider whose gateway puts a text into everything that it says.

    Args:
        word: The text.
    """

    capabilities = Capabilities(
        capture="multiple", refund="multiple", lookup="consistent", replay_window=timedelta(days=1)
    )

    def __init__(self, word: str) -> None:
        self.word = word
        self.declines = False
        self.captured = 0

    def _outcome(self, operation: Operation, **more: Any) -> dict[str, Any]:
        if self.declines:
            reference = f"{operation.session_id} {self.word}"
            raise Declined(self.word, self.word, data={self.word: self.word}, reference=reference)
        return {"reference": f"{operation.key} {self.word}", "data": {self.word: self.word}, **more}

    @hookimpl
    def initiate(self, operation: Operation) -> Outcome:
        """Answer."""
        page = Instructions(self.word, {self.word: self.word})
        return Outcome.requires_more(**self._outcome(operation, next_action=page))

    @hookimpl
    def authorize(self, operation: Operation) -> Outcome:
        """Answer."""
        return Outcome.authorized(**self._outcome(operation))

    @hookimpl
    def capture(self, operation: Operation) -> Outcome:
        """Answer."""
        answer = Outcome.captured(operation.amount, **self._outcome(operation))
        self.captured += operation.amount.minor
        return answer

    @hookimpl
    def refund(self, operation: Operation) -> Outcome:
        """Answer."""
        return Outcome.refunded(operation.amount, **self._outcome(operation))

    @hookimpl
    def cancel(self, operation: Operation) -> Outcome:
        """Answer."""
        return Outcome.canceled(**self._outcome(operation))

    @hookimpl
    def retrieve(self, session: PaymentSession) -> Snapshot:
        """Show the session as it is, with somebody else's refund that failed."""
        failed = Effect(
            Kind.REFUND,
            Money("1.00", EUR),
            "failed",
            reference=self.word,
            key=self.word,
            capture=self.word,
            error=Failure(self.word, self.word),
        )
        status, error = session.status, Failure(self.word, self.word)
        if status not in {Status.AUTHORIZED, Status.CANCELED}:
            return Snapshot(
                Status.ERROR, session_id=session.id, reference=f"{session.id} {self.word}", error=error
            )
        return Snapshot(
            status,
            session_id=session.id,
            authorized=session.authorized_amount,
            captured=Money.from_minor(self.captured, EUR),
            refunded=session.refunded_amount,
            effects=[failed],
            data={self.word: self.word},
            error=error,
        )

    @hookimpl
    def parse_webhook(self, body: bytes) -> list[WebhookEvent]:
        """Read a notification that names the session by a reference only."""
        return [
            WebhookEvent(self.word + body.decode(), self.word, self.word, [f"{body.decode()} {self.word}"])
        ]


def try_calls(store: Store, examples: int = 25, victim: type[Victim] = Victim) -> None:
    """Make hostile calls on a store, several on one session, which must stay usable.

    Args:
        store: Where the ledger is kept.
        examples: How many sessions.
        victim: Makes the calls.
    """

    @settings(derandomize=True, deadline=None, database=None, max_examples=examples)
    @given(made=st.lists(calls(), min_size=6, max_size=12))
    def check(made: list[tuple[str, dict[str, Any]]]) -> None:
        payments = victim(store)
        for name, arguments in made:
            payments.call(name, arguments)
        payments.check()

    check()


def try_words(store: Store) -> None:
    """Have a gateway put any text into all that it says, and read it back as every store must keep it."""

    @settings(derandomize=True, deadline=None, database=None, max_examples=15)
    @given(word=texts(min_size=1))
    @example(word="no funds \ud83d")
    @example(word="\0")
    def check(word: str) -> None:
        gateway, kept = Babbler(word), storable(word)
        payments = Payments(store, Registry({"fake": gateway}))
        order = payments.create_collection(Money("42.00", EUR), reference=f"words {next(_numbers)}")
        session = payments.initiate(order.id, provider="fake")
        assert session.reference == f"{payments.history(session.id)[0].key} {kept}"
        assert session.next_action == Instructions(kept, {kept: kept})
        gateway.declines = True
        session = payments.authorize(session.id)
        refusal = Failure(kept, kept)
        assert (session.status, session.reference) == (Status.ERROR, f"{session.id} {kept}")
        assert session.error == payments.sync(session.id).error == refusal
        reply = payments.handle_webhook("fake", headers={}, body=session.id.encode())
        assert (reply.status, store.find_session("fake", [f"{session.id} {kept}"])) == (200, session.id)
        gateway.declines = False
        assert payments.authorize(session.id).status is Status.AUTHORIZED
        payments.capture(session.id, Money("2.00", EUR))
        gateway.declines = True
        try:
            payments.capture(session.id)
        except Declined as error:
            assert (error.code, error.message) == (kept, kept)
        session = payments.sync(session.id)
        assert (session.captured, session.in_doubt, session.data) == (200, False, {word: word})
        refused = payments.history(session.id)[-1]
        assert (refused.state, refused.error) == (State.DECLINED, refusal)

    check()
