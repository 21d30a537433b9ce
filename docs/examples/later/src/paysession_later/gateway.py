"""Later's API: a request at a time, each failure sorted by what certainly happened."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from paysession.provider import Declined, NotApplied, OutcomeUnknown, bounded_pools

if TYPE_CHECKING:
    import urllib3

    from paysession.provider import Endpoint, Secret

__all__ = ["Gateway", "Payment"]

Payment = dict[str, Any]
"""A payment, a capture or a refund as Later shows it."""

_DECLINED: Final = 402
_STATE: Final = 409


class Gateway:
    """Sends requests to Later. Thread-safe; the client is built when it is first used.

    Args:
        api_key: The account's secret key.
        api_base: Where Later listens.
        timeout: Seconds to wait for a connection, and then for the whole answer.
    """

    def __init__(self, api_key: Secret, api_base: Endpoint, timeout: float) -> None:
        self._api_key = api_key
        self._api_base = api_base.rstrip("/")
        self._timeout = timeout
        self._pool: urllib3.PoolManager | None = None
        self._lock = threading.Lock()

    def create(self, body: Payment, key: str) -> Payment:
        """Make a payment."""
        return self._write("/payments", body, key)

    def act(self, payment: str, verb: str, body: Payment, key: str) -> Payment:
        """Do something with a payment: ``authorize``, ``captures``, ``refunds``, ``cancel``, ``amount``."""
        return self._write(f"/payments/{payment}/{verb}", body, key)

    def get(self, payment: str) -> Payment | None:
        """Return a payment by Later's id; None: there is certainly none."""
        return self._read(f"/payments/{payment}")

    def find(self, ours: str) -> Payment | None:
        """Return the payment that carries our id; None: there is certainly none."""
        found = self._read(f"/payments?reference={ours}")
        return next(iter(found["payments"]), None) if found else None

    def close(self) -> None:
        """Release all connections."""
        with self._lock:
            if self._pool is not None:
                self._pool.clear()

    # --- what happened ------------------------------------------------------------------------------

    def _write(self, path: str, body: Payment, key: str) -> Payment:
        """Send a request that can cause an effect.

        Raises:
            Declined: Later refused for certain.
            NotApplied: Nothing was sent, or Later says that it did nothing.
            OutcomeUnknown: It may have happened.
        """
        status, told, headers = self._send("POST", path, body, key)
        error = told.get("error", "") if told is not None else ""
        if status in (200, 201) and told is not None:
            return told
        if status == _DECLINED:
            raise Declined(str(error) or "declined", "the payer's bank refused")
        if status in (400, 401, 403, 404, 422):
            raise NotApplied(f"Later did not take the request: {status} {error}")
        if status == 429:  # noqa: PLR2004 - too many requests: refused before anything was done
            wait = headers.get("Retry-After", "")
            after = timedelta(seconds=int(wait)) if wait.isdigit() else None
            raise NotApplied("Later asks to wait", retry_after=after)
        # A refusal for the payment's state may be our own earlier request; 5xx may be anything.
        what = f"the payment's state does not allow it: {error}" if status == _STATE else "an unclear answer"
        raise OutcomeUnknown(f"Later answered {status}: {what}")

    def _read(self, path: str) -> Payment | None:
        """Look something up. A lookup changes nothing, so whatever fails is not applied."""
        try:
            status, told, _ = self._send("GET", path, None, None)
        except OutcomeUnknown as error:
            raise NotApplied(f"the lookup failed: {error}") from None
        if status == 404 and told is not None:  # noqa: PLR2004 - a proxy's 404 is none
            return None
        if status != 200 or told is None:  # noqa: PLR2004 - whatever else it is
            raise NotApplied(f"the lookup was answered by {status}")
        return told

    def _send(
        self, method: str, path: str, body: Payment | None, key: str | None
    ) -> tuple[int, Payment | None, urllib3.HTTPHeaderDict]:
        import urllib3  # noqa: PLC0415 - who does not use Later does not pay for it

        headers = {"Authorization": f"Bearer {self._api_key.reveal()}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        try:
            # One try only: whether a request may be sent again is for the core to say. A redirect would
            # take the key, or the request, to another server.
            answer = self._client().request(
                method, self._api_base + path, json=body, headers=headers, redirect=False
            )
            told: Any = answer.json()
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as error:
            raise NotApplied(f"Later cannot be reached: {type(error).__name__}") from None
        except urllib3.exceptions.HTTPError as error:
            raise OutcomeUnknown(f"no answer from Later: {type(error).__name__}") from None
        except ValueError:
            told = None
        return answer.status, told if isinstance(told, dict) else None, answer.headers

    def _client(self) -> urllib3.PoolManager:
        import urllib3  # noqa: PLC0415 - as above

        with self._lock:
            if self._pool is None:
                timeout = urllib3.Timeout(connect=self._timeout, read=self._timeout)
                self._pool = urllib3.PoolManager(maxsize=32, retries=False, timeout=timeout)
                pools = self._pool.pool_classes_by_scheme
                self._pool.pool_classes_by_scheme = bounded_pools(pools)  # no answer is endless
            return self._pool
