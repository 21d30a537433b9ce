from datetime import UTC, datetime, timedelta

import pytest

from paysession import MemoryStore, Money, Payments, hookimpl
from paysession._ledger.rules import Request, begin
from paysession._plugins.registry import Registry
from paysession.operation import Kind
from paysession_testing import FakeProvider

DOUBT = ("operation.in_doubt", "operation.settled")


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.now

    def forward(self, **duration):
        self.now += timedelta(**duration)


class Told(FakeProvider):
    """A gateway that shows, and answers, what a test says; otherwise what `FakeProvider` would.

    Attributes:
        snapshot: What ``retrieve`` shows, or raises.
        answers: What the hook of a kind answers, or raises, at every call.
        meanwhile: What happens, once, while the hook of a kind is called.
        looks: The operation that each lookup was about, or None.
        paused: What happens after a lookup, before its answer is received.
    """

    snapshot = None
    paused = staticmethod(bool)

    def __init__(self, **options):
        super().__init__(**options)
        self.answers = {}
        self.meanwhile = {}
        self.looks = []

    def _answer(self, operation, act):
        self.meanwhile.pop(operation.kind, bool)()
        answer = self.answers.get(operation.kind)
        if answer is None:
            return super()._answer(operation, act)
        self.calls.append((operation.kind, operation.key))
        return _said(answer)

    @hookimpl
    def retrieve(self, session, operation):
        self.looks.append(operation)
        shown = super().retrieve(session) if self.snapshot is None else _said(self.snapshot)
        self.paused()
        return shown


def _said(answer):
    if isinstance(answer, Exception):
        raise answer
    return answer


class Shop:
    """Payments with a fake provider, and a session of 42 euros to work on."""

    def __init__(self, provider=None, plugins=(), store=MemoryStore):
        self.clock = Clock()
        self.fake = provider if provider is not None else FakeProvider()
        self.store = store(clock=self.clock)
        self.payments = Payments(self.store, Registry({"fake": self.fake}, plugins))
        self.order = self.payments.create_collection(Money("42.00", "EUR"), reference="order-1")

    def session(self, status="authorized", **options):
        session = self.payments.initiate(self.order.id, provider="fake", **options)
        if status == "requires_more":
            return session
        session = self.payments.authorize(session.id)
        if status == "captured":
            session = self.payments.capture(session.id)
        return session

    def books(self, session_id):
        """Return how a session stands, in one line: status and minor units."""
        row = self.payments.get(session_id)
        return (row.status, row.authorized, row.captured, row.refunded, row.conflict)

    def rows(self, session_id):
        """Return a session's operations: kind, origin, state, answer, minor units."""
        return [
            (str(row.kind), row.origin, str(row.state), row.answer, row.amount.minor)
            for row in self.payments.history(session_id)
        ]

    def key(self, session_id, ordinal):
        """Return the id of a session's operation with this ordinal."""
        (found,) = [row.id for row in self.payments.history(session_id) if row.ordinal == ordinal]
        return found

    def next_key(self, session_id, kind, amount=None, **asked):
        """Return the id that an operation has if it begins next."""
        session, request = self.payments.get(session_id), Request(Kind(kind), amount, **asked)
        return begin(session, request, self.fake.capabilities, self.clock.now)[1].id

    def told(self, session_id=None):
        """Return the types of a session's events in their order, without those of doubt."""
        return [row.type for row in self.events() if session_id in (None, row.session_id)]

    def events(self):
        """Return the events but for those that say of an operation that it is in doubt, or settled."""
        return [row for row in self.payments.events() if row.type not in DOUBT]

    def settle(self):
        """Let recovery come round until nothing is due any more."""
        for _ in range(20):
            self.clock.forward(hours=2)
            self.payments.recover()


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
def make_shop():
    return Shop


@pytest.fixture
def told():
    """Return a shop whose gateway shows, and answers, what the test says."""
    return Shop(Told())


@pytest.fixture
def make_told():
    """Return a maker of such shops; it takes the options of `FakeProvider`, and ``store``."""

    def make(store=MemoryStore, **options):
        return Shop(Told(**options), store=store)

    return make
