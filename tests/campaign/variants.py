"""The sound system, and broken ones, each with one mistake that has been seen in the wild.

A campaign on a broken variant must fail, and name the invariant that was violated: that shows that
the campaign can fail. Here are those whose store is broken; each site has some whose provider is.
"""

import secrets

from paysession import OutcomeUnknown, hookimpl
from paysession.store import Stale
from paysession.values import replace


class Sound:
    """What ships."""

    accounts = ""
    """Where the mistake shows best; empty: everywhere."""
    hot = 0
    Provider = None
    """The broken provider; None: the site's own."""

    def store(self, store):
        return store

    def account(self, account):
        return account


def leaking(cls):
    """Return a provider that writes the payer's payload into the error that it raises."""

    class Leaking(cls):
        @hookimpl
        def initiate(self, session, operation):
            try:
                return super().initiate(session, operation)
            except OutcomeUnknown as error:
                raise OutcomeUnknown(f"{error} for {operation.payload}") from None

    return Leaking


class _Around:
    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)


class NoCompareAndSwap(Sound):
    """A store that writes what it is given, whatever it was decided on."""

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

    class _Store(_Around):
        def commit(self, change):
            if change.events and secrets.randbelow(10) == 0:
                change = change._replace(events=change.events[1:])
            self._store.commit(change)

    def store(self, store):
        return self._Store(store)


class Forgets(Sound):
    """Books in which doubt has no next action: nobody ever looks again."""

    class _Store(_Around):
        def commit(self, change):
            session = change.session
            if session is not None and session.open is not None:
                change = change._replace(session=replace(session, due_at=None))
            self._store.commit(change)

    def store(self, store):
        return self._Store(store)


IN_THE_STORE = {
    "no-compare-and-swap": NoCompareAndSwap,
    "loses-events": LosesEvents,
    "forgets": Forgets,
}
