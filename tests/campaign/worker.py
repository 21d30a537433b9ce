"""The processes of a campaign: who takes orders, who recovers, who carries notifications, who reads."""

import contextlib
import faulthandler
import itertools
import json
import logging
import os
import threading
import time
import traceback

from world import PAYLOAD_SECRET

from paysession import (
    CursorLost,
    Declined,
    IdempotencyMismatch,
    Money,
    NotApplied,
    OutcomeUnknown,
    PaysessionError,
    RequestError,
    SessionBusy,
)
from paysession._ledger.rules import Request
from paysession.operation import Kind
from paysession_testing.killing import KillPoints

logger = logging.getLogger("campaign")

TRIES = 6
HOT_FOR = 240.0
"""Seconds of the campaign's time after which other sessions are hammered."""


class Log(logging.Handler):
    """Appends to a file, unbuffered: a file's buffer has a lock, which a fork may leave held in the child."""

    def __init__(self, path):
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def emit(self, record):
        os.write(self._file, f"{self.format(record)}\n".encode())


def log_to(folder, form):
    """Log to the campaign's folder, and nowhere else: a child has its parent's handlers."""
    log = Log(os.path.join(folder, "log.txt"))
    logging.basicConfig(handlers=[log], level=logging.DEBUG, format=form, force=True)


def be(role, slot, life, world):
    """Be one process of the campaign until it is killed."""
    plan, shared = world.plan, world.shared
    log_to(plan.folder, "%(process)d %(message)s")
    chance = plan.random(role, slot, life)
    odds = {"order": 0.004, "host": 0.004, "recover": 0.006, "courier": 0.006}.get(role, 0.0)
    host = os.getpid() if role == "host" else None

    def strikes(point, hook):
        # A host only dies from outside: what it forks has to come to something.
        return os.getpid() != host and chance.random() < odds

    points = KillPoints(strikes, lambda point: shared.say(slot, point))
    pay = world.open(points)
    ROLES[role](world, slot, chance, pay)


# --- who takes orders -----------------------------------------------------------------------------


class Host:
    """A shop that does not give up: it calls again with the same idempotency key, also after a crash."""

    def __init__(self, world, chance, pay):
        self.world, self.chance, self.pay = world, chance, pay
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._journal = os.open(os.path.join(world.plan.folder, "promises.jsonl"), flags)
        self._keyed = os.open(os.path.join(world.plan.folder, "keyed.jsonl"), flags)

    def attempt(self, call, *arguments, **options):
        """Call, and again while it is certain that nothing happened; None if that leads nowhere."""
        for _ in range(TRIES):
            try:
                return call(*arguments, **options)
            except SessionBusy:
                time.sleep(self.chance.uniform(0.005, 0.03))
            except NotApplied:
                time.sleep(0.002)
            except OutcomeUnknown as error:
                logger.info("unknown %s %r", error, error)
                if self.chance.random() < 0.5:
                    return None
                time.sleep(self.chance.uniform(0.005, 0.05))
            except (Declined, RequestError) as error:
                logger.info("refused %s %r", error, error)
                return None
        return None

    def promise(self, session, call, key, *, digest=None, all_that_is_left=False):
        """Write down what a call returned, and the operation that did it: neither must ever be lost.

        Only a call for all that is left may have had nothing to do, and so no operation. (An attempt
        before it that did not happen was told as that.)
        """
        history = self.pay.history(session)
        rows = [
            row.id
            for row in history
            # What was found at the gateway after a restore is known by the end of its id.
            if (row.idempotency_key == key or row.id.endswith(f"-{digest}")) and row.state != "not_applied"
        ]
        promise = {"session": session, "call": call, "key": key, "operation": rows[-1] if rows else None}
        if rows or not all_that_is_left:
            os.write(self._journal, (json.dumps(promise) + "\n").encode())

    def keyed(self, session_id, call, key, amount, **options):
        """Capture, refund or raise what is authorized, under a caller's key."""
        asked = Request(Kind(call), amount, idempotency_key=key, **options)
        digest = asked.digest(session_id)
        line = [session_id, digest, f"{asked.fingerprint} {key}"]
        os.write(self._keyed, (json.dumps(line) + "\n").encode())
        done = self.attempt(getattr(self.pay, call), session_id, amount, idempotency_key=key, **options)
        if done is not None:
            self.promise(session_id, call, key, digest=digest, all_that_is_left=amount is None)
        return done

    def order(self, number):
        """Take one order from its collection to its end; the same steps whenever it is begun again."""
        plan, pay = self.world.plan, self.pay
        script = plan.random("order", number)
        currency = script.choice(plan.site.currencies)
        total = Money.from_minor(script.randrange(1000, 90_000), currency)
        reference = f"order-{number}"
        try:
            order = pay.create_collection(total, reference=reference)
        except IdempotencyMismatch:  # it has grown, before the process died that took it
            order = pay.collection(reference=reference)
        for place in range(1 if script.random() < 0.8 else 2):
            part = script.randrange(500, total.minor) if script.random() >= 0.7 else total.minor
            self.pay_for(order, script, f"{number}:{place}", total, Money.from_minor(part, currency))

    def pay_for(self, order, script, key, total, amount):
        """Have a part of an order paid, from its first call to its end; ``total`` is what it began with."""
        site = self.world.plan.site
        account = site.accounts[script.choice(self.world.plan.accounts)]
        session = self.attempt(
            self.pay.initiate,
            order.id,
            provider=account.name,
            amount=amount,
            capture=script.choice(["manual"] * 5 + ["automatic"]),
            payload={"token": PAYLOAD_SECRET},
            idempotency_key=key,
            **site.asked(self.world, account, script),
        )
        if session is None:
            return
        # After a restore a lookup finds the object, of which it does not tell which operation made it.
        found = bool(self.world.plan.restores)
        self.promise(session.id, "initiate", key, all_that_is_left=found)
        if script.random() < 0.1:
            self.attempt(self.pay.update, session.id, Money.from_minor(700, amount.currency))
        site.pay(self, account, session, script)
        self.grow(account, session, script, key, total, amount)
        self.afterwards(account, session, script, key, amount)

    def grow(self, account, session, script, key, total, amount):
        """Have more authorized, as for an order that grows before it is sent."""
        for place in range(script.choice([0, 0, 0, 1, 1, 2])):
            amount += Money.from_minor(script.randrange(1, amount.minor), amount.currency)
            if account.increments and self.pay.get(session.id).status == "authorized":
                # Of an order with two payments, the room for one may be gone with the other.
                self.attempt(self.pay.update_collection, session.collection_id, total + amount)
                self.keyed(session.id, "update", f"{key}:u{place}", amount)

    def afterwards(self, account, session, script, key, amount):
        minor, currency = amount.minor, amount.currency
        for place in range(script.choice([0, 1, 1, 1, 2, 3])):
            part = None if script.random() < 0.4 else Money.from_minor(script.randrange(1, minor), currency)
            self.keyed(session.id, "capture", f"{key}:c{place}", part, final=script.random() < 0.1)
        if script.random() < 0.12 and account.askable:
            act = script.choice(["capture", "refund", "refund", "cancel", "chargeback"])
            self.world.gateway.dashboard(account.name, session.id, act, script.randrange(1, minor))
        for place in range(script.choice([0, 0, 1, 2])):
            part = None if script.random() < 0.3 else Money.from_minor(script.randrange(1, minor), currency)
            self.keyed(session.id, "refund", f"{key}:r{place}", part)
        if script.random() < 0.25:
            self.attempt(self.pay.cancel, session.id)

    def hammer(self, number):
        """Do anything to a session that all processes work on; they take new ones now and then."""
        plan, pay = self.world.plan, self.pay
        script = plan.random("hot", number)
        reference = f"hot-{number}"
        order = pay.create_collection(
            Money.from_minor(script.randrange(1000, 90_000), "EUR"), reference=reference
        )
        account = script.choice(plan.accounts)
        half = Money.from_minor(order.amount.minor // 2, order.amount.currency)  # it can be raised to more
        session = self.attempt(
            pay.initiate, order.id, provider=account, amount=half, idempotency_key=reference
        )
        if session is None:
            return
        if session.status != "authorized":
            plan.site.payer(self, account, session, "approve")
            self.attempt(pay.resume, session.id)
        self.meddle(reference)

    def meddle(self, reference):
        """Do something to a session that somebody else works on."""
        chance = self.chance
        rows = self.pay.sessions(reference=reference)
        if not rows:
            return
        session = chance.choice(rows)
        part = Money.from_minor(chance.randrange(1, session.amount.minor), session.amount.currency)
        call = chance.choice(
            ["capture", "capture", "refund", "refund", "update", "cancel", "resume", "sync", "authorize"]
        )
        key = chance.choice([None, f"meddle-{chance.randrange(1000)}"])
        try:
            if call == "update":
                increments = self.world.plan.site.accounts[session.provider].increments
                if increments and session.status == "authorized":
                    self.pay.update(session.id, session.authorized_amount + part, idempotency_key=key)
            elif call in ("capture", "refund"):
                getattr(self.pay, call)(session.id, chance.choice([None, part]), idempotency_key=key)
            else:
                getattr(self.pay, call)(session.id)
        except PaysessionError as error:
            logger.info("meddled %s %r", error, error)


def take_orders(world, slot, chance, pay, *, most=None):
    """Take every order of this slot, ``most`` at a time; go on, after a death, with the one that was begun."""
    plan, shared = world.plan, world.shared
    host = Host(world, chance, pay)
    for _ in itertools.count() if most is None else range(most):
        number = shared.progress(slot)
        if plan.hot:
            host.hammer(int(shared.seconds() / HOT_FOR) * plan.hot + chance.randrange(plan.hot))
            continue
        host.order(number * plan.workers + slot)
        shared.keep(slot, number + 1)
        recent = [
            max(0, shared.progress(other) - chance.randrange(3)) * plan.workers + other
            for other in range(plan.workers)
        ]
        for _ in range(chance.choice([0, 1, 1, 2, 3])):
            host.meddle(f"order-{chance.choice(recent)}")
        if chance.random() < 0.3:
            for session in pay.sessions(reference=f"order-{chance.choice(recent)}"):
                logger.info("%r %r", session, pay.history(session.id))


# --- who forks who takes orders -------------------------------------------------------------------

THREADS = 2
"""Threads of a host that take orders themselves, so that it forks while calls are in progress."""

STUCK = 25.0
"""Seconds within which a worker of a host ends. SQLite would wait 30 for a lock that nobody holds."""


def be_a_host(world, slot, chance, pay):
    """Fork workers, as a prefork server does that has loaded the application: they use what is open here.

    A worker takes a few orders and ends; the next is forked at once.
    """
    plan, shared = world.plan, world.shared
    lanes = range(slot % plan.hosts, plan.workers, plan.hosts)
    for lane in lanes[:THREADS]:
        threading.Thread(target=_orders, args=(world, lane, plan.random("thread", lane), pay)).start()
    threading.Thread(target=_write, args=(world, f"host-{chance.random()}", pay)).start()
    working = {}
    while True:
        for lane in lanes[THREADS:]:
            if lane in working.values():
                continue
            forks = shared.progress(slot) + 1
            shared.keep(slot, forks)
            pid = os.fork()
            if not pid:
                chance.seed(f"{plan.seed}:{slot}:{forks}")
                faulthandler.dump_traceback_later(STUCK, exit=True, file=_crashes(world))
                _orders(world, lane, chance, pay, most=chance.randrange(1, 3))
                if chance.random() < 0.5:
                    pay.close()
                os._exit(0)
            working[pid] = lane
        pid, status = os.wait()
        del working[pid]
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            os._exit(1)  # a crash, which it has written down


def _orders(world, lane, chance, pay, *, most=None):
    with _written_down(world, f"lane {lane}"):
        take_orders(world, lane, chance, pay, most=most)


def _write(world, reference, pay):
    """Commit without a pause: most forks happen in the middle of a commit."""
    with _written_down(world, reference):
        row = pay.create_collection(Money("1.00", "EUR"), reference=reference)
        for cents in itertools.cycle((100, 200)):
            pay.update_collection(row.id, Money.from_minor(cents, "EUR"))


@contextlib.contextmanager
def _written_down(world, name):
    """End the process at an error, which the judge reads."""
    try:
        yield
    except BaseException:  # noqa: BLE001 - the process must not go on
        with _crashes(world) as file:
            file.write(f"{name}: {traceback.format_exc()}\n")
        os._exit(1)


def _crashes(world):
    return open(os.path.join(world.plan.folder, "crashes.txt"), "a")


# --- who cleans up --------------------------------------------------------------------------------


def recover(world, slot, chance, pay):
    """Settle what is due, at once with other such workers."""
    while True:
        done = pay.recover(limit=20)
        if not done.looked and not done.notifications:
            time.sleep(0.02)


def carry(world, slot, chance, pay):
    """Carry the gateway's notifications: in any order, twice, not at all, and forged ones among them."""
    gateway, site = world.gateway, world.plan.site
    while True:
        idle = True
        for name in world.plan.accounts:
            told = list(gateway.notifications(name, limit=30))
            chance.shuffle(told)
            for id_, headers, body in told[: chance.randrange(1, 15)]:
                idle = False
                if site.accounts[name].askable and chance.random() < 0.1:
                    gateway.acknowledge(name, id_)  # lost on its way
                    continue
                if chance.random() < 0.05:
                    _forge(pay, name, *site.forged(headers, body), (headers, body))
                for _ in range(chance.choice([1, 1, 1, 2])):
                    reply = pay.handle_webhook(name, headers=headers, body=body, settle=chance.random() < 0.6)
                if reply.status == 200:
                    gateway.acknowledge(name, id_)
        if idle:
            time.sleep(0.02)


def _forge(pay, name, headers, body, genuine):
    """Send a notification that nobody signed; what is not refused is sent as it is, too."""
    if pay.handle_webhook(name, headers=headers, body=body).status == 200:
        pay.handle_webhook(name, headers=genuine[0], body=genuine[1])


def street(world, slot, chance, pay):
    """Be the bank: settle debits and slow captures and refunds, and reverse some that had succeeded."""
    gateway = world.gateway
    while True:
        for name in world.plan.accounts:
            for number in gateway.unsettled(name):
                if chance.random() < 0.3:
                    outcome = chance.choice(["succeeded", "succeeded", "succeeded", "failed"])
                    gateway.bank(name, number, outcome)
                    if outcome == "succeeded" and chance.random() < 0.15:
                        gateway.bank(name, number, "reversed")
        time.sleep(0.1)


# --- who reads ------------------------------------------------------------------------------------


def read(world, slot, chance, pay):
    """Read the event feed by its cursor, as a host does: a line for each event, with its cursor."""
    path = os.path.join(world.plan.folder, "feed.jsonl")
    lines = feed(path)
    cursor = lines[-1][0] if lines else None
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while True:
        try:
            rows = pay.events(after=cursor, limit=100)
        except CursorLost:  # a backup was restored: read it from its start again
            cursor = None
            os.write(file, b"[null, null]\n")
            continue
        for row in rows:
            os.write(file, (json.dumps([row.cursor, row.id]) + "\n").encode())
            cursor = row.cursor
        if rows:
            logger.info("%r", rows[-1])
        else:
            time.sleep(0.01)


def feed(path):
    """Return what a reader wrote; a line that its death cut short is not there."""
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


ROLES = {
    "order": take_orders,
    "host": be_a_host,
    "recover": recover,
    "courier": carry,
    "street": street,
    "read": read,
}
