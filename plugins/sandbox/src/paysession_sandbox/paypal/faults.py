"""What goes wrong on the way to the fake PayPal and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from attrs import Factory, field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FAULTS", "Fault", "name_of"]


@frozen(kw_only=True)
class Fault:
    """One thing that goes wrong with a call.

    Attributes:
        then: ``drop`` closes the connection without an answer, ``hang`` never answers,
            ``answer`` answers with what stands here.
        committed: The call is carried out first: only its answer is lost.
        status: The status of the answer.
        body: The body of the answer.
        headers: Headers of the answer.
    """

    then: str = "answer"
    committed: bool = False
    status: int = 500
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = Factory(dict[str, str])

    @classmethod
    def drop(cls, *, committed: bool = False) -> Fault:
        """Close the connection without an answer."""
        return cls(then="drop", committed=committed)

    @classmethod
    def hang(cls, *, committed: bool = False) -> Fault:
        """Never answer."""
        return cls(then="hang", committed=committed)

    @classmethod
    def answer(
        cls,
        status: int,
        body: bytes = b"",
        *,
        committed: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Fault:
        """Answer with something else than PayPal would."""
        return cls(status=status, body=body, committed=committed, headers=headers or {})


def _error(status: int, name: str) -> bytes:
    message = f"HTTP {status}, as it was asked for."
    return json.dumps({"name": name, "message": message, "debug_id": "f00d", "details": []}).encode()


_PAGE: Final = b"<html><h1>502 Bad Gateway</h1></html>"
_ERRORS: Final = {
    400: "INVALID_REQUEST",
    401: "AUTHENTICATION_FAILURE",
    403: "NOT_AUTHORIZED",
    404: "RESOURCE_NOT_FOUND",
    408: "REQUEST_TIMEOUT",
    409: "RESOURCE_CONFLICT",
    429: "RATE_LIMIT_REACHED",
    503: "SERVICE_UNAVAILABLE",
}

FAULTS: Final[Mapping[str, Fault]] = {
    "drop_before": Fault.drop(),
    "drop_after": Fault.drop(committed=True),
    "hang_before": Fault.hang(),
    "hang_after": Fault.hang(committed=True),
    **{str(status): Fault.answer(status, _error(status, name)) for status, name in _ERRORS.items()},
    "500_before": Fault.answer(500, _error(500, "INTERNAL_SERVER_ERROR")),
    "500_after": Fault.answer(500, _error(500, "INTERNAL_SERVER_ERROR"), committed=True),
    "html_before": Fault.answer(502, _PAGE, headers={"Content-Type": "text/html"}),
    "html_after": Fault.answer(502, _PAGE, headers={"Content-Type": "text/html"}, committed=True),
    "redirect": Fault.answer(302, headers={"Location": "http://127.0.0.1:9/"}),
    "garbage": Fault.answer(200, b"<html>it works</html>", committed=True),
    "list": Fault.answer(200, b"[]", committed=True),
    "null": Fault.answer(200, b"null", committed=True),
    "truncated": Fault.answer(200, b'{"id": "C00000', committed=True),
}
"""What may go wrong, by its name. With what ends in ``after``, and with answers of status 200, the call is
carried out."""


def name_of(fault: Fault) -> str:
    """Return the name of a fault; of one of a test's own, what happens then."""
    return next((name for name, known in FAULTS.items() if known == fault), fault.then)
