"""The page at ``/``, to act as payer, bank and dashboard, and PayPal's script for buttons."""

from __future__ import annotations

import json
from datetime import timedelta
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

from paysession_sandbox import pages
from paysession_sandbox.paypal import documents, vault
from paysession_sandbox.paypal.app import CALLS, Answer
from paysession_sandbox.paypal.faults import FAULTS
from paysession_sandbox.paypal.ledger import BANKS
from paysession_sandbox.paypal.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from paysession_sandbox.paypal.ledger import Ledger
    from paysession_sandbox.paypal.objects import Capture, Order
    from paysession_sandbox.paypal.server import PayPalFake

__all__ = ["answer"]

ACT: Final = "/_sandbox/act"
STATE: Final = "/_sandbox/state"
_CORS: Final = {"Access-Control-Allow-Origin": "*"}
_HTML: Final = {"Content-Type": "text/html; charset=utf-8"}
_JSON: Final = {"Content-Type": "application/json"}
_MOST: Final = 50
_ENDS: Final = {
    "authorization": ("CREATED", "DENIED"),
    "capture": ("COMPLETED", "DECLINED"),
    "refund": ("COMPLETED", "FAILED"),
}
"""How what is pending ends: well, or not."""


def answer(
    fake: PayPalFake, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> Answer | None:
    """Answer a browser, or a script; None: it is no page of these."""
    place = urlsplit(path).path
    if method == "GET" and place == "/sdk/js":
        script = files("paysession_sandbox.paypal").joinpath("sdk.js").read_text(encoding="utf-8")
        kind = {"Content-Type": "text/javascript; charset=utf-8"}
        return Answer(200, script.replace("__PAYER__", documents.PAYER).encode(), kind)
    if method == "POST" and place == "/sdk/approve":  # pressed in a page of the shop, which stays where it is
        token = dict(parse_qsl(urlsplit(path).query)).get("token", "")
        try:
            _approve(fake.ledger, token)
        except Problem as problem:
            return Answer(problem.status, b"", _CORS)
        return Answer(204, b"", _CORS)
    if method == "GET" and place == "/":
        return _show(fake)
    if method == "GET" and place == STATE:
        return Answer(200, json.dumps(_state(fake)).encode(), _JSON)
    if method != "POST" or place != ACT:
        return None
    return _pressed(fake, headers, dict(parse_qsl(body.decode("utf-8", "replace"))))


def _state(fake: PayPalFake) -> dict[str, Any]:
    """Return what the stand-in holds, as JSON for scripts."""
    ledger, base = fake.ledger, fake.url
    return {
        "now": fake.clock().isoformat(),
        "url": base,
        "orders": [documents.order(row, base) for row in ledger.orders.values()],
        "disputes": [
            documents.dispute(row, capture, order, base)
            for order in ledger.orders.values()
            for capture in order.captures
            for row in capture.disputes
        ],
        "setup_tokens": [vault.setup(row, base) for row in ledger.setups.values()],
        "payment_tokens": [vault.saved(ledger, token, base) for token in ledger.vault],
        "effects": fake.effects,
        "events": [event.document for event in fake.events],
        "webhooks": {"sent": len(fake.deliveries.done), "waiting": len(fake.deliveries.waiting())},
    }


# --- what is pressed ------------------------------------------------------------------------------


def _pressed(fake: PayPalFake, headers: Mapping[str, str], form: Mapping[str, str]) -> Answer:
    """Act for whoever sits at the page at ``/``, or a script; never for another page."""
    if headers.get("origin", fake.url) != fake.url:
        return Answer(403, b"Only the page at / may do this.")
    plain = "text/html" not in headers.get("accept", "")
    try:
        _act(fake, form)
    except KeyError as error:
        said = f"{error.args[0]} is missing, or unknown"
    except (Problem, ValueError) as error:
        said = str(error)
    else:
        return Answer(200, b"{}", _JSON) if plain else Answer(303, b"", {"Location": "/"})
    if plain:
        return Answer(400, json.dumps({"error": {"message": said}}).encode(), _JSON)
    return _show(fake, f"It is not possible: {said}")


def _act(fake: PayPalFake, form: Mapping[str, str]) -> None:
    ledger, identifier = fake.ledger, form.get("id", "")
    acts: dict[str, Callable[[], object]] = {
        "advance": lambda: fake.clock.forward(seconds=int(form["seconds"])),
        "approve": lambda: _approve(ledger, identifier),
        "decline": fake.decline_next,
        "bank_pays": lambda: _bank_pays(ledger, identifier),
        "void": lambda: ledger.void(identifier),
        "capture": lambda: ledger.capture(identifier, {"final_capture": True}),
        "refund": lambda: ledger.refund(identifier, {}),
        "reverse": lambda: ledger.reverse(identifier),
        "settle": lambda: _settle(ledger, identifier, form["status"]),
        "dispute": lambda: ledger.dispute(identifier),
        "inquire": lambda: ledger.dispute(identifier, stage="INQUIRY"),
        "win": lambda: ledger.decide(identifier, won=True),
        "lose": lambda: ledger.decide(identifier, won=False),
        "forget": lambda: ledger.forget(identifier),
        "fault": lambda: fake.fail(form["call"], form["fault"], times=int(form.get("times") or 1)),
        "fix": fake.fix,
        "webhooks": lambda: _set_webhooks(fake, form),
    }
    if form["act"] not in acts:
        raise ValueError(f"there is no act {form['act']!r}; there are {', '.join(acts)}")
    acts[form["act"]]()


def _approve(ledger: Ledger, token: str) -> None:
    if token in ledger.setups:
        vault.approve(ledger, token)
    else:
        ledger.approve(token)


def _bank_pays(ledger: Ledger, identifier: str) -> None:
    order = ledger.order(identifier)
    if order.source not in BANKS or order.approved_at is None or order.captures:
        raise ValueError(f"no bank is to pay {identifier}")
    ledger.bank_pays(identifier)


def _settle(ledger: Ledger, identifier: str, status: str) -> None:
    """Bring what is pending to its end: once, however often the button is pressed."""
    ends: dict[str, tuple[str, str]] = {}
    for order in ledger.orders.values():
        ends |= {row.id: _ENDS["authorization"] for row in order.authorizations if row.status == "PENDING"}
        for capture in order.captures:
            ends |= {capture.id: _ENDS["capture"]} if capture.status == "PENDING" else {}
            ends |= {row.id: _ENDS["refund"] for row in capture.refunds if row.status == "PENDING"}
    if status not in ends.get(identifier, ()):
        raise ValueError(f"{identifier} is not pending, or does not become {status}")
    ledger.settle(identifier, status)


def _set_webhooks(fake: PayPalFake, form: Mapping[str, str]) -> None:
    deliveries = fake.deliveries
    deliveries.delay = timedelta(seconds=int(form.get("delay") or 0))
    deliveries.times = max(1, int(form.get("times") or 1))
    deliveries.reverse = form.get("order") == "reverse"
    if form.get("url"):
        fake.send_webhooks_to(form["url"])


# --- the page -------------------------------------------------------------------------------------


def _show(fake: PayPalFake, error: str = "") -> Answer:
    notice = f'<p class="notice bad" role="alert">{escape(error)}</p>' if error else ""
    body = (
        "<h1>PayPal, on your machine</h1>"
        '<p class="soft">paysession-sandbox: no money moves here, and whoever reaches this port may do '
        f"everything.</p>{notice}{_clock(fake)}{_orders(fake.ledger)}{_vault(fake.ledger)}{_faults(fake)}"
        f"{_deliveries(fake)}{_settings(fake)}"
    )
    return Answer(200, pages.page("PayPal on this machine", body), _HTML)


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _one(label: str, act: str, identifier: str = "", **more: str) -> str:
    return pages.button(label, ACT, act=act, id=identifier, **more)


def _clock(fake: PayPalFake) -> str:
    steps = {"+ 1 hour": 3600, "+ 1 day": 86_400, "+ 29 days": 29 * 86_400}
    buttons = "".join(_one(label, "advance", seconds=str(step)) for label, step in steps.items())
    return _section("Clock", f"<p>It is <code>{fake.clock():%Y-%m-%d %H:%M:%S} UTC</code> here.</p>{buttons}")


def _orders(ledger: Ledger) -> str:
    rows = [_order(order) for order in list(reversed(ledger.orders.values()))[:_MOST]]
    heads = ["Order", "Amount", "Status", "Act as payer, bank or dashboard"]
    return _section(
        "Orders",
        pages.table(heads, rows, "Nobody has begun to pay yet.")
        + _one("Decline the next payer whose order is captured at once", "decline"),
    )


def _order(order: Order) -> str:
    custom = escape(str(order.unit.get("custom_id", "")))
    status, acts = [pages.tag(order.status)], ""
    if order.approved_at is None:
        acts += _one("Approve", "approve", order.id)
        acts += f'<a href="/checkoutnow?token={escape(order.id)}">its page</a>'
    elif order.source in BANKS and not order.captures:
        acts += _one("Let the bank pay", "bank_pays", order.id)
    for row in order.authorizations:
        status.append(f"authorization {pages.tag(row.status)}")
        if row.status in ("CREATED", "PARTIALLY_CAPTURED"):
            acts += _one("Capture", "capture", row.id) + _one("Void", "void", row.id)
        acts += _settled("authorization", row.id, row.status)
    for capture in order.captures:
        status.append(f"capture {capture.amount} {pages.tag(capture.status)}")
        status += [f"refund {row.amount} {pages.tag(row.status)}" for row in capture.refunds]
        status += [f"dispute {pages.tag(row.status)}" for row in capture.disputes if row.outcome is None]
        acts += _acts_on(capture)
    names = f"<code>{escape(order.id)}</code><br><span class='soft'>{custom}</span>"
    return pages.cells(names, escape(f"{order.amount} {order.currency}"), "<br>".join(status), acts)


def _settled(kind: str, identifier: str, status: str) -> str:
    """Return the buttons that bring what is pending to its end."""
    if status != "PENDING":
        return ""
    good, bad = _ENDS[kind]
    settle = _one("Settle", "settle", identifier, status=good)
    return settle + _one("Let it fail", "settle", identifier, status=bad)


def _acts_on(capture: Capture) -> str:
    disputed = any(dispute.outcome is None for dispute in capture.disputes)
    acts = "".join(_settled("refund", row.id, row.status) for row in capture.refunds)
    if disputed:
        acts += _one("Win the dispute", "win", capture.id) + _one("Lose the dispute", "lose", capture.id)
    if capture.status == "PENDING":
        return acts if disputed else acts + _settled("capture", capture.id, capture.status)
    if not capture.failed and capture.refunded < capture.amount:
        if not disputed:
            acts += _one("Dispute", "dispute", capture.id) + _one("Ask the shop first", "inquire", capture.id)
        acts += _one(f"Refund {capture.amount}", "refund", capture.id)
        acts += _one(f"Reverse {capture.amount}", "reverse", capture.id)
    return acts


def _vault(ledger: Ledger) -> str:
    rows = [
        pages.cells(
            f"<code>{escape(row.id)}</code>",
            f"<code>{escape(row.customer)}</code>",
            pages.tag(row.status),
            _one("Approve", "approve", row.id)
            + f'<a href="/agreements/approve?approval_session_id={escape(row.id)}">its page</a>',
        )
        for row in reversed(ledger.setups.values())
        if row.status == "PAYER_ACTION_REQUIRED"
    ]
    rows += [
        pages.cells(
            f"<code>{escape(token)}</code><br><span class='soft'>{escape(source)}</span>",
            f"<code>{escape(ledger.saved[token].customer)}</code>",
            pages.tag("VAULTED"),
            _one("Delete", "forget", token),
        )
        for token, source in reversed(ledger.vault.items())
    ]
    return _section("Vault", pages.table(["Token", "Customer", "Status", "Act"], rows, "Nothing is saved."))


def _faults(fake: PayPalFake) -> str:
    calls = "".join(f"<option>{name}</option>" for name in ("token", *(call for _, _, call in CALLS)))
    faults = "".join(f"<option>{name}</option>" for name in FAULTS)
    waiting = "".join(f"<li><code>{escape(row)}</code></li>" for row in fake.faults())
    return _section(
        "Faults",
        f'<form method="post" action="{ACT}" class="row"><input type="hidden" name="act" value="fault">'
        f'<label>What goes wrong<select name="fault">{faults}</select></label>'
        f'<label>With which call<select name="call">{calls}</select></label>'
        + pages.field("How often", "times", "1", inputmode="numeric")
        + '<button class="main">Inject</button></form>'
        + (f"<ul>{waiting}</ul>" if waiting else "")
        + _one("Let nothing more go wrong", "fix"),
    )


def _deliveries(fake: PayPalFake) -> str:
    deliveries = fake.deliveries
    rows = [
        pages.cells(
            f"<code>{escape(row.kind)}</code>",
            f"<code>{escape(row.url)}</code>",
            "waits" if row.status is None else str(row.status or "not reached"),
            str(row.attempts),
        )
        for row in [*deliveries.waiting(), *reversed(deliveries.done[-_MOST:])]
    ]
    addresses = [*deliveries.urls, *(row["url"] for row in fake.webhooks)]
    listed = "".join(f"<li><code>{escape(url)}</code></li>" for url in addresses)
    reverse = " selected" if deliveries.reverse else ""
    return _section(
        "Webhooks",
        f'<form method="post" action="{ACT}" class="row"><input type="hidden" name="act" value="webhooks">'
        + pages.field("Send notifications to", "url", placeholder="http://127.0.0.1:8000/webhooks/paypal")
        + pages.field(
            "Seconds late", "delay", str(int(deliveries.delay.total_seconds())), inputmode="numeric"
        )
        + pages.field("Each so often", "times", str(deliveries.times), inputmode="numeric")
        + '<label>Order<select name="order"><option value="">as it happens</option>'
        f'<option value="reverse"{reverse}>the newest first</option></select></label>'
        '<button class="main">Set</button></form>'
        + (f"<ul>{listed}</ul>" if listed else "")
        + pages.table(["Event", "To", "Answer", "Attempts"], rows, "Nothing was sent yet."),
    )


def _settings(fake: PayPalFake) -> str:
    lines = "\n".join(f"export {name}={value}" for name, value in fake.environment().items())
    return _section("Settings to paste", f"<pre class='wide'><code>{escape(lines)}</code></pre>")
