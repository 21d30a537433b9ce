"""What reaches a terminal: text of gateways and callers, with everything made visible that would act on it.

A control character in a name or in a gateway's message could set the window's title, write into the
clipboard, overwrite a line with another status, or show a text in another order than it has. None is
printed: each is shown as an escape.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import unicodedata
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType
    from rich.segment import Segment

__all__ = ["LogLines", "Terminal", "complain", "json_line", "visible"]

_UNUSUAL: Final = re.compile(r"[^\x20-\x7e]")
_ACTING: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of control and format characters (bidi overrides among them), lone surrogates,
and separators of lines."""


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return a text in which what acts on a terminal is an escape, such as ``\x1b``.

    Args:
        text: From wherever.
        lines: Whether it may have several lines.
    """

    def shown(match: re.Match[str]) -> str:
        character = match[0]
        if unicodedata.category(character) not in _ACTING or (lines and character == "\n"):
            return character
        return character.encode("unicode_escape").decode("ascii")

    return _UNUSUAL.sub(shown, text)


def json_line(tree: Any, *, indent: int | None = None) -> str:
    r"""Return JSON with the same characters as escapes of JSON, such as ``\u001b``, and a line break."""

    def shown(match: re.Match[str]) -> str:
        character = match[0]
        if unicodedata.category(character) not in _ACTING or character == "\n":
            return character  # within a text of JSON a line break is an escape already
        return json.dumps(character)[1:-1]

    return _UNUSUAL.sub(shown, json.dumps(tree, indent=indent, ensure_ascii=False)) + "\n"


def complain(sentence: str) -> None:
    """Write an error to standard error."""
    click.secho(f"Error: {visible(sentence)}", fg="red", err=True)


class Terminal(Console):
    """The console of standard output as it is now: text is text, never markup, and nothing in it acts."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else 160  # a pipe has no width; do not fold what is cut later
        super().__init__(file=sys.stdout, highlight=False, markup=False, emoji=False, width=width)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return what a text looks like."""
        return super().render_str(visible(text, lines=True), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render; a `Text` is made visible as well, whoever made it."""
        if isinstance(renderable, Text):
            plain = visible(renderable.plain, lines=True)
            if plain != renderable.plain:
                renderable = renderable.blank_copy(plain)
        return super().render(renderable, options)


class LogLines(logging.Formatter):
    """A format for what is logged to a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's text."""
        return visible(super().format(record), lines=True)
