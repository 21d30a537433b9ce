"""What all processes of a campaign share: the time, a few words of memory, the gateway, the ledger."""

import mmap
import random
import struct
import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta

from attrs import field, frozen
from variants import Sound

from paysession import Payments
from paysession._plugins.registry import Registry
from paysession.payments import open_store
from paysession_testing.gateway_process import GatewayProcess

PAYLOAD_SECRET = "payload-of-the-browser-4711"

RATE = 60.0
"""So many seconds of the campaign's time pass in one of ours: leases and backoff are a minute's matter."""


class Site(ABC):
    """Where a campaign runs: a gateway with its accounts and people, and the provider that speaks to it.

    Attributes:
        accounts: The accounts by name. Each has a ``name``, is ``askable`` if its provider can look, and
            ``increments`` if that raises what is authorized.
        restorable: Those of a campaign that restores backups.
        currencies: What is paid in.
        secrets: What must never show.
        faults: What goes wrong with requests, and how often each, relative to the others.
        named: The kinds of effects that the gateway has an id for, which our ledger keeps.
        pace: By how many times processes are killed and stopped more rarely: a call takes longer there.
        broken: The variants that are broken on purpose, by name.
    """

    accounts = {}
    restorable = ()
    currencies = ("EUR",)
    secrets = ()
    faults = {}
    named = ("capture", "refund", "chargeback")
    pace = 1.0
    broken = {}

    @abstractmethod
    def start(self):
        """Return the gateway's process, which has the calls of `GatewayProcess`."""

    @abstractmethod
    def open(self, gateway, name, seed):
        """Open an account, with an empty ledger and no faults."""

    def enter(self, world, points):  # noqa: B027 - most have nothing to prepare
        """Prepare a process that opens providers; ``points`` may kill it on the wire."""

    @abstractmethod
    def provider(self, world, name, points):
        """Return the provider of an account; ``points`` may kill the process on the wire."""

    def asked(self, world, account, script):
        """Return with which further arguments a session of an account is begun, the same each time."""
        return {}

    def pay(self, host, account, session, script):
        """Have the payer pay, and the shop do what its pages do; each of it may be left out or fail."""
        acts = ["approve"] * 12 + ["decline", "challenge", "debit", "debit", "nothing"]
        act = script.choice(acts + (["confirm", "confirm"] if account.askable else []))
        if act != "nothing":
            self.payer(host, account.name, session, act)
        if script.random() < 0.93:
            host.attempt(host.pay.resume, session.id, payload=self.payload(session))
        if act in ("decline", "challenge") and script.random() < 0.7:
            self.payer(host, account.name, session, "approve")
            host.attempt(host.pay.resume, session.id)

    def payload(self, session):
        """Return what the payer's browser brings back."""
        return {"token": PAYLOAD_SECRET}

    def payer(self, host, account, session, act):
        """Act as the payer of a session, as the shop showed it."""
        host.world.gateway.payer(account, session.id, act)

    def is_known(self, session, view):
        """Return whether anybody has been shown what the gateway has for a session, and so may pay it."""
        return True

    def repeated(self, gateway, accounts):
        """Return, in words, what the gateway carried out more than once under one key."""
        return []

    @abstractmethod
    def forged(self, headers, body):
        """Return the headers and body of a notification that somebody else signed."""


@frozen
class Plan:
    """One campaign, as its command line says."""

    seed: int
    store: str
    folder: str
    site: Site
    workers: int = 4
    recoverers: int = 2
    kills: int = 250
    faults: int = 2500
    minutes: float = 5.0
    fault_rate: float = 0.25
    hot: int = 0
    restores: int = 0
    hosts: int = 0
    variant: Sound = field(factory=Sound)
    accounts: tuple[str, ...] = ()

    def random(self, *parts):
        """Return the chance of one part of the campaign: the same for the same seed."""
        return random.Random(":".join(map(str, (self.seed, *parts))))


class Shared:
    """Memory that survives a process: the clock's leap, and a page for each slot."""

    PAGE = 256

    def __init__(self, slots):
        self._memory = mmap.mmap(-1, self.PAGE * (slots + 1))
        self._since = time.monotonic()
        self._then = datetime(2026, 1, 1, tzinfo=UTC).timestamp()

    def seconds(self):
        """Return the campaign's time in seconds."""
        leap = struct.unpack_from("d", self._memory, 0)[0]
        return self._then + leap + (time.monotonic() - self._since) * RATE

    def now(self):
        """Return the campaign's time."""
        return datetime.fromtimestamp(self.seconds(), UTC)

    def leap(self, **duration):
        """Let time pass at once, in every process."""
        leap = struct.unpack_from("d", self._memory, 0)[0] + timedelta(**duration).total_seconds()
        struct.pack_into("d", self._memory, 0, leap)

    def set_gateway_clock(self, gateway):
        """Give the gateway the same time."""
        leap = struct.unpack_from("d", self._memory, 0)[0]
        gateway.clock(self._then + leap, self._since, RATE)

    def progress(self, slot):
        """Return the number that a slot kept."""
        return struct.unpack_from("q", self._memory, self.PAGE * (slot + 1))[0]

    def keep(self, slot, number):
        """Keep a number for whoever takes the slot next."""
        struct.pack_into("q", self._memory, self.PAGE * (slot + 1), number)

    def last_words(self, slot):
        """Return, and forget, where a process ended itself; empty if somebody else did."""
        start = self.PAGE * (slot + 1) + 8
        words = self._memory[start : start + 64].rstrip(b"\0").decode()
        self._memory[start : start + 64] = bytes(64)
        return words

    def say(self, slot, words):
        """Leave last words."""
        start = self.PAGE * (slot + 1) + 8
        self._memory[start : start + 64] = words.encode()[:64].ljust(64, b"\0")


@frozen
class World:
    """A campaign that runs; ``variant`` is what runs in it, the sound one or a broken one."""

    plan: Plan
    shared: Shared
    gateway: GatewayProcess

    @property
    def variant(self):
        return self.plan.variant

    def open(self, points=None):
        """Open the store, in this process; ``points`` may kill it."""
        store = self.variant.store(open_store(self.plan.store, clock=self.shared.now))
        site = self.plan.site
        site.enter(self, points)
        providers = {name: site.provider(self, name, points) for name in self.plan.accounts}
        return Payments(store, Registry(providers, [points] if points is not None else ()))
