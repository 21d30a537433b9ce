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
    from paysession_paypal.orders import Capture, Refund, State

__all__ = ["Chargeback", "Chargebacks"]

SHOWN: Final = timedelta(days=1)
"""After this long an order shows what a dispute that was decided took."""
NOTED: Final = timedelta(hours=1)
"""How much later than a dispute was decided PayPal may date the refund that ended it."""
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
        refunds: The refunds that we did not make.
        known: What is kept of disputes, by the references of their chargebacks.
        cases: The disputes as PayPal showed them just now.
        now: PayPal's clock, if known.
    """

    captures: Sequence[Capture]
    gone: Mapping[str, Money]
    room: Mapping[str, Money]
    partly: Collection[str]
    refunds: Sequence[Refund]
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

    def questions(self, *, thorough: bool) -> list[str]:
        """Return the ids of the captures of which PayPal has to be asked for the disputes, the unclear first.

        Args:
            thorough: Whether to ask as well where a dispute may have taken a part besides the refunds that
                are listed: the order shows no difference.
        """
        partly = [row.id for row in self.captures if thorough and row.status == "PARTIALLY_REFUNDED"]
        unclear = [row.id for row in self.captures if self._is_unclear(row)]
        return [*unclear, *(found for found in partly if found not in unclear)]

    def _is_unclear(self, row: Capture) -> bool:
        found = list(self._of(row))
        # How much a dispute took stands in the order only where all that was left was taken.
        news = (
            one.entry.is_open
            or (
                one.state == "succeeded"
                and (
                    one.entry.id is None
                    or row.id not in self.gone
                    or one.amount != self.known[one.reference].taken
                )
            )
            for one in found
        )
        return any(news) or (row.id in self.partly and not found)

    def _of(self, row: Capture) -> Iterator[Chargeback]:
        """Yield the disputes of a capture."""
        entries = self._entries(row)
        total = self.gone.get(row.id)
        again = self._taken_up_again(row, entries)
        if (row.disputed or total is not None) and all(entry.over for entry in entries.values()):
            reference = self._new(row, entries)
            entries[reference] = Disputed(capture=row.id, amount=total or row.amount, reason=row.reason)
        parts = self._parts(row, entries)
        for reference, entry in entries.items():
            part, over = parts.get(reference), evolve(entry, status="won", claim=None, over=True)
            if part is not None:
                # Disputes that cannot be queried are lost as far as anybody knows.
                lost = entry if entry.id is not None else evolve(entry, status="lost", reason=row.reason)
                yield Chargeback(reference, "succeeded", part, evolve(lost, taken=part))
            elif not entry.over and (row.disputed or self._is_pending(entry)):
                yield Chargeback(reference, "pending", entry.amount, entry)
            elif entry.taken is not None:
                yield Chargeback(reference, "reversed", entry.taken, over)
            elif reference not in again:
                yield Chargeback(reference, "failed", entry.amount, over)

    def _entries(self, row: Capture) -> dict[str, Disputed]:
        """Return what is known of a capture's disputes, the oldest first, brought up to date."""
        entries = {name: entry for name, entry in self.known.items() if entry.capture == row.id}
        for case in sorted(self.cases, key=lambda case: case.created_at or _LONG_AGO):
            if row.id not in case.captures:
                continue
            same = [name for name, entry in entries.items() if entry.id == case.id]
            # What only the order has shown so far is this one.
            shown = [name for name, entry in entries.items() if entry.id is None and not entry.over]
            reference = same[-1] if same else shown[0] if shown else self._new(row, entries)
            before = entries.get(reference)
            entries[reference] = Disputed(
                capture=row.id,
                amount=_at_most(case.amount, row.amount) or row.amount,
                status=case.status,
                id=case.id,
                reason=case.reason,
                due=case.due,
                claim=_at_most(self._share(row, case), row.amount),
                moved=case.moved,
                fee=case.fee,
                taken=before.taken if before is not None else None,
                over=before is not None and before.over,
                created_at=case.created_at,
                updated_at=case.updated_at,
            )
        return entries

    def _share(self, row: Capture, case: Case) -> Money | None:
        """Return what a dispute took of one capture: of several, first of those that show that it did."""
        taken = case.taken
        if taken is None or taken.currency != row.amount.currency:
            return None
        for other in sorted(self.captures, key=self._shows_little):
            if other.id == row.id:
                break
            if other.id in case.captures:
                taken -= min(taken, self.gone.get(other.id, self.room[other.id]))
        return taken

    def _shows_little(self, row: Capture) -> int:
        return 0 if row.id in self.gone else 1 if row.status == "PARTIALLY_REFUNDED" else 2

    def _taken_up_again(self, row: Capture, entries: dict[str, Disputed]) -> list[str]:
        """Give each dispute that was over, and is open or takes money again, a reference of its own.

        What is over in the ledger stays so. Return the new references.
        """
        again: list[str] = []
        for entry in list(entries.values()):
            if entry.over and (entry.is_open or (entry.claim is not None and entry.claim.minor)):
                again.append(self._new(row, entries))
                entries[again[-1]] = evolve(entry, over=False, taken=None)
        return again

    def _new(self, row: Capture, entries: Mapping[str, Disputed]) -> str:
        return f"{row.id} dispute {len(entries) + 1}" if entries else f"{row.id} dispute"

    def _parts(self, row: Capture, entries: Mapping[str, Disputed]) -> dict[str, Money]:
        """Return how much each dispute took of a capture and did not return."""
        parts: dict[str, Money] = {}
        total, live = self.gone.get(row.id), [name for name, entry in entries.items() if not entry.over]
        left = total if total is not None else self.room[row.id]
        for reference in live:
            claim = self._claim(row, entries[reference])
            if claim is not None and claim.minor and left.minor:
                parts[reference] = min(claim, left)
                left -= parts[reference]
        if total is not None and left.minor:
            last = live[-1]
            parts[last] = parts[last] + left if last in parts else left
        return parts

    def _claim(self, row: Capture, entry: Disputed) -> Money | None:
        """Return what a dispute took of a capture by its own record, as far as the order bears that out."""
        if row.id in self.gone:
            return entry.claim
        if any(_is_end(refund, entry) for refund in self.refunds):
            return None
        # While money is held for another dispute the order does not show what this one took.
        hidden = row.disputed and entry.taken is not None
        return entry.claim if entry.moved or hidden or row.status == "PARTIALLY_REFUNDED" else None

    def _is_pending(self, entry: Disputed) -> bool:
        """Return whether a dispute may take the money yet, or has, and the order does not show it."""
        if entry.id is None:
            return False
        changed, now = entry.updated_at, self.now
        recent = changed is not None and now is not None and now - changed < SHOWN
        return entry.is_open or (entry.status == "lost" and recent)


def _is_end(refund: Refund, entry: Disputed) -> bool:
    """Return whether a refund may be what ended a dispute: the merchant gave back what was asked for.

    One from before it began, or from after it was decided, is another.
    """
    opened, changed, made = entry.created_at, entry.updated_at, refund.created_at
    later = opened is None or made is None or made >= opened
    in_time = changed is None or made is None or made - changed <= NOTED
    return refund.capture == entry.capture and refund.amount == entry.claim and later and in_time


def _at_most(amount: Money | None, most: Money) -> Money | None:
    """Return an amount, as far as it can be of a capture; None: nothing is stated in its currency."""
    if amount is None or amount.currency != most.currency:
        return None
    return min(amount, most)
