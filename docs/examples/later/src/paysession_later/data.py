"""What this provider keeps in a session's ``data``, with types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import asdict, field, frozen
from attrs.validators import instance_of, optional

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LaterData"]

_TEXT = optional(instance_of(str))


@frozen(kw_only=True)
class LaterData:
    """The ``data`` of a session: what the host gave, and what Later answered.

    Attributes:
        customer: The host's word for the payer, shown in Later's dashboard.
        payment: Later's id of the payment.
    """

    customer: str | None = field(default=None, validator=_TEXT)
    payment: str | None = field(default=None, validator=_TEXT)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> LaterData:
        """Return what stands in a session's data.

        Raises:
            TypeError: A name is not known, or a value is no text.
        """
        return cls(**data)

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored: plain JSON values."""
        return asdict(self, filter=lambda _, value: value is not None)
