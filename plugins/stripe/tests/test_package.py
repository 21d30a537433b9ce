"""The package as it is installed: settings, what importing it costs, what it writes, and the demo."""

import json
import logging
import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from importlib.metadata import entry_points
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

import paysession_stripe
from paysession import OutcomeUnknown, Payments, PaysessionError, SettingsError, hookimpl
from paysession.errors import ConfigurationError
from paysession.provider import Capabilities, Kind, Money, Secret
from paysession_stripe import Stripe
from paysession_stripe.demo import Demo

KEY = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"


def run(code, **environ):
    """Run a script in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()


def test_importing_and_selecting_the_provider_does_not_import_the_stripe_package():
    code = (
        "import sys, paysession, paysession_stripe\n"
        "from paysession import Payments\n"
        "with Payments.open('memory:', providers={'stripe': {'api_key': 'sk_test_1'}}) as p:\n"
        "    p.providers()\n"
        "print([name for name in ('stripe', 'requests', 'paysession_sandbox') if name in sys.modules])"
    )
    assert "[]" == run(code)


def test_nothing_is_written_to_the_home_folder(sandbox, tmp_path):
    code = f"""
from paysession import Money, Payments
settings = {{"api_key": "{KEY}", "api_base": "{sandbox.url}"}}
with Payments.open("memory:", providers={{"stripe": settings}}) as payments:
    order = payments.create_collection(Money("42.00", "EUR"), reference="order-1001")
    session = payments.initiate(order.id, provider="stripe", data={{"email": "a@b.example"}})
    print(payments.cancel(session.id).status)
"""
    assert "canceled" == run(code, HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert [] == sorted(tmp_path.rglob("*"))


def test_the_provider_is_found_by_its_entry_point():
    (found,) = entry_points(group="paysession.providers", name="stripe")
    assert Stripe is found.load()
    with Payments.open("memory:", providers={"stripe": {"api_key": KEY}}) as payments:
        (info,) = [row for row in payments.providers() if row.name == "stripe"]
    assert (None, "test") == (info.problem, info.mode)
    assert isinstance(info.capabilities, Capabilities)


def test_settings_come_from_the_environment():
    environ = {
        "PAYSESSION_STRIPE__API_KEY": KEY,
        "PAYSESSION_STRIPE__WEBHOOK_SECRET": "whsec_new,whsec_old",
        "PAYSESSION_STRIPE__TIMEOUT": "7.5",
        "PAYSESSION_STRIPE__MAX_NETWORK_RETRIES": "3",
        "PAYSESSION_STRIPE__MULTICAPTURE": "yes",
        "PAYSESSION_STRIPE__CAPTURE_METHOD": "automatic",
    }
    with Payments.open("memory:", providers=["stripe"], environ=environ) as payments:
        plugin = payments._registry.provider("stripe").plugin
    assert (Secret(KEY), 7.5, 3, True, "automatic") == (
        plugin.api_key,
        plugin.timeout,
        plugin.max_network_retries,
        plugin.multicapture,
        plugin.capture_method,
    )
    assert (Secret("whsec_new"), Secret("whsec_old")) == plugin.webhook_secret


def test_two_accounts_are_two_providers():
    accounts = {
        "stripe": {"api_key": "sk_test_eu", "webhook_secret": ["whsec_a", "whsec_b"]},
        "stripe-us": {"use": "stripe", "api_key": "sk_test_us", "stripe_account": "acct_1"},
    }
    with Payments.open("memory:", providers=accounts) as payments:
        plugins = [payments._registry.provider(name).plugin for name in accounts]
    assert ["sk_test_eu", "sk_test_us"] == [plugin.api_key.reveal() for plugin in plugins]


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": "pk_test_1"},
        {"api_key": ""},
        {"api_key": "sk_test_1 sk_test_2"},
        {"api_key": "sk_test_1\r\nX-Header: 1"},
        {"api_key": KEY, "publishable_key": KEY},
        {"api_key": KEY, "publishable_key": "pk_live_1"},
        {"api_key": "sk_live_1", "publishable_key": "pk_test_1"},
        {"api_key": "sk_live_1", "api_base": "http://api.stripe.com"},
        {"api_key": KEY, "api_base": "api.stripe.com"},
        {"api_key": KEY, "api_base": "https://api.stripe.com/"},
        {"api_key": KEY, "stripe_account": "1"},
        {"api_key": KEY, "timeout": 0},
        {"api_key": KEY, "timeout": 300.1},
        {"api_key": KEY, "timeout": float("inf")},
        {"api_key": KEY, "timeout": float("nan")},
        {"api_key": KEY, "max_network_retries": -1},
        {"api_key": KEY, "capture_method": "later"},
        {"api_key": KEY, "multicapture": "often"},
        {"api_key": KEY, "statement_descriptor_suffix": "<b>"},
        {"api_key": KEY, "max_digits": 13},
        {"api_key": KEY, "statement_descriptor_suffix": "x" * 23},
        {"api_key": KEY, "webhook_secrets": "whsec_1"},
        {},
    ],
)
def test_a_wrong_setting_is_refused_and_not_repeated(settings):
    with pytest.raises(SettingsError) as refused:
        Payments.open("memory:", providers={"stripe": settings}, environ={})
    assert KEY not in str(refused.value)
    assert "sk_live_1" not in str(refused.value)


@pytest.mark.parametrize("end", ["\n", "\r\n", " "])
def test_a_key_from_a_file_that_ends_with_a_line_break_is_stripped(end):
    assert Stripe(api_key=KEY + end).api_key == Secret(KEY)
    assert Stripe(api_key=Secret(KEY + end)).api_key == Secret(KEY)


@pytest.mark.parametrize(
    ("key", "sent"), [("sk_live_1", False), ("rk_live_1", False), ("sk_1", False), (KEY, True)]
)
def test_a_live_key_goes_to_another_address_only_if_code_says_so(key, sent):
    environ = {"PAYSESSION_STRIPE__API_BASE": "https://elsewhere.example"}
    refused = nullcontext() if sent else pytest.raises(SettingsError, match="own [(]api.stripe.com[)]")
    with refused:
        Payments.open("memory:", providers={"stripe": {"api_key": key}}, environ=environ).close()
    assert Stripe(api_key=key, api_base="https://elsewhere.example").api_base == "https://elsewhere.example"


def test_no_key_goes_over_plain_http_to_another_machine():
    with pytest.raises(ValueError, match="https, or http on this machine"):
        Stripe(api_key=KEY, api_base="http://10.0.0.1")


def test_settings_may_be_given_directly():
    provider = Stripe(api_key=KEY, webhook_secret="whsec_1")
    assert (Secret("whsec_1"),) == provider.webhook_secret
    assert (Secret("whsec_1"),) == Stripe(
        api_key=Secret(KEY), webhook_secret=Secret("whsec_1")
    ).webhook_secret
    assert () == Stripe(api_key=KEY).webhook_secret


@pytest.mark.parametrize(
    ("key", "mode"),
    [
        ("sk_test_1", "test"),
        ("rk_test_1", "test"),
        ("sk_live_1", "live"),
        ("rk_live_1", "live"),
        ("sk_1", "unknown"),
    ],
)
def test_test_money_and_real_money_are_told_apart(key, mode):
    assert mode == Stripe(api_key=key).mode


@pytest.mark.parametrize("browser", ["pk_test_1", "pk_live_1", "pk_1", ""])
def test_a_key_that_tells_no_mode_goes_with_any(browser):
    assert browser == Stripe(api_key="sk_1", publishable_key=browser).publishable_key


def test_neither_repr_shows_a_secret():
    from attrs import asdict

    provider = Stripe(api_key=KEY, webhook_secret="whsec_1")
    shown = f"{provider!r} {provider} {asdict(provider, filter=lambda a, _: a.name != '_lazy')}"
    assert KEY not in shown
    assert "whsec_1" not in shown
    assert "lazy" not in repr(provider)


@pytest.mark.parametrize("kind", Kind)
def test_a_key_is_used_again_for_as_long_as_stripe_keeps_it(kind):
    assert 24 * 3600 == Stripe(api_key=KEY).capabilities.window(kind).total_seconds()


def test_only_multicapture_promises_several_captures():
    assert "once" == Stripe(api_key=KEY).capabilities.capture
    assert "multiple" == Stripe(api_key=KEY, multicapture=True).capabilities.capture


def test_the_exported_names_exist():
    assert ["PayerMethod", "Stripe", "StripeData", "StripeOptions"] == sorted(paysession_stripe.__all__)
    assert all(hasattr(paysession_stripe, name) for name in paysession_stripe.__all__)


def test_few_modules_reach_outside():
    """The stripe package is loaded by what sends, and the sandbox by what runs without an account."""
    folder = Path(paysession_stripe.__file__).parent
    imports = {path.name: path.read_text() for path in folder.glob("*.py")}
    assert {"gateway.py", "refusal.py", "transport.py"} == {
        name for name, text in imports.items() if "\nimport stripe\n" in text
    }
    assert {"contract.py", "demo.py"} == {
        name for name, text in imports.items() if "paysession_sandbox" in text
    }


# --- the demo -------------------------------------------------------------------------------------


def test_the_demo_plays_a_whole_life_without_an_account(described):
    (found,) = entry_points(group="paysession.demos", name="stripe")
    assert Demo is found.load()
    with Demo(environ={}) as demo, Payments.open("memory:", providers={"stripe": demo.settings}) as payments:
        order = payments.create_collection(Money("42.00", "EUR"), reference="order-1001")
        session = payments.initiate(order.id, provider="stripe", data=demo.data)
        assert demo.payer_acts(session) is None
        assert "authorized" == payments.authorize(session.id).status
        payments.capture(session.id, Money("20.00", "EUR"))
        payments.capture(session.id, Money("15.00", "EUR"))
        payments.refund(session.id, Money("5.00", "EUR"))
        session = payments.cancel(session.id)
    assert (3500, 3500, 500) == (session.authorized, session.captured, session.refunded)


def test_no_proxy_stands_between_the_demo_and_its_stripe(described, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Demo(environ={}) as demo, Payments.open("memory:", providers={"stripe": demo.settings}) as payments:
        order = payments.create_collection(Money("42.00", "EUR"), reference="order-1001")
        session = payments.initiate(order.id, provider="stripe", data=demo.data)
        demo.payer_acts(session)
        assert "authorized" == payments.authorize(session.id).status


def test_a_proxy_stands_between_us_and_stripe_itself(wire, values, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    wire.get("https://api.stripe.com/v1/payment_intents/pi_1", status=404, json={"error": {"type": "x"}})
    provider = Stripe(api_key=KEY, max_network_retries=0)
    with pytest.raises(OutcomeUnknown):
        provider.retrieve(values.session(reference="pi_1"), None)
    assert "http://proxy.example:3128" == wire.calls[0].request.req_kwargs["proxies"]["https"]
    provider.close()


def test_the_demo_stops_what_it_started():
    with Demo(environ={}) as demo:
        address = demo.settings["api_base"]
    with pytest.raises(URLError):
        urlopen(address, timeout=5)


def test_the_demo_uses_stripe_itself_with_a_test_key():
    with Demo(environ={"PAYSESSION_STRIPE__API_KEY": "sk_test_mine"}) as demo:
        assert {"api_key": "sk_test_mine", "api_base": "https://api.stripe.com"} == demo.settings


def test_the_payer_of_the_demo_who_cannot_pay_is_told_in_one_sentence(sandbox, values):
    environ = {"PAYSESSION_STRIPE__API_KEY": "sk_test_mine", "PAYSESSION_STRIPE__API_BASE": sandbox.url}
    with Demo(environ=environ) as demo, pytest.raises(ConfigurationError, match="HTTP 404"):
        demo.payer_acts(values.session(reference="pi_gone"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening
        environ["PAYSESSION_STRIPE__API_BASE"] = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Demo(environ=environ) as demo, pytest.raises(ConfigurationError, match="could not pay"):
            demo.payer_acts(values.session(reference="pi_1"))


def test_the_demo_takes_no_real_money():
    with (
        pytest.raises(ConfigurationError, match="not a test key"),
        Demo(environ={"PAYSESSION_STRIPE__API_KEY": "sk_live_mine"}),
    ):
        pass


def test_the_demo_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "paysession_sandbox.stripe", None)
    with pytest.raises(ConfigurationError, match="pip install"), Demo(environ={}):
        pass


# --- what nobody may see --------------------------------------------------------------------------


def test_a_whole_life_with_faults_shows_no_secret_anywhere(
    make, open_payments, payer, sandbox, clock, caplog
):
    caplog.set_level(logging.DEBUG)
    shown, secrets = [], {KEY, "whsec_hidden"}

    class Observer:
        @hookimpl
        def session_changed(self, before, after, operation):
            shown.append((before, after, operation))

        @hookimpl
        def operation_in_doubt(self, operation):
            shown.append(operation)

        @hookimpl
        def conflict_found(self, session, operation, kind, expected, found):
            shown.append((session, operation, kind, expected, found))

    provider = make(webhook_secret="whsec_hidden")
    payments = open_payments(provider, plugins=[Observer()])

    def attempt(call, *args, **options):
        try:
            shown.append(call(*args, **options))
        except PaysessionError as error:
            shown.append([error, str(error), error.__dict__, error.__cause__, error.__context__])

    def begin(number, **options):
        order = payments.create_collection(Money("42.00", "EUR"), reference=f"order-{number}")
        attempt(payments.initiate, order.id, provider="stripe", idempotency_key="1", **options)
        (session,) = payments.sessions(reference=f"order-{number}")
        if session.next_action is not None:
            secrets.add(session.next_action.params["client_secret"])
        return session

    for number, fault in enumerate(["drop_after", "500_after", "garbage", "429", "401"]):
        sandbox.fail(fault, "/v1/payment_intents")
        begin(number, data={"email": "jenny@example.com"})
    session = begin("good")
    payer.confirm(session, "4000002500003155")
    attempt(payments.resume, session.id)
    payer.authenticate(session, success=True)
    attempt(payments.resume, session.id)
    for call, path in ((payments.capture, "/capture"), (payments.refund, "/refunds")):
        sandbox.fail("drop_after", path)
        attempt(call, session.id)
    attempt(payments.cancel, session.id)
    attempt(payments.handle_webhook, "stripe", headers={"Stripe-Signature": "t=1,v1=00"}, body=b"{}")
    clock.advance(hours=1)
    attempt(payments.recover)
    for row in payments.sessions():
        shown += [row, row.data, payments.history(row.id), json.dumps(row.data)]
    shown += [payments.events(), payments.in_doubt(), payments.providers(), provider]
    assert len(secrets) >= 3
    for place, text in (("log", caplog.text), ("shown", repr(shown))):
        assert not [secret for secret in secrets if secret in text], place
        assert "_secret_" not in text.replace("_secret_***", "")
    assert "API response body" in caplog.text
