"""A new provider's package, as somebody has it who installs wheels: made, built, installed, listed, tried."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NEW = "from paysession_cli.main import main; main()"


def run(*command, cwd, status=0):
    """Run a command away from this workspace; return what it printed."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**clean, "PAYSESSION_ACME__API_KEY": "sk_test", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of the new package, beside which there is room."""
    room = tmp_path_factory.mktemp("new-provider")
    run(sys.executable, "-c", NEW, "new-provider", "acme", cwd=room)
    return room / "paysession-acme"


@pytest.fixture(scope="module")
def python(folder):
    """Return the interpreter of an environment with nothing but wheels in it."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        assert not os.environ.get("CI"), "uv is needed here"
        pytest.skip("uv is not installed, which makes an environment in a moment")
    room = folder.parent
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", room / "wheels"]
    for package in (ROOT / "core", ROOT / "plugins/testing", ROOT / "plugins/cli", folder):
        run(*build, package, cwd=room)
    run(uv, "venv", "-q", "--python", sys.executable, "venv", cwd=room)
    python = room / "venv/bin/python"
    wanted = ["paysession-acme[testing]", "paysession-cli[new]"]
    run(uv, "pip", "install", "-q", "--python", python, "--find-links", "wheels", *wanted, cwd=room)
    return python


@pytest.mark.slow
def test_it_is_found_by_its_name(python, folder):
    rows = json.loads(run(python, "-c", NEW, "providers", "--db", "memory:", "--json", cwd=folder))
    assert [(row["name"], row["distribution"]) for row in rows] == [("acme", "paysession-acme 0.1.0")]


@pytest.mark.slow
def test_its_tests_run_and_say_what_to_write_next(python, folder):
    chosen = "test_initiate_charges_nothing or test_importing or stay_out_of_reprs"
    said = run(python, "-m", "pytest", "-q", "-k", chosen, cwd=folder, status=1)
    assert "write handle(): answer one request as your gateway would" in said
    assert "2 failed, 1 passed" in said


@pytest.mark.slow
def test_its_contract_is_run_by_name_and_the_template_is_in_the_wheel(python, folder):
    told = json.loads(run(python, "-c", NEW, "check", "acme", "--json", cwd=folder, status=1))
    assert told["distribution"] == "paysession-acme 0.1.0"
    assert told["passed"] and told["failed"]
    run(python, "-c", NEW, "new-provider", "another", cwd=folder.parent)
    assert (folder.parent / "paysession-another/.gitignore").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", [["ruff", "format", "--check", "."], ["ruff", "check", "."], ["mypy"]])
def test_it_is_clean_by_its_own_rules(folder, command):
    if find_spec(command[0]) is None:
        assert not os.environ.get("CI"), f"{command[0]} is needed here"
        pytest.skip(f"{command[0]} is not installed")
    run(sys.executable, "-m", *command, cwd=folder)


def test_it_is_what_the_tutorial_grows_from(tmp_path):
    run(sys.executable, "-c", NEW, "new-provider", "later", cwd=tmp_path)
    example = ROOT / "docs/examples/later"
    for name in ("__init__.py", "data.py", "gateway.py", "provider.py", "py.typed"):
        path = Path("src/paysession_later", name)
        assert (tmp_path / "paysession-later" / path).read_text() == (example / path).read_text()
