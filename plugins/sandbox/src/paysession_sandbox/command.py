"""``paysession sandbox``: Stripe and PayPal on this machine, until they are stopped.

It is loaded by the ``paysession`` command, which brings click, whenever that lists its commands. What it
starts is imported when it starts.
"""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["run", "sandbox"]

STRIPE_PORT, PAYPAL_PORT = 8421, 8422
WEBHOOK_SECRET: Final = "whsec_sandbox"  # noqa: S105 - it guards nothing
_NAMES: Final = ("stripe", "paypal")


@click.command()
@click.option("--stripe-port", default=STRIPE_PORT, show_default=True, type=click.IntRange(0, 65_535))
@click.option("--paypal-port", default=PAYPAL_PORT, show_default=True, type=click.IntRange(0, 65_535))
@click.option("--only", type=click.Choice(_NAMES), help="Start one of them.")
@click.option(
    "--state",
    "folder",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep what they hold in this folder, from one start to the next; in memory by default.",
)
@click.option("--webhooks", metavar="URL", help="Send Stripe's events to this address, signed.")
@click.option("--paypal-webhooks", metavar="URL", help="Send PayPal's notifications to this address, signed.")
@click.option(
    "--search-lag",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Seconds until a search finds what is new.",
)
@click.option("--json", "json_", is_flag=True, help="Print the settings as JSON, on one line.")
@click.pass_context
def sandbox(
    context: click.Context,
    stripe_port: int,
    paypal_port: int,
    only: str | None,
    folder: Path | None,
    webhooks: str | None,
    paypal_webhooks: str | None,
    search_lag: int,
    json_: bool,
) -> None:
    """Start a Stripe and a PayPal on this machine, without an account.

    Each has a page at its address, with buttons to act as payer, bank and dashboard. Stop them with
    Ctrl-C.
    """
    with ExitStack() as stack:
        addresses, settings = run(
            stack,
            stripe_port=stripe_port,
            paypal_port=paypal_port,
            only=only,
            folder=folder,
            webhooks=webhooks,
            paypal_webhooks=paypal_webhooks,
            search_lag=search_lag,
        )
        if json_ or getattr(context.obj, "json", False):
            click.echo(json.dumps({"addresses": addresses, "settings": settings}))
        else:
            for name, address in addresses.items():
                click.echo(f"# {name}: {address}/")
            for name, value in settings.items():
                click.echo(f"export {name}={value}")
        _wait()


def run(
    stack: ExitStack,
    *,
    stripe_port: int,
    paypal_port: int,
    only: str | None = None,
    folder: Path | None = None,
    webhooks: str | None = None,
    paypal_webhooks: str | None = None,
    search_lag: int = 0,
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Start the stand-ins within a stack; return their addresses and a shop's settings.

    Raises:
        click.ClickException: A port is taken, or the folder holds something else.
    """
    # `paysession --help` would take twice as long with them.
    from datetime import timedelta  # noqa: PLC0415

    from paysession_sandbox.clock import Clock  # noqa: PLC0415
    from paysession_sandbox.paypal import PayPalFake  # noqa: PLC0415
    from paysession_sandbox.stripe import StripeSandbox  # noqa: PLC0415

    addresses: dict[str, str] = {}
    settings: dict[str, str] = {}
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.ClickException(f"--state {folder}: {error}") from None
    if only != "paypal":
        try:
            lag = timedelta(seconds=search_lag)
            stripe = stack.enter_context(StripeSandbox(port=stripe_port, folder=folder, search_lag=lag))
        except OSError as error:
            raise click.ClickException(f"Stripe does not start on port {stripe_port}: {error}") from None
        except ValueError as error:
            raise click.ClickException(f"Stripe does not start: {error}") from None
        known = [row["url"] for row in stripe.account().all("webhook_endpoint")]
        if webhooks is not None and webhooks not in known:
            stripe.send_webhooks_to(webhooks, secret=WEBHOOK_SECRET)
            stripe.changed()
        addresses["Stripe"] = stripe.url
        settings |= stripe.environment()
    if only != "stripe":
        try:
            clock = Clock(running=True)
            paypal = stack.enter_context(PayPalFake(clock, port=paypal_port, folder=folder))
        except OSError as error:
            raise click.ClickException(f"PayPal does not start on port {paypal_port}: {error}") from None
        except ValueError as error:
            raise click.ClickException(f"PayPal does not start: {error}") from None
        addresses["PayPal"] = paypal.url
        if paypal_webhooks is not None and paypal_webhooks not in paypal.deliveries.urls:
            paypal.send_webhooks_to(paypal_webhooks)
        settings |= paypal.environment()
    return addresses, settings


def _wait() -> None:
    """Wait until somebody stops it."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)
