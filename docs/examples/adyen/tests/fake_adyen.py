"""Adyen with a ledger of its own, from its documentation: Checkout v71, and the webhooks it sends."""

import base64
import hmac
import itertools
import json
import re
from datetime import UTC, datetime, timedelta

from paysession.provider import Effect, Money
from paysession_testing import Counterpart

API_KEY = "AQEyhmfxK...test.key"
HMAC_KEY = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
ACCOUNT = "TestMerchant"
EXPONENTS = {"CLP": 2, "CVE": 0, "IDR": 0, "ISK": 2}
MODIFICATIONS = {
    "captures": ("capture", "CAPTURE"),
    "refunds": ("refund", "REFUND"),
    "cancels": ("cancel", "CANCELLATION"),
}
UNDONE = {"capture": "CAPTURE_FAILED", "refund": "REFUND_FAILED"}
SIGNED = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference")


class Refused(Exception):
    """A refusal: an HTTP status and an error code."""

    def __init__(self, status, code, message="refused"):
        super().__init__(message)
        self.reply = status, {}, error(status, code, message)


def error(status, code, message):
    return {"status": status, "errorCode": code, "message": message, "errorType": "validation"}


def signature(item, key=HMAC_KEY):
    amount = item["amount"]
    parts = [item.get(name, "") for name in SIGNED]
    text = ":".join([*parts, str(amount["value"]), amount["currency"], item["eventCode"], item["success"]])
    return base64.b64encode(hmac.digest(bytes.fromhex(key), text.encode(), "sha256")).decode()


def signed(item, key=HMAC_KEY):
    item["additionalData"] = {**item.get("additionalData", {}), "hmacSignature": signature(item, key)}
    return item


def webhook(*items):
    rows = [{"NotificationRequestItem": item} for item in items]
    return json.dumps({"live": "false", "notificationItems": rows}).encode()


def items_of(body):
    return [row["NotificationRequestItem"] for row in json.loads(body)["notificationItems"]]


class FakeAdyen(Counterpart):
    """Adyen's side: sessions, payments with their modifications, and the webhooks sent so far."""

    currencies = ("EUR", "JPY", "KWD")
    currency_exponents = EXPONENTS
    refuses = ("400", "422")
    secrets = (HMAC_KEY, API_KEY)
    cannot = {
        "date": "a signature says nothing of when it was made",
        "cancel": "what nobody has paid expires by itself",
        "notify": "a webhook is set up once, in the Customer Area",
    }

    def __init__(self):
        self.sessions = {}
        self.payments = {}
        self.sent = []
        self._numbers = itertools.count(1)

    # --- the API ------------------------------------------------------------------------------------

    def handle(self, method, path, headers, body):
        try:
            if headers.get("x-api-key") != API_KEY:
                raise Refused(401, "000", "HTTP Status Response - Unauthorized")
            if method != "POST" or not 0 < len(headers.get("idempotency-key", "")) <= 64:
                raise Refused(400, "702", "an unknown request")
            told = json.loads(body)
            if told["merchantAccount"] != ACCOUNT:
                raise Refused(403, "901", "Invalid Merchant Account")
            if path == "/sessions":
                return 201, {}, self._create(told)
            found = re.fullmatch(r"/payments/(\w+)/(captures|refunds|cancels)", path)
            payment = self.payments.get(found[1]) if found else None
            if payment is None:
                raise Refused(422, "167", "Original pspReference required for this operation")
            return 201, {}, self._modify(payment, found[2], told)
        except Refused as refused:
            return refused.reply

    def refusal(self, status):
        return status, {}, error(status, "702", f"status {status}")

    def _psp(self):
        return f"{next(self._numbers):016}"

    def _create(self, told):
        known = {"merchantAccount", "amount", "reference", "returnUrl", "channel", "shopperLocale"}
        known |= {"shopperEmail", "shopperIP", "countryCode", "shopperReference", "captureDelayHours"}
        if set(told) - known - {"additionalData"} or len(told["reference"]) > 80 or "returnUrl" not in told:
            raise Refused(422, "702", "an unknown field")
        self._check(told["amount"])
        id_ = f"CS{next(self._numbers):014X}"
        self.sessions[id_] = told
        expires_at = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
        return {"id": id_, "sessionData": f"Ab02b4c{id_}", "expiresAt": expires_at, "amount": told["amount"]}

    def _check(self, amount):
        if type(amount["value"]) is not int or amount["value"] <= 0:
            raise Refused(422, "137", "Invalid amount specified")

    def _modify(self, payment, what, told):
        kind, code = MODIFICATIONS[what]
        amount = told.get("amount") or dict(payment["amount"])
        self._check(amount)
        psp = self._psp()
        row = {"kind": kind, "code": code, "psp": psp, "amount": amount, "state": "pending"}
        payment["modifications"].append(row | {"reference": told.get("reference", payment["reference"])})
        answer = {"merchantAccount": ACCOUNT, "pspReference": psp, "paymentPspReference": payment["psp"]}
        return answer | {"status": "received"} | ({"amount": amount} if "amount" in told else {})

    # --- what happens at Adyen ------------------------------------------------------------------------

    def _of(self, session):
        """Return the payments of a session."""
        return [row for row in self.payments.values() if row["reference"].startswith(session.id)]

    def _pay(self, session, success):
        told = next(row for row in self.sessions.values() if row["reference"].startswith(session.id))
        psp = self._psp()
        payment = {"psp": psp, "amount": told["amount"], "reference": told["reference"], "paid": success}
        payment |= {"undone": False, "modifications": []}
        manual = told.get("additionalData", {}).get("manualCapture") == "true"
        payment["automatic"] = not manual  # the account's setting
        self.payments[psp] = payment
        more = {"shopperEmail": told.get("shopperEmail"), "cardHolderName": "J. Payer"}
        self._send(payment, "AUTHORISATION", psp, told["amount"], success, more=more)

    def _send(self, payment, code, psp, amount, success=True, *, reference=None, more=None):
        item = {
            "amount": amount,
            "eventCode": code,
            "eventDate": datetime.now(UTC).isoformat(timespec="seconds"),
            "merchantAccountCode": ACCOUNT,
            "merchantReference": reference or payment["reference"],
            "paymentMethod": "visa",
            "pspReference": psp,
            "reason": "" if success else "Refused",
            "success": "true" if success else "false",
            "additionalData": more or {},
        }
        if psp != payment["psp"]:
            item["originalReference"] = payment["psp"]
        self.sent.append((payment["reference"], webhook(signed(item))))

    def _left(self, payment):
        """Return what is authorized and not captured, in Adyen's units: a capture releases the rest."""
        taken = [row for row in payment["modifications"] if row["state"] in ("succeeded", "reversed")]
        over = payment["automatic"] or not payment["paid"]
        if over or any(row["kind"] in ("capture", "cancel") for row in taken):
            return 0
        return payment["amount"]["value"]

    def _captured(self, payment):
        rows = [row for row in payment["modifications"] if row["state"] == "succeeded"]
        moved = {"capture": 0, "refund": 0}
        for row in rows:
            if row["kind"] in moved:
                moved[row["kind"]] += row["amount"]["value"]
        at_once = payment["amount"]["value"] if payment["automatic"] and not payment["undone"] else 0
        return at_once + moved["capture"] - moved["refund"]

    def _carry_out(self, payment, row):
        value = row["amount"]["value"]
        fits = value <= (self._captured(payment) if row["kind"] == "refund" else self._left(payment))
        row["state"] = "succeeded" if fits else "failed"
        amount = row["amount"]
        self._send(payment, row["code"], row["psp"], amount, fits, reference=row["reference"])

    # --- for the kit --------------------------------------------------------------------------------

    def _money(self, amount):
        places = {"JPY": 0, "KWD": 3, **EXPONENTS}.get(amount["currency"], 2)
        shown = f"{amount['value']:0{places + 1}}"
        number = f"{shown[:-places]}.{shown[-places:]}" if places else shown
        return Money(number, amount["currency"])

    def ledger(self, session):
        made = [row for row in self.sessions.values() if row["reference"].startswith(session.id)]
        found = [Effect("initiate", self._money(row["amount"])) for row in made]
        for payment in self._of(session):
            amount = self._money(payment["amount"])
            found.append(Effect("authorize", amount, "succeeded" if payment["paid"] else "failed"))
            if payment["automatic"] and payment["paid"]:
                found.append(Effect("capture", amount, "reversed" if payment["undone"] else "succeeded"))
            found += [
                Effect(row["kind"], self._money(row["amount"]), row["state"])
                for row in payment["modifications"]
            ]
        return found

    def held(self, session):
        rows = [{**row["amount"], "value": self._left(row)} for row in self._of(session)]
        return self._money(rows[-1]) if rows else None

    def approve(self, session):
        self._pay(session, True)
        return {"sessionId": "CS1", "sessionResult": "Ab02b4c", "resultCode": "Authorised"}

    def decline(self, session):
        self._pay(session, False)
        return {"sessionId": "CS1", "sessionResult": "Ab02b4c", "resultCode": "Refused"}

    def notification(self, session):
        return self.notifications(session)[-1]

    def notifications(self, session):
        return [body for reference, body in self.sent if reference.startswith(session.id)]

    def sign(self, body, at):
        del body, at
        return {"Content-Type": "application/json"}

    def sign_with_nothing(self, body, at):
        return self.sign(body, at), webhook(*(signed(item, "") for item in items_of(body)))

    def signatures(self, body):
        return [item["additionalData"]["hmacSignature"].encode() for item in items_of(body)]

    def several(self, bodies):
        return webhook(*(item for body in bodies for item in items_of(body)))

    def of_another_account(self, body):
        return webhook(*(signed({**item, "merchantAccountCode": "AnotherShop"}) for item in items_of(body)))

    def of_another_shop(self, body, session):
        return webhook(*(signed({**item, "merchantReference": "order-10042"}) for item in items_of(body)))

    def finish(self, session):
        for payment in self._of(session):
            for row in payment["modifications"]:
                if row["state"] == "pending":
                    self._carry_out(payment, row)

    def fail(self, session):
        for payment in self._of(session):
            for row in payment["modifications"]:
                if row["state"] == "pending":
                    row["state"] = "failed"
                    reference = row["reference"]
                    self._send(payment, row["code"], row["psp"], row["amount"], False, reference=reference)

    def undo(self, session, kind):
        for payment in self._of(session):
            for row in payment["modifications"]:
                if row["state"] == "succeeded" and row["kind"] == kind:
                    row["state"] = "reversed"
                    reference = row["reference"]
                    self._send(payment, UNDONE[kind], row["psp"], row["amount"], reference=reference)

    def _in_the_customer_area(self, session, what, amount):
        (payment,) = self._of(session)
        told = {"amount": {"currency": amount.currency, "value": int(amount.amount * 100)}}
        self._modify(payment, what, told if what != "cancels" else {})
        self._carry_out(payment, payment["modifications"][-1])

    def refund_in_dashboard(self, session, amount):
        self._in_the_customer_area(session, "refunds", amount)

    def capture_in_dashboard(self, session, amount):
        self._in_the_customer_area(session, "captures", amount)

    def cancel_in_dashboard(self, session):
        self._in_the_customer_area(session, "cancels", session.amount)

    def charge_back(self, session, amount):
        (payment,) = self._of(session)
        told = {"currency": amount.currency, "value": int(amount.amount * 100)}
        self._send(payment, "CHARGEBACK", self._psp(), told)
