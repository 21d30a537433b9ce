"""The demo: one life of a payment session on a fresh SQLite file, told step by step."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.panel import Panel
from rich.text import Text

from paysession import Checkout, InvalidAmount, Kind, Money, Payments, PaymentSession, StoreError
from paysession_cli import show

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

__all__ = ["Demo", "run"]


class Demo(Protocol):
    """What a provider's package may offer under the entry point group ``paysession.demos``.

    Attributes:
        settings: The provider's settings for the demo.
        data: What the session is initiated with.
    """

    settings: Mapping[str, Any]
    data: Mapping[str, Any]

    def payer_acts(self, session: PaymentSession) -> Mapping[str, Any] | None:
        """Do what the payer's browser would do; return what it brings back."""
        ...


class _Person:
    """The demo of the manual provider: Ann at the shop reads her bank statement."""

    settings: Mapping[str, Any] = {"iban": "DE02120300000000202051", "account_holder": "The Shop"}
    data: Mapping[str, Any] = {}

    def payer_acts(self, session: PaymentSession) -> Mapping[str, Any]:
        del session
        return {"by": "ann", "reference": "statement 12, line 3"}


def _find(provider: str) -> AbstractContextManager[Demo]:
    from importlib.metadata import entry_points  # noqa: PLC0415 - the demo only

    for entry_point in entry_points(group="paysession.demos", name=provider):
        made: AbstractContextManager[Demo] = entry_point.load()()
        return made
    return nullcontext(_Person())


def run(provider: str, *, keep: str | None = None, json: bool = False) -> None:
    """Run the demo.

    Args:
        provider: Which provider carries it out.
        keep: A file to keep the database in; it must not exist.
        json: Answer with the session, its history and its events as JSON.
    """
    with ExitStack() as stack:
        if keep is not None:
            if os.path.exists(keep):  # noqa: PTH110
                raise StoreError(f"the file {keep} exists; the demo begins with a fresh one")
            path = keep
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="paysession-"))
            path = str(Path(folder) / "demo.db")
        scene = stack.enter_context(_find(provider))
        payments = stack.enter_context(
            Payments.open(f"sqlite:///{path}", providers={provider: dict(scene.settings)})
        )
        _play(payments, provider, scene, path, json=json)


def _seen(action: object) -> str:
    fields = getattr(action, "fields", None)
    if not fields:
        return str(getattr(action, "url", None) or getattr(action, "kind", None) or "nothing")
    return ", ".join(f"{key} {value}" for key, value in fields.items())


def _play(payments: Payments, provider: str, scene: Demo, path: str, *, json: bool) -> None:
    out = show.console()
    step = 0

    def say(call: str, result: str) -> None:
        nonlocal step
        step += 1
        if not json:
            out.print(Text(f"{step:>2}. ", style="bold").append(call, style="bold cyan"))
            out.print(Text(f"    {result}"))

    def state(session: PaymentSession) -> str:
        return (
            f"{session.status}: authorized {session.authorized_amount}, captured "
            f"{session.captured_amount}, refunded {session.refunded_amount}"
        )

    if not json:
        out.print(Panel(Text(f"One payment session with the provider {provider!r}, kept in {path}")))
    order = payments.create_collection(Money("42.00", "EUR"), reference="order-1001")
    say('create_collection(Money("42.00", "EUR"), reference="order-1001")', f"{order.amount} has to be paid")
    session = payments.initiate(
        order.id,
        provider=provider,
        data=scene.data or None,
        checkout=Checkout(return_url="https://shop.example/back/{session_id}"),
        idempotency_key="order-1001:1",
    )
    say(
        f"initiate({order.reference!r}, provider={provider!r})",
        f"{session.status}; the payer sees {_seen(session.next_action)}",
    )
    again = payments.initiate(
        order.id,
        provider=provider,
        data=scene.data or None,
        checkout=Checkout(return_url="https://shop.example/back/{session_id}"),
        idempotency_key="order-1001:1",
    )
    say("initiate(...) with the same idempotency key", f"the same session: {again.id == session.id}")
    payload = scene.payer_acts(session)
    session = payments.authorize(session.id, payload=payload)
    say(f"the payer has acted: authorize(payload={payload})", state(session))
    session = payments.capture(session.id, Money("20.00", "EUR"), idempotency_key="ship-1")
    say('capture(Money("20.00", "EUR"), idempotency_key="ship-1")', state(session))
    session = payments.capture(session.id, Money("20.00", "EUR"), idempotency_key="ship-1")
    say("the same call again (a retry, a double click)", f"{state(session)}: taken once")
    if (
        session.captured_amount < session.authorized_amount
    ):  # some gateways capture once, and release the rest
        session = payments.capture(session.id, Money("15.00", "EUR"), idempotency_key="ship-2")
        say('capture(Money("15.00", "EUR"), idempotency_key="ship-2")', state(session))
    try:
        payments.capture(session.id, Money("10.00", "EUR"))
    except InvalidAmount as error:
        say('capture(Money("10.00", "EUR"))', f"refused: {error}")
    # Named, since some gateways refund one capture at a time.
    capture = next(row.id for row in payments.history(session.id) if row.kind is Kind.CAPTURE)
    session = payments.refund(session.id, Money("5.00", "EUR"), capture=capture, idempotency_key="return-1")
    say('refund(Money("5.00", "EUR"), capture=..., idempotency_key="return-1")', state(session))
    if session.captured_amount < session.authorized_amount:
        session = payments.cancel(session.id)
        say("cancel(): what is left is released", state(session))
    order = payments.collection(order.id)
    say("collection()", f"{order.status}: captured {order.captured_amount}, refunded {order.refunded_amount}")
    history, events = payments.history(session.id), payments.events()
    if json:
        show.emit(
            {
                "collection": show.collection_json(order),
                "session": show.session_json(session),
                "operations": [show.operation_json(row) for row in history],
                "events": [show.event_json(row) for row in events],
            }
        )
        return
    out.print()
    out.print("The operations, as they were written down before the provider was called:", style="bold")
    show.show_history(history, ids=False)
    out.print()
    out.print("The events, for the shop to follow (`payments.events(after=cursor)`):", style="bold")
    show.show_events(events, references=False)
