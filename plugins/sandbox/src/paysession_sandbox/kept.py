"""What a stand-in holds, kept in a file: so that it is there again after a restart."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Never

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["read", "text", "write"]


def text(of: str, version: int, tree: dict[str, Any]) -> str:
    """Return what is written to a file.

    Args:
        of: The gateway.
        version: The version of the file's format.
        tree: What is kept, as JSON.
    """
    return json.dumps({"of": of, "format": version, **tree})


def write(path: Path, content: str) -> None:
    """Write a file, which only its owner may read; it is whole, or as it was before."""
    beside = path.with_suffix(".new")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(content)
    beside.replace(path)


@contextmanager
def read(path: Path, of: str, version: int) -> Iterator[dict[str, Any] | None]:
    """Read everything from a file, within the context; None if there is no file.

    Args:
        path: The file.
        of: The gateway.
        version: The version of the file's format.

    Raises:
        ValueError: The file is damaged, or something else's: also if what is done with it in the context
            fails over its shape. It says what to do.
    """
    try:
        tree: Any = json.loads(path.read_bytes()) if path.exists() else None
        ours = tree is None or (tree["of"], tree["format"]) == (of, version)
        yield tree if ours else _something_else()
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no state of {of} that this version of paysession-sandbox can read: it is damaged, "
            "or something else. Name another folder, or move the file away to begin with nothing."
        ) from error


def _something_else() -> Never:
    raise ValueError("it was written by something else, or by another version")
