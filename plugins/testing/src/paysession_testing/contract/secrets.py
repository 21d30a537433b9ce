"""Secrets show nowhere: not in a repr, a log, an error, the ledger, or what a browser sees."""

from __future__ import annotations

import logging
import traceback
import warnings
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

import attrs

from paysession import Kind, PaysessionError
from paysession_testing.contract.lives import live
from paysession_testing.contract.verdict import broken, not_declared

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

    from paysession_testing.contract.bench import Bench

__all__ = ["SecretsContract"]

_FAULTS: Final = ("401", "drop_after", "500_after", "html", "429")


def _secrets(bench: Bench) -> list[str]:
    bench.needs_gateway()
    found = bench.secrets()
    if not found:
        not_declared("the provider sends no credentials, and no secret is named")
    return found


_HIDE: Final = "keep it as a Secret, and reveal() it only where it is sent; silence an SDK's logs"


def _search(where: str, text: str, secrets: Iterable[str], fix: str = _HIDE) -> None:
    for secret in secrets:
        if secret in text:
            place = text.index(secret)
            shown = text[max(0, place - 60) : place] + "***"
            broken(
                "Secrets show nowhere.",
                found=f"{where} shows one: ...{shown!r}",
                fix=fix,
            )


def _failures(bench: Bench) -> list[str]:
    """Let operations fail in several ways; return what the application gets to see of it."""
    seen: list[str] = []
    first = Kind.AUTHORIZE if "object" in bench.gateway.cannot else Kind.INITIATE
    kind = Kind.CAPTURE if bench.capabilities.capture != "none" else first
    for fault in _FAULTS:
        session = bench.ready_for(kind)
        bench.wire.fail(fault, on="any")
        try:
            bench.act(kind, session)
        except PaysessionError as error:
            seen += [
                "".join(traceback.format_exception(error)),
                repr(error),
                repr(error.args),
                repr(vars(error)),
            ]
        finally:
            bench.wire.clear()
    return seen


class SecretsContract:
    """Secrets."""

    def test_secrets_stay_out_of_reprs(self, bench: Bench) -> None:
        """A provider that is printed, or taken apart by attrs, shows no secret."""
        bench.authorized()
        secrets = _secrets(bench)
        plugin: Any = bench.plugin
        _search("repr(provider)", repr(plugin), secrets)
        _search("str(provider)", str(plugin), secrets)
        _search("repr(vars(provider))", repr(getattr(plugin, "__dict__", "")), secrets)
        fields = {field.name: getattr(plugin, field.name) for field in getattr(plugin, "__attrs_attrs__", ())}
        _search("the provider's fields", repr(fields), secrets)

    def test_secrets_stay_out_of_logs(
        self, bench: Bench, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """At level DEBUG, with everything that an SDK logs, a life and its failures show no secret."""
        with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            for name in list(logging.Logger.manager.loggerDict):
                logging.getLogger(name)  # those that an SDK made before, at whatever level
            live(bench)
            _failures(bench)
        secrets = _secrets(bench)
        out, err = capfd.readouterr()
        _search("the log", caplog.text, secrets)
        for record in caplog.records:
            _search(f"the log of {record.name}", f"{record.getMessage()} {record.args!r}", secrets)
        _search("what was printed", out + err, secrets)
        _search("a warning", "\n".join(str(warning.message) for warning in warned), secrets)

    def test_secrets_stay_out_of_errors(self, bench: Bench) -> None:
        """What an application gets to see of a failure shows no secret, though the gateway repeats it."""
        seen = _failures(bench)
        secrets = _secrets(bench)
        for text in seen:
            _search("an error", text, secrets)
        for doubt in bench.payments.in_doubt():
            _search("in_doubt()", repr(doubt), secrets)

    def test_secrets_stay_out_of_addresses(self, bench: Bench) -> None:
        """No request has a secret in its path or query, which every proxy and server on the way logs."""
        live(bench)
        secrets = _secrets(bench)
        for request in bench.wire.requests:
            address = unquote_plus(request.path)
            _search(f"the address of a {request.method}", address, secrets, fix="send it in a header")

    def test_secrets_stay_out_of_the_ledger(self, bench: Bench) -> None:
        """Sessions, operations, events, ``data`` and next actions hold no secret of the merchant."""
        actions: list[object] = [bench.initiate().next_action]
        live(bench)
        _failures(bench)
        secrets = _secrets(bench)
        for session in bench.store.sessions(limit=None):
            _search("a session", repr(attrs.asdict(session)), secrets)
            for row in bench.store.operations(session.id):
                _search("an operation", repr(attrs.asdict(row)), secrets)
            actions.append(session.next_action)
        _search("next_action, which a browser sees,", repr(actions), secrets)
        _search("an event", repr(bench.payments.events(limit=1000)), secrets)
