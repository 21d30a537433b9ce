"""How the stand-ins' pages look: light and dark, on a phone and on a wide screen. No script, no network."""

from __future__ import annotations

from html import escape
from typing import Final

__all__ = ["button", "cells", "escape", "field", "page", "table", "tag"]

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6474; --line: #d9dee7; --ground: #f5f6f9;
  --card: #fff; --accent: #3d4fd0; --good: #1a7f4b; --bad: #b3261e; --warn: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaf0; --soft: #a2abbb; --line: #333b4a;
  --ground: #12151b; --card: #1b2029; --accent: #8c9bff; --good: #5fd39a; --bad: #ff8a80; --warn: #f0bf5f; } }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); }
main { max-width: 70rem; margin: 0 auto; padding: 1rem; }
main.narrow { max-width: 27rem; padding-top: 2rem; }
h1 { font-size: 1.35rem; margin: 0 0 .25rem; } h2 { font-size: 1.05rem; margin: 0 0 .6rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); } a { color: var(--accent); }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .9rem;
  margin: 1rem 0; }
.row { display: flex; flex-wrap: wrap; gap: .5rem; align-items: end; margin-bottom: .6rem; }
.row label, .row button { margin: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; color: var(--soft); font-weight: 600; }
th, td { padding: .4rem .6rem .4rem 0; border-top: 1px solid var(--line); vertical-align: top; }
tr:first-child th { border-top: 0; } form.one { display: inline; }
code { font: .86em ui-monospace, monospace; overflow-wrap: anywhere; }
button { font: inherit; padding: .35rem .75rem; border-radius: .4rem; border: 1px solid var(--line);
  background: var(--card); color: var(--ink); cursor: pointer; margin: 0 .2rem .2rem 0; }
button:hover { border-color: var(--accent); } button:focus-visible { outline: 2px solid var(--accent); }
button.main { background: var(--accent); border-color: var(--accent); color: var(--card); }
button.full { width: 100%; padding: .6rem; margin-top: .6rem; }
label { display: block; color: var(--soft); font-size: .88rem; margin-bottom: .5rem; }
input, select { font: inherit; display: block; width: 100%; padding: .4rem .5rem; margin-top: .15rem;
  border: 1px solid var(--line); border-radius: .4rem; background: var(--ground); color: var(--ink); }
.tag { padding: .05rem .45rem; border-radius: 1rem; border: 1px solid currentColor; font-size: .85rem;
  white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
.notice { border-left: 3px solid var(--bad); padding-left: .6rem; }
@media (max-width: 40rem) { .cards tr, .cards td { display: block; border: 0; padding: .1rem 0; }
  .cards tr { border-top: 1px solid var(--line); padding: .6rem 0; } .cards tr:has(th) { display: none; } }
"""
_GOOD: Final = frozenset("succeeded paid won complete COMPLETED CAPTURED VAULTED".split())  # noqa: SIM905 - one line reads best
_BAD: Final = frozenset("failed lost canceled expired DENIED DECLINED VOIDED FAILED".split())  # noqa: SIM905


def page(title: str, body: str, *, narrow: bool = False) -> bytes:
    """Return a page of HTML."""
    shape = ' class="narrow"' if narrow else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main{shape}>{body}</main></body></html>"
    ).encode()


def table(heads: list[str], rows: list[str], empty: str) -> str:
    """Return a table; on a phone each of its rows is a block."""
    if not rows:
        return f'<p class="soft">{escape(empty)}</p>'
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    return f'<div class="wide"><table class="cards"><tr>{head}</tr>{"".join(rows)}</table></div>'


def cells(*parts: str) -> str:
    """Return a row of a table, of HTML."""
    return f"<tr>{''.join(f'<td>{part}</td>' for part in parts)}</tr>"


def tag(status: str) -> str:
    """Return a status in its colour."""
    kind = "good" if status in _GOOD else "bad" if status in _BAD else "warn"
    return f'<span class="tag {kind}">{escape(status)}</span>'


def button(label: str, action: str, main: bool = False, /, **fields: str) -> str:
    """Return a button that sends its fields to an address."""
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in fields.items()
    )
    shape = ' class="main"' if main else ""
    head = f'<form class="one" method="post" action="{escape(action)}">'
    return f"{head}{hidden}<button{shape}>{escape(label)}</button></form>"


def field(label: str, name: str, value: str = "", **attributes: str) -> str:
    """Return a labelled input."""
    more = "".join(f' {key}="{escape(text)}"' for key, text in attributes.items())
    return f'<label>{escape(label)}<input name="{escape(name)}" value="{escape(value)}"{more}></label>'
