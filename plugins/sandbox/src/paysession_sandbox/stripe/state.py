"""What the stand-in holds, kept in a file: so that it is there again after a restart."""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict

from paysession_sandbox.stripe.account import Timer
from paysession_sandbox.stripe.api import Kept

if TYPE_CHECKING:
    from pathlib import Path

    from paysession_sandbox.stripe.api import Api
    from paysession_sandbox.stripe.wire import Json

__all__ = ["load", "save"]

_FORMAT: Final = 1


def save(api: Api, path: Path) -> None:
    """Write everything to a file, which only its owner may read; it is whole, or as it was before."""
    with api.lock:
        tree: Json = {
            "format": _FORMAT,
            "now": api.clock().isoformat(),
            "accounts": {
                name: {"objects": account.objects, "timers": [asdict(timer) for timer in account.timers]}
                for name, account in api.accounts.items()
            },
            "kept": [[*place, asdict(kept)] for place, kept in api.kept.items() if kept.status is not None],
        }
        text = json.dumps(tree)
    beside = path.with_suffix(".new")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(text)
    beside.replace(path)


def load(api: Api, path: Path) -> bool:
    """Read everything from a file; return whether there is one. The clock goes on from there, never back.

    Raises:
        ValueError: It is no file of ours.
    """
    try:
        tree: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    if not isinstance(tree, dict) or tree.get("format") != _FORMAT:  # pyright: ignore[reportUnknownMemberType]
        raise ValueError(f"{path} is no state of this version of paysession-sandbox")
    found: Json = tree  # pyright: ignore[reportUnknownVariableType]
    with api.lock:
        behind = datetime.fromisoformat(found["now"]) - api.clock()
        api.clock.forward(seconds=max(0.0, behind.total_seconds()))
        for name, kept in found["accounts"].items():
            account = api.account(name)
            account.objects = kept["objects"]
            account.timers = [Timer(**timer) for timer in kept["timers"]]
        api.kept = {(account, key): Kept(**kept) for account, key, kept in found["kept"]}
    return True
