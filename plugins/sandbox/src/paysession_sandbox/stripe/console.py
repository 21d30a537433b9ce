"""The page at ``/``: what the stand-in holds, with buttons to act as payer, bank and dashboard."""

from __future__ import annotations

from datetime import timedelta
from html import escape
from typing import TYPE_CHECKING, Any, Final

from paysession_sandbox import pages
from paysession_sandbox.stripe.faults import FAULTS
from paysession_sandbox.stripe.pages import money
from paysession_sandbox.stripe.refusals import Refusal
from paysession_sandbox.stripe.wire import Answer, Json

if TYPE_CHECKING:
    from paysession_sandbox.stripe.server import StripeSandbox

__all__ = ["ACT", "STATE", "act", "show", "state"]

ACT, STATE = "/_sandbox/act", "/_sandbox/state"
_HTML: Final = {"Content-Type": "text/html; charset=utf-8"}
_MOST: Final = 50
_KINDS: Final = (
    "payment_intent",
    "setup_intent",
    "charge",
    "refund",
    "dispute",
    "checkout.session",
    "customer",
)
_CALLS: Final = {
    "any call": "",
    "create a PaymentIntent": "/v1/payment_intents",
    "confirm": "/confirm",
    "capture": "/capture",
    "cancel": "/cancel",
    "refund": "/v1/refunds",
}


def state(sandbox: StripeSandbox) -> Json:
    """Return what the stand-in holds, as JSON for scripts."""
    account = sandbox.account()
    return {
        "now": sandbox.clock().isoformat(),
        "url": sandbox.url,
        **{kind: [account.show(row) for row in account.all(kind)] for kind in _KINDS},
        "webhooks": {
            "sent": len(sandbox.deliveries.done),
            "waiting": len(sandbox.deliveries.waiting()),
        },
    }


def act(sandbox: StripeSandbox, form: Json) -> Json:
    """Act as somebody: what ``act`` names, to the object that ``id`` names.

    Raises:
        Refusal: It is not possible, or there is no such act.
    """
    name, identifier = str(form.get("act", "")), str(form.get("id", ""))
    acts: dict[str, Any] = {
        "authenticate": lambda: sandbox.authenticate(
            identifier, success=form.get("success", "true") == "true"
        ),
        "settle_debit": lambda: sandbox.settle_debit(identifier),
        "fail_debit": lambda: sandbox.fail_debit(identifier),
        "dispute": lambda: sandbox.dispute(identifier, inquiry=form.get("inquiry") == "true"),
        "warn_of_fraud": lambda: sandbox.warn_of_fraud(identifier),
        "decide": lambda: sandbox.decide(identifier, str(form.get("status", ""))),
        "refund": lambda: sandbox.call("POST", "/v1/refunds", {"payment_intent": identifier}),
        "settle_refund": lambda: sandbox.settle_refund(identifier, str(form.get("status", "succeeded"))),
        "capture": lambda: sandbox.call("POST", f"/v1/payment_intents/{identifier}/capture"),
        "cancel": lambda: sandbox.call("POST", f"/v1/payment_intents/{identifier}/cancel"),
        "expire": lambda: sandbox.expire_authorization(identifier),
        "advance": lambda: _advance(sandbox, form),
        "fault": lambda: _fault(sandbox, form),
        "clear_faults": lambda: _nothing(sandbox.clear_faults),
        "webhooks": lambda: _webhooks(sandbox, form),
    }
    if name not in acts:
        raise Refusal(400, param="act", message=f"There is no act {name!r}; there are {', '.join(acts)}.")
    found: Json = acts[name]()
    sandbox.changed()
    return found


def _nothing(call: Any) -> Json:
    call()
    return {}


def _number(form: Json, name: str, otherwise: int) -> int:
    value = str(form.get(name) or otherwise)
    if not value.isdigit():
        raise Refusal(400, param=name, message=f"{name} is a whole number.")
    return int(value)


def _advance(sandbox: StripeSandbox, form: Json) -> Json:
    sandbox.advance(seconds=_number(form, "seconds", 3600))
    return {"now": sandbox.clock().isoformat()}


def _fault(sandbox: StripeSandbox, form: Json) -> Json:
    try:
        sandbox.fail(
            str(form.get("fault", "")),
            str(form.get("path", "")),
            str(form.get("method") or "POST"),
            times=_number(form, "times", 1),
        )
    except ValueError as error:
        raise Refusal(400, param="fault", message=str(error)) from None
    return {}


def _webhooks(sandbox: StripeSandbox, form: Json) -> Json:
    deliveries = sandbox.deliveries
    deliveries.delay = timedelta(seconds=_number(form, "delay", 0))
    deliveries.times = max(1, _number(form, "times", 1))
    deliveries.reverse = form.get("order") == "reverse"
    if form.get("url"):
        secret = sandbox.send_webhooks_to(str(form["url"]))
        return {"secret": secret}
    return {}


# --- the page -------------------------------------------------------------------------------------


def show(sandbox: StripeSandbox, error: str = "") -> Answer:
    """Return the page."""
    account = sandbox.account()
    notice = f'<p class="notice bad" role="alert">{escape(error)}</p>' if error else ""
    body = (
        "<h1>Stripe, on your machine</h1>"
        '<p class="soft">paysession-sandbox: no money moves here, and whoever reaches this port may do '
        "everything.</p>"
        f"{notice}{_clock(sandbox)}{_payments(account)}{_disputes(account)}{_refunds(account)}{_sessions(account)}"
        f"{_faults(sandbox)}{_deliveries(sandbox)}{_settings(sandbox)}"
    )
    return Answer(200, pages.page("Stripe on this machine", body), _HTML)


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _clock(sandbox: StripeSandbox) -> str:
    steps = {"+ 1 minute": 60, "+ 1 hour": 3600, "+ 1 day": 86_400, "+ 7 days": 604_800}
    buttons = "".join(
        pages.button(label, ACT, act="advance", seconds=str(step)) for label, step in steps.items()
    )
    now = sandbox.clock().strftime("%Y-%m-%d %H:%M:%S UTC")
    return _section("Clock", f"<p>It is <code>{now}</code> here.</p><div>{buttons}</div>")


def _payments(account: Any) -> str:
    rows: list[str] = []
    for row in list(account.all("payment_intent"))[:_MOST]:
        marks = ", ".join(f"{name}: {value}" for name, value in list(row["metadata"].items())[:2])
        error = row["last_payment_error"]
        words = f'<br><span class="soft">{escape(error["message"])}</span>' if error else ""
        rows.append(
            pages.cells(
                f"<code>{row['id']}</code><br><span class='soft'>{escape(marks[:80])}</span>",
                escape(money(row["amount"], row["currency"])),
                pages.tag(row["status"]) + words,
                escape(money(row["amount_received"], row["currency"])),
                _buttons_of(account, row),
            )
        )
    heads = ["PaymentIntent", "Amount", "Status", "Received", "Act as payer, bank or dashboard"]
    return _section("Payments", pages.table(heads, rows, "Nobody has begun to pay yet."))


def _buttons_of(account: Any, row: Json) -> str:
    def one(label: str, act: str, **more: str) -> str:
        return pages.button(label, ACT, act=act, id=row["id"], **more)

    if row["status"] == "requires_action":
        passed = one("Authenticate", "authenticate", success="true")
        return passed + one("Fail authentication", "authenticate", success="false")
    if row["status"] == "processing":
        return one("Settle the debit", "settle_debit") + one("Fail the debit", "fail_debit")
    if row["status"] == "requires_capture":
        return one("Capture", "capture") + one("Cancel", "cancel") + one("Let it expire", "expire")
    if row["status"] == "succeeded":
        charge = account.named("charge", row["latest_charge"])
        refund = "" if charge is None or charge["refunded"] else one("Refund", "refund")
        return (
            refund
            + one("Dispute", "dispute")
            + one("Inquire", "dispute", inquiry="true")
            + one("Warn of fraud", "warn_of_fraud")
        )
    return one("Cancel", "cancel") if row["status"] != "canceled" else ""


def _disputes(account: Any) -> str:
    rows: list[str] = []
    for row in list(account.all("dispute"))[:_MOST]:
        open_now = row["status"] in ("needs_response", "under_review")
        asks = row["status"].startswith("warning_") and row["status"] != "warning_closed"
        choices = (
            [("Win", "won"), ("Lose", "lost")] if open_now else [("Close", "warning_closed")] if asks else []
        )
        buttons = "".join(
            pages.button(label, ACT, act="decide", id=row["id"], status=status) for label, status in choices
        )
        names = f"<code>{row['id']}</code><br><code class='soft'>{row['payment_intent']}</code>"
        rows.append(
            pages.cells(
                names, escape(money(row["amount"], row["currency"])), pages.tag(row["status"]), buttons
            )
        )
    return _section("Disputes", pages.table(["Dispute", "Amount", "Status", "Act"], rows, "There are none."))


def _refunds(account: Any) -> str:
    rows: list[str] = []
    for row in list(account.all("refund"))[:_MOST]:
        choices = [("Succeed", "succeeded")] if row["status"] == "pending" else []
        choices += [("Fail", "failed")] if row["status"] in ("pending", "succeeded") else []
        buttons = "".join(
            pages.button(label, ACT, act="settle_refund", id=row["id"], status=status)
            for label, status in choices
        )
        names = f"<code>{row['id']}</code><br><code class='soft'>{row['payment_intent']}</code>"
        rows.append(
            pages.cells(
                names, escape(money(row["amount"], row["currency"])), pages.tag(row["status"]), buttons
            )
        )
    return _section("Refunds", pages.table(["Refund", "Amount", "Status", "Act"], rows, "There are none."))


def _sessions(account: Any) -> str:
    rows: list[str] = []
    for row in list(account.all("checkout.session"))[:_MOST]:
        link = f'<a href="{escape(row["url"])}">its page</a>' if row["url"] else ""
        amount = money(row["amount_total"], row["currency"]) if row["amount_total"] is not None else ""
        rows.append(pages.cells(f"<code>{row['id']}</code>", escape(amount), pages.tag(row["status"]), link))
    return _section(
        "Checkout Sessions", pages.table(["Session", "Amount", "Status", ""], rows, "There are none.")
    )


def _faults(sandbox: StripeSandbox) -> str:
    faults = "".join(f"<option>{escape(name)}</option>" for name in FAULTS)
    calls = "".join(
        f'<option value="{escape(path)}">{escape(name)}</option>' for name, path in _CALLS.items()
    )
    waiting = "".join(f"<li><code>{escape(row)}</code></li>" for row in sandbox.faults())
    return _section(
        "Faults",
        f'<form method="post" action="{ACT}" class="row"><input type="hidden" name="act" value="fault">'
        f'<label>What goes wrong<select name="fault">{faults}</select></label>'
        f'<label>With which request<select name="path">{calls}</select></label>'
        + pages.field("How often", "times", "1", inputmode="numeric")
        + "<button class='main'>Inject</button></form>"
        + (f"<ul>{waiting}</ul>" if waiting else "")
        + pages.button("Let nothing more go wrong", ACT, act="clear_faults"),
    )


def _deliveries(sandbox: StripeSandbox) -> str:
    deliveries = sandbox.deliveries
    rows = [
        pages.cells(
            f"<code>{escape(row.kind)}</code>",
            f"<code>{escape(row.url)}</code>",
            escape("waits" if row.status is None else str(row.status or "not reached")),
            str(row.attempts),
        )
        for row in [*deliveries.waiting(), *reversed(deliveries.done[-_MOST:])]
    ]
    reverse = " selected" if deliveries.reverse else ""
    return _section(
        "Webhooks",
        f'<form method="post" action="{ACT}" class="row"><input type="hidden" name="act" value="webhooks">'
        + pages.field(
            "Send events to (new endpoint)", "url", "", placeholder="http://127.0.0.1:8000/webhooks/stripe"
        )
        + pages.field(
            "Seconds late", "delay", str(int(deliveries.delay.total_seconds())), inputmode="numeric"
        )
        + pages.field("Each so often", "times", str(deliveries.times), inputmode="numeric")
        + '<label>Order<select name="order"><option value="">as it happens</option>'
        f'<option value="reverse"{reverse}>the newest first</option></select></label>'
        "<button class='main'>Set</button></form>"
        + pages.table(["Event", "To", "Answer", "Attempts"], rows, "Nothing was sent yet."),
    )


def _settings(sandbox: StripeSandbox) -> str:
    lines = "\n".join(f"export {name}={value}" for name, value in sandbox.environment().items())
    return _section("Settings to paste", f"<pre class='wide'><code>{escape(lines)}</code></pre>")
