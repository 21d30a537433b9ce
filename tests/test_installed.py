"""Third parties: a provider installed as a wheel with only an entry point is found, selected and driven,
and each way to get that wrong is refused by a sentence that names the distribution."""

import json
import os
import subprocess
import sys
import zipfile

import pytest

GOOD = """
from paysession.provider import Capabilities, Outcome, Redirect, hookimpl

class Later:
    capabilities = Capabilities(capture="full", refund="full")

    def __init__(self, api_key: str = "none"):
        self.api_key = api_key

    @hookimpl
    def initiate(self, session, operation):
        return Outcome.requires_more(next_action=Redirect("https://later.example"), data={"key": self.api_key})

    @hookimpl
    def authorize(self, session, operation):
        return Outcome.authorized()

    @hookimpl
    def capture(self, session, operation):
        return Outcome.captured(operation.amount)

    @hookimpl
    def refund(self, session, operation):
        return Outcome.refunded(operation.amount)

    @hookimpl
    def cancel(self, session, operation):
        return Outcome.canceled()
"""


def wheel(folder, source, name="paysession-later", module="later", entry="later = later:Later"):
    """Write a wheel, and return its path."""
    normal = name.replace("-", "_")
    info = f"{normal}-1.2.3.dist-info"
    path = folder / f"{normal}-1.2.3-py3-none-any.whl"
    files = {
        f"{module}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.3\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[paysession.providers]\n{entry}\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(file, text)
    return path


DRIVE = """
import json, sys
from paysession import Money, Payments, PaysessionError
try:
    with Payments.open("memory:", providers=["later"]) as pay:
        order = pay.create_collection(Money("42.00", "EUR"), reference="r")
        session = pay.initiate(order.id, provider="later")
        pay.authorize(session.id)
        pay.capture(session.id)
        session = pay.refund(session.id)
        told = {"refunded": session.refunded, "data": session.data,
                "from": [row.distribution for row in pay.providers() if row.selected]}
except PaysessionError as error:
    told = {"type": type(error).__name__, "message": str(error)}
print(json.dumps(told))
"""


@pytest.fixture
def drive(tmp_path):
    """Install wheels beside what is installed, and drive the provider in a process of its own."""

    def drive(*wheels, **environ):
        target = tmp_path / "site"
        for path in wheels:
            with zipfile.ZipFile(path) as archive:  # what an installer does with a pure wheel
                archive.extractall(target)
        done = subprocess.run(
            [sys.executable, "-c", DRIVE],
            env={**os.environ, "PYTHONPATH": str(target), **environ},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    return drive


def test_a_wheel_with_only_an_entry_point_is_found_selected_and_driven(drive, tmp_path):
    told = drive(wheel(tmp_path, GOOD), PAYSESSION_LATER__API_KEY="from the environment")
    assert told == {
        "refunded": 4200,
        "data": {"key": "from the environment"},
        "from": ["paysession-later 1.2.3"],
    }


BROKEN = {
    "missing hook": (GOOD.replace("def cancel", "def cancels").replace("    @hookimpl\n    def cancels", "    def cancels"),
                     "does not implement the hook 'cancel'"),
    "declared capability": (GOOD.replace("    @hookimpl\n    def refund", "    def refund"), "'refund', and its capabilities"),
    "unknown hook": (GOOD.replace("def cancel", "def void"), "unknown hook 'void'"),
    "keyword-only": (GOOD.replace("def cancel(self, session,", "def cancel(self, *, session,"), "keyword-only"),
    "defaulted": (GOOD.replace("def cancel(self, session, operation)", "def cancel(self, session, why=None)"), "a default"),
    "async": (GOOD.replace("def cancel", "async def cancel"), "async"),
    "API version": (GOOD.replace("class Later:", "class Later:\n    API_VERSION = 99"), "API_VERSION 99"),
    "import": ("import nothing_of_that_name", "cannot be imported: ModuleNotFoundError"),
    "syntax": ("def", "cannot be imported: SyntaxError"),
    "no such name": ("", "cannot be imported: AttributeError"),
}  # fmt: skip


FAST = {"missing hook", "API version", "import"}
"""One of its hooks, one of its version and one of its module; the others are of the slow tier."""


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        pytest.param(*case, id=name, marks=[] if name in FAST else [pytest.mark.slow])
        for name, case in BROKEN.items()
    ],
)
def test_a_broken_distribution_is_refused_by_name(drive, tmp_path, source, sentence):
    told = drive(wheel(tmp_path, source))
    assert told["type"] == "ProviderLoadError"
    assert sentence in told["message"]
    assert "paysession-later 1.2.3" in told["message"]


def test_two_distributions_with_one_name_are_refused(drive, tmp_path):
    told = drive(
        wheel(tmp_path, GOOD),
        wheel(tmp_path, GOOD, name="other-later", module="other", entry="later = other:Later"),
    )
    assert told["type"] == "ProviderLoadError"
    assert "other-later 1.2.3, paysession-later 1.2.3" in told["message"]


def test_an_unknown_setting_in_the_environment_is_refused(drive, tmp_path):
    told = drive(wheel(tmp_path, GOOD), PAYSESSION_LATER__API_KEX="x")
    assert told["type"] == "SettingsError"


def test_what_is_installed_beside_it_is_not_imported(drive, tmp_path):
    spy = wheel(tmp_path, "raise SystemExit('imported')", name="spy", module="spy", entry="spy = spy:Spy")
    assert drive(wheel(tmp_path, GOOD), spy)["refunded"] == 4200
