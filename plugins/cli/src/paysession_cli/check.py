"""``paysession check NAME``: the contract of a provider, run against an installed one."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from attrs import asdict, frozen
from rich.table import Table
from rich.text import Text

import paysession
from paysession import Kind, ProviderLoadError, ProviderNotFound
from paysession_cli import show
from paysession_cli.app import EXIT_FAILED, App, common, pass_app
from paysession_cli.grade import CRITERIA, Grade, Subject, grade_of, run_tests, tree_of, write
from paysession_cli.own_tests import is_contract
from paysession_cli.terminal import visible

if TYPE_CHECKING:
    import pytest

__all__ = ["check"]

GROUP: Final = "paysession.contracts"
_DECLARED: Final = "not declared: "
_STYLES: Final = {"passed": "green", "failed": "red", "skipped": "yellow", "not declared": "dim"}


@frozen
class Result:
    """What became of one test.

    Attributes:
        test: The test's name.
        case: What it was tried with, such as ``capture-drop_after``; empty for a test without cases.
        outcome: ``passed``, ``failed``, ``not declared``, or ``skipped`` by the contract's author.
        words: Why it failed or was not run.
    """

    test: str
    case: str
    outcome: str
    words: str


class Collector:
    """A pytest plugin that keeps what became of each test, and prints nothing."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.provider: Any = None
        """The provider as the core has loaded it, once a test has made it."""

    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Keep the provider that the first test made."""
        bench = getattr(item, "funcargs", {}).get("bench")
        if self.provider is None and bench is not None:
            self.provider = bench.handle

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep that the contract could not be collected."""
        if report.failed:
            self.results.append(Result("(collection)", "", "failed", report.longreprtext))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep an outcome: of the call, or of a setup or a teardown that did not pass."""
        if report.when != "call" and report.passed:
            return
        test, _, case = report.nodeid.rpartition("::")[2].partition("[")
        outcome, words = str(report.outcome), report.longreprtext
        if report.skipped:
            words = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else words
            words = words.removeprefix("Skipped: ")
            outcome = "not declared" if words.startswith(_DECLARED) else "skipped"
        self.results.append(Result(test, case.removesuffix("]"), outcome, words.removeprefix(_DECLARED)))


def run_contract(module: str, cls: str, *chosen: str) -> Collector:
    """Run a contract, in a folder of its own so that no configuration lying about has a say.

    Args:
        module: Where the contract is.
        cls: Its class there.
        chosen: Options of pytest that say which of its tests are run.
    """
    import pytest  # noqa: PLC0415 - only this command needs it

    collector = Collector()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "test_contract.py")
        path.write_text(f"from {module} import {cls}\n\n\nclass TestContract({cls}):\n    pass\n")
        Path(folder, "pytest.ini").write_text("[pytest]\n")
        options = ["-c", f"{folder}/pytest.ini", "--rootdir", folder, "-p", "no:cacheprovider"]
        pytest.main([*options, *chosen, "-p", "no:terminal", str(path)], plugins=[collector])
    sys.modules.pop("test_contract", None)
    return collector


def _subject(name: str, distribution: str, collector: Collector, own: tuple[int, int] | None) -> Subject:
    """Return what is known of a provider after its contract has run."""
    outcomes: dict[str, list[str]] = {}
    for result in collector.results:
        outcomes.setdefault(result.test, []).append(result.outcome)
    handle = collector.provider
    plugin = handle.plugin if handle is not None else None
    fields = getattr(type(plugin), "__attrs_attrs__", ())
    hooks = [*Kind, "retrieve", "parse_webhook", "changes", "close"]
    return Subject(
        name=name,
        distribution=distribution,
        outcomes=outcomes,
        hooks=[str(hook) for hook in hooks if handle is not None and handle.implements(str(hook))],
        capabilities=handle.capabilities if handle is not None else None,
        settings=[field.alias for field in fields if field.init],
        module=type(plugin).__module__,
        own=own,
    )


@click.command()
@click.argument("name")
@click.option("--grade", is_flag=True, help="Say its grade, bronze, silver or gold, and why.")
@click.option(
    "--tests",
    metavar="PATH",
    type=click.Path(exists=True),
    help="The provider's own tests, which a grade of gold asks for; they are run as well.",
)
@click.option(
    "--write", "write_", is_flag=True, help="Write the grade into the provider's package, as a file."
)
@click.option(
    "-k", "chosen", metavar="EXPRESSION", help="Run only tests that match, such as: refund and not webhook."
)
@click.option("-x", "--exitfirst", is_flag=True, help="Stop at the first failure.")
@common
@pass_app
def check(
    app: App, name: str, grade: bool, tests: str | None, write_: bool, chosen: str | None, exitfirst: bool
) -> None:
    """Run the contract of an installed provider: passed, failed, not declared.

    The provider's distribution names its contract in the entry point group "paysession.contracts". With
    --grade the exit status is 0 for bronze and better.
    """
    whole = grade or write_ or tests is not None
    if whole and (chosen is not None or exitfirst):
        raise click.UsageError("a grade is that of the whole contract: leave out -k and -x")
    if find_spec("pytest") is None:
        raise ProviderLoadError("the contract runs on pytest: pip install paysession-testing")
    found = paysession.installed(GROUP, name).get(name)
    if found is None:
        raise ProviderNotFound(_unknown(name))
    contract: Any = found.load()
    if not is_contract(contract):
        raise ProviderLoadError(f"{name!r} of {found.distribution} is no BaseProviderContract")
    options = [*(["-k", chosen] if chosen is not None else []), *(["-x"] if exitfirst else [])]
    collector = run_contract(contract.__module__, contract.__qualname__, *options)
    results = collector.results
    if chosen is not None and not results:
        raise click.BadParameter(f"{chosen!r} matches no test of the contract", param_hint="'-k'")
    if whole:
        own = run_tests(tests) if tests is not None else None
        subject = _subject(name, found.distribution, collector, own)
        graded = grade_of(subject)
        written = write(subject, graded) if write_ else None
        app.answer(tree_of(subject, graded), lambda: _show_grade(subject, graded, written))
        sys.exit(EXIT_FAILED if graded.grade == "none" else 0)
    counts = Counter(result.outcome for result in results)
    tree = {
        "provider": name,
        "distribution": found.distribution,
        **{outcome.replace(" ", "_"): counts[outcome] for outcome in _STYLES},
        "tests": [asdict(result) for result in results],
    }
    app.answer(tree, lambda: _show(found.distribution, results, counts))
    if counts["failed"] or counts["skipped"] or not counts["passed"]:
        sys.exit(EXIT_FAILED)


def _show_grade(subject: Subject, grade: Grade, written: Path | None) -> None:
    console = show.console()
    table = Table("criterion", "for", "met", "why", box=None, pad_edge=False)
    words = {True: show.text("yes", "green"), False: show.text("no", "red"), None: show.text("-", "dim")}
    for row in CRITERIA:
        found = grade.findings[row.name]
        table.add_row(show.text(row.name), show.text(row.grade), words[found.met], show.text(found.why))
    console.print(table)
    console.print(show.text(f"{subject.distribution}: {grade.grade}", "bold"))
    if written is not None:
        console.print(show.text(f"written: {written}"))


def _unknown(name: str) -> str:
    offers = ", ".join(paysession.installed(GROUP)) or "none"
    if name in paysession.installed("paysession.providers"):
        return (
            f"the provider {name!r} is installed, and its distribution names no contract: give it an entry "
            f"point in the group {GROUP}; contracts are there for: {offers}"
        )
    return f"no installed distribution offers a contract for {name!r}; contracts are there for: {offers}"


def _show(distribution: str, results: list[Result], counts: Counter[str]) -> None:
    console = show.console()
    table = Table(box=None, pad_edge=False)
    for column in ("test", *_STYLES, "why not"):
        table.add_column(column, no_wrap=column != "why not", overflow="fold")
    for test in dict.fromkeys(result.test for result in results):
        rows = [result for result in results if result.test == test]
        told = Counter(row.outcome for row in rows)
        reasons = dict.fromkeys(row.words for row in rows if row.outcome in ("not declared", "skipped"))
        cells = [show.text(str(told[word]) if told[word] else "", style) for word, style in _STYLES.items()]
        table.add_row(show.text(test), *cells, show.text("; ".join(reasons), "dim"))
    show.print_table(table)
    for result in results:
        if result.outcome == "failed":
            name = f"{result.test}[{result.case}]" if result.case else result.test
            console.print()
            console.print(show.text(name, "bold red"))
            console.print(Text(visible(result.words, lines=True)))
    summary = ", ".join(f"{counts[outcome]} {outcome}" for outcome in _STYLES if counts[outcome])
    console.print(f"\n{distribution}: {summary}")
