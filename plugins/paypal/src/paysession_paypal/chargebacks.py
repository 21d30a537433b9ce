"""What disputes did to the captures of an order: the order and its disputes, put together.

The order decides whether money was taken. A dispute says how much, where the order does not: of a capture of
which a part was given back, say.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from paysession.provider import Effect, Kind, Money
from paysession_paypal.disputes import Disputed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from paysession_paypal.disputes import Case
    from paysession_paypal.orders import Capture, State

__all__ = ["Chargeback", "Chargebacks"]

SHOWN: Final = timedelta(days=1)
"""After this long an order shows what a dispute that was decided took."""
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@frozen
class Chargeback:
    """One dispute of one capture.

    Attributes:
        reference: What the ledger knows it by.
        state: What became of the money.
        amount: How much is disputed, or was taken.
        entry: What is to be kept of it.
    """

    reference: str
    state: State
    amount: Money
    entry: Disputed

    @property
    def effect(self) -> Effect:
        """It as the core records it."""
        entry = self.entry
        return Effect(
            Kind.CHARGEBACK,
            self.amount,
            self.state,
            self.reference,
            capture=entry.capture,
            dispute=entry.dispute,
        )


@frozen(kw_only=True)
class Chargebacks:
    """The disputes of an order's captures.

    Attributes:
        captures: The order's captures.
        gone: Of each capture that was given back whole: how much of it no refund explains, by its id.
        room: How much of each capture no refund gave back, by its id.
        partly: The ids of the captures of which a part was given back although no refund is listed.
        refunds: The refunds of each capture that we did not make, by its id.
        known: What is kept of disputes, by the references of their chargebacks.
        cases: The disputes as PayPal showed them just now.
        now: PayPal's clock, if known.
    """

    captures: Sequence[Capture]
    gone: Mapping[str, Money]
    room: Mapping[str, Money]
    partly: Collection[str]
    refunds: Mapping[str, Sequence[Money]]
    known: Mapping[str, Disputed]
    cases: Sequence[Case] = ()
    now: datetime | None = None

    @property
    def all(self) -> list[Chargeback]:
        """Every dispute, also those that are over."""
        return [found for row in self.captures for found in self._of(row)]

    @property
    def taken(self) -> dict[str, Money]:
        """How much disputes took of each capture and did not return, by its id."""
        found: dict[str, Money] = {}
        for one in self.all:
            if one.state == "succeeded":
                capture = one.entry.capture
                found[capture] = found[capture] + one.amount if capture in found else one.amount
        return found

    @property
    def kept(self) -> dict[str, Disputed]:
        """What is to be kept of the disputes, by the references of their chargebacks."""
        return {**self.known, **{one.reference: one.entry for one in self.all}}

    @property
    def questions(self) -> list[str]:
        """The ids of the captures of which PayPal has to be asked for the disputes."""
        return [row.id for row in self.captures if self._is_unclear(row)]

    def _is_unclear(self, row: Capture) -> bool:
        found = list(self._of(row))
        # How much a dispute took stands in the order only where all that was left was taken.
        news = (
            one.entry.is_open
            or (one.entry.id is None and one.state == "pending")
            or (one.state == "succeeded" and (one.entry.id is None or row.id not in self.gone))
            or (one.state == "succeeded" and one.amount != self.known[one.reference].taken)
            for one in found
        )
        return any(news) or (row.id in self.partly and not found)

    def _of(self, row: Capture) -> Iterator[Chargeback]:
        """Yield the disputes of a capture."""
        entries = self._entries(row)
        total = self.gone.get(row.id)
        held = {reference for reference, entry in entries.items() if _may_hold(entry)}
        if (row.disputed or total is not None) and not held:
            reference = self._new(row, entries)
            entries[reference] = Disputed(capture=row.id, amount=total or row.amount, reason=row.reason)
            held.add(reference)
        parts = self._parts(row, entries, [name for name in entries if name in held])
        for reference, entry in entries.items():
            part = parts.get(reference)
            if part is not None:
                # Disputes that cannot be queried are lost as far as anybody knows.
                status = entry.status if entry.id is not None else "lost"
                reason = entry.reason if entry.id is not None else row.reason
                entry = evolve(entry, taken=part, status=status, reason=reason)  # noqa: PLW2901 - as it is now
                yield Chargeback(reference, "succeeded", part, entry)
            elif entry.taken is not None:
                yield Chargeback(reference, "reversed", entry.taken, evolve(entry, status="won"))
            elif self._is_pending(entry) or (row.disputed and reference in held):
                yield Chargeback(reference, "pending", entry.amount, entry)
            else:
                yield Chargeback(reference, "failed", entry.amount, evolve(entry, status="won"))

    def _entries(self, row: Capture) -> dict[str, Disputed]:
        """Return what is known of a capture's disputes, the oldest first, brought up to date."""
        entries = {name: entry for name, entry in self.known.items() if entry.capture == row.id}
        for case in sorted(self.cases, key=lambda case: case.created_at or _LONG_AGO):
            if row.id not in case.captures:
                continue
            # What only the order has shown so far is this one.
            same = (name for name, entry in entries.items() if entry.id == case.id)
            shown = (name for name, e in entries.items() if e.id is None and e.status != "won")
            reference = next(same, None) or next(shown, None) or self._new(row, entries)
            before = entries.get(reference)
            entries[reference] = Disputed(
                capture=row.id,
                amount=_at_most(case.amount, row.amount) or row.amount,
                status=case.status,
                id=case.id,
                reason=case.reason,
                due=case.due,
                claim=_at_most(case.taken, row.amount),
                moved=case.moved,
                fee=case.fee,
                taken=before.taken if before is not None else None,
                updated_at=case.updated_at,
            )
        return entries

    def _new(self, row: Capture, entries: Mapping[str, Disputed]) -> str:
        return f"{row.id} dispute {len(entries) + 1}" if entries else f"{row.id} dispute"

    def _parts(self, row: Capture, entries: Mapping[str, Disputed], held: Sequence[str]) -> dict[str, Money]:
        """Return how much each dispute took of a capture and did not return."""
        parts: dict[str, Money] = {}
        total = self.gone.get(row.id)
        left = total if total is not None else self.room[row.id]
        for reference in held if total is not None else entries:
            claim = self._claim(row, entries[reference])
            if claim is not None and claim.minor and left.minor:
                parts[reference] = min(claim, left)
                left -= parts[reference]
        if total is not None and left.minor:
            last = held[-1]
            parts[last] = parts[last] + left if last in parts else left
        return parts

    def _claim(self, row: Capture, entry: Disputed) -> Money | None:
        """Return what a dispute took of a capture by its own record, as far as the order bears that out."""
        if row.id in self.gone:
            return entry.claim
        if entry.claim in self.refunds.get(row.id, ()):
            return None  # the merchant, or PayPal, refunded it
        return entry.claim if entry.moved or row.status == "PARTIALLY_REFUNDED" else None

    def _is_pending(self, entry: Disputed) -> bool:
        """Return whether a dispute may take the money yet, or has, and the order does not show it."""
        if entry.id is None:
            return False
        changed, now = entry.updated_at, self.now
        recent = changed is not None and now is not None and now < changed + SHOWN
        return entry.is_open or (entry.status == "lost" and recent)


def _may_hold(entry: Disputed) -> bool:
    """Return whether a dispute may be why the order shows money held or taken."""
    return entry.status != "won" or (entry.id is not None and entry.taken is not None)


def _at_most(amount: Money | None, most: Money) -> Money | None:
    """Return an amount, as far as it can be of a capture; None: nothing is stated in its currency."""
    if amount is None or amount.currency != most.currency:
        return None
    return min(amount, most)
