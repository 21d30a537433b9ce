"""The provider of the testing gateway, broken on purpose."""

import json
import secrets
from datetime import timedelta

from attrs import evolve
from variants import IN_THE_STORE, Sound, leaking

from paysession import Declined, Money, NotApplied, OutcomeUnknown, hookimpl
from paysession.outcome import Effect, WebhookEvent
from paysession_testing.gateway_provider import GatewayProvider


class RandomKey(Sound):
    """A key that is made anew for each attempt, instead of the operation's."""

    class Provider(GatewayProvider):
        def _exchange(self, method, path, body, key):
            return super()._exchange(method, path, body, key and secrets.token_hex(8))


class ResendAfterWindow(Sound):
    """A provider that claims that keys live, at a gateway that knows none: doubt is sent again."""

    accounts = "no-keys"

    def account(self, account):
        claimed = evolve(
            account.capabilities, replay_window=timedelta(days=9), lookup="none", increment=False
        )
        return evolve(account, capabilities=claimed)


def _instead_of_unknown(make):
    class Mapped(GatewayProvider):
        def _post(self, path, operation, **body):
            try:
                return super()._post(path, operation, **body)
            except OutcomeUnknown as error:
                raise make(error) from None

    return Mapped


class UnknownIsDeclined(Sound):
    """A timeout that is recorded as a decline."""

    Provider = _instead_of_unknown(lambda error: Declined("failed", error.message))


class UnknownIsNotApplied(Sound):
    """A timeout that is taken for a failure: the shop tries again under the next key."""

    Provider = _instead_of_unknown(lambda error: NotApplied(error.message))


class TrustsNotifications(Sound):
    """A provider that believes what it is sent, without a signature and without asking."""

    def account(self, account):
        can = evolve(account.capabilities, lookup="none", lookup_lag=timedelta(0), increment=False)
        return evolve(account, capabilities=can)

    class Provider(GatewayProvider):
        @hookimpl
        def parse_webhook(self, headers, body):
            told = json.loads(body)
            effects = [
                Effect(
                    row["kind"],
                    Money.from_minor(row["amount"], told["currency"]),
                    row["state"],
                    row["id"],
                    row["key"] or None,
                )
                for row in told["effects"]
            ]
            return [WebhookEvent(told["id"], told["type"], session_id=told["ours"], effects=effects)]


class Leaks(Sound):
    """A provider that writes the payer's payload into the error that it raises."""

    Provider = leaking(GatewayProvider)


BROKEN = {
    "random-key": RandomKey,
    "resend-after-window": ResendAfterWindow,
    "unknown-is-declined": UnknownIsDeclined,
    "unknown-is-not-applied": UnknownIsNotApplied,
    "trusts-notifications": TrustsNotifications,
    "leaks": Leaks,
    **IN_THE_STORE,
}
