"""Runs a campaign: starts processes, kills and stops them, and brings everything to rest."""

import contextlib
import logging
import math
import os
import signal
import threading
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime

from attrs import field, mutable
from backups import Backups
from worker import be
from world import Shared, World

from paysession import NotApplied, Outcome, PaysessionError

logger = logging.getLogger("campaign")

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
HOST_KILLED = 0.1
"""How often a host is killed, compared to others: what it forks has to come to something."""


@mutable
class Child:
    """A process that runs in a slot."""

    role: str
    pid: int
    family: int
    """A pipe that ends with the process and all that it has forked."""
    stopped_until: float | None = None


@mutable
class Tally:
    """What happened while it ran."""

    kills: dict[str, int] = field(factory=dict)
    pauses: int = 0
    outages: int = 0
    restores: int = 0
    crashes: list[str] = field(factory=list)
    seconds: float = 0.0
    rest_rounds: int = 0
    by_person: list[str] = field(factory=list)

    @property
    def killed(self):
        return sum(self.kills.values())


class Campaign:
    """One campaign on one store.

    Args:
        plan: What its command line says.
        show: Called now and then with the tally, the gateway's statistics and the number of orders.
    """

    def __init__(self, plan, show):
        self.plan = plan
        self.tally = Tally()
        self._show = show
        roles = (
            ["order"] * plan.workers + ["recover"] * plan.recoverers + ["courier"] * 2 + ["street", "read"]
        ) + ["host"] * plan.hosts
        self._roles = roles
        self._lives = [0] * len(roles)
        self._children = {}
        self._backups = Backups(plan.store, plan.folder)
        self._progress = []
        self.lost = set()
        """Sessions that a restored backup lacked; some come back."""
        self._chance = plan.random("driver")
        self._leash, self._held = os.pipe()
        """A pipe that this process holds open: all others end with it, however it ends."""

    def run(self):
        """Run until there were enough kills and faults, then settle everything; return the world."""
        plan = self.plan
        gateway = plan.site.start()
        world = World(plan, Shared(len(self._roles)), gateway)
        self.world = world
        try:
            world.shared.set_gateway_clock(gateway)
            for place, name in enumerate(plan.accounts):
                plan.site.open(gateway, name, plan.seed * 100 + place)
                gateway.inject_at_random(name, plan.fault_rate, plan.site.faults)
            with world.open():
                pass  # the schema is made once, by one
            started = time.monotonic()
            try:
                self._disturb(started + plan.minutes * 60)
            finally:
                self._end_all()
            self.tally.seconds = time.monotonic() - started
        except BaseException:
            gateway.close()
            raise
        return world

    def rest(self, pay):
        """Let everything go well, time pass, and recovery come round until nothing is open any more."""
        world, gateway = self.world, self.world.gateway
        gateway.accept()
        for name in self.plan.accounts:
            gateway.heal(name)
        self._settle_all(pay, 4)
        while self._ask_a_person(pay):
            for _ in range(3):
                self._round(pay)
                world.shared.leap(hours=2)
                world.shared.set_gateway_clock(gateway)
        for row in every_session(pay):
            try:
                pay.sync(row.id)
            except PaysessionError as error:
                logger.info("sync %s %r", error, error)
        self._settle_all(pay, 1)  # what a payer had approved may have been authorized just now

    def _settle_all(self, pay, least):
        """Let recovery come round, at least so often, and until nothing is open."""
        world = self.world
        for number, step in enumerate(
            ({"minutes": 2},) * 8 + ({"hours": 2},) * 20 + ({"hours": 12},) * 10, 1
        ):
            self.tally.rest_rounds += 1
            if not self._round(pay) and number >= least:
                break
            world.shared.leap(**step)
            world.shared.set_gateway_clock(world.gateway)

    def _round(self, pay):
        gateway = self.world.gateway
        for name in self.plan.accounts:
            for number in gateway.unsettled(name):
                gateway.bank(name, number, "succeeded")
            failed = 0
            while told := gateway.notifications(name):
                for id_, headers, body in told:
                    reply = pay.handle_webhook(name, headers=headers, body=body, settle=False)
                    if reply.status == 200:
                        gateway.acknowledge(name, id_)
                    else:  # a provider that asks the gateway may have had a connection of before the outage
                        failed += 1
                        assert failed < 10, reply
        while (done := pay.recover(limit=500)).looked >= 500 or done.notifications >= 500:
            pass
        return any(row.open or row.pending or row.cancel_requested for row in every_session(pay))

    def _ask_a_person(self, pay):
        """Where no provider can tell: somebody reads the gateway's statement, and says so."""
        entries = [row for name in self.plan.accounts for row in self.world.gateway.ledger(name)]
        done = {(row["kind"], row["operation"]): row for row in entries if row["state"] == "succeeded"}
        views = [view for name in self.plan.accounts for view in self.world.gateway.orders(name)]
        over = {
            view["ours"]
            for view in views
            if view["status"] == "canceled" or view["authorized"] == view["captured"] > 0
        }
        before = len(self.tally.by_person)
        for row in [row.operation for row in pay.in_doubt(limit=1000) if row.needs_operator]:
            if row.state.closed:  # nothing is unknown of it: its session has expired, and nobody said so
                with suppress(PaysessionError):
                    pay.cancel(row.session_id)
                self.tally.by_person.append(row.id)
                continue
            kind = "increment" if row.increments else row.kind
            entry = done.get(("create" if kind == "initiate" else kind, row.id))
            if row.kind == "cancel" and row.session_id in over:
                answer = Outcome.canceled()
            else:
                answer = _statement(row, entry)
            try:
                pay.resolve(row.id, answer, note="read from the gateway's statement")
            except PaysessionError as error:  # settled meanwhile, or a broken store contradicts itself
                logger.info("resolve %s %r", row.id, error)
            else:
                self.tally.by_person.append(row.id)
        return before < len(self.tally.by_person) < 1000

    # --- processes --------------------------------------------------------------------------------

    def _disturb(self, deadline):
        plan, chance, gateway = self.plan, self._chance, self.world.gateway
        pace = plan.site.pace
        self._start_all()
        now = time.monotonic()
        kill, pause, outage, look = now + 1, now + 1, now + 5, now
        backup, restore = self._next_restore(now)
        faults = 0
        while True:
            now = time.monotonic()
            self._reap()
            for slot, child in self._children.items():
                if child.stopped_until is not None and now >= child.stopped_until:
                    self._signal(slot, signal.SIGCONT)
                    child.stopped_until = None
            if now >= kill:
                kill = now + pace * chance.uniform(0.1, 0.9)
                slot = chance.choice(list(self._children))
                if self._children[slot].role != "host" or chance.random() < HOST_KILLED:
                    self._signal(slot, signal.SIGKILL)
            if now >= pause:
                pause = now + pace * chance.uniform(0.3, 2.0)
                slot = chance.choice(list(self._children))
                if self._children[slot].stopped_until is None:
                    self._signal(slot, signal.SIGSTOP)
                    self._children[slot].stopped_until = now + chance.uniform(0.05, 2.5)
                    self.tally.pauses += 1
            if now >= outage:
                outage = now + chance.uniform(4, 12)
                gateway.call(None, "outage", seconds=chance.uniform(0.05, 0.4))
                self.tally.outages += 1
            if now >= backup:
                backup = math.inf
                self._back_up()
            if now >= restore:
                self._restore()
                backup, restore = self._next_restore(time.monotonic())
            if now >= look:
                look = now + 0.5
                stats = gateway.stats()
                faults = sum(stats["faults"].values())
                self._show(self.tally, stats, self._orders())
                enough = self.tally.killed >= plan.kills and faults >= plan.faults
                if now >= deadline or (enough and self.tally.restores >= plan.restores):
                    return
            time.sleep(0.005)

    def _orders(self):
        """Return how many orders were taken."""
        slots = range(self.plan.workers)  # the first ones
        return sum(map(self.world.shared.progress, slots))

    # --- backups ----------------------------------------------------------------------------------

    def _next_restore(self, now):
        """Return when the next backup is made, and when it is restored."""
        if self.tally.restores >= self.plan.restores:
            return math.inf, math.inf
        backup = now + self._chance.uniform(1, 3)
        return backup, backup + self._chance.uniform(2, 5)

    def _back_up(self):
        self._end_all()
        self._backups.make()
        self._progress = [self.world.shared.progress(slot) for slot in range(len(self._roles))]
        self._start_all()

    def _restore(self):
        """Restore the backup as the documentation says: query the gateways before anything runs again."""
        world, gateway = self.world, self.world.gateway
        self._end_all()
        self._backups.restore()
        self.tally.restores += 1
        for name in self.plan.accounts:
            gateway.heal(name)
        gateway.accept()
        world.shared.leap(minutes=2)  # what a lookup does not show yet, it shows then
        world.shared.set_gateway_clock(gateway)
        with world.open() as pay:
            while (report := pay.resync(since=LONG_AGO)).failed:
                logger.info("resync %r", report)
                if all("is in doubt" in row.reason for row in report.unsynced):
                    break
            known = {row.id for row in every_session(pay)}
        views = [view for name in self.plan.accounts for view in gateway.orders(name)]
        self.lost |= {view["ours"] for view in views} - known
        for name in self.plan.accounts:
            gateway.inject_at_random(name, self.plan.fault_rate, self.plan.site.faults)
        for slot, number in enumerate(self._progress):
            world.shared.keep(slot, number)  # every order since is taken again, under the same keys
        self._start_all()

    def _start_all(self):
        for slot, role in enumerate(self._roles):
            if role != "order" or not self.plan.hosts:  # hosts fork them
                self._start(slot)

    def _start(self, slot):
        role, life = self._roles[slot], self._lives[slot]
        self._lives[slot] += 1
        family, alive = os.pipe()
        pid = os.fork()
        if pid:
            os.close(alive)
            self._children[slot] = Child(role, pid, family)
            return
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.close(self._held)
        threading.Thread(target=_end_with, args=(self._leash,), daemon=True).start()
        try:
            be(role, slot, life, self.world)
        except BaseException:  # noqa: BLE001 - the judge reads it, and the process must not go on here
            with open(os.path.join(self.plan.folder, "crashes.txt"), "a") as file:
                file.write(f"{role}: {traceback.format_exc()}\n")
        finally:
            os._exit(1)

    def _signal(self, slot, number):
        os.kill(self._children[slot].pid, number)

    def _reap(self, restart=True):
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            slot = next((slot for slot, child in self._children.items() if child.pid == pid), None)
            if slot is None:
                continue  # the gateway itself: the next wish fails and says so
            child = self._children.pop(slot)
            self._bury(child)
            words = self.world.shared.last_words(slot)
            if os.WIFSIGNALED(status):
                point = words or "anywhere"
                self.tally.kills[point] = self.tally.kills.get(point, 0) + 1
            else:
                self.tally.crashes.append(f"{child.role} ended with {status}")
            if restart:
                self._start(slot)

    def _bury(self, child):
        """End what a process has forked: its children do not outlive a host, as with any prefork server."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        os.read(child.family, 1)
        os.close(child.family)

    def forks(self):
        """Return how many workers the hosts forked."""
        hosts = [slot for slot, role in enumerate(self._roles) if role == "host"]
        return sum(map(self.world.shared.progress, hosts))

    def _end_all(self):
        for slot in list(self._children):
            self._signal(slot, signal.SIGKILL)
        while self._children:
            self._reap(restart=False)
            time.sleep(0.005)


def _end_with(leash):
    """End this process, and all that it has forked, when nobody holds the other end of a pipe any more."""
    os.read(leash, 1)
    os.killpg(0, signal.SIGKILL)


def every_session(pay):
    """Return all sessions, page by page."""
    after = None
    while rows := pay.sessions(after=after, limit=1000):
        yield from rows
        after = rows[-1].id


def _statement(operation, entry):
    if entry is None:
        return NotApplied("the statement shows nothing of it")
    kind, amount = operation.kind, operation.amount
    if operation.increments:
        return Outcome.authorized(amount=amount)
    if kind in ("initiate", "update"):
        return Outcome.requires_more(reference=entry["order"])
    made = {
        "authorize": lambda: Outcome.authorized(amount=amount),
        "capture": lambda: Outcome.captured(amount, reference=entry["id"]),
        "refund": lambda: Outcome.refunded(amount, reference=entry["id"]),
        "cancel": Outcome.canceled,
    }
    return made[kind]()
