"""A shop whose orders have a fixed course, for tests in which its processes, or its database, are killed.

    python shop.py DATABASE GATEWAY_PORT GATEWAY_CONTROL_PORT JOURNAL NUMBER

takes one order after another until its standard input is closed, and writes a line for each order that it
begins and for each call that was answered. What was not answered is left as it is: whoever finishes the order repeats its calls with the same
idempotency keys.
"""

import json
import os
import select
import sys
import time

from paysession import (
    Declined,
    Money,
    NotApplied,
    OutcomeUnknown,
    Payments,
    RequestError,
    SessionBusy,
    StoreError,
)
from paysession_testing.gateway_process import GatewayProcess
from paysession_testing.gateway_provider import GatewayProvider

ACCOUNT = "shop"
AMOUNT = Money("42.00", "EUR")
PARTS = (("capture", "10.00"), ("capture", "7.00"), ("refund", "2.00"), ("refund", "5.00"))
"""What happens to an order once it is authorized; each is called with a key of its own."""
STEPS = 2 + len(PARTS)
APART = 3
"""So many orders are begun between two steps of one."""
DATABASE_AWAY = 30.0
"""Seconds for which a database that cannot be reached is tried again."""


class Unanswered(Exception):
    """A call has no definite answer yet."""


class Shop:
    """Takes orders.

    Args:
        pay: The payments.
        gateway: Where the payer approves.
        journal: Called with each answered call.
    """

    def __init__(self, pay, gateway, journal=lambda line: None):
        self.pay, self.gateway, self._journal = pay, gateway, journal

    def step(self, reference, place):
        """Take one step of an order, or repeat it.

        Raises:
            Unanswered: It is in doubt, or somebody else is working on the session.
            NotFound: The database does not know the order.
        """
        if place == 0:
            order = self._answer(self.pay.create_collection, AMOUNT, reference=reference)
            session = self._answer(self.pay.initiate, order.id, provider=ACCOUNT, idempotency_key=reference)
            self._journal(
                {"call": "initiate", "reference": reference, "session": session.id, "key": reference}
            )
            return
        collection = self._answer(self.pay.collection, reference=reference)
        (session,) = self._answer(self.pay.sessions, collection_id=collection.id)
        if place == 1:
            self.gateway.payer(ACCOUNT, session.id, "approve")
            if self._answer(self.pay.resume, session.id).status != "authorized":
                raise Unanswered(session.id)
            self._journal({"call": "authorize", "reference": reference, "session": session.id, "key": None})
            return
        call, amount = PARTS[place - 2]
        key = f"{reference}:{place}"
        self._answer(getattr(self.pay, call), session.id, Money(amount, "EUR"), idempotency_key=key)
        self._journal({"call": call, "reference": reference, "session": session.id, "key": key})

    def _answer(self, call, *arguments, **options):
        deadline = time.monotonic() + DATABASE_AWAY
        while True:
            try:
                return call(*arguments, **options)
            except (SessionBusy, OutcomeUnknown, NotApplied) as error:
                raise Unanswered(str(error)) from error
            except StoreError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


def provider(port):
    """Return the provider of the shop's account at a gateway that listens on a port of this machine."""
    return GatewayProvider(f"http://127.0.0.1:{port}/{ACCOUNT}", timeout=2.0)


def main(database, port, control, journal, number):
    """Take orders until standard input is closed."""
    gateway = object.__new__(GatewayProcess)  # a process that is there already
    gateway.port, gateway._control = int(port), int(control)
    file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(line):
        os.write(file, (json.dumps(line) + "\n").encode())

    aside = set()
    with Payments.open(database, providers={ACCOUNT: provider(port)}, environ={}) as pay:
        shop, begun = Shop(pay, gateway, write), 0
        while not select.select([sys.stdin], [], [], 0)[0]:
            for place in range(STEPS):
                place_in_line = begun - place * APART
                reference = f"{number}-{place_in_line}"
                if place_in_line < 0 or reference in aside:
                    continue
                if place == 0:
                    write({"call": "begin", "reference": reference})
                try:
                    shop.step(reference, place)
                except Unanswered:
                    aside.add(reference)
                except (Declined, RequestError) as error:
                    aside.add(reference)
                    write({"call": "refused", "reference": reference, "error": repr(error)})
            begun += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
