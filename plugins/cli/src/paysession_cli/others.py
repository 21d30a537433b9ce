"""Commands that other packages bring: the entry points of the group ``paysession.commands``."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Final

import click

__all__ = ["Commands"]

GROUP: Final = "paysession.commands"
_KNOWN: Final = {"sandbox": "paysession-sandbox"}
"""Commands of packages that belong to paysession, and may not be installed."""


class Commands(click.Group):
    """A group that finds the commands of other packages when it is asked for one of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, those of other packages too."""
        return sorted({*super().list_commands(ctx), *(found.name for found in entry_points(group=GROUP))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; its package is imported only then.

        Raises:
            click.UsageError: It is one of paysession's, and its package is not installed.
        """
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        for found in entry_points(group=GROUP, name=cmd_name):
            command: click.Command = found.load()
            return command
        if cmd_name in _KNOWN:
            raise click.UsageError(
                f"`paysession {cmd_name}` comes with a package: pip install {_KNOWN[cmd_name]}"
            )
        return None
