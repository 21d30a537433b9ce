"""One account at Stripe: everything that it holds, its clock, its timers, and how an object is shown."""

from __future__ import annotations

import copy
import operator
import secrets
import string
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import Factory, define, frozen

from paysession_sandbox.stripe.refusals import Refusal, invalid, no_such
from paysession_sandbox.stripe.wire import Json

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from paysession_sandbox.clock import Clock

__all__ = ["API_VERSION", "Account", "Settings", "Timer", "page", "token"]

API_VERSION: Final = "2026-10-28.endive"
"""The version of Stripe's API that is imitated."""

_ALPHABET: Final = string.ascii_letters + string.digits
_PREFIXES: Final[Mapping[str, str]] = {
    "balance_transaction": "txn",
    "charge": "ch",
    "checkout.session": "cs_test",
    "customer": "cus",
    "dispute": "du",
    "event": "evt",
    "mandate": "mandate",
    "payment_intent": "pi",
    "payment_method": "pm",
    "radar.early_fraud_warning": "issfr",
    "refund": "re",
    "setup_attempt": "setatt",
    "setup_intent": "seti",
    "webhook_endpoint": "we",
}
_NAMES: Final = {
    "balance_transaction": "balance_transaction",
    "charge": "charge",
    "customer": "customer",
    "default_payment_method": "payment_method",
    "failure_balance_transaction": "balance_transaction",
    "latest_attempt": "setup_attempt",
    "latest_charge": "charge",
    "mandate": "mandate",
    "payment_intent": "payment_intent",
    "payment_method": "payment_method",
    "setup_intent": "setup_intent",
}
"""The fields that hold an id, and the kind of object that it names."""

_COMPARED: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_DEEPEST: Final = 4
_PAGE, _LONGEST_PAGE = 10, 100


@define
class Settings:
    """What the account may do, and how long things take; changed at any time.

    Attributes:
        multicapture: Whether a payment may be captured several times.
        search_lag: How long a new object cannot be found by a search; at Stripe up to a minute.
        balance_lag: How long a captured payment, or a refund, has no balance transaction.
        authorization: How long an authorization holds.
        extended_authorization: How long it holds where `request_extended_authorization` asks for more.
        refund_status: What becomes of a refund at first.
        methods: The payment methods that are switched on.
    """

    multicapture: bool = True
    search_lag: timedelta = timedelta(0)
    balance_lag: timedelta = timedelta(0)
    authorization: timedelta = timedelta(days=7)
    extended_authorization: timedelta = timedelta(days=30)
    refund_status: str = "succeeded"
    methods: Sequence[str] = ("card", "bancontact", "ideal", "sepa_debit")


@frozen
class Timer:
    """Something that happens by itself at a time.

    Attributes:
        due: When, in seconds since 1970.
        act: What; a name in `Account.acts`.
        id: With which object.
    """

    due: int
    act: str
    id: str


@define
class Account:
    """One account.

    Attributes:
        id: The connected account's id; empty for the platform's own.
        clock: The time.
        settings: What it may do.
        base: The address of the stand-in, for the pages that a payer is sent to.
        objects: Everything that it holds, by kind and id, the oldest first.
        timers: What is going to happen.
        acts: What timers do, by name.
        patches: Functions that change what is shown, each with the kind of object that it changes.
        notify: Called with each new event.
        request: What an event says of the request that caused it.
        at: The time that stands in for the clock's while a timer's act is carried out.
    """

    id: str
    clock: Clock
    settings: Settings
    base: str = ""
    objects: dict[str, dict[str, Json]] = Factory(dict[str, dict[str, Json]])
    timers: list[Timer] = Factory(list[Timer])
    acts: Mapping[str, Callable[[Account, str], None]] = Factory(dict[str, Any])
    patches: list[tuple[str, Callable[[Json], object]]] = Factory(list[Any])
    notify: Callable[[Account, Json], None] = lambda _account, _event: None
    request: Json = Factory(lambda: {"id": None, "idempotency_key": None})
    at: int | None = None

    @property
    def now(self) -> int:
        """The time, in seconds since 1970; while a timer acts, the time at which it was due."""
        return int(self.clock().timestamp()) if self.at is None else self.at

    # --- objects ---

    def new(self, kind: str, fields: Json) -> Json:
        """Keep a new object, with an id."""
        made: Json = {
            "id": f"{_PREFIXES[kind]}_{token()}",
            "object": kind,
            "created": self.now,
            "livemode": False,
            **fields,
        }
        if kind in ("balance_transaction", "refund"):
            del made["livemode"]  # these two have none
        if kind == "mandate":
            del made["created"]
        self.objects.setdefault(kind, {})[made["id"]] = made
        return made

    def forget(self, thing: Json) -> None:
        """Have an object, and the event of its creation, never have been."""
        self.objects[thing["object"]].pop(thing["id"])
        events = self.objects["event"]
        for event in [row for row in events.values() if row["data"]["object"]["id"] == thing["id"]]:
            events.pop(event["id"])

    def all(self, kind: str) -> Iterator[Json]:
        """Return every object of a kind, the newest first."""
        return reversed(self.objects.get(kind, {}).values())

    def get(self, kind: str, identifier: str, *, param: str = "", status: int = 404) -> Json:
        """Return an object.

        Raises:
            Refusal: There is none.
        """
        found = self.objects.get(kind, {}).get(identifier)
        if found is None:
            raise no_such(kind, identifier, param=param or "id", status=status)
        return found

    def named(self, kind: str, identifier: str | None) -> Json | None:
        """Return the object that a field names, if it names one."""
        return self.objects.get(kind, {}).get(identifier) if identifier else None

    @contextmanager
    def changing(self, thing: Json) -> Generator[None]:
        """Leave an object as it was if its change is refused before it had begun to be carried out."""
        before = copy.deepcopy(thing)
        try:
            yield
        except Refusal as refusal:
            if not refusal.executed:
                thing.clear()
                thing.update(before)
            raise

    # --- showing ---

    def show(self, thing: Json, expand: Sequence[str] = ()) -> Json:
        """Return an object as it is shown, with the ids expanded that were asked for."""
        shown = self._plain(thing)
        for path in expand:
            parts = path.split(".")
            if len(parts) > _DEEPEST:
                raise invalid("expand", f"You cannot expand more than {_DEEPEST} levels of a property.")
            self._expand(shown, parts, path)
        self._patch(shown)
        return shown

    def _patch(self, node: Any) -> None:
        """Change what is shown as a test wants it, the inner objects first."""
        if not self.patches or not isinstance(node, (dict, list)):
            return
        inner = cast("Any", node.values() if isinstance(node, dict) else node)  # pyright: ignore[reportUnknownMemberType]
        for part in list(inner):
            self._patch(part)
        for kind, patch in self.patches:
            if isinstance(node, dict) and cast("Json", node).get("object") == kind:
                patch(cast("Json", node))

    def _plain(self, thing: Json) -> Json:
        return {name: copy.deepcopy(value) for name, value in thing.items() if not name.startswith("_")}

    def _expand(self, shown: Json, parts: list[str], path: str) -> None:
        name, rest = parts[0], parts[1:]
        if name == "data" and shown.get("object") in ("list", "search_result"):
            for item in shown["data"]:
                self._expand(item, rest, path)
            return
        if name == "refunds" and shown.get("object") == "charge":
            shown.setdefault("refunds", self.refunds(shown["id"]))
            below = shown["refunds"]
        elif name == "line_items" and shown.get("object") == "checkout.session":
            items = self.objects["checkout.session"][shown["id"]]["_line_items"]
            below = shown["line_items"] = page(
                copy.deepcopy(items), f"/v1/checkout/sessions/{shown['id']}/line_items"
            )
        elif name in _NAMES and name in shown:
            if isinstance(shown[name], str):
                target = self.named(_NAMES[name], shown[name])
                shown[name] = self._plain(target) if target is not None else shown[name]
            below = shown[name]
        else:
            raise invalid("expand", f"This property cannot be expanded ({path}).")
        if rest and isinstance(below, dict):
            self._expand(cast("Json", below), rest, path)

    def refunds(self, charge: str) -> Json:
        """Return the refunds of a charge as they are shown with it: the ten newest."""
        found = [self._plain(row) for row in self.all("refund") if row["charge"] == charge]
        return page(found, f"/v1/charges/{charge}/refunds", limit=_PAGE)

    def listed(
        self, kind: str, params: Json, where: Callable[[Json], bool] = lambda _: True, *, url: str
    ) -> Json:
        """Return a page of the objects of a kind, the newest first: https://docs.stripe.com/api/pagination."""
        found = [row for row in self.all(kind) if where(row) and _created(row, params.get("created"))]
        ids = [row["id"] for row in found]
        limit = params.get("limit", _PAGE)
        if "ending_before" in params:
            end = _place(ids, params["ending_before"], "ending_before", kind)
            begin = max(0, end - limit)
            rows, more = found[begin:end], begin > 0
        else:
            begin = 0
            if "starting_after" in params:
                begin = _place(ids, params["starting_after"], "starting_after", kind) + 1
            rows, more = found[begin : begin + limit], len(found) > begin + limit
        shown = {"object": "list", "data": [self._plain(row) for row in rows], "has_more": more, "url": url}
        for path in params.get("expand", ()):
            self._expand(shown, path.split("."), path)
        self._patch(shown)
        return shown

    # --- what happens ---

    def record_event(self, kind: str, thing: Json, previous: Json | None = None) -> Json:
        """Keep an event, and have it sent: https://docs.stripe.com/api/events/types."""
        data: Json = {"object": self.show(thing)}
        if previous is not None:
            data["previous_attributes"] = previous
        event = self.new(
            "event",
            {
                "api_version": API_VERSION,
                "data": data,
                "pending_webhooks": 0,
                "request": dict(self.request),
                "type": kind,
            },
        )
        if self.id:
            event["account"] = self.id
        self.notify(self, event)
        return event

    def later(self, after: timedelta, act: str, identifier: str) -> None:
        """Have something happen by itself."""
        self.timers.append(Timer(self.now + int(after.total_seconds()), act, identifier))

    def settle(self) -> None:
        """Have everything happen that is due."""
        now = self.now
        while due := [timer for timer in self.timers if timer.due <= now]:
            timer = min(due, key=lambda row: row.due)
            self.timers.remove(timer)
            self.request, self.at = {"id": None, "idempotency_key": None}, timer.due
            try:
                self.acts[timer.act](self, timer.id)
            finally:
                self.at = None

    def drop_timers(self, identifier: str) -> None:
        """Have nothing more happen by itself to an object."""
        self.timers[:] = [timer for timer in self.timers if timer.id != identifier]


def page(rows: list[Json], url: str, *, limit: int = _LONGEST_PAGE) -> Json:
    """Return rows as a list is shown."""
    return {"object": "list", "data": rows[:limit], "has_more": len(rows) > limit, "url": url}


def token(length: int = 24) -> str:
    """Return the random part of an id."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _place(ids: list[str], wanted: str, param: str, kind: str) -> int:
    if wanted not in ids:
        raise no_such(kind, wanted, param=param)
    return ids.index(wanted)


def _created(row: Json, asked: Any) -> bool:
    if asked is None:
        return True
    if not isinstance(asked, dict):
        return bool(row["created"] == int(asked))
    bounds = cast("dict[str, Any]", asked)
    for name, value in bounds.items():
        if name not in _COMPARED or not str(value).isdigit():
            raise Refusal(400, param=f"created[{name}]", message=f"Invalid created: {name}")
    return all(_COMPARED[name](row["created"], int(value)) for name, value in bounds.items())
