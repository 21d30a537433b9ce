"""``paysession stripe webhook``: the endpoint at Stripe, made and checked from the shell."""

import json

import pytest
from click.testing import CliRunner

from paysession_cli.main import cli
from paysession_stripe.webhooks import EVENTS

KEY = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"
URL = "https://shop.example/pay/webhooks/stripe"


@pytest.fixture
def run(sandbox, tmp_path):
    """Return a function that runs a command, with settings in a file that is named."""
    config = tmp_path / "paysession.toml"

    def run(*words, public_url="https://shop.example/pay/", **settings):
        table = {"api_key": KEY, "api_base": sandbox.url, "max_network_retries": 0, **settings}
        lines = [f"public_url = {json.dumps(public_url)}"] if public_url else []
        lines += ["[providers.stripe]", *(f"{name} = {json.dumps(part)}" for name, part in table.items())]
        config.write_text("\n".join(lines))
        return CliRunner().invoke(cli, [*words, "--config", str(config)], prog_name="paysession")

    return run


def test_the_endpoint_is_made_with_every_event_and_its_secret_shown_once(run, sandbox):
    made = run("stripe", "webhook", "create")
    assert 0 == made.exit_code, made.output
    name, _, secret = made.stdout.strip().partition("=")
    assert "PAYSESSION_STRIPE__WEBHOOK_SECRET" == name
    (endpoint,) = sandbox.call("GET", "/v1/webhook_endpoints")["data"]
    assert (URL, list(EVENTS), "enabled") == (
        endpoint["url"],
        endpoint["enabled_events"],
        endpoint["status"],
    )
    again = run("stripe", "webhook", "create")
    assert (1, True) == (again.exit_code, "already" in again.output)
    checked = run("stripe", "webhook", "check", webhook_secret=secret)
    assert (0, f"the endpoint for {URL} is as it has to be\n") == (checked.exit_code, checked.output)


def test_what_is_wrong_with_an_endpoint_is_said(run, sandbox):
    assert "Stripe has no endpoint" in run("stripe", "webhook", "check").output
    params = {"url": URL, "enabled_events": ["charge.refunded"]}
    made = sandbox.call("POST", "/v1/webhook_endpoints", params)
    sandbox.call("POST", f"/v1/webhook_endpoints/{made['id']}", {"disabled": "true"})
    found = run("--json", "stripe", "webhook", "check")
    assert 1 == found.exit_code
    disabled, missing, unset = json.loads(found.stdout)["problems"]
    assert "disabled" in disabled
    assert "payment_intent.succeeded" in missing
    assert "charge.refunded" not in missing
    assert "webhook_secret is missing" in unset


def test_an_address_can_be_given(run, sandbox):
    assert (
        0 == run("stripe", "webhook", "create", "--url", "https://x.example/hook", public_url=None).exit_code
    )
    (endpoint,) = sandbox.call("GET", "/v1/webhook_endpoints")["data"]
    assert "https://x.example/hook" == endpoint["url"]


@pytest.mark.parametrize(
    ("words", "settings", "told"),
    [
        ((), {"public_url": None}, "give --url"),
        (("--name", "other"), {}, "no provider 'other'"),
        ((), {"api_key": "pk_test_1"}, "api_key is a secret key"),
    ],
)
def test_a_mistake_is_one_sentence(run, words, settings, told):
    failed = run("stripe", "webhook", "check", *words, **settings)
    assert (1, True) == (failed.exit_code, told in failed.output), failed.output


def test_the_command_is_listed(run):
    assert "stripe" in CliRunner().invoke(cli, ["--help"]).output
