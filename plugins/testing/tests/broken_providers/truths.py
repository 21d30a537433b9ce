"""The gateway's provider with a lookup that contradicts itself, or tells what is not so."""

import json

from providers import breaks, replace_, slow, snapshot_

from paysession.hooks import hookimpl
from paysession.money import Money
from paysession.provider import (
    Capabilities,
    Changes,
    Effect,
    Outcome,
    OutcomeUnknown,
    Redirect,
    Status,
    WebhookEvent,
)
from paysession.values import replace
from paysession_testing.contract.gateway import GatewayCounterpart
from paysession_testing.gateway_provider import GatewayProvider, ListingProvider


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
        effects = [effect for effect in snapshot.effects if effect.kind != "chargeback"]
        return {"effects": effects, "charged_back": None}


@breaks("test_what_nobody_was_notified_of_is_found_by_the_list_of_changes")
class ChangesOfNobody(ListingProvider):
    fix = "give session_id= or references="

    @hookimpl
    def changes(self, since):
        found = super().changes(since)
        return Changes([WebhookEvent(e.id, e.type) for e in found.events], found.until)


@breaks("test_what_others_do_at_the_gateway_is_booked[chargeback]")
class ChargebackAsRefund(Telling):
    fix = "a dispute as an Effect of the kind chargeback"

    def told(self, snapshot):
        effects = [
            Effect("refund", effect.amount, effect.state, effect.reference)
            if effect.kind == "chargeback"
            else effect
            for effect in snapshot.effects
        ]
        return {"effects": effects, "charged_back": None, "refunded": total(effects, "refund", "succeeded")}


@breaks("test_retrieve_tells_what_happened", "test_after_the_key_expired_it_is_only_looked_up[refund-after]")
class RefundsNotTold(Telling):
    """Shows captures one by one, and nothing of refunds: their absence would be taken for evidence."""

    fix = "give refunded= in the Snapshot"

    def told(self, snapshot):
        effects = [effect for effect in snapshot.effects if effect.kind != "refund"]
        return {"effects": effects, "refunded": None}


@breaks("test_retrieve_tells_what_happened", "test_after_the_key_expired_it_is_only_looked_up[update-before]")
class AmountNotTold(Telling):
    fix = "give amount= in the Snapshot"

    def told(self, snapshot):
        return {"amount": None}


@breaks(
    "test_retrieve_tells_what_happened", "test_after_the_key_expired_it_is_only_looked_up[authorize-after]"
)
class AuthorizedAsPending(Telling):
    fix = "it was pending"

    def told(self, snapshot):
        return {"status": Status.PENDING} if snapshot.status is Status.AUTHORIZED else {}


@breaks("test_after_the_key_expired_it_is_only_looked_up[capture-after]")
class EffectsUnderAnotherKey(Telling):
    fix = "give the Effect the operation.key"

    def told(self, snapshot):
        return {
            "effects": [
                Effect(e.kind, e.amount, e.state, e.reference, f"shop {e.key}") for e in snapshot.effects
            ]
        }


@breaks("test_retrieve_tells_what_happened")
class EffectsUnderThePaymentsId(Telling):
    fix = "not that of the payment"

    def told(self, snapshot):
        return {"effects": [Effect(e.kind, e.amount, e.state, snapshot.reference) for e in snapshot.effects]}


class Keyless(GatewayCounterpart):
    """A gateway that knows no keys."""

    key_header = None

    def __init__(self):
        super().__init__(keys="none")


@breaks("test_the_same_operation_twice_has_one_effect[capture]", counterpart=Keyless)
class WindowWithoutKeys(GatewayProvider):
    """Declares that repetitions are safe at a gateway that knows no keys."""

    fix = "declare replay_window=timedelta(0)"

    def _exchange(self, method, path, body, key):
        told = json.loads(body) if body else {}
        told.pop("operation", None)
        return super()._exchange(method, path, json.dumps(told) if body else None, None)


class NoWindow(GatewayProvider):
    """Declares no replay_window."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        limit = self.capabilities.call_limit
        self.capabilities = Capabilities(
            capture="multiple", refund="multiple", lookup="consistent", call_limit=limit
        )


@breaks("test_doubt_is_settled_with_one_effect[cancel-drop_before]")
class AsksInVain(NoWindow):
    """Cannot tell whether it was canceled: nothing else is tried without a window."""

    fix = "nothing is sent again without replay_window="

    @hookimpl
    def retrieve(self, session, operation):
        if operation is not None and operation.kind == "cancel":
            raise OutcomeUnknown("no such cancel")
        return super().retrieve(session)


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


@breaks("test_a_final_capture_lets_go_of_the_rest")
class SaysReleased(GatewayProvider):
    """Says that the rest was released, and does not ask the gateway to."""

    def _post(self, path, operation, **body):
        return super()._post(path, operation, **{**body, "final": False} if "final" in body else body)


@breaks("test_an_automatic_session_is_captured")
class NeverAutomatic(GatewayProvider):
    """Makes each order for a capture of its own, whatever was asked for."""

    def _post(self, path, operation, **body):
        return super()._post(path, operation, **{**body, "automatic": False} if "automatic" in body else body)


@breaks("test_a_failed_lookup_proves_nothing[404_html]")
class AnyNotFound(GatewayProvider):
    """Takes a proxy's 404 for the gateway's word."""

    def _exchange(self, method, path, body, key):
        status, text = super()._exchange(method, path, body, key)
        return status, b"{}" if status == 404 else text
