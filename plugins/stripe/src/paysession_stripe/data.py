"""What a session's private ``data`` holds: a typed value here, plain JSON in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import Factory, evolve, field, fields, frozen
from attrs.validators import instance_of, optional

from paysession_stripe.methods import PayerMethod
from paysession_stripe.options import PAGES, StripeOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paysession_stripe.intent import Charge, Intent

__all__ = ["StripeData"]


def _method(value: PayerMethod | Mapping[str, Any] | None) -> PayerMethod | None:
    return value if value is None or isinstance(value, PayerMethod) else PayerMethod.from_json(value)


_TEXT: Final = optional(instance_of(str))


@frozen(kw_only=True)
class StripeData(StripeOptions):
    """What Stripe and we know of one session: what the host asked for, and what was seen since.

    Attributes:
        payment_intent: The PaymentIntent's id.
        latest_charge: The id of its charge.
        status: The PaymentIntent's status as it was last seen, in Stripe's own word.
        paid_with: The payment method that paid. With ``setup_future_usage`` it is kept with the
            customer, and can be the ``payment_method`` of a later session: see `StripeOptions.kept`.
        kept_as: Its kind; for a method that pays once and leaves a bank debit behind, ``sepa_debit``.
        method: What the payer paid with; see `PayerMethod`.
        fee: What Stripe kept of the charge, such as ``"1.23 EUR"``, once it is captured.
        net: What remains of it, in the currency of the account's balance.
        last_error: Why Stripe last declined, in Stripe's own word.
        multicapture: Whether this charge can be captured several times; None: Stripe has not said.
        incremental: Whether what this charge holds can be raised; None: Stripe has not said.
        disputed: Whether a notification of a dispute came: Stripe does not mark the charge for an inquiry.
        fraud_warning: Why the issuer takes the payment for fraud, in Stripe's word, such as
            ``made_with_stolen_card``: an early fraud warning, which moves no money.
        fraud_actionable: Whether a refund still prevents a dispute, by a warning that is not logged yet; None
            once it is. When the notification comes, it may be about somebody else's payment.
        reuse: The metadata key that the next capture's mark overwrites, because there is room for no other.
        extra: What another version of this package wrote, kept as it is.
    """

    payment_intent: str | None = field(default=None, validator=_TEXT)
    latest_charge: str | None = field(default=None, validator=_TEXT)
    status: str | None = field(default=None, validator=_TEXT)
    paid_with: str | None = field(default=None, validator=_TEXT)
    kept_as: str | None = field(default=None, validator=_TEXT)
    method: PayerMethod | None = field(default=None, converter=_method)
    fee: str | None = field(default=None, validator=_TEXT)
    net: str | None = field(default=None, validator=_TEXT)
    last_error: str | None = field(default=None, validator=_TEXT)
    multicapture: bool | None = field(default=None, validator=optional(instance_of(bool)))
    incremental: bool | None = field(default=None, validator=optional(instance_of(bool)))
    disputed: bool | None = field(default=None, validator=optional(instance_of(bool)))
    fraud_warning: str | None = field(default=None, validator=_TEXT)
    fraud_actionable: bool | None = field(default=None, validator=optional(instance_of(bool)))
    reuse: str | None = field(default=None, validator=_TEXT)
    extra: Mapping[str, Any] = Factory(dict[str, Any])

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StripeData:
        """Return what the store holds.

        Raises:
            ValueError: A value is not of its type.
        """
        known = {name: value for name, value in data.items() if name in _NAMES}
        try:
            return cls(**known, extra={name: value for name, value in data.items() if name not in _NAMES})
        except TypeError as error:
            raise ValueError(str(error.args[0])) from None

    @classmethod
    def requested(cls, data: Mapping[str, Any], ui: str = "elements") -> StripeData:
        """Return what the host asked for.

        Args:
            data: What was given with the payment.
            ui: Where the payer pays if that does not say it. A kept payment method is charged without a page.

        Raises:
            ValueError: There is a key or a value that is not for the host to give.
        """
        names = StripeOptions.names()
        for name in data:
            if name not in names:
                raise ValueError(f"data has no {name!r:.80}; it may have {', '.join(names)}")
        asked = cls.from_json(data)
        if asked.ui is None and asked.payment_method is None and ui in PAGES:
            asked = evolve(asked, ui=ui)
        asked.check()
        return asked

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON; what is not set is left out."""
        found = {part.name: getattr(self, part.name) for part in fields(StripeData) if part.name != "extra"}
        if self.off_session:
            del found["off_session"]
        if self.method is not None:
            found["method"] = self.method.to_json()
        return {**{name: value for name, value in found.items() if value is not None}, **self.extra}

    def made(self) -> StripeData:
        """Return the same without what was needed only to make the payment, such as an address."""
        spent: dict[str, Any] = {
            part.name: None for part in fields(StripeOptions) if not part.metadata.get("kept")
        }
        return evolve(self, **spent)

    def noted(self) -> StripeData:
        """Return the same once a warning of fraud is logged."""
        return evolve(self, fraud_actionable=None)

    def seen(self, intent: Intent) -> StripeData:
        """Return the same with what a PaymentIntent shows."""
        found = evolve(
            self,
            payment_intent=intent.id,
            status=intent.status,
            last_error=intent.error.code if intent.error is not None else None,
            reuse=intent.reuse,
            paid_with=intent.keepable if intent.holds else self.paid_with,
        )
        return found if intent.charge is None else _with_charge(found, intent.charge, held=intent.holds)


def _with_charge(data: StripeData, charge: Charge, *, held: bool) -> StripeData:
    """Return data with what a charge shows; what it does not show stays as it was seen."""
    return evolve(
        data,
        latest_charge=charge.id,
        kept_as=charge.kept_as if held and charge.kept_as is not None else data.kept_as,
        method=charge.method if charge.method is not None else data.method,
        fee=str(charge.fee) if charge.fee is not None else data.fee,
        net=str(charge.net) if charge.net is not None else data.net,
        multicapture=charge.multicapture if charge.multicapture is not None else data.multicapture,
        incremental=charge.incremental if charge.incremental is not None else data.incremental,
    )


_NAMES: Final = frozenset(part.name for part in fields(StripeData)) - {"extra"}
