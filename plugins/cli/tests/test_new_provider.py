"""paysession new-provider: a package from the template, and every way to ask for one wrongly."""

import importlib
import json
import re
import sys
import tomllib

import pytest


@pytest.fixture
def new(in_process):
    def new(*arguments, status=0):
        done = in_process("new-provider", *arguments)
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return new


def test_a_complete_package_is_made(new, tmp_path):
    told = json.loads(new("north-pay", "--author", "Jenny Rosen", "--json").stdout)
    assert told == {
        "folder": "paysession-north-pay",
        "files": [
            ".github/workflows/ci.yml",
            ".gitignore",
            "CHANGELOG.md",
            "LICENSE",
            "README.md",
            "pyproject.toml",
            "src/paysession_north_pay/__init__.py",
            "src/paysession_north_pay/contract.py",
            "src/paysession_north_pay/data.py",
            "src/paysession_north_pay/gateway.py",
            "src/paysession_north_pay/provider.py",
            "src/paysession_north_pay/py.typed",
            "tests/test_contract.py",
        ],
    }
    folder = tmp_path / "paysession-north-pay"
    for path in folder.rglob("*"):
        if path.is_file():
            text = path.read_text()
            compile(text, str(path), "exec") if path.suffix == ".py" else None
            assert not re.search(r"(?<!\$)\{\{|\{%", text), path
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["name"] == "paysession-north-pay"
    assert "paysession>=0.1,<0.2" in project["project"]["dependencies"]
    assert project["project"]["entry-points"]["paysession.providers"] == {
        "north-pay": "paysession_north_pay:NorthPay"
    }
    assert project["project"]["entry-points"]["paysession.contracts"] == {
        "north-pay": "paysession_north_pay.contract:NorthPayContract"
    }
    assert "Jenny Rosen" in (folder / "LICENSE").read_text()
    assert "${{ matrix.python }}" in (folder / ".github/workflows/ci.yml").read_text()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"api_key": ""}, "api_key is empty"),
        ({"api_key": "sk_1", "timeout": 0}, "'timeout' must be > 0"),
        ({"api_key": "sk_1", "timeout": float("inf")}, "'timeout' must be <= 300"),
    ],
    ids=["empty key", "no time", "endless time"],
)
def test_its_provider_refuses_settings_with_which_no_request_could_go_well(
    new, tmp_path, monkeypatch, settings, words
):
    new("acme")
    monkeypatch.syspath_prepend(tmp_path / "paysession-acme/src")
    for name in [name for name in sys.modules if name.partition(".")[0] == "paysession_acme"]:
        monkeypatch.delitem(sys.modules, name)
    provider = importlib.import_module("paysession_acme").Acme
    with pytest.raises(ValueError, match=words):
        provider(**settings)


def test_it_says_what_to_do_next(new):
    said = new("acme").stdout
    assert "cd paysession-acme" in said
    assert "src/paysession_acme/contract.py" in said


def test_what_is_there_is_not_written_over(new, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here/mine.txt").write_text("mine")
    done = new("acme", "--to", "here", status=1)
    assert "here is there already, and not empty" in done.stderr
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("name", ["Acme", "acme_pay", "1st", "-x", "acme-", "a" * 21, "../acme", ""])
def test_a_name_that_is_none_is_refused(new, name):
    done = new("--", name, status=1)
    assert "a provider's name is 1 to 20 small letters, digits and hyphens" in done.stderr


def test_without_copier_it_says_what_to_install(new, monkeypatch):
    monkeypatch.setitem(sys.modules, "copier", None)
    done = new("acme", status=1)
    assert "pip install 'paysession-cli[new]'" in done.stderr
