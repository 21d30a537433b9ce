"""What a provider says when the wire fails: declined, not applied, or unknown, and never the wrong one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import pytest

from paysession import (
    ConfigurationError,
    Declined,
    Kind,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    PaysessionError,
    ProviderError,
)
from paysession.provider import Snapshot
from paysession_testing.contract.verdict import broken, not_declared
from paysession_testing.contract.wire import FAULTS, PATIENCE

if TYPE_CHECKING:
    from paysession_testing.contract.bench import Bench, Strike

__all__ = ["KINDS", "FaultsContract"]

KINDS: Final = [str(kind) for kind in Kind if kind is not Kind.CHARGEBACK]

_UNKNOWN: Final = (
    "reset",
    "reset_after",
    "drop_before",
    "drop_after",
    "500_before",
    "500_after",
    "503_html",
    "html",
    "empty",
    "list",
    "cut",
)
_LOOKUPS: Final = (
    "drop_before",
    "500_before",
    "503_html",
    "404_html",
    "429",
    "408",
    "html",
    "empty",
    "list",
    "cut",
)

_DONE: Final = ("authorized", "captured", "refunded")


class FaultsContract:
    """The three ways to say no."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_refused_connection_is_not_applied(self, bench: Bench, kind: str) -> None:
        """Nothing was sent, so nothing happened: `NotApplied`, and it may be tried again."""
        bench.needs(Kind(kind))
        bench.needs_gateway()
        strike = bench.strike(Kind(kind), "refused")
        if not isinstance(strike.call.error, NotApplied):
            _missorted(strike, "refused", "NotApplied: nothing was sent")

    @pytest.mark.parametrize("fault", _UNKNOWN)
    @pytest.mark.parametrize("kind", KINDS)
    def test_what_may_have_happened_is_unknown(self, bench: Bench, kind: str, fault: str) -> None:
        """A cut connection, a 5xx or an answer that cannot be read: `OutcomeUnknown`."""
        bench.needs(Kind(kind))
        bench.needs_gateway()
        strike = bench.strike(Kind(kind), fault)
        # A request that only looks changes nothing: if that fails the operation did not happen.
        allowed = OutcomeUnknown if strike.on == "write" else (OutcomeUnknown, NotApplied)
        if not isinstance(strike.call.error, allowed):
            _missorted(strike, fault, "OutcomeUnknown: it may have happened")

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_timeout_is_unknown_and_in_time(self, bench: Bench, kind: str) -> None:
        """No answer: `OutcomeUnknown`, within the time that the capabilities declare."""
        bench.needs(Kind(kind))
        bench.needs_gateway()
        began = time.monotonic()
        strike = bench.strike(Kind(kind), "timeout")
        took = time.monotonic() - began
        if bench.wire.waited_out:
            broken(
                "Every request has a timeout.",
                found=f"the provider was still waiting after {PATIENCE:.0f} seconds",
                fix="set a timeout on every request, and a short one in make_provider",
            )
        limit = bench.capabilities.call_limit.total_seconds()
        if took > limit:
            broken(
                "A hook answers within call_limit.",
                found=f"{kind} took {took:.1f} s; call_limit is {limit:.1f} s",
                fix="declare call_limit= as the timeout times the number of requests and retries of a hook",
            )
        allowed = OutcomeUnknown if strike.on == "write" else (OutcomeUnknown, NotApplied)
        if not isinstance(strike.call.error, allowed):
            _missorted(strike, "timeout", "OutcomeUnknown: it may have happened")

    @pytest.mark.parametrize("fault", ["408", "409", "429"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_come_back_later_is_no_decline(self, bench: Bench, kind: str, fault: str) -> None:
        """408, 409 and 429 refuse this moment, not the payment: never `Declined`."""
        bench.needs(Kind(kind))
        bench.needs_gateway()
        strike = bench.strike(Kind(kind), fault)
        if not isinstance(strike.call.error, NotApplied | OutcomeUnknown):
            _missorted(
                strike, fault, "NotApplied for 429; OutcomeUnknown where it may be our own other request"
            )

    @pytest.mark.parametrize("fault", ["401", "403"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_key_that_is_refused_is_no_decline(self, bench: Bench, kind: str, fault: str) -> None:
        """401 and 403 refuse our key, not the payment: once it is right, the same request is carried out."""
        bench.needs(Kind(kind))
        bench.needs_gateway()
        strike = bench.strike(Kind(kind), fault, key="with-a-key-that-is-refused")
        if isinstance(strike.call.error, Declined):
            _missorted(
                strike, fault, "ConfigurationError or NotApplied: the key is wrong, or may not do this"
            )
        known = isinstance(strike.call.error, ConfigurationError | NotApplied)
        if Kind(kind) is Kind.INITIATE or not known:
            return  # another order is another request; what is in doubt is looked up
        session = bench.payments.get(strike.session_id)
        try:
            session = bench.act(Kind(kind), session, key=f"with-a-key-that-is-refused-{strike.on}")
        except PaysessionError as error:
            broken(
                "What a wrong key had refused is carried out once the key is right.",
                found=f"the second attempt: {error}; {bench.last(kind).shown}",
                fix="keep nothing of a refused key, such as its access token",
            )
        bench.compare(bench.finished(session))

    @pytest.mark.parametrize("fault", _LOOKUPS)
    def test_a_failed_lookup_proves_nothing(self, bench: Bench, fault: str) -> None:
        """If the gateway cannot be asked, `retrieve` raises; it never says that there is nothing."""
        bench.needs_lookup()
        bench.needs_feature("http")
        if not bench.wire.lookups_fail:
            not_declared("this wire cannot make lookups fail")
        session = bench.captured()
        bench.wire.fail(fault, on="any")
        try:
            snapshot = bench.handle.retrieve(session, None)
        except ProviderError:
            snapshot = None
        finally:
            bench.wire.clear()
        call = bench.last("retrieve")
        if not bench.wire.struck:
            broken(
                "`retrieve` asks the gateway.",
                found="it answered without a request",
                fix="fetch the object by session.reference",
            )
        if isinstance(snapshot, Snapshot) or not isinstance(call.error, NotApplied | OutcomeUnknown):
            broken(
                "A lookup that fails proves nothing: `retrieve` raises NotApplied or OutcomeUnknown.",
                found=f"{FAULTS[fault]}; {call.shown}",
                fix="answer Snapshot.absent() only on the gateway's own 404, which its body tells from a "
                "proxy's; raise on everything else",
            )

    @pytest.mark.parametrize("fault", ["wrong_amount", "wrong_currency"])
    @pytest.mark.parametrize("kind", ["authorize", "capture", "refund"])
    def test_a_wrong_amount_is_not_believed(self, bench: Bench, kind: str, fault: str) -> None:
        """The amount in an answer is the gateway's word, not a repetition of what was asked."""
        bench.needs(Kind(kind))
        bench.needs_gateway()
        strike = bench.strike(Kind(kind), fault)
        answer = strike.call.answer
        if isinstance(answer, Outcome) and answer.answer in _DONE:
            told = answer.amount
            if told is None or told == bench.gateway.amount:
                broken(
                    "The amount and the currency that come back are compared with what was asked.",
                    found=f"{FAULTS[fault]}, and {strike.call.shown}",
                    fix="answer with the amount that the gateway stated, such as "
                    "Outcome.captured(Money.from_minor(answer['amount'], ...))",
                )
        if strike.on == "write":  # a lookup that lies again when the core asks is the gateway's word
            bench.compare(bench.settle(strike.session_id))

    @pytest.mark.parametrize("kind", ["authorize", "capture", "refund"])
    def test_an_unknown_status_is_not_believed(self, bench: Bench, kind: str) -> None:
        """A status that the provider does not know says neither that it happened nor that it did not."""
        bench.needs(Kind(kind))
        bench.needs_gateway()
        strike = bench.strike(Kind(kind), "unknown_status")
        answer, error = strike.call.answer, strike.call.error
        # Of a capture or a refund the amounts in the answer may vouch, whatever the object's status is.
        believed = kind == "authorize" and isinstance(answer, Outcome) and answer.answer in _DONE
        if believed or isinstance(error, Declined if strike.on == "read" else Declined | NotApplied):
            broken(
                "A status that nobody knows is no yes and no no: the hook raises OutcomeUnknown.",
                found=strike.call.shown,
                fix="look the status up in a table, and raise OutcomeUnknown for what is not in it",
            )


def _missorted(strike: Strike, fault: str, right: str) -> None:
    error = strike.call.error
    wrong = " (a decline is final: the shop would charge again)" if isinstance(error, Declined) else ""
    broken(
        f"When {FAULTS[fault]}, the hook raises {right}.",
        found=f"{strike.call.shown}{wrong}",
        fix="sort every failure of a request in one place: by what certainly happened, not by its class",
    )
