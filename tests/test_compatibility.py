"""The oldest supported plugin, built as a wheel, runs on the newest core; a hook can gain an argument."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pluggy
import pytest

from paysession import Payments
from paysession.hooks import API_VERSION, OLDEST_API_VERSION, PROJECT, ProviderHooks, hookspec

OLDEST = Path(__file__).parent / "compatibility/oldest"

DRIVE = """
import json
from paysession import Checkout, Money, NotApplied, Payments

with Payments.open("memory:", providers={"oldest": {"api_key": "sk"}}, plugins=["oldest"]) as pay:
    order = pay.create_collection(Money("42.00", "EUR"), reference="r")
    visit = Checkout(return_url="https://shop.example/{session_id}", email="a@b.c")
    session = pay.initiate(order.id, provider="oldest", checkout=visit)
    assert session.reference == f"old_{session.id}"
    session = pay.update(session.id, Money("40.00", "EUR"))
    try:
        pay.authorize(session.id)
    except NotApplied as error:
        print("not applied:", error.retry_after)
    session = pay.authorize(session.id)
    assert session.status == "authorized", session
    session = pay.capture(session.id, Money("20.00", "EUR"))
    session = pay.capture(session.id, Money("10.00", "EUR"))
    captures = [row.id for row in pay.history(session.id) if row.kind == "capture"]
    session = pay.refund(session.id, Money("5.00", "EUR"), capture=captures[0])
    session = pay.cancel(session.id)
    body = json.dumps({"id": "evt_1", "ours": session.id}).encode()
    assert pay.handle_webhook("oldest", headers={"Old-Signature": "yes"}, body=body).status == 200
    assert pay.handle_webhook("oldest", headers={}, body=body).status == 400
    session = pay.sync(session.id)
    row = pay.providers()[0]
    print(json.dumps([row.distribution, session.captured, session.refunded]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a folder in which the oldest plugin's wheel lies as an installer lays it out."""
    folder = tmp_path_factory.mktemp("oldest")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, OLDEST]
    subprocess.run(command, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_the_oldest_supported_plugin_runs_on_the_newest_core(site):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", DRIVE],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first == "not applied: 0:00:01"
    assert json.loads(last) == ["paysession-oldest 1.0", 3000, 500]


def test_the_oldest_supported_plugin_states_the_oldest_version(oldest):
    assert oldest.API_VERSION == OLDEST_API_VERSION, "a newer oldest plugin takes its place"
    assert API_VERSION - OLDEST_API_VERSION in (0, 1), (
        "docs/compatibility.md: this version, and the one before"
    )


def test_the_oldest_plugin_is_carried_and_warned_by_the_next_api_version(oldest, monkeypatch):
    monkeypatch.setattr("paysession._plugins.compatibility.API_VERSION", OLDEST_API_VERSION + 1)
    with pytest.warns(DeprecationWarning, match="provider 'oldest' is written for API_VERSION 1"):
        payments = Payments.open("memory:", providers={"oldest": oldest(api_key="sk")}, environ={})
    payments.close()


@pytest.fixture
def oldest():
    spec = importlib.util.spec_from_file_location("paysession_oldest", OLDEST / "src/paysession_oldest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Oldest


class NewerHooks(ProviderHooks):
    """What the hooks could be in a later version."""

    @hookspec(firstresult=True)
    def cancel(self, session, operation, deadline):
        """With one more argument."""

    @hookspec(firstresult=True)
    def reauthorize(self, session, operation):
        """A new hook, which older plugins do not have."""


def test_a_hook_that_gains_an_argument_still_calls_the_oldest_plugin(oldest):
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(NewerHooks)
    manager.register(oldest(api_key="sk"))
    manager.check_pending()
    outcome = manager.hook.cancel(session=None, operation=None, deadline=7)
    assert outcome.answer == "canceled"
    assert manager.hook.reauthorize(session=None, operation=None) is None


def test_a_hook_that_will_go_warns_the_plugin_that_still_has_it(oldest):
    class LaterHooks(ProviderHooks):
        @hookspec(firstresult=True, warn_on_impl=DeprecationWarning("update() goes with 0.9"))
        def update(self, session, operation):
            """As before."""

    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(LaterHooks)
    with pytest.warns(DeprecationWarning, match=r"update\(\) goes with 0\.9"):
        manager.register(oldest(api_key="sk"))
