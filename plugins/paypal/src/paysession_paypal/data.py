"""What the provider keeps in ``session.data``, as a typed value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import Factory, asdict, evolve, frozen

from paysession_paypal.reading import as_list, as_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paysession.provider import PaymentSession
    from paysession_paypal.orders import Order

__all__ = ["PayPalData"]


@frozen(kw_only=True)
class PayPalData:
    """PayPal's ids of one session, and what the host gave in ``data`` beside them.

    Attributes:
        order: The order's id.
        approve_url: PayPal's approval page for the payer.
        authorizations: The ids of the authorizations, the original one first.
        captures: The ids of the captures.
        payer: The payer's id at PayPal, once the order is approved.
        declined: Why PayPal sent the payer back to choose another way to pay.
        declined_approval: The payer's approval that was declined then; see `Order.approval`.
        host: What the host gave, untouched.
    """

    order: str | None = None
    approve_url: str | None = None
    authorizations: tuple[str, ...] = ()
    captures: tuple[str, ...] = ()
    payer: str | None = None
    declined: str | None = None
    declined_approval: str | None = None
    host: Mapping[str, Any] = Factory(dict[str, Any])

    @classmethod
    def of(cls, session: PaymentSession) -> PayPalData:
        """Return a session's data; what bears none of our names is the host's."""
        host = session.data
        own = {name: host.pop(name, None) for name in _NAMES}
        return cls(
            order=as_text(own["order"]),
            approve_url=as_text(own["approve_url"]),
            authorizations=_ids(own["authorizations"]),
            captures=_ids(own["captures"]),
            payer=as_text(own["payer"]),
            declined=as_text(own["declined"]),
            declined_approval=as_text(own["declined_approval"]),
            host=host,
        )

    def json(self) -> dict[str, Any]:
        """Return it as it is stored."""
        own = asdict(self, filter=lambda attribute, value: attribute.name != "host" and bool(value))
        return {**self.host, **own}

    def seen(
        self, order: Order, *, declined: str | None = None, declined_approval: str | None = None
    ) -> PayPalData:
        """Return it with what an order shows now."""
        return PayPalData(
            order=order.id,
            approve_url=order.approve_url or self.approve_url,
            authorizations=tuple(row.id for row in order.authorizations) or self.authorizations,
            captures=tuple(row.id for row in order.captures) or self.captures,
            payer=order.payer_id or self.payer,
            declined=declined,
            declined_approval=declined_approval,
            host=self.host,
        )

    def with_capture(self, capture_id: str) -> PayPalData:
        """Return it with one more capture."""
        return evolve(self, captures=(*self.captures, capture_id))


_NAMES = ("order", "approve_url", "authorizations", "captures", "payer", "declined", "declined_approval")


def _ids(value: object) -> tuple[str, ...]:
    return tuple(filter(None, map(as_text, as_list(value))))
