"""A payment gateway with a ledger of its own: what really happened, whatever anybody's ledger says.

It is deliberately no part of paysession: nothing is imported from it, amounts are integers in minor
units, and its rules are a gateway's, not ours. So its ledger can judge ours. `Gateway` is one
merchant's account: pure rules and a ledger in memory, which ``gateway_server`` puts behind a socket in
a process of its own and ``gateway_provider`` calls.

Requests are those of a typical gateway::

    POST /orders                {ours, amount, currency, automatic, return_url, webhook_url, operation}
    POST /orders/ID/update      {amount, operation}
    POST /orders/ID/authorize   {operation}
    POST /orders/ID/increment   {amount, operation}
    POST /orders/ID/capture     {amount, final, operation}
    POST /orders/ID/refund      {amount, operation}
    POST /orders/ID/cancel      {operation}
    GET  /orders/ID    GET /orders?ours=...    GET /changes?since=SECONDS

``operation`` is the merchant's metadata: it is kept with the effect and decides nothing, so that the
judge can tell two effects of one operation even where the idempotency key was wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict, frozen

from paysession_testing.gateway_order import Entry, Order

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KEYS", "Gateway", "Reply", "sign"]

KEYS: Final = ("all", "success", "none")
"""What the gateway does with an idempotency key that it knows: ``all``: replays whatever it answered,
500s and declines included, as Stripe does; ``success``: replays what it carried out, and tries the rest
again; ``none``: it knows no keys."""

_STORED: Final = (402, 409)
"""Refusals that are replayed by a gateway that replays all; a malformed request is not."""


@frozen
class Reply:
    """An HTTP answer: its status, and a body that is sent as JSON."""

    status: int
    body: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether the request was carried out."""
        return self.status < 300  # noqa: PLR2004 - HTTP's own border


class _Refused(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.reply = Reply(status, {"error": code})


class Gateway:
    """One account. Thread-safe; a request is carried out whole or not at all.

    Args:
        keys: One of `KEYS`.
        key_window: Seconds that a key is kept; then it is as good as new.
        lag: Seconds that a lookup is behind.
        secret: Signs notifications.
        clock: Returns seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        keys: str = "all",
        key_window: float = 86_400.0,
        lag: float = 0.0,
        secret: str = "whsec_gateway",  # noqa: S107 - it guards nothing
    ) -> None:
        if keys not in KEYS:
            raise ValueError(f"keys is one of {', '.join(KEYS)}, not {keys!r}")
        self.keys, self.key_window, self.lag = keys, key_window, lag
        self.ledger: list[Entry] = []
        self.orders: dict[str, Order] = {}
        self.calls: dict[str, int] = {}
        self._by_ours: dict[str, list[str]] = {}
        self._secret = secret
        self._clock = clock
        self._lock = threading.RLock()
        self._replies: dict[str, tuple[float, str, Reply]] = {}
        self._outbox: dict[str, dict[str, Any]] = {}
        self._feed: list[tuple[float, dict[str, Any]]] = []
        self._told = 0
        self._pending: set[int] = set()

    # --- the API ------------------------------------------------------------------------------------

    def request(
        self, path: str, key: str, body: dict[str, Any], *, slow: bool = False, decline: bool = False
    ) -> Reply:
        """Carry out a POST.

        Args:
            path: ``orders`` or ``orders/ID/verb``.
            key: The idempotency key, or empty.
            body: The request.
            slow: A capture or refund is accepted, and finished by `bank` later.
            decline: The payer's bank refuses, whatever is asked (and not what was asked before).
        """
        asked = json.dumps([path, body], sort_keys=True)
        with self._lock:
            verb = verb_of(path)
            self.calls[verb] = self.calls.get(verb, 0) + 1
            known = self._known(key)
            if known is not None:
                same, reply = known
                return reply if same == asked else Reply(409, {"error": "key_reused"})
            if decline:
                reply = Reply(402, {"error": "declined"})
            else:
                try:
                    reply = Reply(200, self._act(verb, path, key, body, slow=slow))
                except _Refused as refusal:
                    reply = refusal.reply
            if reply.ok or (self.keys == "all" and reply.status in _STORED):
                self.remember(path, key, body, reply)
            return reply

    def knows(self, key: str) -> bool:
        """Return whether an answer is kept for a key."""
        with self._lock:
            return self._known(key) is not None

    def remember(self, path: str, key: str, body: dict[str, Any], reply: Reply) -> None:
        """Keep the answer to a key; a 500 too, where the gateway replays everything."""
        if key and self.keys != "none":
            with self._lock:
                asked = json.dumps([path, body], sort_keys=True)
                self._replies[key] = (self._clock(), asked, reply)

    def lookup(self, order_id: str | None = None, ours: str | None = None) -> Reply:
        """Answer a GET: an order by our id or by the merchant's, as it was ``lag`` seconds ago."""
        with self._lock:
            self.calls["lookup"] = self.calls.get("lookup", 0) + 1
            seen_until = self._clock() - self.lag
            ids = [order_id] if order_id else self._by_ours.get(ours or "", [])
            views = [
                view
                for key in ids
                if key in self.orders
                for view in [_as_of(self.orders[key].views, seen_until if self.lag else None)]
                if view is not None
            ]
            if not views:
                return Reply(404, {"error": "no_such_order"})
            # Of several orders with one id of the merchant's, the one that holds money counts.
            return Reply(200, max(views, key=lambda view: (view["authorized"], view["status"] != "canceled")))

    def _known(self, key: str) -> tuple[str, Reply] | None:
        if not key or key not in self._replies:
            return None
        at, asked, reply = self._replies[key]
        if self._clock() >= at + self.key_window:
            del self._replies[key]
            return None
        return asked, reply

    def _act(self, verb: str, path: str, key: str, body: dict[str, Any], *, slow: bool) -> dict[str, Any]:
        if verb == "create":
            return self._create(key, body)
        order = self.orders.get(path.split("/")[1])
        if order is None:
            raise _Refused(404, "no_such_order")
        origin = (key, str(body.get("operation", "")), "api")
        act = getattr(self, f"_{verb}", None)
        if act is None:
            raise _Refused(404, "no_such_action")
        entry = act(order, body, origin, slow=slow)
        return self._told_of(order, entry)

    def _told_of(self, order: Order, entry: Entry | None) -> dict[str, Any]:
        view = order.view()
        if entry is not None and entry.kind in ("capture", "refund"):
            done = {"capture": "captured", "refund": "refunded"}[entry.kind]
            status = "pending" if entry.state == "pending" else done
            return {**view, "status": status, "amount": entry.amount, "reference": entry.id}
        return view

    def _create(self, key: str, body: dict[str, Any]) -> dict[str, Any]:
        amount = body.get("amount")
        if not isinstance(amount, int) or amount <= 0:
            raise _Refused(422, "bad_amount")
        number = len(self.orders) + 1
        order = Order(f"ord_{number}", body["ours"], amount, body["currency"], bool(body.get("automatic")))
        self.orders[order.id] = order
        self._by_ours.setdefault(order.ours, []).append(order.id)
        self._record(order, "create", amount, (key, str(body.get("operation", "")), "api"))
        return order.view()

    def _update(
        self, order: Order, body: dict[str, Any], origin: tuple[str, str, str], *, slow: bool
    ) -> Entry:
        del slow
        if order.state not in ("open", "declined"):
            raise _Refused(409, f"order_is_{order.state}")
        order.amount = body["amount"]
        return self._record(order, "update", order.amount, origin)

    def _authorize(
        self, order: Order, body: dict[str, Any], origin: tuple[str, str, str], *, slow: bool
    ) -> Entry | None:
        del body, slow
        if order.state in ("authorized", "canceled", "pending"):
            raise _Refused(409, f"order_is_{order.state}")
        if order.payer == "declined":
            raise _Refused(402, "card_declined")
        if order.payer not in ("approved", "debit"):
            return None  # the view says that the payer must act
        if order.payer == "debit":
            return self._record(order, "authorize", order.amount, origin, state="pending")
        order.granted = order.amount
        entry = self._record(order, "authorize", order.amount, origin)
        if order.automatic:
            self._record(order, "capture", order.amount, origin)
        return entry

    def _increment(
        self, order: Order, body: dict[str, Any], origin: tuple[str, str, str], *, slow: bool
    ) -> Entry:
        del slow
        amount = body["amount"]
        captured = any(entry.kind == "capture" for entry in order.entries)
        if order.state != "authorized" or order.released or captured or amount <= order.authorized:
            raise _Refused(409, "not_incrementable")
        more = amount - order.authorized
        order.amount = order.granted = amount
        return self._record(order, "increment", more, origin)

    def _capture(
        self, order: Order, body: dict[str, Any], origin: tuple[str, str, str], *, slow: bool
    ) -> Entry:
        amount = body["amount"]
        if order.state != "authorized" or order.released or amount > order.authorized - order.taken:
            raise _Refused(409, "not_capturable")
        order.released = bool(body.get("final"))
        entry = self._record(order, "capture", amount, origin, state="pending" if slow else "succeeded")
        entry.final = order.released
        return entry

    def _refund(
        self, order: Order, body: dict[str, Any], origin: tuple[str, str, str], *, slow: bool
    ) -> Entry:
        amount = body["amount"]
        if amount > order.refundable:
            raise _Refused(409, "not_refundable")
        return self._record(order, "refund", amount, origin, state="pending" if slow else "succeeded")

    def _chargeback(
        self, order: Order, body: dict[str, Any], origin: tuple[str, str, str], *, slow: bool
    ) -> Entry:
        amount = body["amount"]
        if origin[2] != "bank" or amount > order.refundable:
            raise _Refused(404, "no_such_action")
        return self._record(order, "chargeback", amount, origin, state="pending" if slow else "succeeded")

    def _dispute(
        self, order: Order, body: dict[str, Any], origin: tuple[str, str, str], *, slow: bool
    ) -> Entry:
        """Begin what may become a chargeback: the money stays where it is until the bank settles it."""
        del slow
        return self._chargeback(order, body, origin, slow=True)

    def _cancel(
        self, order: Order, body: dict[str, Any], origin: tuple[str, str, str], *, slow: bool
    ) -> Entry:
        del body, slow
        if order.released or (order.authorized and order.authorized == order.taken):
            raise _Refused(409, "nothing_to_cancel")
        if order.pending is not None:
            raise _Refused(409, "order_is_pending")
        left = (order.authorized or order.amount) - order.taken
        order.released = True
        return self._record(order, "cancel", left, origin)

    # --- payers, dashboards, banks ------------------------------------------------------------------

    def payer(self, ours: str, act: str) -> bool:
        """Act as the payer; return whether there was an order to act on.

        Args:
            ours: The merchant's id.
            act: ``approve``, ``decline``, ``challenge``, ``debit`` (approve, by a slow debit) or
                ``confirm`` (authorize in the browser, without the merchant).
        """
        states = {"approve": "approved", "decline": "declined", "challenge": "challenged", "debit": "debit"}
        with self._lock:
            order = self.of(ours)
            if order is None or order.state not in ("open", "declined"):
                return False
            if act == "confirm":
                order.payer, order.granted = "approved", order.amount
                self._record(order, "authorize", order.amount, ("", "", "payer"))
                return True
            order.payer = states[act]
            self._changed(order)
            return True

    def dashboard(self, ours: str, act: str, amount: int = 0) -> bool:
        """Act as somebody in the merchant's dashboard; return whether it was possible.

        Args:
            ours: The merchant's id.
            act: ``capture``, ``refund``, ``cancel``, ``chargeback`` or ``dispute`` (a chargeback that `bank`
                settles).
            amount: Minor units; not for ``cancel``.
        """
        origin = ("", "", "bank" if act in ("chargeback", "dispute") else "dashboard")
        with self._lock:
            order = self.of(ours)
            if order is None:
                return False
            try:
                getattr(self, f"_{act}")(order, {"amount": amount}, origin, slow=False)
            except _Refused:
                return False
            return True

    def bank(self, number: int, outcome: str) -> bool:
        """Let the bank settle a pending entry, or reverse one that had succeeded.

        Args:
            number: The ledger entry's.
            outcome: ``succeeded``, ``failed`` or ``reversed`` (a capture, refund or chargeback only).
        """
        with self._lock:
            entry = self.ledger[number - 1]
            expected = "succeeded" if outcome == "reversed" else "pending"
            moved = entry.kind in ("capture", "refund", "chargeback")
            if entry.state != expected or (outcome == "reversed" and not moved):
                return False
            order = self.orders[entry.order]
            entry.state = outcome
            self._pending.discard(number)
            if entry.final and outcome == "failed":
                order.released = False
            if entry.kind == "capture" and outcome == "reversed":
                order.granted = max(0, order.granted - entry.amount)  # it cannot be taken again
                order.released = order.released or not order.granted
            if entry.kind == "authorize":
                if outcome == "succeeded":
                    order.granted = entry.amount
                else:
                    order.payer = "declined"
            self._changed(order, entry)
            if entry.kind == "authorize" and outcome == "succeeded" and order.automatic:
                self._record(order, "capture", entry.amount, (entry.key, entry.operation, "api"))
            return True

    def unsettled(self) -> list[int]:
        """Return the numbers of the entries that wait for the bank."""
        with self._lock:
            return sorted(self._pending)

    def of(self, ours: str) -> Order | None:
        """Return the order that a merchant's id means: the last that is not canceled."""
        orders = [self.orders[key] for key in self._by_ours.get(ours, [])]
        alive = [order for order in orders if order.state != "canceled"] or orders
        return alive[-1] if alive else None

    def _record(
        self, order: Order, kind: str, amount: int, origin: tuple[str, str, str], *, state: str = "succeeded"
    ) -> Entry:
        key, operation, by = origin
        entry = Entry(
            len(self.ledger) + 1,
            order.id,
            order.ours,
            kind,
            amount,
            order.currency,
            key,
            operation,
            by,
            state,
            self._clock(),
        )
        self.ledger.append(entry)
        order.entries.append(entry)
        if state == "pending":
            self._pending.add(entry.number)
        self._changed(order, entry)
        return entry

    # --- notifications ------------------------------------------------------------------------------

    def _changed(self, order: Order, entry: Entry | None = None) -> None:
        view = order.view()
        order.views.append((self._clock(), view))
        self._told += 1
        event: dict[str, Any] = {
            "id": f"evt_{self._told}",
            "type": f"{entry.kind}.{entry.state}" if entry is not None else "order.changed",
            "order": order.id,
            "ours": order.ours,
            "currency": order.currency,
            "effects": [],
        }
        if entry is not None and entry.kind not in ("create", "update", "increment"):
            shown = {
                "id": entry.id,
                "kind": entry.kind,
                "amount": entry.amount,
                "state": entry.state,
                "key": entry.operation,
            }
            event["effects"] = [shown]
        self._outbox[event["id"]] = event
        self._feed.append((self._clock(), event))

    def changes(self, since: float) -> Reply:
        """Answer a GET of what changed since a time: the notifications, acknowledged or not."""
        with self._lock:
            events = [event for at, event in self._feed if at >= since]
            return Reply(200, {"events": events, "until": self._clock()})

    def notifications(self, limit: int = 100) -> list[tuple[str, dict[str, str], str]]:
        """Return notifications that nobody acknowledged: the id, the signed headers and the body."""
        with self._lock:
            events = list(self._outbox.items())[:limit]
            now = int(self._clock())
        signed: list[tuple[str, dict[str, str], str]] = []
        for name, event in events:
            body = json.dumps(event)
            signed.append((name, sign(self._secret, body, now), body))
        return signed

    def acknowledge(self, ids: list[str]) -> None:
        """Forget notifications: they were acknowledged with a 2xx (or a test loses them)."""
        with self._lock:
            for name in ids:
                self._outbox.pop(name, None)

    def entries(self) -> list[dict[str, Any]]:
        """Return the ledger."""
        with self._lock:
            return [{**asdict(entry), "id": entry.id} for entry in self.ledger]

    def accounts(self) -> list[dict[str, Any]]:
        """Return all orders as they are now."""
        with self._lock:
            return [order.view() for order in self.orders.values()]


def verb_of(path: str) -> str:
    """Return what a POST to a path asks for: ``create``, or the last part of the path."""
    return "create" if path == "orders" else path.rpartition("/")[2]


def sign(secret: str, body: str, at: int) -> dict[str, str]:
    """Return the headers of a notification: an HMAC-SHA256 over its time and its body."""
    signature = hmac.new(secret.encode(), f"{at}.{body}".encode(), hashlib.sha256).hexdigest()
    return {"Gateway-Signature": f"t={at},v1={signature}", "Content-Type": "application/json"}


def _as_of(views: list[tuple[float, dict[str, Any]]], until: float | None) -> dict[str, Any] | None:
    if until is None:
        return views[-1][1] if views else None
    seen = [view for at, view in views if at <= until]
    return seen[-1] if seen else None
