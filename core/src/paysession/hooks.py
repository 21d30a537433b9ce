"""The hooks: only signatures. What a provider implements, and what an observer may watch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from paysession.operation import Operation
    from paysession.outcome import Changes, Outcome, Snapshot, WebhookEvent
    from paysession.session import PaymentSession

__all__ = ["API_VERSION", "OLDEST_API_VERSION", "PROJECT", "ObserverHooks", "ProviderHooks", "hookimpl"]

PROJECT: Final = "paysession"
API_VERSION: Final = 1
"""The version of this contract. A plugin may state the one it was written for as ``API_VERSION``."""
OLDEST_API_VERSION: Final = 1
"""The oldest version that is carried: a plugin that states less than `API_VERSION` is warned."""

hookspec: Final = pluggy.HookspecMarker(PROJECT)
_marker: Final = pluggy.HookimplMarker(PROJECT)

_Function = TypeVar("_Function", bound="Callable[..., Any]")


@overload
def hookimpl(function: _Function, /) -> _Function: ...
@overload
def hookimpl(*, wrapper: bool = ..., tryfirst: bool = ...) -> Callable[[_Function], _Function]: ...
def hookimpl(
    function: _Function | None = None, /, *, wrapper: bool = False, tryfirst: bool = False
) -> _Function | Callable[[_Function], _Function]:
    """Mark a method as the implementation of the hook of the same name.

    Args:
        function: The method, when used without parentheses.
        wrapper: It is a generator that stands around the provider's hook: it yields once, gets
            the answer from the ``yield``, and returns an answer. It vetoes by raising
            ``NotApplied`` or ``Declined``.
        tryfirst: It stands outside the other wrappers.
    """

    def mark(function: _Function) -> _Function:
        return _marker(function, wrapper=wrapper, tryfirst=tryfirst)

    return mark if function is None else mark(function)


class ProviderHooks:
    """What a provider answers. The framework addresses exactly one provider at a time.

    ``initiate``, ``authorize`` and ``cancel`` are required. A hook may leave out arguments that
    it does not need. Instead of answering it may raise ``Declined``, ``NotApplied`` or
    ``OutcomeUnknown``, or ``ConfigurationError`` or ``InvalidData`` for a mistake of ours that it finds
    before anything happens; whatever else happens counts as ``OutcomeUnknown``.
    """

    @hookspec(firstresult=True)
    def initiate(self, session: PaymentSession, operation: Operation) -> Outcome | None:
        """Make the provider's object for the session. Inert: nothing is charged by this alone."""

    @hookspec(firstresult=True)
    def update(self, session: PaymentSession, operation: Operation) -> Outcome | None:
        """Change the amount to ``operation.amount``, before authorization.

        With ``Capabilities.increment`` also afterwards (``operation.increments``): raise what is authorized
        to it.
        """

    @hookspec(firstresult=True)
    def authorize(self, session: PaymentSession, operation: Operation) -> Outcome | None:
        """Authorize the amount. Look before writing: the payer may have done it in the browser."""

    @hookspec(firstresult=True)
    def capture(self, session: PaymentSession, operation: Operation) -> Outcome | None:
        """Take ``operation.amount`` of what is authorized; ``operation.final``: release the rest.

        An answer without ``released=True`` says that the rest is still authorized: then the core cancels it.
        """

    @hookspec(firstresult=True)
    def refund(self, session: PaymentSession, operation: Operation) -> Outcome | None:
        """Give ``operation.amount`` back, of ``operation.capture`` where one is meant."""

    @hookspec(firstresult=True)
    def cancel(self, session: PaymentSession, operation: Operation) -> Outcome | None:
        """Release what is authorized and not captured; before authorization, cancel the object."""

    @hookspec(firstresult=True)
    def retrieve(self, session: PaymentSession, operation: Operation | None) -> Snapshot | None:
        """Report what the gateway has, found by ``session.reference`` or by ``session.id``.

        ``operation`` is the one in doubt, or None.
        """

    @hookspec(firstresult=True)
    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> Sequence[WebhookEvent] | None:
        """Verify and read a notification; empty: valid and not ours. Raise ``WebhookRejected``.

        ``headers`` have lower-case names; ``body`` is as it came.
        """

    @hookspec(firstresult=True)
    def changes(self, since: datetime) -> Changes | None:
        """List what changed since a time, whether its notification was delivered or not.

        Optional: lost notifications are found by it. At most as much as one ``call_limit`` allows to read;
        ``Changes.until`` says how far it went.
        """

    @hookspec(firstresult=True)
    def close(self) -> None:
        """Close connections."""


class ObserverHooks:
    """What an observer may watch, after the commit, in the process. The durable way is ``events``."""

    @hookspec
    def session_changed(
        self, before: PaymentSession | None, after: PaymentSession, operation: Operation | None
    ) -> None:
        """Notify that a session changed; ``before`` is None for a new one."""

    @hookspec
    def operation_in_doubt(self, operation: Operation) -> None:
        """Notify that an operation's outcome is not known."""

    @hookspec
    def conflict_found(
        self, session: PaymentSession, operation: Operation | None, kind: str, expected: str, found: str
    ) -> None:
        """Notify that what the gateway shows contradicts the ledger; it was recorded."""
