"""Events and webhook endpoints: https://docs.stripe.com/api/events, https://docs.stripe.com/webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paysession_sandbox.stripe.account import API_VERSION, token
from paysession_sandbox.stripe.parameters import (
    EXPAND,
    anything,
    boolean,
    clearable,
    integer,
    left_out,
    list_of,
    merged,
    metadata,
    pick,
    read,
    required,
    text,
    url,
)

if TYPE_CHECKING:
    from paysession_sandbox.stripe.account import Account
    from paysession_sandbox.stripe.wire import Json

__all__ = ["listed", "listed_endpoints", "retrieve", "retrieve_endpoint"]

_THIRTY_DAYS: Final = 30 * 86_400
_LIST: Final = {
    "type": text(),
    "types": list_of(text()),
    "delivery_success": boolean,
    "created": anything,
    "limit": integer(1, 100),
    "starting_after": text(),
    "ending_before": text(),
    "expand": EXPAND,
}
_KIND: Final = text(pattern=r"\*|[a-z_]+(\.[a-z_]+)+")
"""All events, or those of one kind."""

_PAGE: Final = {"limit": integer(1, 100), "starting_after": text(), "ending_before": text(), "expand": EXPAND}


def retrieve(account: Account, params: Json, identifier: str) -> Json:
    """GET /v1/events/{id}."""
    read(params, {"expand": EXPAND})
    return account.show(account.get("event", identifier))


def listed(account: Account, params: Json) -> Json:
    """GET /v1/events: those of the last 30 days."""
    asked = read(params, _LIST)

    def wanted(row: Json) -> bool:
        kinds = asked.get("types") or ([asked["type"]] if "type" in asked else ["*"])
        young = row["created"] > account.now - _THIRTY_DAYS
        named = any(_matches(kind, row["type"]) for kind in kinds)
        delivered = "delivery_success" not in asked or asked["delivery_success"] == (
            row["pending_webhooks"] == 0
        )
        return young and named and delivered

    return account.listed("event", asked, wanted, url="/v1/events")


def _matches(wanted: str, kind: str) -> bool:
    return wanted in ("*", kind) or (wanted.endswith(".*") and kind.startswith(wanted[:-1]))


def concerns(endpoint: Json, event: Json) -> bool:
    """Return whether an endpoint wants an event."""
    return endpoint["status"] == "enabled" and any(
        kind in ("*", event["type"]) for kind in endpoint["enabled_events"]
    )


def create_endpoint(account: Account, params: Json) -> Json:
    """POST /v1/webhook_endpoints: the only answer that shows its secret."""
    asked = read(
        params,
        {
            "url": required(url),
            "enabled_events": required(list_of(_KIND)),
            "description": clearable(text()),
            "metadata": metadata,
            "api_version": text(),
            "connect": left_out,
            "expand": EXPAND,
        },
    )
    endpoint = account.new(
        "webhook_endpoint",
        {
            "api_version": asked.get("api_version", API_VERSION),
            "application": None,
            "description": asked.get("description"),
            "enabled_events": asked["enabled_events"],
            "metadata": merged({}, asked.get("metadata")),
            "status": "enabled",
            "url": asked["url"],
            "_secret": f"whsec_{token(32)}",
        },
    )
    return {**account.show(endpoint), "secret": endpoint["_secret"]}


def retrieve_endpoint(account: Account, params: Json, identifier: str) -> Json:
    """GET /v1/webhook_endpoints/{id}."""
    read(params, {"expand": EXPAND})
    return account.show(account.get("webhook_endpoint", identifier))


def update_endpoint(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/webhook_endpoints/{id}."""
    shape = {
        "url": url,
        "enabled_events": list_of(_KIND),
        "description": clearable(text()),
        "disabled": boolean,
    }
    asked = read(params, {**shape, "metadata": metadata, "expand": EXPAND})
    endpoint = account.get("webhook_endpoint", identifier)
    endpoint.update(pick(asked, ["url", "enabled_events", "description"]))
    endpoint["metadata"] = merged(endpoint["metadata"], asked.get("metadata"))
    if "disabled" in asked:
        endpoint["status"] = "disabled" if asked["disabled"] else "enabled"
    return account.show(endpoint)


def delete_endpoint(account: Account, params: Json, identifier: str) -> Json:
    """DELETE /v1/webhook_endpoints/{id}."""
    read(params, {})
    account.get("webhook_endpoint", identifier)
    account.objects["webhook_endpoint"].pop(identifier)
    return {"id": identifier, "object": "webhook_endpoint", "deleted": True}


def listed_endpoints(account: Account, params: Json) -> Json:
    """GET /v1/webhook_endpoints."""
    return account.listed("webhook_endpoint", read(params, _PAGE), url="/v1/webhook_endpoints")
