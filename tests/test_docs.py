"""The documentation says what is so: its examples run, its tables are the code's own."""

import re
from pathlib import Path

import pytest

from paysession.hooks import ObserverHooks, ProviderHooks
from paysession.lifecycle import ALLOWED
from paysession.operation import Kind
from paysession.outcome import ANSWERS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("plugins/*/README.md"))]


def examples(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if examples(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_the_examples_of_a_page_run_in_their_order(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "example"}
    promised = []
    for example in examples(page):
        exec(compile(example, str(page), "exec"), names)
        promised += re.findall(r"^print\(.*\)  # (\S.*)$", example, re.MULTILINE)
    printed = capsys.readouterr().out
    for words in promised:
        assert words in printed or " nobody " in words
    if "payments" in names:
        names["payments"].close()


def test_the_table_of_the_lifecycle_is_the_codes_own():
    rows = [
        f"| {kind} | {', '.join(sorted(ALLOWED[kind]))} | {', '.join(sorted(ANSWERS[kind]))} |"
        for kind in Kind
    ]
    assert "\n".join(rows) in (ROOT / "docs/lifecycle.md").read_text()


def test_every_hook_is_on_the_page_for_authors_with_its_arguments():
    page = (ROOT / "docs/provider.md").read_text()
    for spec in (ProviderHooks, ObserverHooks):
        for name, hook in vars(spec).items():
            if name.startswith("_"):
                continue
            arguments = ", ".join(hook.__code__.co_varnames[1 : hook.__code__.co_argcount])
            row = re.search(rf"`{name}`[^|\n]*\|([^|\n]*)\|", page)
            assert f"`{name}({arguments})`" in page or (row and arguments in row[1]), name


def test_the_readme_begins_with_the_two_commands():
    shell = re.findall(r"^```console\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert shell[0].strip().endswith("paysession demo")
    assert shell[1].strip().endswith("pytest")


def test_every_error_is_on_the_page_about_errors():
    from paysession import errors

    page = (ROOT / "docs/errors.md").read_text()
    leaves = [
        name
        for name in errors.__all__
        if not getattr(errors, name).__subclasses__() and name != "WebhookRejected"
    ]
    assert not [name for name in leaves if name not in page]
