"""Taking any one safeguard out of a shipped provider turns the contract red, and the test says which."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "safeguards"


def removed():
    spec = importlib.util.spec_from_file_location("paysession_safeguards", FOLDER / "suite.py")
    suite = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(suite)
    return {name: test for name, (_, _, test) in suite.REMOVED.items()}


REMOVED = removed()


REFUSED = {"PayPalKeyNotSent": "A PayPal-Request-Id is required"}
"""What the gateway's counterpart refuses by itself, before the kit can name the test."""

FAST = ("StripeKeyNotSent", "PayPalTimeoutDeclined")


@pytest.fixture(scope="module")
def said(tmp_path_factory, request):
    """Run the tests that are to find what this run asks for, all at once; return what each said."""
    here = [item for item in request.session.items if item.path == request.path]
    names = {item.callspec.params["name"] for item in here}
    folder = tmp_path_factory.mktemp("safeguards")
    (folder / "pytest.ini").write_text("[pytest]\n")
    tests = [f"{FOLDER / 'suite.py'}::Test{name}::{test}" for name, test in REMOVED.items() if name in names]
    command = [sys.executable, "-m", "pytest", "-c", folder / "pytest.ini", "-p", "no:cacheprovider", "-rf"]
    done = subprocess.run([*command, *tests], capture_output=True, text=True, check=False, cwd=folder)
    return done.stdout


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in REMOVED]
)
def test_a_safeguard_taken_out_of_a_shipped_provider_turns_the_contract_red(said, name):
    assert f"::Test{name}::{REMOVED[name]}" in said.partition("short test summary")[2], said
    assert REFUSED.get(name, f"docs/contract-kit.md, {REMOVED[name].partition('[')[0]}") in said
