"""A provider and a plugin as they were written for API_VERSION 1. Never edited: that is its use.

It takes everything from `paysession.provider`, names every argument that a constructor takes, and
reads every attribute of what it is given.
"""

import json
from datetime import UTC, datetime, timedelta

from paysession.provider import (
    API_VERSION,
    Answer,
    Capabilities,
    Checkout,
    ClientAction,
    Declined,
    Effect,
    Failure,
    Instructions,
    Kind,
    Money,
    NotApplied,
    Operation,
    Outcome,
    OutcomeUnknown,
    PaymentSession,
    Redirect,
    Secret,
    Snapshot,
    Status,
    WebhookEvent,
    WebhookRejected,
    hookimpl,
)

ACCOUNTS = {}
SOON = datetime(2040, 1, 1, tzinfo=UTC)


class Oldest:
    API_VERSION = 1
    capabilities = Capabilities(
        capture="multiple",
        refund="multiple",
        replay_window={Kind.CAPTURE: timedelta(hours=1)},
        lookup="lagging",
        lookup_lag=timedelta(seconds=1),
        refund_needs_capture=True,
        call_limit=timedelta(seconds=30),
        local=False,
    )

    def __init__(self, api_key: Secret, retries: int = 0):
        self.api_key, self.retries = api_key, retries

    @hookimpl
    def initiate(self, session, operation):
        assert isinstance(session, PaymentSession) and isinstance(operation, Operation)
        assert API_VERSION >= 1 and self.api_key.reveal() == "sk" and operation.kind is Kind.INITIATE
        assert isinstance(session.checkout, Checkout) and session.checkout.return_url.endswith(session.id)
        seen = [session.collection_id, session.collection_reference, session.provider, session.capture]
        seen += [session.version, session.created_at, session.updated_at, session.error, session.in_doubt]
        seen += [session.authorized_amount, session.captured_amount, session.refunded_amount, session.data]
        seen += [operation.id, operation.ordinal, operation.key, operation.subkey("b"), operation.payload]
        seen += [operation.final, operation.reason, operation.webhook_url, operation.created_at]
        assert all(hasattr(session.checkout, name) for name in ("cancel_url", "locale", "email", "ip"))
        ACCOUNTS[session.id] = {"amount": session.amount, "effects": [], "status": Status.REQUIRES_MORE}
        return Outcome.requires_more(
            next_action=Redirect(url="https://x", method="POST", fields={"a": "b"}),
            data={"seen": len(seen)},
            reference=f"old_{session.id}",
            expires_at=SOON,
        )

    @hookimpl
    def update(self, operation, session):
        ACCOUNTS[session.id]["amount"] = operation.amount
        return Outcome.pending(
            data=session.data, next_action=ClientAction("script", {"k": "v"}), check_after=timedelta(hours=1)
        )

    @hookimpl
    def authorize(self, session):
        account = ACCOUNTS[session.id]
        if account.get("declined"):
            raise Declined("no", "the payer declined", data=session.data, reference=session.reference)
        if session.data.get("tried") is None:
            raise NotApplied("try again", retry_after=timedelta(seconds=1), data={**session.data, "tried": 1})
        account["status"] = Status.AUTHORIZED
        return Outcome.authorized(amount=account["amount"], expires_at=SOON)

    @hookimpl
    def capture(self, session, operation):
        effects = ACCOUNTS[session.id]["effects"]
        effects.append(Effect("capture", operation.amount, "succeeded", f"c{len(effects)}", operation.key))
        if len(effects) == 1:
            raise OutcomeUnknown("the answer was lost")
        return Outcome.captured(operation.amount, released=False, reference=effects[-1].reference)

    @hookimpl
    def refund(self, session, operation):
        assert operation.capture is not None and operation.capture.reference
        effects = ACCOUNTS[session.id]["effects"]
        effects.append(
            Effect(
                kind=Kind.REFUND,
                amount=operation.amount,
                state="succeeded",
                reference="r1",
                key=operation.key,
            )
        )
        return Outcome.refunded(operation.amount, reference="r1")

    @hookimpl
    def cancel(self):
        return Outcome.canceled()

    @hookimpl
    def retrieve(self, session, operation):
        account = ACCOUNTS.get(session.id)
        if account is None:
            return Snapshot.absent()

        def total(kind):
            minor = sum(e.amount.minor for e in account["effects"] if e.kind == kind)
            return Money.from_minor(minor, account["amount"].currency)

        return Snapshot(
            account["status"],
            amount=account["amount"],
            authorized=account["amount"],
            captured=total("capture"),
            refunded=total("refund"),
            effects=account["effects"],
            ready=False,
            session_id=session.id,
            data=session.data,
            reference=session.reference,
            next_action=Instructions("none", {}),
            expires_at=SOON,
            error=Failure("a", "b") if account["status"] is Status.ERROR else None,
        )

    @hookimpl
    def parse_webhook(self, headers, body):
        if headers.get("old-signature") != "yes":
            raise WebhookRejected("not signed")
        told = json.loads(body)
        return [WebhookEvent(told["id"], "changed", session_id=told["ours"], references=("x",), effects=())]

    @hookimpl
    def close(self):
        ACCOUNTS.clear()


class Watcher:
    """An observer, and a wrapper."""

    API_VERSION = 1
    told = []

    @hookimpl(wrapper=True, tryfirst=True)
    def capture(self, session, operation):
        outcome = yield
        assert outcome.answer is Answer.CAPTURED
        return outcome

    @hookimpl
    def session_changed(self, before, after, operation):
        self.told.append(str(after.status))

    @hookimpl
    def operation_in_doubt(self, operation):
        self.told.append("in doubt")

    @hookimpl
    def conflict_found(self, session, operation, kind, expected, found):
        self.told.append(kind)
