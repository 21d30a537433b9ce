"""The Stripe of paysession-sandbox for the campaign: its payers, banks and dashboard, and its ledger.

Each of the campaign's accounts is a stand-in of its own, under ``/NAME/v1/...``.
"""

import json
import re
import time
from collections import Counter
from datetime import timedelta
from urllib.parse import urlsplit

import stand_in
from stand_in import entry, numbered

from paysession_sandbox.stripe import FAULTS, Answer, Refusal, Request, StripeSandbox, decode_form
from paysession_sandbox.stripe.api import Kept
from paysession_sandbox.stripe.deliveries import body_of, sign
from paysession_sandbox.stripe.faults import BEFORE, answer_of
from paysession_stripe.intent import OPERATION, SESSION
from paysession_stripe.webhooks import EVENTS

SECRET = "whsec_campaign4711"

_OURS = re.compile(r"ps_[0-9a-f]+-[0-9]+-[0-9a-z]+")
"""What a key of ours begins with: the id of its operation."""
_MARK = re.compile(r"paysession_capture_")
_AWAITS_PAYER = ("requires_payment_method", "requires_confirmation", "requires_action")
_LEFT = ("requires_payment_method", "requires_confirmation")
_PAYS = (
    *("pm_card_visa",) * 12, "pm_card_mastercard", "pm_card_pendingRefund", "pm_card_refundFail",
    "pm_card_createDispute", "pm_card_createDisputeInquiry",
)  # fmt: skip
_DECLINES = ("pm_card_chargeCustomerFail", "pm_card_chargeDeclinedInsufficientFunds")
_CHALLENGES = (
    "pm_card_authenticationRequired",
    "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
)
_SAVED = (
    *("pm_card_visa",) * 6, "pm_card_authenticationRequired", "pm_card_authenticationRequiredOnSetup",
    "pm_card_chargeCustomerFail", "pm_card_pendingRefund",
)  # fmt: skip
_IBANS = (
    "DE08370400440532013003",
    "DE08370400440532013003",
    "DE89370400440532013000",
    "DE62370400440532013001",
)
_HOLDS_NO_MORE = 0.15
"""How often a payer's bank declines to hold more than it does."""
_DISPUTED = {
    "needs_response": "succeeded", "under_review": "succeeded", "lost": "succeeded", "won": "reversed",
}  # fmt: skip


class Account(stand_in.Account):
    """One account, and the people around it."""

    def __init__(self, office, name, *, multicapture, lag, seed):
        super().__init__(seed)
        self.sandbox = StripeSandbox(
            stand_in.CampaignClock(office), multicapture=multicapture, search_lag=timedelta(seconds=lag)
        )
        self.sandbox.api.base = f"http://127.0.0.1:{office.port}/{name}"
        self.sandbox.account().notify = self._notice
        self._unsettled = {}
        self._made = {}
        """For each session its PaymentIntents or pages: the id, and the operation that made it."""
        self._did = {}
        """For each PaymentIntent or page what requests did to it: kind, operation, amount, by."""
        self._confirmed = {}
        """For each charge the operation that confirmed it."""
        self._carried_out = Counter()
        """How often each path and key was carried out."""
        self._saved = {}

    # --- requests ---------------------------------------------------------------------------------

    def read(self, method, path, headers, body):
        url = urlsplit(path)
        return Request(
            method, url.path, decode_form(body.decode() if method == "POST" else url.query), headers
        )

    def verb(self, request):
        if request.method == "GET":
            return "lookup"
        last = request.path.rpartition("/")[2]
        names = {
            "payment_intents": "create", "sessions": "create", "refunds": "refund", "expire": "cancel",
            "increment_authorization": "increment",
        }  # fmt: skip
        return names.get(last, last if last.isalpha() else "update")

    def carry_out(self, request):
        with self.sandbox.api.lock:
            self.sandbox.requests.clear()
            held = self._held(request.path)
            answer = self.sandbox.serve(request)
            replayed = "Idempotent-Replayed" in answer.headers
            if request.method == "POST" and answer.status == 200 and not replayed:
                self._note(request, json.loads(answer.body), held)
        return answer

    def go_wrong(self, fault, request):
        if fault in FAULTS:
            return answer_of(fault, None if fault in BEFORE else self.carry_out(request))
        if fault.startswith("kept_500"):
            return self._keep_error(fault, request)
        answer = self.carry_out(request)
        return _tampered(fault, answer) if request.method == "POST" else answer

    def _keep_error(self, fault, request):
        """Keep a 500 under a request's key, whatever it did: Stripe gives it again to the same key."""
        place = ("", request.key)
        if place in self.sandbox.api.kept:
            return self.carry_out(request)
        if fault == "kept_500_after":
            self.carry_out(request)
        answer = answer_of("500_after", None)
        if request.key is not None:
            at = self.sandbox.account().now
            kept = Kept(request.path, request.params, answer.status, json.loads(answer.body), at)
            with self.sandbox.api.lock:
                self.sandbox.api.kept[place] = kept
        return answer

    def _held(self, path):
        """Return what a PaymentIntent that a request names is of, before that is carried out."""
        parts = path.split("/")
        identifier = parts[3] if len(parts) > 3 else None
        intent = self.sandbox.account().named("payment_intent", identifier)
        return intent["amount"] if intent is not None else 0

    def _note(self, request, found, held):
        key = request.key or ""
        self._carried_out[request.path, key] += 1
        parts = request.path.split("/")[2:]
        marks = request.params.get("metadata") or {}
        if parts in (["payment_intents"], ["checkout", "sessions"]):
            made = self._made.setdefault(marks.get(SESSION, ""), [])
            made.append((found["id"], marks.get(OPERATION, key)))
        elif parts[-1] == "confirm" and found["latest_charge"] is not None:
            charge = found["latest_charge"]
            self._confirmed[charge if isinstance(charge, str) else charge["id"]] = key
        elif parts[-1] == "increment_authorization":
            ours = _OURS.match(key)
            operation = ours.group() if ours is not None else key
            self._do(found["id"], "increment", operation, found["amount"] - held, "api")
        elif parts[-1] == "capture":
            amount = int(request.params["amount_to_capture"])
            ours = next((text.split()[0] for name, text in marks.items() if _MARK.match(name)), key)
            self._do(found["id"], "capture" if amount else "cancel", ours, amount, "api")
        elif parts[-1] == "cancel" or (parts[-1] == "expire" and key.endswith("-page")):
            self._do(found["id"], "cancel", key.removesuffix("-page"), 0, "api")

    def _do(self, identifier, kind, operation, amount, by):
        self._did.setdefault(identifier, []).append((kind, operation, amount, by))

    # --- people -----------------------------------------------------------------------------------

    def payer(self, shown, act):
        """Act as the payer, in the shop's form or on Stripe's page; return whether it was possible.

        Args:
            shown: The PaymentIntent or page that the payer has before them; None: nothing.
            act: ``approve``, ``confirm``, ``debit``, ``decline`` or ``challenge``.
        """
        with self.sandbox.api.lock:
            try:
                return shown is not None and self._pay(shown, act)
            except Refusal:  # the card is declined, or it is too late
                return act == "decline"

    def _pay(self, identifier, act):
        sandbox, account = self.sandbox, self.sandbox.account()
        page = account.named("checkout.session", identifier)
        intent = account.named("payment_intent", page["payment_intent"] if page else identifier)
        if intent is not None and intent["status"] == "requires_action":
            sandbox.authenticate(intent["id"], success=act != "decline")
            return True
        cards = {"decline": _DECLINES, "challenge": _CHALLENGES}.get(act, _PAYS)
        if page is not None:
            if page["status"] == "open":
                sandbox.pay_checkout(identifier, self.people.choice(cards))
            return page["status"] == "complete"
        if intent["status"] not in _LEFT:
            return False
        form = {"payment_method": self.people.choice(cards), "return_url": "https://shop.example/back"}
        if act == "debit" and "sepa_debit" in intent["payment_method_types"]:
            del form["payment_method"]
            form["payment_method_data"] = {
                "type": "sepa_debit",
                "sepa_debit": {"iban": self.people.choice(_IBANS)},
                "billing_details": {"name": "Jenny Rosen", "email": "jenny@example.com"},
            }
        sandbox.call("POST", f"/v1/payment_intents/{intent['id']}/confirm", form)
        if intent["status"] == "requires_capture" and self.people.random() < _HOLDS_NO_MORE:
            sandbox.decline_increments(intent["id"])
        return True

    def saved(self, place):
        """Return a customer and one of their kept cards: the same for the same place in the list."""
        place %= len(_SAVED)
        with self.sandbox.api.lock:
            if place not in self._saved:
                call = self.sandbox.call
                customer = call("POST", "/v1/customers", {"email": "jenny@example.com"})["id"]
                card = call("POST", f"/v1/payment_methods/{_SAVED[place]}/attach", {"customer": customer})
                self._saved[place] = {"customer": customer, "payment_method": card["id"]}
            return self._saved[place]

    def dashboard(self, ours, act, amount=0):
        """Act as somebody at the dashboard, or as the payer's bank; return whether it was possible."""
        with self.sandbox.api.lock:
            intent = next((row for row in self._intents(ours) if row["status"] not in _AWAITS_PAYER), None)
            if intent is None:
                return False
            path = f"/v1/payment_intents/{intent['id']}"
            try:
                if act == "capture":
                    self.sandbox.call("POST", f"{path}/capture", {"amount_to_capture": amount})
                    self._do(intent["id"], "capture", "", amount, "dashboard")
                elif act == "cancel":
                    self.sandbox.call("POST", f"{path}/cancel")
                    self._do(intent["id"], "cancel", "", 0, "dashboard")
                elif act == "refund":
                    self.sandbox.call(
                        "POST", "/v1/refunds", {"payment_intent": intent["id"], "amount": amount}
                    )
                else:
                    part = amount if self.people.random() < 0.5 else None
                    self.sandbox.dispute(intent["id"], amount=part, inquiry=self.people.random() < 0.2)
            except Refusal:
                return False
            return True

    def unsettled(self):
        """Return the ids of what waits for a bank: debits, slow refunds and disputes."""
        with self.sandbox.api.lock:
            self.sandbox.api.settle()
            return [name for name in self._unsettled if not name.startswith("du_")]

    def bank(self, number, outcome):
        """Let the bank settle a debit or a refund, or decide the oldest dispute with ``reversed``."""
        sandbox = self.sandbox
        with sandbox.api.lock:
            try:
                if number.startswith("pi_") and outcome != "reversed":
                    settle = sandbox.settle_debit if outcome == "succeeded" else sandbox.fail_debit
                    settle(number)
                elif number.startswith("re_") and outcome != "reversed":
                    sandbox.settle_refund(number, outcome)
                elif outcome == "reversed":
                    self._decide()
            except Refusal:
                return False
            return True

    def _decide(self):
        dispute = next((name for name in self._unsettled if name.startswith("du_")), None)
        if dispute is not None:
            inquiry = self.sandbox.account().get("dispute", dispute)["status"].startswith("warning_")
            ends = ("warning_closed",) if inquiry else ("won", "lost", "under_review")
            self.sandbox.decide(dispute, self.people.choice(ends))

    # --- notifications ----------------------------------------------------------------------------

    def _notice(self, account, event):
        """Have an event carried to the shop, and remember what a bank will have to settle."""
        if event["type"] in EVENTS:
            self.outbox[event["id"]] = event
        found = event["data"]["object"]
        name, status = found["id"], found.get("status", "")
        open_ = {
            "payment_intent": status == "processing",
            "refund": status == "pending",
            "dispute": status not in ("won", "lost", "warning_closed"),
        }.get(found["object"], False)
        if open_:
            self._unsettled[name] = None
        else:
            self._unsettled.pop(name, None)

    def notifications(self, limit=100):
        """Return notifications that nobody acknowledged: the id, the signed headers and the body."""
        with self.sandbox.api.lock:
            self.sandbox.api.settle()
            rows = list(self.outbox.values())[:limit]
        # The provider compares the time of a signature with the machine's own clock.
        bodies = [(row["id"], body_of(row)) for row in rows]
        return [
            (name, {"stripe-signature": sign(body, SECRET, time.time())}, body.decode())
            for name, body in bodies
        ]

    def acknowledge(self, ids):
        """Forget notifications: they were acknowledged with a 2xx, or lost."""
        with self.sandbox.api.lock:
            for name in ids:
                self.outbox.pop(name, None)

    # --- the ledger -------------------------------------------------------------------------------

    def _intents(self, ours):
        """Return the PaymentIntents of a session, the newest first."""
        account = self.sandbox.account()
        for identifier, _ in reversed(self._made.get(ours, ())):
            page = account.named("checkout.session", identifier)
            intent = account.named("payment_intent", page["payment_intent"] if page else identifier)
            if intent is not None:
                yield intent

    def entries(self):
        """Return every effect: by our operations, the payer, the dashboard and the bank."""
        with self.sandbox.api.lock:
            self.sandbox.api.settle()
            account = self.sandbox.account()
            charges, refunds, disputes = {}, {}, {}
            for kind, rows in (("charge", charges), ("refund", refunds), ("dispute", disputes)):
                for row in account.objects.get(kind, {}).values():
                    rows.setdefault(row["payment_intent"], []).append(row)
            found = []
            for ours, made in self._made.items():
                for identifier, operation in made:
                    found.append(entry(identifier, ours, "create", 0, operation, "api"))
                    found += [
                        entry(identifier, ours, kind, amount, by_whom, by)
                        for kind, by_whom, amount, by in self._did.get(identifier, ())
                        if identifier.startswith("cs_")
                    ]
                for intent in self._intents(ours):
                    found += self._of_intent(
                        ours, intent, *(rows.get(intent["id"], ()) for rows in (charges, refunds, disputes))
                    )
        return numbered(found)

    def _of_intent(self, ours, intent, charges, refunds, disputes):
        name, did = intent["id"], self._did.get(intent["id"], [])
        for charge in charges:
            if charge["status"] == "failed":
                continue
            state = "pending" if charge["status"] == "pending" else "succeeded"
            operation = self._confirmed.get(charge["id"], "")
            by = "api" if operation else "form"
            first = charge["amount"] - sum(amount for kind, _, amount, _ in did if kind == "increment")
            yield entry(name, ours, "authorize", first, operation, by, state, charge["id"])
            taken = Counter(part for part in charge["_captures"] if part)
            taken.subtract(amount for kind, _, amount, _ in did if kind == "capture")
            for amount in taken.elements():  # with the authorization; a mistake here shows in the sums
                yield entry(name, ours, "capture", amount, "", by)
        for kind, operation, amount, by in did:
            yield entry(name, ours, kind, amount, operation, by)
        for row in refunds:
            state = {"pending": "pending", "succeeded": "succeeded"}.get(row["status"], "failed")
            operation = row["metadata"].get(OPERATION, "")
            by = "api" if operation else "dashboard"
            yield entry(name, ours, "refund", row["amount"], operation, by, state, row["id"])
        for row in disputes:
            state = _DISPUTED.get(row["status"], "failed")  # an inquiry moves nothing
            yield entry(name, ours, "chargeback", row["amount"], "", "bank", state, row["id"])

    def repeated(self):
        """Return the requests that were carried out more than once under one key."""
        return [[*request, count] for request, count in self._carried_out.items() if count > 1]

    def accounts(self):
        """Return what each session is at Stripe: its PaymentIntents, and pages that have none yet."""
        with self.sandbox.api.lock:
            self.sandbox.api.settle()
            return [
                self._view(ours, identifier) for ours, made in self._made.items() for identifier, _ in made
            ]

    def _view(self, ours, identifier):
        account = self.sandbox.account()
        page = account.named("checkout.session", identifier)
        intent = account.named("payment_intent", page["payment_intent"] if page else identifier)
        view = {
            "ours": ours,
            "id": identifier,
            "authorized": 0,
            "captured": 0,
            "refunded": 0,
            "charged_back": 0,
        }
        if intent is None:
            status = "open" if page["status"] == "open" else "canceled"
            currency = page["currency"].upper()
            return {**view, "status": status, "amount": page["amount_total"], "currency": currency}
        received, held = intent["amount_received"], intent["amount_capturable"]
        over = page is not None and page["status"] != "open" and intent["status"] in _LEFT
        if intent["status"] == "canceled" and not received:
            over = True
        status = "canceled" if over else "authorized" if received or held else "open"

        def total(kind, states):
            rows = account.objects.get(kind, {}).values()
            return sum(
                row["amount"]
                for row in rows
                if row["payment_intent"] == intent["id"] and row["status"] in states
            )

        return {
            **view,
            "status": status,
            "amount": intent["amount"],
            "currency": intent["currency"].upper(),
            "authorized": received + held,
            "captured": received,
            "refunded": total("refund", ("succeeded",)) if received else 0,
            "charged_back": total("dispute", ("needs_response", "under_review", "lost")) if received else 0,
        }


class Office(stand_in.Office):
    """The accounts at Stripe."""

    def open(self, name, multicapture=True, lag=0.0, seed=0):
        self.accounts[name] = Account(self, name, multicapture=multicapture, lag=lag, seed=seed)


def _tampered(fault, answer):
    """Return the answer to a write, of which a part does not say what was done."""
    if answer.status != 200:
        return answer
    body = json.loads(answer.body)
    if fault == "tampered_status":
        body["status"] = "on_holiday"
    elif fault == "tampered_currency":
        body["currency"] = "xxx"
    else:
        body.update({name: body[name] + 1 for name in ("amount", "amount_received") if body.get(name)})
    return Answer.json(200, body, answer.headers)


if __name__ == "__main__":
    stand_in.serve(Office())
