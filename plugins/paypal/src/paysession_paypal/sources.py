"""What an order may be paid with: PayPal's ``payment_source``, one for each session.

| source | the payer | captured |
|---|---|---|
| ``paypal`` | on PayPal's page, or with its button | at once or later |
| ``paylater`` | the same; PayPal offers its instalments | at once or later |
| ``venmo`` | with the button only | at once or later |
| ``card`` | in PayPal's card fields on your page | at once or later |
| ``apple_pay``, ``google_pay`` | with their buttons on your page | at once or later |
| ``ideal``, ``bancontact``, ``blik``, ``p24``, ``eps``, ``mybank`` | at a bank | at once, by PayPal itself |

The setting ``payment_sources`` says which of them a session may have; ``paypal`` alone, if it says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SOURCES", "Source"]


@frozen
class Source:
    """A way to pay.

    Attributes:
        name: Ours, as in the settings and in a session's data.
        key: Its name in ``payment_source`` when the order is made; empty: the script in the page adds it.
        script: What the page needs, as the kind of a `ClientAction`; empty: the payer is sent to a page.
        bank: PayPal sends the payer to a bank and captures by itself once the payer has approved. It has no
            call that prevents that, until the order has expired.
    """

    name: str
    key: str = ""
    script: str = ""
    bank: bool = False


SOURCES: Final[Mapping[str, Source]] = {
    source.name: source
    for source in (
        Source("paypal", "paypal"),
        Source("paylater", "paypal"),
        Source("venmo", "venmo", "paypal.buttons"),
        Source("card", "card", "paypal.card_fields"),
        Source("apple_pay", script="paypal.apple_pay"),
        Source("google_pay", script="paypal.google_pay"),
        *(Source(name, name, bank=True) for name in ("ideal", "bancontact", "blik", "p24", "eps", "mybank")),
    )
}
