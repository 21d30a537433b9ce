"""``paysession stripe``: the webhook endpoint at Stripe. Loaded by paysession-cli, and by nothing else."""

from __future__ import annotations

import sys

import click

from paysession import ConfigurationError
from paysession_cli import App, common, pass_app
from paysession_stripe.provider import Stripe

__all__ = ["stripe"]

_NAME = click.option("--name", default="stripe", show_default=True, help="The name of the selected provider.")
_URL = click.option("--url", help="Where notifications go. [default: from public_url]")


@click.group()
def stripe() -> None:
    """Set Stripe up."""


@stripe.group()
def webhook() -> None:
    """Create, or check, the webhook endpoint at Stripe."""


def _selected(app: App, name: str, url: str | None) -> tuple[Stripe, str]:
    """Return a selected provider, and the address of its notifications."""
    row = next((row for row in app.providers() if row.name == name), None)
    if row is None or not isinstance(row.plugin, Stripe):
        problem = row.problem if row is not None else None
        raise ConfigurationError(problem or f"no provider {name!r} of Stripe is selected")
    address = url or row.webhook_url
    if address is None:
        raise ConfigurationError("give --url, or the setting public_url, such as https://shop.example/pay")
    return row.plugin, address


@webhook.command()
@_NAME
@_URL
@common
@pass_app
def create(app: App, name: str, url: str | None) -> None:
    """Create the endpoint, with every event that matters, and print its signing secret.

    Stripe shows the secret this once: put it into the server's environment.
    """
    provider, address = _selected(app, name, url)
    try:
        secret = provider.create_endpoint(address)
    finally:
        provider.close()
    variable = f"PAYSESSION_{name.upper().replace('-', '_')}__WEBHOOK_SECRET"
    shown = f"{variable}={secret.reveal()}"
    app.answer({"url": address, variable: secret.reveal()}, lambda: click.echo(shown))


@webhook.command()
@_NAME
@_URL
@common
@pass_app
def check(app: App, name: str, url: str | None) -> None:
    """Compare the endpoint at Stripe with what is needed; the exit status is 1 if something is wrong."""
    provider, address = _selected(app, name, url)
    try:
        problems = provider.check_endpoint(address)
    finally:
        provider.close()
    lines = problems or [f"the endpoint for {address} is as it has to be"]
    app.answer({"url": address, "problems": problems}, lambda: click.echo("\n".join(lines)))
    if problems:
        sys.exit(1)
