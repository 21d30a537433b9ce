"""The gateway's provider with a lookup that contradicts itself, or tells what is not so."""

from providers import breaks, slow, snapshot_

from paysession.hooks import hookimpl
from paysession.money import Money
from paysession.provider import Effect
from paysession.testing.gateway_provider import GatewayProvider


def total(effects, kind, *states):
    """Return the sum of one kind of effect in some states."""
    minor = sum(effect.amount.minor for effect in effects if effect.kind == kind and effect.state in states)
    return Money.from_minor(minor, "EUR")


class Telling(GatewayProvider):
    """Tells of what the gateway shows what `told` makes of it."""

    def told(self, snapshot):
        return {}

    @hookimpl
    def retrieve(self, session):
        snapshot = super().retrieve(session)
        return snapshot_(snapshot, **self.told(snapshot)) if snapshot.status else snapshot


@breaks("test_totals_and_effects_tell_the_same[refund]", counterpart=slow)
class PendingInTotal(Telling):
    def told(self, snapshot):
        return {"refunded": total(snapshot.effects, "refund", "succeeded", "pending")}


@breaks("test_totals_and_effects_tell_the_same[capture]", counterpart=slow)
class PendingAsSucceeded(Telling):
    def told(self, snapshot):
        done = [
            Effect(e.kind, e.amount, "succeeded" if e.state == "pending" else e.state, e.reference, e.key)
            for e in snapshot.effects
        ]
        return {"effects": done}


@breaks("test_totals_and_effects_tell_the_same[capture]")
class TotalBeyondEffects(Telling):
    def told(self, snapshot):
        effects = [effect for effect in snapshot.effects if effect.kind != "capture"]
        halves = [
            Effect(e.kind, Money.from_minor(e.amount.minor // 2, "EUR"), e.state, e.reference, e.key)
            for e in snapshot.effects
            if e.kind == "capture"
        ]
        return {"effects": effects + halves}
