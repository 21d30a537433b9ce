"""``paysession resync`` and ``webhooks --unmatched``, on a ledger that is behind its gateway."""

import json
from datetime import timedelta

import pytest
from click.testing import CliRunner

from paysession import MemoryStore, Money, NotApplied, Payments
from paysession._plugins.registry import Registry
from paysession_cli.app import App
from paysession_cli.main import cli
from paysession_testing import FakeProvider


@pytest.fixture
def fake():
    return FakeProvider()


@pytest.fixture
def payments(fake, monkeypatch):
    payments = Payments(MemoryStore(), Registry({"fake": fake}))
    monkeypatch.setattr(App, "payments", lambda self, **_: payments)
    monkeypatch.setattr(payments, "close", lambda: None)  # each command closes it
    return payments


@pytest.fixture
def session(payments):
    order = payments.create_collection(Money("42.00", "EUR"), reference="order-1")
    return payments.authorize(payments.initiate(order.id, provider="fake").id)


def run(*arguments):
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def test_a_resync_says_what_it_did(payments, session, fake):
    fake.capture_in_dashboard(session.id, Money("4.00", "EUR"))
    done = run("resync", "--since", "2020-01-01", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {
        "looked": 1,
        "changed": 1,
        "failed": 0,
        "not_queryable": 0,
        "unsynced": [],
        "last": session.id,
        "complete": True,
    }
    assert f"1 sessions looked at, 1 changed, 0 failed, 0 not queryable; last {session.id}" in done.stderr
    assert payments.get(session.id).captured == 400
    assert (
        json.loads(run("resync", "--since", "2020-01-01", "--after", session.id, "--json").stdout)["looked"]
        == 0
    )
    since = payments.get(session.id).updated_at + timedelta(microseconds=1)
    assert json.loads(run("resync", "--since", since.isoformat(), "--json").stdout)["looked"] == 0
    assert (
        json.loads(run("resync", "--since", "2020-01-01", "--provider", "x", "--json").stdout)["looked"] == 0
    )


@pytest.mark.parametrize("fake", [FakeProvider(approve=False)], ids=["the payer has to approve"])
@pytest.mark.parametrize("command", [["session", "sync", "{}"], ["resync", "--since", "2020-01-01"]])
def test_who_asked_is_kept_with_the_authorization_that_follows(payments, fake, command):
    order = payments.create_collection(Money("42.00", "EUR"), reference="order-1")
    session = payments.authorize(payments.initiate(order.id, provider="fake").id)
    fake.payer_approves(session.id)
    run(*(part.format(session.id) for part in command), "--by", "ann")
    assert [row.by for row in payments.history(session.id) if row.state == "succeeded"][-1] == "ann"
    assert payments.get(session.id).status == "authorized"


def test_a_resync_that_failed_with_a_session_names_it_and_ends_with_1(payments, session, monkeypatch):
    def down(session_id, by):
        raise NotApplied("the gateway is down")

    monkeypatch.setattr(payments._recovery, "sync", down)
    done = run("resync", "--since", "2020-01-01")
    assert done.exit_code == 1
    assert session.id in done.stdout
    assert "the gateway is down" in done.stdout


def test_more_sessions_than_a_report_names_are_counted(payments, session, monkeypatch):
    monkeypatch.setattr("paysession._engine.resync.KEPT", 0)
    monkeypatch.setattr(payments._recovery, "sync", lambda session_id, by: 1 / 0)
    assert "and 1 more" in run("resync", "--since", "2020-01-01").stdout


@pytest.mark.parametrize("arguments", [[], ["--since", "yesterday"]], ids=" ".join)
def test_a_resync_needs_a_time(payments, arguments):
    assert run("resync", *arguments).exit_code == 2


def test_a_resync_of_the_future_is_wrong_usage(payments, session):
    done = run("resync", "--since", "2999-01-01")
    assert done.exit_code == 2
    assert "Invalid value for '--since': 2999-01-01T00:00:00Z is in the future" in done.stderr


def test_notifications_without_a_session_are_listed(payments, session, fake):
    assert "every notification matches a session" in run("webhooks", "--unmatched").stdout
    headers, body = fake.webhook("ps_lost")
    payments.handle_webhook("fake", headers=headers, body=body)
    (row,) = json.loads(run("webhooks", "--unmatched", "--json").stdout)
    assert (row["provider"], row["session_id"]) == ("fake", "ps_lost")
    assert row["received_at"].endswith("+00:00")
    assert "ps_lost" in run("webhooks", "--unmatched").stdout
    assert json.loads(run("webhooks", "--unmatched", "--provider", "x", "--json").stdout) == []
    assert json.loads(run("webhooks", "--unmatched", "--after", row["id"], "--json").stdout) == []
    assert run("webhooks").exit_code == 2
