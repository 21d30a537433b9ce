"""Stripe on this machine: the API over a socket, with a bank, a dashboard and faults to play with."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from paysession_sandbox.clock import Clock
from paysession_sandbox.serving import Server
from paysession_sandbox.stripe import (
    attempts,
    checkout,
    console,
    disputes,
    pages,
    payment_intents,
    radar,
    refunds,
    setup_intents,
    state,
)
from paysession_sandbox.stripe.account import API_VERSION, Account, Settings
from paysession_sandbox.stripe.api import Api
from paysession_sandbox.stripe.deliveries import StripeDeliveries, body_of, sign
from paysession_sandbox.stripe.faults import BEFORE, FAULTS, Fault, answer_of
from paysession_sandbox.stripe.refusals import Refusal
from paysession_sandbox.stripe.wire import Answer, Json, Request, decode_form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta
    from pathlib import Path
    from types import TracebackType
    from typing import Self

__all__ = ["StripeSandbox"]

logger = logging.getLogger("paysession_sandbox")

_KEY: Final = "sk_test_sandbox"
_SCRIPTS: Final = ("/v3", "/stripe.js", f"/{API_VERSION.partition('.')[2]}/stripe.js")
"""Where the script is; at Stripe there is one for each release: https://docs.stripe.com/sdks/stripejs-versioning."""
_CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "authorization, content-type, idempotency-key, stripe-account",
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
}
"""What a browser needs to let a page of a shop speak to Stripe's API."""


class StripeSandbox:
    """Stripe on this machine: at an address of its own within the context, or called directly.

    It holds what an account holds, carries requests out as Stripe documents it, and lets you play
    the payer, the bank and whoever sits at the dashboard.

    Args:
        clock: The time; by default one that runs on from now.
        multicapture: Whether the account may capture one payment several times.
        search_lag: How long a new object cannot be found by a search.
        port: The port of the address; 0 for a free one.
        folder: A folder to keep everything in, from one start to the next; None keeps it in memory.

    Attributes:
        url: The address, within the context.
        clock: The time.
        settings: What the account may do, and how long things take.
        requests: Every request that came.
        effects: The path and the idempotency key of each request with a key that was carried out.
        deliveries: The events on their way to webhook endpoints.
    """

    api_key = _KEY
    publishable_key = "pk_test_sandbox"

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        multicapture: bool = True,
        search_lag: timedelta | None = None,
        port: int = 0,
        folder: Path | None = None,
    ) -> None:
        self.clock = clock or Clock(running=True)
        self.settings = Settings(multicapture=multicapture)
        if search_lag is not None:
            self.settings.search_lag = search_lag
        self.requests: list[Request] = []
        self.effects: list[tuple[str, str]] = []
        self.deliveries = StripeDeliveries(self.clock)
        self.deliveries.noted = self.changed
        self.api = Api(self.clock, self.settings, self.deliveries.add)
        self.url = ""
        self.canned: dict[str, Json] = {}
        self._port = port
        self._saving = threading.Lock()
        self._file = None if folder is None else folder / "stripe.json"
        if self._file is not None:
            state.load(self.api, self._file)
            self._send_what_waited()
        self._server: Server | None = None
        self._faults: list[Fault] = []
        self._refusals: list[tuple[str, Refusal]] = []
        self._released = threading.Event()
        self._holding = threading.Condition()
        self._held = 0
        self._guard = threading.Lock()

    def _send_what_waited(self) -> None:
        """Send the events that were not delivered when the stand-in was stopped."""
        for account in self.api.accounts.values():
            for event in account.objects.get("event", {}).values():
                if event["pending_webhooks"]:
                    event["pending_webhooks"] = 0
                    self.deliveries.add(account, event)

    def __enter__(self) -> Self:
        self._server = Server(self.handle, self._port)
        self.url = self.api.base = self._server.url
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop, and send nothing more."""
        self.release()
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.deliveries.close()

    # --- requests ---

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer a request as it came over the wire: to the API, or of a browser."""
        url = urlsplit(path)
        text = body.decode("utf-8", "replace") if method == "POST" else url.query
        request = Request(method, url.path, decode_form(text), dict(headers))
        try:
            if url.path.startswith("/v1/"):
                return self._of_api(request)
            return self._of_browser(request, decode_form(url.query))
        except Exception:
            logger.exception("%s %s: a mistake of paysession-sandbox", method, url.path)
            mistake = {"type": "api_error", "message": "a mistake of paysession-sandbox: see its log"}
            return Answer.json(500, {"error": mistake})

    def _of_api(self, request: Request) -> Answer:
        if request.method == "OPTIONS":  # a page of another origin asks whether it may
            return Answer(204, b"", {**_CORS, "Access-Control-Max-Age": "600"})
        answer = self.serve(request)
        if request.method != "GET":
            self.changed()
        return Answer(answer.status, answer.body, {**answer.headers, **_CORS})

    def _of_browser(self, request: Request, query: Json) -> Answer:
        if request.path.rstrip("/") in _SCRIPTS:
            script = files("paysession_sandbox.stripe").joinpath("stripe.js").read_bytes()
            return Answer(200, script, {"Content-Type": "text/javascript; charset=utf-8"})
        with self.api.lock:
            self.api.settle()
            if request.path == console.STATE:
                return Answer.json(200, console.state(self))
            if request.path == "/":
                return console.show(self)
            if request.path == console.ACT and request.method == "POST":
                return self._of_console(request)
            found = pages.answer(self.account(), request.method, request.path, {**query, **request.params})
        if request.method == "POST":
            self.changed()
        return found or Answer.json(404, {"error": {"message": f"There is no page {request.path}."}})

    def _of_console(self, request: Request) -> Answer:
        """Act for whoever sits at the page at ``/``, or a script; never for another page."""
        if request.headers.get("origin", self.url) != self.url:
            return Answer.json(403, {"error": {"message": "Only the page at / may do this."}})
        plain = "text/html" not in request.headers.get("accept", "")
        try:
            found = console.act(self, request.params)
        except Refusal as refusal:
            if plain:
                return Answer.json(refusal.status, {"error": refusal.error})
            return console.show(self, error=str(refusal.error.get("message")))
        return Answer.json(200, found) if plain else Answer(303, b"", {"Location": "/"})

    def changed(self) -> None:
        """Keep what the stand-in holds, if it is kept in a folder."""
        if self._file is not None:
            with self._saving:
                state.save(self.api, self._file)

    def environment(self) -> dict[str, str]:
        """Return the settings of a shop that uses this Stripe, as environment variables."""
        found = {
            "PAYSESSION_STRIPE__API_KEY": self.api_key,
            "PAYSESSION_STRIPE__PUBLISHABLE_KEY": self.publishable_key,
            "PAYSESSION_STRIPE__API_BASE": self.url,
        }
        secrets = [row["_secret"] for row in self.account().all("webhook_endpoint")]
        return {**found, **({"PAYSESSION_STRIPE__WEBHOOK_SECRET": secrets[0]} if secrets else {})}

    def serve(self, request: Request) -> Answer:
        """Answer a request; something may go wrong with it, if that was asked for."""
        with self._guard:
            self.requests.append(request)
            fault = self._due(request)
            refusal = self._refused(request)
        if fault in BEFORE:
            return answer_of(fault, None)
        if refusal is not None:
            return Answer.json(refusal.status, {"error": refusal.error})
        if request.method == "GET" and request.path in self.canned:
            return Answer.json(200, self.canned[request.path])
        begun = self._hold if fault == "slow" else None
        answer = self.api.answer(request, begun=begun)
        if request.key is not None and answer.status == 200 and "Idempotent-Replayed" not in answer.headers:  # noqa: PLR2004
            self.effects.append((request.path, request.key))
        if fault == "hang":
            self._hold()
        return answer if fault in (None, "slow") else answer_of(fault, answer)

    def call(self, method: str, path: str, params: Mapping[str, Any] | None = None, **headers: str) -> Json:
        """Make a call of the API in this process, with the secret key; nothing goes wrong with it.

        Raises:
            Refusal: It is refused.
        """
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        flat = _as_text(params or {})
        request = Request(method, path, flat, {"authorization": f"Bearer {_KEY}", **given})
        answer = self.api.answer(request)
        found: Json = json.loads(answer.body)
        if answer.status != 200:  # noqa: PLR2004 - the only good one
            error: Json = found["error"]
            error.pop("request_log_url", None)
            raise Refusal(answer.status or 0, **error)
        return found

    # --- faults ---

    def fail(
        self, fault: str, path: str = "", method: str = "POST", *, times: int = 1, after: int = 0
    ) -> None:
        """Let the next requests go wrong.

        Args:
            fault: What goes wrong: one of `FAULTS`.
            path: How their path ends.
            method: Their HTTP method.
            times: How many go wrong.
            after: How many go well before.

        Raises:
            ValueError: There is no such fault.
        """
        if fault not in FAULTS:
            raise ValueError(f"there is no fault {fault!r}; there are {', '.join(FAULTS)}")
        with self._guard:
            self._faults += [Fault(method, path, fault, after) for _ in range(times)]

    def faults(self) -> list[str]:
        """Return what is going to go wrong, in words."""
        with self._guard:
            return [f"{row.method} ...{row.path}: {row.name}" for row in self._faults]

    def refuse(self, path: str, refusal: Refusal, *, times: int = 1) -> None:
        """Let the next POST requests to a path be refused in a way of yours, and nothing be kept of it."""
        with self._guard:
            self._refusals += [(path, refusal)] * times

    def clear_faults(self) -> None:
        """Let nothing more go wrong, and release what is held."""
        with self._guard:
            self._faults.clear()
            self._refusals.clear()
        self.release()

    def release(self) -> None:
        """Release the answers that hang, and the requests that are slow."""
        self._released.set()

    def _hold(self) -> None:
        with self._holding:
            self._held += 1
            self._holding.notify_all()
        self._released.wait(60)

    def wait_until_held(self, timeout: float = 10.0) -> bool:
        """Wait until a request that hangs, or is slow, has come; return whether one has in time."""
        with self._holding:
            return self._holding.wait_for(lambda: self._held > 0, timeout)

    def _due(self, request: Request) -> str | None:
        for place, fault in enumerate(self._faults):
            if request.method == fault.method and request.path.endswith(fault.path):
                if fault.after:
                    fault.after -= 1
                    return None
                del self._faults[place]
                if fault.name in ("hang", "slow"):
                    self._released.clear()
                    self._held = 0
                return fault.name
        return None

    def _refused(self, request: Request) -> Refusal | None:
        for place, (path, refusal) in enumerate(self._refusals):
            if request.method == "POST" and request.path.endswith(path):
                del self._refusals[place]
                return refusal
        return None

    def patch(self, function: Callable[[Json], object], kind: str = "payment_intent") -> None:
        """Have a function change every object of a kind that is shown: a status that nobody knows, say."""
        self.api.patches.append((kind, function))

    def unpatch(self, function: Callable[[Json], object]) -> None:
        """Show objects again as they are."""
        self.api.patches[:] = [row for row in self.api.patches if row[1] is not function]

    def answer(self, path: str, found: Json) -> None:
        """Answer every GET of a path in this way."""
        self.canned[path] = found

    # --- looking ---

    def writes(self, path: str = "") -> list[Request]:
        """Return the requests that change something, to paths that end so."""
        return [row for row in self.requests if row.method == "POST" and row.path.endswith(path)]

    def account(self, identifier: str = "") -> Account:
        """Return the account, or a connected one, with everything that it holds."""
        return self.api.account(identifier)

    def captures(self, intent: str) -> list[int]:
        """Return the captures of a PaymentIntent one by one, which Stripe itself does not show."""
        with self.api.lock:
            account = self.account()
            charge = account.named("charge", account.get("payment_intent", intent)["latest_charge"])
            return [part for part in charge["_captures"] if part] if charge is not None else []

    def summary(self) -> dict[str, int]:
        """Return how many objects of each kind there are."""
        with self.api.lock:
            return dict(Counter({kind: len(rows) for kind, rows in self.account().objects.items()}))

    # --- the payer, the bank and the dashboard ---

    def authenticate(self, intent: str, *, success: bool = True) -> Json:
        """Pass, or fail, what the payer's bank asks: of a PaymentIntent or a SetupIntent."""

        def act(account: Account) -> Json:
            if intent.startswith("seti_"):
                return setup_intents.authenticate(account, intent, success=success)
            return payment_intents.authenticate(account, intent, success=success)

        return self._act(act)

    def pay_checkout(
        self,
        session: str,
        payment_method: str,
        *,
        email: str = "jenny.rosen@example.com",
        name: str = "Jenny Rosen",
    ) -> Json:
        """Pay a Checkout Session on its page; return its PaymentIntent or SetupIntent.

        Raises:
            Refusal: The card is declined, or the page is closed.
        """

        def act(account: Account) -> Json:
            row = account.get("checkout.session", session)
            row["customer_email"] = row["customer_email"] or email
            form = {"payment_method": payment_method, "name": name}
            return checkout.submit(account, row, form)

        return self._act(act)

    def settle_debit(self, intent: str) -> Json:
        """Have the money of a bank debit come now."""
        return self._act(lambda account: _debit(account, intent, attempts.debit_settles))

    def fail_debit(self, intent: str, reason: str = "insufficient_funds") -> Json:
        """Have the bank return a debit now."""
        return self._act(
            lambda account: _debit(account, intent, lambda a, row: attempts.debit_fails(a, row, reason))
        )

    def decline_increments(self, intent: str) -> None:
        """Have the payer's bank refuse to hold more for a PaymentIntent than it does."""
        with self.api.lock:
            account = self.account()
            charge = account.get("charge", account.get("payment_intent", intent)["latest_charge"])
            charge["_holds_no_more"] = True

    def dispute(
        self, intent: str, *, amount: int | None = None, reason: str = "fraudulent", inquiry: bool = False
    ) -> Json:
        """Have the payer's bank take a payment back, or ask about it; return the dispute."""

        def act(account: Account) -> Json:
            charge = account.get("charge", account.get("payment_intent", intent)["latest_charge"] or "")
            return disputes.open_one(account, charge, amount=amount, reason=reason, inquiry=inquiry)

        return self._act(act)

    def warn_of_fraud(self, intent: str, fraud_type: str = "made_with_stolen_card") -> Json:
        """Have the card's issuer report a payment as fraud, before any dispute; return the warning."""

        def act(account: Account) -> Json:
            charge = account.get("charge", account.get("payment_intent", intent)["latest_charge"] or "")
            return radar.warn(account, charge, fraud_type)

        return self._act(act)

    def decide(self, dispute: str, status: str) -> Json:
        """Have the bank decide a dispute: ``won``, ``lost``, ``under_review`` or ``warning_closed``."""

        def act(account: Account) -> Json:
            row = account.get("dispute", dispute)
            disputes.become(account, row, status)
            return row

        return self._act(act)

    def settle_refund(self, refund: str, status: str = "succeeded") -> Json:
        """Have a refund succeed, fail or be canceled now."""

        def act(account: Account) -> Json:
            row = account.get("refund", refund)
            refunds.become(account, row, status)
            return row

        return self._act(act)

    def expire_authorization(self, intent: str) -> Json:
        """Have an authorization run out now."""

        def act(account: Account) -> Json:
            attempts.expire(account, intent)
            return account.get("payment_intent", intent)

        return self._act(act)

    def advance(self, **duration: float) -> None:
        """Set the clock forward, and have everything happen that is due: ``advance(days=7)``."""
        self.clock.forward(**duration)
        self.api.settle()
        self.deliveries.wake()

    def _act(self, act: Callable[[Account], Json]) -> Json:
        with self.api.lock:
            self.api.settle()
            account = self.account()
            account.request = {"id": None, "idempotency_key": None}
            thing = act(account)
            self.api.settle()
            return account.show(thing)

    # --- webhooks ---

    def send_webhooks_to(self, url: str, *, secret: str | None = None, events: Iterable[str] = ("*",)) -> str:
        """Send events to an address from now on; return the secret that signs them.

        Args:
            url: The address.
            secret: The secret; a new one by default.
            events: Which kinds.
        """
        params = {"url": url, "enabled_events": list(events)}
        made = self.call("POST", "/v1/webhook_endpoints", params)
        with self.api.lock:
            endpoint = self.account().get("webhook_endpoint", made["id"])
            endpoint["_secret"] = secret or endpoint["_secret"]
            return str(endpoint["_secret"])

    def events(self, kind: str = "") -> list[Json]:
        """Return the events of a kind, or all, the oldest first."""
        with self.api.lock:
            rows = list(self.account().objects.get("event", {}).values())
        return [row for row in rows if kind in ("", row["type"])]

    def signed(self, event: Json, secret: str) -> tuple[dict[str, str], bytes]:
        """Return the headers and the body of an event, as they are sent."""
        body = body_of(event)
        stamp = sign(body, secret, self.clock().timestamp())
        return {"content-type": "application/json", "stripe-signature": stamp}, body

    @property
    def api_version(self) -> str:
        """The version of Stripe's API that is imitated."""
        return API_VERSION


def _debit(account: Account, intent: str, act: Callable[[Account, Json], None]) -> Json:
    row = account.get("payment_intent", intent)
    if row["status"] != "processing":
        raise Refusal(400, message=f"{intent} is {row['status']}: there is no debit under way.")
    act(account, row)
    return row


def _as_text(value: Any) -> Any:
    """Return parameters as a form carries them."""
    if isinstance(value, dict):
        return {str(name): _as_text(part) for name, part in value.items() if part is not None}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, (list, tuple)):
        return [_as_text(part) for part in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
