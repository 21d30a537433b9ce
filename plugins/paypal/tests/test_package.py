"""The package as it is installed: its settings, what it imports, and its demo."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext

import pytest

from paysession import Payments, SettingsError
from paysession.provider import Kind
from paysession_paypal import PayPal
from paysession_paypal.transport import SdkTransport

GOOD = {"client_id": "id", "client_secret": "secret"}


def python(code, *arguments, **environ):
    """Run code in a process of its own; return what it printed."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PAYSESSION_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments], env={**clean, **environ},
        capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- imports --------------------------------------------------------------------------------------

HEAVY = ("paypalrestsdk", "requests", "urllib3", "cryptography", "OpenSSL", "paysession_sandbox")


def test_importing_and_selecting_it_imports_no_sdk():
    code = f"""
import sys, paysession_paypal
from paysession import Payments
with Payments.open("memory:", providers={{"paypal": {GOOD}}}) as payments:
    print(payments.providers()[0].capabilities.capture)
print([name for name in {HEAVY} if name in sys.modules])
"""
    assert python(code).split("\n")[:2] == ["multiple", "[]"]


def test_it_lives_a_whole_life_without_pyopenssl():
    """No release of pyOpenSSL can break what does not use it: the SDK's own webhook check would."""
    code = """
import sys
sys.modules["OpenSSL"] = None
from paysession import Money, Payments
from paysession_paypal import PayPal
from paysession_sandbox.paypal import PayPalFake
from paysession_paypal.signature import Signature

with PayPalFake() as fake:
    open("ca.pem", "wb").write(fake.signer.authority.pem())
    checker = Signature(fake.signer.webhook_id, ca_file="ca.pem", fetch=lambda *_: fake.signer.certificate)
    paypal = PayPal(client_id=fake.client_id, client_secret=fake.client_secret, endpoint=fake.url, verifier=checker)
    with Payments.open("memory:", providers={"paypal": paypal}) as pay:
        order = pay.create_collection(Money("42.00", "EUR"), reference="r")
        session = pay.initiate(order.id, provider="paypal")
        fake.payer_approves(session.reference)
        body = fake.events[0].body
        print(pay.handle_webhook("paypal", headers=fake.signer.headers(body), body=body).status)
        pay.capture(session.id)
        print(pay.refund(session.id).refunded_amount)
"""
    assert python(f"import os, tempfile; os.chdir(tempfile.mkdtemp())\n{code}").split("\n")[:2] == [
        "200",
        "42.00 EUR",
    ]


def test_the_newest_pyopenssl_is_no_hindrance():
    import importlib.metadata

    import OpenSSL.crypto

    assert int(importlib.metadata.version("pyOpenSSL").partition(".")[0]) >= 25
    assert not hasattr(OpenSSL.crypto, "verify"), "what the SDK's WebhookEvent.verify calls is gone"


# --- settings -------------------------------------------------------------------------------------


def test_settings_come_from_the_environment():
    environ = {
        "PAYSESSION_PAYPAL__CLIENT_ID": "id",
        "PAYSESSION_PAYPAL__CLIENT_SECRET": "s3cret",
        "PAYSESSION_PAYPAL__ENVIRONMENT": "live",
        "PAYSESSION_PAYPAL__TIMEOUT": "2.5",
        "PAYSESSION_PAYPAL__INTENT": "capture",
        "PAYSESSION_PAYPAL__WEBHOOK_ID": "W",
    }
    with Payments.open("memory:", providers=["paypal"], environ=environ) as payments:
        provider = payments._registry.provider("paypal").plugin
    assert (provider.environment, provider.timeout, provider.intent, provider.webhook_id) == (
        "live",
        2.5,
        "capture",
        "W",
    )
    assert provider.client_secret.reveal() == "s3cret"
    assert "s3cret" not in repr(provider)
    assert provider.capabilities.call_limit.total_seconds() == 12.5


def test_settings_come_from_a_file_and_two_accounts_are_two_providers(tmp_path):
    (tmp_path / "shop.toml").write_text(
        'store = "memory:"\n[providers.paypal]\nclient_id = "a"\nclient_secret = "b"\n'
        '[providers.paypal-us]\nuse = "paypal"\nclient_id = "c"\nclient_secret = "d"\nbrand_name = "US"\n'
    )
    with Payments.open(config=tmp_path / "shop.toml", environ={}) as payments:
        names = {row.name: row.selected for row in payments.providers()}
        us = payments._registry.provider("paypal-us").plugin
    assert names["paypal"]
    assert names["paypal-us"]
    assert (us.client_id, us.brand_name) == ("c", "US")


@pytest.mark.parametrize(
    ("environment", "endpoint", "sent"),
    [
        ("live", "https://elsewhere.example", False),
        ("live", "http://127.0.0.1:9", False),
        ("live", "https://api-m.paypal.com", True),
        ("live", "https://api-m.sandbox.paypal.com", True),
        ("sandbox", "https://elsewhere.example", True),
    ],
)
def test_live_credentials_go_to_another_host_only_if_code_says_so(environment, endpoint, sent):
    environ = {"PAYSESSION_PAYPAL__ENDPOINT": endpoint}
    given = {**GOOD, "environment": environment}
    with nullcontext() if sent else pytest.raises(SettingsError, match="api-m.paypal.com"):
        Payments.open("memory:", providers={"paypal": given}, environ=environ).close()
    paypal = PayPal(**given, endpoint=endpoint)
    assert (paypal.endpoint, paypal.mode) == (endpoint, "live" if environment == "live" else "test")


def test_a_secret_from_a_file_that_ends_with_a_line_break_is_stripped():
    assert PayPal(client_id="id", client_secret="secret\n").client_secret.reveal() == "secret"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"client_id": None}, "client_id"),
        ({"environment": "production"}, "environment"),
        ({"intent": "sale"}, "intent"),
        ({"endpoint": "http://api-m.paypal.com"}, "https, or http on this machine"),
        ({"endpoint": "https://user:pass@example.com"}, "endpoint.*a scheme, a host"),
        ({"endpoint": "https://example.com/v2"}, "a scheme, a host and a port only"),
        ({"endpoint": "https://"}, "endpoint.*a scheme, a host"),
        ({"endpoint": "https://example.com#x"}, "endpoint.*a scheme, a host"),
        ({"endpoint": "ftp://127.0.0.1"}, "https, or http on this machine"),
        ({"client_id": ""}, "client_id is empty"),
        ({"client_id": "id\n"}, "client_id begins or ends with a space or a line break"),
        ({"client_secret": ""}, "client_secret is empty"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "inf"}, "timeout"),
        ({"timeout": "nan"}, "timeout"),
        ({"timeout": "soon"}, "must be of type float"),
        ({"webhook_verification": "none"}, "webhook_verification"),
        ({"webhook_ca": "/no/such/file.pem"}, "webhook_ca is no file"),
        ({"shipping_preference": "DRONE"}, "shipping_preference"),
        ({"transport": "requests"}, "send and close"),
        ({"verifier": "none"}, "check"),
        ({"sandbox": True}, "unknown setting 'sandbox'"),
    ],
)
def test_a_wrong_setting_is_refused_by_a_sentence_without_the_secret(wrong, sentence):
    settings = {**GOOD, "client_secret": "hunter2", **wrong}
    with pytest.raises(SettingsError, match=sentence) as caught:
        Payments.open("memory:", providers={"paypal": settings}, environ={})
    assert "hunter2" not in str(caught.value)


def test_what_it_declares():
    capabilities = PayPal(**GOOD).capabilities
    hours = {kind: capabilities.window(kind).total_seconds() / 3600 for kind in Kind}
    assert hours == {
        Kind.INITIATE: 6, Kind.AUTHORIZE: 6, Kind.UPDATE: 0,
        Kind.CAPTURE: 45 * 24, Kind.REFUND: 45 * 24, Kind.CANCEL: 45 * 24,
        Kind.CHARGEBACK: 0,
    }  # fmt: skip
    assert (capabilities.capture, capabilities.refund, capabilities.refund_needs_capture) == (
        "multiple",
        "multiple",
        True,
    )


def test_the_transport_is_built_once_and_closed():
    provider = PayPal(**GOOD)
    assert provider.transport is None
    first = provider._gateway().transport
    assert isinstance(first, SdkTransport)
    assert provider._gateway().transport is first
    provider.close()
    assert provider.transport is None


FORKED = """
import os, sys, warnings
from paysession import WebhookRejected
from paysession_paypal import PayPal
warnings.simplefilter("ignore", DeprecationWarning)
provider = PayPal(client_id="id", client_secret="secret")
ours = provider._gateway().transport
if sys.argv[1] == "given":
    provider = PayPal(client_id="id", client_secret="secret", transport=ours)
try:
    provider.parse_webhook(headers={}, body=b"")
except WebhookRejected:
    checks = provider.verifier
with provider._lock:  # as a thread of the parent may hold it
    child = os.fork()
    if child == 0:
        theirs = provider._gateway().transport
        try:
            provider.parse_webhook(headers={}, body=b"")
        except WebhookRejected:
            assert provider.verifier is not checks
        os._exit(0 if theirs is provider._gateway().transport is not ours else 1)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), provider._gateway().transport is ours)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize(("transport", "same"), [("our own", 0), ("given", 1)])
def test_a_forked_process_uses_no_connection_of_its_parents(transport, same):
    done = subprocess.run(
        [sys.executable, "-c", FORKED, transport], capture_output=True, text=True, check=False, timeout=60
    )
    assert (f"{same} True\n", "") == (done.stdout, done.stderr)


# --- the demo -------------------------------------------------------------------------------------

DEMO = "from paysession_cli.main import main; main()"


def test_the_demo_runs_to_its_end_over_http():
    told = json.loads(python(DEMO, "demo", "--provider", "paypal", "--json"))
    kinds = [(row["kind"], row["amount"], row["state"]) for row in told["operations"]]
    assert kinds == [
        ("initiate", "42.00", "succeeded"), ("authorize", "42.00", "succeeded"), ("capture", "20.00", "succeeded"),
        ("capture", "15.00", "succeeded"), ("refund", "5.00", "succeeded"), ("cancel", "7.00", "succeeded"),
    ]  # fmt: skip
    session = told["session"]
    assert (session["authorized"], session["captured"], session["refunded"]) == ("35.00", "35.00", "5.00")
    assert "taken once" in python(DEMO, "demo", "--provider", "paypal")


def test_with_credentials_the_demo_goes_to_the_sandbox(fake, monkeypatch, capsys):
    """The sandbox is not to be had here: that the demo would go there, and asks a person to approve, is seen."""
    from paysession import PaymentSession
    from paysession_paypal.demo import PayPalDemo

    environ = {"PAYSESSION_PAYPAL__CLIENT_ID": "id", "PAYSESSION_PAYPAL__CLIENT_SECRET": "secret"}
    with PayPalDemo(environ) as scene:
        assert "endpoint" not in scene.settings
        with Payments.open(
            "memory:", providers={"paypal": dict(scene.settings)}, environ=environ
        ) as payments:
            assert (
                payments._registry.provider("paypal")
                .plugin._gateway()
                .transport.endpoint.endswith("sandbox.paypal.com")
            )
        monkeypatch.setattr("builtins.input", lambda: "")
        session = PaymentSession.__new__(PaymentSession)
        session.__dict__.update(reference="O1", next_action=None)
        assert scene.payer_acts(session) == {"token": "O1"}
        assert "Approve as a sandbox buyer" in capsys.readouterr().err

        def nobody():
            raise EOFError

        monkeypatch.setattr("builtins.input", nobody)
        with pytest.raises(SettingsError, match="in a terminal"):
            scene.payer_acts(session)
