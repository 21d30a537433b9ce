"""The command as a person or a script would use it; each call here, a few of them in processes of their own."""

import json
import runpy
import sqlite3
import sys

import pytest
from attrs import evolve

from paysession import Declined, Money, NotSupported, Payments
from paysession.provider import Outcome, hookimpl
from paysession_testing import FakeProvider


def checked(call):
    """Return a function that makes a call of the command, and checks its exit status."""

    def run(*arguments, status=0, **environ):
        done = call(*arguments, **environ)
        assert status == done.returncode, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def answered(run):
    def ask(*arguments, **options):
        return json.loads(run(*arguments, "--json", **options).stdout)

    return ask


@pytest.fixture
def run(in_process):
    return checked(in_process)


@pytest.fixture
def ask(run):
    return answered(run)


def test_a_payers_data_is_erased_and_it_is_recorded_who_asked(run, ask, monkeypatch):
    monkeypatch.setenv("LOGNAME", "ann")
    ask("collection", "create", "42.00", "EUR", "--reference", "order-1001")
    id_ = ask("session", "initiate", "order-1001", "--email", "payer@example.com")["id"]
    assert "waits for its payer" in run("collection", "forget", "order-1001", status=1).stderr
    ask("session", "authorize", id_)
    ask("session", "capture", id_)
    assert ask("collection", "forget", "order-1001")["captured"] == "42.00"
    ask("collection", "forget", "order-1001", "--by", "bob")  # nothing is left to erase, or to record
    events = [row for row in ask("events") if row["type"] == "session.forgotten"]
    assert [row["by"] for row in events] == ["ann"]


def test_a_payment_and_a_failure_in_processes_of_their_own(in_a_process, tmp_path):
    run = checked(in_a_process)
    ask = answered(run)
    ask("collection", "create", "42.00", "EUR", "--reference", "order-1001")
    id_ = ask("session", "initiate", "order-1001", "--provider", "manual")["id"]
    assert ask("session", "authorize", id_)["authorized"] == "42.00"
    assert "42.00 EUR is left to capture" in run("session", "capture", id_, "42.01", status=1).stderr
    assert (tmp_path / "paysession.db").exists()


@pytest.mark.parametrize("caller", ["in_process", pytest.param("in_a_process", marks=pytest.mark.slow)])
def test_one_life_in_separate_calls(caller, request, tmp_path):
    run = checked(request.getfixturevalue(caller))
    ask = answered(run)
    made = ask("collection", "create", "42.00", "EUR", "--reference", "order-1001")
    assert (made["status"], made["amount"]) == ("not_paid", "42.00")
    session = ask("session", "initiate", "order-1001", "--provider", "manual")
    assert (session["status"], session["next_action"]["kind"]) == ("pending", "bank_transfer")
    assert "data" not in session
    id_ = session["id"]
    session = ask("session", "authorize", id_, "--by", "ann", "--reference", "12/3")
    assert (session["status"], session["authorized"]) == ("authorized", "42.00")
    ask("session", "capture", id_, "20.00", "--key", "ship-1")
    ask("session", "capture", id_, "20.00", "--key", "ship-1")
    ask("session", "capture", id_, "10.00", "--key", "ship-2")
    ask("session", "refund", id_, "5.00", "--reason", "broken")
    history = ask("session", "history", id_)
    assert (history["captured"], history["refunded"]) == ("30.00", "5.00")
    assert [row["kind"] for row in history["operations"]] == [
        "initiate", "authorize", "capture", "capture", "refund",
    ]  # fmt: skip
    assert ask("session", "cancel", id_)["authorized"] == "30.00"
    assert ask("collection", "show", "order-1001")["status"] == "partially_refunded"
    assert [row["id"] for row in ask("session", "list", "--reference", "order-1001")] == [id_]
    assert [row["id"] for row in ask("session", "list", "--status", "authorized", "--no-conflict")] == [id_]
    for others in (["--conflict"], ["--gateway-reference", "x"], ["--created-before", "2020-01-01"]):
        assert ask("session", "list", *others) == []
    assert [row["id"] for row in ask("collection", "list")] == [made["id"]]
    assert ask("session", "sync", id_)["id"] == ask("session", "show", id_)["id"]
    events = ask("events")
    assert [row["type"] for row in ask("events", "--after", events[0]["cursor"])][0] == "session.authorized"
    assert ask("recover")["looked"] == 0
    assert ask("recover", "--provider", "manual", "--now")["looked"] == 0
    assert "'typo'" in run("recover", "--provider", "typo", status=1).stderr
    assert ask("in-doubt") == []
    assert ask("collection", "update", "order-1001", "50.00")["amount"] == "50.00"
    assert (tmp_path / "paysession.db").exists()


def test_every_command_that_changes_something_keeps_who_asked(run, ask, monkeypatch):
    monkeypatch.setenv("LOGNAME", "ann")
    assert ask("collection", "create", "42.00", "EUR", "--reference", "order-1001")["by"] == "ann"
    id_ = ask("session", "initiate", "order-1001", "--by", "web")["id"]
    ask("session", "update", id_, "40.00")
    ask("session", "authorize", id_, "--by", "ben")
    ask("session", "capture", id_, "30.00", "--by", "cleo")
    ask("session", "refund", id_, "1.00")
    ask("session", "cancel", id_, "--by", "dora")
    history = ask("session", "history", id_)["operations"]
    asked = ["web", "ann", "ben", "cleo", "ann", "dora"]
    assert [row["by"] for row in history] == asked
    assert [row["by"] for row in ask("events")] == asked
    assert ask("collection", "update", "order-1001", "35.00", "--by", "eve")["by"] == "eve"
    event = ask("events")[-1]
    assert (event["type"], event["by"], event["session_id"], event["status"]) == (
        "collection.updated",
        "eve",
        None,
        None,
    )
    assert "dora" in run("session", "history", id_).stdout
    assert "eve" in run("events").stdout
    assert "by is a str" in run("session", "refund", id_, "1.00", "--by", "", status=1).stderr


def test_the_same_commands_answer_a_person(run, tmp_path):
    # Whatever else is installed is not selected here, and so not missing its settings.
    (tmp_path / "manual.toml").write_text('store = "memory:"\n[providers.manual]\n')
    run("collection", "create", "42.00", "EUR", "--reference", "order-1001")
    id_ = json.loads(run("session", "initiate", "order-1001", "--json").stdout)["id"]
    assert "iban" not in run("session", "show", id_).stdout
    assert "42.00 EUR" in run("session", "authorize", id_).stdout
    for command in (
        ["session", "history", id_], ["session", "list"], ["collection", "list"], ["events"], ["recover"],
        ["in-doubt"], ["collection", "show", "order-1001"], ["providers", "--config", "manual.toml"],
    ):  # fmt: skip
        assert run(*command).stdout.strip()


def test_old_events_are_pruned(ask, tmp_path, run):
    made = ask("collection", "create", "42.00", "EUR", "--reference", "order-1001")
    ask("session", "authorize", ask("session", "initiate", made["id"])["id"], "--by", "ann")
    connection = sqlite3.connect(tmp_path / "paysession.db")
    connection.execute("UPDATE event SET occurred_at = occurred_at - 86400000000 * 500")
    connection.commit()
    connection.close()
    count = len(ask("events"))
    assert ask("prune", "--events", "600") == {"notifications": 0, "events": 0, "dry_run": False}
    assert ask("prune", "--dry-run") == {"notifications": 0, "events": count - 1, "dry_run": True}
    assert len(ask("events")) == count
    (tmp_path / "keep.toml").write_text('[retention]\nevents = "forever"\n')
    assert ask("prune", "--config", "keep.toml", "--db", "paysession.db")["events"] == 0
    assert f"deleted: 0 notifications, {count - 1} events" in run("prune").stdout
    assert len(ask("events")) == 1
    (tmp_path / "keep.toml").write_text("[retention]\nevents = 0\n")
    assert "a day or more" in run("prune", "--config", "keep.toml", "--db", "paysession.db", status=1).stderr


def test_sessions_are_listed_the_newest_first(ask):
    made = ask("collection", "create", "42.00", "EUR", "--reference", "order-1001")
    ids = [
        ask("session", "initiate", made["id"], "--amount", "1.00", "--key", str(n))["id"] for n in range(4)
    ]
    assert [row["id"] for row in ask("session", "list")] == ids[::-1]
    assert [row["id"] for row in ask("session", "list", "--oldest", "--created-after", "2020-01-01")] == ids
    assert [row["id"] for row in ask("session", "list", "--after", ids[2], "--limit", "1")] == [ids[1]]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["collection", "create", "12.345", "EUR", "--reference", "r"], "more decimals than EUR"),
        (["collection", "create", "forty", "EUR", "--reference", "r"], "is not a number"),
        (["collection", "create", "1", "XXX", "--reference", "r"], "is not a currency"),
        (["collection", "show", "nix"], "there is no collection"),
        (["session", "show", "nix"], "there is no session"),
        (["session", "capture", "nix", "1.00"], "there is no session"),
        (["session", "history", "nix"], "there is no session"),
        (["resolve", "ps_x-1", "declined", "--note", "n"], "there is no operation 'ps_x-1'"),
        (["resolve", "x", "declined", "--note", "n"], "there is no operation 'x'"),
        (["acknowledge", "x", "--note", "n"], "paysession conflicts lists"),
        (["db", "check", "--db", "memory:"], "has no schema"),
        (["events", "--after", "x"], "no cursor"),
        (["providers", "--db", "oracle:x"], "pip install paysession-sql"),
        (["providers", "--config", "nix.toml"], "no settings file"),
    ],
)
def test_a_failure_is_one_sentence_and_a_status(run, arguments, sentence):
    run("collection", "create", "1", "EUR", "--reference", "order-1001")
    done = run(*arguments, status=1)
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    failed = run(*arguments, "--json", status=1)
    assert sentence in json.loads(failed.stdout)["error"]["message"]


@pytest.mark.parametrize(
    "arguments",
    [["recover"], ["recover", "--watch"], ["in-doubt"], ["session", "list"], ["events", "--db", "shop.db"]],
    ids=" ".join,
)
def test_no_command_takes_an_empty_folder_for_a_ledger_where_all_is_well(run, tmp_path, arguments):
    assert "there is no database" in run(*arguments, status=1).stderr
    assert list(tmp_path.glob("*.db")) == []


def test_the_providers_are_listed_without_a_database(run, tmp_path):
    (tmp_path / "manual.toml").write_text("[providers.manual]\n")
    assert "manual" in run("providers", "--config", "manual.toml").stdout
    assert list(tmp_path.glob("*.db")) == []


def test_a_person_confirms_under_whatever_name_the_provider_is_selected(ask, tmp_path):
    (tmp_path / "paysession.toml").write_text('[providers.till]\nuse = "manual"\nmethod = "cash"\n')
    ask("collection", "create", "1", "EUR", "--reference", "a")
    begun = ask("session", "initiate", "a", "--provider", "till")
    assert ask("session", "authorize", begun["id"])["status"] == "authorized"


def test_wrong_usage_has_a_status_of_its_own(run):
    run("session", "captur", status=2)
    run("collection", "create", status=2)
    assert "Usage" in run("--help").stdout


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e300", "-1", "soon"])
@pytest.mark.parametrize(
    "arguments",
    [["health", "--max-lag"], ["health", "--max-doubt"], ["recover", "--interval"], ["recover", "--report"]],
    ids=" ".join,
)
def test_what_is_no_duration_is_wrong_usage(run, arguments, seconds):
    run("collection", "create", "1", "EUR", "--reference", "order-1001")
    wrong = run(*arguments, seconds, status=2)
    assert f"Invalid value for '{arguments[1]}': '{seconds}' is no duration" in wrong.stderr
    run(*arguments, "3153600000")


def test_the_database_is_chosen_by_option_and_environment(run, ask, tmp_path):
    ask("collection", "create", "1", "EUR", "--reference", "a", "--db", "one.db")
    ask("collection", "create", "2", "EUR", "--reference", "b", PAYSESSION_DB=f"sqlite:///{tmp_path}/two.db")
    assert [row["amount"] for row in ask("collection", "list", "--db", f"sqlite:///{tmp_path}/one.db")] == [
        "1.00"
    ]
    assert [row["amount"] for row in ask("--db", "two.db", "collection", "list")] == ["2.00"]


def test_a_file_in_the_folder_configures(ask, tmp_path):
    (tmp_path / "paysession.toml").write_text(
        'store = "sqlite:///shop.db"\n[providers.till]\nuse = "manual"\nmethod = "cash"\n'
    )
    selected = {row["name"]: row["selected"] for row in ask("providers")}
    assert (selected.pop("till"), selected.pop("manual")) == (True, False)
    assert not any(selected.values())
    ask("collection", "create", "1", "EUR", "--reference", "a")
    assert ask("session", "initiate", "a", "--provider", "till")["next_action"]["kind"] == "cash"
    assert (tmp_path / "shop.db").exists()


def test_a_file_that_was_found_is_announced_and_one_that_was_named_is_not(run, tmp_path):
    (tmp_path / "paysession.toml").write_text('store = "sqlite:///shop.db"\n[providers.manual]\n')
    done = run("providers", "--json")
    assert done.stderr == f"Settings are read from {tmp_path}/paysession.toml\n"
    assert json.loads(done.stdout)
    assert run("providers", "--config", "paysession.toml").stderr == ""
    assert run("providers", PAYSESSION_CONFIG="paysession.toml").stderr == ""


def test_a_file_that_was_found_takes_no_key_of_the_environment_elsewhere(run, tmp_path):
    pytest.importorskip("paysession_stripe")
    (tmp_path / "paysession.toml").write_text(
        'store = "sqlite:///shop.db"\n[providers.stripe]\napi_base = "https://elsewhere.example"\n'
    )
    environ = {"PAYSESSION_STRIPE__API_KEY": "sk_test_of_the_environment"}
    done = run("providers", status=1, **environ)
    assert "was found and not named, would say where it is sent (api_base)" in done.stderr
    assert "sk_test_of_the_environment" not in done.stdout + done.stderr
    done = run("providers", "--config", "paysession.toml", **environ)
    assert "stripe" in done.stdout


def test_a_file_that_was_found_sends_the_databases_password_nowhere(run, tmp_path):
    (tmp_path / "paysession.toml").write_text('store = "postgresql://elsewhere.invalid/db"\n')
    done = run("events", status=1, PGPASSWORD="hunter2")
    assert "PGPASSWORD is not sent there" in done.stderr
    (tmp_path / "paysession.toml").write_text('store = "postgresql://user:own@elsewhere.invalid/db"\n')
    assert "PGPASSWORD" not in run("events", status=1, PGPASSWORD="hunter2").stderr


def test_what_was_typed_wrongly_is_shown_without_what_would_act_on_the_terminal(run):
    done = run("events", "--no\x1b]0;owned\x07", status=2)
    assert "\\x1b]0;owned\\x07" in done.stderr
    assert not {"\x1b", "\x07"} & set(done.stdout + done.stderr)
    done = run("--config", "nix\x1b[2J.toml", "providers", status=1)
    assert "\x1b" not in done.stderr


def test_what_is_wrong_with_a_provider_is_listed(run, ask, tmp_path):
    done = run("providers", PAYSESSION_MANUAL__IBAM="DE02", status=1)
    assert "unknown setting 'ibam'" in done.stdout.replace("\n", " ")


def test_the_demo_runs_to_its_end(run, ask):
    told = ask("demo")
    assert told["collection"]["status"] == "partially_refunded"
    assert (told["session"]["captured"], told["session"]["refunded"]) == ("35.00", "5.00")
    assert "taken once" in run("demo").stdout


def test_the_demo_keeps_its_database_when_asked_and_overwrites_none(run, ask):
    ask("demo", "--keep", "kept.db")
    assert len(ask("session", "list", "--db", "kept.db")) == 1
    assert "exists" in run("demo", "--keep", "kept.db", status=1).stderr
    assert "nix" in run("demo", "--provider", "nix", status=1).stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_offered(run, shell):
    assert "paysession" in run("completion", shell).stdout


@pytest.mark.parametrize("mode", ["live", "test", None])
def test_whose_money_a_provider_moves_is_shown(mode, capsys):
    from paysession import ProviderInfo
    from paysession_cli import show

    row = ProviderInfo("cards", "paysession-cards 1.0", True, None, None, mode)
    assert mode == show.provider_json(row)["mode"]
    show.show_providers([row])
    assert (mode or "yes") in capsys.readouterr().out.splitlines()[1].split()


def test_the_schema_is_checked_and_upgraded(run, ask, tmp_path):
    assert "paysession db upgrade" in run("db", "check", status=1).stdout
    assert f"there is no database {tmp_path}/paysession.db" in run("db", "check", status=1).stdout
    assert ask("db", "check", status=1)["found"] is None
    assert list(tmp_path.glob("*.db")) == []  # to look at a mistyped one makes none
    assert ask("db", "upgrade")["before"] is None
    told = ask("db", "check")
    assert (True, told["needed"]) == (told["current"], told["found"])
    assert "schema" in run("db", "check", "--db", "oracle:x", status=1).stderr


def test_health_has_figures_and_an_exit_status_for_a_probe(run, ask, tmp_path):
    assert "there is no database" in run("health", status=1).stdout
    ask("collection", "create", "42.00", "EUR", "--reference", "order-1001")
    id_ = ask("session", "initiate", "order-1001")["id"]
    ask("session", "authorize", id_)
    assert run("health").stdout.startswith("well\n")
    well = ask("health")
    assert (well["failing"], well["problems"], well["in_doubt"], well["store"]) == (False, [], 0, None)
    assert (well["oldest_doubt_seconds"], well["feed_lag_seconds"]) == (None, None)
    assert ask("health", "--after", ask("events")[0]["cursor"])["feed_lag_seconds"] >= 0
    later = ["--max-lag", "0", "--after", ask("events")[0]["cursor"]]
    assert "the feed's reader is" in run("health", *later, status=1).stdout
    with sqlite3.connect(tmp_path / "paysession.db") as database:
        database.execute(
            "INSERT INTO conflict (id, session_id, kind, expected, found, opened_at) "
            "VALUES ('cf_1', 'ps_1', 'amount', '', '', 0)"
        )
    assert ask("health")["problems"] == ["1 conflict is open"]
    assert "something is left to an operator" in run("health").stdout
    run("health", "--strict", status=1)


def test_health_has_no_figures_of_a_database_that_cannot_be_read(ask, tmp_path):
    (tmp_path / "paysession.db").write_bytes(b"no database " * 100)
    known = ("failing", "problems", "at", "store")
    found = ask("health", status=1)
    assert found["failing"]
    assert "paysession.db" in found["store"]
    assert {value for name, value in found.items() if name not in known} == {None}


def test_what_only_reads_needs_no_providers_secret(run, ask, tmp_path):
    pytest.importorskip("paysession_stripe")
    ask("collection", "create", "42.00", "EUR", "--reference", "order-1001")
    id_ = ask("session", "initiate", "order-1001")["id"]
    settings = tmp_path / "shop.toml"
    settings.write_text('offered = ["stripe"]\n[providers.stripe]\n[providers.manual]\n')
    for arguments in (
        ("session", "list"), ("session", "show", id_), ("session", "history", id_), ("events",),
        ("collection", "list"), ("collection", "show", "order-1001"), ("in-doubt",), ("conflicts",), ("health",),
        ("webhooks", "--unmatched"), ("prune", "--dry-run"),
    ):  # fmt: skip
        run(*arguments, "--config", str(settings))
    assert (
        "missing setting api_key" in run("session", "sync", id_, "--config", str(settings), status=1).stderr
    )


@pytest.fixture
def overcaptured(tmp_path):
    """Return a session of which more was captured in the gateway's dashboard than it authorized: a conflict."""
    fake = FakeProvider()
    with Payments.open(f"sqlite:///{tmp_path}/paysession.db", providers={"fake": fake}) as payments:
        order = payments.create_collection(Money("42.00", "EUR"), reference="order-1001")
        session = payments.initiate(order.id, provider="fake")
        payments.authorize(session.id)
        fake.capture_in_dashboard(session.id, Money("50.00", "EUR"))
        return payments.sync(session.id)


def test_an_operator_finds_a_conflict_and_acknowledges_it(run, ask, overcaptured):
    (row,) = ask("conflicts")
    assert (row["session_id"], row["kind"]) == (overcaptured.id, overcaptured.conflict)
    assert all((row["expected"], row["found"], row["opened_at"]))
    assert ask("session", "show", overcaptured.id)["conflicts"] == [row]
    for shown in (run("conflicts").stdout, run("session", "show", overcaptured.id).stdout):
        assert all(row[name] in shown for name in ("id", "kind", "expected", "found"))
    done = ask("acknowledge", row["id"], "--note", "settled with the bank", "--by", "ann")
    assert (done["closed_by"], done["note"]) == ("ann", "settled with the bank")
    assert done["closed_at"] is not None
    assert ask("conflicts") == []
    assert ask("conflicts", "--all") == ask("conflicts", "--all", "--session", overcaptured.id) == [done]
    assert ask("conflicts", "--all", "--session", "ps_nix") == []
    assert "settled with the bank" in run("conflicts", "--all").stdout
    assert ask("session", "show", overcaptured.id)["conflicts"] == []
    assert "no conflicts" in run("conflicts").stdout


def test_in_doubt_names_the_order_and_the_provider(run, ask, tmp_path):
    ask("collection", "create", "42.00", "EUR", "--reference", "order-1001")
    id_ = ask("session", "initiate", "order-1001")["id"]
    with sqlite3.connect(tmp_path / "paysession.db") as database:
        database.execute("UPDATE operation SET state = 'started'")
        database.execute("UPDATE session SET open = (SELECT id FROM operation)")
    (row,) = ask("in-doubt")
    assert (row["order_reference"], row["provider"], row["operation"]["session_id"]) == (
        "order-1001",
        "manual",
        id_,
    )
    assert "order-1001  manual" in run("in-doubt").stdout


class Bank(FakeProvider):
    """Accepts a refund, and finishes it later."""

    @hookimpl
    def refund(self, session, operation):
        super().refund(session, operation)
        self.settle("pending")
        return Outcome.pending()

    def settle(self, state):
        for account in self._accounts.values():
            account.effects[:] = [
                evolve(effect, state=state) if effect.kind == "refund" else effect
                for effect in account.effects
            ]


@pytest.fixture
def bank():
    return Bank()


@pytest.fixture
def at_the_bank(bank, tmp_path):
    """Return payments with a bank, in the file that the command takes by default."""
    with Payments.open(f"sqlite:///{tmp_path}/paysession.db", providers={"bank": bank}) as payments:
        yield payments


@pytest.fixture
def refunding(at_the_bank):
    """Return a session with a refund that the bank has accepted and not finished."""
    order = at_the_bank.create_collection(Money("42.00", "EUR"), reference="order-1001")
    session = at_the_bank.initiate(order.id, provider="bank")
    at_the_bank.authorize(session.id)
    at_the_bank.capture(session.id)
    return at_the_bank.refund(session.id, Money("5.00", "EUR"))


def test_a_pending_refund_is_shown_wherever_its_session_is(run, ask, refunding):
    shown = run("session", "show", refunding.id).stdout
    assert "refunded 0.00\npending: refund 5.00, which the gateway accepted and has not finished\n" in shown
    for command in (["session", "list"], ["collection", "show", "order-1001"]):
        lines = [line.rstrip() for line in run(*command).stdout.splitlines()]
        assert lines[-2].endswith("pending")
        assert lines[-1].endswith("0.00  refund 5.00")
    told = ask("session", "show", refunding.id)
    assert (told["pending"], told["refunding"], told["capturing"]) == (1, "5.00", "0.00")


def test_where_nothing_is_pending_nothing_says_so(run, refunding, at_the_bank, bank):
    bank.settle("succeeded")
    at_the_bank.sync(refunding.id)
    for command in (
        ["session", "show", refunding.id],
        ["session", "list"],
        ["session", "history", refunding.id],
    ):
        assert "pending" not in run(*command).stdout


@pytest.mark.parametrize("states", [["failed"], ["succeeded", "reversed"]], ids=" then ".join)
def test_a_refund_that_failed_later_is_shown_to_an_operator(run, ask, refunding, at_the_bank, bank, states):
    assert ask("session", "show", refunding.id)["failed"] == []
    for state in states:
        bank.settle(state)
        at_the_bank.sync(refunding.id)
    shown = run("session", "show", refunding.id).stdout
    words = "was undone, " if "reversed" in states else "failed after the gateway had accepted it, "
    assert f"refund of 5.00 EUR {words}" in shown
    (failed,) = ask("session", "show", refunding.id)["failed"]
    assert (failed["kind"], failed["amount"]) == ("refund", "5.00")


def test_a_refund_that_was_refused_at_once_is_no_failure_of_later(ask, refunding, at_the_bank, bank):
    bank.fail_next("declined", kind="refund")
    with pytest.raises(Declined):
        at_the_bank.refund(refunding.id, Money("6.00", "EUR"))
    assert ask("session", "show", refunding.id)["failed"] == []


def test_an_event_says_what_kind_of_operation_it_is_about(run, ask, refunding, at_the_bank, bank):
    assert "operation" not in run("events", "--limit", "3").stdout.splitlines()[0]
    bank.settle("failed")
    at_the_bank.sync(refunding.id)
    told = ask("events")
    assert [(row["type"], row["operation"]) for row in told[2:]] == [
        ("session.captured", None),
        ("operation.pending", "refund"),
        ("operation.failed", "refund"),
    ]
    shown = run("events").stdout.splitlines()
    assert "  operation.failed    refund     order-1001  " in shown[-1]


def test_the_history_names_the_operations(run, ask, refunding):
    operations = ask("session", "history", refunding.id)["operations"]
    shown = run("session", "history", refunding.id).stdout
    assert len(operations) == 4
    assert all(f"  {row['id']}  " in shown for row in operations)


def test_a_table_that_is_wider_than_the_terminal_is_a_list_and_nothing_is_cut(
    run, ask, overcaptured, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("rich.console.Console.width", 80)
    (conflict,) = ask("conflicts")
    shown = run("conflicts").stdout
    lines = [line.split(maxsplit=1) for line in shown.splitlines()]
    assert [line[1].rstrip() for line in lines[:5]] == [
        conflict[name] for name in ("id", "session_id", "kind", "expected", "found")
    ]
    assert max(map(len, shown.splitlines())) <= 80
    assert f"session     {overcaptured.id}\n" in run("session", "list").stdout
    assert overcaptured.id in run("collection", "show", "order-1001").stdout


def test_the_demo_fits_a_terminal_of_eighty_columns(run, monkeypatch):
    monkeypatch.setattr("rich.console.Console.width", 80)
    shown = run("demo").stdout
    headings = [line.split() for line in shown.splitlines() if line.startswith(("#", "cursor"))]
    assert headings == [
        ["#", "time", "(UTC)", "operation", "amount", "state", "by", "note"],
        ["cursor", "time", "(UTC)", "event", "amount", "captured", "refunded"],
    ]


def test_a_table_without_room_for_all_columns_leaves_out_those_that_are_empty(
    monkeypatch, capsys, refunding, at_the_bank
):
    from paysession_cli import show

    monkeypatch.setattr("rich.console.Console.width", 92)
    show.show_events(at_the_bank.events(limit=2))
    heading, first, _ = capsys.readouterr().out.splitlines()
    assert heading.split() == ["cursor", "time", "(UTC)", "event", "for", "amount", "captured", "refunded"]
    assert first.split()[3:5] == ["session.initiated", "order-1001"]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_command_that_is_interrupted_says_what_stands_in_the_ledger(run, ask, monkeypatch, as_json):
    ask("collection", "create", "42.00", "EUR", "--reference", "order-1001")
    id_ = ask("session", "initiate", "order-1001")["id"]
    ask("session", "authorize", id_)
    ask("session", "capture", id_)
    refund = Payments.refund

    def interrupted(*arguments, **options):
        refund(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Payments, "refund", interrupted)
    done = run("session", "refund", id_, "5.00", *["--json"] * as_json, status=3)
    operation = ask("session", "history", id_)["operations"][-1]
    assert operation["kind"] == "refund"
    assert (
        f"interrupted: the session's last operation is refund of 5.00 EUR, succeeded ({operation['id']})"
        in done.stderr
    )
    if as_json:
        assert json.loads(done.stdout)["error"]["operation_id"] == operation["id"]


def test_an_operation_that_was_interrupted_in_doubt_is_left_to_recovery(run, ask, monkeypatch, tmp_path):
    ask("collection", "create", "42.00", "EUR", "--reference", "order-1001")
    id_ = ask("session", "initiate", "order-1001")["id"]

    def interrupted(*_, **__):
        with sqlite3.connect(tmp_path / "paysession.db") as database:
            database.execute("UPDATE operation SET state = 'started'")
            database.execute("UPDATE session SET open = (SELECT id FROM operation)")
        raise KeyboardInterrupt

    monkeypatch.setattr(Payments, "authorize", interrupted)
    assert "paysession recover settles it" in run("session", "authorize", id_, status=3).stderr


def test_what_only_reads_or_names_no_session_is_interrupted_plainly(run, ask, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    ask("collection", "create", "42.00", "EUR", "--reference", "order-1001")
    monkeypatch.setattr(Payments, "initiate", interrupted)
    monkeypatch.setattr(Payments, "capture", interrupted)
    monkeypatch.setattr(Payments, "get", lambda *_: interrupted())
    monkeypatch.setattr(Payments, "sessions", interrupted)
    begun = "what was begun is in the ledger"
    assert begun in run("session", "initiate", "order-1001", status=3).stderr
    assert begun in run("session", "capture", "nix", status=3).stderr
    assert "Aborted!" in run("session", "list", status=1).stderr


def test_an_argument_of_the_library_is_named_as_the_commands_option(run, refunding, monkeypatch):
    def several(*_, **__):
        raise NotSupported("name it with capture=, one of a, b; or with final=True, or other=")

    monkeypatch.setattr(Payments, "refund", several)
    monkeypatch.setattr(Payments, "capture", several)
    wanted = {
        "refund": "with --capture, one of a, b; or with final=True",
        "capture": "with --final, or other=",
    }
    for command, words in wanted.items():
        assert words in run("session", command, refunding.id, "1.00", status=1).stderr


@pytest.mark.parametrize("group", [[], ["session"], ["db"], ["collection"]], ids=" ".join)
def test_a_group_without_a_command_shows_its_help(run, group):
    done = run(*group, status=2)
    assert done.stderr.startswith(f"Usage: {' '.join(['paysession', *group])} [OPTIONS] COMMAND [ARGS]...\n")
    assert "\nCommands:\n" in done.stderr
    assert "\\n" not in done.stderr


@pytest.mark.parametrize("arguments", [["completion"], ["resolve", "x", "--note", "n"]], ids=" ".join)
def test_the_choices_of_a_missing_argument_stand_in_lines_of_their_own(run, arguments):
    done = run(*arguments, status=2)
    assert "Choose from:\n  " in done.stderr
    assert "\\" not in done.stderr


@pytest.mark.parametrize("option", ["--db", "--config"])
def test_an_option_that_names_nothing_is_wrong_usage(run, ask, option):
    ask("collection", "create", "1", "EUR", "--reference", "a")
    for arguments in (["session", "list", option, ""], [option, "", "session", "list"]):
        assert f"Invalid value for '{option}': it is empty" in run(*arguments, status=2).stderr
    run("session", "list", PAYSESSION_DB="", PAYSESSION_CONFIG="")  # as if they were not set


def test_the_command_is_a_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["paysession", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("paysession_cli", run_name="__main__")
    assert ended.value.code in (None, 0)
    assert capsys.readouterr().out.startswith("paysession, version ")
