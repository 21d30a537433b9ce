"""Whether what a provider declares holds together, so that the rules can go by it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from paysession.errors import ProviderLoadError
from paysession.operation import CHARGEBACK, Kind

if TYPE_CHECKING:
    from paysession.outcome import Capabilities

__all__ = ["check_capabilities"]

_KINDS: Final = tuple(str(kind) for kind in Kind if kind is not CHARGEBACK)
"""What the core asks of a gateway."""

_CONTRADICTIONS: Final[tuple[tuple[Callable[[Capabilities], bool], str], ...]] = (
    (
        lambda can: can.lookup == "lagging" and not can.lookup_lag,
        "lookup='lagging' without lookup_lag: say how far the lookup may be behind",
    ),
    (
        lambda can: can.lookup != "lagging" and bool(can.lookup_lag),
        "lookup_lag, and not lookup='lagging': only a lookup that lags is waited for",
    ),
    (
        lambda can: can.refund_needs_capture and can.refund == "none",
        "refund_needs_capture, and refund='none'",
    ),
    (
        lambda can: can.final_capture_releases and can.capture == "none",
        "final_capture_releases, and capture='none'",
    ),
    (lambda can: not can.call_limit, "call_limit=0: no gateway answers in no time"),
)
"""What cannot be meant: each would have the core wait for nothing, or believe too much."""


def check_capabilities(can: Capabilities, label: str, hooks: Collection[str]) -> None:
    """Refuse a declaration that contradicts itself, or that nothing could hold.

    Args:
        can: What the provider declares.
        label: What to call the provider, with its distribution.
        hooks: The names of the hooks that it implements.

    Raises:
        ProviderLoadError: With the attribute, and what to declare instead.
    """
    window = can.replay_window
    windows = window if isinstance(window, Mapping) else {"": window}
    times = {"lookup_lag": can.lookup_lag, "call_limit": can.call_limit}
    times |= {f"replay_window {kind}".rstrip(): window for kind, window in windows.items()}
    for name, time in times.items():
        if not isinstance(time, timedelta) or time < timedelta(0):
            raise ProviderLoadError(
                f"{label} declares {name} as {time!r:.80}: it is a timedelta of 0 or more"
            )
    unknown = sorted(str(kind) for kind in windows if kind not in ("", *_KINDS))
    if unknown:
        raise ProviderLoadError(
            f"{label} declares a replay_window of {', '.join(unknown):.80}: an operation is one of "
            f"{', '.join(_KINDS)}"
        )
    for is_made, mistake in _CONTRADICTIONS:
        if is_made(can):
            raise ProviderLoadError(f"{label} declares {mistake}")
    if can.keyed_effects and not {"retrieve", "parse_webhook"} & set(hooks):
        raise ProviderLoadError(
            f"{label} declares keyed_effects and reports no effects: it implements neither 'retrieve' nor "
            "'parse_webhook'"
        )
