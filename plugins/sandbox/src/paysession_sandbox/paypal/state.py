"""Everything that the stand-in holds, as JSON in a file."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import fields, has

from paysession_sandbox import kept
from paysession_sandbox.paypal.app import Event
from paysession_sandbox.paypal.objects import (
    Authorization,
    Capture,
    Dispute,
    Order,
    Refund,
    Saved,
    SetupToken,
)

if TYPE_CHECKING:
    from pathlib import Path

    from paysession_sandbox.paypal.app import App
    from paysession_sandbox.paypal.deliveries import PayPalDeliveries

__all__ = ["load", "save"]

_FORMAT: Final = 1
_OBJECTS: Final = {
    kind.__name__: kind for kind in (Authorization, Capture, Dispute, Order, Refund, Saved, SetupToken)
}
_KIND, _OF, _SAME = "$", "of", "same"


def save(app: App, deliveries: PayPalDeliveries, path: Path) -> None:
    """Write everything to a file."""
    with app.lock:
        ledger = app.ledger
        tree = {
            "now": app.clock(),
            "numbers": [app.number, ledger.number],
            "orders": list(ledger.orders.values()),
            "effects": ledger.effects,
            "vault": ledger.vault,
            "saved": ledger.saved,
            "setups": ledger.setups,
            "webhooks": app.webhooks,
            "events": [event.document for event in app.events],
            "done": [[*key, *row] for key, row in app.done.items()],
            "tokens": app.tokens,
            "urls": deliveries.urls,
            "pending": list(deliveries.pending),  # a delivery may end meanwhile
        }
        content = kept.text("PayPal", _FORMAT, _Writer().of(tree))
    kept.write(path, content)


def load(app: App, deliveries: PayPalDeliveries, path: Path) -> None:
    """Read everything from a file, if there is one. The clock goes on from there, never back.

    What a shop had not taken yet is sent again.

    Raises:
        ValueError: It is no file of ours.
    """
    with kept.read(path, "PayPal", _FORMAT) as read, app.lock:
        if read is None:
            return
        found, ledger = _Reader().of(read), app.ledger
        app.clock.forward(seconds=max(0.0, (found["now"] - app.clock()).total_seconds()))
        app.number, ledger.number = map(int, found["numbers"])
        ledger.orders = {row.id: row for row in found["orders"]}
        ledger.effects = [(kind, custom_id, amount) for kind, custom_id, amount in found["effects"]]
        ledger.vault = dict(found["vault"])
        ledger.saved, ledger.setups = dict(found["saved"]), dict(found["setups"])
        app.webhooks |= found["webhooks"]
        app.events += map(Event, found["events"])
        app.done = {(call, request): (at, kind, of) for call, request, at, kind, of in found["done"]}
        app.tokens = dict(found["tokens"])
        deliveries.urls = list(found["urls"])
        events = {event.document["id"]: event for event in app.events}
        pending = [(events[event], url, webhook_id) for event, url, webhook_id in found["pending"]]
    for event, url, webhook_id in pending:
        deliveries.send_to(event, url, webhook_id)


class _Writer:
    """Makes JSON of what the ledger holds; an object that stands in two places is written once."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}

    def of(self, value: Any) -> Any:
        """Return a value as JSON."""
        if isinstance(value, (Decimal, datetime)):
            return {_KIND: type(value).__name__, _OF: str(value)}
        if has(type(value)):
            if id(value) in self._seen:
                return {_KIND: _SAME, _OF: self._seen[id(value)]}
            self._seen[id(value)] = len(self._seen)
            parts = {name.name: self.of(getattr(value, name.name)) for name in fields(type(value))}
            return {_KIND: type(value).__name__, _OF: parts}
        if isinstance(value, dict):
            parts = {name: self.of(part) for name, part in value.items()}
            return {_KIND: "dict", _OF: parts} if _KIND in value else parts
        return [self.of(part) for part in value] if isinstance(value, (list, tuple)) else value


class _Reader:
    """Makes of JSON what a `_Writer` was given."""

    def __init__(self) -> None:
        self._seen: list[Any] = []

    def of(self, value: Any) -> Any:
        """Return what a value was."""
        if isinstance(value, list):
            return [self.of(part) for part in value]
        if not isinstance(value, dict):
            return value
        kind = value.get(_KIND)
        if kind is None or kind == "dict":
            parts = value if kind is None else value[_OF]
            return {name: self.of(part) for name, part in parts.items()}
        found = value[_OF]
        if kind == _SAME:
            return self._seen[found]
        if kind == "Decimal":
            return Decimal(found)
        if kind == "datetime":
            return datetime.fromisoformat(found)
        place = len(self._seen)
        self._seen.append(None)
        self._seen[place] = _OBJECTS[kind](**{name: self.of(part) for name, part in found.items()})
        return self._seen[place]
