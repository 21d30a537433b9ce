"""Random operations, failures, dashboards, notifications and recoveries; then the invariants."""

import contextlib
import shutil
import tempfile
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from paysession import MemoryStore, Money, Payments, PaysessionError
from paysession._plugins.registry import Registry
from paysession_sql import SqliteStore
from paysession_testing import FakeProvider
from paysession_testing.fake import FAULTS

ORDER = 4200
parts = st.sampled_from([None, 100, 1000, 2100, 4200])


def eur(minor):
    return None if minor is None else Money.from_minor(minor, "EUR")


class Machine(RuleBasedStateMachine):
    """One collection, several sessions, one gateway whose ledger judges ours."""

    def open_store(self):
        return MemoryStore(clock=lambda: self.now)

    @initialize(window=st.sampled_from([24, 0]))
    def begin(self, window):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.fake = FakeProvider(replay_window=timedelta(hours=window))
        self.store = self.open_store()
        tokens = (f"{n:016x}" for n in range(10_000))
        registry = Registry({"fake": self.fake})
        self.payments = Payments(self.store, registry, token=lambda: next(tokens))
        self.order = self.payments.create_collection(eur(ORDER), reference="order")
        self.sessions = []
        self.outsiders = False

    def call(self, function, *args, **kwargs):
        with contextlib.suppress(PaysessionError):
            return function(*args, **kwargs)

    def pick(self, place):
        return self.sessions[place % len(self.sessions)]

    @rule(amount=parts)
    def initiate(self, amount):
        if len(self.sessions) < 4:
            self.call(self.payments.initiate, self.order.id, provider="fake", amount=eur(amount))
            self.sessions = [row.id for row in self.payments.sessions()]

    @precondition(lambda self: self.sessions)
    @rule(
        place=st.integers(0, 3),
        call=st.sampled_from(["authorize", "resume", "cancel", "sync", "get", "history"]),
    )
    def simple(self, place, call):
        self.call(getattr(self.payments, call), self.pick(place))

    @precondition(lambda self: self.sessions)
    @rule(
        place=st.integers(0, 3),
        call=st.sampled_from(["capture", "refund", "update"]),
        amount=parts,
        key=st.sampled_from([None, "k1", "k2"]),
    )
    def move(self, place, call, amount, key):
        if call == "update" and amount is None:
            amount = 1000
        self.call(getattr(self.payments, call), self.pick(place), eur(amount), idempotency_key=key)

    @rule(fault=st.sampled_from(FAULTS))
    def fail(self, fault):
        self.fake.fail_next(fault)

    @precondition(lambda self: self.fake._accounts)
    @rule(
        place=st.integers(0, 3),
        act=st.sampled_from(["capture", "refund", "cancel", "browser"]),
        amount=st.sampled_from([50, 700]),
    )
    def outside(self, place, act, amount):
        """What happens at the gateway without us."""
        accounts = list(self.fake._accounts.values())
        account = accounts[place % len(accounts)]
        self.outsiders = True
        captured, refunded = account.total("capture"), account.total("refund")
        if act == "capture" and captured + amount <= account.authorized and not account.canceled:
            self.fake.capture_in_dashboard(account.session_id, eur(amount))
        elif act == "refund" and refunded + amount <= captured:
            self.fake.refund_in_dashboard(account.session_id, eur(amount))
        elif act == "cancel" and account.authorized > captured:
            self.fake.cancel_in_dashboard(account.session_id)
        elif act == "browser" and not account.authorized and not account.canceled:
            self.fake.authorize_in_browser(account.session_id)

    @precondition(lambda self: self.sessions)
    @rule(place=st.integers(0, 3), settle=st.booleans(), id_=st.sampled_from(["e1", "e2", None]))
    def notify(self, place, settle, id_):
        headers, body = self.fake.webhook(self.pick(place), id=id_)
        assert self.payments.handle_webhook("fake", headers=headers, body=body, settle=settle).status == 200

    @rule(minutes=st.sampled_from([1, 5, 90, 1600]))
    def time_passes(self, minutes):
        self.now += timedelta(minutes=minutes)

    @rule()
    def recover(self):
        self.payments.recover()

    @invariant()
    def what_is_open_has_a_next_action(self):
        for row in getattr(self, "payments", None) and self.payments.sessions() or ():
            if row.open is not None or row.pending or row.cancel_requested:
                assert row.due_at is not None
        if hasattr(self, "payments"):
            held = sum(row.held for row in self.payments.sessions())
            assert held == self.payments.collection(self.order.id).held

    def teardown(self):
        if not hasattr(self, "payments"):
            return
        try:
            self.come_to_rest()
            self.check()
        finally:
            self.payments.close()

    def come_to_rest(self):
        self.fake._faults.clear()
        for _ in range(60):
            self.now += timedelta(hours=3)
            self.payments.recover()
        for session_id in self.sessions:
            with contextlib.suppress(PaysessionError):
                self.payments.sync(session_id)
        assert not self.payments.in_doubt()

    def check(self):
        keys = [row.key for row in self.fake.ledger if row.key]
        assert len(keys) == len(set(keys)), "two effects of one operation"
        events = self.payments.events(limit=1000)
        assert len({row.id for row in events}) == len(events)
        for session in self.payments.sessions():
            account = self.fake._accounts.get(session.id)
            total = {kind: self.fake.total(session.id, kind) for kind in ("capture", "refund")}
            assert (session.captured, session.refunded) == (total["capture"], total["refund"])
            authorized = account.authorized if account is not None else 0
            assert session.authorized == authorized
            if account is not None and session.initiated and not account.canceled:
                assert session.amount == account.amount
            rows = self.payments.history(session.id)
            for kind in ("capture", "refund"):
                done = [row for row in rows if row.kind == kind and row.state == "succeeded"]
                assert total[kind] == sum(row.amount.minor * (-1 if row.reverses else 1) for row in done)
            assert session.refunded <= session.captured <= session.authorized
            told = [row for row in events if row.session_id == session.id]
            assert [row.version for row in told] == sorted(row.version for row in told)
            if told:
                last = told[-1]
                figures = (
                    last.captured_amount.minor,
                    last.refunded_amount.minor,
                    last.authorized_amount.minor,
                )
                assert figures == (session.captured, session.refunded, session.authorized)
                assert last.status == session.status
        if not self.outsiders:
            assert sum(row.authorized for row in self.payments.sessions()) <= ORDER


class SqliteMachine(Machine):
    """The same on a SQLite file."""

    def open_store(self):
        self.folder = tempfile.mkdtemp()
        return SqliteStore.open(f"sqlite:///{self.folder}/books.db", clock=lambda: self.now)

    def teardown(self):
        super().teardown()
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


class LongMachine(Machine):
    """The same, for the slow tier: more and longer lives."""


class LongSqliteMachine(SqliteMachine):
    """The same, for the slow tier: more and longer lives."""


def tried(machine, lives, steps):
    """Return the test case of a machine, which tries so many lives of so many steps at most."""
    machine.TestCase.settings = settings(
        max_examples=lives,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    return machine.TestCase


TestOnMemory = tried(Machine, 25, 40)
TestOnSqlite = tried(SqliteMachine, 4, 30)
TestMoreOnMemory = pytest.mark.slow(tried(LongMachine, 150, 40))
TestMoreOnSqlite = pytest.mark.slow(tried(LongSqliteMachine, 15, 30))
