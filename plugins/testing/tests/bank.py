"""A bank with short order numbers and no keys, paid at once on its page, and its careful provider."""

import hashlib
from datetime import timedelta

from paysession.hooks import hookimpl
from paysession.provider import Capabilities, Declined, Outcome, Snapshot
from paysession.values import replace
from paysession_testing.contract.gateway import GatewayCounterpart
from paysession_testing.gateway_provider import GatewayProvider


def numbered(session):
    """Return a session under its order number."""
    return replace(session, id=hashlib.sha256(session.id.encode()).hexdigest()[:20])


class Bank(GatewayCounterpart):
    key_header = None
    cannot = {"cancel": "what nobody paid for expires by itself"}

    def __init__(self):
        super().__init__(keys="none")

    def ledger(self, session):
        return super().ledger(numbered(session))

    def approve(self, session):
        self.gateway.payer(numbered(session).id, "confirm")
        self.gateway.dashboard(numbered(session).id, "capture", session.amount.minor)

    def decline(self, session):
        super().decline(numbered(session))

    def refund_in_dashboard(self, session, amount):
        super().refund_in_dashboard(numbered(session), amount)

    def charge_back(self, session, amount):
        super().charge_back(numbered(session), amount)

    def open_dispute(self, session, amount):
        super().open_dispute(numbered(session), amount)

    def win_dispute(self, session):
        super().win_dispute(numbered(session))


class BankProvider(GatewayProvider):
    parse_webhook = None

    def __init__(self, url, timeout):
        limit = timedelta(seconds=4 * timeout)
        can = Capabilities(refund="multiple", lookup="consistent", call_limit=limit)
        super().__init__(url, timeout=timeout, capabilities=can)

    @hookimpl
    def initiate(self, session, operation):
        return super().initiate(numbered(session), operation)

    @hookimpl
    def authorize(self, session):
        seen = self.retrieve(session)
        if seen.status == "error":
            raise Declined("refused")
        return Outcome.captured(seen.captured) if seen.captured else Outcome.requires_more()

    @hookimpl
    def cancel(self, session):
        raise Declined("cannot_cancel", "what nobody paid for expires by itself")

    @hookimpl
    def retrieve(self, session):
        seen = super().retrieve(numbered(session))
        if seen.status is None:
            return seen
        totals = {"authorized": seen.authorized, "captured": seen.captured, "refunded": seen.refunded}
        told = {"session_id": session.id, "reference": seen.reference, "error": seen.error}
        return Snapshot(seen.status, amount=seen.amount, effects=seen.effects, **totals, **told)
