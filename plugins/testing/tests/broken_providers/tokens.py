"""Providers of gateways that take a token in the payload, with one safeguard removed each, or words that lie."""

from providers import breaks
from token_cards import TokenCardProvider, TokenCards, TokenIntentProvider, TokenIntents

from paysession.hooks import hookimpl
from paysession.provider import Outcome, Snapshot
from paysession_testing.contract.gateway import GatewayCounterpart
from paysession_testing.gateway_provider import GatewayProvider


class SaysNoObject(TokenIntents):
    cannot = {**TokenIntents.cannot, "object": "it is not so"}


@breaks("test_the_gateways_object_carries_the_sessions_id", counterpart=SaysNoObject)
class ObjectDenied(TokenIntentProvider):
    """``initiate`` makes an order, and the counterpart says that it makes none."""


class SaysNoApproval(GatewayCounterpart):
    cannot = {"approval": "it is not so"}


@breaks("test_a_payer_who_never_returns_is_no_lost_sale", counterpart=SaysNoApproval)
class ApprovalDenied(GatewayProvider):
    """The payer approves at the gateway, and the counterpart says that the gateway hears nothing."""


class SaysNoApprovalWithPayload(SaysNoApproval):
    def approve(self, session):
        super().approve(session)
        return {"token": "of no use"}


@breaks("test_a_payer_who_never_returns_is_no_lost_sale", counterpart=SaysNoApprovalWithPayload)
class PayloadOfNoUse(GatewayProvider):
    """What the browser brings is not what authorizes."""


@breaks("test_the_gateways_object_carries_the_sessions_id", counterpart=TokenCards)
class LateObjectWithoutReference(TokenCardProvider):
    def told(self, payment):
        answer = super().told(payment)
        return Outcome.authorized(amount=answer.amount) if answer.answer == "authorized" else answer


@breaks("test_amounts_are_right_in_every_currency", counterpart=TokenCards)
class LateAmountTimesAHundred(TokenCardProvider):
    def _post(self, path, operation, **body):
        if "currency" in body:
            body["amount"] = int(operation.amount.amount * 100)
        return super()._post(path, operation, **body)


@breaks("test_a_refusal_for_the_objects_state_is_no_decline[authorize]", counterpart=TokenCards)
class AuthorizesWithoutLooking(TokenCardProvider):
    def find(self, session):
        return None


@breaks(
    "test_after_the_key_expired_it_is_only_looked_up[authorize-after]",
    "test_a_notification_brings_the_ledger_up_to_date",
    counterpart=TokenCards,
)
class FoundByReferenceOnly(TokenCardProvider):
    """Says that there is nothing of a payment whose id was lost together with the answer."""

    @hookimpl
    def retrieve(self, session):
        return super().retrieve(session) if session.reference else Snapshot.absent()
