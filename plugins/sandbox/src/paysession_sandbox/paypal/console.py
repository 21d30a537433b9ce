"""The page at ``/`` of the fake PayPal, to act as payer and dashboard, and PayPal's script for buttons."""

from __future__ import annotations

from datetime import timedelta
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from paysession_sandbox import pages
from paysession_sandbox.paypal import documents, vault
from paysession_sandbox.paypal.app import Answer
from paysession_sandbox.paypal.faults import Fault
from paysession_sandbox.paypal.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paysession_sandbox.paypal.ledger import Ledger
    from paysession_sandbox.paypal.objects import Order
    from paysession_sandbox.paypal.server import PayPalFake

__all__ = ["answer"]

ACT: Final = "/_sandbox/act"
_CORS: Final = {"Access-Control-Allow-Origin": "*"}
_HTML: Final = {"Content-Type": "text/html; charset=utf-8"}
_CALLS: Final = (
    "create",
    "show",
    "patch",
    "authorize",
    "capture_order",
    "capture",
    "void",
    "refund",
    "token",
)
_FAULTS: Final[Mapping[str, Fault]] = {
    "drop before": Fault.drop(),
    "drop after": Fault.drop(committed=True),
    "500 before": Fault.answer(500),
    "500 after": Fault.answer(500, committed=True),
    "429": Fault.answer(429),
    "garbage": Fault.answer(200, b"<html>", committed=True),
}


def answer(
    fake: PayPalFake, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> Answer | None:
    """Answer a browser; None: it is no page of these."""
    place = urlsplit(path).path
    if method == "GET" and place == "/sdk/js":
        script = files("paysession_sandbox.paypal").joinpath("sdk.js").read_text(encoding="utf-8")
        kind = {"Content-Type": "text/javascript; charset=utf-8"}
        return Answer(200, script.replace("__PAYER__", documents.PAYER).encode(), kind)
    if method == "POST" and place == "/sdk/approve":  # pressed in a page of the shop, which stays where it is
        token = dict(parse_qsl(urlsplit(path).query)).get("token", "")
        try:
            if token in fake.ledger.setups:
                vault.approve(fake.ledger, token)
            else:
                fake.ledger.approve(token)
        except Problem as problem:
            return Answer(problem.status, b"", _CORS)
        return Answer(204, b"", _CORS)
    if method == "GET" and place == "/":
        return _show(fake)
    if method != "POST" or place != ACT:
        return None
    if headers.get("origin", fake.url) != fake.url:
        return Answer(403, b"Only the page at / may do this.")
    try:
        _act(fake, dict(parse_qsl(body.decode("utf-8", "replace"))))
    except (Problem, KeyError, ValueError) as error:
        return _show(fake, f"It is not possible: {error}")
    return Answer(303, b"", {"Location": "/"})


def _act(fake: PayPalFake, form: Mapping[str, str]) -> None:
    act, identifier = form["act"], form.get("id", "")
    if act == "advance":
        fake.clock.forward(seconds=int(form["seconds"]))
    elif act == "fault":
        fake.fail(form["call"], _FAULTS[form["fault"]])
    elif act == "webhooks":
        _set_webhooks(fake, form)
    elif act == "fix":
        fake.fix()
    else:
        _act_on(fake.ledger, act, identifier)


def _set_webhooks(fake: PayPalFake, form: Mapping[str, str]) -> None:
    deliveries = fake.deliveries
    deliveries.delay = timedelta(seconds=int(form.get("delay") or 0))
    deliveries.times = max(1, int(form.get("times") or 1))
    deliveries.reverse = form.get("order") == "reverse"
    if form.get("url"):
        fake.send_webhooks_to(form["url"])


def _act_on(ledger: Ledger, act: str, identifier: str) -> None:
    if act == "approve":
        ledger.approve(identifier)
    elif act == "void":
        ledger.void(identifier)
    elif act == "capture":
        ledger.capture(identifier, {"final_capture": True})
    elif act == "refund":
        ledger.refund(identifier, {})
    elif act == "reverse":
        ledger.reverse(identifier)
    elif act in ("dispute", "inquire"):
        ledger.dispute(identifier, stage="INQUIRY" if act == "inquire" else "CHARGEBACK")
    elif act in ("win", "lose"):
        ledger.decide(identifier, won=act == "win")
    else:
        raise ValueError(f"there is no act {act!r}")


def _show(fake: PayPalFake, error: str = "") -> Answer:
    notice = f'<p class="notice bad" role="alert">{escape(error)}</p>' if error else ""
    steps = {"+ 1 hour": 3600, "+ 1 day": 86_400, "+ 29 days": 29 * 86_400}
    clock = "".join(
        pages.button(label, ACT, act="advance", seconds=str(step)) for label, step in steps.items()
    )
    rows = [_order(order) for order in reversed(fake.ledger.orders.values())]
    calls = "".join(f"<option>{name}</option>" for name in _CALLS)
    faults = "".join(f"<option>{name}</option>" for name in _FAULTS)
    rows_sent = [*fake.deliveries.waiting(), *reversed(fake.deliveries.done[-50:])]
    sent = [
        pages.cells(
            f"<code>{escape(row.kind)}</code>",
            f"<code>{escape(row.url)}</code>",
            "waits" if row.status is None else str(row.status or "not reached"),
        )
        for row in rows_sent
    ]
    body = (
        "<h1>PayPal, on your machine</h1>"
        '<p class="soft">paysession-sandbox: no money moves here, and whoever reaches this port may do '
        f"everything.</p>{notice}<section><h2>Clock</h2>"
        f"<p>It is <code>{fake.clock():%Y-%m-%d %H:%M:%S} UTC</code> here.</p>{clock}"
        "</section><section><h2>Orders</h2>"
        + pages.table(
            ["Order", "Amount", "Status", "Act as payer or dashboard"], rows, "Nobody has begun to pay yet."
        )
        + f'</section><section><h2>Faults</h2><form method="post" action="{ACT}" class="row">'
        '<input type="hidden" name="act" value="fault">'
        f'<label>What goes wrong<select name="fault">{faults}</select></label>'
        f'<label>With which call<select name="call">{calls}</select></label>'
        '<button class="main">Inject</button></form>'
        + pages.button("Let nothing more go wrong", ACT, act="fix")
        + f'</section><section><h2>Webhooks</h2><form method="post" action="{ACT}" class="row">'
        '<input type="hidden" name="act" value="webhooks">'
        + pages.field("Send notifications to", "url", placeholder="http://127.0.0.1:8000/webhooks/paypal")
        + pages.field("Seconds late", "delay", "0", inputmode="numeric")
        + pages.field("Each so often", "times", "1", inputmode="numeric")
        + '<label>Order<select name="order"><option value="">as it happens</option>'
        '<option value="reverse">the newest first</option></select></label>'
        '<button class="main">Set</button></form>'
        + pages.table(["Event", "To", "Answer"], sent, "Nothing was sent yet.")
        + "</section>"
    )
    return Answer(200, pages.page("PayPal on this machine", body), _HTML)


def _order(order: Order) -> str:
    def one(label: str, act: str, identifier: str) -> str:
        return pages.button(label, ACT, act=act, id=identifier)

    custom = escape(str(order.unit.get("custom_id", "")))
    lines = [f"<code>{escape(order.id)}</code><br><span class='soft'>{custom}</span>"]
    status = [pages.tag(order.status)]
    acts = one("Approve", "approve", order.id) if order.approved_at is None else ""
    for row in order.authorizations:
        status.append(f"authorization {pages.tag(row.status)}")
        if row.status in ("CREATED", "PARTIALLY_CAPTURED"):
            acts += one("Capture", "capture", row.id) + one("Void", "void", row.id)
    for capture in order.captures:
        status.append(f"capture {capture.amount} {pages.tag(capture.status)}")
        open_ = [dispute for dispute in capture.disputes if dispute.outcome is None]
        status += [f"dispute {pages.tag(dispute.status)}" for dispute in open_]
        if open_:
            acts += one("Win the dispute", "win", capture.id) + one("Lose the dispute", "lose", capture.id)
        if not capture.failed and capture.refunded < capture.amount:
            if not open_:
                acts += one("Dispute", "dispute", capture.id) + one(
                    "Ask the shop first", "inquire", capture.id
                )
            acts += one(f"Refund {capture.amount}", "refund", capture.id)
            acts += one(f"Reverse {capture.amount}", "reverse", capture.id)
    amount = escape(f"{order.amount} {order.currency}")
    return pages.cells("".join(lines), amount, "<br>".join(status), acts)
