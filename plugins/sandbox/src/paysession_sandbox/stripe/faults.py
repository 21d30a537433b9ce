"""What goes wrong between a shop and Stripe, on demand."""

from __future__ import annotations

from typing import Final

from attrs import define

from paysession_sandbox.stripe.wire import Answer, Json

__all__ = ["AFTER", "BEFORE", "FAULTS", "Fault", "answer_of"]

BEFORE: Final = (
    "drop_before",
    "400",
    "401",
    "403",
    "404",
    "408",
    "409",
    "424",
    "429",
    "500_before",
    "503",
    "html_before",
    "lock_timeout",
    "redirect",
)
"""Nothing is carried out."""

AFTER: Final = (
    "drop_after",
    "500_after",
    "garbage",
    "hang",
    "html_after",
    "list",
    "null",
    "slow",
    "truncated",
)
"""It is carried out, and the answer is lost, late, or not an answer. ``slow``: the request is held while
it is being carried out, until `release`, and then answered."""

FAULTS: Final = (*BEFORE, *AFTER)


@define
class Fault:
    """A request that is to go wrong.

    Attributes:
        method: The HTTP method.
        path: How the path ends.
        name: What goes wrong: one of `FAULTS`.
        after: How many such requests go well before.
    """

    method: str
    path: str
    name: str
    after: int = 0


_ERRORS: Final[dict[str, tuple[int, Json]]] = {
    "400": (400, {"message": "It is refused."}),
    "401": (401, {"message": "Invalid API Key provided: sk_test_*****"}),
    "403": (403, {"message": "The provided key does not have the required permissions."}),
    "404": (404, {"code": "resource_missing", "message": "No such object."}),
    "408": (408, {"type": "api_error", "message": "The request took too long."}),
    "409": (409, {"type": "idempotency_error", "code": "idempotency_key_in_use", "message": "In use."}),
    "424": (424, {"type": "api_error", "message": "An external dependency failed."}),
    "429": (429, {"code": "rate_limit", "message": "Too many requests."}),
    "lock_timeout": (429, {"code": "lock_timeout", "message": "This object cannot be accessed right now."}),
    "500_before": (500, {"type": "api_error", "message": "An unknown error occurred."}),
    "500_after": (500, {"type": "api_error", "message": "An unknown error occurred."}),
    "503": (503, {"type": "api_error", "message": "The service is unavailable."}),
}
_PAGE: Final = b"<html><h1>502 Bad Gateway</h1></html>"


def answer_of(name: str, answer: Answer | None) -> Answer:
    """Return what is answered in place of the answer.

    Args:
        name: What goes wrong.
        answer: The answer, if the request was carried out.
    """
    if name in ("drop_before", "drop_after", "hang"):
        return Answer(None)
    if name in _ERRORS:
        status, error = _ERRORS[name]
        extra = {"Retry-After": "7"} if status == 429 else {}  # noqa: PLR2004 - too many requests
        body = {"error": {"type": "invalid_request_error", **error}}
        return Answer.json(status, body, {"Request-Id": "req_faulty", **extra})
    if name.startswith("html"):
        return Answer(502, _PAGE, {"Content-Type": "text/html"})
    if name == "redirect":
        return Answer(302, b"", {"Location": "http://127.0.0.1:9/"})
    whole = answer.body if answer is not None else b""
    instead = {"garbage": b"<html>it works</html>", "list": b"[]", "null": b"null"}.get(
        name, whole[: len(whole) // 2]
    )
    return Answer(200, instead)
