"""What all processes of a campaign share: the time, a few words of memory, the gateway, the ledger."""

import mmap
import random
import struct
import time
from datetime import UTC, datetime, timedelta

from attrs import field, frozen

from paysession import Capabilities, Payments
from paysession._plugins.registry import Registry
from paysession.payments import open_store
from paysession_testing.gateway_process import GatewayProcess

RATE = 60.0
"""So many seconds of the campaign's time pass in one of ours: leases and backoff are a minute's matter."""

TIMEOUT = 0.25
"""Real seconds that a provider waits for the gateway."""

LAG = 45.0
"""Seconds by which the lagging account's lookup is behind."""

CALL_LIMIT = timedelta(seconds=4 * TIMEOUT * RATE)
"""The slowest hook looks and writes; each may connect and wait."""


def _can(window=timedelta(hours=24), lookup="consistent", lag=timedelta(0)):
    return Capabilities(
        capture="multiple",
        refund="multiple",
        replay_window=window,
        lookup=lookup,
        lookup_lag=lag,
        keyed_effects=True,
        call_limit=CALL_LIMIT,
    )


@frozen
class Account:
    """One account at the gateway, and what its provider declares."""

    name: str
    keys: str
    capabilities: Capabilities
    lag: float = 0.0

    @property
    def askable(self):
        return self.capabilities.lookup != "none"


ACCOUNTS = {
    account.name: account
    for account in (
        Account("replays-all", "all", _can()),
        Account("replays-success", "success", _can()),
        Account("no-keys", "none", _can(window=timedelta(0))),
        Account("lagging", "all", _can(lookup="lagging", lag=timedelta(seconds=LAG)), LAG),
        Account("blind", "all", _can(lookup="none")),
    )
}

FAULTS = {
    "drop_before": 6,
    "drop_after": 9,
    "silent_before": 1,
    "silent_after": 1.5,
    "late": 1.5,
    "error_before": 3,
    "error_after": 6,
    "bad_gateway_after": 3,
    "unavailable": 3,
    "busy": 6,
    "request_timeout_before": 2,
    "request_timeout_after": 2,
    "in_progress": 3,
    "declined": 2,
    "garbage": 4,
    "truncated": 4,
    "empty": 2,
    "wrong_amount": 4,
    "wrong_currency": 4,
    "unknown_status": 3,
    "slow": 8,
}
"""How often each fault strikes, relative to the others."""


RESTORABLE = ("replays-all", "replays-success", "lagging")
"""The accounts of a campaign that restores backups: where a gateway knows no keys, or cannot be queried,
somebody has to compare what it has before a payment is begun again."""


@frozen
class Plan:
    """One campaign, as its command line says."""

    seed: int
    store: str
    folder: str
    workers: int = 4
    recoverers: int = 2
    kills: int = 250
    faults: int = 2500
    minutes: float = 5.0
    fault_rate: float = 0.25
    hot: int = 0
    restores: int = 0
    hosts: int = 0
    broken: str = ""
    accounts: tuple[str, ...] = field(default=tuple(ACCOUNTS))

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
    """A campaign that runs."""

    plan: Plan
    shared: Shared
    gateway: GatewayProcess
    variant: object

    def open(self, plugins=(), connect=None):
        """Open the store, in this process."""
        store = self.variant.store(open_store(self.plan.store, clock=self.shared.now))
        providers = {
            name: self.variant.provider(
                ACCOUNTS[name],
                self.gateway.url(name),
                clock=self.shared.seconds,
                connect=connect,
                timeout=TIMEOUT,
            )
            for name in self.plan.accounts
        }
        return Payments(store, Registry(providers, plugins))
