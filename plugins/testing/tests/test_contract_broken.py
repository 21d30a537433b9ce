"""The contract finds what it is there to find: providers with one safeguard removed each turn it red."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from paysession_testing.contract.suite import TESTS

FOLDER = Path(__file__).parent / "broken_providers"
PATH = os.pathsep.join([str(FOLDER), str(FOLDER.parent)])


def expected():
    """Return the broken providers and the tests that find them, read in a process of its own."""
    words = (
        "import json, suite; "
        "print(json.dumps({n: (b[2], getattr(b[0], 'fix', 'fix:')) for n, b in suite.BROKEN.items()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", words],
        env={**os.environ, "PYTHONPATH": PATH},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


BROKEN = expected()


def one_of_each_part():
    """Return the first provider that each part of the contract finds: the others are of the slow tier."""
    first = {}
    for name, (tests, _) in BROKEN.items():
        first.setdefault(TESTS[tests[0].partition("[")[0]].__module__, name)
    return set(first.values())


FAST = one_of_each_part()


@pytest.fixture(scope="module")
def found(tmp_path_factory, request):
    """Run the tests that are to find what this run asks for, all at once; return what each said."""
    here = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    suites = [f"{FOLDER / 'suite.py'}::Test{item.callspec.params['name']}" for item in here]
    folder = tmp_path_factory.mktemp("broken")
    results = folder / "results.json"
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        folder / "pytest.ini",
        "-p",
        "no:cacheprovider",
        "-p",
        "selecting",
    ]
    done = subprocess.run(
        [*command, *suites],
        env={**os.environ, "BROKEN_RESULTS": str(results), "PYTEST_ADDOPTS": "", "PYTHONPATH": PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    assert results.exists(), done.stdout + done.stderr
    return json.loads(results.read_text())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in BROKEN]
)
def test_a_provider_without_one_safeguard_turns_the_contract_red(found, name):
    tests, fix = BROKEN[name]
    for test in tests:
        outcome, words = found[f"{name}.{test}"]
        assert outcome == "failed", f"{test} does not find {name}: {outcome}"
        assert fix in words.partition("fix:")[2] or fix == "fix:" in words, words
        assert f"docs/contract-kit.md, {test.partition('[')[0]}" in words


def test_every_test_of_the_contract_finds_something():
    named = {test.partition("[")[0] for tests, _ in BROKEN.values() for test in tests}
    assert sorted(TESTS) == sorted(named)
