"""What a host gives in a session's ``data``, with types."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import instance_of, optional

__all__ = ["LaterData"]


@frozen(kw_only=True)
class LaterData:
    """The ``data`` of a session; another name, or a value of another type, is a TypeError.

    Attributes:
        customer: The host's word for the payer, shown in Later's dashboard.
    """

    customer: str | None = field(default=None, validator=optional(instance_of(str)))
