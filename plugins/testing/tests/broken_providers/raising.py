"""The gateway's provider with one safeguard of its increments removed each."""

import json
from datetime import timedelta
from secrets import token_hex

from attrs import evolve
from providers import breaks, snapshot_

from paysession.hooks import hookimpl
from paysession.provider import Outcome
from paysession.values import replace
from paysession_testing.contract.gateway import GatewayCounterpart
from paysession_testing.gateway_provider import GatewayProvider


class ByTheDifference(GatewayCounterpart):
    """A gateway that is asked for what to add."""

    def handle(self, method, path, headers, body):
        if path.endswith("/increment"):
            asked = json.loads(body)
            authorized = self.gateway.orders[path.split("/")[2]].authorized
            body = json.dumps({**asked, "amount": authorized + asked["more"]}).encode()
        return super().handle(method, path, headers, body)


class Raising(GatewayProvider):
    """Raises what is authorized by its own way."""

    def increment(self, session, operation):
        return super().update(session, operation)

    @hookimpl
    def update(self, session, operation):
        return (self.increment if operation.increments else super().update)(session, operation)


@breaks(
    "test_an_increment_raises_what_is_authorized",
    "test_an_increment_that_is_declined_leaves_the_authorization",
)
class RaisesInWordsOnly(Raising):
    def increment(self, session, operation):
        return Outcome.authorized(amount=operation.amount)


@breaks("test_the_same_increment_twice_raises_once", counterpart=ByTheDifference)
class AddsAtEachRepetition(Raising):
    """Asks for the difference, under a key that no repetition has."""

    def increment(self, session, operation):
        again = replace(operation, id=token_hex(8))
        more = operation.amount.minor - session.authorized
        self._post(f"orders/{session.reference}/increment", again, more=more)
        return Outcome.authorized(amount=operation.amount)


@breaks(
    "test_a_wrong_total_is_not_believed[wrong_amount]", "test_a_wrong_total_is_not_believed[wrong_currency]"
)
class AnswersWhatWasAsked(Raising):
    fix = "with the total that the gateway stated"

    def increment(self, session, operation):
        super().increment(session, operation)
        return Outcome.authorized()


@breaks(
    "test_an_increment_raises_what_is_authorized",
    "test_a_crash_while_it_is_raised_is_recovered[after]",
    "test_an_increment_in_doubt_is_settled_once[drop_after]",
)
class FormerAmountTold(Raising):
    """Shows the amount of the first authorization, at a gateway without keys."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.capabilities = evolve(self.capabilities, replay_window=timedelta(0))

    @hookimpl
    def retrieve(self, session):
        snapshot = super().retrieve(session)
        first = next((row.amount for row in snapshot.effects if row.kind == "authorize"), snapshot.amount)
        return snapshot_(snapshot, amount=first) if snapshot.status else snapshot


@breaks("test_what_was_raised_can_be_canceled")
class CancelsTheRaisedInWordsOnly(GatewayProvider):
    @hookimpl
    def cancel(self, session, operation):
        raised = self._get(f"orders/{session.reference}")["authorized"] == 4210
        return Outcome.canceled() if raised else super().cancel(session, operation)
