"""The documentation says what is so: its examples run, its tables are the code's own, nothing is left out."""

import ast
import importlib
import importlib.util
import inspect
import logging
import pickle
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import get_args

import click
import pytest

import paysession
from paysession import Money, Payments, errors
from paysession._plugins.settings import _FILE_KEYS
from paysession.hooks import ObserverHooks, ProviderHooks
from paysession.operation import EventType
from paysession.session import ConflictKind
from paysession_cli.main import cli
from paysession_testing import FakeProvider

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [
    page
    for page in (
        *ROOT.glob("*.md"),
        *sorted(DOCS.glob("**/*.md")),
        *ROOT.glob("core/README.md"),
        *sorted(ROOT.glob("plugins/*/README.md")),
    )
    if "_build" not in page.parts
]


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(page, language):
    """Return the blocks of a language, each moved down to its own line of the page."""
    text = page.read_text()
    found = re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return ["\n" * text[: block.start(1)].count("\n") + block[1] for block in found]


# --- what is shown runs ---------------------------------------------------------------------------


class Told:
    """A ``print`` that remembers its lines one by one."""

    def __init__(self):
        self.lines = []

    def __call__(self, *words):
        self.lines.append(" ".join(map(str, words)))


@pytest.fixture(scope="module")
def stripe_account():
    """What the pages about Stripe have put into the environment: a test key, for a Stripe on this machine."""
    demo = pytest.importorskip("paysession_stripe.demo")
    with demo.Demo(environ={}) as account:
        yield {
            "PAYSESSION_STRIPE__API_KEY": account.settings["api_key"],
            "PAYSESSION_STRIPE__API_BASE": account.settings["api_base"],
            "PAYSESSION_STRIPE__PUBLISHABLE_KEY": "pk_test_sandbox",
        }


def promise(statement, example):
    """Return the comment behind a ``print`` at the margin: what it is going to print."""
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return None
    rest = example.splitlines()[statement.end_lineno - 1][statement.end_col_offset :]
    promised = re.fullmatch(r"  # (\S.*)", rest)
    return promised[1] if promised and getattr(statement.value.func, "id", None) == "print" else None


@pytest.fixture
def logger():
    """Return the library's logger, which is put back to how it was."""
    found = logging.getLogger("paysession")
    handlers, level = list(found.handlers), found.level
    yield found
    found.handlers[:] = handlers
    found.setLevel(level)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
@pytest.mark.usefixtures("logger")
def test_the_examples_of_a_page_run_in_their_order_and_print_what_they_say(
    page, tmp_path, monkeypatch, request
):
    monkeypatch.chdir(tmp_path)
    if "export PAYSESSION_STRIPE__API_KEY" in page.read_text():
        for name, value in request.getfixturevalue("stripe_account").items():
            monkeypatch.setenv(name, value)
    for text in blocks(page, "toml"):
        name = re.match(r"\s*# (\S+\.toml)\n", text)
        if name:
            (tmp_path / name[1]).write_text(text)
    told = Told()
    names = {"__name__": "example", "print": told}
    for example in blocks(page, "python"):
        tree = ast.parse(example)
        for statement in tree.body:
            told.lines.clear()
            exec(compile(ast.Module([statement], []), str(page), "exec"), names)
            promised = promise(statement, example)
            if promised is not None:
                assert told.lines == [promised], f"line {statement.lineno}"
    if "payments" in names:
        names["payments"].close()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_commands_of_a_page_exist_with_their_options(page):
    for line in "".join(blocks(page, "console") + blocks(page, "bash")).splitlines():
        found = re.search(r"(?:^\$ |bin/)(paysession [^#|]*)", line)
        if not found or "uv run" in line:
            continue
        words = shlex.split(found[1])[1:]
        command, context = cli, click.Context(cli, info_name="paysession")
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            command = command.get_command(context, words.pop(0))
            context = click.Context(command, parent=context)
        known = {option for parameter in command.params for option in parameter.opts}
        unknown = {word.partition("=")[0] for word in words if word.startswith("--")} - known
        assert not unknown - {"--help", "--version"}, line
        arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
        assert sum(argument.required for argument in arguments) <= len(words), line


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_links_of_a_page_lead_to_files(page):
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)\s#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_first_example_can_be_run_again_and_nothing_happens_twice(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example = blocks(DOCS / "index.md", "python")[0]
    for _ in range(2):
        exec(compile(example, "index.md", "exec"), {"__name__": "example"})
    with Payments.open("sqlite:///payments.db", providers=["manual"]) as payments:
        (session,) = payments.sessions()
        kinds = [operation.kind for operation in payments.history(session.id)]
    assert kinds == ["initiate", "authorize", "capture", "refund"]
    assert capsys.readouterr().out == "authorized 20.00 EUR 5.00 EUR\n" * 2


def test_the_readme_begins_with_the_two_commands():
    shell = blocks(ROOT / "README.md", "console")
    assert shell[0].strip().endswith("paysession demo")
    assert shell[1].strip().endswith(" pytest -n 3 --dist loadfile")  # nothing is left out


# --- what is generated is up to date --------------------------------------------------------------


@cache
def generator():
    """Import docs/generate.py, which is no part of any package."""
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_the_reference_takes_from_the_code_is_the_codes_own():
    stale = [name_of(path) for path, text in generator().generated().items() if path.read_text() != text]
    assert not stale, "run: python docs/generate.py"


def test_the_table_of_transitions_covers_every_operation_answer_and_status():
    from paysession._ledger.rules import ALLOWED
    from paysession.outcome import ANSWERS

    found = {(kind, answer, before) for kind, answer, before, _ in generator().transitions()}
    for kind, statuses in ALLOWED.items():
        for answer in (*ANSWERS[kind], "declined", "not applied", "unknown"):
            for status in ["new"] if kind == "initiate" else statuses:
                # An update is answered `authorized` where it raises what is authorized, and only there.
                never = kind == "update" and answer in ANSWERS[kind]
                never = never and (answer == "authorized") is not (status == "authorized")
                assert ((kind, answer, status) in found) is not never


# --- nothing is left out --------------------------------------------------------------------------


@pytest.fixture(scope="session", params=["directives", pytest.param("sphinx", marks=pytest.mark.slow)])
def documented(request, tmp_path_factory):
    """Every object that the documentation describes: as its pages ask for, and as Sphinx has read them."""
    return in_directives() if request.param == "directives" else in_sphinx(tmp_path_factory)


DIRECTIVE = re.compile(r"^\.\. (currentmodule|auto\w+|data):: (\S+)\n((?:   :.*\n)*)", re.MULTILINE)


def in_directives():
    """Return what the directives of the pages name, without Sphinx, which takes ten times as long as all others."""
    found, module = set(), ""
    for page in PAGES:
        for word, name, options in DIRECTIVE.findall(page.read_text()):
            if word == "currentmodule":
                module = name
                continue
            full = name if resolve(name) is not None else f"{module}.{name}"
            members = re.search(r":members:(.*)", options)
            of_all = vars(resolve(full)) if members and not members[1].strip() else ()
            chosen = re.findall(r"\w+", members[1]) if members else []
            found |= {full, *(f"{full}.{member}" for member in (*chosen, *of_all))}
    return found


def in_sphinx(tmp_path_factory):
    """Return the objects that Sphinx has read; pages are not written."""
    built = tmp_path_factory.mktemp("docs")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "dummy",
        "-d",
        built / "trees",
    ]
    done = subprocess.run(
        [*command, DOCS, built / "none"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    found = pickle.loads((built / "trees/environment.pickle").read_bytes()).domaindata["py"]
    return {*found["objects"], *found["modules"]}


@cache
def resolve(name):
    module, _, rest = name, "", ""
    while True:
        try:
            found = importlib.import_module(module)
        except ImportError:
            module, _, last = module.rpartition(".")
            rest = f"{last}.{rest}" if rest else last
            if not module:
                return None
            continue
        break
    for part in rest.split(".") if rest else ():
        found = getattr(found, part, None)
    return found


PUBLIC = ["paysession", "paysession.provider", "paysession_testing"]
PUBLIC += [name for folder in sorted(ROOT.glob("plugins/*/")) for name in generator().public_modules(folder)]


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(module, documented):
    objects = [found for found in map(resolve, documented) if found is not None]
    home = importlib.import_module(module)
    missing = []
    for name in home.__all__:
        thing = getattr(home, name)
        if isinstance(thing, click.Command):
            continue  # the page about the command line is generated from it
        described = any(found is thing for found in objects if not isinstance(found, int | str))
        if not (described or f"{module}.{name}" in documented or f"paysession.{name}" in documented):
            missing.append(name)
    assert not missing


@pytest.mark.parametrize("of", [paysession.Payments, paysession.AsyncPayments])
def test_every_call_is_in_the_reference(of, documented):
    calls = [name for name, _ in inspect.getmembers(of, callable) if not name.startswith("_")]
    assert not [name for name in calls if f"paysession.Payments.{name}" not in documented]


def test_every_hook_is_in_the_reference_and_on_the_page_for_authors_with_its_arguments(documented):
    reference, guide = (DOCS / "reference/hooks.md").read_text(), (DOCS / "provider.md").read_text()
    for spec in (ProviderHooks, ObserverHooks):
        for name, hook in vars(spec).items():
            if name.startswith("_"):
                continue
            arguments = ", ".join(hook.__code__.co_varnames[1 : hook.__code__.co_argcount])
            assert f"| `{name}({arguments})` |" in reference, name
            assert f"paysession.hooks.{spec.__name__}.{name}" in documented
            row = re.search(rf"`{name}`[^|\n]*\|([^|\n]*)\|", guide)
            assert f"`{name}({arguments})`" in guide or (row and arguments in row[1]), name


def test_every_error_is_on_the_page_about_errors_with_what_to_do():
    rows = re.findall(r"^\| `(\w+)` \|.*\|.*\|$", (DOCS / "reference/errors.md").read_text(), re.MULTILINE)
    tree = [getattr(errors, name) for name in errors.__all__]
    leaves = [error.__name__ for error in tree if not any(error in other.__bases__ for other in tree)]
    assert sorted(rows) == sorted(leaves)


def test_every_type_of_event_and_every_conflict_is_on_the_page_about_events():
    page = (DOCS / "reference/events.md").read_text()
    types, conflicts = page.split("## Conflicts")
    assert set(re.findall(r"^\| `([a-z_.]+)` \|", types, re.MULTILINE)) == set(get_args(EventType))
    assert set(re.findall(r"^\| `([a-z_]+)` \|", conflicts, re.MULTILINE)) == set(get_args(ConflictKind))


def test_every_setting_is_on_the_page_about_configuration():
    page = (DOCS / "reference/configuration.md").read_text()
    parameters = [name for name in inspect.signature(Payments.open).parameters if name != "cls"]
    assert not [name for name in parameters if f"`{name}`" not in page and name not in page]
    rows = re.findall(r"^\|.*?\|.*?\|.*?\|(.*)\|$", page, re.MULTILINE)
    named = set(re.findall(r"`\[?(\w+)", " ".join(rows)))
    assert set(_FILE_KEYS) <= named


def test_every_setting_of_the_manual_provider_is_on_its_page():
    from paysession_manual import Manual

    page = (DOCS / "manual.md").read_text()
    assert not [name for name in inspect.signature(Manual).parameters if f"`{name}`" not in page]


def test_ids_and_keys_look_as_authors_are_told():
    assert "It is `ps_` and 28 hexadecimal digits" in (DOCS / "provider.md").read_text()
    with Payments.open("memory:", providers=["manual"]) as payments:
        order = payments.create_collection(paysession.Money("42.00", "EUR"), reference="order-1")
        for key in (None, "a key of the host's"):
            session = payments.initiate(order.id, provider="manual", idempotency_key=key)
            (operation,) = payments.history(session.id)
            assert re.fullmatch(r"ps_[0-9a-f]{28}", session.id)
            assert re.fullmatch(rf"{session.id}-1-[a-z2-7]{{8}}", operation.key)


def table(page, heading):
    """Return the rows of the table below a heading, by their first cell."""
    rows = re.search(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", page.read_text(), re.MULTILINE)[1]
    return {re.match(r"\| (.*?) \|", row)[1].strip("`"): row for row in rows.splitlines()}


def tables(page, heading):
    """Return the first cells of all tables below such a heading."""
    found = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", page.read_text(), re.MULTILINE)
    return [re.match(r"\| (.*?) \|", row)[1].strip("`") for part in found for row in part.splitlines()]


def test_every_setting_and_every_status_of_stripe_is_on_its_page():
    from paysession_stripe import Stripe, StripeOptions
    from paysession_stripe.evidence import STATUSES

    page = DOCS / "stripe.md"
    assert set(inspect.signature(Stripe).parameters) == set(table(page, "setting"))
    assert set(StripeOptions.names()) == {
        name for row in tables(page, "option") for name in row.split("`, `")
    }
    statuses = table(page, "PaymentIntent")
    assert set(STATUSES) == set(statuses)
    assert all(f"`{STATUSES[name]}`" in row for name, row in statuses.items())


def test_every_setting_and_option_of_paypal_is_on_its_page():
    from paysession_paypal import PayPal
    from paysession_paypal.data import PayPalData
    from paysession_paypal.settings import Settings
    from paysession_paypal.sources import SOURCES

    page = DOCS / "paypal.md"

    def cells(heading):
        return [name for row in table(page, heading) for name in row.split("`, `")]

    settings = set(inspect.signature(PayPal).parameters)
    assert settings == set(cells("setting")) == set(described(Settings))
    readme = (ROOT / "plugins/paypal/README.md").read_text()
    named = re.search(r"^Settings, described in .*?: (.*?)\.$", readme, re.MULTILINE | re.DOTALL)[1]
    assert settings == set(re.findall(r"`(\w+)`", named))
    options = {name for name, words in described(PayPalData).items() if words.endswith("From the host.")}
    assert options == set(cells("in `data`"))
    rows = table(page, "source").values()
    assert {*SOURCES} == {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def described(cls):
    """Return what a class's docstring says of each argument or attribute."""
    part = re.split(r"^ *(?:Args|Attributes):\n", inspect.cleandoc(cls.__doc__), flags=re.MULTILINE)[1]
    rows = re.findall(r"^    (\w+): ((?:.*\n?)(?:^      .*\n?)*)", part, re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in rows}


def test_every_module_of_the_core_is_in_its_readme():
    rows = re.findall(r"^\| (.*`.*`) \| [^|]* \|$", (ROOT / "core/README.md").read_text(), re.MULTILINE)
    named = {name.removeprefix("paysession.") for row in rows for name in re.findall(r"`([\w.]+)`", row)}
    core = ROOT / "core/src/paysession"
    modules = {path.stem for path in [*core.iterdir(), *core.glob("_*/*.py")]}
    assert named == modules - {"__init__", "__pycache__", "py"}


def test_every_example_folder_has_its_guide():
    for folder in (DOCS / "examples").iterdir():
        guides = [*DOCS.glob("how-to/*.md"), *DOCS.glob("*.md")]
        assert any(f"examples/{folder.name}" in guide.read_text() for guide in guides), folder.name


def test_the_page_about_one_call_names_the_modules_that_a_call_passes():
    payments = Payments.open("memory:", providers={"fake": FakeProvider()})
    order = payments.create_collection(Money("42.00", "EUR"), reference="order-1")
    session = payments.initiate(order.id, provider="fake")
    passed = set()

    def note(frame, event, _):
        if event == "call":
            passed.add(frame.f_globals.get("__name__", ""))

    sys.setprofile(note)
    try:
        payments.authorize(session.id)
    finally:
        sys.setprofile(None)
    values = {f"paysession.{name}" for name in ("money", "operation", "outcome", "session", "text", "values")}
    passed = {name for name in passed if re.match(r"paysession\.(?!testing)", name)} - values
    table = (DOCS / "explanation/one-call.md").read_text().partition("What a lookup shows")[0]
    assert passed == set(re.findall(r"`(paysession\.[\w.]+)`", table))


def test_every_log_record_of_the_core_is_on_the_page_about_logging():
    page = " ".join((DOCS / "reference/logging.md").read_text().split())
    missing = []
    for path in sorted((ROOT / "core/src/paysession").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if not (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and isinstance(call.func.value, ast.Name)
                and call.func.value.id == "logger"
                and call.func.attr in ("info", "warning", "error", "exception")
            ):
                continue
            sentence = re.sub(r"%[sd]", "...", call.args[0].value)
            if f"`{sentence}`" not in page:
                missing.append(f"{path.name}: {sentence}")
    assert missing == []
