"""The provider for Stripe, broken on purpose."""

import secrets

from variants import IN_THE_STORE, Sound, leaking

from paysession import Declined, NotApplied, OutcomeUnknown
from paysession_stripe import Stripe

WRITES = (
    "create_intent",
    "update_intent",
    "confirm_intent",
    "increment_intent",
    "capture_intent",
    "refund",
)


def _sending(change):
    """Return a provider whose requests are changed before they are sent."""

    class Changed(Stripe):
        def _account(self, data, operation):
            account = super()._account(data, operation)
            change(account)
            return account

    return Changed


def _keys(make):
    def change(account):
        options = account._options
        account._options = lambda key=None: options(key and make())

    return change


def _instead_of_unknown(make):
    def mapped(write):
        def call(*arguments, **options):
            try:
                return write(*arguments, **options)
            except OutcomeUnknown as error:
                raise make(error) from None

        return call

    def change(account):
        for name in WRITES:
            setattr(account, name, mapped(getattr(account, name)))

    return change


class RandomKey(Sound):
    """A key that is made anew for each attempt, instead of the operation's."""

    accounts = "hosted,lagging"
    Provider = _sending(_keys(lambda: secrets.token_hex(8)))


class NoKey(Sound):
    """No key: the stripe package makes one of its own for each call."""

    accounts = "hosted,lagging"
    Provider = _sending(_keys(lambda: None))


class UnknownIsDeclined(Sound):
    """A timeout that is recorded as a decline."""

    Provider = _sending(_instead_of_unknown(lambda error: Declined("failed", error.message)))


class UnknownIsNotApplied(Sound):
    """A timeout that is taken for a failure."""

    Provider = _sending(_instead_of_unknown(lambda error: NotApplied(error.message)))


class Unmarked(Sound):
    """Captures without our mark: a lookup takes each for somebody else's."""

    @staticmethod
    def _unmark(account):
        capture = account.capture_intent

        def unmarked(intent, params, *, key):
            params.pop("metadata", None)
            return capture(intent, params, key=key)

        account.capture_intent = unmarked

    Provider = _sending(_unmark.__func__)


class RaisesAgain(Sound):
    """An increment by a difference: without an answer it is sent again, on top of what is held by then."""

    accounts = "several,raised"

    @staticmethod
    def _add(account):
        increment = account.increment_intent

        def adding(intent, params, *, key):
            more = params["amount"] - account.intent(intent)["amount"]
            try:
                return increment(intent, params, key=key)
            except OutcomeUnknown:
                params["amount"] = account.intent(intent)["amount"] + more
                return increment(intent, params, key=f"{key}-again")

        account.increment_intent = adding

    Provider = _sending(_add.__func__)


class Leaks(Sound):
    """A provider that writes the payer's payload into the error that it raises."""

    Provider = leaking(Stripe)


BROKEN = {
    "random-key": RandomKey,
    "no-key": NoKey,
    "unknown-is-declined": UnknownIsDeclined,
    "unknown-is-not-applied": UnknownIsNotApplied,
    "unmarked": Unmarked,
    "raises-again": RaisesAgain,
    "leaks": Leaks,
    **IN_THE_STORE,
}
