"""One history at a gateway, reported by whichever channels and in whichever order, leaves one ledger.

A model of a gateway keeps its own record. Random lives are lived with it through `Payments`: our requests, and
what payers, banks and the gateway's dashboard do besides. Each request's answer is heard, lost, or overtaken;
notifications come late, twice and in any order; lookups are consistent, lag, or do not exist. Once all has been
reported, figures and status equal the model's, and at every commit before nothing was recorded that had not
happened at the gateway by then.
"""

import json
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from attrs import define, field

from paysession import Capabilities, Declined, MemoryStore, Money, Outcome, OutcomeUnknown, Payments, hookimpl
from paysession.errors import PaysessionError
from paysession.operation import REFUSED, Kind, State
from paysession.outcome import Effect, Snapshot, WebhookEvent
from paysession.plugins import Registry

AMOUNT = 10_000
LAG = timedelta(minutes=1)


def eur(minor):
    return Money.from_minor(minor, "EUR")


@define
class Done:
    """One effect in the model's record; ``at`` of each state it has had."""

    kind: Kind
    minor: int
    reference: str
    key: str | None
    states: list = field(factory=list)

    def state(self, at):
        known = [state for moment, state in self.states if moment <= at]
        return known[-1] if known else None


class Model:
    """The gateway: its record, and what it shows of it at any time."""

    def __init__(self, random, *, keyed, totals):
        self.random, self.keyed, self.totals = random, keyed, totals
        self.effects = []
        self.canceled_at = None
        self.authorized_at = None

    def add(self, kind, minor, at, key, state="succeeded"):
        done = Done(kind, minor, f"{kind}_{len(self.effects)}", key if self.keyed else None)
        done.states.append((at, state))
        self.effects.append(done)
        return done

    def of(self, kind, at, *states):
        return [e for e in self.effects if e.kind is kind and e.state(at) in states]

    def captured(self, at):
        return sum(e.minor for e in self.of(Kind.CAPTURE, at, "succeeded"))

    def capturing(self, at):
        return sum(e.minor for e in self.of(Kind.CAPTURE, at, "pending"))

    def refunded(self, at):
        return sum(e.minor for e in self.of(Kind.REFUND, at, "succeeded"))

    def refunding(self, at):
        return sum(e.minor for e in self.of(Kind.REFUND, at, "pending"))

    def left(self, at):
        if self.authorized_at is None or self.canceled_at is not None:
            return 0
        return AMOUNT - self.captured(at) - self.capturing(at) - self.undone(at)

    def undone(self, at):
        return sum(e.minor for e in self.of(Kind.CAPTURE, at, "reversed"))

    def authorized(self, at):
        kept = self.captured(at) + self.capturing(at)
        if self.authorized_at is None or at < self.authorized_at:
            return 0
        if self.canceled_at is not None and at >= self.canceled_at:
            return kept
        return max(kept, AMOUNT - self.undone(at))

    def status(self, at):
        if self.authorized(at):
            return "authorized"
        over = self.canceled_at is not None and at >= self.canceled_at
        return (
            "canceled"
            if over or (self.authorized_at is not None and at >= self.authorized_at)
            else "requires_more"
        )

    def effect(self, done, at):
        key = done.key if done.kind is not Kind.AUTHORIZE or done.key is None else done.key
        return Effect(done.kind, eur(done.minor), done.state(at), done.reference, key)

    def snapshot(self, session, at):
        shown = [
            self.effect(e, at)
            for e in self.effects
            if e.state(at) is not None and (e.kind is not Kind.CANCEL or self.totals == "none")
        ]
        if self.totals == "only":
            shown = []
        totals = {}
        if self.totals != "none":
            totals = {
                "authorized": eur(self.authorized(at)),
                "captured": eur(self.captured(at)),
                "refunded": eur(self.refunded(at)),
            }
        return Snapshot(self.status(at), effects=shown, session_id=session.id, **totals)


class Provider:
    """Carries requests out at the model, and answers, loses or delays the answer."""

    def __init__(self, life):
        self.life = life
        life_ = life
        self.capabilities = Capabilities(
            capture="multiple",
            refund="multiple",
            lookup=life_.lookup,
            lookup_lag=LAG if life_.lookup == "lagging" else timedelta(0),
            replay_window=timedelta(days=1),
        )
        self.answers = {}

    def _once(self, operation, act):
        """A gateway with idempotency keys: a repetition gets the first answer."""
        if operation.key not in self.answers:
            self.answers[operation.key] = act()
            fate = self.life.random.choice(["heard", "heard", "lost", "overtaken"])
            if fate == "lost":
                raise OutcomeUnknown("lost")
            if fate == "overtaken":
                self.life.meanwhile()
        answer = self.answers[operation.key]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @hookimpl
    def initiate(self):
        return Outcome.requires_more(reference="object")

    @hookimpl
    def authorize(self, operation):
        life, model = self.life, self.life.model

        def act():
            if life.random.random() < 0.2:
                return Declined("card_declined", "no")
            model.authorized_at = life.now
            done = model.add(Kind.AUTHORIZE, AMOUNT, life.now, operation.key)
            life.notify(done)
            return Outcome.authorized(reference="object" if model.keyed else done.reference)

        return self._once(operation, act)

    def _money(self, operation, left, answer):
        life, model = self.life, self.life.model

        def act():
            minor = operation.amount.minor
            if minor > left(life.now) or life.random.random() < 0.15:
                return Declined("no", "no")
            slow = life.random.random() < 0.3
            done = model.add(
                operation.kind, minor, life.now, operation.key, "pending" if slow else "succeeded"
            )
            life.notify(done)
            if slow:
                life.slow.append(done)
                return Outcome.pending(reference=done.reference)
            return answer(operation.amount, reference=done.reference)

        return self._once(operation, act)

    @hookimpl
    def capture(self, operation):
        return self._money(operation, self.life.model.left, Outcome.captured)

    @hookimpl
    def refund(self, operation):
        model = self.life.model

        def left(at):
            return model.captured(at) - model.refunded(at) - model.refunding(at)

        return self._money(operation, left, Outcome.refunded)

    @hookimpl
    def cancel(self, operation):
        life, model = self.life, self.life.model

        def act():
            if model.authorized_at is not None and not model.left(life.now):
                return Declined("nothing", "nothing left")
            if model.canceled_at is None:
                model.canceled_at = life.now
                done = model.add(
                    Kind.CANCEL, max(1, AMOUNT - model.captured(life.now)), life.now, operation.key
                )
                life.notify(done)
            return Outcome.canceled()

        return self._once(operation, act)

    @hookimpl
    def retrieve(self, session):
        life = self.life
        at = life.now - LAG * life.random.random() if life.lookup == "lagging" else life.now
        return life.model.snapshot(session, max(at, life.visible))

    @hookimpl
    def parse_webhook(self, body):
        number, session_id, effects = json.loads(body)
        told = (
            [Effect(Kind(k), eur(m), s, r, key) for k, m, s, r, key in effects]
            if self.life.lookup == "none"
            else ()
        )
        return [WebhookEvent(str(number), "effect", session_id=session_id, effects=told)]


class Watched(MemoryStore):
    """A store in which each commit is compared with what had happened at the gateway by then."""

    life = None

    def commit(self, change):
        super().commit(change)
        session = change.session
        if session is None or self.life is None or not self.life.watched:
            return
        model, now = self.life.model, self.life.now
        rows = self.operations(session.id)
        happened = max((model.captured(t) for t in self.life.moments()), default=0)
        assert session.captured <= happened, "more captured than ever was"
        assert session.refunded <= max((model.refunded(t) for t in self.life.moments()), default=0)
        assert session.authorized <= AMOUNT
        for kind, done, waiting in (
            (Kind.CAPTURE, session.captured, session.capturing),
            (Kind.REFUND, session.refunded, session.refunding),
        ):
            own = [row for row in rows if row.kind is kind and row.state is State.SUCCEEDED]
            total = sum(-row.amount.minor if row.reverses else row.amount.minor for row in own)
            pending = sum(row.amount.minor for row in rows if row.kind is kind and row.state is State.PENDING)
            assert (done, waiting) == (total, pending), "the row is not the sum of its operations"
        kept = session.captured + session.capturing
        if session.status == "authorized":
            assert session.authorized == (kept if session.released else max(session.granted, kept))
            assert session.held == session.authorized
        before = self.life.statuses
        assert not (before and before[-1] == "canceled" and session.status != "canceled"), "it came back"
        before.append(session.status)
        del now


class Life:
    """One session's life, drawn at random."""

    def __init__(self, seed, *, lookup, keyed=True, totals="both"):
        self.random = Random(seed)
        self.lookup = lookup
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.visible = self.now
        self.model = Model(self.random, keyed=keyed, totals=totals)
        self.slow, self.outbox, self.statuses, self.watched = [], [], [], True
        self.numbers = 0
        self.busy = False
        self.store = Watched(clock=lambda: self.now)
        self.payments = Payments(self.store, Registry({"model": Provider(self)}, ()))
        order = self.payments.create_collection(eur(AMOUNT), reference=f"order-{seed}")
        self.store.life = self
        self.session_id = self.payments.initiate(order.id, provider="model").id

    def moments(self):
        return {moment for e in self.model.effects for moment, _ in e.states}

    def notify(self, done):
        """Put a notification of an effect's newest state into the outbox, once or twice."""
        self.numbers += 1
        state = done.states[-1][1]
        part = [done.kind, done.minor, state, done.reference, done.key]
        body = json.dumps([self.numbers, self.session_id, [part]]).encode()
        self.outbox += [body] * self.random.choice([1, 1, 2])

    def deliver(self):
        if self.outbox:
            body = self.outbox.pop(self.random.randrange(len(self.outbox)))
            reply = self.payments.handle_webhook("model", headers={}, body=body)
            assert reply.status == 200

    def meanwhile(self):
        """What happens while a request of ours is under way."""
        for _ in range(self.random.randrange(4)):
            self.tick()
            self.random.choice([self.deliver, self.deliver, self.look])()

    def tick(self):
        self.now += timedelta(seconds=self.random.choice([1, 20, 90]))

    def look(self):
        if self.lookup != "none":
            self.attempt(self.payments.sync)

    def attempt(self, call, *args, **kwargs):
        try:
            call(self.session_id, *args, **kwargs)
        except PaysessionError:
            pass

    def step(self):
        random, model, now = self.random, self.model, self.now
        self.tick()
        what = random.choice(["authorize", "capture", "capture", "refund", "cancel", "deliver", "deliver", "look",
                              "recover", "settle", "settle", "dashboard", "reverse"])  # fmt: skip
        minor = random.randrange(1, AMOUNT // 2)
        if what == "authorize":
            self.attempt(self.payments.authorize)
        elif what == "capture":
            self.attempt(self.payments.capture, eur(minor), idempotency_key=str(random.randrange(6)))
        elif what == "refund":
            self.attempt(self.payments.refund, eur(minor), idempotency_key=f"r{random.randrange(6)}")
        elif what == "cancel" and random.random() < 0.3:
            self.attempt(self.payments.cancel)
        elif what == "deliver":
            self.deliver()
        elif what == "look":
            self.look()
        elif what == "recover":
            self.payments.recover()
        elif what == "settle" and self.slow:
            done = self.slow.pop(random.randrange(len(self.slow)))
            done.states.append((self.now, random.choice(["succeeded", "failed"])))
            self.notify(done)
        elif what == "dashboard":
            left = model.left(self.now)
            if left > 1 and random.random() < 0.5:
                self.notify(model.add(Kind.CAPTURE, random.randrange(1, left), self.now, None))
            elif (room := model.captured(now) - model.refunded(now) - model.refunding(now)) > 1:
                self.notify(model.add(Kind.REFUND, random.randrange(1, room), self.now, None))
        elif what == "reverse":
            standing = model.of(Kind.REFUND, self.now, "succeeded")
            if standing and random.random() < 0.5:
                done = random.choice(standing)
                done.states.append((self.now, "reversed"))
                self.notify(done)

    def rest(self):
        """Let everything be reported, and recovery come to its end."""
        for _ in range(40):
            while self.slow:
                done = self.slow.pop()
                self.tick()
                done.states.append((self.now, "succeeded"))
                self.notify(done)
            while self.outbox:
                self.deliver()
            self.now += timedelta(hours=2)
            self.visible = self.now - timedelta(hours=1)
            self.payments.recover()
            self.look()
            if not self.outbox and not self.slow and self.payments.get(self.session_id).open is None:
                return

    def check(self):
        session, model, now = self.payments.get(self.session_id), self.model, self.now
        truth = (model.captured(now), model.refunded(now), model.authorized(now))
        assert (session.captured, session.refunded, session.authorized) == truth
        if model.authorized_at is not None or model.canceled_at is not None:
            # A session ends once: money that turned up afterwards is a conflict, not a new status.
            over = "canceled" in self.statuses
            assert session.status == ("canceled" if over else model.status(now))
            if over and session.authorized > session.refunded:
                assert session.conflict is not None
        events = list(self.payments.events(limit=1000))
        rows = {row.id: row for row in self.payments.history(self.session_id)}
        for kind, name in ((Kind.CAPTURE, "session.captured"), (Kind.REFUND, "session.refunded")):
            told = [event.operation_id for event in events if event.type == name]
            assert len(told) == len(set(told)), "an effect has one event"
            ever = [
                row.id
                for row in rows.values()
                if row.kind is kind and row.state is State.SUCCEEDED and not row.reverses
            ]
            assert sorted(told) == sorted(ever)
        types = [event.type for event in events]
        if "session.captured" in types:
            assert types.index("session.authorized") < types.index("session.captured")
        assert all(row.state != State.STARTED for row in rows.values()) or session.open is not None
        assert not [row for row in rows.values() if row.state in REFUSED and row.answer == "found"]


VARIANTS = [
    pytest.param({"lookup": lookup, "keyed": keyed, "totals": totals}, id=f"{lookup}-{name}-{totals}")
    for lookup, totals in [
        ("consistent", "both"),
        ("consistent", "none"),
        ("lagging", "both"),
        ("none", "none"),
    ]
    for keyed, name in [(True, "keyed"), (False, "referenced")]
]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("block", range(4))
def test_whichever_channels_report_a_history_the_ledger_equals_the_gateways(variant, block):
    for seed in range(block * 60, block * 60 + 60):
        life = Life(seed, **variant)
        try:
            for _ in range(25):
                life.step()
            life.rest()
            life.check()
        except AssertionError as error:
            raise AssertionError(f"seed {seed} of {variant}: {error}") from error
