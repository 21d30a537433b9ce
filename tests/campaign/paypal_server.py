"""The PayPal of paysession-sandbox for the campaign: its payers, decisions and dashboard, and its ledger."""

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import stand_in
from attrs import frozen
from stand_in import entry, numbered

from paysession import Money
from paysession_sandbox.paypal.app import Answer, App
from paysession_sandbox.paypal.faults import FAULTS
from paysession_sandbox.paypal.problems import Problem
from paysession_sandbox.paypal.signing import Signer

CLIENT_ID, CLIENT_SECRET, WEBHOOK_ID = "campaign", "secret-of-the-campaign-4711", "1JE4291016473214C"

_SETTLED = ("COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED")
_DISPUTED = ("BUYER_COMPLAINT", "CHARGEBACK")
_LIVE = ("CREATED", "PARTIALLY_CAPTURED")
_HELD = {
    "approve": (),
    "confirm": (),
    "challenge": (("authorize", "PENDING"),),
    "debit": (("authorize", "PENDING"), ("capture", "PENDING")),
    "decline": (("instrument", "DECLINED"), ("authorize", "DENIED"), ("capture", "DECLINED")),
}
"""What PayPal makes of what it is asked next, by what the payer does."""


@frozen
class Request:
    """A request as it came."""

    method: str
    path: str
    headers: dict
    body: bytes


class Account(stand_in.Account):
    """The account, and the people around it."""

    def __init__(self, office, seed):
        super().__init__(seed)
        clock = stand_in.CampaignClock(office)
        self._signer = Signer(clock, WEBHOOK_ID)
        self._app = App(clock, CLIENT_ID, CLIENT_SECRET, self._signer.verifies)
        self._app.base = f"http://127.0.0.1:{office.port}"
        self._app.told = self._notice
        self._ledger = self._app.ledger
        self._saved = self._ledger.save()

    # --- requests ---------------------------------------------------------------------------------

    def read(self, method, path, headers, body):
        return Request(method, path, headers, body)

    def verb(self, request):
        call = self._app.call_of(request.method, request.path.partition("?")[0])[0]
        return "lookup" if call.startswith("show") else call

    def carry_out(self, request):
        return self._app.answer(request.method, request.path, request.headers, request.body)

    def go_wrong(self, fault, request):
        fault = FAULTS[fault]
        if fault.committed:
            self.carry_out(request)
        if fault.then == "drop":
            return Answer(None)
        return Answer(fault.status, fault.body, fault.headers)

    # --- people -----------------------------------------------------------------------------------

    def payer(self, shown, act):
        """Act as the payer of the order that the shop showed; return whether it was possible.

        Args:
            shown: PayPal's id of the order; None: nothing was shown.
            act: ``approve``, ``confirm``, ``debit``, ``decline`` or ``challenge``.
        """
        if shown is None:
            return False
        with self._app.lock:
            for kind, status in _HELD[act]:
                self._next(kind, status)
            if self.people.random() < 0.1:
                self._next("refund", "PENDING")
            with suppress(Problem):
                self._ledger.approve(shown)
                return True
        return False

    def _next(self, kind, status):
        waiting = self._ledger.next_status.setdefault(kind, [])
        if not waiting:
            waiting.append(status)

    def saved(self):
        """Return the id of what a payer saved."""
        return self._saved

    def dashboard(self, ours, act, amount=0):
        """Act as somebody at the dashboard, or have the payer dispute; return whether it was possible."""
        ledger = self._ledger
        with self._app.lock:
            order = next((row for row in reversed(ledger.orders.values()) if _ours(row) == ours), None)
            if order is None:
                return False
            money = Money.from_minor(amount, order.currency)
            body = {"amount": {"currency_code": order.currency, "value": str(money.amount)}}
            settled = [row for row in order.captures if _is_settled(row)]
            try:
                if act == "capture":
                    ledger.capture(order.authorizations[0].id, body)
                elif act == "cancel":
                    ledger.void(order.authorizations[0].id)
                elif act == "refund":
                    ledger.refund(self.people.choice(settled).id, body)
                else:
                    stage = self.people.choice(["INQUIRY", "CHARGEBACK", "CHARGEBACK"])
                    ledger.dispute(self.people.choice(settled).id, stage=stage)
            except (Problem, IndexError):  # it is not in this state, or there is none
                return False
            return True

    def unsettled(self):
        """Return the ids of what PayPal has not decided yet: authorizations, captures and refunds."""
        with self._app.lock:
            return [
                row.id
                for order in self._ledger.orders.values()
                for row in (
                    *order.authorizations,
                    *(capture for capture in order.captures if capture.reason not in _DISPUTED),
                    *(refund for capture in order.captures for refund in capture.refunds),
                )
                if row.status == "PENDING"
            ]

    def bank(self, number, outcome):
        """Have PayPal decide what it held, or with ``reversed`` the oldest open dispute."""
        with self._app.lock:
            if outcome == "reversed":
                self._decide()
                return True
            ends = {"A": ("CREATED", "DENIED"), "C": ("COMPLETED", "DECLINED"), "R": ("COMPLETED", "FAILED")}
            if number in self.unsettled():
                self._ledger.settle(number, ends[number[0]][outcome != "succeeded"])
            return True

    def _decide(self):
        for order in self._ledger.orders.values():
            for capture in order.captures:
                if capture.disputes and capture.disputes[-1].outcome is None:
                    self._ledger.decide(capture.id, won=self.people.random() < 0.5)
                    return

    # --- notifications ----------------------------------------------------------------------------

    def _notice(self, event):
        self.outbox[event.document["id"]] = event

    def notifications(self, limit=100):
        """Return notifications that nobody acknowledged: the id, the signed headers and the body."""
        with self._app.lock:
            rows = list(self.outbox.items())[:limit]
        # The provider compares the time of a transmission with the machine's own clock.
        now = datetime.now(UTC)
        return [(name, self._signer.headers(row.body, at=now), row.body.decode()) for name, row in rows]

    def acknowledge(self, ids):
        """Forget notifications: they were acknowledged with a 2xx, or lost."""
        with self._app.lock:
            for name in ids:
                self.outbox.pop(name, None)

    # --- the ledger -------------------------------------------------------------------------------

    def entries(self):
        """Return every effect: by our operations, the payer, the dashboard and PayPal."""
        with self._app.lock:
            done = {}
            for (place, key), (_, _, of) in self._app.done.items():
                call, _, identifier = place.partition(" ")
                done[call, of if call == "create" else identifier] = key
            granted = {ours for kind, ours, _ in self._ledger.effects if kind == "authorize"}
            return numbered(
                row for order in self._ledger.orders.values() for row in _effects(order, done, granted)
            )

    def repeated(self):
        """Return the invoice numbers of ours that more than one capture or refund has."""
        return []

    def accounts(self):
        """Return what each session is at PayPal."""
        with self._app.lock:
            return [self._view(order) for order in self._ledger.orders.values()]

    def _view(self, order):
        with suppress(Problem):
            self._ledger.order(order.id)  # what was authorized too long ago is void
        taken = [row for row in order.captures if row.status in _SETTLED or row.reason in _DISPUTED]
        captured = sum((row.amount for row in taken), Decimal(0))
        held = sum(
            (row.amount - row.captured for row in order.authorizations if row.status in _LIVE), Decimal(0)
        )
        refunds = [row for capture in taken for row in capture.refunds if row.status == "COMPLETED"]
        over = self._ledger._gone(order) or (
            order.authorizations and all(row.status in ("VOIDED", "DENIED") for row in order.authorizations)
        )
        status = "authorized" if captured or held else "canceled" if over else "open"
        return {
            "ours": _ours(order),
            "id": order.id,
            "status": status,
            "amount": _minor(order.amount, order),
            "currency": order.currency,
            "authorized": _minor(captured + held, order),
            "captured": _minor(captured, order),
            "refunded": _minor(sum((row.amount for row in refunds), Decimal(0)), order),
            "charged_back": _minor(sum((row.taken for row in taken), Decimal(0)), order),
        }


def _effects(order, done, granted):
    """Return the effects of an order.

    Args:
        order: The order.
        done: The key of each call that had an effect, by its name and id.
        granted: The sessions of which something was ever authorized: what was denied may be void by now.
    """
    ours = _ours(order)

    def line(kind, amount, operation, by, state="succeeded", identifier=""):
        return entry(order.id, ours, kind, _minor(amount, order), operation, by, state, identifier)

    yield line("create", order.amount, done.get(("create", order.id), ""), "api")
    paid = done.get(("authorize", order.id)) or done.get(("capture_order", order.id), "")
    for row in order.authorizations:
        state = "pending" if row.status == "PENDING" else "succeeded" if ours in granted else "failed"
        yield line("authorize", row.amount, paid, "api", state, row.id)
    for row in order.captures:
        at_once = row in order.captured_at_once
        state = "pending" if row.status == "PENDING" else "failed" if row.failed else "succeeded"
        state = "succeeded" if row.reason in _DISPUTED else state
        if at_once:
            yield line("authorize", row.amount, paid, "api", state)
        operation = "" if at_once else _key(row.invoice_id, ours)
        by = "api" if operation or at_once else "dashboard"
        yield line("capture", row.amount, operation, by, state, row.id)
    for capture in order.captures:
        for row in capture.refunds:
            state = {"PENDING": "pending", "COMPLETED": "succeeded"}.get(row.status, "failed")
            operation = _key(row.invoice_id, ours) if row.custom_id else ""
            yield line("refund", row.amount, operation, "api" if operation else "dashboard", state, row.id)
        if capture.taken:
            yield line("chargeback", capture.taken, "", "bank")
    for row in order.authorizations:
        if row.status == "VOIDED":
            # A void of several is keyed by each: the operation's key, and a part that says which one.
            key = "-".join(done.get(("void", row.id), "").split("-")[:3])
            left = row.amount - row.captured
            yield line("cancel", left, key, "api" if key else "dashboard")


def _key(invoice, ours):
    """Return the key of our operation at the end of an invoice number; empty: it is not one of ours."""
    key = (invoice or "").rpartition(" ")[2]
    return key if key.startswith(f"{ours}-") else ""


def _ours(order):
    return str(order.unit.get("custom_id", ""))


def _minor(amount, order):
    return Money(amount, order.currency).minor


def _is_settled(capture):
    """Return whether a capture took money that no refund of it may free again."""
    pending = any(row.status == "PENDING" for row in capture.refunds)
    return capture.status in ("COMPLETED", "PARTIALLY_REFUNDED") and not pending


class Office(stand_in.Office):
    """The only account, whose addresses have no path before them."""

    def account_at(self, path):
        return self.accounts["paypal"], path

    def open(self, name, seed=0):
        self.accounts[name] = Account(self, seed)


if __name__ == "__main__":
    stand_in.serve(Office())
