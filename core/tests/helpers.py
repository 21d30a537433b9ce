"""What the tests of every subject share."""

from paysession import Capabilities, Money, Outcome, hookimpl


def eur(amount):
    """Return an amount of euros, written as `Money` takes it: ``eur("42.00")``."""
    return Money(amount, "EUR")


def cents(minor):
    """Return an amount of euros in minor units."""
    return Money.from_minor(minor, "EUR")


class Least:
    """The least that is a provider: the three hooks that it has to have, and nothing in them."""

    capabilities = Capabilities()

    @hookimpl
    def initiate(self): ...

    @hookimpl
    def authorize(self): ...

    @hookimpl
    def cancel(self): ...


class Willing:
    """A gateway that can be queried, refuses nothing, and waits for its payers; a test adds what it shows."""

    capabilities = Capabilities(lookup="consistent")

    @hookimpl
    def initiate(self):
        return Outcome.pending()

    @hookimpl
    def authorize(self):
        return Outcome.authorized()

    @hookimpl
    def cancel(self):
        return Outcome.canceled()
