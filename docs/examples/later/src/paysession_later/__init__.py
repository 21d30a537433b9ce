"""Later for paysession."""

from __future__ import annotations

from paysession_later.provider import Later

__all__ = ["Later"]
