"""The time at the fake PayPal: it stands still until somebody moves it."""

from __future__ import annotations

from paysession_sandbox.clock import Clock

__all__ = ["Clock"]
