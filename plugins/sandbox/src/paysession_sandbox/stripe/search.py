"""Searches: https://docs.stripe.com/search. What is new is found only after a while."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from paysession_sandbox.stripe.parameters import EXPAND, integer, read, required, text
from paysession_sandbox.stripe.refusals import invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from paysession_sandbox.stripe.account import Account
    from paysession_sandbox.stripe.wire import Json

__all__ = ["search"]

_SHAPE: Final = {"query": required(text()), "limit": integer(1, 100), "page": text(), "expand": EXPAND}
_CLAUSE: Final = re.compile(
    r"""\s*(?P<not>-)?(?P<field>metadata\[(?P<q>["'])(?P<key>[^"']+)(?P=q)\]|[a-z_]+)
    \s*(?P<op>:|~|>=|<=|>|<)\s*(?:(?P<vq>["'])(?P<text>(?:\\.|(?!(?P=vq)).)*)(?P=vq)|(?P<number>-?\d+)|(?P<null>null))
    \s*""",
    re.VERBOSE,
)
_JOIN: Final = re.compile(r"(AND|OR)\b", re.IGNORECASE)
_FIELDS: Final = (
    "amount",
    "created",
    "currency",
    "customer",
    "email",
    "name",
    "phone",
    "status",
    "payment_intent",
)
_MOST_CLAUSES: Final = 10


def search(account: Account, kind: str, params: Json, url: str) -> Json:
    """Return what a query finds, the newest first."""
    asked = read(params, _SHAPE)
    matches = _understood(asked["query"])
    seen_until = account.now - int(account.settings.search_lag.total_seconds())
    found = [row for row in account.all(kind) if row["created"] <= seen_until and matches(row)]
    limit = asked.get("limit", 10)
    begin = int(asked["page"]) if asked.get("page", "").isdigit() else 0
    rows = found[begin : begin + limit]
    more = len(found) > begin + limit
    return {
        "object": "search_result",
        "data": [account.show(row) for row in rows],
        "has_more": more,
        "next_page": str(begin + limit) if more else None,
        "url": url,
    }


def _understood(query: str) -> Callable[[Json], bool]:
    """Return the test that a query makes: clauses that are all joined by AND, or all by OR."""
    tests: list[Callable[[Json], bool]] = []
    joins: set[str] = set()
    place = 0
    while True:
        clause = _CLAUSE.match(query, place)
        if clause is None:
            raise invalid("query", "We were unable to parse your search query.")
        tests.append(_test(clause))
        place = clause.end()
        if place == len(query):
            break
        join = _JOIN.match(query, place)
        if join is None:
            raise invalid("query", "We were unable to parse your search query.")
        joins.add(join[1].upper())
        place = join.end()
    if len(joins) > 1 or len(tests) > _MOST_CLAUSES:
        raise invalid("query", "A query has at most ten clauses, joined by AND or by OR, not by both.")
    if joins == {"OR"}:
        return lambda row: any(test(row) for test in tests)
    return lambda row: all(test(row) for test in tests)


def _test(clause: re.Match[str]) -> Callable[[Json], bool]:
    field, key, sign = clause["field"], clause["key"], clause["op"]
    if key is None and field not in _FIELDS:
        raise invalid("query", f"Field `{field}` is an unsupported search field.")
    wanted: Any = None if clause["null"] else clause["number"]
    if clause["text"] is not None:
        wanted = re.sub(r"\\(.)", r"\1", clause["text"])

    def matches(row: Json) -> bool:
        value: Any = row["metadata"].get(key) if key is not None else row.get(field)
        return _holds(value, sign, wanted) != bool(clause["not"])

    return matches


def _holds(value: str | int | None, sign: str, wanted: str | None) -> bool:
    if wanted is None or value is None:
        return wanted is None and value is None
    if sign == ":":
        return str(value).lower() == wanted.lower()
    if sign == "~":
        return wanted.lower() in str(value).lower()
    if not isinstance(value, int) or not wanted.lstrip("-").isdigit():
        return False
    more = value - int(wanted)
    return {">": more > 0, "<": more < 0, ">=": more >= 0, "<=": more <= 0}[sign]
