"""What the fake PayPal knows and allows: orders, authorizations, captures and refunds.

It keeps accounts of its own, with `Decimal` and PayPal's rules, and shares no code with the provider
that it is to test.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from paysession_sandbox.paypal.objects import (
    Authorization,
    Capture,
    Dispute,
    Order,
    Refund,
    Saved,
    SetupToken,
)
from paysession_sandbox.paypal.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from paysession_sandbox.paypal.clock import Clock

__all__ = ["Ledger"]

WAITING: Final = timedelta(hours=3)
"""How long an order waits for the payer, and then for the merchant."""
BANKS: Final = ("ideal", "bancontact", "blik", "p24", "eps", "mybank")
COMPLETES: Final = "ORDER_COMPLETE_ON_PAYMENT_APPROVAL"
VALID: Final = timedelta(days=29)
"""How long an authorization may be captured; a day later it is voided."""
HONORED: Final = timedelta(days=3)
"""How long the funds of an authorization are kept for certain; from then on it can be reauthorized, once."""
OVER: Final = Decimal("1.15")
"""How much more a reauthorization may be of."""
REFUNDABLE: Final = timedelta(days=180)
MOST_CAPTURES: Final = 10
_WHOLE: Final = frozenset({"HUF", "JPY", "TWD"})
_OTHERS: Final = "AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD ILS MXN MYR NOK NZD PHP PLN SEK SGD THB USD"
_CURRENCIES: Final = _WHOLE.union(_OTHERS.split())
_NUMBER: Final = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?")
_PRECISION: Final = 2
_MISMATCHED: Final = "MISMATCHED_VAULT_ID_TO_PAYMENT_SOURCE"


class Ledger:
    """The merchant's account.

    Args:
        clock: The time at PayPal.
        tell: Called with an event's type and the object that it is about.

    Attributes:
        effects: What money did, in order: the kind, the order's ``custom_id``, the amount.
        next_status: The status that the next object of a kind (``authorize``, ``capture``,
            ``refund``) is to have; for a test to set. Also ``liability_shift`` of a card, ``bank``: what
            is not ``PAID`` is captured by `bank_pays`, and ``instrument``: with what is ``DECLINED`` no order
            is captured, and the payer is to approve again.
        vault: What was saved, by its id: the ``payment_source`` that it pays.
        saved: Whose each of these is, and what is shown of it.
        setups: What payers were asked to let the merchant save, by its id.
        number: The number of the last object.
    """

    def __init__(self, clock: Clock, tell: Callable[[str, Order, object], None]) -> None:
        self._clock = clock
        self._tell = tell
        self.number = 0
        self.orders: dict[str, Order] = {}
        self.effects: list[tuple[str, str, Decimal]] = []
        self.next_status: dict[str, list[str]] = {}
        self.vault: dict[str, str] = {}
        self.saved: dict[str, Saved] = {}
        self.setups: dict[str, SetupToken] = {}

    def now(self) -> datetime:
        """Return the time at PayPal."""
        return self._clock()

    def _id(self, letter: str) -> str:
        self.number += 1
        return f"{letter}{self.number:016d}"

    def _status(self, kind: str, otherwise: str) -> str:
        waiting = self.next_status.get(kind)
        return waiting.pop(0) if waiting else otherwise

    # --- orders ---

    def create(self, body: Mapping[str, Any]) -> Order:
        """Create an order."""
        (unit,) = body["purchase_units"]
        currency, amount = _amount(unit["amount"], whole="DECIMAL_PRECISION")
        _check_lines(unit)
        sources = body.get("payment_source", {})
        source = next(iter(sources), "")
        told = sources.get(source, {})
        instruction = body.get("processing_instruction")
        if source in BANKS and instruction != COMPLETES:
            raise Problem(422, "ORDER_COMPLETE_ON_PAYMENT_APPROVAL")
        order = Order(
            id=self._id("O"),
            intent=body["intent"],
            currency=currency,
            amount=amount,
            unit={"reference_id": "default", **unit},
            context=told.get("experience_context") or body.get("application_context", {}),
            created_at=self._clock(),
            # Of a card PayPal knows nothing yet: the payer types it into the page.
            status="PAYER_ACTION_REQUIRED" if source not in ("", "card") else "CREATED",
            source=source,
            saves="vault" in told.get("attributes", {}),
            instruction=instruction,
        )
        if source in BANKS:
            order.paid_with = {name: told[name] for name in ("name", "country_code")}
        if "vault_id" in told and self.vault.get(told["vault_id"]) != source:
            raise Problem(422, _MISMATCHED)
        self.orders[order.id] = order
        if "vault_id" in told:  # the payer need not approve: it is paid in the same step
            order.status, order.approved_at = "APPROVED", self._clock()
            (self.authorize if order.intent == "AUTHORIZE" else self.capture_order)(order.id)
        return order

    def order(self, order_id: str) -> Order:
        """Return an order; one that nobody approved in time is gone."""
        order = self.orders.get(order_id)
        if order is None or self._gone(order):
            raise Problem(404, "INVALID_RESOURCE_ID")
        for authorization in order.authorizations:
            over = self._clock() >= authorization.created_at + VALID + timedelta(days=1)
            if over and authorization.status in ("CREATED", "PARTIALLY_CAPTURED"):
                self._void(order, authorization)
        return order

    def _gone(self, order: Order) -> bool:
        """Return whether an order waited too long for the payer, or for the merchant's capture."""
        since = order.created_at if order.approved_at is None else order.approved_at
        waits = order.approved_at is None or (order.intent == "CAPTURE" and order.status == "APPROVED")
        return waits and self._clock() >= since + WAITING

    def patch(self, order_id: str, patch: list[Mapping[str, Any]]) -> Order:
        """Change an order's amount."""
        order = self.order(order_id)
        unit = dict(order.unit)
        currency, amount = order.currency, order.amount
        for step in patch:
            op, path = step["op"], step["path"].removeprefix("/purchase_units/@reference_id=='default'/")
            if (op, path) == ("replace", "amount"):
                currency, amount = _amount(step["value"], whole="DECIMAL_PRECISION")
                unit["amount"] = step["value"]
            elif path == "items" and op in ("add", "replace"):
                unit["items"] = step["value"]
            elif (op, path) == ("remove", "items"):
                unit.pop("items", None)
            else:
                raise Problem(422, "INVALID_PARAMETER")
        if order.status == "COMPLETED":
            raise Problem(422, "ORDER_ALREADY_COMPLETED")
        if order.status == "APPROVED" and (currency, amount) != (order.currency, order.amount):
            raise Problem(422, "AMOUNT_CHANGE_NOT_ALLOWED")
        _check_lines(unit)
        order.currency, order.amount, order.unit = currency, amount, unit
        return order

    def approve(self, order_id: str) -> Order:
        """Approve as the payer."""
        order = self.order(order_id)
        if order.status in ("CREATED", "PAYER_ACTION_REQUIRED"):
            order.status, order.approved_at = "APPROVED", self._clock()
            if order.source == "card":
                shift = self._status("liability_shift", "POSSIBLE")
                order.paid_with = {
                    "brand": "VISA",
                    "last_digits": "1111",
                    "authentication_result": {"liability_shift": shift},
                }
            self._tell("CHECKOUT.ORDER.APPROVED", order, order)
            pays = order.source in BANKS and order.intent == "CAPTURE"
            if pays and self._status("bank", "PAID") == "PAID":
                self.bank_pays(order_id)
        return order

    def bank_pays(self, order_id: str) -> None:
        """Capture an order that the payer approved at a bank: PayPal does so by itself."""
        order = self.order(order_id)
        self._take(order)

    def begin_to_save(self, source: str, customer: str | None, told: dict[str, Any]) -> SetupToken:
        """Ask the payer to let the merchant save a way to pay, without a payment."""
        token = self._id("S")
        row = SetupToken(token, source, customer or _customer(token), told, self._clock())
        self.setups[token] = row
        return row

    def save(
        self, source: str = "paypal", customer: str | None = None, shown: dict[str, Any] | None = None
    ) -> str:
        """Save a payer's way to pay, as if it had been with another payment; return its id.

        Args:
            source: The ``payment_source``.
            customer: PayPal's id of the payer at this merchant; a new one, by default.
            shown: What is shown of it, beside the payer's account.
        """
        token = self._id("V")
        self.vault[token] = source
        self.saved[token] = Saved(customer or _customer(token), shown or {})
        return token

    def forget(self, token: str) -> None:
        """Delete what was saved."""
        self.vault.pop(token, None)

    def _pay_with(self, order: Order, body: Mapping[str, Any]) -> None:
        """Approve an order with what was saved."""
        for source, told in body.get("payment_source", {}).items():
            saved = self.vault.get(told.get("vault_id"))
            if saved != source:
                raise Problem(422, "TOKEN_ID_NOT_FOUND" if saved is None else _MISMATCHED)
            if order.status == "CREATED":
                order.status, order.approved_at, order.source = "APPROVED", self._clock(), source

    def _keep(self, order: Order) -> None:
        """Save how an order was paid, if that was asked for."""
        if order.saves:
            token = self.save(order.source)
            vault = {"id": token, "status": "VAULTED", "customer": {"id": self.saved[token].customer}}
            order.paid_with["attributes"] = {"vault": vault}

    def authorize(self, order_id: str, body: Mapping[str, Any] | None = None) -> Order:
        """Authorize an approved order, or with what was saved."""
        order = self.order(order_id)
        self._pay_with(order, body or {})
        if order.authorizations:
            raise Problem(422, "ORDER_ALREADY_AUTHORIZED")
        if order.intent != "AUTHORIZE":
            raise Problem(422, "ACTION_DOES_NOT_MATCH_INTENT")
        if order.source in BANKS:
            raise Problem(422, "UNSUPPORTED_INTENT_FOR_PAYMENT_SOURCE")
        self._check_approved(order)
        status = self._status("authorize", "CREATED")
        authorization = Authorization(self._id("A"), order.amount, self._clock(), status)
        order.authorizations.append(authorization)
        order.status = "COMPLETED"
        if status == "CREATED":
            self._record("authorize", order, order.amount)
            self._keep(order)
        self._tell("PAYMENT.AUTHORIZATION.CREATED", order, authorization)
        return order

    def capture_order(self, order_id: str, body: Mapping[str, Any] | None = None) -> Order:
        """Capture an approved order at once, or with what was saved."""
        order = self.order(order_id)
        self._pay_with(order, body or {})
        if order.captured_at_once:
            raise Problem(422, "ORDER_ALREADY_CAPTURED")
        if order.intent != "CAPTURE":
            raise Problem(422, "TRANSACTION_REFUSED")
        self._check_approved(order)
        if order.source in BANKS:
            raise Problem(422, "ORDER_COMPLETION_IN_PROGRESS")
        if self._status("instrument", "ACCEPTED") == "DECLINED":
            order.status, order.approved_at = "PAYER_ACTION_REQUIRED" if order.source else "CREATED", None
            raise Problem(422, "INSTRUMENT_DECLINED")
        self._take(order)
        return order

    def _take(self, order: Order) -> None:
        order.status = "COMPLETED"
        capture = self._capture(order, order.amount, order.unit.get("invoice_id"), final=True)
        order.captured_at_once.append(capture)
        if not capture.failed:
            self._keep(order)

    def _check_approved(self, order: Order) -> None:
        if order.approved_at is None:
            raise Problem(422, "ORDER_NOT_APPROVED")
        if self._clock() >= order.approved_at + WAITING:
            raise Problem(422, "ORDER_EXPIRED")

    # --- payments ---

    def authorization(self, authorization_id: str) -> tuple[Order, Authorization]:
        """Return an authorization and its order."""
        for order in self.orders.values():
            for row in order.authorizations:
                if row.id == authorization_id:
                    return self.order(order.id), row
        raise Problem(404, "INVALID_RESOURCE_ID")

    def capture_of(self, capture_id: str) -> tuple[Order, Capture]:
        """Return a capture and its order."""
        for order in self.orders.values():
            for row in order.captures:
                if row.id == capture_id:
                    return order, row
        raise Problem(404, "INVALID_RESOURCE_ID")

    def refund_of(self, refund_id: str) -> tuple[Order, Capture, Refund]:
        """Return a refund, its capture and its order."""
        for order in self.orders.values():
            for capture in order.captures:
                for row in capture.refunds:
                    if row.id == refund_id:
                        return order, capture, row
        raise Problem(404, "INVALID_RESOURCE_ID")

    def capture(self, authorization_id: str, body: Mapping[str, Any]) -> tuple[Order, Capture]:
        """Capture an authorization, or a part of it."""
        order, row = self.authorization(authorization_id)
        states = {"VOIDED": "AUTHORIZATION_VOIDED", "DENIED": "AUTHORIZATION_DENIED"}
        if row.status in states:
            raise Problem(422, states[row.status])
        if self._clock() >= row.created_at + VALID:
            raise Problem(422, "AUTHORIZATION_EXPIRED")
        if row.status == "CAPTURED" or any(c.final and not c.failed for c in row.captures):
            raise Problem(422, "AUTHORIZATION_ALREADY_CAPTURED")
        amount = row.amount - row.captured
        if "amount" in body:
            currency, amount = _amount(body["amount"])
            if currency != order.currency:
                raise Problem(422, "AUTH_CAPTURE_CURRENCY_MISMATCH")
        if amount > row.amount - row.captured:
            raise Problem(422, "MAX_CAPTURE_AMOUNT_EXCEEDED")
        if len(row.captures) >= MOST_CAPTURES:
            raise Problem(422, "MAX_CAPTURE_COUNT_EXCEEDED")
        invoice = body.get("invoice_id")
        if invoice is not None and any(
            c.invoice_id == invoice for o in self.orders.values() for c in o.captures
        ):
            raise Problem(422, "DUPLICATE_INVOICE_ID")
        inherited = invoice or order.unit.get("invoice_id")
        capture = self._capture(order, amount, inherited, final=bool(body.get("final_capture")))
        row.captures.append(capture)
        if not capture.failed:
            whole = row.captured >= row.amount or capture.final
            row.status = "CAPTURED" if whole else "PARTIALLY_CAPTURED"
        return order, capture

    def _capture(self, order: Order, amount: Decimal, invoice: str | None, *, final: bool) -> Capture:
        status = self._status("capture", "COMPLETED")
        capture = Capture(self._id("C"), amount, invoice, final, self._clock(), status)
        if status == "PENDING":
            capture.reason = "PENDING_REVIEW"
        elif status == "COMPLETED":
            self._record("capture", order, amount)
        self._tell(f"PAYMENT.CAPTURE.{status}", order, capture)
        return capture

    def reauthorize(self, authorization_id: str, body: Mapping[str, Any]) -> tuple[Order, Authorization]:
        """Reauthorize after the honor period; the original one is void then."""
        order, row = self.authorization(authorization_id)
        if row.status == "VOIDED":
            raise Problem(422, "AUTHORIZATION_VOIDED")
        if row.captured:
            raise Problem(422, "AUTHORIZATION_ALREADY_CAPTURED")
        age = self._clock() - row.created_at
        if row.parent is not None or not HONORED <= age < VALID:
            raise Problem(422, "REAUTHORIZATION_NOT_SUPPORTED")
        amount = row.amount
        if "amount" in body:
            currency, amount = _amount(body["amount"])
            if currency != order.currency:
                raise Problem(422, "AUTH_CURRENCY_MISMATCH")
        if amount > row.amount * OVER:
            raise Problem(422, "TRANSACTION_REFUSED")
        status = self._status("reauthorize", "CREATED")
        again = Authorization(self._id("A"), amount, self._clock(), status, parent=row)
        order.authorizations.insert(0, again)  # PayPal promises no order
        self._tell("PAYMENT.AUTHORIZATION.CREATED", order, again)
        return order, again

    def void(self, authorization_id: str) -> Authorization:
        """Void what is left of an authorization, and of the one that continues it."""
        order, row = self.authorization(authorization_id)
        if row.parent is not None and row.parent.status != "VOIDED":
            raise Problem(422, "CANNOT_BE_VOIDED")
        if row.status == "VOIDED":
            raise Problem(422, "PREVIOUSLY_VOIDED")
        if row.status == "CAPTURED":
            raise Problem(422, "PREVIOUSLY_CAPTURED")
        self._void(order, row)
        return row

    def _void(self, order: Order, row: Authorization) -> None:
        row.status = "VOIDED"
        again = next((one for one in order.authorizations if one.parent is row), None)
        if again is None:
            self._record("void", order, row.amount - row.captured)
        elif again.status in ("CREATED", "PARTIALLY_CAPTURED"):
            self._void(order, again)
        self._tell("PAYMENT.AUTHORIZATION.VOIDED", order, row)

    def refund(self, capture_id: str, body: Mapping[str, Any]) -> tuple[Order, Capture, Refund]:
        """Refund a capture, or a part of it."""
        order, capture = self.capture_of(capture_id)
        left = capture.amount - capture.refunded - capture.taken
        if capture.status == "REFUNDED":
            raise Problem(422, "CAPTURE_FULLY_REFUNDED")
        if capture.status == "PENDING":
            raise Problem(422, "PENDING_CAPTURE")
        if self._clock() >= capture.created_at + REFUNDABLE:
            raise Problem(422, "REFUND_TIME_LIMIT_EXCEEDED")
        amount = left
        if "amount" in body:
            currency, amount = _amount(body["amount"])
            if currency != order.currency:
                raise Problem(422, "REFUND_CAPTURE_CURRENCY_MISMATCH")
        if amount > left or capture.failed:
            raise Problem(422, "REFUND_AMOUNT_EXCEEDED")
        invoice = body.get("invoice_id")
        refunds = (r for o in self.orders.values() for c in o.captures for r in c.refunds)
        if invoice is not None and any(r.invoice_id == invoice for r in refunds):
            raise Problem(422, "DUPLICATE_INVOICE_ID")
        status = self._status("refund", "COMPLETED")
        refund = Refund(
            self._id("R"),
            amount,
            body.get("custom_id"),
            invoice or capture.invoice_id,
            body.get("note_to_payer"),
            self._clock(),
            status,
        )
        capture.refunds.append(refund)
        self.settle_capture(capture)
        if status == "COMPLETED":
            self._record("refund", order, amount)
        self._tell("PAYMENT.CAPTURE.REFUNDED", order, refund)
        return order, capture, refund

    def settle_capture(self, capture: Capture) -> None:
        """Bring a capture's status to what its refunds say, and what disputes took."""
        if capture.status in ("COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED"):
            given = capture.refunded + capture.taken
            partly = "PARTIALLY_REFUNDED" if given else "COMPLETED"
            capture.status = "REFUNDED" if given >= capture.amount else partly

    def reverse(self, capture_id: str) -> None:
        """Take a capture back, as a chargeback does."""
        order, capture = self.capture_of(capture_id)
        capture.taken = capture.amount - capture.refunded
        self._record("chargeback", order, capture.taken)
        capture.status = "REFUNDED"
        self._tell("PAYMENT.CAPTURE.REVERSED", order, capture)

    def reverse_part(self, capture_id: str, amount: Decimal) -> None:
        """Take a part of a capture back, as the end of a dispute may: no refund shows it."""
        order, capture = self.capture_of(capture_id)
        self._record("chargeback", order, amount)
        capture.taken, capture.status = capture.taken + amount, "PARTIALLY_REFUNDED"
        self._tell("PAYMENT.CAPTURE.REVERSED", order, capture)

    def dispute(
        self, capture_id: str, amount: Decimal | None = None, *, stage: str = "CHARGEBACK"
    ) -> Dispute:
        """Let the payer dispute a capture, or a part of it: it is pending again, though it had been settled.

        Args:
            capture_id: The capture.
            amount: How much; None: all of it.
            stage: ``INQUIRY``: the payer asks the merchant first, and no money is held.
        """
        order, capture = self.capture_of(capture_id)
        dispute = Dispute(self._id("D"), amount or capture.amount, self._clock(), stage)
        capture.disputes.append(dispute)
        if stage != "INQUIRY":
            self._hold(order, capture)
        self._tell("CUSTOMER.DISPUTE.CREATED", order, dispute)
        return dispute

    def escalate(self, capture_id: str) -> None:
        """Let the payer turn an inquiry into a claim: from then on the money is held."""
        order, capture = self.capture_of(capture_id)
        dispute = capture.disputes[-1]
        dispute.stage, dispute.updated_at = "CHARGEBACK", self._clock()
        self._hold(order, capture)
        self._tell("CUSTOMER.DISPUTE.UPDATED", order, dispute)

    def answer_dispute(self, capture_id: str) -> None:
        """Answer a dispute as the merchant: PayPal decides from then on."""
        order, capture = self.capture_of(capture_id)
        dispute = capture.disputes[-1]
        dispute.status, dispute.updated_at = "UNDER_REVIEW", self._clock()
        self._tell("CUSTOMER.DISPUTE.UPDATED", order, dispute)

    def _hold(self, order: Order, capture: Capture) -> None:
        capture.status, capture.reason = "PENDING", "BUYER_COMPLAINT"
        self._tell("PAYMENT.CAPTURE.PENDING", order, capture)

    def decide(
        self, capture_id: str, *, won: bool, amount: Decimal | None = None, fee: Decimal | None = None
    ) -> None:
        """End a dispute: the merchant won, or the funds are reversed.

        Args:
            capture_id: The capture.
            won: Whether the merchant won.
            amount: How much is taken, if not what was disputed; without a dispute, all that is left.
            fee: What PayPal charges the merchant for it.
        """
        order, capture = self.capture_of(capture_id)
        dispute = capture.disputes[-1] if capture.disputes else None
        left = capture.amount - capture.refunded - capture.taken
        if won:
            returned = dispute.refunded if dispute is not None else capture.taken
            capture.taken -= returned
            capture.status, capture.reason = "COMPLETED", None
            self.settle_capture(capture)
            self._tell("PAYMENT.CAPTURE.COMPLETED", order, capture)
        else:
            taken = min(left, amount or (dispute.amount if dispute is not None else left))
            self._record("chargeback", order, taken)
            capture.taken += taken
            if taken < left:
                capture.status, capture.reason = "PARTIALLY_REFUNDED", None
            else:
                capture.status, capture.reason = "DECLINED", "CHARGEBACK"
            if dispute is not None:
                dispute.refunded = taken
                dispute.movements.append(("DEBIT", "DISPUTE_SETTLEMENT", taken))
            self._tell("PAYMENT.CAPTURE.REVERSED", order, capture)
        if dispute is not None:
            if won and dispute.refunded:
                dispute.movements.append(("CREDIT", "DISPUTE_SETTLEMENT", dispute.refunded))
                dispute.refunded = Decimal(0)
            if fee is not None:
                dispute.movements.append(("DEBIT", "DISPUTE_FEE", fee))
            dispute.status, dispute.updated_at = "RESOLVED", self._clock()
            dispute.outcome = "RESOLVED_SELLER_FAVOUR" if won else "RESOLVED_BUYER_FAVOUR"
            self._tell("CUSTOMER.DISPUTE.RESOLVED", order, dispute)

    def disputes(self, capture_id: str = "") -> list[tuple[Order, Dispute]]:
        """Return the disputes of a capture, or all of them, the latest first, each with its order."""
        rows = [
            (order, dispute)
            for order in self.orders.values()
            for capture in order.captures
            for dispute in capture.disputes
            if capture_id in ("", capture.id)
        ]
        return sorted(rows, key=lambda row: row[1].id, reverse=True)

    def dispute_of(self, dispute_id: str) -> tuple[Order, Capture, Dispute]:
        """Return a dispute, its capture and its order."""
        for order in self.orders.values():
            for capture in order.captures:
                for row in capture.disputes:
                    if row.id == dispute_id:
                        return order, capture, row
        raise Problem(404, "INVALID_RESOURCE_ID")

    def settle(self, object_id: str, status: str) -> None:
        """Bring a pending authorization, capture or refund to its end."""
        for order in self.orders.values():
            for row in order.authorizations:
                if row.id == object_id:
                    row.status = status
                    if status == "CREATED":
                        self._record("authorize", order, row.amount)
            for capture in order.captures:
                if capture.id == object_id:
                    capture.status = status
                    capture.reason = None
                    if status == "COMPLETED":
                        self._record("capture", order, capture.amount)
                    self._tell(f"PAYMENT.CAPTURE.{status}", order, capture)
                for refund in capture.refunds:
                    if refund.id == object_id:
                        refund.status = status
                        self.settle_capture(capture)
                        if status == "COMPLETED":
                            self._record("refund", order, refund.amount)

    def _record(self, kind: str, order: Order, amount: Decimal) -> None:
        self.effects.append((kind, str(order.unit.get("custom_id", "")), amount))


def _customer(token: str) -> str:
    return f"cus_{token[-6:]}"


def _check_lines(unit: Mapping[str, Any]) -> None:
    """Refuse lines that do not add up to their total, or whose total is not the amount."""
    breakdown, items = unit["amount"].get("breakdown", {}), unit.get("items", ())
    if items and "item_total" not in breakdown:
        raise Problem(422, "ITEM_TOTAL_REQUIRED")
    if "item_total" in breakdown:
        total = Decimal(breakdown["item_total"]["value"])
        if items and sum(Decimal(i["unit_amount"]["value"]) * int(i["quantity"]) for i in items) != total:
            raise Problem(422, "ITEM_TOTAL_MISMATCH")
        if total != Decimal(unit["amount"]["value"]):
            raise Problem(422, "AMOUNT_MISMATCH")


def _amount(value: Mapping[str, Any], *, whole: str = "DECIMALS_NOT_SUPPORTED") -> tuple[str, Decimal]:
    """Read an amount; ``whole``: what PayPal says to decimals where the currency has none."""
    currency, text = value["currency_code"], value["value"]
    if currency not in _CURRENCIES:
        raise Problem(422, "INVALID_CURRENCY_CODE")
    if not _NUMBER.fullmatch(text) or not Decimal(text):
        raise Problem(422, "CANNOT_BE_ZERO_OR_NEGATIVE")
    decimals = len(text.partition(".")[2])
    if currency in _WHOLE and decimals:
        raise Problem(422, whole)
    if decimals > _PRECISION:
        raise Problem(422, "DECIMAL_PRECISION")
    return currency, Decimal(text)
