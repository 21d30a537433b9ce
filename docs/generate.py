"""Write what the reference takes from the code: run ``python docs/generate.py`` after a change of it.

The status table and the diagram come from running the rules of ``paysession._ledger`` on every
operation, status and answer; the hooks from ``paysession.hooks``; the commands from click. A test
compares, so that none of it can be stale.
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import tomllib
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

import paysession_testing
from paysession import (
    Capabilities,
    Declined,
    Kind,
    Money,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    Status,
)
from paysession._engine.logs import RECORDS
from paysession._ledger.evidence import from_answer
from paysession._ledger.ledger import Ledger
from paysession._ledger.rules import ALLOWED, Request, begin
from paysession._ledger.verdict import ABSENT, REPEATED
from paysession._plugins.registry import OBSERVER_HOOKS, PROVIDER_HOOKS
from paysession.hooks import ObserverHooks, ProviderHooks
from paysession.outcome import ANSWERS, Answer
from paysession.reasons import CATEGORIES, PAYER_MESSAGES
from paysession.store import SessionRow
from paysession_cli.grade import CRITERIA, FILE
from paysession_cli.main import cli

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from paysession._ledger.verdict import Rule

REFERENCE: Final = Path(__file__).parent / "reference"
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
EUR_42: Final = Money("42.00", "EUR")
CAN: Final = Capabilities(capture="multiple", refund="multiple", lookup="consistent", increment=True)
FOR_SHOPS: Final = ("FakeProvider", "LedgerEntry")
COMMON: Final = ("db", "config", "json_")
"""Options that every command has: told once."""
SVG_HEAD: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 880 376" role="img"
 font-family="sans-serif" font-size="13">
<title>The status of a payment session</title>
<style>
.page { fill: #fff } .group { fill: #f4f6f8; stroke: #98a2b3; stroke-dasharray: 5 4 }
.status { fill: #fff; stroke: #344054; stroke-width: 1.5 } .end { stroke-width: 3 }
.title { font-weight: 700; font-size: 15px } text { fill: #1d2939 }
.arrow { fill: none; stroke: #344054; stroke-width: 1.5 }
</style>
<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0 0 L10 5 L0 10 z" fill="#344054"/></marker></defs>"""
UNAUTHORIZED: Final = (Status.PENDING, Status.REQUIRES_MORE, Status.ERROR)
REFUSALS: Final = ("declined", "not applied", "unknown")


# --- the lifecycle --------------------------------------------------------------------------------


def _sample(status: Status, captured: int = 0) -> SessionRow:
    authorized = EUR_42.minor if status is Status.AUTHORIZED else 0
    return SessionRow(
        id="ps_1",
        collection_id="pc_1",
        collection_reference="order-1",
        provider="any",
        amount=EUR_42,
        created_at=NOW,
        updated_at=NOW,
        status=status,
        initiated=True,
        granted=authorized,
        authorized=authorized,
        captured=captured,
    )


def _after(session: SessionRow, kind: Kind, answer: str, key: str | None = None) -> Status:
    """Return the status of a session after an operation and its answer, as the rules have it."""
    part = Money("10.00", "EUR") if kind in (Kind.CAPTURE, Kind.REFUND, Kind.UPDATE) else None
    request = Request(kind, part, idempotency_key=key)
    if kind is Kind.UPDATE and session.status is Status.AUTHORIZED:
        request = Request(kind, Money("50.00", "EUR"), increment=True)
    begun, operation = begin(session, request, CAN, NOW)
    ledger = Ledger(begun.session, NOW)
    if answer in REFUSALS:
        refusals = {"declined": Declined("no"), "not applied": NotApplied("not now")}
        from_answer(ledger, operation, refusals.get(answer, OutcomeUnknown("?")), CAN)
    else:
        amount = operation.amount if answer in (Answer.CAPTURED, Answer.REFUNDED) else None
        from_answer(ledger, operation, Outcome(answer=Answer(answer), amount=amount), CAN)
    return ledger.session.status


def _updated(status: Status) -> frozenset[Answer]:
    """Return what an update from a status may be answered: an increment that it is authorized."""
    raised = frozenset({Answer.AUTHORIZED})
    return raised if status is Status.AUTHORIZED else ANSWERS[Kind.UPDATE] - raised


def transitions() -> Iterator[tuple[Kind, str, str, str]]:
    """Yield (operation, answer, status before, status after) for all that the rules allow."""
    for kind in ALLOWED:
        answers = [*(answer for answer in Answer if answer in ANSWERS[kind]), *REFUSALS]
        for answer in answers:
            if kind is Kind.INITIATE:
                yield kind, answer, "new", _after(_sample(Status.PENDING), kind, answer, "with a key")
                continue
            for status in (status for status in Status if status in ALLOWED[kind]):
                if kind is Kind.UPDATE and answer not in (*REFUSALS, *_updated(status)):
                    continue
                captured = 2000 if kind is Kind.REFUND else 0
                yield kind, answer, status, _after(_sample(status, captured), kind, answer)
            if kind is Kind.CANCEL:
                partly = _sample(Status.AUTHORIZED, 2000)
                yield kind, answer, "partly captured", _after(partly, kind, answer)


def lifecycle_table() -> str:
    """Return the table of every operation, answer and status."""
    rows = ["| operation | from | the provider answers | the session is then |", "|---|---|---|---|"]
    per_answer: dict[tuple[str, str, str], list[str]] = {}
    for kind, answer, before, after in transitions():
        per_answer.setdefault((kind, answer, after), []).append(before)
    alike: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (operation, answer, after), befores in per_answer.items():
        alike.setdefault((operation, after, tuple(befores)), []).append(answer)
    rows += [
        f"| {operation} | {', '.join(befores)} | {', '.join(answers)} | {after} |"
        for (operation, after, befores), answers in alike.items()
    ]
    return "\n".join(rows)


def _arrivals() -> dict[str, dict[str, list[str]]]:
    """Return, for each status, the operations that lead there and their answers."""
    found: dict[str, dict[str, list[str]]] = {status: {} for status in Status}
    per_status: dict[tuple[str, str], dict[str, str]] = {}
    for kind, answer, before, after in transitions():
        if before in UNAUTHORIZED and answer not in ("not applied", "unknown"):
            per_status.setdefault((kind, answer), {})[before] = after
        moved = before not in (after, "partly captured")
        if moved and answer not in found[after].setdefault(kind, []):
            found[after][kind].append(answer)
    for (operation, answer), statuses in per_status.items():
        # The diagram draws the three as one box. Should the rules ever tell them apart, draw it anew.
        alike = len(set(statuses.values())) == 1 or all(old == new for old, new in statuses.items())
        if not alike or set(statuses) != set(UNAUTHORIZED):
            raise ValueError(f"{operation}, answered {answer}, depends on which of {UNAUTHORIZED} it was")
    return found


def _stays() -> list[str]:
    """Return what an authorized session can do and stay authorized."""
    kinds = [kind for kind, _, before, after in transitions() if before == after == "authorized"]
    lines = [str(kind) for kind in dict.fromkeys(kinds) if kind is not Kind.CANCEL]
    partly = [after for _, answer, before, after in transitions() if before == "partly captured"]
    return [*lines, *(["cancel of the rest"] if set(partly) == {"authorized"} else [])]


def _box(x: int, y: int, width: int, title: str, lines: list[str], css: str = "status") -> list[str]:
    height = 34 + 18 * len(lines)
    parts = [f'<rect class="{css}" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>']
    parts.append(f'<text class="title" x="{x + 12}" y="{y + 23}">{escape(title)}</text>')
    parts += [
        f'<text x="{x + 12}" y="{y + 43 + 18 * place}">{escape(line)}</text>'
        for place, line in enumerate(lines)
    ]
    return parts


def _arrow(x1: int, y1: int, x2: int, y2: int) -> str:
    return f'<path class="arrow" d="M{x1} {y1} L{x2} {y2}" marker-end="url(#head)"/>'


def lifecycle_svg() -> str:
    """Return the diagram: each status, and which answer to which operation leads there."""
    arrivals = {
        status: [f"{kind} → {', '.join(answers)}" for kind, answers in kinds.items()]
        for status, kinds in _arrivals().items()
    }
    *kinds, last = _stays()
    stays = ["then: " + ", ".join(kinds), f"or {last}"]
    parts = [
        SVG_HEAD,
        '<rect class="page" width="880" height="376"/>',
        '<circle cx="30" cy="120" r="8" fill="#344054"/>',
        _arrow(40, 120, 118, 120),
        '<text x="48" y="110">initiate</text>',
        '<rect class="group" x="120" y="20" width="336" height="332" rx="12"/>',
        '<text x="136" y="42">not authorized: any of the three</text>',
        *_box(136, 54, 304, "pending", arrivals["pending"]),
        *_box(136, 168, 304, "requires_more", arrivals["requires_more"]),
        *_box(136, 282, 304, "error", arrivals["error"]),
        _arrow(456, 100, 574, 100),
        '<text x="484" y="90">authorize</text>',
        *_box(576, 60, 292, "authorized", [*arrivals["authorized"], *stays]),
        _arrow(456, 315, 574, 315),
        '<text x="462" y="305">cancel, authorize</text>',
        _arrow(720, 150, 720, 268),
        '<text x="730" y="214">cancel</text>',
        *_box(576, 270, 292, "canceled", arrivals["canceled"], "status end"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def allowed_table() -> str:
    """Return the table of which operation may begin when, and which answers it takes."""
    rows = ["| operation | may begin from | the provider may answer |", "|---|---|---|"]
    rows += [
        f"| {kind} | {', '.join(sorted(ALLOWED[kind]))} | {', '.join(sorted(ANSWERS[kind]))} |"
        for kind in ALLOWED
    ]
    return "\n".join(rows)


# --- hooks ----------------------------------------------------------------------------------------


def hooks_table(spec: type, names: frozenset[str]) -> str:
    """Return the hooks of a specification with their exact arguments and what each is for."""
    rows = ["| hook | answers | |", "|---|---|---|"]
    for name in (name for name in vars(spec) if name in names):
        hook = getattr(spec, name)
        signature = inspect.signature(hook)
        arguments = ", ".join(parameter for parameter in signature.parameters if parameter != "self")
        answer = str(signature.return_annotation).removesuffix(" | None")
        shown = "" if answer == "None" else f"`{answer}`"
        rows.append(f"| `{name}({arguments})` | {shown} | {_sentences(hook)} |")
    return "\n".join(rows)


def _sentences(hook: object) -> str:
    return " ".join((inspect.getdoc(hook) or "").split()).replace("``", "`")


# --- the command line -----------------------------------------------------------------------------


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _commands(below, f"{path} {name}")


def _parameters(command: click.Command, context: click.Context, only: Sequence[str] = ()) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        wanted = parameter.name in only if only else parameter.name not in COMMON
        if wanted and record is not None and record[1] and not record[0].endswith("--help"):
            text = record[1].replace("|", "\\|").replace("[", "\\[")
            yield f"| `{record[0].replace('|', chr(92) + '|')}` | {text} |"


def command_line() -> str:
    """Return the page about every command, as click prints it."""
    parts = ["# The command line", "<!-- written by docs/generate.py from paysession_cli.main -->"]
    for path, command in _commands(cli, "paysession"):
        context = click.Context(command, info_name=path)
        usage = " ".join(command.collect_usage_pieces(context))
        if path != "paysession":
            parts.append(f"{'##' if path.count(' ') == 1 else '###'} {path}")
        parts.append(f"```text\n{path} {usage}\n```")
        parts.append(inspect.cleandoc(command.help or ""))
        rows = [] if isinstance(command, click.Group) else list(_parameters(command, context))
        if path == "paysession":
            parts.append("Every command takes these options:")
            leaf = next(found for _, found in _commands(cli, path) if not isinstance(found, click.Group))
            rows = list(_parameters(leaf, click.Context(leaf, info_name=path), only=COMMON))
        if rows:
            parts.append("\n".join(["| option | |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


# --- the packages beside the core -----------------------------------------------------------------


def _directive(module: str, name: str, thing: object) -> str:
    if isinstance(thing, type) and issubclass(thing, BaseException):
        return f".. autoexception:: {module}.{name}"
    if isinstance(thing, type):
        return f".. autoclass:: {module}.{name}\n   :members:"
    return f".. auto{'function' if callable(thing) else 'data'}:: {module}.{name}"


def contracts() -> str:
    """Return what ``paysession_testing`` has for authors, besides what a shop's own tests use."""
    names = [name for name in paysession_testing.__all__ if name not in FOR_SHOPS]
    directives = [_directive("paysession_testing", name, getattr(paysession_testing, name)) for name in names]
    return "```{eval-rst}\n" + "\n\n".join(directives) + "\n```"


def plugins() -> str:
    """Return, for each package beside the core, what it is and all its public names."""
    parts: list[str] = []
    for folder in sorted(REFERENCE.parent.parent.glob("plugins/*/pyproject.toml")):
        project = tomllib.loads(folder.read_text())["project"]
        found = project.get("entry-points", {}) | {"scripts": project.get("scripts", {})}
        if not any(found.values()):
            continue  # paysession-testing, which has a page of its own
        parts.append(f"## {project['name']}\n\n{project['description']}")
        where = [f"`{name}` in `{group}`" for group, names in found.items() for name in names]
        if where:
            parts.append(f"Entry points: {', '.join(where)}.")
        directives = [
            _directive(module, name, getattr(importlib.import_module(module), name))
            for module in public_modules(folder.parent)
            for name in importlib.import_module(module).__all__
            if not isinstance(getattr(importlib.import_module(module), name), click.Command)
        ]
        if directives:
            parts.append("```{eval-rst}\n" + "\n\n".join(directives) + "\n```")
    return "\n\n".join(parts)


def public_modules(folder: Path) -> list[str]:
    """Return the modules of a package in which applications and authors may look: its entry points'."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    package = project["name"].replace("-", "_")
    groups = [*project.get("entry-points", {}).values(), project.get("scripts", {})]
    named = [target.partition(":")[0] for group in groups for target in group.values()]
    return [
        name for name in dict.fromkeys([package, *named]) if hasattr(importlib.import_module(name), "__all__")
    ]


def verdict_table(rules: Sequence[Rule[Any]]) -> str:
    """Return the table of what is decided about an operation in doubt."""
    rows = ["| evidence | decision | because |", "|---|---|---|"]
    return "\n".join([*rows, *(f"| {rule.evidence} | {rule.verdict} | {rule.reason} |" for rule in rules)])


def words_table(heading: str, meanings: Iterable[tuple[str, str]]) -> str:
    """Return the table of words of which there are few, with what each means."""
    rows = [f"| {heading} |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{word}` | {meaning} |" for word, meaning in meanings)])


def records_table() -> str:
    """Return the table of the log records that are made of events."""
    rows = ["| event | level | record |", "|---|---|---|"]
    rows += [
        f"| `{type_}` | {logging.getLevelName(level)} | {sentence.replace('{', '*').replace('}', '*')} |"
        for type_, (level, sentence) in RECORDS.items()
    ]
    return "\n".join(rows).replace("*age:.0f*", "*age*")


def providers_table() -> str:
    """Return the directory of the providers in this repository, from the grades in their packages."""
    rows = ["| provider | grade | captures | refunds | lookups | webhooks |", "|---|---|---|---|---|---|"]
    for path in sorted((REFERENCE.parents[1] / "plugins").glob(f"*/src/*/{FILE}")):
        told = json.loads(path.read_text())
        can, name = told["capabilities"], told["provider"]
        lookups = {"consistent": "at once", "lagging": "later", "none": "by notification"}[can["lookup"]]
        webhooks = "yes" if can["webhooks"] else "no"
        if can["local"]:
            lookups = webhooks = "no gateway"
        page = f"[`{name}`]({name}.md)"
        rows.append(
            f"| {page} | {told['grade']} | {can['capture']} | {can['refund']} | {lookups} | {webhooks} |"
        )
    return "\n".join(rows)


def criteria_table() -> str:
    """Return the table of what each grade asks for."""
    rows = ["| grade | criterion | what is asked for |", "|---|---|---|"]
    return "\n".join([*rows, *(f"| {row.grade} | {row.name} | {row.says} |" for row in CRITERIA)])


# --- writing --------------------------------------------------------------------------------------


def _between(page: str, name: str, text: str) -> str:
    begin_mark, end_mark = f"<!-- generated: {name} -->", "<!-- /generated -->"
    head, _, rest = page.partition(begin_mark)
    tail = rest.partition(end_mark)[2]
    return f"{head}{begin_mark}\n\n{text}\n\n{end_mark}{tail}"


def generated() -> dict[Path, str]:
    """Return every file that takes something from the code, as it should be."""
    lifecycle, hooks = REFERENCE / "lifecycle.md", REFERENCE / "hooks.md"
    page = _between(lifecycle.read_text(), "ALLOWED and ANSWERS", allowed_table())
    page = _between(page, "every transition", lifecycle_table())
    hooks_page = _between(hooks.read_text(), "provider hooks", hooks_table(ProviderHooks, PROVIDER_HOOKS))
    hooks_page = _between(hooks_page, "observer hooks", hooks_table(ObserverHooks, OBSERVER_HOOKS))
    protocol = REFERENCE / "protocol.md"
    protocol_page = _between(protocol.read_text(), "absent", verdict_table(ABSENT))
    protocol_page = _between(protocol_page, "repeated", verdict_table(REPEATED))
    errors = REFERENCE / "errors.md"
    errors_page = _between(
        errors.read_text(), "categories", words_table("`category` | what may follow", CATEGORIES.items())
    )
    errors_page = _between(
        errors_page, "payer messages", words_table("`payer_message_key` | in English", PAYER_MESSAGES.items())
    )
    providers = REFERENCE.parent / "providers.md"
    providers_page = _between(providers.read_text(), "providers", providers_table())
    providers_page = _between(providers_page, "criteria", criteria_table())
    packages, tests = REFERENCE / "plugins.md", REFERENCE / "testing.md"
    logging_ = REFERENCE / "logging.md"
    return {
        providers: providers_page,
        logging_: _between(logging_.read_text(), "records", records_table()),
        tests: _between(tests.read_text(), "contracts", contracts()),
        packages: _between(packages.read_text(), "packages", plugins()),
        lifecycle: page,
        REFERENCE / "lifecycle.svg": lifecycle_svg(),
        hooks: hooks_page,
        protocol: protocol_page,
        errors: errors_page,
        REFERENCE / "cli.md": command_line(),
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text)
