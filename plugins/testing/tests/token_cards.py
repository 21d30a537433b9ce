"""Gateways whose payer acts by a card token in the payload, and their careful providers."""

import json
from urllib.parse import quote

from paysession.hooks import hookimpl
from paysession.provider import Declined, OutcomeUnknown
from paysession.provider import Outcome as Answer
from paysession_testing.contract.gateway import GatewayCounterpart
from paysession_testing.gateway_provider import GatewayProvider, _authorized

ACTS = {"tok_good": "approve", "tok_bad": "decline"}


class TokenIntents(GatewayCounterpart):
    """A gateway with an order that waits for a token: it hears of the card with our `authorize`."""

    cannot = {"approval": "the card's token comes with `authorize`"}

    def handle(self, method, path, headers, body):
        told = json.loads(body) if body else {}
        parts = path.strip("/").split("/")
        if (
            parts[-1] == "authorize"
            and "token" in told
            and not self.gateway.knows(headers["idempotency-key"])
        ):
            self.gateway.payer(self.gateway.orders[parts[1]].ours, ACTS[told["token"]])
        return super().handle(method, path, headers, body)

    def approve(self, session):
        return {"token": "tok_good"}

    def decline(self, session):
        return {"token": "tok_bad"}


class TokenIntentProvider(GatewayProvider):
    """Makes the order in `initiate`, and sends the token with `authorize`."""

    @hookimpl
    def authorize(self, session, operation):
        order = self._get(f"orders/{session.reference}")
        if order is not None and order["status"] in ("authorized", "canceled"):
            return _authorized(order)
        token = operation.payload.get("token")
        if not isinstance(token, str):
            return Answer.requires_more(next_action=session.next_action)
        return _authorized(self._post(f"orders/{session.reference}/authorize", operation, token=token))


class TokenCards(TokenIntents):
    """A gateway that makes, charges and answers all in one request: before it there is nothing."""

    cannot = {**TokenIntents.cannot, "object": "a payment is made with the card's token, by `authorize`"}

    def handle(self, method, path, headers, body):
        if method == "POST" and path == "/payments":
            return self._pay(headers, json.loads(body))
        return super().handle(method, path, headers, body)

    def _pay(self, headers, told):
        """Make an order and authorize it at once, under the same key."""
        token, key = told.pop("token"), headers["idempotency-key"]
        made = self.gateway.request("orders", f"{key}-order", told)
        if not made.ok:
            return made.status, {}, made.body
        if not self.gateway.knows(key):
            self.gateway.payer(told["ours"], ACTS[token])
        done = self.gateway.request(
            f"orders/{made.body['order']}/authorize", key, {"operation": told["operation"]}
        )
        return done.status, {}, done.body

    def ledger(self, session):
        return [effect for effect in super().ledger(session) if effect.kind != "initiate"]


class TokenCardProvider(GatewayProvider):
    """Sends nothing before the payer's token is there, and finds a payment by the session's id."""

    @hookimpl
    def initiate(self, session):
        return Answer.requires_more()

    @hookimpl
    def authorize(self, session, operation):
        payment = self.find(session)
        if payment is not None and payment["status"] in ("authorized", "canceled"):
            return self.told(payment)
        token = operation.payload.get("token")
        if not isinstance(token, str):
            return Answer.requires_more()
        return self.told(
            self._post(
                "payments",
                operation,
                ours=session.id,
                amount=session.amount.minor,
                currency=session.amount.currency,
                automatic=session.capture == "automatic",
                webhook_url=operation.webhook_url,
                token=token,
            )
        )

    def find(self, session):
        return self._get(f"orders?ours={quote(session.id)}")

    def told(self, payment):
        answer = _authorized(payment)
        if answer.answer == "authorized":
            return Answer.authorized(amount=answer.amount, reference=payment["order"])
        if answer.answer == "captured":
            return Answer.captured(answer.amount, reference=payment["order"])
        if answer.answer == "canceled":
            return answer
        raise OutcomeUnknown(f"the payment is {payment['status']!r}")

    @hookimpl
    def update(self, session, operation):
        return super().update(session, operation) if operation.increments else Answer.requires_more()

    @hookimpl
    def cancel(self, session, operation):
        if session.reference is None:
            if self.find(session) is not None:
                raise Declined("payment_exists", "a payment of this session was begun")
            return Answer.canceled()
        return super().cancel(session, operation)
