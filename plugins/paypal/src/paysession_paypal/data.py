"""What the provider keeps in ``session.data``, as a typed value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import Factory, evolve, fields, frozen

from paysession.provider import Money
from paysession_paypal import amounts
from paysession_paypal.disputes import Disputed
from paysession_paypal.document import as_list, as_object, as_text, moment, text_in
from paysession_paypal.sources import SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from paysession.provider import PaymentSession
    from paysession_paypal.document import Document
    from paysession_paypal.orders import Authorization, Capture, Order
    from paysession_paypal.sources import Source

__all__ = ["PayPalData"]


@frozen(kw_only=True)
class PayPalData:
    """What the host asked for in ``data`` when it initiated the session, and what PayPal said since.

    Attributes:
        payment_source: What the session is paid with; see `paysession_paypal.sources`. From the host.
        flow: ``buttons``: the payer approves with PayPal's button in your page. From the host.
        save: Whether PayPal saves how the payer pays, with the payer's consent. From the host.
        vault_id: What was saved before, to pay with it. From the host.
        client_metadata_id: What PayPal's risk script in your page calls the payer's device. From the host.
        canceling: The key of a cancel that waits until the order has expired.
        card: Of a card: its ``brand``, ``last_digits`` and ``liability_shift``.
        order: The order's id.
        approve_url: PayPal's approval page for the payer.
        authorizations: What became of each authorization, by its id: ``succeeded``, ``pending``, ``failed``
            or ``reversed`` (voided or expired). Empty: not known.
        captures: What became of each capture, by its id: ``succeeded``, ``pending``, ``failed``,
            ``disputed`` or ``charged_back``.
        fees: What PayPal keeps of a capture, by its id, where PayPal says so.
        honored_until: Until when PayPal keeps the authorized funds for certain: three days.
        payer: The payer's id at PayPal, once the order is approved.
        shipping: Where the goods go, as the order says it: ``{"name": {...}, "address": {...}}`` in PayPal's
            form, chosen by the payer or given by the shop.
        vaulted: What PayPal saved of how the payer pays: ``id`` (to pay with it again), ``status`` and
            ``customer``.
        disputes: Each dispute of a capture, also of the past, by the reference of its chargeback.
        dispute: The id of a dispute that a notification named, and PayPal was not queried about yet.
        unclear: What could not be understood of the order when it was last queried, in words.
        declined: Why PayPal sent the payer back to choose another way to pay.
        declined_approval: The payer's approval that was declined then; see `Order.approval`.
        host: What the host gave, untouched.
    """

    payment_source: str | None = None
    flow: str | None = None
    save: bool = False
    vault_id: str | None = None
    client_metadata_id: str | None = None
    canceling: str | None = None
    card: Mapping[str, str] = Factory(dict[str, str])
    order: str | None = None
    approve_url: str | None = None
    authorizations: Mapping[str, str] = Factory(dict[str, str])
    captures: Mapping[str, str] = Factory(dict[str, str])
    fees: Mapping[str, Money] = Factory(dict[str, Money])
    honored_until: datetime | None = None
    payer: str | None = None
    shipping: Mapping[str, Any] = Factory(dict[str, Any])
    vaulted: Mapping[str, str] = Factory(dict[str, str])
    disputes: Mapping[str, Disputed] = Factory(dict[str, Disputed])
    dispute: str | None = None
    unclear: tuple[str, ...] = ()
    declined: str | None = None
    declined_approval: str | None = None
    host: Mapping[str, Any] = Factory(dict[str, Any])

    @classmethod
    def of(cls, session: PaymentSession) -> PayPalData:
        """Return a session's data; what has none of the names above is the host's."""
        host = session.data
        own = {name: host.pop(name, None) for name in _NAMES}
        texts = {name: as_text(own[name]) for name in _TEXTS}
        return cls(
            **texts,
            authorizations=_texts(own["authorizations"]),
            captures=_texts(own["captures"]),
            fees=_amounts(own["fees"]),
            disputes=Disputed.read(own["disputes"]),
            honored_until=moment(own["honored_until"]),
            shipping=as_object(own["shipping"]) or {},
            save=own["save"] is True,
            vaulted=_texts(own["vaulted"]),
            card=_texts(own["card"]),
            unclear=tuple(filter(None, map(as_text, as_list(own["unclear"])))),
            host=host,
        )

    def json(self) -> dict[str, Any]:
        """Return it as it is stored: JSON, without what is empty."""
        own: dict[str, Any] = {name: getattr(self, name) for name in _NAMES}
        own["fees"] = {key: amounts.text(fee) for key, fee in self.fees.items()}
        own["disputes"] = {key: row.json() for key, row in self.disputes.items()}
        own["honored_until"] = self.honored_until and self.honored_until.isoformat()
        own["unclear"] = list(self.unclear)
        return {**self.host, **{name: value for name, value in own.items() if value}}

    @property
    def source(self) -> Source:
        """What the session is paid with."""
        return SOURCES.get(self.payment_source or "", SOURCES["paypal"])

    @property
    def script(self) -> str:
        """What the page needs for the payer to approve; empty: the payer is sent to PayPal's page."""
        return self.source.script or ("paypal.buttons" if self.flow == "buttons" else "")

    @property
    def only_live(self) -> str | None:
        """The id of the authorization to capture from, unless several could be meant, or none is known."""
        known = list(self.authorizations)
        live = [key for key, state in self.authorizations.items() if state == "succeeded"]
        if len(known) == 1:
            return known[0]
        return live[0] if len(live) == 1 else None

    def page(self, order: Order) -> str | None:
        """Return the address of PayPal's approval page."""
        return order.approve_url or self.approve_url

    def seen(
        self,
        order: Order,
        *,
        declined: str | None = None,
        declined_approval: str | None = None,
        unclear: tuple[str, ...] = (),
        disputes: Mapping[str, Disputed] | None = None,
        dispute: str | None = None,
    ) -> PayPalData:
        """Return it with what an order shows now."""
        payer, source = as_object(order.document.get("payer")) or {}, order.source
        honored = [row.honored_until for row in order.authorizations if row.honored_until is not None]
        shipping = as_object(order.unit.get("shipping")) or {}
        return evolve(
            self,
            order=order.id,
            approve_url=self.page(order),
            authorizations={row.id: row.state for row in order.authorizations} or self.authorizations,
            captures={row.id: row.standing for row in order.captures} or self.captures,
            fees={**self.fees, **{row.id: row.fee for row in order.captures if row.fee is not None}},
            honored_until=max(honored, default=self.honored_until),
            payer=text_in(payer, "payer_id") or text_in(source, "account_id") or self.payer,
            vaulted=_vaulted(source) or self.vaulted,
            card=_card(source) or self.card,
            shipping={key: shipping[key] for key in _SHIPPING if key in shipping} or self.shipping,
            disputes=self.disputes if disputes is None else disputes,
            dispute=dispute,
            unclear=unclear,
            declined=declined,
            declined_approval=declined_approval,
        )

    def with_capture(self, row: Capture) -> PayPalData:
        """Return it with what PayPal answered to a capture."""
        fees = {**self.fees, row.id: row.fee} if row.fee is not None else self.fees
        return evolve(self, captures={**self.captures, row.id: row.standing}, fees=fees)

    def reauthorized(self, row: Authorization) -> PayPalData:
        """Return it with a reauthorization."""
        known = {**self.authorizations, row.id: row.state}
        return evolve(self, authorizations=known, honored_until=row.honored_until)

    def voided(self) -> PayPalData:
        """Return it with every authorization voided."""
        states = self.authorizations.items()
        ended = {key: "reversed" if state == "succeeded" else state for key, state in states}
        return evolve(self, authorizations=ended)


_NAMES: Final = tuple(field.name for field in fields(PayPalData) if field.name != "host")
_TEXTS: Final = (
    "payment_source",
    "flow",
    "vault_id",
    "client_metadata_id",
    "canceling",
    "order",
    "approve_url",
    "payer",
    "dispute",
    "declined",
    "declined_approval",
)
_SHIPPING: Final = ("type", "name", "email_address", "phone_number", "address")


def _texts(value: object) -> dict[str, str]:
    """Return ids with a text each; ids alone, as they were stored first, have an empty one."""
    ids = dict.fromkeys(filter(None, map(as_text, as_list(value))), "")
    return ids or {key: text for key, text in (as_object(value) or {}).items() if isinstance(text, str)}


def _amounts(value: object) -> dict[str, Money]:
    found = {key: amounts.of_text(text) for key, text in _texts(value).items()}
    return {key: money for key, money in found.items() if money is not None}


def _card(source: Document) -> dict[str, str]:
    shift = as_object(source.get("authentication_result")) or {}
    # Google Pay and Apple Pay have the card inside.
    card = source if "last_digits" in source else as_object(source.get("card")) or {}
    shift = shift or as_object(card.get("authentication_result")) or {}
    found = {
        "brand": card.get("brand"),
        "last_digits": card.get("last_digits"),
        "liability_shift": shift.get("liability_shift"),
    }
    return {name: text for name, text in found.items() if isinstance(text, str) and text}


def _vaulted(source: Document) -> dict[str, str]:
    vault = as_object((as_object(source.get("attributes")) or {}).get("vault")) or {}
    customer = as_object(vault.get("customer")) or {}
    found = {"id": vault.get("id"), "status": vault.get("status"), "customer": customer.get("id")}
    return {name: text for name, text in found.items() if isinstance(text, str) and text}
