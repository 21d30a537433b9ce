"""Everything that the stand-in holds, as JSON in a file."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from attrs import asdict

from paysession_sandbox import kept
from paysession_sandbox.stripe.account import Timer
from paysession_sandbox.stripe.api import Kept

if TYPE_CHECKING:
    from pathlib import Path

    from paysession_sandbox.stripe.api import Api

__all__ = ["load", "save"]

_FORMAT: Final = 1


def save(api: Api, path: Path) -> None:
    """Write everything to a file."""
    with api.lock:
        tree = {
            "now": api.clock().isoformat(),
            "accounts": {
                name: {"objects": account.objects, "timers": [asdict(timer) for timer in account.timers]}
                for name, account in api.accounts.items()
            },
            "kept": [[*place, asdict(row)] for place, row in api.kept.items() if row.status is not None],
        }
        content = kept.text("Stripe", _FORMAT, tree)
    kept.write(path, content)


def load(api: Api, path: Path) -> bool:
    """Read everything from a file; return whether there is one. The clock goes on from there, never back.

    Raises:
        ValueError: It is no file of ours.
    """
    with kept.read(path, "Stripe", _FORMAT) as found, api.lock:
        if found is None:
            return False
        behind = datetime.fromisoformat(found["now"]) - api.clock()
        api.clock.forward(seconds=max(0.0, behind.total_seconds()))
        for name, tree in found["accounts"].items():
            account = api.account(name)
            account.objects = {kind: dict(rows) for kind, rows in tree["objects"].items()}
            account.timers = [Timer(**timer) for timer in tree["timers"]]
        api.kept = {(account, key): Kept(**row) for account, key, row in found["kept"]}
    return True
