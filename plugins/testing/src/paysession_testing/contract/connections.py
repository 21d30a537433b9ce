"""How a provider sends: to its gateway only, with its own key, and for an answer that ends."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import pytest

from paysession import Kind, NotApplied, OutcomeUnknown, ProviderError
from paysession_testing.contract.faults import KINDS
from paysession_testing.contract.lives import live
from paysession_testing.contract.verdict import broken, not_declared
from paysession_testing.contract.wire import FAULTS, HUGE, PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from paysession_testing.contract.bench import Bench
    from paysession_testing.contract.recorder import Call

__all__ = ["ConnectionsContract"]

_HOOKS: Final = [*KINDS, "retrieve"]
_LOGIN, _PASSWORD = "somebody", "of-another-account"


class ConnectionsContract:
    """Redirects, other credentials, and answers without an end."""

    @pytest.mark.parametrize("fault", ["302", "307"])
    @pytest.mark.parametrize("hook", _HOOKS)
    def test_a_redirect_is_not_followed(self, bench: Bench, hook: str, fault: str) -> None:
        """A redirect would take the request, and perhaps the key, to another host: it proves nothing."""
        call, write = _struck(bench, hook, fault)
        if bench.wire.strayed:
            stray = bench.wire.strayed[0]
            held = " with a secret" if any(secret in stray.text for secret in bench.secrets()) else ""
            broken(
                "A provider sends to its gateway only.",
                found=f"{FAULTS[fault]}, and {stray.method} was sent there{held}",
                fix="follow no redirects, on each request: allow_redirects=False with requests, "
                "redirect=False with urllib3; an SDK has a setting for it, or gets a session that does not",
            )
        _must_be_unknown(call, fault, write=write)

    def test_a_netrc_file_changes_nothing(
        self, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An entry of `~/.netrc` replaces no credentials: the money would move in another account."""
        bench.needs_gateway()
        bench.needs_feature("http")
        netrc = tmp_path / ".netrc"
        netrc.write_text(f"default login {_LOGIN} password {_PASSWORD}\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NETRC", str(netrc))
        bench.start()
        basic = b64encode(f"{_LOGIN}:{_PASSWORD}".encode()).decode()
        # What comes of a life with the wrong key is not the point.
        with suppress(Exception, pytest.fail.Exception):
            live(bench)
        if not bench.wire.requests:
            not_declared("the provider sends nothing")
        if any(basic in request.text or _PASSWORD in request.text for request in bench.wire.requests):
            broken(
                "A provider sends its own credentials.",
                found="those of ~/.netrc were sent",
                fix="set trust_env = False on a session of requests, or an `auth` of your own, which it "
                "prefers to ~/.netrc",
            )

    @pytest.mark.parametrize("hook", _HOOKS)
    def test_an_answer_that_drips_ends_in_time(self, bench: Bench, hook: str) -> None:
        """A byte now and then resets each timeout of a socket: the whole answer needs one."""
        call, write = _struck(bench, hook, "drip")
        limit = bench.capabilities.call_limit.total_seconds()
        if bench.wire.waited_out or call.took > limit:
            broken(
                "A hook answers within call_limit.",
                found=f"{FAULTS['drip']}: {hook} took {call.took:.1f} s; call_limit is {limit:.1f} s, "
                f"and the wire waits for {PATIENCE:.0f} s",
                fix="limit the time of the whole answer: paysession.bounded does for http.client, urllib3 "
                "and requests",
            )
        _must_be_unknown(call, "drip", write=write)

    @pytest.mark.parametrize("hook", _HOOKS)
    def test_a_huge_answer_is_not_read(self, bench: Bench, hook: str) -> None:
        """An answer is read up to a size: one without a bound takes the memory of the whole host."""
        call, write = _struck(bench, hook, "huge")
        if bench.wire.read_out:
            broken(
                "The size of an answer is limited.",
                found=f"{hook} read {HUGE:,} bytes",
                fix="read a few megabytes at most: paysession.bounded does for http.client, urllib3 and "
                "requests",
            )
        _must_be_unknown(call, "huge", write=write)


def _struck(bench: Bench, hook: str, fault: str) -> tuple[Call, bool]:
    """Let the requests of a hook fail; return its call, and whether what failed could cause an effect."""
    if hook != "retrieve":
        bench.needs(Kind(hook))
        bench.needs_gateway()
        strike = bench.strike(Kind(hook), fault)
        return strike.call, strike.on == "write"
    bench.needs_lookup()
    bench.needs_feature("http")
    if not bench.wire.lookups_fail:
        not_declared("this wire cannot make lookups fail")
    session = bench.captured()
    bench.wire.fail(fault, on="any")
    with suppress(ProviderError):
        bench.handle.retrieve(session, None)
    bench.wire.clear()
    return bench.last("retrieve"), False


def _must_be_unknown(call: Call, fault: str, *, write: bool) -> None:
    allowed = OutcomeUnknown if write else (OutcomeUnknown, NotApplied)
    if not isinstance(call.error, allowed):
        right = "OutcomeUnknown: it may have happened" if write else "NotApplied or OutcomeUnknown"
        broken(
            f"When {FAULTS[fault]}, the hook raises {right}.",
            found=call.shown,
            fix="take it for an answer that cannot be read",
        )
