"""paysession check --grade: bronze, silver or gold, by what was run."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import evolve

import paysession_cli.grade as graded
from paysession.provider import Capabilities
from paysession_cli.grade import CRITERIA, FILE, Subject, grade_of, run_tests, tree_of, write

NOTIFIED = "test_a_notification_brings_the_ledger_up_to_date"
FORGED = "test_a_forged_notification_is_rejected"
BEST = Subject(
    name="manual",
    distribution="paysession-manual 0.1.0",
    outcomes={NOTIFIED: ["passed"], FORGED: ["passed", "passed"], "test_data_is_json": ["not declared"]},
    hooks=["initiate", "authorize", "cancel", "parse_webhook"],
    capabilities=Capabilities(lookup="consistent"),
    settings=["method", "iban"],
    module="paysession_manual",
    own=(10, 0),
)


def test_a_provider_that_meets_everything_is_gold():
    grade = grade_of(BEST)
    assert grade.grade == "gold"
    assert list(grade.findings) == [row.name for row in CRITERIA]


@pytest.mark.parametrize(
    ("change", "grade", "criterion"),
    [
        ({"capabilities": None}, "none", "hooks"),
        ({"outcomes": {"test_data_is_json": ["passed", "failed"]}}, "none", "contract"),
        ({"outcomes": {"test_data_is_json": ["passed", "skipped"]}}, "none", "contract"),
        ({"outcomes": {"test_data_is_json": ["not declared"]}}, "none", "contract"),
        ({"capabilities": Capabilities()}, "bronze", "lookups"),
        ({"hooks": ["initiate"]}, "bronze", "webhooks"),
        ({"outcomes": {NOTIFIED: ["passed"], FORGED: ["passed", "not declared"]}}, "bronze", "webhooks"),
        ({"capabilities": Capabilities(lookup="lagging", unsigned_webhooks=True)}, "bronze", "webhooks"),
        ({"own": None}, "silver", "wire tests"),
        ({"own": (9, 0)}, "silver", "wire tests"),
        ({"own": (50, 1)}, "silver", "wire tests"),
        ({"settings": ["a_setting_that_nobody_describes"]}, "silver", "docs"),
        ({"distribution": "paysession-unheard-of 1"}, "silver", "docs"),
    ],
)
def test_what_is_missing_lowers_the_grade_and_is_named(change, grade, criterion):
    found = grade_of(evolve(BEST, **change))
    assert found.grade == grade
    assert found.findings[criterion].met is False
    assert found.findings[criterion].why


def test_a_gateway_that_cannot_be_queried_may_be_gold():
    can = Capabilities(replay_window={"capture": timedelta(days=1), "refund": timedelta(days=1)})
    assert grade_of(evolve(BEST, capabilities=can)).grade == "gold"
    assert grade_of(evolve(BEST, capabilities=Capabilities())).grade == "bronze"


def test_without_a_gateway_only_what_applies_is_asked_for():
    local = evolve(BEST, capabilities=Capabilities(local=True), own=None, hooks=["initiate"])
    grade = grade_of(local)
    assert grade.grade == "gold"
    assert [name for name, row in grade.findings.items() if row.met is None] == [
        "lookups",
        "webhooks",
        "wire tests",
    ]


def test_own_tests_are_run_and_counted(tmp_path, monkeypatch):
    # Plugins of pytest that nothing here uses take a while to load.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (tmp_path / "test_own.py").write_text(
        "import pytest\n@pytest.mark.parametrize('n', range(3))\ndef test_n(n): assert n < 2\n"
    )
    assert run_tests(str(tmp_path)) == (2, 1)
    # The contract is run by itself, and would be three hundred tests of one's own.
    (tmp_path / "test_contract.py").write_text(
        "class Contract:\n def test_initiate_charges_nothing(self): pass\n def test_other(self): assert False\n"
        "class TestMine(Contract): pass\n"
    )
    assert run_tests(str(tmp_path)) == (2, 1)
    (tmp_path / "test_own.py").unlink()
    assert run_tests(str(tmp_path)) == (0, 0)
    (tmp_path / "test_own.py").write_text("import nothing_like_it\n")
    assert run_tests(str(tmp_path)) == (0, 1)


def test_the_file_is_written_into_the_package_and_is_the_same_each_time(tmp_path, monkeypatch):
    package = tmp_path / "graded_provider"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    subject = evolve(BEST, module="graded_provider.provider")
    path = write(subject, grade_of(subject))
    assert path == package / FILE
    first = path.read_text()
    write(subject, grade_of(subject))
    assert path.read_text() == first
    told = json.loads(first)
    assert (told["provider"], told["grade"], told["capabilities"]["lookup"]) == (
        "manual",
        "gold",
        "consistent",
    )
    assert told == tree_of(subject, grade_of(subject))


@pytest.mark.parametrize("path", sorted(Path(graded.__file__).parents[3].glob("*/src/*/" + FILE)), ids=str)
def test_a_grade_in_this_repository_is_what_its_criteria_come_to(path):
    """``paysession check NAME --write`` makes the file anew."""
    told = json.loads(path.read_text())
    missed = [row.grade for row in CRITERIA if told["criteria"][row.name]["met"] is False]
    above = ["bronze", "silver", "gold", None]
    reached = [grade for grade in above[:3] if not set(above[: above.index(grade) + 1]) & set(missed)]
    assert told["grade"] == reached[-1]
    assert told["distribution"].startswith(f"paysession-{told['provider']} ")
