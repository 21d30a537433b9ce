"""localstripe in a process of its own. It is under the GPL: it is started, and never imported."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from paysession import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

__all__ = ["LocalStripe", "StripeRefusal"]

Json = dict[str, Any]

_ATTEMPTS: Final = 3
_PATIENCE: Final = 30.0
"""Seconds for it to start; it takes one or two."""
_POLL: Final = 0.05


class StripeRefusal(Exception):
    """An error as Stripe tells it."""

    def __init__(self, status: int, **error: Any) -> None:
        super().__init__(status, error)
        self.status = status
        self.error = {"type": "card_error" if status == 402 else "invalid_request_error", **error}  # noqa: PLR2004


class LocalStripe:
    """localstripe in a process of its own, on a free port, with nothing in it.

    It listens on all addresses of the machine, for as long as it runs: it holds no real data.
    """

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if find_spec("localstripe") is None:
            raise ConfigurationError(
                "localstripe is not installed: pip install localstripe, or give a test key "
                "in PAYSESSION_STRIPE__API_KEY to use Stripe itself"
            )
        said = ""
        for _ in range(_ATTEMPTS):  # the port may be taken between the question and its use
            self.port = _free_port()
            with tempfile.TemporaryFile() as errors:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                    [sys.executable, "-m", "localstripe", "--port", str(self.port), "--from-scratch"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env={**os.environ, "PYTHONWARNINGS": "ignore"},
                )
                if self._answers(self._process):
                    return self
                self.close()
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        raise ConfigurationError(f"localstripe does not start: {said or 'it does not answer'}")

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until it answers; whether it does."""
        deadline = time.monotonic() + _PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            try:
                self.call("GET", "/v1/payment_intents", {"limit": 1})
            except (OSError, HTTPException, ValueError):
                time.sleep(_POLL)
            else:
                return process.poll() is None  # else somebody else answered, who has the port
        return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the process."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def call(self, method: str, path: str, params: Mapping[str, Any] | None = None) -> Json:
        """Send a request.

        Raises:
            StripeRefusal: It answered with an error.
        """
        body = None
        if method == "GET":
            path += f"?{urlencode(params)}" if params else ""
        else:
            body = json.dumps(params or {})
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            headers = {"Authorization": "Bearer sk_test_sandbox", "Content-Type": "application/json"}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        found: Json = json.loads(text) if text else {}
        if response.status >= 400:  # noqa: PLR2004 - the errors of HTTP
            raise StripeRefusal(response.status, **found.get("error", {}))
        return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
