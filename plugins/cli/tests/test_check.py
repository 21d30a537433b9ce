"""paysession check: the contract of an installed provider, run and told."""

import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from paysession_cli.grade import kit_digest
from paysession_testing.contract.suite import TESTS

PROVIDER = """
from paysession_manual import Manual

class Careless(Manual):
    def __init__(self):
        super().__init__(auto_authorize=True)
"""

CONTRACT = """
import pytest
from careless import Careless
from paysession_testing import BaseProviderContract, Counterpart

class Office(Counterpart):
    imports = ("paysession_manual",)
    cannot = {"decline": "nobody declines"}
    def approve(self, session):
        return {"by": "ann"}

class CarelessContract(BaseProviderContract):
    test_data_is_json = None

    @pytest.fixture
    def gateway(self):
        return Office()

    @pytest.fixture
    def make_provider(self):
        return lambda url: Careless()

class SilentContract(CarelessContract):
    @pytest.fixture
    def gateway(self):
        pytest.skip("no time for this")
"""


SCRIPT = """
import contextlib, functools, io, json, sys
import paysession_cli.check
from paysession_cli.main import main

# A contract takes seconds: it is run once, and what is asked about it is answered from that.
paysession_cli.check.run_contract = functools.cache(paysession_cli.check.run_contract)

done = []
for arguments in json.load(sys.stdin):
    sys.argv = ["paysession", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as stdout, contextlib.redirect_stderr(io.StringIO()) as stderr:
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
    done.append({"stdout": stdout.getvalue(), "stderr": stderr.getvalue(), "returncode": code})
json.dump(done, sys.stdout)
"""
COMMANDS = (
    ("check", "manual"),
    ("check", "manual", "--grade", "--json"),
    ("check", "careless"),
    ("check", "careless", "--json"),
    ("check", "silent"),
    ("check", "careless", "-x", "--json"),
    ("check", "manual", "-k", "test_data_is_json", "--json"),
    ("check", "manual", "-k", "nix"),
)


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """A distribution beside what is installed, with a provider and its contract."""
    folder = tmp_path_factory.mktemp("beside")
    info = folder / "careless-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: careless\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[paysession.contracts]\ncareless = careless_contract:CarelessContract\nsilent = careless_contract:SilentContract\n"
        "nothing = careless_contract:Office\n[paysession.providers]\ncareless = careless:Careless\nbare = careless:Careless\n"
    )
    (folder / "careless.py").write_text(PROVIDER)
    (folder / "careless_contract.py").write_text(CONTRACT)
    return folder


@pytest.fixture(scope="module")
def ran(beside):
    """What each of `COMMANDS` said, in one process of their own: not inside this run of pytest."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PAYSESSION_")}
    # Plugins of pytest that nothing here uses take a while to load.
    clean["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(COMMANDS), capture_output=True, text=True,
        cwd=beside, env={**clean, "PYTHONPATH": str(beside)}, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(zip(COMMANDS, json.loads(done.stdout), strict=True))


@pytest.fixture
def check(ran):
    """Return a function that returns what `subprocess.run` would for one of `COMMANDS`."""
    return lambda *arguments: SimpleNamespace(**ran["check", *arguments])


def test_the_contract_of_an_installed_provider_is_run_and_told_as_a_table(check):
    done = check("manual")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_data_is_json" in done.stdout
    assert "…" not in done.stdout
    assert "capabilities say local=True: there is no gateway" in done.stdout
    assert re.search(r"^paysession-manual 0\.1\.0: \d+ passed, \d+ not declared$", done.stdout, re.MULTILINE)


def test_what_fails_is_named_with_its_words_and_the_exit_status_is_1(check):
    done = check("careless", "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert told["distribution"] == "careless 1.0"
    failed = {row["test"]: row["words"] for row in told["tests"] if row["outcome"] == "failed"}
    assert told["failed"] == len(failed) == 2
    assert "overrides or deletes test_data_is_json" in failed["test_data_is_json"]
    assert "fix:" in failed["test_nothing_is_authorized_before_the_payer_acts"]


def test_failures_are_shown_below_the_table(check):
    done = check("careless")
    assert "Nothing is authorized before the payer has approved." in done.stdout
    assert re.search(r"^careless 1\.0: \d+ passed, 2 failed, \d+ not declared$", done.stdout, re.MULTILINE)


def test_the_command_says_the_grade_and_why(check):
    done = check("manual", "--grade", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["grade"] == "gold"
    assert told["criteria"]["lookups"] == {"met": None, "why": "there is no gateway"}
    assert told["contract"] == kit_digest(list(TESTS))


def test_what_the_contracts_author_skips_is_no_success(check):
    done = check("silent")
    assert done.returncode == 1
    assert "no time for this" in done.stdout


def test_the_contract_stops_at_the_first_failure(check):
    done = check("careless", "-x", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["failed"] == 1
    assert told["tests"][-1]["outcome"] == "failed"


def test_one_test_of_the_contract_is_run(check):
    done = check("manual", "-k", "test_data_is_json", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [(row["test"], row["outcome"]) for row in json.loads(done.stdout)["tests"]] == [
        ("test_data_is_json", "passed")
    ]


def test_a_test_that_the_contract_has_not_is_wrong_usage(check):
    done = check("manual", "-k", "nix")
    assert done.returncode == 2
    assert "Invalid value for '-k': 'nix' matches no test of the contract" in done.stderr


@pytest.mark.parametrize("part", [["-x"], ["-k", "refund"]], ids=" ".join)
@pytest.mark.parametrize("grade", [["--grade"], ["--write"], ["--tests", "."]], ids=" ".join)
def test_no_grade_is_given_for_a_part_of_the_contract(in_process, part, grade):
    done = in_process("check", "manual", *part, *grade)
    assert done.returncode == 2
    assert "a grade is that of the whole contract" in done.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nobody", "no installed distribution offers a contract for 'nobody'"),
        ("bare", "the provider 'bare' is installed, and its distribution names no contract"),
        ("nothing", "'nothing' of careless 1.0 is no BaseProviderContract"),
    ],
)
def test_a_provider_without_a_contract_is_told_in_one_sentence(beside, in_process, monkeypatch, name, words):
    monkeypatch.syspath_prepend(beside)
    done = in_process("check", name)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_without_pytest_it_says_what_to_install(in_a_process):
    done = in_a_process("check", "manual", before="import sys; sys.modules['pytest'] = None")
    assert done.returncode == 1
    assert "pip install paysession-testing" in done.stderr
