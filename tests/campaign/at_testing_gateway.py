"""The campaign at the kit's testing gateway: five accounts, which differ in their keys and lookups."""

import json
import secrets
from datetime import timedelta

from attrs import frozen
from testing_variants import BROKEN
from world import RATE, Site

from paysession import Capabilities
from paysession_testing.gateway import sign
from paysession_testing.gateway_process import GatewayProcess
from paysession_testing.gateway_provider import GatewayProvider

TIMEOUT = 0.25
"""Real seconds that a provider waits for the gateway."""

LAG = 45.0
"""Seconds by which the lagging account's lookup is behind."""

CALL_LIMIT = timedelta(seconds=4 * TIMEOUT * RATE)
"""The slowest hook looks and writes; each may connect and wait."""


def _can(window=timedelta(hours=24), lookup="consistent", lag=timedelta(0), increment=True):
    return Capabilities(
        capture="multiple",
        refund="multiple",
        replay_window=window,
        lookup=lookup,
        lookup_lag=lag,
        keyed_effects=True,
        increment=increment,
        call_limit=CALL_LIMIT,
    )


@frozen
class Account:
    """One account at the gateway, and what its provider declares."""

    name: str
    keys: str
    capabilities: Capabilities
    lag: float = 0.0

    @property
    def askable(self):
        return self.capabilities.lookup != "none"

    @property
    def increments(self):
        return self.capabilities.increment


FAULTS = {
    "drop_before": 6,
    "drop_after": 9,
    "silent_before": 1,
    "silent_after": 1.5,
    "late": 1.5,
    "error_before": 3,
    "error_after": 6,
    "bad_gateway_after": 3,
    "unavailable": 3,
    "busy": 6,
    "request_timeout_before": 2,
    "request_timeout_after": 2,
    "in_progress": 3,
    "declined": 2,
    "garbage": 4,
    "truncated": 4,
    "empty": 2,
    "wrong_amount": 4,
    "wrong_currency": 4,
    "unknown_status": 3,
    "slow": 8,
}
"""How often each fault strikes, relative to the others."""


class AtTestingGateway(Site):
    """The kit's gateway, and its provider."""

    accounts = {
        account.name: account
        for account in (
            Account("replays-all", "all", _can()),
            Account("replays-success", "success", _can()),
            Account("no-keys", "none", _can(window=timedelta(0))),
            Account("lagging", "all", _can(lookup="lagging", lag=timedelta(seconds=LAG)), LAG),
            Account("blind", "all", _can(lookup="none", increment=False)),
        )
    }
    restorable = ("replays-all", "replays-success", "lagging")
    """Where a gateway knows no keys, or cannot be queried, somebody has to compare what it has before a
    payment is begun again."""
    currencies = ("EUR", "JPY", "KWD")
    secrets = ("sk_gateway", "whsec_gateway")
    faults = FAULTS
    broken = BROKEN

    def start(self):
        return GatewayProcess()

    def open(self, gateway, name, seed):
        account = self.accounts[name]
        gateway.open(name, keys=account.keys, lag=account.lag, late=0.3, seed=seed)

    def provider(self, world, name, points):
        account = world.variant.account(self.accounts[name])
        return (world.variant.Provider or GatewayProvider)(
            world.gateway.url(name),
            capabilities=account.capabilities,
            clock=world.shared.seconds,
            connect=points.connection if points is not None else None,
            timeout=TIMEOUT,
        )

    def forged(self, headers, body):
        told = json.loads(body)
        told["id"] = f"forged_{secrets.token_hex(4)}"
        told["effects"] = [
            {"id": f"forged_{told['order']}", "kind": "capture", "amount": 1, "state": "succeeded", "key": ""}
        ]
        at = int(headers["Gateway-Signature"].partition("=")[2].partition(",")[0])
        text = json.dumps(told)
        return sign("whsec_forger", text, at), text.encode()
