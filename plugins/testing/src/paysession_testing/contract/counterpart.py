"""What the author of a provider tells the kit: where the gateway is, and what really happened there."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn
from urllib.parse import unquote_plus

from attrs import frozen

from paysession import Money
from paysession.provider import exponent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from paysession import PaymentSession
    from paysession.provider import Effect

__all__ = ["ANOTHER_SHOPS", "FEATURES", "Counterpart", "Reply", "Request"]

Reply = tuple[int, "Mapping[str, str]", "bytes | str | dict[str, Any] | list[Any]"]
"""What a gateway answers: status, headers and body; a dict or a list is sent as JSON."""

FEATURES: Final = {
    "ask": "the payer has to act before anything can be authorized",
    "decline": "a payer, or the payer's bank, can decline",
    "sign": "notifications carry a signature",
    "date": "what is signed says when it was sent",
    "dashboard": "somebody in the gateway's dashboard can refund",
    "approval": "the gateway hears of the payer's approval before our authorize",
    "object": "initiate makes an object at the gateway",
    "cancel": "what nobody has paid can be canceled",
    "http": "the provider reaches its gateway by HTTP",
    "return": "the gateway hears from us where to send the payer after its page",
    "notify": "the gateway hears with each payment where to send its notifications",
}
"""What a gateway is taken to do, unless its counterpart says in ``cannot`` why it does not."""

ANOTHER_SHOPS: Final = "order-10042"
"""A reference of another shop that is paid into the same account: its own number of an order."""

_NUMBER: Final = re.compile(rb"(?<![\w.-])\d+(?:\.\d+)?(?![\w.-])")
_STATUS: Final = re.compile(rb'("\w*(?:status|state|result)"\s*:\s*)"[^"]*"', re.IGNORECASE)


def _to_write(what: str) -> NoReturn:
    """Fail the test, and say what the author of a counterpart writes next."""
    import pytest  # noqa: PLC0415 - a shop that imports FakeProvider may do without

    pytest.fail(f"{what} (docs/contract-kit.md)", pytrace=False)


def _optional(what: str) -> NoReturn:
    """Report the test as not declared: the counterpart leaves a method out that it may leave out."""
    import pytest  # noqa: PLC0415 - as above

    pytest.skip(f"not declared: the counterpart does not write {what}()")


@frozen
class Request:
    """One request as it came over the wire.

    Attributes:
        method: The HTTP method.
        path: The path and the query.
        headers: With lower-case names.
        body: As it came.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """All of it in which a key or an id may stand, with escapes undone."""
        parts = [self.path, *self.headers.values(), self.body.decode("utf-8", "replace")]
        text = "\n".join(parts)
        return f"{text}\n{unquote_plus(text)}"


class Counterpart:
    """The gateway on the other side, for tests: subclass it and fill in what your gateway does.

    Two ways to be reached: set ``url`` to a server that runs on this machine, or write `handle`, and
    the kit serves it. Either way the kit puts a socket of its own in front, counts the requests, and
    makes them fail.

    Attributes:
        url: Where the gateway's stand-in listens; None: `handle` is served.
        cannot: What the gateway does not do, and why: names of `FEATURES` to a sentence. The tests
            concerned are then reported as not declared, with the sentence.
        key_header: The header in which the gateway takes idempotency keys; None: elsewhere, or nowhere.
        replays: Whether the stand-in itself remembers answers by key. Otherwise the kit does it in
            front of it, so that `handle` need not.
        amount: What a session of the tests is about. Its currency is the main one.
        currencies: What the tests pay in; each either works to the last digit or is refused.
        data: What a host gives to ``initiate``.
        secrets: Texts that must show nowhere, such as the webhook secret. Settings of type
            `Secret`, and credentials that are seen on the wire, are known without being named here.
        imports: Third-party modules that importing the provider may import.
        under_way: How long a signed notification may be under way, the gateway's own retries included;
            an older one is somebody's replay.
        currency_exponents: With how many decimals the gateway counts, where that is not ISO 4217's number.
            The tests pay in these currencies too.
        refuses: The HTTP statuses with which the gateway refuses a request for certain: nothing happened, and
            nothing will. Some use 422 so, others for the object's state.
    """

    url: str | None = None
    cannot: Mapping[str, str] = {}
    key_header: str | None = "Idempotency-Key"
    replays: bool = False
    amount: Money = Money("42.10", "EUR")
    currencies: Sequence[str] = ("EUR", "JPY", "KWD")
    data: Mapping[str, Any] = {}
    secrets: Sequence[str] = ()
    imports: Sequence[str] = ()
    under_way: timedelta = timedelta(hours=1)
    currency_exponents: Mapping[str, int] = {}
    refuses: Sequence[str] = ("400",)

    keyed: ClassVar = ("idempotency-key", "x-idempotency-key", "x-request-id", "paypal-request-id")
    """Headers that are no credentials although "key" stands in their name."""

    # --- to be written -----------------------------------------------------------------------------

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer one request as the gateway would: status, headers and body (a dict is sent as JSON).

        ``headers`` have lower-case names. It is called by one thread at a time.
        """
        del method, path, headers, body
        _to_write("write handle(): answer one request as your gateway would; or set url")

    def ledger(self, session: PaymentSession) -> Sequence[Effect]:
        """Return what really happened for a session, one by one, whatever anybody's ledger says.

        One `Effect` of kind ``initiate`` for each object that was made for the session, one of kind
        ``authorize``, ``capture``, ``refund`` or ``cancel`` for each of these. What an increment added
        belongs to the amount of the ``authorize``. Find the session by the id that your provider sent along
        (``session.id``): its ``reference`` may not be known.
        """
        del session
        _to_write("write ledger(): return the Effects that your gateway really caused for a session")

    def approve(self, session: PaymentSession) -> Mapping[str, Any] | None:
        """Approve as the payer; return what the browser brings back to the shop (the payload)."""
        del session
        _to_write("write approve(): do what the payer does on your gateway's page")

    def decline(self, session: PaymentSession) -> Mapping[str, Any] | None:
        """Give up as the payer, or be refused by the bank; return the payload as `approve` does."""
        del session
        _to_write("write decline(): do what a payer does who gives up; or say why in cannot['decline']")

    def notification(self, session: PaymentSession) -> bytes:
        """Return the body of the notification that the gateway would send about a session now.

        Where ``authorize`` is the first that the gateway hears of, find the session by ``session.id``:
        its ``reference`` may not be known.
        """
        del session
        _to_write("write notification(): the body that your gateway posts to the webhook")

    def notifications(self, session: PaymentSession) -> Sequence[bytes]:
        """Return the bodies of all notifications that the gateway has sent about a session, in their order.

        A gateway that cannot be queried writes this: the kit delivers what it returns. By default it is the
        one of `notification`.
        """
        return [self.notification(session)]

    def signatures(self, body: bytes) -> Sequence[bytes]:
        """Return the signatures that stand in a body, one for each item; none: they are in the headers."""
        del body
        return ()

    def several(self, bodies: Sequence[bytes]) -> bytes | None:
        """Return several notifications as one request; None: the gateway sends one at a time."""
        del bodies
        return None

    def of_another_account(self, body: bytes) -> bytes:
        """Return a notification as the gateway signs it for another account of its own: optional."""
        del body
        _optional("of_another_account")

    def of_another_shop(self, body: bytes, session: PaymentSession) -> bytes:
        """Return a notification about a session as it would be of another shop's payment: `ANOTHER_SHOPS`.

        By default that reference stands in place of our id, as it is or with a hyphen. Where signatures stand
        in the body, or our id in another form, write it yourself.
        """
        if self.signatures(body):
            _optional("of_another_shop")
        for ours in (session.id, session.id.replace("_", "-")):
            body = body.replace(ours.encode(), ANOTHER_SHOPS.encode())
        return body

    def held(self, session: PaymentSession) -> Money | None:
        """Return what the gateway holds of a session: authorized, not captured, not released; None: unknown.

        Optional. Where it is written, the ledger is compared with it.
        """
        del session
        return None

    def sign(self, body: bytes, at: datetime) -> Mapping[str, str]:
        """Return the headers with which the gateway would have sent such a body at a time."""
        del body, at
        _to_write("write sign(): the headers that your gateway sends along; or cannot['sign']")

    def sign_with_nothing(self, body: bytes, at: datetime) -> tuple[Mapping[str, str], bytes]:
        """Return the headers and the body as somebody makes them who signs with an empty secret: optional.

        Where the gateway signs with a key of its own, leave it out.
        """
        del body, at
        _optional("sign_with_nothing")

    def refund_in_dashboard(self, session: PaymentSession, amount: Money) -> None:
        """Refund as somebody in the gateway's dashboard would."""
        del session, amount
        _to_write("write refund_in_dashboard(); or say why there is none in cannot['dashboard']")

    def capture_in_dashboard(self, session: PaymentSession, amount: Money) -> None:
        """Capture as somebody in the gateway's dashboard would: optional."""
        del session, amount
        _optional("capture_in_dashboard")

    def cancel_in_dashboard(self, session: PaymentSession) -> None:
        """Release an authorization as somebody in the gateway's dashboard would: optional."""
        del session
        _optional("cancel_in_dashboard")

    def charge_back(self, session: PaymentSession, amount: Money) -> None:
        """Take back what was captured, as the payer's bank does: optional."""
        del session, amount
        _optional("charge_back")

    def open_dispute(self, session: PaymentSession, amount: Money) -> None:
        """Dispute what was captured, as the payer's bank does that takes nothing yet: optional."""
        del session, amount
        _optional("open_dispute")

    def win_dispute(self, session: PaymentSession) -> None:
        """End the dispute that was opened, in favor of the merchant: optional."""
        del session
        _optional("win_dispute")

    def finish(self, session: PaymentSession) -> None:
        """Finish what the gateway has accepted and not finished: needed where a hook answers pending."""
        del session
        _to_write("a hook answered pending: write finish(), which lets your gateway finish it")

    def fail(self, session: PaymentSession) -> None:
        """Let what the gateway has accepted and not finished fail: needed where a hook answers pending."""
        del session
        _to_write("a hook answered pending: write fail(), which lets what was accepted fail after all")

    def decline_increment(self, session: PaymentSession) -> None:
        """Let the payer's bank refuse to raise what is authorized, from now on: optional."""
        del session
        _optional("decline_increment")

    def undo(self, session: PaymentSession, kind: str) -> None:
        """Undo the captures or refunds that had succeeded, as a bank that bounces them does: optional."""
        del session, kind
        _optional("undo")

    # --- what usually fits as it is ----------------------------------------------------------------

    def is_write(self, request: Request) -> bool:
        """Return whether a request can cause an effect: not the one that fetches a token, for example."""
        return request.method not in ("GET", "HEAD", "OPTIONS")

    def carries(self, request: Request, key: str) -> bool:
        """Return whether a request carries an idempotency key, or a subkey of it."""
        if self.key_header is None:
            return key in request.text
        value = request.headers.get(self.key_header.lower(), "")
        return value == key or value.startswith(f"{key}-")

    def refusal(self, status: int) -> Reply:
        """Return an answer with an HTTP status above 400 as the gateway words it."""
        return status, {}, {"error": {"type": "error", "code": str(status), "message": f"status {status}"}}

    def wrong_amount(self, body: bytes, amount: Money) -> bytes:
        """Return an answer's body with another amount in place of this one: what a lie would look like."""
        told = {Decimal(amount.minor), amount.amount}
        step = Decimal(1).scaleb(-exponent(amount.currency))

        def change(match: re.Match[bytes]) -> bytes:
            number = Decimal(match[0].decode())
            if number not in told:
                return match[0]
            return str(number + (step if b"." in match[0] else 1)).encode()

        return _NUMBER.sub(change, body)

    def wrong_currency(self, body: bytes, amount: Money) -> bytes:
        """Return an answer's body with another currency in place of this one."""
        ours, other = amount.currency, "USD" if amount.currency != "USD" else "EUR"
        body = body.replace(f'"{ours}"'.encode(), f'"{other}"'.encode())
        return body.replace(f'"{ours.lower()}"'.encode(), f'"{other.lower()}"'.encode())

    def unknown_status(self, body: bytes) -> bytes:
        """Return an answer's body with words that nobody knows where JSON says a status, state or result."""
        return _STATUS.sub(rb'\1"unheard_of"', body)


def encoded(reply: Reply) -> tuple[int, dict[str, str], bytes]:
    """Return an answer with its body as bytes and its headers complete."""
    if not isinstance(reply, tuple) or len(reply) != 3:
        raise TypeError(f"handle() returns status, headers and body, not {reply!r:.80}")
    status, headers, body = reply
    sent = dict(headers)
    if isinstance(body, dict | list):
        sent.setdefault("Content-Type", "application/json")
        body = json.dumps(body)
    return status, sent, body.encode() if isinstance(body, str) else body
