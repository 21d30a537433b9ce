"""What the tests of every subject share."""

from paysession import Money


def eur(amount):
    """Return an amount of euros, written as `Money` takes it: ``eur("42.00")``."""
    return Money(amount, "EUR")


def cents(minor):
    """Return an amount of euros in minor units."""
    return Money.from_minor(minor, "EUR")
