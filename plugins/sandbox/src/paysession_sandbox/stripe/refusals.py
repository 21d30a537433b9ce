"""How Stripe refuses: https://docs.stripe.com/api/errors and https://docs.stripe.com/error-codes.

The codes are Stripe's; the sentences are this package's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from paysession_sandbox.stripe.wire import Json

__all__ = [
    "Refusal",
    "card_error",
    "invalid",
    "missing",
    "no_such",
    "not_imitated",
    "unauthorized",
    "unexpected_state",
    "unknown",
]


class Refusal(Exception):
    """An error that is answered.

    Args:
        status: The HTTP status.
        executed: Whether the call had begun to be carried out. Such an answer is kept for its
            idempotency key; one about the parameters is not.
        error: The error as it is shown.
    """

    def __init__(self, status: int, *, executed: bool = False, **error: Any) -> None:
        super().__init__(status, error)
        self.status = status
        self.executed = executed
        self.error: Json = {"type": "invalid_request_error", **error}


def invalid(param: str, message: str, code: str | None = None) -> Refusal:
    """Return the refusal of a parameter's value."""
    error: Json = {"param": param, "message": message}
    return Refusal(400, **error) if code is None else Refusal(400, code=code, **error)


def unknown(param: str) -> Refusal:
    """Return the refusal of a parameter that the call does not have."""
    return invalid(param, f"Received unknown parameter: {param}", "parameter_unknown")


def not_imitated(param: str) -> Refusal:
    """Return the refusal of a parameter that Stripe has, and this stand-in does not imitate."""
    return invalid(param, f"paysession-sandbox does not imitate the parameter {param}", "parameter_unknown")


def missing(param: str) -> Refusal:
    """Return the refusal for want of a parameter."""
    return invalid(param, f"Missing required param: {param}.", "parameter_missing")


def no_such(kind: str, identifier: str, *, param: str, status: int = 400) -> Refusal:
    """Return the refusal of an id that names nothing: 404 in a path, 400 in a parameter."""
    return Refusal(status, code="resource_missing", param=param, message=f"No such {kind}: '{identifier}'")


def unauthorized(message: str) -> Refusal:
    """Return the refusal of a key."""
    return Refusal(401, message=message)


def unexpected_state(kind: str, shown: Json, act: str, allowed: Iterable[str]) -> Refusal:
    """Return the refusal for the state of a PaymentIntent or a SetupIntent, which comes with it.

    Args:
        kind: ``payment_intent`` or ``setup_intent``.
        shown: It, as it is shown.
        act: What was asked for.
        allowed: The statuses in which that is possible.
    """
    message = f"{shown['id']} is {shown['status']}: {act} is possible only while it is {', '.join(allowed)}."
    return Refusal(400, executed=True, code=f"{kind}_unexpected_state", message=message, **{kind: shown})


def card_error(code: str, message: str, decline_code: str | None = None, **more: Any) -> Refusal:
    """Return the refusal of a card, by its bank or for its details."""
    extra = {} if decline_code is None else {"decline_code": decline_code}
    return Refusal(402, executed=True, type="card_error", code=code, message=message, **extra, **more)
