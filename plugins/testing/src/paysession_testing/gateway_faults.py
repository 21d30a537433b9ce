"""What can go wrong at a gateway: the faults by name, and which request meets which."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GATEWAY_FAULTS", "Fault", "FaultPlan"]


@frozen
class Fault:
    """One thing that goes wrong with one request.

    Attributes:
        executes: The request is carried out all the same.
        status: The HTTP status that is answered instead of the true one.
        wire: What happens to the answer: ``answer`` (sent), ``drop`` (the connection is reset),
            ``silence`` (nothing comes until the client gives up), ``hold`` (nothing comes until a
            test says so), ``late`` (nothing comes, and it is carried out *after* the client gave up).
        tamper: What is done to the body: ``garbage``, ``truncated``, ``empty``, ``amount``,
            ``currency`` or ``status``.
        slow: Not a fault but a slow day: a capture or refund is accepted, and finished later.
        decline: Nor is this one: the payer's bank refuses.
    """

    executes: bool = True
    status: int | None = None
    wire: str = "answer"
    tamper: str = ""
    slow: bool = False
    decline: bool = False


GATEWAY_FAULTS: Final[Mapping[str, Fault]] = {
    "drop_before": Fault(executes=False, wire="drop"),
    "drop_after": Fault(wire="drop"),
    "silent_before": Fault(executes=False, wire="silence"),
    "silent_after": Fault(wire="silence"),
    "late": Fault(executes=False, wire="late"),
    "hold_before": Fault(executes=False, wire="hold"),
    "hold_after": Fault(wire="hold"),
    "error_before": Fault(executes=False, status=500),
    "error_after": Fault(status=500),
    "bad_gateway_after": Fault(status=502),
    "unavailable": Fault(executes=False, status=503),
    "busy": Fault(executes=False, status=429),
    "request_timeout_before": Fault(executes=False, status=408),
    "request_timeout_after": Fault(status=408),
    "in_progress": Fault(executes=False, status=409),
    "declined": Fault(decline=True),
    "garbage": Fault(tamper="garbage"),
    "truncated": Fault(tamper="truncated"),
    "empty": Fault(tamper="empty"),
    "wrong_amount": Fault(tamper="amount"),
    "wrong_currency": Fault(tamper="currency"),
    "unknown_status": Fault(tamper="status"),
    "slow": Fault(slow=True),
}
"""Every fault by name. ``before`` and ``after`` say on which side of the commit it strikes. A gateway
that refuses connections is no fault of one request: see ``GatewayProcess.outage``."""


class FaultPlan:
    """Decides which request meets which fault: those that a test put in line, then by chance.

    Args:
        seed: Of the chance.
    """

    def __init__(self, seed: int = 0) -> None:
        self.counts: dict[str, int] = {}
        self._line: list[tuple[str, str | None]] = []
        self._weights: dict[str, float] = {}
        self._rate = 0.0
        self._random = random.Random(seed)  # noqa: S311 - it decides what breaks, not what is secret

    def put(self, fault: str, verb: str | None = None) -> None:
        """Put a fault in line for the next request (of a verb: ``capture``, ``lookup``, ...)."""
        self._line.append((_known(fault), verb))

    def at_random(self, rate: float, weights: Mapping[str, float]) -> None:
        """Let so many of all requests meet a fault, chosen by weight; rate 0 ends it."""
        self._rate = rate
        self._weights = {_known(name): weight for name, weight in weights.items()}

    def clear(self) -> None:
        """Let everything go well from now on."""
        self._line.clear()
        self._rate = 0.0

    def take(self, verb: str) -> Fault | None:
        """Return the fault that a request meets."""
        waiting = next((put for put in self._line if put[1] in (None, verb)), None)
        if waiting is not None:
            self._line.remove(waiting)
            name = waiting[0]
        elif self._rate and self._random.random() < self._rate:
            name = self._random.choices(list(self._weights), list(self._weights.values()))[0]
        else:
            return None
        fault = GATEWAY_FAULTS[name]
        if fault.slow and verb not in ("capture", "refund"):
            return None
        if verb == "lookup" and (fault.slow or fault.decline or fault.wire == "late"):
            return None  # a lookup carries nothing out
        self.counts[name] = self.counts.get(name, 0) + 1
        return fault


def _known(fault: str) -> str:
    if fault not in GATEWAY_FAULTS:
        raise ValueError(f"a fault is one of {', '.join(GATEWAY_FAULTS)}, not {fault!r}")
    return fault
