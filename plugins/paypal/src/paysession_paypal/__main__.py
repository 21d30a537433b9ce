"""``python -m paysession_paypal``: an account's webhook, and what payers saved.

The settings are read from the environment, as ``PAYSESSION_PAYPAL__CLIENT_ID`` and its like.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from paysession.provider import Declined, NotApplied, OutcomeUnknown
from paysession_paypal.provider import PayPal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["main"]

_READ = (
    "client_id",
    "client_secret",
    "environment",
    "webhook_id",
    "merchant_id",
    "proxy",
    "timeout",
    "endpoint",
)


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run one command; return the exit status: 0, or 1 with a sentence on standard error.

    Args:
        arguments: The command's; by default the process's own.
        environ: The environment with the settings; by default the process's own.
    """
    asked = _parser().parse_args(arguments)
    environ = os.environ if environ is None else environ
    prefix = f"PAYSESSION_{asked.name.upper().replace('-', '_')}__"
    settings: dict[str, Any] = {
        name: environ[prefix + name.upper()] for name in _READ if environ.get(prefix + name.upper())
    }
    lacking = [f"{prefix}{name.upper()}" for name in ("client_id", "client_secret") if name not in settings]
    if lacking:
        return _fail(f"not set: {' and '.join(lacking)}")
    try:
        provider = PayPal(**settings)
    except (TypeError, ValueError) as error:
        return _fail(str(error.args[0] if error.args else error))
    try:
        return _forget(provider, asked.id) if asked.command == "forget" else _webhook(provider, asked)
    except (Declined, NotApplied, OutcomeUnknown) as error:
        return _fail(error.message)
    finally:
        provider.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m paysession_paypal", description=__doc__)
    parser.add_argument("--name", default="paypal", help="the provider's name in the settings")
    commands = parser.add_subparsers(dest="command", required=True)
    register = commands.add_parser("register-webhook", help="register the webhook, or add what it lacks")
    register.add_argument("url", help="where notifications go: <public_url>/webhooks/<name>")
    commands.add_parser("check-webhook", help="check the webhook whose id is in the settings")
    forget = commands.add_parser("forget", help="delete how a payer pays, which was saved with a payment")
    forget.add_argument("id", help="its id at PayPal")
    return parser


def _webhook(provider: PayPal, asked: argparse.Namespace) -> int:
    if asked.command == "register-webhook":
        webhook = provider.register_webhook(asked.url)
        _say(f"PAYSESSION_{asked.name.upper().replace('-', '_')}__WEBHOOK_ID={webhook.id}")
        return 0
    found = provider.check_webhook()
    if found is None:
        return _fail("the account has no webhook with the id in the settings; register-webhook makes one")
    if found.lacking:
        return _fail(f"{found.url} is not sent {', '.join(found.lacking)}; register-webhook adds that")
    _say(f"{found.url} is sent all that is needed")
    return 0


def _forget(provider: PayPal, vault_id: str) -> int:
    provider.forget(vault_id)
    _say(f"{vault_id} is deleted")
    return 0


def _say(sentence: str) -> None:
    print(sentence)  # noqa: T201 - that is what a command does


def _fail(sentence: str) -> int:
    print(sentence, file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main())
