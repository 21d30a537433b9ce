"""Vipps' API on the wire: each request has to be one that was expected, to the last field."""

from collections.abc import Iterator
from typing import Any

import pytest
import responses
from paysession_vipps import Vipps
from responses import matchers

BASE = "https://apitest.vipps.no"
KEYS = {
    "client_id": "00000000-0000-0000-0000-000000000000",
    "client_secret": "AAAAAAAAAAAAAAAAAAAAAA==",
}
HEADERS = {
    "Ocp-Apim-Subscription-Key": "0f14ebcab0ec4b29ae0cb90d91b4a84a",
    "Merchant-Serial-Number": "123456",
    "Vipps-System-Name": "paysession",
    "Vipps-System-Version": "0.1",
    "Vipps-System-Plugin-Name": "paysession-vipps",
    "Vipps-System-Plugin-Version": "0.1.0",
}
TOKEN = {
    "token_type": "Bearer",
    "expires_in": "86398",
    "expires_on": "1495271273",
    "access_token": "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1Ni",
}
BEARER = {"Authorization": f"Bearer {TOKEN['access_token']}"}


@pytest.fixture
def vipps() -> Vipps:
    return Vipps(
        **KEYS,
        subscription_key=HEADERS["Ocp-Apim-Subscription-Key"],
        merchant_serial_number=HEADERS["Merchant-Serial-Number"],
        api_base=BASE,
        timeout=7.0,
    )


class Wire:
    """What is answered; a token is, unless another answer to that is given."""

    def __init__(self, mock: responses.RequestsMock) -> None:
        self._mock = mock
        self.token()

    def token(self, status: int = 200, told: Any = TOKEN) -> None:
        self._mock.upsert(
            "POST",
            f"{BASE}/accesstoken/get",
            json=told,
            status=status,
            match=[matchers.header_matcher(HEADERS | KEYS)],
        )

    def get(self, path: str, told: Any, status: int = 200) -> None:
        match = [matchers.header_matcher(HEADERS | BEARER)]
        self._mock.get(BASE + path, json=told, status=status, match=match)

    def post(
        self,
        path: str,
        body: dict[str, Any],
        key: str,
        told: Any,
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> None:
        sent = HEADERS | BEARER | {"Idempotency-Key": key, "Content-Type": "application/json"}
        match = [matchers.header_matcher(sent), matchers.json_params_matcher(body)]
        answer: dict[str, Any] = {"body" if isinstance(told, Exception | str) else "json": told}
        self._mock.post(BASE + path, status=status, headers=headers, match=match, **answer)

    @property
    def sent(self) -> list[str]:
        return [f"{call.request.method} {call.request.url.removeprefix(BASE)}" for call in self._mock.calls]


@pytest.fixture
def wire() -> Iterator[Wire]:
    with responses.RequestsMock() as mock:
        yield Wire(mock)
        assert {call.request.req_kwargs["timeout"] for call in mock.calls} == {7.0}
