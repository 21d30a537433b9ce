"""What goes wrong on the way to the fake PayPal and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import Factory, field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Fault"]


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
