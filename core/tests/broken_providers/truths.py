"""The gateway's provider with a lookup that contradicts itself, or tells what is not so."""

from providers import breaks, replace_, slow, snapshot_

from paysession.hooks import hookimpl
from paysession.money import Money
from paysession.provider import Effect, Outcome, Redirect, Status
from paysession.testing.gateway_provider import GatewayProvider
from paysession.values import replace


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


@breaks("test_what_others_do_at_the_gateway_is_booked[capture]")
class CapturesOfOthersNotTold(Telling):
    def told(self, snapshot):
        return {
            "effects": [effect for effect in snapshot.effects if effect.kind != "capture" or effect.key],
            "captured": None,
        }


@breaks("test_what_others_do_at_the_gateway_is_booked[cancel]")
class CancelAsDeclined(Telling):
    def told(self, snapshot):
        return {"status": Status.ERROR} if snapshot.status is Status.CANCELED else {}


@breaks("test_what_others_do_at_the_gateway_is_booked[chargeback]")
class ChargebackNotTold(Telling):
    def told(self, snapshot):
        effects = [effect for effect in snapshot.effects if effect.kind != "refund" or effect.key]
        return {"effects": effects, "refunded": total(effects, "refund", "succeeded")}


# --- what others do meanwhile -----------------------------------------------------------------------


@breaks("test_a_notification_may_overtake_the_answer[authorize]")
class KeepsWhatOnlyTheAnswerSays(GatewayProvider):
    """A later step needs what `authorize` keeps in ``data``, and `retrieve` does not tell it."""

    @hookimpl
    def authorize(self, session, operation):
        outcome = super().authorize(session, operation)
        return replace_(outcome, data={**session.data, "authorization": session.reference})

    @hookimpl
    def capture(self, session, operation):
        return super().capture(replace(session, reference=session.data["authorization"]), operation)


@breaks("test_a_notification_may_overtake_the_answer[refund]")
class KeyOfAnotherOperation(Telling):
    """Tells effects with a key that is none of ours, and with no reference while they are new."""

    def told(self, snapshot):
        return {"effects": [Effect(e.kind, e.amount, e.state, None, "other") for e in snapshot.effects]}


@breaks("test_the_payer_may_approve_at_any_time[after]")
class RemembersThatThePayerMustAct(GatewayProvider):
    @hookimpl
    def authorize(self, session, operation):
        if session.data.get("asked"):
            return Outcome.requires_more(next_action=Redirect("https://gateway.example/pay"))
        outcome = super().authorize(session, operation)
        return replace_(outcome, data={**session.data, "asked": outcome.answer == "requires_more"})


@breaks("test_the_payer_may_approve_at_any_time[after]")
class OneKeyForAllAuthorizations(GatewayProvider):
    @hookimpl
    def authorize(self, session, operation):
        return super().authorize(session, replace(operation, id=f"{session.id}-authorize"))
