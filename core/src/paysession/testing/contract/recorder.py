"""A plugin around the provider: it keeps what the provider itself said, and lets the process die."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from attrs import frozen

from paysession.hooks import hookimpl

if TYPE_CHECKING:
    from collections.abc import Generator

    from paysession.operation import Operation
    from paysession.session import PaymentSession

__all__ = ["Call", "Crash", "Recorder"]


class Crash(BaseException):
    """The process dies here."""


@frozen
class Call:
    """One call of a hook, and what the provider itself answered or raised."""

    hook: str
    session: PaymentSession
    operation: Operation | None
    answer: object = None
    error: BaseException | None = None

    @property
    def shown(self) -> str:
        """The answer in words, with the place from which an error came."""
        if self.error is None:
            return f"{self.hook} answered {self.answer!r:.300}"
        frames = traceback.extract_tb(self.error.__traceback__)
        place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
        return f"{self.hook} raised {type(self.error).__name__}: {self.error!s:.300}{place}"


class Recorder:
    """A plugin around the provider: it keeps what the provider said, and lets the process die."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.crash: tuple[str, str] | None = None
        """A hook, and ``before`` or ``after``: where to die."""

    def _around(
        self, hook: str, session: PaymentSession, operation: Operation | None
    ) -> Generator[None, Any, Any]:
        if self.crash == (hook, "before"):
            raise Crash(hook)
        try:
            answer = yield
        except BaseException as error:
            self.calls.append(Call(hook, session, operation, error=error))
            raise
        self.calls.append(Call(hook, session, operation, answer))
        if self.crash == (hook, "after"):
            raise Crash(hook)
        return answer

    @hookimpl(wrapper=True)
    def initiate(self, session: PaymentSession, operation: Operation) -> Generator[None, Any, Any]:
        """Stand around the hook of an operation."""
        return (yield from self._around(operation.kind, session, operation))

    update = authorize = capture = refund = cancel = initiate

    @hookimpl(wrapper=True)
    def retrieve(self, session: PaymentSession, operation: Operation | None) -> Generator[None, Any, Any]:
        """Stand around a lookup."""
        return (yield from self._around("retrieve", session, operation))
