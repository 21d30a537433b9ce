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

from paysession import ProviderLoadError, ProviderNotFound, installed
from paysession_cli import show
from paysession_cli.app import EXIT_FAILED, App, common, pass_app
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


def run_contract(module: str, cls: str) -> list[Result]:
    """Run a contract, in a folder of its own so that no configuration lying about has a say."""
    import pytest  # noqa: PLC0415 - only this command needs it

    collector = Collector()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "test_contract.py")
        path.write_text(f"from {module} import {cls}\n\n\nclass TestContract({cls}):\n    pass\n")
        Path(folder, "pytest.ini").write_text("[pytest]\n")
        options = ["-c", f"{folder}/pytest.ini", "--rootdir", folder, "-p", "no:cacheprovider"]
        pytest.main([*options, "-p", "no:terminal", str(path)], plugins=[collector])
    sys.modules.pop("test_contract", None)
    return collector.results


@click.command()
@click.argument("name")
@common
@pass_app
def check(app: App, name: str) -> None:
    """Run the contract of an installed provider: passed, failed, not declared.

    The provider's distribution names its contract in the entry point group "paysession.contracts".
    """
    if find_spec("pytest") is None:
        raise ProviderLoadError("the contract runs on pytest: pip install paysession-testing")
    found = installed(GROUP, name).get(name)
    if found is None:
        raise ProviderNotFound(_unknown(name))
    contract: Any = found.load()
    if not isinstance(contract, type) or not hasattr(contract, "test_initiate_charges_nothing"):
        raise ProviderLoadError(f"{name!r} of {found.distribution} is no BaseProviderContract")
    results = run_contract(contract.__module__, contract.__qualname__)
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


def _unknown(name: str) -> str:
    offers = ", ".join(installed(GROUP)) or "none"
    if name in installed("paysession.providers"):
        return (
            f"the provider {name!r} is installed, and its distribution names no contract: give it an entry "
            f"point in the group {GROUP}; contracts are there for: {offers}"
        )
    return f"no installed distribution offers a contract for {name!r}; contracts are there for: {offers}"


def _show(distribution: str, results: list[Result], counts: Counter[str]) -> None:
    console = show.console()
    table = Table("test", *_STYLES, "why not", box=None, pad_edge=False)
    for test in dict.fromkeys(result.test for result in results):
        rows = [result for result in results if result.test == test]
        told = Counter(row.outcome for row in rows)
        reasons = dict.fromkeys(row.words for row in rows if row.outcome in ("not declared", "skipped"))
        cells = [show.text(str(told[word]) if told[word] else "", style) for word, style in _STYLES.items()]
        table.add_row(show.text(test), *cells, show.text("; ".join(reasons), "dim"))
    console.print(table)
    for result in results:
        if result.outcome == "failed":
            name = f"{result.test}[{result.case}]" if result.case else result.test
            console.print()
            console.print(show.text(name, "bold red"))
            console.print(Text(visible(result.words, lines=True)))
    summary = ", ".join(f"{counts[outcome]} {outcome}" for outcome in _STYLES if counts[outcome])
    console.print(f"\n{distribution}: {summary}")
