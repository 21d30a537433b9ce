"""The grade of a provider: bronze, silver or gold, computed from what was run and found.

`CRITERIA` is the list; each grade asks for its own criteria and those of the grades below it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, metadata, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from attrs import asdict, frozen

from paysession import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from paysession.provider import Capabilities

__all__ = [
    "CRITERIA",
    "FILE",
    "GRADES",
    "Grade",
    "Subject",
    "grade_of",
    "kit_digest",
    "run_tests",
    "tree_of",
    "write",
]

FILE: Final = "paysession-grade.json"
"""The file in a provider's package that says its grade."""

GRADES: Final = ("bronze", "silver", "gold")
FEWEST: Final = 10
"""How many tests of its own a provider has at least, beside the contract."""

_TOLD: Final = "test_a_notification_brings_the_ledger_up_to_date"
_FORGED: Final = "test_a_forged_notification_is_rejected"
_UNSIGNED: Final = "test_what_nobody_can_verify_is_declared"
_COUNTED: Final = re.compile(r"(\d+) (passed|failed|errors?)\b")


@frozen
class Subject:
    """What is known of a provider after its contract has run.

    Attributes:
        name: The provider's name.
        distribution: Its distribution and version.
        outcomes: What became of each test of the contract, by its name: all outcomes of its cases.
        hooks: The hooks that it implements.
        capabilities: What it declares; None: it could not be made.
        settings: The names of its settings.
        module: The module that it is defined in.
        own: How many tests of its own passed, and how many failed; None: none were named.
    """

    name: str
    distribution: str
    outcomes: Mapping[str, Sequence[str]]
    hooks: Sequence[str]
    capabilities: Capabilities | None
    settings: Sequence[str]
    module: str
    own: tuple[int, int] | None


class Finding(NamedTuple):
    """Whether a criterion is met; None: it does not apply."""

    met: bool | None
    why: str


@frozen
class Criterion:
    """One thing that a grade asks for.

    Attributes:
        name: In a word.
        grade: The lowest grade that asks for it.
        says: What is asked for.
        judge: Returns whether it is met.
    """

    name: str
    grade: str
    says: str
    judge: Callable[[Subject], Finding]


@frozen
class Grade:
    """A provider's grade, with the reason for each criterion.

    Attributes:
        grade: ``gold``, ``silver``, ``bronze`` or ``none``.
        findings: For each criterion, by its name: whether it is met (None: it does not apply), and why.
    """

    grade: str
    findings: Mapping[str, Finding]


def _hooks(subject: Subject) -> Finding:
    if subject.capabilities is None:
        return Finding(False, "it could not be made and loaded")
    return Finding(True, ", ".join(sorted(subject.hooks)))


def _contract(subject: Subject) -> Finding:
    every = [outcome for outcomes in subject.outcomes.values() for outcome in outcomes]
    passed, bad = every.count("passed"), every.count("failed") + every.count("skipped")
    if bad or not passed:
        return Finding(False, f"{bad} tests of the contract failed or were skipped by its author")
    return Finding(True, f"{passed} tests passed, {every.count('not declared')} not declared")


def _lookups(subject: Subject) -> Finding:
    can = subject.capabilities
    if can is None:
        return Finding(False, "it could not be made and loaded")
    if can.local:
        return Finding(None, "there is no gateway")
    if can.lookup != "none":
        return Finding(True, f"lookup={can.lookup!r}")
    if "parse_webhook" in subject.hooks and can.window(Kind.CAPTURE) and can.window(Kind.REFUND):
        return Finding(True, "by notification, and by repeating what is in doubt under its key")
    return Finding(False, "no lookup, and nothing else settles doubt without an operator")


def _webhooks(subject: Subject) -> Finding:
    can = subject.capabilities
    if can is not None and can.local:
        return Finding(None, "there is no gateway")
    if "parse_webhook" not in subject.hooks or can is None:
        return Finding(False, "it does not implement parse_webhook")
    verified = _UNSIGNED if can.unsigned_webhooks else _FORGED
    for test in (_TOLD, verified):
        if set(subject.outcomes.get(test, ())) != {"passed"}:
            return Finding(False, f"{test} did not pass")
    return Finding(True, "not signed, and declared so" if can.unsigned_webhooks else "verified")


def _wire(subject: Subject) -> Finding:
    if subject.capabilities is not None and subject.capabilities.local:
        return Finding(None, "there is no gateway")
    if subject.own is None:
        return Finding(False, "none were named: --tests FOLDER runs them")
    passed, failed = subject.own
    enough = passed >= FEWEST and not failed
    return Finding(enough, f"{passed} passed, {failed} failed; {FEWEST} are needed")


def _docs(subject: Subject) -> Finding:
    try:
        text = str(metadata(subject.distribution.partition(" ")[0]).json.get("description", ""))
    except PackageNotFoundError:
        text = ""
    lacking = [name for name in subject.settings if not re.search(rf"\b{name}\b", text)]
    if not text or lacking:
        return Finding(
            False, f"its README does not name the settings {', '.join(lacking)}" if text else "none"
        )
    return Finding(True, "its README names every setting")


CRITERIA: Final = (
    Criterion("hooks", "bronze", "it loads, with the hooks that its capabilities need", _hooks),
    Criterion("contract", "bronze", "no test of the contract fails, or is skipped by its author", _contract),
    Criterion("lookups", "silver", "doubt is settled without an operator", _lookups),
    Criterion("webhooks", "silver", "notifications are read, and verified or declared unsigned", _webhooks),
    Criterion("wire tests", "gold", f"{FEWEST} tests of its own or more pass, beside the contract", _wire),
    Criterion("docs", "gold", "the README of its distribution names every setting", _docs),
)
"""What the grades ask for, in their order."""


def grade_of(subject: Subject) -> Grade:
    """Return the highest grade whose criteria, and those below it, are met or do not apply."""
    findings = {criterion.name: criterion.judge(subject) for criterion in CRITERIA}
    reached = "none"
    for grade in GRADES:
        if any(row.grade == grade and findings[row.name].met is False for row in CRITERIA):
            break
        reached = grade
    return Grade(reached, findings)


def run_tests(folder: str) -> tuple[int, int]:
    """Run a provider's own tests in a process of their own; return how many passed, and how many did not.

    The contract is none of them, though it may lie beside them.
    """
    options = ["-q", "--tb=no", "-p", "no:cacheprovider", "-p", "paysession_cli.own_tests"]
    command = [sys.executable, "-m", "pytest", *options, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our interpreter
    counts = {"passed": 0, "failed": 0}
    for number, word in _COUNTED.findall(done.stdout.strip().rpartition("\n")[2]):
        counts["passed" if word == "passed" else "failed"] += int(number)
    return counts["passed"], counts["failed"] or int(done.returncode not in (0, 5))


def kit_digest(names: Sequence[str]) -> str:
    """Return what tells one edition of the contract from another: a digest of its tests' names."""
    return sha256("\n".join(sorted(names)).encode()).hexdigest()[:12]


def tree_of(subject: Subject, grade: Grade) -> dict[str, Any]:
    """Return a grade as JSON values: the same for the same outcome, so that a file of it can be compared."""
    can = subject.capabilities
    described: dict[str, Any] = {}
    if can is not None:
        described = {name: asdict(can)[name] for name in ("capture", "refund", "lookup", "local")}
        described["webhooks"] = "parse_webhook" in subject.hooks
        described["partial_authorization"] = can.partial_authorization
    return {
        "provider": subject.name,
        "distribution": subject.distribution,
        "grade": grade.grade,
        "criteria": {name: {"met": row.met, "why": row.why} for name, row in grade.findings.items()},
        "capabilities": described,
        "paysession": version("paysession"),
        "contract": kit_digest(list(subject.outcomes)),
    }


def write(subject: Subject, grade: Grade) -> Path:
    """Write a grade into the provider's package; return the file.

    Raises:
        OSError: It cannot be written there.
    """
    spec = find_spec(subject.module.partition(".")[0])
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    origin = spec.origin if spec is not None and spec.origin else __file__
    folder = Path(places[0]) if places else Path(origin).parent
    path = folder / FILE
    path.write_text(json.dumps(tree_of(subject, grade), indent=2) + "\n", encoding="utf-8")
    return path
