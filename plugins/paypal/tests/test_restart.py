"""A process dies in the middle of a call, by SIGKILL: the next one, on the same SQLite file, finds out."""

import json
import subprocess
import sys

import pytest

from paysession import Payments
from paysession_sandbox.paypal import Fault

STEP = """
import json, sys
from datetime import datetime
from paysession import Checkout, Money, Payments

told = json.loads(sys.argv[1])
now = datetime.fromisoformat(told["now"])
with Payments.open(told["db"], providers={"paypal": told["settings"]}, clock=lambda: now) as pay:
    id_ = told["session"]
    {
        "create": lambda: pay.initiate(
            told["collection"], provider="paypal", idempotency_key="i",
            checkout=Checkout(return_url="https://shop.example/back/{session_id}"),
        ),
        "patch": lambda: pay.update(id_, Money("40.00", "EUR")),
        "authorize": lambda: pay.resume(id_, payload=told["query"]),
        "capture": lambda: pay.capture(id_, Money("20.00", "EUR")),
        "refund": lambda: pay.refund(id_, Money("5.00", "EUR")),
        "void": lambda: pay.cancel(id_),
    }[told["call"]]()
"""
CALLS = ["create", "patch", "authorize", "capture", "refund", "void"]
# Before PayPal did it, an update is not sent again: test_faults has that.
CASES = [(call, committed) for call in CALLS for committed in (True, False) if committed or call != "patch"]


@pytest.mark.parametrize(
    ("call", "committed"),
    [
        pytest.param(
            call, committed, marks=[pytest.mark.slow] if call != "capture" else [],
            id=f"{call} {'after' if committed else 'before'} PayPal did it",
        )
        for call, committed in CASES
    ],
)  # fmt: skip
def test_a_process_killed_in_a_call_leaves_one_effect(
    make_shop, make_provider, fake, clock, tmp_path, call, committed
):
    url = f"sqlite:///{tmp_path}/shop.db"
    settings = {"client_id": fake.client_id, "client_secret": fake.client_secret, "endpoint": fake.url}
    shop = make_shop(make_provider(), Payments.open(url, providers=[], clock=clock)._store)
    shop.until(call)
    rows = shop.payments.sessions()
    told = {
        "db": url, "settings": settings, "now": clock().isoformat(), "call": call, "collection": shop.order.id,
        "session": rows[0].id if rows else None, "query": getattr(shop, "query", None),
    }  # fmt: skip
    shop.payments.close()
    effects, sent = len(fake.effects), len(fake.calls(call))
    fake.fail(call, Fault.hang(committed=committed))

    child = subprocess.Popen([sys.executable, "-c", STEP, json.dumps(told)])
    assert fake.wait_for(call, sent + 1)
    child.kill()
    assert child.wait() < 0

    clock.forward(minutes=5)
    with Payments.open(url, providers={"paypal": settings}, clock=clock) as payments:
        (doubt,) = payments.in_doubt()
        assert doubt.reason == "the process that sent it is gone"
        recovery = payments.recover()
        assert payments.in_doubt() == ()
        assert recovery.looked == 1
        (row,) = payments.sessions()
        books = str(row.status), row.amount.minor, row.authorized, row.captured, row.refunded
        assert books == shop.AFTER[call]
    assert fake.effects[effects:] == shop.EFFECT[call]
    keys = {exchange.headers["paypal-request-id"] for exchange in fake.calls(call)[sent:]}
    assert keys == {doubt.operation.key}, "the same request id, across the restart"
    looked_only = committed and call != "create"  # PayPal finds an order by its own id only
    assert len(fake.calls(call)) - sent == (1 if looked_only else 2)
