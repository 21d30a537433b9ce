"""Starts the testing gateway as a process of its own, and tells it what a test wishes."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from paysession_testing.gateway_server import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

__all__ = ["GatewayProcess"]


class GatewayProcess:
    """A gateway in a process of its own.

    ::

        with GatewayProcess() as gateway:
            gateway.open("shop", keys="all")
            provider = GatewayProvider(gateway.url("shop"))

    Each method is a call of that process; no connection is kept, so they may be used after a fork.

    Attributes:
        command: What starts the process, which prints its two ports and ends with its standard input.
    """

    command: Sequence[str] = (sys.executable, "-m", "paysession_testing.gateway_server")

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        ports = self._process.stdout.readline().split()
        if len(ports) != 2:  # noqa: PLR2004 - the two that `serve` prints
            raise RuntimeError("the gateway did not start")
        self.port, self._control = map(int, ports)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process; its ledger is gone with it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def url(self, account: str) -> str:
        """Return where an account is served."""
        return f"http://127.0.0.1:{self.port}/{account}"

    def call(self, account: str | None, name: str, /, **arguments: Any) -> Any:
        """Wish for anything that the gateway can do."""
        connection = http.client.HTTPConnection("127.0.0.1", self._control, timeout=PATIENCE)
        try:
            asked = {"account": account, "call": name, "arguments": arguments}
            connection.request("POST", "/", json.dumps(asked))
            reply = connection.getresponse()
            answer = json.loads(reply.read())
        finally:
            connection.close()
        if reply.status != 200:  # noqa: PLR2004
            raise ValueError(answer)
        return answer

    # --- wishes ---

    def open(
        self,
        account: str,
        *,
        keys: str = "all",
        key_window: float = 86_400.0,
        lag: float = 0.0,
        late: float = 0.1,
        secret: str = "whsec_gateway",  # noqa: S107 - it guards nothing
        seed: int = 0,
    ) -> None:
        """Open an account with an empty ledger; the arguments are those of `Gateway`.

        Args:
            account: Its name.
            keys: What it does with a key that it knows.
            key_window: Seconds that it keeps a key.
            lag: Seconds that its lookup is behind.
            late: Seconds by which a ``late`` request is carried out after its client gave up.
            secret: Signs its notifications.
            seed: Of the faults that happen at random.
        """
        self.call(
            None,
            "open",
            name=account,
            keys=keys,
            key_window=key_window,
            lag=lag,
            late=late,
            secret=secret,
            seed=seed,
        )

    def clock(self, then: float, since: float, rate: float = 1.0) -> None:
        """Set the gateway's time; see `Office.clock`. Rate 0: it stands still."""
        self.call(None, "clock", then=then, since=since, rate=rate)

    def inject(self, account: str, *faults: str, verb: str | None = None) -> None:
        """Put faults in line for the next requests (of a verb: ``capture``, ``lookup``, ...)."""
        for fault in faults:
            self.call(account, "put", fault=fault, verb=verb)

    def inject_at_random(self, account: str, rate: float, weights: Mapping[str, float]) -> None:
        """Let so many of all requests meet a fault; see `FaultPlan.at_random`."""
        self.call(account, "at_random", rate=rate, weights=dict(weights))

    def heal(self, account: str) -> None:
        """Let everything go well from now on."""
        self.call(account, "clear")

    def refuse(self) -> None:
        """Refuse connections until `accept`."""
        self.call(None, "door_close")

    def accept(self) -> None:
        """Accept connections again."""
        self.call(None, "door_open")

    def wait_held(self, account: str, seconds: float = 10.0) -> bool:
        """Wait until a request is held by ``hold_before`` or ``hold_after``; whether one is."""
        return bool(self.call(account, "wait_held", seconds=seconds))

    def release(self, account: str) -> None:
        """Release what is held."""
        self.call(account, "release")

    def payer(self, account: str, ours: str, act: str) -> bool:
        """Act as the payer; see `Gateway.payer`."""
        return bool(self.call(account, "payer", ours=ours, act=act))

    def dashboard(self, account: str, ours: str, act: str, amount: int = 0) -> bool:
        """Act as somebody in the dashboard; see `Gateway.dashboard`."""
        return bool(self.call(account, "dashboard", ours=ours, act=act, amount=amount))

    def bank(self, account: str, number: int, outcome: str) -> bool:
        """Let the bank settle or reverse a ledger entry; see `Gateway.bank`."""
        return bool(self.call(account, "bank", number=number, outcome=outcome))

    def unsettled(self, account: str) -> list[int]:
        """Return the numbers of the ledger entries that wait for the bank."""
        numbers: list[int] = self.call(account, "unsettled")
        return numbers

    def notifications(self, account: str, limit: int = 100) -> Sequence[tuple[str, dict[str, str], bytes]]:
        """Return notifications that nobody acknowledged: the id, the signed headers and the body."""
        told = self.call(account, "notifications", limit=limit)
        return [(name, headers, body.encode()) for name, headers, body in told]

    def acknowledge(self, account: str, *ids: str) -> None:
        """Say that notifications were acknowledged, or lose them."""
        self.call(account, "acknowledge", ids=ids)

    def ledger(self, account: str) -> list[dict[str, Any]]:
        """Return the ledger: a dict for each `Entry`, with its ``id``."""
        entries: list[dict[str, Any]] = self.call(account, "entries")
        return entries

    def orders(self, account: str) -> list[dict[str, Any]]:
        """Return all orders as the API shows them now."""
        orders: list[dict[str, Any]] = self.call(account, "accounts")
        return orders

    def stats(self) -> dict[str, dict[str, int]]:
        """Return how many ``faults`` and ``calls`` there were, by name."""
        stats: dict[str, dict[str, int]] = self.call(None, "stats")
        return stats
