"""What gateways and callers write acts on no terminal, in no table and in no JSON."""

import json
import logging
from contextlib import suppress

import pytest
from click.testing import CliRunner

from paysession import Checkout, Declined, Money, OutcomeUnknown, Payments, PaysessionError
from paysession.provider import Capabilities, Instructions, Outcome, hookimpl
from paysession_cli import main, show
from paysession_cli.terminal import LogLines, Terminal, json_line, visible

ACTING = (
    "\x1b]0;owned\x07\x1b[2K\rcaptured\n\x00\x7f\x9b31m\u202e\u2066\u2028\u2029\u200b\ufeff\ud800\U000e0041"
)
HOSTILE = f"no{ACTING}[red]markup[/red] :smile: \u00e9\u4e2d\U0001f600"


def clean(text):
    """Say whether nothing in a text acts on a terminal but its own line breaks."""
    return all(character == "\n" or visible(character) == character for character in text)


@pytest.mark.parametrize("character", ACTING)
def test_what_acts_is_shown_as_an_escape(character):
    if character.isprintable():
        return
    assert visible(f"a{character}b") == f"a{character.encode('unicode_escape').decode()}b"
    told = json_line({"a": f"x{character}y"})
    assert clean(told)
    assert told.count("\n") == 1
    assert json.loads(told) == {"a": f"x{character}y"}


def test_ordinary_text_of_any_language_is_left_as_it_is():
    text = "Zürich 中文 العربية ไทย 😀 [red]x[/red]"
    assert visible(text) == text
    assert text in json_line([text], indent=2)
    assert visible("a\nb", lines=True) == "a\nb"
    assert visible("a\r\nb", lines=True) == "a\\r\nb"


class Hostile:
    """A gateway that writes what it likes into every text."""

    capabilities = Capabilities(capture="multiple", refund="multiple", lookup="none", local=False)
    mode = f"live{ACTING}"

    @hookimpl
    def initiate(self, session, operation):
        action = Instructions(f"kind{ACTING}", {f"key{ACTING}": HOSTILE})
        return Outcome.pending(next_action=action, reference="ref-1")

    @hookimpl
    def authorize(self, session, operation):
        raise Declined(f"code{ACTING}", HOSTILE)

    @hookimpl
    def capture(self, session, operation):
        raise Declined("no")

    @hookimpl
    def refund(self, session, operation):
        raise Declined("no")

    @hookimpl
    def cancel(self, session, operation):
        raise OutcomeUnknown(HOSTILE)


@pytest.fixture
def payments():
    with Payments.open("memory:", providers={"hostile": Hostile()}, environ={}) as payments:
        order = payments.create_collection(
            Money("42.00", "EUR"), reference=f"o{ACTING}".replace("\ud800", "").replace("\x00", "")
        )
        session = payments.initiate(order.id, provider="hostile", checkout=Checkout())
        for call in (payments.authorize, payments.cancel):
            with suppress(PaysessionError):
                call(session.id)
        yield payments


@pytest.mark.parametrize("as_json", [True, False])
def test_no_view_lets_a_gateways_text_act(payments, capsys, as_json):
    sessions, events, doubts = payments.sessions(), payments.events(), payments.in_doubt()
    session, providers = sessions[0], payments.providers()
    history = payments.history(session.id)
    assert doubts
    views = [
        (show.show_sessions, show.session_json, sessions),
        (show.show_events, show.event_json, events),
        (show.show_doubts, show.doubt_json, doubts),
        (show.show_history, show.operation_json, history),
        (show.show_providers, show.provider_json, providers),
        (show.show_collections, show.collection_json, payments.collections()),
    ]
    for table, tree, rows in views:
        table(rows) if not as_json else show.emit([tree(row) for row in rows])
    show.show_session(session) if not as_json else show.emit(show.session_json(session))
    out = capsys.readouterr().out
    assert clean(out)
    assert "owned" in out
    assert "[red]markup[/red]" in out.replace("\n", "")
    assert ":smile:" in out


def test_a_console_makes_visible_what_nobody_has_made_visible_before(capsys):
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"t{ACTING}")
    table.add_column(f"c{ACTING}")
    table.add_row(Text(f"r{ACTING}"))
    table.add_row(f"s{ACTING}")
    out = Terminal()
    out.print(table, Text(HOSTILE), HOSTILE, f"[bold]{ACTING}")
    printed = capsys.readouterr().out
    assert clean(printed)
    assert "[bold]" in printed


def test_what_the_library_logs_acts_on_no_terminal():
    record = logging.LogRecord(
        "paysession", logging.WARNING, __file__, 1, "Stripe says: %s", (HOSTILE,), None
    )
    assert clean(LogLines().format(record))


def test_an_unforeseen_error_is_shown_without_what_acts(monkeypatch, capsys):
    def boom(**_):
        raise RuntimeError(HOSTILE)

    for debug in ("", "1"):
        monkeypatch.setenv("PAYSESSION_DEBUG", debug)
        monkeypatch.setattr(main, "cli", boom)
        with pytest.raises(SystemExit):
            main.main()
        err = capsys.readouterr().err
        assert "owned" in err
        assert clean(err)
        assert ("Traceback" in err) is bool(debug)


def test_an_error_of_a_command_is_shown_without_what_acts(tmp_path):
    for options in ([], ["--json"]):
        done = CliRunner().invoke(
            main.cli, ["--db", f"sqlite:///{tmp_path}/x{ACTING[:6]}.db", "session", "show", "s", *options]
        )
        assert done.exit_code == 1
        assert "x\\x1b]0;ow.db" in done.stderr
        assert clean(done.output)
