"""How long rows are kept that payments themselves do not need."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from paysession.errors import SettingsError
from paysession.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Retention"]

FOREVER: Final = "forever"
_DAY: Final = timedelta(days=1)


@frozen(slots=False, eq=False, repr=False, kw_only=True)
class Retention(Value):
    """How long notifications and events are kept; see `Payments.prune`.

    Attributes:
        notifications: Those for which nothing is due any more; None: for ever. Gateways send a notification
            again for some days, and one that is still there is recognized.
        events: None: for ever. A reader of the feed that is further behind gets `CursorLost`.

    Raises:
        SettingsError: It is shorter than a day.
    """

    notifications: timedelta | None = timedelta(days=90)
    events: timedelta | None = timedelta(days=400)

    def __attrs_post_init__(self) -> None:
        for name, value in self.__dict__.items():
            if value is not None and (not isinstance(value, timedelta) or value < _DAY):
                raise SettingsError(f"retention: {name} is a timedelta of a day or more, or None")

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Retention:
        """Return the retention that a settings file says, in days or as ``"forever"``.

        Raises:
            SettingsError: It says something else.
        """
        given: dict[str, timedelta | None] = {}
        for name, days in table.items():
            if name not in ("notifications", "events"):
                raise SettingsError(
                    f"retention: unknown setting {name!r:.40}; known are: events, notifications"
                )
            if days != FOREVER and type(days) is not int:
                raise SettingsError(f'retention: {name} is a number of days, or "{FOREVER}"')
            try:
                given[name] = None if days == FOREVER else timedelta(days=days)
            except OverflowError:
                raise SettingsError(f'retention: {name}: so many days are "{FOREVER}"') from None
        return cls(**given)


def after(now: datetime, age: timedelta) -> datetime | None:
    """Return when something made now will have an age; None: not in the time that a datetime knows."""
    try:
        return now + age
    except OverflowError:
        return None


def before(now: datetime, age: timedelta | None) -> datetime | None:
    """Return when rows were made that have an age now; None: none is so old."""
    try:
        return None if age is None else now - age
    except OverflowError:
        return None
