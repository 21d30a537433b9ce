"""The providers among the documentation's examples pass the contract."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "docs/examples"


LIVES = "life or declines or crash or forged or duplicate or secret"
"""What the fast tier tries of the smallest example, by the names of the contract's tests."""


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("later", LIVES),
        *(pytest.param(name, "", marks=pytest.mark.slow) for name in ("later", "mollie", "vipps", "adyen")),
    ],
)
def test_an_example_passes_the_contract(name, chosen, tmp_path):
    folder = EXAMPLES / name
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, folder / "tests"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.parametrize("name", ["mollie", "vipps", "adyen"])
def test_a_worked_example_is_read_in_one_sitting(name):
    (module,) = (EXAMPLES / name / "src").glob("*.py")
    # A tenth of it bounds answers and guards where the key is sent.
    assert sum(bool(line.strip()) for line in module.read_text().splitlines()) < 275
