"""The sound system, and broken ones, each with one mistake that has been seen in the wild.

A campaign on a broken variant must fail, and name the invariant that was violated: that shows that
the campaign can fail.
"""

import json
import secrets
from datetime import timedelta

from attrs import evolve

from paysession import Declined, NotApplied, OutcomeUnknown, hookimpl
from paysession.outcome import Effect, WebhookEvent
from paysession.store import Stale
from paysession.values import replace
from paysession_testing.gateway import sign
from paysession_testing.gateway_provider import GatewayProvider


class Sound:
    """What ships."""

    violates = ""
    """The invariant that must be found violated."""
    accounts = ""
    """Where the mistake shows best; empty: everywhere."""
    hot = 0
    Provider = GatewayProvider

    def store(self, store):
        return store

    def account(self, account):
        return account

    def provider(self, account, url, **options):
        return self.Provider(url, capabilities=self.account(account).capabilities, **options)

    def forge(self, pay, name, headers, body):
        """Send a notification that nobody signed."""
        told = json.loads(body)
        told["id"] = f"forged_{secrets.token_hex(4)}"
        told["effects"] = [
            {"id": f"forged_{told['order']}", "kind": "capture", "amount": 1, "state": "succeeded", "key": ""}
        ]
        at = int(headers["Gateway-Signature"].partition("=")[2].partition(",")[0])
        text = json.dumps(told)
        reply = pay.handle_webhook(name, headers=sign("whsec_forger", text, at), body=text.encode())
        if reply.status == 200:
            pay.handle_webhook(name, headers=headers, body=body)


# --- keys -----------------------------------------------------------------------------------------


class RandomKey(Sound):
    """A key that is made anew for each attempt, instead of the operation's."""

    violates = "1"

    class Provider(GatewayProvider):
        def _exchange(self, method, path, body, key):
            return super()._exchange(method, path, body, key and secrets.token_hex(8))


class ResendAfterWindow(Sound):
    """A provider that claims that keys live, at a gateway that knows none: doubt is sent again."""

    violates = "1"
    accounts = "no-keys"

    def account(self, account):
        claimed = evolve(account.capabilities, replay_window=timedelta(days=9), lookup="none")
        return evolve(account, capabilities=claimed)


# --- answers --------------------------------------------------------------------------------------


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

    violates = "3"
    Provider = _instead_of_unknown(lambda error: Declined("failed", error.message))


class UnknownIsNotApplied(Sound):
    """A timeout that is taken for a failure: the shop tries again under the next key."""

    violates = "1"
    Provider = _instead_of_unknown(lambda error: NotApplied(error.message))


# --- the store ------------------------------------------------------------------------------------


class _Around:
    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)


class NoCompareAndSwap(Sound):
    """A store that writes what it is given, whatever it was decided on."""

    violates = "5"
    hot = 3

    class _Store(_Around):
        def commit(self, change):
            session = change.session
            while True:
                try:
                    return self._store.commit(change)
                except Stale:
                    if session is None or not change.expected:
                        raise
                    now = self._store.session(session.id)
                    newer = replace(session, version=now.version + 1)
                    change = change._replace(session=newer, expected=now.version)

    def store(self, store):
        return self._Store(store)


class LosesEvents(Sound):
    """A store whose event is written beside the transition, and sometimes is not."""

    violates = "5"

    class _Store(_Around):
        def commit(self, change):
            if change.events and secrets.randbelow(10) == 0:
                change = change._replace(events=change.events[1:])
            self._store.commit(change)

    def store(self, store):
        return self._Store(store)


class Forgets(Sound):
    """Books in which doubt has no next action: nobody ever looks again."""

    violates = "6"

    class _Store(_Around):
        def commit(self, change):
            session = change.session
            if session is not None and session.open is not None:
                change = change._replace(session=replace(session, due_at=None))
            self._store.commit(change)

    def store(self, store):
        return self._Store(store)


# --- notifications, and secrets -------------------------------------------------------------------


class TrustsNotifications(Sound):
    """A provider that believes what it is sent, without a signature and without asking."""

    violates = "2"

    def account(self, account):
        can = evolve(account.capabilities, lookup="none", lookup_lag=timedelta(0))
        return evolve(account, capabilities=can)

    class Provider(GatewayProvider):
        @hookimpl
        def parse_webhook(self, headers, body):
            told = json.loads(body)
            effects = [
                Effect(
                    row["kind"],
                    _money(row["amount"], told["currency"]),
                    row["state"],
                    row["id"],
                    row["key"] or None,
                )
                for row in told["effects"]
            ]
            return [WebhookEvent(told["id"], told["type"], session_id=told["ours"], effects=effects)]


class Leaks(Sound):
    """A provider that writes the payer's payload into the error that it raises."""

    violates = "8"

    class Provider(GatewayProvider):
        @hookimpl
        def initiate(self, session, operation):
            try:
                return super().initiate(session, operation)
            except OutcomeUnknown as error:
                raise OutcomeUnknown(f"{error} for {operation.payload}") from None


def _money(minor, currency):
    from paysession import Money

    return Money.from_minor(minor, currency)


BROKEN = {
    "random-key": RandomKey,
    "resend-after-window": ResendAfterWindow,
    "unknown-is-declined": UnknownIsDeclined,
    "unknown-is-not-applied": UnknownIsNotApplied,
    "no-compare-and-swap": NoCompareAndSwap,
    "loses-events": LosesEvents,
    "forgets": Forgets,
    "trusts-notifications": TrustsNotifications,
    "leaks": Leaks,
}


def variant(name):
    """Return the variant of a name; the sound one for an empty name."""
    return BROKEN[name]() if name else Sound()
