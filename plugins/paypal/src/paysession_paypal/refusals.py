"""What PayPal's refusals mean: declined, not applied, or unknown.

By HTTP status first, then by PayPal's ``issue``, whose names come from PayPal's OpenAPI files and
https://developer.paypal.com/api/rest/reference/orders/v2/errors/.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from paysession.provider import Declined, NotApplied, OutcomeUnknown
from paysession_paypal.document import as_list, as_object, as_text

if TYPE_CHECKING:
    from paysession_paypal.document import Document
    from paysession_paypal.wire import Reply

__all__ = [
    "CANNOT_BE_VOIDED",
    "EXPIRED",
    "NOT_APPROVED",
    "OVER",
    "PAYER_MUST_ACT",
    "STATE",
    "StateRefusal",
    "refusal",
]

STATE: Final = frozenset(
    {
        "AUTHORIZATION_ALREADY_CAPTURED",
        "AUTHORIZATION_VOIDED",
        "CAPTURE_FULLY_REFUNDED",
        "DUPLICATE_INVOICE_ID",
        "DUPLICATE_REQUEST_ID",
        "MAX_AUTHORIZATION_COUNT_EXCEEDED",
        "ORDER_ALREADY_AUTHORIZED",
        "ORDER_ALREADY_CAPTURED",
        "ORDER_ALREADY_COMPLETED",
        "ORDER_COMPLETED_OR_VOIDED",
        "ORDER_COMPLETION_IN_PROGRESS",
        "PREVIOUSLY_CAPTURED",
        "PREVIOUSLY_VOIDED",
    }
)
"""Refusals because of the object's state: our own earlier request may have brought it there, so
only a lookup shows. ``DUPLICATE_INVOICE_ID`` is one: every invoice id that we send is an operation's own.
``AUTHORIZATION_DENIED`` and ``AUTHORIZATION_EXPIRED`` are none: no request of ours denies or expires one."""

OVER: Final = frozenset({"AUTHORIZATION_DENIED", "AUTHORIZATION_EXPIRED", "AUTHORIZATION_VOIDED"})
"""Refusals of a capture because that authorization has ended: another may have taken its place."""

CANNOT_BE_VOIDED: Final = "CANNOT_BE_VOIDED"
"""A reauthorization is voided with the authorization that it continues."""

NOT_APPROVED: Final = "ORDER_NOT_APPROVED"

PAYER_MUST_ACT: Final = frozenset(
    {
        NOT_APPROVED,
        "INSTRUMENT_DECLINED",
        "PAYER_ACTION_REQUIRED",
        "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING",
    }
)
"""Refusals after which PayPal asks to send the payer to its page again."""

EXPIRED: Final = "ORDER_EXPIRED"


class StateRefusal(OutcomeUnknown):
    """PayPal refused because of the object's state, which our own earlier request may have caused.

    Args:
        issue: PayPal's word for it.
        message: The whole of it.
    """

    def __init__(self, issue: str, message: str) -> None:
        super().__init__(f"{issue}: {message}")
        self.issue = issue


_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY = 401, 403, 404, 429
_MOST: Final = 300
_CERTAIN: Final = frozenset({400, 403, 405, 406, 415, 422})


def refusal(reply: Reply) -> Declined | NotApplied | OutcomeUnknown:
    """Return what an answer that is no success says about the request.

    Args:
        reply: The answer; of any status but 2xx.
    """
    problem = reply.document
    issue, words = _issue(problem)
    debug_id = _short((problem or {}).get("debug_id")) or _short(reply.debug_id)
    message = f"{words or issue or 'PayPal answered'} (HTTP {reply.status}, debug_id {debug_id})"
    if reply.status == _UNAUTHORIZED:
        # Refused before it was executed, and with a new token, too.
        return NotApplied(f"PayPal refuses our credentials: {message}")
    if reply.status == _TOO_MANY:
        wait = timedelta(seconds=reply.retry_after) if reply.retry_after is not None else None
        return NotApplied(f"PayPal asks to wait: {message}", retry_after=wait)
    if issue is None:
        # Not PayPal's error format: some proxy's page. Whether it came before or after is not known.
        return OutcomeUnknown(f"PayPal's answer cannot be read: {message}")
    if reply.status == _NOT_FOUND:
        # Nothing was done; PayPal may not know an object yet that it has just made.
        return NotApplied(f"PayPal does not know the object: {issue}: {message}")
    if reply.status not in _CERTAIN:
        return OutcomeUnknown(f"{issue}: {message}")
    of_state = [word for word in _issues(problem) if word in STATE]
    if of_state:
        return StateRefusal(of_state[0], message)
    if reply.status == _FORBIDDEN:
        # Our account or app may not do this: it is nothing that the payer did.
        return NotApplied(f"PayPal refuses our permission: {issue}: {message}")
    return Declined(issue, message)


def _issue(problem: Document | None) -> tuple[str | None, str]:
    """Return the first issue (or the error's name) and PayPal's sentence for it."""
    if problem is None:
        return None, ""
    name, words = problem.get("name"), problem.get("message")
    first = next(iter(_details(problem)), None)
    if first is not None:
        name, words = first.get("issue", name), first.get("description", words)
    return _short(name), _short(words) or ""


def _issues(problem: Document | None) -> list[str]:
    """Return all that PayPal gives as reasons: ``details`` is a list, in no order that is promised."""
    rows = [problem or {}, *_details(problem or {})]
    return [text for row in rows for name in ("name", "issue") if (text := as_text(row.get(name)))]


def _details(problem: Document) -> list[Document]:
    return list(filter(None, map(as_object, as_list(problem.get("details")))))


def _short(value: object) -> str | None:
    """Return a text that is kept with an operation: whoever wrote it, it is one line of some length."""
    text = as_text(value)
    return " ".join(text.split())[:_MOST] or None if text is not None else None
