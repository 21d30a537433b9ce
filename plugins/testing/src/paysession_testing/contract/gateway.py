"""The testing gateway as a counterpart: the contract's own first subject, to be read as an example."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from paysession import Money
from paysession.provider import Effect
from paysession_testing.contract.counterpart import Counterpart, Reply
from paysession_testing.gateway import Gateway, sign

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from paysession import PaymentSession

__all__ = ["GatewayCounterpart"]

SECRET = "whsec_gateway"  # noqa: S105 - it guards nothing


class GatewayCounterpart(Counterpart):
    """A `Gateway` in this process, served by the kit.

    Args:
        slow: Captures and refunds are accepted first, and finished later.
        debit: The payer pays by a debit, which is accepted first as well.
        options: Of the gateway.
    """

    replays = True
    secrets = (SECRET,)

    def __init__(self, *, slow: bool = False, debit: bool = False, **options: Any) -> None:
        self.slow = slow
        self.debit = debit
        self._unwilling: set[str] = set()
        self.gateway = Gateway(time.time, secret=SECRET, **options)

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer as the gateway's server does."""
        url = urlsplit(path)
        place = url.path.strip("/")
        if not headers.get("authorization", "").startswith("Bearer "):
            return 401, {}, {"error": "who_are_you"}
        if method == "GET" and place == "changes":
            reply = self.gateway.changes(float(parse_qs(url.query)["since"][0]))
        elif method == "GET":
            ours = parse_qs(url.query).get("ours", [None])[0]
            reply = self.gateway.lookup(place.partition("/")[2] or None, ours)
        else:
            key = headers.get("idempotency-key", "")
            unwilling = place.endswith("/increment") and place.split("/")[1] in self._unwilling
            reply = self.gateway.request(place, key, json.loads(body), slow=self.slow, decline=unwilling)
        return reply.status, {}, reply.body

    def ledger(self, session: PaymentSession) -> Sequence[Effect]:
        """Return the ledger's entries of a session; an update moves nothing."""
        own = [entry for entry in self.gateway.ledger if entry.ours == session.id]
        raised = sum(entry.amount for entry in own if entry.kind == "increment")
        return [
            Effect(
                "initiate" if entry.kind == "create" else entry.kind,  # pyright: ignore[reportArgumentType]
                Money.from_minor(entry.amount + raised * (entry.kind == "authorize"), entry.currency),
                entry.state,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
                entry.id,
            )
            for entry in own
            if entry.kind not in ("update", "increment")
        ]

    def approve(self, session: PaymentSession) -> None:
        """Approve as the payer."""
        self.gateway.payer(session.id, "debit" if self.debit else "approve")

    def decline(self, session: PaymentSession) -> None:
        """Decline as the payer's bank."""
        self.gateway.payer(session.id, "decline")

    def decline_increment(self, session: PaymentSession) -> None:
        """Refuse, as the payer's bank, to raise what is authorized."""
        self._unwilling.add(session.reference or "")

    def notification(self, session: PaymentSession) -> bytes:
        """Return the last notification about a session."""
        told = [body for _, _, body in self.gateway.notifications(10_000) if session.id in body]
        return told[-1].encode()

    def sign(self, body: bytes, at: datetime) -> Mapping[str, str]:
        """Sign as the gateway does."""
        return sign(SECRET, body.decode("latin-1"), int(at.timestamp()))

    def sign_with_nothing(self, body: bytes, at: datetime) -> tuple[Mapping[str, str], bytes]:
        """Sign with an empty secret."""
        return sign("", body.decode("latin-1"), int(at.timestamp())), body

    def refund_in_dashboard(self, session: PaymentSession, amount: Money) -> None:
        """Refund in the dashboard."""
        self.gateway.dashboard(session.id, "refund", amount.minor)

    def capture_in_dashboard(self, session: PaymentSession, amount: Money) -> None:
        """Capture in the dashboard."""
        self.gateway.dashboard(session.id, "capture", amount.minor)

    def cancel_in_dashboard(self, session: PaymentSession) -> None:
        """Cancel in the dashboard."""
        self.gateway.dashboard(session.id, "cancel")

    def charge_back(self, session: PaymentSession, amount: Money) -> None:
        """Take back what was captured, as the payer's bank."""
        self.gateway.dashboard(session.id, "chargeback", amount.minor)

    def open_dispute(self, session: PaymentSession, amount: Money) -> None:
        """Dispute what was captured, which takes nothing yet."""
        self.gateway.dashboard(session.id, "dispute", amount.minor)

    def win_dispute(self, session: PaymentSession) -> None:
        """Decide for the merchant."""
        self._settle(session, "failed")

    def finish(self, session: PaymentSession) -> None:
        """Finish what is pending."""
        self._settle(session, "succeeded")

    def fail(self, session: PaymentSession) -> None:
        """Let what is pending fail."""
        self._settle(session, "failed")

    def _settle(self, session: PaymentSession, outcome: str) -> None:
        for entry in list(self.gateway.ledger):
            if entry.ours == session.id and entry.state == "pending":
                self.gateway.bank(entry.number, outcome)
