"""A gateway's own record, one session's life with it drawn at random from a seed, and what must hold of both.

The record shares no code with the ledger: an effect is kept with the time of each state that it had, and what is
left of the authorization is a number that each event moves. `Life` lives a session through `Payments`: our
requests, and what the payer, the bank, the dashboard and an operator do besides. `Judge` compares each commit, and
the end, with the record; what may differ legitimately stands in `DIFFERENCES` and `LIMITS`.
"""

import json
import logging
from bisect import bisect_right
from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random

from attrs import define, field

from helpers import cents
from paysession import (
    Capabilities,
    Declined,
    MemoryStore,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    Payments,
    hookimpl,
)
from paysession._plugins.registry import Registry
from paysession.errors import PaysessionError
from paysession.operation import REFUSED, Dispute, Kind, State
from paysession.outcome import Effect, Snapshot, WebhookEvent
from paysession.values import Failure

AMOUNT = 10_000
LAG = timedelta(minutes=1)
UNDER_WAY = timedelta(seconds=100)
"""A request whose answer was lost may be carried out so much later."""


def dispute_of(kind, state):
    """How a dispute stands, as far as what it did to the money says."""
    stands = {"pending": "opened", "succeeded": "under_review", "failed": "won", "reversed": "won"}
    return Dispute(stands[state]) if kind == "chargeback" else None


class Timeline:
    """A value at each time."""

    def __init__(self, value):
        self.times, self.values, self.first = [], [], value

    def set(self, at, value):
        self.times.append(at)
        self.values.append(value)

    def at(self, at):
        place = bisect_right(self.times, at)
        return self.values[place - 1] if place else self.first

    def ever(self):
        return [self.first, *self.values]


@define(eq=False)
class Done:
    """One effect in the gateway's record."""

    kind: Kind
    minor: int
    reference: str
    key: str | None
    final: bool = False
    capture: str | None = None
    """For a refund or chargeback: the id of the capture that it names."""
    states: Timeline = field(factory=lambda: Timeline(None))
    released: bool = False
    """Whether the rest was released since a capture was accepted: then it does not go back if it fails."""

    def was(self, state, by=None):
        return any(
            s == state
            for t, s in zip(self.states.times, self.states.values, strict=True)
            if by is None or t <= by
        )

    @property
    def now(self):
        return self.states.values[-1]


class Model:
    """The gateway: its record, and what it shows of it at any time."""

    def __init__(self, setup, amount):
        self.setup = setup
        self.effects = []
        self.free = Timeline(0)
        """What is authorized and not captured."""
        self.phase = Timeline("none")
        """How the object stands before it is authorized."""
        self.amount = Timeline(amount)
        self.releases = []
        self.raised = Timeline(0)
        """What was authorized on top of the first authorization, by raising that."""
        self.raised_by = set()
        """The keys of the requests that raised it."""

    # --- what happens ---

    def add(self, kind, minor, at, key, state, *, final=False):
        done = Done(kind, minor, f"{kind}_{len(self.effects)}", key if self.setup.keyed else None, final)
        if kind in (Kind.REFUND, Kind.CHARGEBACK) and self.setup.names_captures:
            given = Counter()
            for effect in self.effects:
                given[effect.capture] += effect.minor
            rows = [
                e for e in self.of(Kind.CAPTURE, at, "succeeded") if e.minor - given[e.reference] >= minor
            ]
            done.capture = rows[len(self.effects) % len(rows)].reference if rows else None
        self.effects.append(done)
        self.move(done, at, state)
        return done

    def move(self, done, at, state):
        before = done.states.at(at)
        done.states.set(at, state)
        free = self.free.at(at)
        if done.kind is Kind.AUTHORIZE:
            self.phase.set(at, {"pending": "pending", "failed": "error"}.get(state, "authorized"))
            if state == "succeeded":
                self.free.set(at, free + done.minor)
        elif done.kind is Kind.CAPTURE:
            if before is None:
                self.free.set(at, free - done.minor)
            elif state == "failed" and not done.released:
                self.free.set(at, free + done.minor)
            if state == "succeeded" and (self.setup.once or (done.final and self.setup.releases)):
                self.release(at)
        elif done.kind is Kind.CANCEL and state == "succeeded":
            done.minor = free
            self.release(at)

    def raise_to(self, minor, at, key):
        """Raise what is authorized, unless it is captured or over; return whether that could be."""
        free, busy = self.free.at(at), self.of(Kind.CAPTURE, at, "pending", "succeeded")
        busy = busy or self.of(Kind.CANCEL, at, "pending")
        if not free or busy or self.phase.at(at) != "authorized" or minor <= max(free, self.amount.at(at)):
            return False
        self.free.set(at, minor)
        self.amount.set(at, minor)
        self.raised.set(at, self.raised.at(at) + minor - free)
        self.raised_by.add(key)
        return True

    def release(self, at, part=None):
        if part is not None:
            self.free.set(at, self.free.at(at) - part)
            return
        self.free.set(at, 0)
        self.phase.set(at, "ended")
        self.releases.append(at)
        for done in self.of(Kind.CAPTURE, at, "pending"):
            done.released = True

    # --- how it stands ---

    def of(self, kind, at, *states):
        return [e for e in self.effects if e.kind is kind and e.states.at(at) in states]

    def sum(self, kind, at, state):
        return sum(e.minor for e in self.of(kind, at, state))

    def captured(self, at):
        return self.sum(Kind.CAPTURE, at, "succeeded")

    def refunded(self, at):
        return self.sum(Kind.REFUND, at, "succeeded")

    def authorized(self, at):
        return self.free.at(at) + self.captured(at) + self.sum(Kind.CAPTURE, at, "pending")

    def charged_back(self, at):
        return self.sum(Kind.CHARGEBACK, at, "succeeded")

    def refundable(self, at):
        return (
            self.captured(at)
            - self.refunded(at)
            - self.sum(Kind.REFUND, at, "pending")
            - self.charged_back(at)
        )

    def disputable(self, at):
        return self.captured(at) - self.charged_back(at) - self.sum(Kind.CHARGEBACK, at, "pending")

    def status(self, at):
        phase = self.phase.at(at)
        if self.authorized(at):
            return "authorized"
        return "canceled" if phase in ("ended", "authorized") else phase

    def ended_by(self, at):
        """Whether the object was over at some time until then, or the rest was released."""
        return any(t <= at for t in self.releases) or any(
            self.status(t) == "canceled" for e in self.effects for t in e.states.times if t <= at
        )

    def may_release(self, at):
        """Where only effects are listed, nothing shows what a capture that fails after a release leaves."""
        setup = self.setup
        return setup.lookup == "none" or setup.totals != "none" or not self.of(Kind.CAPTURE, at, "pending")

    # --- what it shows ---

    def effect(self, done, at):
        failed = done.states.at(at) in ("failed", "reversed")
        return Effect(
            done.kind,
            cents(done.minor),
            done.states.at(at),
            done.reference,
            done.key,
            capture=done.capture,
            error=Failure("bank", "the bank said no") if failed else None,
            dispute=dispute_of(done.kind, done.states.at(at)),
            created_at=done.states.times[0] if self.setup.dates else None,
        )

    def snapshot(self, session, at):
        status = self.status(at)
        if status == "none":
            return Snapshot.absent()
        setup = self.setup
        shown = (
            ()
            if setup.totals == "only"
            else [self.effect(e, at) for e in self.effects if e.states.at(at) is not None]
        )
        totals = {}
        if setup.totals != "none":
            totals = {
                "authorized": cents(self.authorized(at)),
                "captured": cents(self.captured(at)),
                "refunded": cents(self.refunded(at)),
                "charged_back": cents(self.charged_back(at)),
            }
        return Snapshot(
            status,
            amount=cents(self.amount.at(at)),
            effects=shown,
            session_id=session.id,
            reference="object",
            error=Failure("declined", "no") if status == "error" else None,
            **totals,
        )


class Provider:
    """Carries requests out at the model, and answers, loses or delays the answer."""

    def __init__(self, life):
        self.life, self.setup = life, life.setup
        setup = life.setup
        self.capabilities = Capabilities(
            capture="once" if setup.once else "multiple",
            refund="multiple",
            lookup=setup.lookup,
            lookup_lag=LAG if setup.lookup == "lagging" else timedelta(0),
            replay_window=setup.window,
            final_capture_releases=setup.releases,
            keyed_effects=setup.keyed or setup.claims_keys,
            increment=setup.lookup != "none",
        )
        self.answers = {}
        """The first answer of each key, with its time, and the effect that it had."""

    def carry_out(self, operation, act):
        """Carry a request out, or answer a repetition as the first one."""
        life, key = self.life, operation.key
        first = self.answers.get(key)
        if first is not None and life.now - first[0] < self.setup.window:
            if not isinstance(first[1], Exception) or self.setup.keeps_refusals:
                return first[1]
        if first is not None and first[2] is not None:
            life.faults.append(f"{operation.kind} was sent again when the gateway had forgotten its key")
        count = len(life.model.effects)
        answer = act()
        effects = [e for e in life.model.effects[count:] if e.kind is operation.kind and e.now != "failed"]
        self.answers[key] = (first[0] if first else life.now, answer, effects[0] if effects else None)
        return answer

    def _send(self, operation, act):
        life = self.life
        fate = life.random.choices(
            ["heard", "lost", "unsent", "refused", "late", "overtaken"], [10, 2, 1, 1, 2, 4]
        )[0]
        if fate == "unsent":
            raise OutcomeUnknown("lost before it was sent")
        if fate == "refused" and operation.attempt == 1:
            raise NotApplied("no connection")
        if fate == "late":
            at = life.now + UNDER_WAY * life.random.random()
            life.queue.append((at, operation.key, lambda: self.carry_out(operation, act)))
            raise OutcomeUnknown("no answer in time")
        answer = self.carry_out(operation, act)
        if fate == "lost":
            raise OutcomeUnknown("lost")
        if fate == "overtaken":
            life.meanwhile()
        if isinstance(answer, Exception):
            raise (
                type(answer)(*answer.args)
                if isinstance(answer, NotApplied)
                else Declined(answer.code, answer.message)
            )
        return answer

    @hookimpl
    def initiate(self, operation):
        model = self.life.model
        self.life.session_id = operation.session_id

        def act():
            if model.phase.at(self.life.now) == "none":
                model.phase.set(self.life.now, "requires_more")
            return Outcome.requires_more(reference="object")

        return self._send(operation, act)

    @hookimpl
    def update(self, operation):
        model, life = self.life.model, self.life

        def increment():
            if life.random.random() < 0.2:
                return Declined("card_declined", "no")
            if not model.raise_to(operation.amount.minor, life.now, operation.key):
                return Declined("state", "it cannot be raised")
            return Outcome.authorized(amount=operation.amount)

        def act():
            if operation.increments:
                return increment()
            if model.phase.at(life.now) not in ("requires_more", "error"):
                return Declined("state", "too late")
            model.amount.set(life.now, operation.amount.minor)
            model.phase.set(life.now, "requires_more")
            return Outcome.requires_more(reference="object")

        return self._send(operation, act)

    @hookimpl
    def authorize(self, operation):
        life, model, setup = self.life, self.life.model, self.setup

        def act():
            now, phase = life.now, model.phase.at(life.now)
            minor = model.amount.at(now)
            if phase == "ended":
                return Declined("state", "it is canceled")
            for state, answer in (("pending", Outcome.pending), ("succeeded", Outcome.authorized)):
                for done in model.of(Kind.AUTHORIZE, now, state):
                    return answer(reference=done.reference)
            roll = life.random.random()
            if roll < 0.15:
                life.notify(model.add(Kind.AUTHORIZE, minor, now, operation.key, "failed"))
                return Declined("card_declined", "no")
            if roll < 0.22:
                model.phase.set(now, "requires_more")
                return Outcome.requires_more(reference="object")
            if roll < 0.35 and setup.totals != "only":
                life.notify(done := model.add(Kind.AUTHORIZE, minor, now, operation.key, "pending"))
                life.slow.append(done)
                return Outcome.pending(reference=done.reference)
            life.notify(done := model.add(Kind.AUTHORIZE, minor, now, operation.key, "succeeded"))
            if setup.automatic:
                life.notify(model.add(Kind.CAPTURE, minor, now, operation.key, "succeeded"))
                return Outcome.captured(cents(minor), reference=done.reference)
            return Outcome.authorized(reference=done.reference)

        return self._send(operation, act)

    def _money(self, operation, left, answer):
        life, model = self.life, self.life.model

        def act():
            minor, now = operation.amount.minor, life.now
            if minor > left(now) or life.random.random() < 0.12:
                return Declined("no", "no")
            slow = self.setup.totals != "only" and life.random.random() < 0.35
            state = "pending" if slow else "succeeded"
            done = model.add(operation.kind, minor, now, operation.key, state, final=operation.final)
            life.notify(done)
            if slow:
                life.slow.append(done)
                return Outcome.pending(reference=done.reference)
            return answer(operation.amount, reference=done.reference)

        return self._send(operation, act)

    @hookimpl
    def capture(self, operation):
        def done(amount, *, reference):
            released = operation.final and self.setup.releases
            return Outcome.captured(amount, reference=reference, released=released)

        return self._money(operation, self.life.model.free.at, done)

    @hookimpl
    def refund(self, operation):
        return self._money(operation, self.life.model.refundable, Outcome.refunded)

    @hookimpl
    def cancel(self, operation):
        life, model = self.life, self.life.model

        def act():
            now = life.now
            if model.phase.at(now) == "ended" and not model.free.at(now):
                return Outcome.canceled()
            if model.phase.at(now) == "pending" or not model.may_release(now) or life.random.random() < 0.1:
                return Declined("state", "not now")
            slow = self.setup.totals != "only" and life.random.random() < 0.2
            state = "pending" if slow else "succeeded"
            if slow and model.of(Kind.CANCEL, now, "pending"):
                return Outcome.pending()
            done = model.add(Kind.CANCEL, model.free.at(now), now, operation.key, state)
            life.notify(done)
            if slow:
                life.slow.append(done)
                return Outcome.pending()
            return Outcome.canceled()

        return self._send(operation, act)

    @hookimpl
    def retrieve(self, session):
        life = self.life
        at = life.now
        if self.setup.lookup == "lagging":
            at = max(at - LAG * life.random.random(), life.visible)
        return life.model.snapshot(session, at)

    @hookimpl
    def parse_webhook(self, body):
        number, session_id, parts = json.loads(body)
        effects = [
            Effect(
                Kind(k),
                cents(m),
                s,
                r,
                key,
                capture=c,
                error=Failure("bank", "no") if s == "failed" else None,
                dispute=dispute_of(k, s),
            )
            for k, m, s, r, key, c in parts
        ]
        shown = effects if self.setup.lookup == "none" else ()
        return [WebhookEvent(str(number), "effect", session_id=session_id, effects=shown)]


class Setup:
    """What kind of gateway it is: given by the variant, the rest drawn."""

    def __init__(self, random, *, lookup, keyed=True, totals="both", claims_keys=False):
        self.lookup, self.keyed, self.totals = lookup, keyed, totals
        self.claims_keys = claims_keys
        """Whether it is declared that effects carry our key, whatever they do."""
        self.counts_authorizations = lookup == "none" or totals != "none"
        """Only a total, or single reports, tell a second authorization from the first one."""
        self.once = random.random() < 0.1
        self.releases = random.random() < 0.5
        self.automatic = random.random() < 0.2
        self.keeps_refusals = random.random() < 0.7
        self.names_captures = random.random() < 0.5
        self.dates = random.random() < 0.5
        self.window = random.choice(
            [timedelta(days=1), timedelta(days=1), timedelta(minutes=5), timedelta(0)]
        )


class Watched(MemoryStore):
    """A store that shows each commit of a session to a judge."""

    judge = None

    def commit(self, change):
        super().commit(change)
        if change.session is not None and self.judge is not None:
            try:
                self.judge.commit(change)
            except AssertionError as error:
                self.judge.life.faults.append(str(error))
                self.judge.life.story.append(("fault", str(error)))


class Life:
    """One session's life, drawn at random."""

    def __init__(self, seed, judge=None, **variant):
        self.random = Random(seed)
        self.setup = Setup(self.random, **variant)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.visible = self.now
        self.amount = self.random.choice([AMOUNT, self.random.randrange(1, AMOUNT)])
        self.model = Model(self.setup, self.amount)
        self.slow, self.outbox, self.queue, self.calls, self.story = [], [], [], [], []
        self.numbers, self.depth = 0, 0
        self.faults = []
        """What an exception would not show, because the code under test catches it."""
        self.provider = Provider(self)
        self.store = Watched(clock=lambda: self.now)
        self.payments = Payments(self.store, Registry({"model": self.provider}, ()))
        order = self.payments.create_collection(cents(AMOUNT), reference=f"order-{seed}")
        if judge is not None:
            self.store.judge = judge(self)
        self.order_id, self.session_id = order.id, None
        self.initiate()
        (session,) = self.payments.sessions()
        self.session_id = session.id

    def initiate(self):
        mode = "automatic" if self.setup.automatic else "manual"
        initiate, key = self.payments.initiate, f"order {self.order_id}"
        asked = {"amount": cents(self.amount), "capture": mode, "idempotency_key": key}
        self.attempt(initiate, self.order_id, provider="model", **asked)

    # --- what reports ---

    def notify(self, done):
        """Put a notification of an effect's newest state into the outbox: once, twice, or under two ids."""
        part = [done.kind, done.minor, done.now, done.reference, done.key, done.capture]
        for _ in range(self.random.choice([1, 1, 1, 2])):
            self.numbers += 1
            body = json.dumps([self.numbers, self.session_id, [part]]).encode()
            self.outbox += [body] * self.random.choice([1, 1, 2])

    def deliver(self, place=None):
        if self.outbox:
            body = self.outbox.pop(self.random.randrange(len(self.outbox)) if place is None else place)
            self.story.append(("deliver", body))
            reply = self.payments.handle_webhook("model", headers={}, body=body)
            assert reply.status == 200

    def look(self):
        if self.setup.lookup != "none":
            self.attempt(self.payments.sync, self.session_id)

    def meanwhile(self):
        """What happens while a request of ours is under way."""
        if self.depth:
            return
        self.depth += 1
        for _ in range(self.random.randrange(4)):
            self.tick()
            self.random.choice([self.deliver, self.deliver, self.look, self.settle, self.dashboard])()
        self.depth -= 1

    def resolve(self):
        """An operator looks at the gateway, and says what became of an operation that nobody works on."""
        rows = self.payments.history(self.session_id)
        rows = [row for row in rows if row.state in (State.STARTED, State.PENDING)]
        if not rows or self.queue:
            return
        row = self.random.choice(rows)
        answer = self.provider.answers.get(row.key)
        if row.state is State.PENDING and row.origin == "host":
            answer = answer and self.told(row, answer[2])
        elif row.kind in (Kind.CAPTURE, Kind.REFUND):
            answer = (
                NotApplied("it did not arrive") if answer is None else self.told(row, answer[2]) or answer[1]
            )
        else:
            return
        if answer is not None:
            self.attempt(self.payments.resolve, row.id, answer, note="I looked")

    def told(self, row, done):
        # The operator looks for the id that the ledger shows, whichever effect that is.
        done = next((e for e in self.model.effects if e.reference == row.reference), done)
        if done is None or row.kind not in (Kind.CAPTURE, Kind.REFUND):
            return None
        if done.now == "succeeded":
            answer = Outcome.captured if row.kind is Kind.CAPTURE else Outcome.refunded
            return answer(row.amount, reference=done.reference)
        return Declined("bank", "the bank said no") if done.now == "failed" else None

    # --- what happens ---

    def tick(self):
        self.until(self.now + timedelta(seconds=self.random.choice([1, 20, 90])))

    def until(self, moment):
        for at, _, act in sorted((entry for entry in self.queue if entry[0] <= moment), key=lambda e: e[0]):
            self.now = max(self.now, at)
            self.story.append(("arrives", at))
            act()
        self.queue = [entry for entry in self.queue if entry[0] > moment]
        self.now = max(self.now, moment)

    def attempt(self, call, *args, **kwargs):
        name = call.__name__
        self.story.append((name, *args[1:], kwargs))
        try:
            call(*args, **kwargs)
        except PaysessionError as error:
            self.story.append((name, f"{type(error).__name__}: {error}"))

    def settle(self, state=None):
        if self.slow:
            done = self.slow.pop(self.random.randrange(len(self.slow)))
            state = state or self.random.choice(["succeeded", "failed"])
            if done.kind is Kind.CANCEL and self.model.phase.at(self.now) == "ended":
                state = "succeeded"
            self.model.move(done, self.now, state)
            self.story.append(("settle", done))
            self.notify(done)

    def payer(self):
        """The payer acts in the browser."""
        model, now = self.model, self.now
        if model.phase.at(now) not in ("requires_more", "error"):
            return
        if self.setup.lookup == "none":
            self.flush()  # a capture that is reported first would be taken for a success of what failed before
            now = self.now
        state = self.random.choice(["succeeded", "succeeded", "failed", "pending"])
        if state == "pending" and self.setup.totals == "only":
            state = "succeeded"
        done = model.add(Kind.AUTHORIZE, model.amount.at(now), now, None, state)
        self.story.append(("payer", done))
        if state == "pending":
            self.slow.append(done)
        self.notify(done)
        if state == "succeeded" and self.setup.automatic and self.setup.totals != "only":
            self.notify(model.add(Kind.CAPTURE, done.minor, now, None, "succeeded"))

    def dashboard(self):
        """What is done at the gateway by others."""
        model, now, random = self.model, self.now, self.random
        left, room = model.free.at(now), model.refundable(now)
        what = random.choice(
            ["capture", "refund", "cancel", "reverse", "reverse", "part", "again", "dispute", "raise"]
        )
        if what == "capture" and left > 1 and not (self.setup.once and model.authorized(now) > left):
            self.made(Kind.CAPTURE, random.choice([min(100, left), random.randrange(1, left)]))
        elif what == "refund" and room > 1:
            self.made(Kind.REFUND, random.choice([min(100, room), random.randrange(1, room)]))
        elif what == "dispute" and model.disputable(now) > 1:
            # The payer's bank asks nobody what was refunded already.
            self.made(Kind.CHARGEBACK, random.randrange(1, model.disputable(now)))
        elif what == "raise" and self.setup.totals != "none" and self.setup.lookup != "none":
            if model.raise_to(random.randrange(1, AMOUNT + 1), now, None):
                self.story.append(("dashboard", "raises"))
        elif (
            what == "cancel"
            and random.random() < 0.3
            and model.phase.at(now) not in ("pending", "none", "ended")
            and model.may_release(now)
        ):
            self.happened(model.add(Kind.CANCEL, left, now, None, "succeeded"))
        elif what == "reverse":
            standing = [e for e in model.effects if e.kind in SUMMED and e.now == "succeeded"]
            if standing:
                done = random.choice(standing)
                model.move(done, now, "reversed")
                self.happened(done)
        elif what == "part" and left > 1 and self.setup.totals != "none" and self.setup.lookup != "none":
            # LIMITS["part"]: a lookup that may be stale is ignored.
            session = self.payments.get(self.session_id)
            seen = self.setup.lookup != "lagging" or now >= session.updated_at + LAG
            if seen and not model.of(Kind.CAPTURE, now, "pending"):
                model.release(now, random.randrange(1, left))
                self.visible = now
                self.look()
        elif (
            what == "again"
            and self.setup.counts_authorizations
            and model.of(Kind.AUTHORIZE, now, "succeeded")
        ):
            if self.setup.lookup == "none":
                # Without a lookup nothing shows which of a release and an authorization came first.
                self.flush()
                session = self.payments.get(self.session_id)
                if session.open or session.cancel_requested:
                    return
                now = self.now
            if model.releases and model.of(Kind.CAPTURE, now, "pending") and self.setup.totals == "none":
                return  # LIMITS["released"]
            self.happened(model.add(Kind.AUTHORIZE, random.randrange(1, AMOUNT), now, None, "succeeded"))
            if self.setup.lookup == "none":
                self.flush()

    def made(self, kind, minor):
        """Make a capture or refund in the dashboard, now or later, sometimes under a key of somebody else's."""
        key = self.random.choice([None, f"other-{len(self.model.effects)}"])
        slow = self.setup.totals != "only" and self.random.random() < 0.3
        done = self.model.add(kind, minor, self.now, key, "pending" if slow else "succeeded")
        if slow:
            self.slow.append(done)
        self.happened(done)

    def flush(self):
        while self.outbox:
            self.deliver(0)

    def happened(self, done):
        self.story.append(("dashboard", done))
        self.notify(done)

    def step(self):
        random, payments, session_id = self.random, self.payments, self.session_id
        self.tick()
        session = payments.get(session_id)
        if not session.initiated and session.status == "pending" and session.open is None:
            self.initiate()
            return
        early = ["authorize", "authorize", "payer", "update", "cancel"]
        later = [
            "capture",
            "capture",
            "capture",
            "refund",
            "refund",
            "cancel",
            "again",
            "dashboard",
            "dashboard",
        ]
        if session.status == "authorized" and not session.captured and session.amount.minor < AMOUNT:
            later += ["raise"] * 8
        either = ["deliver", "deliver", "look", "recover", "settle", "settle", "resolve", "wait"]
        waits = self.model.phase.at(self.now) in ("requires_more", "error", "pending")
        what = random.choice([*(early if waits else later), *either])
        if what in ("deliver", "look", "settle", "dashboard", "resolve", "payer"):
            getattr(self, what)()
        elif what == "authorize":
            self.attempt(payments.authorize, session_id)
        elif what == "update" and random.random() < 0.5:
            minor = random.choice([AMOUNT, random.randrange(1, AMOUNT)])
            self.attempt(payments.update, session_id, cents(minor))
        elif what == "raise":
            minor = random.choice([AMOUNT, random.randrange(session.amount.minor, AMOUNT)])
            self.call(payments.update, cents(minor))
        elif what == "capture":
            most = max(2, self.model.free.at(self.now))
            minor = random.choice([most, random.randrange(1, most), 100, None])
            final = random.random() < 0.25
            if self.setup.claims_keys and self.setup.totals == "none":
                final = False  # LIMITS["claimed"]
            if minor == 100 and (final or self.setup.once):
                minor = 99  # LIMITS["alike"]
            self.call(payments.capture, minor if minor is None else cents(minor), final=final)
        elif what == "refund":
            most = max(2, self.model.refundable(self.now))
            minor = random.choice([most, random.randrange(1, most), 100, None])
            self.call(payments.refund, minor if minor is None else cents(minor))
        elif what == "again" and self.calls:
            call, args, kwargs = random.choice(self.calls)
            self.attempt(call, *args, **kwargs)
        elif what == "cancel" and random.random() < 0.3:
            self.attempt(payments.cancel, session_id)
        elif what == "recover":
            self.story.append(("recover",))
            payments.recover(now=random.random() < 0.3)
        elif what == "wait" and random.random() < 0.3:
            self.until(self.now + timedelta(hours=random.choice([1, 30])))
            self.visible = self.now - LAG

    def call(self, call, amount, **kwargs):
        """Ask for an effect, under a key of the caller's that may be used again."""
        key = f"k{len(self.calls)}" if self.random.random() < 0.8 else None
        args = (self.session_id, amount)
        if key is not None:
            self.calls.append((call, args, {**kwargs, "idempotency_key": key}))
        self.attempt(call, *args, **kwargs, idempotency_key=key)

    def rest(self):
        """Let everything be reported, and recovery come to its end."""
        version = calm = 0
        for _ in range(60):
            while self.slow:
                self.tick()
                self.settle(self.random.choice(["succeeded", "failed"]))
            while self.outbox:
                self.deliver()
            self.until(self.now + timedelta(hours=2))
            self.visible = self.now - timedelta(hours=1)
            self.story.append(("rest",))
            self.payments.recover(now=True)
            self.look()
            self.resolve_all()
            session = self.payments.get(self.session_id)
            waits = self.outbox or self.slow or self.queue or session.open or session.cancel_requested
            calm = 0 if waits or session.version != version else calm + 1
            version = session.version
            if calm == 2:  # one lookup was later than the lag of the last change
                return

    def resolve_all(self):
        """What no lookup shows an operator settles at last."""
        for doubt in self.payments.in_doubt():
            row = doubt.operation
            if not doubt.needs_operator or self.queue:
                continue
            if row.state is State.PENDING and row.kind not in (Kind.CAPTURE, Kind.REFUND):
                continue  # how it ended is reported
            answer = self.provider.answers.get(row.key)
            if answer is None:
                told = NotApplied("it did not arrive")
            else:
                told = self.told(row, answer[2]) or answer[1]
            self.attempt(self.payments.resolve, row.id, told, note="I looked")


LIMITS = {
    "one total": "Of effects that only totals show, no second authorization and nothing pending can be told apart.",
    "cancels listed": (
        "A lookup that lists cancels and does not report what is authorized shows neither a second authorization nor "
        "what a capture leaves that fails after a cancel."
    ),
    "alike": (
        "No capture of somebody else's is like one of ours that releases the rest: taken for it, it would release too."
    ),
    "claimed": (
        "Where a provider says that effects carry our key, and they do not, a capture whose answer is lost for good is "
        "taken for somebody else's: without a total nothing shows that it was final, and released the rest."
    ),
    "a cancel's own": (
        "A cancel that was accepted ends as the one that is shown with its key. Without a key, or where a second request "
        "is answered by how the first one stands, a failure may be another's: the session is looked at again."
    ),
    "released": (
        "What a capture leaves that was pending when the rest was released, and fails after a second authorization, is "
        "forgotten: a total corrects it, single effects do not."
    ),
    "part": (
        "A part of an authorization that is released is seen before a capture of all that is left: else it cannot be "
        "told from a release of the rest."
    ),
    "order": (
        "Without a lookup nothing shows which of a release and a later authorization came first, nor that a capture "
        "belongs to another authorization than the one that is open: these are delivered in their order."
    ),
}
"""What the contract does not ask of a gateway, so that the model does not do it."""

RETURNED = (Kind.REFUND, Kind.CHARGEBACK)
UNAUTHORIZED = ("pending", "requires_more", "error")
SUMMED = {
    Kind.CAPTURE: ("captured", "capturing"),
    Kind.REFUND: ("refunded", "refunding"),
    Kind.CHARGEBACK: ("charged_back", "disputed"),
}
"""What each kind adds to once it has succeeded, and while it is pending: of a dispute the session has no sum."""
MOVED = {
    Kind.CAPTURE: ("session.captured", "session.reversed"),
    Kind.REFUND: ("session.refunded", "session.reversed"),
    Kind.CHARGEBACK: ("session.charged_back", "session.dispute_won"),
}
"""The event of each kind, and of what undoes it."""

REFUSALS = {
    Kind.INITIATE: "session.canceled",
    Kind.AUTHORIZE: "session.error",
    Kind.CHARGEBACK: "session.dispute_won",
}
"""What reports a refusal, unless ``operation.failed`` does."""

DIFFERENCES = {
    "ended_before_its_captures": (
        "A release was reported before captures that preceded it: the session ends once, and what turns up "
        "afterwards is recorded with the conflict `authorized_after_cancel`. An authorization that one lookup shows "
        "together with such captures includes what they took."
    ),
    "authorized_again": (
        "A session ends once: a second authorization after its end does not reopen it. A cancel that was pending when "
        "it came stays so until that is captured or released as well."
    ),
    "came_and_went": "What was made and undone between two lookups was seen by nobody.",
    "totals_only": "Of effects that only a total shows, neither the number nor the references are known.",
    "implied_end": (
        "A capture implies an authorization where single effects are reported. If all that was captured is reversed "
        "before the authorization is reported, the session has ended; the rest of it is canceled then."
    ),
    "netted": (
        "A total shows what came less what went: while an operation of ours is in doubt beside somebody else's, it can "
        "count twice until the next lookup. So does what is authorized again while a cancel of ours is in doubt: it is "
        "recorded as what the total rose by, and, once the cancel has succeeded, as what was left after that."
    ),
    "waiting": "Without a lookup nothing shows which of an update and the attempts to authorize came last.",
    "closed": (
        "`over_limit` and `amount` are about what a lookup or notification shows of the authorization. What closed "
        "them, such as a refund of all of it, can be undone without that being shown again."
    ),
    "alike": "Which of two effects alike, without a key, is ours cannot be told.",
}


class Fold:
    """Replays the rows of operations in the order in which they were written, by itself.

    One fact is in no row: that the rest was released, where neither a cancel nor a capture did it (the gateway
    shows that it is over, or nothing of it is left). It is given.
    """

    def __init__(self, setup):
        self.setup = setup
        self.rows = {}
        self.figures = Counter()
        self.pending = set()
        self.granted, self.released = 0, False
        self.netted = 0
        """What of the found authorizations counts twice, by DIFFERENCES."""

    @property
    def kept(self):
        return self.figures["captured"] + self.figures["capturing"]

    @property
    def authorized(self):
        return self.kept if self.released else max(self.granted, self.kept)

    @property
    def implied(self):
        return any(row.answer == "implied" for row in self.rows.values())

    def add(self, row):
        old = self.rows.get(row.id)
        self.rows[row.id] = row
        was, before = (old.state, old.amount.minor) if old is not None else (State.STARTED, 0)
        minor, succeeded = row.amount.minor, row.state is State.SUCCEEDED and was is not State.SUCCEEDED
        if is_merged(row) and was is State.SUCCEEDED:
            self.figures[SUMMED[row.kind][0]] -= before  # the operation that it is counts from now on
        waits = row.state is State.PENDING and row.kind is not Kind.CHARGEBACK
        (self.pending.add if waits else self.pending.discard)(row.id)
        if row.kind in SUMMED:
            done, waiting = SUMMED[row.kind]
            self.figures[waiting] += minor * (row.state is State.PENDING) - before * (was is State.PENDING)
            if succeeded:
                self.figures[done] += -minor if row.reverses else minor
                if row.reverses and row.kind is Kind.CAPTURE:
                    self.granted -= minor
                elif row.kind is Kind.CAPTURE and (self.setup.once or (row.final and self.setup.releases)):
                    self.released = True
                if row.reverses and not self.authorized and not self.implied:
                    self.released = True  # it is over
        elif row.increments and succeeded:
            self.granted = max(self.granted, minor)
        elif row.kind is Kind.AUTHORIZE and grants(row):
            more = minor - (before if grants(old) else 0)
            cancels = [row for row in self.rows.values() if row.kind is Kind.CANCEL and row.origin == "host"]
            if row.origin == "provider" and any(
                row.state in (State.STARTED, State.PENDING) for row in cancels
            ):
                self.netted += more
            if self.released and not grants(old) and row.answer != "implied":
                self.granted, self.released = self.kept + more, False
            else:
                self.granted = more + (self.kept if self.released else self.granted)
        elif row.kind is Kind.CANCEL and succeeded:
            if row.origin == "host" or minor >= self.authorized - self.kept:
                self.released = True
            else:
                self.granted = self.authorized - minor


def grants(row):
    without = ("requires_more", "canceled", "pending")
    return row is not None and row.state is State.SUCCEEDED and row.answer not in without


def is_merged(row):
    """Whether what was found turned out to be the effect of an operation of ours."""
    return row.answer == "merged"


class Judge:
    """Compares each commit with what had happened at the gateway by then."""

    def __init__(self, life):
        self.life = life
        self.fold = Fold(life.setup)
        self.session = None

    def commit(self, change):
        life, model, session = self.life, self.life.model, change.session
        now, old = life.now, dict(self.fold.rows)
        if self.session is not None and self.session.status == "canceled":
            found = [row for row in change.operations if row.origin == "provider" and row.id not in old]
            if any(row.kind is Kind.AUTHORIZE for row in found):  # DIFFERENCES["ended_before_its_captures"]
                taken = [row for row in found if row.kind is Kind.CAPTURE and not row.reverses]
                self.fold.netted += sum(row.amount.minor for row in taken)
        for row in change.operations:
            life.story.append(("row", row.id[-10:], str(row.kind), row.amount.minor, str(row.state), row.answer,
                               row.reference, row.reverses and row.reverses[-10:]))  # fmt: skip
            self._no_way_back(old.get(row.id), row)
            self.fold.add(row)
        life.story.append(("session", str(session.status), session.authorized, session.captured, session.capturing,
                           session.refunded, session.granted, session.released, session.held, session.conflict,
                           [e.type for e in change.events]))  # fmt: skip
        self._happened(model, now)
        self._status(session, model, now)
        self._replay(session)
        self.session = session

    def _no_way_back(self, before, row):
        assert row.amount.minor or row.kind is Kind.CANCEL
        if before is None:
            return
        assert (before.kind, before.ordinal) == (row.kind, row.ordinal)
        if before.reverses != row.reverses:
            assert is_merged(self.fold.rows[before.reverses])
        if is_merged(row):
            assert self.life.setup.claims_keys, "it was found, though it may have been ours"
            assert before.origin == "provider"
        elif before.state in (State.SUCCEEDED, *REFUSED):
            assert row.state is before.state, f"{row.kind} went from {before.state} to {row.state}"
            assert row.amount == before.amount or before.answer == "implied"
        if before.state is State.PENDING:
            assert row.state is not State.STARTED

    def _happened(self, model, now):
        """No more is recorded than had happened by then, effect by effect where it can be told."""
        rows = self.fold.rows.values()
        by_reference = {e.reference: e for e in model.effects}
        for kind in SUMMED:
            ever = sum(e.minor for e in model.effects if e.kind is kind and e.was("succeeded", now))
            undone = sum(e.minor for e in model.effects if e.kind is kind and e.was("reversed", now))
            own = [row for row in rows if row.kind is kind and row.state is State.SUCCEEDED]
            if self.life.setup.totals == "only":
                continue  # DIFFERENCES["netted"]
            assert sum(row.amount.minor for row in own if not row.reverses) <= ever, (
                f"a {kind} that never was"
            )
            assert sum(row.amount.minor for row in own if row.reverses) <= undone, (
                f"a {kind} was not reversed"
            )
        for row in rows:
            done = by_reference.get(row.reference)
            if done is None or row.kind is not done.kind or row.kind is Kind.AUTHORIZE:
                continue
            assert row.state is not State.SUCCEEDED or done.was("succeeded", now), f"{done} had not succeeded"
            assert row.state is not State.DECLINED or not done.was("succeeded", now), f"{done} had not failed"
        assert self.figures_are_sane()

    def figures_are_sane(self):
        return all(value >= 0 for name, value in self.fold.figures.items())

    def _status(self, session, model, now):
        before = self.session
        if before is not None and before.status == "canceled":
            assert session.status == "canceled", "it came back"
        elif session.status == "canceled":
            initiated = [row for row in self.fold.rows.values() if row.kind is Kind.INITIATE]
            refused = not session.initiated and initiated and initiated[0].state in REFUSED
            # DIFFERENCES["implied_end"]
            refused = refused or self.fold.implied
            # DIFFERENCES["came_and_went"]: what it had taken is taken for what our pending cancel released.
            captures = [e for e in model.effects if e.kind is Kind.CAPTURE]
            misread = self.life.setup.claims_keys and any(e.was("reversed", now) for e in captures)
            assert refused or misread or model.ended_by(now) or not session.initiated, "it had not ended"
        if session.status == "authorized":
            assert any(e.kind is Kind.AUTHORIZE and e.was("succeeded", now) for e in model.effects)
        granted = sum(e.minor for e in model.effects if e.kind is Kind.AUTHORIZE and e.was("succeeded", now))
        granted += model.raised.at(now)
        rows = [row for row in self.fold.rows.values() if row.kind is Kind.AUTHORIZE and grants(row)]
        # DIFFERENCES["alike"]: what was taken for a capture that had been reversed leaves more authorized.
        undone = sum(e.minor for e in model.effects if e.kind is Kind.CAPTURE and e.was("reversed", now))
        total = sum(row.amount.minor for row in rows) - undone - self.fold.netted
        setup = self.life.setup
        # One lookup may show a release by a capture and an authorization after it: only their sum is known.
        merged = setup.totals == "only" or setup.once or setup.releases
        assert total <= granted or merged, "an authorization that never was"
        assert session.authorized <= max(granted, session.captured + session.capturing), (
            "more authorized than ever was"
        )

    def _replay(self, session):
        fold = self.fold
        fold.released = fold.released or session.released
        figures = {
            name: getattr(session, name) for pair in SUMMED.values() for name in pair if name != "disputed"
        }
        disputes = [row for row in fold.rows.values() if row.kind is Kind.CHARGEBACK and not row.reverses]
        undecided = [
            row
            for row in disputes
            if row.state is State.PENDING
            or (row.state is State.SUCCEEDED and row.dispute is not None and row.dispute.is_open)
        ]
        assert session.disputes == len(undecided), "replay: disputes"
        assert figures == {name: fold.figures[name] for name in figures}, "replay: the sums"
        assert session.pending == len(fold.pending), "replay: pending"
        authorizing = [key for key in fold.pending if fold.rows[key].kind is Kind.AUTHORIZE]
        assert session.authorizing == (authorizing[0] if authorizing else None), "replay: authorizing"
        started = [row.id for row in fold.rows.values() if row.state is State.STARTED]
        assert started == ([session.open] if session.open else []), "replay: open"
        if session.status in UNAUTHORIZED:
            assert session.authorized == 0
            return
        raising = [row for row in fold.rows.values() if row.state is State.STARTED and row.increments]
        more = sum(row.hold for row in raising) if not session.released else 0
        assert session.held == session.authorized + more, "replay: held"
        assert session.authorized == fold.authorized, f"replay: authorized, {fold.authorized}"
        if session.status != "canceled":
            assert session.status == ("authorized" if session.authorized else "canceled")

    # --- at rest ---

    def rest(self):
        life, model, now = self.life, self.life.model, self.life.now
        assert not life.faults, life.faults[0]
        setup = life.setup
        session = life.payments.get(life.session_id)
        assert session.open is None, "it is still in doubt"
        assert not session.cancel_requested, "its cancel is still wanted"
        truth = {
            "authorized": model.authorized(now),
            "captured": model.captured(now),
            "capturing": 0,
            "refunded": model.refunded(now),
            "refunding": 0,
            "charged_back": model.charged_back(now),
        }
        figures = {name: getattr(session, name) for name in truth}
        assert figures == truth, f"figures: {figures}, at the gateway {truth}"
        status = model.status(now)
        if session.status == "canceled":
            if status != "canceled" and session.initiated:
                kinds = {c.kind for c in life.payments.conflicts()}
                assert kinds or session.authorized <= session.refunded + session.charged_back, (
                    "the gateway goes on, and nobody says so"
                )
        elif session.initiated:  # else the object there is not used
            expected = "pending" if status == "none" else status
            if setup.lookup == "none" and expected in UNAUTHORIZED and session.status in UNAUTHORIZED:
                expected = session.status  # DIFFERENCES["waiting"]
            assert session.status == expected, f"at the gateway {status}"
        finals = [row for row in self.fold.rows.values() if row.final and row.state is State.SUCCEEDED]
        cancels = [row for row in self.fold.rows.values() if row.kind is Kind.CANCEL]
        again = len(model.of(Kind.AUTHORIZE, now, "succeeded")) > 1
        waits = [row for row in self.fold.rows.values() if row.id in self.fold.pending]
        assert all(row.kind is Kind.CANCEL for row in waits), "what is over is still pending"
        # DIFFERENCES["authorized_again"], LIMITS["a cancel's own"]
        known = {e.key for e in model.effects}
        assert again or not any(row.key in known for row in waits), "a cancel that is over is still pending"
        if not session.pending and not session.disputes and session.status in ("authorized", "canceled"):
            over = session.status == "canceled" or session.authorized == session.captured
            assert not over or session.due_at is None, "it is over, and looked at for ever"
            assert session.next_action is None, "a payer who has paid has something to do"
        settled = session.released or cancels or again or not model.free.at(now)
        assert settled or not finals, "a final capture left the rest"
        self._conflicts(session, status)
        standing = model.of(Kind.CHARGEBACK, now, "pending", "succeeded")
        assert session.disputes == (len(standing) if setup.totals != "only" else 0), "disputes"
        if setup.totals != "only":
            self._effects()
        if setup.keyed:
            self._ours()
        self._events()

    def _conflicts(self, session, status):
        """The conflicts of state are those that the state has."""
        kinds = {conflict.kind for conflict in self.life.payments.conflicts()}
        returned = session.refunded + session.charged_back
        assert ("over_captured" in kinds) == (returned > session.captured), "over_captured"
        assert "status" not in kinds and "currency" not in kinds
        left = not session.authorized <= session.captured <= returned
        assert ("authorized_after_cancel" in kinds) == (session.status == "canceled" and left), (
            "authorized_after_cancel"
        )
        model = self.life.model
        times = [t for e in model.effects for t in e.states.times]
        within = all(model.refunded(t) + model.charged_back(t) <= model.captured(t) for t in times)
        within = within and not any(e.was("reversed") for e in model.effects)
        within = within and all(e.capture or e.kind not in RETURNED for e in model.effects)
        if self.life.setup.lookup == "none" and self.life.setup.names_captures and within:
            known = {conflict.kind for conflict in self.life.payments.conflicts(open=False)}
            assert "over_captured" not in known, "a refund was recorded before its capture"
        beyond = session.held > max(AMOUNT, returned)
        ever = {conflict.kind for conflict in self.life.payments.conflicts(open=False)}
        ever &= {"over_limit", "amount", "authorized_after_cancel"}  # DIFFERENCES["closed"]
        assert not beyond or ever, "over_limit"
        assert beyond or "over_limit" not in kinds, "over_limit is over"

    def _effects(self):
        """Each effect has one row, and each one that was undone has one that undoes it."""
        model = self.life.model
        rows = list(self.fold.rows.values())
        for done in model.effects:
            if done.kind not in SUMMED:
                continue
            own = [row for row in rows if row.reference == done.reference and row.kind is done.kind]
            own = [row for row in own if row.state is State.SUCCEEDED]
            undone = [row for row in rows if row.reverses in {r.id for r in own}]
            gone = done.now == "reversed"
            if gone and not own:
                continue  # DIFFERENCES["came_and_went"]
            assert len(own) == done.was("succeeded"), f"{done} has {len(own)} rows"
            assert sum(row.amount.minor for row in undone) == done.minor * gone, (
                f"{done} was undone otherwise"
            )

    def _ours(self):
        """Each operation of ours ends as its request did at the gateway."""
        model = self.life.model
        for row in self.fold.rows.values():
            if row.increments:
                went, done = row.key in model.raised_by, row.state is State.SUCCEEDED
                # What others raised to as much is as good as done.
                enough = went or max(model.amount.ever()) >= row.amount.minor
                assert went <= done <= enough, f"the increment {row.key} is {row.state}"
            if row.kind not in SUMMED or row.origin == "provider":
                continue
            done = self.life.provider.answers.get(row.key, (None, None, None))[2]
            went = done is not None and done.was("succeeded")
            assert row.reference in (None, done and done.reference), (
                f"{row.kind} was taken for another effect"
            )
            assert (row.state is State.SUCCEEDED) == went, f"{row.kind} is {row.state}, at the gateway {done}"

    def _events(self):
        life = self.life
        events = list(life.payments.events(limit=1000))
        rows = {row.id: row for row in life.payments.history(life.session_id)}
        merged = {key: row.note.removeprefix("it is ") for key, row in rows.items() if is_merged(row)}
        rows = {key: row for key, row in rows.items() if key not in merged}
        names = [(e.type, merged.get(e.operation_id, e.operation_id)) for e in events]
        place = {name: n for n, name in enumerate(names)}
        place_first = {name: n for n, name in reversed([*enumerate(names)])}
        counted = Counter(names)
        for row in rows.values():
            if row.state in REFUSED:
                names = ("operation.failed", REFUSALS.get(row.kind))
                assert sum(counted[name, row.id] for name in names) == 1, f"events of {row.kind} {row.state}"
            if row.kind not in SUMMED:
                continue
            done, undone = MOVED[row.kind]
            name = undone if row.reverses else done
            assert counted[name, row.id] == (row.state is State.SUCCEEDED), (
                f"events of {row.kind} {row.state}"
            )
            if row.reverses:
                assert place[done, row.reverses] < place[name, row.id], "undone before it was done"
            elif row.kind is Kind.CHARGEBACK and counted[done, row.id]:
                assert place_first["session.disputed", row.id] < place[done, row.id], (
                    "taken before it was disputed"
                )
            elif row.kind is Kind.CHARGEBACK and counted["session.disputed", row.id]:
                over = row.state in REFUSED
                assert counted["session.dispute_won", row.id] == over, (
                    "a dispute that ended without a loss is won"
                )
        for row in rows.values():
            doubt, settled = ("operation.in_doubt", row.id), ("operation.settled", row.id)
            assert counted[doubt] == counted[settled] <= 1, "doubt begins once, and ends once"
            assert not counted[doubt] or place[doubt] < place[settled], "settled before it was in doubt"
        types = [e.type for e in events]
        if "session.captured" in types:
            first = types.index("session.captured")
            grants = [n for n, t in enumerate(types) if t == "session.authorized"]
            after_end = "session.canceled" in types[:first]
            assert after_end or (grants and grants[0] < first), "captured before it was authorized"
        session = life.payments.get(life.session_id)
        assert types.count("session.canceled") == (session.status == "canceled"), "events of its end"


class Swallowed(logging.Handler):
    """Collects the exceptions that the code under test logs instead of raising them."""

    def __init__(self):
        super().__init__()
        self.errors = []

    def emit(self, record):
        if record.exc_info is not None:
            self.errors.append(record.exc_info[1])


def live(seed, steps=30, **variant):
    """Live one life to its end; an AssertionError says what did not hold."""
    logger, handler = logging.getLogger("paysession"), Swallowed()
    logger.addHandler(handler)
    propagate, logger.propagate = logger.propagate, False
    try:
        life = Life(seed, Judge, **variant)
        for _ in range(steps):
            life.step()
        life.rest()
        assert not handler.errors, f"it raised {handler.errors[0]!r}"
        life.store.judge.rest()
    except AssertionError as error:
        raise AssertionError(f"seed {seed} of {variant}: {error}") from error
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
    return life
