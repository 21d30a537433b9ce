"""A stand-in of paysession-sandbox in a process of its own, with faults between it and its clients.

What each write with a key did is noted when it is carried out, from the request alone: with what the stand-in
holds that is the ledger which the judge compares. The process ends when its standard input does.
"""

import random
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime

from paysession_sandbox.clock import Clock
from paysession_testing import gateway_server

SLOWEST = 0.4
"""Seconds by which a delayed request is late at most."""

_RESET = (gateway_server.socket.SOL_SOCKET, gateway_server.socket.SO_LINGER, gateway_server._RESET)


class CampaignClock(Clock):
    """The office's time."""

    def __init__(self, office):
        super().__init__()
        self._office = office

    def __call__(self):
        return datetime.fromtimestamp(self._office.now(), UTC)


class Account(ABC):
    """One account: what goes wrong with its requests, and the people around it.

    A request and an answer are the stand-in's own; an answer without a status resets the connection.
    """

    def __init__(self, seed):
        self.faults, self.calls = Counter(), Counter()
        self.people = random.Random(f"people {seed}")
        self.outbox = {}
        """The notifications that nobody acknowledged, by id."""
        self._chance = random.Random(seed)
        self._rate, self._weights = 0.0, {}
        self._guard = threading.Lock()

    @abstractmethod
    def read(self, method, path, headers, body):
        """Return a request as the stand-in has it."""

    @abstractmethod
    def verb(self, request):
        """Return in a word what a request asks for."""

    @abstractmethod
    def carry_out(self, request):
        """Answer a request as the gateway does, and note what it did."""

    @abstractmethod
    def go_wrong(self, fault, request):
        """Answer a request with which something of the stand-in's own goes wrong."""

    def at_random(self, rate, weights):
        """Let so many of all requests meet a fault."""
        with self._guard:
            self._rate, self._weights = rate, weights

    def clear(self):
        """Let nothing go wrong any more."""
        self.at_random(0.0, {})

    def fault(self, request):
        """Return what goes wrong with a request; None: nothing."""
        with self._guard:
            self.calls[self.verb(request)] += 1
            if self._chance.random() >= self._rate:
                return None
            (name,) = self._chance.choices(list(self._weights), list(self._weights.values()))
            self.faults[name] += 1
            return name

    def delay(self):
        """Return by how many seconds a request is delayed."""
        with self._guard:
            return self._chance.uniform(0.02, SLOWEST)


class Office(gateway_server.Office):
    """All accounts, the time, and the public door."""

    def account_at(self, path):
        """Return the account that a path is of, and the path there."""
        name, _, path = path.lstrip("/").partition("/")
        return self.accounts[name], f"/{path}"

    def door_open(self):
        if self.door is None:
            self.door = gateway_server._Server(("127.0.0.1", self.port), _Api, self)
            self.port = self.door.server_address[1]
            threading.Thread(target=self.door.serve_forever, args=(0.02,), daemon=True).start()

    def stats(self):
        faults, calls = Counter(), Counter()
        for account in self.accounts.values():
            faults += account.faults
            calls += account.calls
        return {"faults": faults, "calls": calls}

    def wish(self, account, call, arguments):
        if call.startswith("_"):
            raise ValueError(call)
        return getattr(self if account is None else self.accounts[account], call)(**arguments)


class _Api(gateway_server._Handler):
    """The gateway's API, with what goes wrong on the way to it and back."""

    def _serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        account, path = self.server.office.account_at(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = account.read(self.command, path, headers, body)
        fault = account.fault(request)
        if fault in ("silent_before", "silent_after", "late"):
            if fault == "silent_after":
                account.carry_out(request)
            gateway_server._wait_until_gone(self.connection)
            self.close_connection = True
            if fault == "late":
                account.carry_out(request)
            return
        if fault == "delayed":
            time.sleep(account.delay())
        plain = fault in (None, "delayed")
        self._answer(account.carry_out(request) if plain else account.go_wrong(fault, request))

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - the base class looks for these

    def _answer(self, answer):
        if answer.status is None:
            self.connection.setsockopt(*_RESET)
            self.close_connection = True
            return
        now = datetime.fromtimestamp(self.server.office.now(), UTC)
        lines = {
            "Date": format_datetime(now, usegmt=True),
            "Content-Type": "application/json",
            **answer.headers,
        }
        if answer.status != 204:
            lines["Content-Length"] = str(len(answer.body))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        with suppress(OSError):  # the client may be gone
            self.wfile.write(f"HTTP/1.1 {answer.status} -\r\n{head}\r\n".encode() + answer.body)


def entry(order, ours, kind, amount, operation, by, state="succeeded", identifier=""):
    """Return a line of the ledger; see `paysession_testing.gateway_order.Entry`."""
    return {
        "id": identifier,
        "order": order,
        "ours": ours,
        "kind": kind,
        "amount": amount,
        "operation": operation,
        "by": by,
        "state": state,
    }


def numbered(entries):
    """Return lines of the ledger with their numbers."""
    return [{**row, "number": place} for place, row in enumerate(entries, 1)]


def serve(office):
    """Serve until standard input ends; the two ports are printed first."""
    office.door_open()
    control = gateway_server._Server(("127.0.0.1", 0), gateway_server._Control, office)
    threading.Thread(target=control.serve_forever, args=(0.02,), daemon=True).start()
    print(office.port, control.server_address[1], flush=True)
    sys.stdin.read()
