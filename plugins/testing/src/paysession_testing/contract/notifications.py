"""Webhooks: verified or rejected, a hint and nothing more."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import attrs
import pytest

from paysession import Kind, PaysessionError, Status
from paysession_testing.contract.bench import NAME, Bench
from paysession_testing.contract.counterpart import ANOTHER_SHOPS
from paysession_testing.contract.verdict import broken, not_declared

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from paysession import PaymentSession, WebhookReply

__all__ = ["NotificationsContract"]

_AHEAD: Final = timedelta(days=1)
_STANDARD: Final = ("content-type", "content-length", "user-agent", "accept", "host", "date")
_SIGNATURE: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
"""What a signature looks like wherever in a header it stands: hexadecimal digits, or base64."""
_GARBAGE: Final = {
    "empty": b"",
    "not utf-8": b"\xff\xfe\x00",
    "not json": b"<html>",
    "null": b"null",
    "list": b"[]",
    "number": b"7",
    "empty object": b"{}",
}


def notify(
    bench: Bench, session: PaymentSession, *, at: datetime | None = None
) -> tuple[Mapping[str, str], bytes]:
    """Return a notification about a session as the gateway would send it."""
    body = bench.gateway.notification(session)
    return bench.gateway.sign(body, at or datetime.now(UTC)), body


def notify_reported(bench: Bench, session: PaymentSession) -> tuple[Mapping[str, str], bytes]:
    """Return the first notification that the gateway has sent about a session."""
    body = bench.gateway.notifications(session)[0]
    return bench.gateway.sign(body, datetime.now(UTC)), body


def deliver(bench: Bench, headers: Mapping[str, str], body: bytes) -> WebhookReply:
    """Hand a notification to the ledger."""
    return bench.payments.handle_webhook(NAME, headers=headers, body=body)


def rejected(
    bench: Bench, session: PaymentSession, headers: Mapping[str, str], body: bytes, *, what: str, fix: str
) -> None:
    """Fail unless a notification is rejected and leaves the ledger as it is."""
    before = bench.payments.get(session.id)
    reply = deliver(bench, headers, body)
    if not 400 <= reply.status < 500:
        broken(
            "A notification that cannot be trusted or read is rejected: webhooks fail closed.",
            found=f"{what} was answered with {reply.status} {reply.body}",
            fix=fix,
        )
    if bench.payments.get(session.id) != before:
        broken("A rejected notification changes nothing.", found=what, fix=fix)


def needs_signature(bench: Bench) -> None:
    """Report the test as not declared if nothing shows who sent a notification."""
    if bench.capabilities.unsigned_webhooks:
        not_declared("capabilities say unsigned_webhooks=True")
    bench.needs_feature("sign")


class NotificationsContract:
    """Webhooks."""

    def test_a_notification_brings_the_ledger_up_to_date(self, bench: Bench) -> None:
        """The gateway reports that the payer approved: the session is authorized, without a return."""
        bench.needs_webhooks()
        if bench.capabilities.local:
            bench.needs_feature("ask")  # nobody but us knows of it
        session = bench.ahead()
        headers, body = notify(bench, session)
        reply = deliver(bench, headers, body)
        after = bench.finished(bench.payments.get(session.id))
        if reply.status >= 300 or after.status is not Status.AUTHORIZED:
            broken(
                "A genuine notification is acknowledged, and what it hints at is recorded.",
                found=f"answered {reply.status} {reply.body}; the session is {after.status}",
                fix="return a WebhookEvent with session_id= or references=, and let retrieve say ready=True",
            )
        bench.compare(after)
        events = bench.handle.parse_webhook({name.lower(): value for name, value in headers.items()}, body)
        other = next((row.payment for row in events if row.payment not in (None, after.reference)), None)
        if other is not None:
            broken(
                "The payment that a notification is about is the session's.",
                found=f"WebhookEvent.payment is {other!r}, session.reference {after.reference!r}",
                fix="give payment= what retrieve reports as reference, or leave it out",
            )

    def test_what_a_notification_authorized_is_captured_by_another_process(self, bench: Bench) -> None:
        """What the notification told is all that a later capture, in any process, has to go by."""
        bench.needs_webhooks()
        bench.needs(Kind.CAPTURE)
        bench.needs_gateway()
        session = bench.ahead()
        deliver(bench, *notify(bench, session))
        session = bench.must_be_authorized(bench.finished(bench.hear(session)))
        if session.captured:
            not_declared("authorizing captures")
        bench.start()
        try:
            session = bench.finished(bench.payments.capture(session.id))
        except PaysessionError as error:
            broken(
                "What a notification authorized can be captured, in whichever process.",
                found=f"{error}; {bench.last().shown}",
                fix="hand on what later requests name: WebhookEvent.reference, or its data; and keep "
                "nothing in the provider itself",
            )
        bench.compare(session)

    def test_what_nobody_was_notified_of_is_found_by_the_list_of_changes(self, bench: Bench) -> None:
        """A refund in the dashboard whose notification was lost is named by `changes`."""
        if not bench.handle.implements("changes"):
            not_declared("the provider does not implement changes")
        bench.needs(Kind.REFUND)
        bench.needs_feature("dashboard")
        session = bench.captured()
        since, amount = datetime.now(UTC) - timedelta(hours=1), session.captured_amount
        bench.gateway.refund_in_dashboard(session, amount)
        try:
            found = bench.handle.changes(since)
        except PaysessionError as error:
            broken("The list of changes is read.", found=f"{error}", fix="return Changes(events, until)")
        bench.payments.recover(now=True)
        after = bench.payments.get(session.id)
        if after.refunded != amount.minor:
            broken(
                "What `changes` names is processed as if its notification had come.",
                found=f"{after.refunded_amount} is refunded; {found!r:.500}",
                fix="give session_id= or references= in each WebhookEvent that changes returns",
            )
        bench.compare(after)

    def test_several_notifications_in_one_request_all_count(self, bench: Bench) -> None:
        """Where a gateway sends several at once, each is read."""
        bench.needs_webhooks()
        body, sessions = self._both(bench)
        reply = deliver(bench, bench.gateway.sign(body, datetime.now(UTC)), body)
        after = [bench.payments.get(row.id) for row in sessions]
        if reply.status >= 300 or any(row.status is not Status.AUTHORIZED for row in after):
            broken(
                "Each item of a request is read.",
                found=f"answered {reply.status} {reply.body}; the sessions are "
                f"{', '.join(row.status for row in after)}",
                fix="return a WebhookEvent for each item that the body has",
            )

    def test_each_item_of_a_request_is_verified(self, bench: Bench) -> None:
        """One genuine item vouches for no other in the same request."""
        bench.needs_webhooks()
        needs_signature(bench)
        body, sessions = self._both(bench)
        signatures = bench.gateway.signatures(body)
        if len(signatures) < 2:
            not_declared("one signature is for the whole body")
        forged = body.replace(signatures[-1], _altered(signatures[-1].decode()).encode())
        rejected(
            bench,
            sessions[1],
            bench.gateway.sign(forged, datetime.now(UTC)),
            forged,
            what="a request with one genuine item and one forged item",
            fix="verify the signature of each item, and reject the request if one of them does not match",
        )

    def _both(self, bench: Bench) -> tuple[bytes, tuple[PaymentSession, PaymentSession]]:
        """Return one request with the notifications of two sessions, and these."""
        sessions = bench.ahead(), bench.ahead()
        body = bench.gateway.several([bench.gateway.notification(session) for session in sessions])
        if body is None:
            not_declared("the gateway sends one notification at a time")
        return body, sessions

    def test_a_notification_for_another_account_changes_nothing(self, bench: Bench) -> None:
        """A webhook may be shared by several accounts: what happened in another one is none of ours."""
        bench.needs_webhooks()
        session = bench.ahead()
        body = bench.gateway.of_another_account(bench.gateway.notification(session))
        reply = deliver(bench, bench.gateway.sign(body, datetime.now(UTC)), body)
        if reply.status >= 300 or bench.payments.get(session.id).status is Status.AUTHORIZED:
            broken(
                "A notification for another account is acknowledged, and changes nothing.",
                found=f"answered {reply.status} {reply.body}; the session is "
                f"{bench.payments.get(session.id).status}",
                fix="compare the account in it with the one in the settings, and return no event",
            )

    def test_a_duplicate_changes_nothing(self, bench: Bench) -> None:
        """Gateways send twice, and more often: one transition, one event."""
        bench.needs_webhooks()
        session = bench.captured()
        headers, body = notify(bench, session)
        deliver(bench, headers, body)
        before, told = bench.payments.get(session.id), len(bench.payments.events())
        reply = deliver(bench, headers, body)
        if reply.status >= 300 or bench.payments.get(session.id) != before:
            broken(
                "A duplicate is acknowledged, and changes nothing.",
                found=f"answered {reply.status}; {before!r} became {bench.payments.get(session.id)!r}",
                fix="give the gateway's id of the notification as WebhookEvent.id, or None if it has none",
            )
        if len(bench.payments.events()) != told:
            broken(
                "A duplicate makes no event.", found="another event", fix="tell totals that are cumulative"
            )
        if bench.capabilities.refund != "none" and "dashboard" not in bench.gateway.cannot:
            bench.gateway.refund_in_dashboard(session, session.captured_amount)
            self._another(bench, session)

    def _another(self, bench: Bench, session: PaymentSession) -> None:
        """Fail unless a notification of something else is heard."""
        headers, body = notify(bench, session)
        bench.clock.forward(max(bench.capabilities.lookup_lag, timedelta(minutes=1)) + timedelta(seconds=1))
        reply = deliver(bench, headers, body)
        bench.payments.recover()
        after = bench.payments.get(session.id)
        if (bench.hears or bench.capabilities.lookup != "none") and after.refunded != session.captured:
            broken(
                "Another notification of the same session is no duplicate.",
                found=f"of a refund in the dashboard, it was answered with {reply.status} {reply.body}, and "
                f"{after.refunded_amount} is refunded",
                fix="give the id of the notification as WebhookEvent.id, not the object's, or None if it "
                "has none; in the fake too each has its own",
            )

    def test_an_old_notification_does_not_turn_back_time(self, bench: Bench) -> None:
        """They overtake each other: what is recorded is what the gateway reports when it is asked."""
        bench.needs_webhooks()
        session = bench.reported()
        first = notify_reported(bench, session)
        if session.status is not Status.AUTHORIZED:
            bench.approve(session)
            session = bench.authorize(session)
        second = notify(bench, session)
        if bench.capabilities.capture != "none":
            session = bench.finished(bench.payments.capture(session.id))
        deliver(bench, *second)
        deliver(bench, *first)
        after = bench.payments.get(session.id)
        if (after.status, after.captured, after.conflict) != (session.status, session.captured, None):
            broken(
                "A notification is a hint: an old one changes nothing.",
                found=f"{session!r} became {after!r}",
                fix="return no effects from a gateway that can be asked; retrieve tells",
            )
        bench.compare(after)

    def test_a_notification_after_the_end_changes_nothing(self, bench: Bench) -> None:
        """A canceled session stays canceled."""
        bench.needs_webhooks()
        session = bench.reported()
        if session.captured:
            not_declared("what the gateway hears of is captured at once: nothing can be canceled")
        if session.status is not Status.AUTHORIZED:
            bench.needs_feature("cancel")
        headers, body = notify_reported(bench, session)
        session = bench.finished(bench.payments.cancel(session.id))
        reply = deliver(bench, headers, body)
        after = bench.payments.get(session.id)
        if reply.status >= 300 or after.status is not Status.CANCELED or after.conflict:
            broken(
                "After the end a notification changes nothing.",
                found=f"answered {reply.status}; {after!r}",
                fix="let retrieve tell that the gateway's object is canceled",
            )

    def test_somebody_elses_notification_is_acknowledged(self, bench: Bench) -> None:
        """One account serves several shops: what is not ours is answered with 2xx."""
        bench.needs_webhooks()
        mine = bench.initiate()
        other = Bench(bench.gateway, bench.wire, bench.make_provider)
        theirs = other.authorized() if other.hears else other.known(key="somebody-else")
        other.close()
        reply = deliver(bench, *notify(other, theirs))
        if reply.status >= 300 or bench.payments.get(mine.id) != mine:
            broken(
                "A valid notification that matches no session of ours is acknowledged.",
                found=f"answered {reply.status} {reply.body}",
                fix="raise WebhookRejected only for what cannot be trusted or read",
            )

    def test_a_plain_reference_of_another_shop_is_acknowledged(self, bench: Bench) -> None:
        """Another shop of the account has order numbers, not ids like ours: answered with 2xx as well."""
        bench.needs_webhooks()
        mine = bench.initiate()
        other = Bench(bench.gateway, bench.wire, bench.make_provider)
        theirs = other.authorized() if other.hears else other.known(key="somebody-else")
        other.close()
        ours = bench.gateway.notification(theirs)
        body = bench.gateway.of_another_shop(ours, theirs)
        if body == ours:
            not_declared("its notifications do not name the session")
        reply = deliver(bench, bench.gateway.sign(body, datetime.now(UTC)), body)
        if reply.status >= 300 or bench.payments.get(mine.id) != mine:
            broken(
                "A valid notification of another shop's payment is acknowledged, whatever its reference is.",
                found=f"one of {ANOTHER_SHOPS} was answered with {reply.status} {reply.body}",
                fix="hand the reference on as session_id= or references= as it is, or return no event; raise "
                "WebhookRejected only for what cannot be trusted or read",
            )

    def test_the_gateway_hears_where_to_notify(self, bench: Bench) -> None:
        """Where each payment says where its notifications are sent, it says `operation.webhook_url`."""
        bench.needs_webhooks()
        bench.needs_gateway()
        bench.needs_feature("http")
        bench.needs_feature("notify")
        bench.known()
        operation = bench.last("initiate").operation
        url = str(operation and operation.webhook_url)
        if not any(url in request.text for request in bench.wire.requests):
            broken(
                "The gateway hears where to send its notifications.",
                found=f"no request names {url}",
                fix="send operation.webhook_url with the payment; where an address is registered once for "
                "the account, the counterpart says so in cannot['notify']",
            )

    def test_what_nobody_can_verify_is_declared(self, bench: Bench) -> None:
        """Where notifications are not signed, the core keeps nothing that a stranger makes up."""
        bench.needs_webhooks()
        bench.needs_lookup()
        if "sign" in bench.gateway.cannot and not bench.capabilities.unsigned_webhooks:
            broken(
                "A provider says so if nothing shows who sent a notification.",
                found=f"the counterpart does not sign ({bench.gateway.cannot['sign']})",
                fix="declare Capabilities(unsigned_webhooks=True)",
            )
        if not bench.capabilities.unsigned_webhooks:
            return
        session = bench.initiate()
        made_up = body = bench.gateway.notification(session)
        for name in filter(None, (session.reference, session.id)):
            made_up = made_up.replace(name.encode(), _altered(name).encode())
        if made_up == body:
            not_declared("its notifications name no session")
        reply = deliver(bench, bench.gateway.sign(made_up, datetime.now(UTC)), made_up)
        kept = bench.store.due_notifications(bench.clock() + timedelta(days=4), 10, NAME)
        if reply.status >= 300 or kept:
            broken(
                "What nobody can verify and names nothing known is answered with 2xx, and forgotten.",
                found=f"answered {reply.status} {reply.body}, and kept {len(kept)}",
                fix="return WebhookEvent with references= or session_id= as the notification says them, and "
                "raise nothing because they are not known",
            )

    @pytest.mark.parametrize("forgery", ["body", "signature", "no signature", "made up"])
    def test_a_forged_notification_is_rejected(self, bench: Bench, forgery: str) -> None:
        """A changed body, a changed signature, none at all, or one of another secret: 4xx, no change."""
        bench.needs_webhooks()
        needs_signature(bench)
        session = bench.ahead()
        headers, body = notify(bench, session)
        if forgery == "body":
            changed = body
            for text in filter(None, (session.reference, session.id)):
                name = text.encode()
                changed = changed.replace(name, name[:-1] + (b"0" if name[-1:] != b"0" else b"1"))
            # Where signatures stand within, they cannot cover the spaces between what they sign.
            body = changed if changed != body or bench.gateway.signatures(body) else body + b" "
        elif signatures := bench.gateway.signatures(body):
            for signature in signatures:
                body = body.replace(signature, _FORGE[forgery](signature.decode()).encode())
        elif forgery == "no signature":
            headers = {}
        else:
            forge = _FORGE[forgery]
            headers = {n: v if n.lower() in _STANDARD else forge(v) for n, v in headers.items()}
        rejected(
            bench,
            session,
            headers,
            body,
            what=f"a forged notification ({forgery})",
            fix="verify the signature over the raw body, with hmac.compare_digest, before reading anything",
        )

    @pytest.mark.parametrize("left", ["half", "nothing"])
    def test_a_signature_that_was_cut_short_is_rejected(self, bench: Bench, left: str) -> None:
        """Half a signature, or an empty one, vouches for nothing: all of it is compared."""
        bench.needs_webhooks()
        needs_signature(bench)
        session = bench.ahead()
        headers, body = notify(bench, session)
        # Not all that looks like a signature is one: that is not accepted, wherever it is changed.
        verified = [
            place
            for place in _signatures(bench, headers, body)
            if not any(_accepts(bench, *_put(headers, body, place, text)) for text in _others(place[1]))
        ]
        if not verified:
            not_declared("no signature of 16 hexadecimal digits, or of as much base64, was found")
        for place in verified:
            kept = place[1][: len(place[1]) // 2 // 4 * 4] if left == "half" else ""
            rejected(
                bench,
                session,
                *_put(headers, body, place, kept),
                what=f"a notification with {left} of the signature {place[1]!r:.80}",
                fix="compare the whole signature, with hmac.compare_digest; an empty one is none",
            )

    @pytest.mark.parametrize("when", ["stale", "future"])
    def test_a_notification_of_another_time_is_rejected(self, bench: Bench, when: str) -> None:
        """A signed notification that is too old, or from the future, is somebody's replay."""
        bench.needs_webhooks()
        needs_signature(bench)
        bench.needs_feature("date")
        session = bench.reported()
        age = 2 * bench.gateway.under_way if when == "stale" else -_AHEAD
        headers, body = notify(bench, session, at=datetime.now(UTC) - age)
        rejected(
            bench,
            session,
            headers,
            body,
            what=f"a notification signed {abs(age)} {'ago' if when == 'stale' else 'ahead of us'}",
            fix="compare the signed time with the clock, in both directions",
        )

    @pytest.mark.parametrize("garbage", _GARBAGE)
    def test_a_notification_that_cannot_be_read_is_rejected(self, bench: Bench, garbage: str) -> None:
        """Signed or not, what is no notification is rejected; it must not look like a fault of ours."""
        bench.needs_webhooks()
        session = bench.initiate()
        body = _GARBAGE[garbage]
        reply = deliver(bench, bench.gateway.sign(body, datetime.now(UTC)), body)
        if reply.status >= 500 or bench.payments.get(session.id) != session:
            broken(
                "What cannot be read is rejected, once: a 5xx has the gateway send it again for days.",
                found=f"the body {body!r:.40} was answered with {reply.status} {reply.body}",
                fix="raise WebhookRejected where the body is not what the gateway sends",
            )

    def test_without_a_webhook_secret_nothing_is_accepted(
        self, bench: Bench, provider_without_webhook_secret: object | None
    ) -> None:
        """A provider that was given no secret cannot verify, so it rejects."""
        bench.needs_webhooks()
        if bench.capabilities.unsigned_webhooks:
            not_declared("capabilities say unsigned_webhooks=True")
        if provider_without_webhook_secret is UNKNOWN:
            bench.needs_feature("sign")
        if provider_without_webhook_secret is UNKNOWN:
            broken(
                "A provider without a webhook secret rejects every notification.",
                found="no setting has `webhook` in its name, so this cannot be tried",
                fix="fill in the fixture provider_without_webhook_secret: return a provider that was given "
                "no secret, or None where there can be none",
            )
        if provider_without_webhook_secret is None:
            not_declared("every webhook setting is required")
        session = bench.reported()
        headers, body = notify_reported(bench, session)
        bench.start_with(provider_without_webhook_secret)
        rejected(
            bench,
            session,
            headers,
            body,
            what="a notification that nobody could verify",
            fix="raise WebhookRejected if no secret is configured",
        )

    def test_a_signature_under_an_empty_secret_is_rejected(
        self, bench: Bench, provider_without_webhook_secret: object | None
    ) -> None:
        """Where no secret is configured an empty one verifies nothing: everybody can sign with it."""
        bench.needs_webhooks()
        needs_signature(bench)
        if provider_without_webhook_secret in (None, UNKNOWN):
            not_declared("every webhook setting is required")
        session = bench.reported()
        headers, body = bench.gateway.sign_with_nothing(
            bench.gateway.notifications(session)[0], datetime.now(UTC)
        )
        bench.start_with(provider_without_webhook_secret)
        rejected(
            bench,
            session,
            headers,
            body,
            what="a notification that was signed with an empty secret",
            fix="raise WebhookRejected if no secret is configured, before a signature is computed",
        )


def _signatures(bench: Bench, headers: Mapping[str, str], body: bytes) -> list[tuple[str | None, str]]:
    """Return what may be a signature: the header that it stands in (None: the body), and its text."""
    within = bench.gateway.signatures(body)
    if within:
        return [(None, text.decode()) for text in within]
    own = {name: value for name, value in headers.items() if name.lower() not in _STANDARD}
    return [(name, text) for name, value in own.items() for text in _SIGNATURE.findall(value)]


def _put(
    headers: Mapping[str, str], body: bytes, place: tuple[str | None, str], text: str
) -> tuple[Mapping[str, str], bytes]:
    """Return a notification with another text in place of a signature."""
    name, given = place
    if name is None:
        return headers, body.replace(given.encode(), text.encode())
    return {**headers, name: headers[name].replace(given, text)}, body


def _others(signature: str) -> list[str]:
    """Return a signature with a character changed, in its first half or in its second.

    It is not the last one, of which base64 may not use every bit.
    """
    places = (0, len(signature) * 3 // 4)
    return [
        signature[:place] + ("0" if signature[place] != "0" else "1") + signature[place + 1 :]
        for place in places
    ]


def _accepts(bench: Bench, headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether the provider accepts a notification; nothing is recorded."""
    try:
        bench.handle.parse_webhook({name.lower(): value for name, value in headers.items()}, body)
    except PaysessionError:
        return False
    return True


def _altered(value: str) -> str:
    """Return a header's value with its last letter or digit changed."""
    for place in range(len(value) - 1, -1, -1):
        if value[place].isalnum():
            return value[:place] + ("0" if value[place] != "0" else "1") + value[place + 1 :]
    return value + "0"


def _made_up(value: str) -> str:
    """Return a header's value with every letter and digit replaced."""
    return "".join("a" if letter.isalnum() and letter != "a" else letter for letter in value) + "\u00e9"


_FORGE: Final[Mapping[str, Callable[[str], str]]] = {
    "signature": _altered,
    "no signature": lambda _: "",
    "made up": _made_up,
}

UNKNOWN: Final = object()
"""Nobody has said which settings verify notifications."""


def without_webhook_settings(plugin: Any) -> object | None:
    """Return the provider with its optional webhook settings as if they had not been given.

    They are the arguments of an attrs class whose name contains ``webhook``; None: all of them are
    required; `UNKNOWN`: there are none of that name.
    """
    settings = [
        field for field in getattr(plugin, "__attrs_attrs__", ()) if field.init and "webhook" in field.name
    ]
    if not settings:
        return UNKNOWN
    unset: dict[str, Any] = {}
    for field in settings:
        if field.default is not attrs.NOTHING:
            made = getattr(field.default, "factory", None)
            unset[field.alias or field.name] = made() if made is not None else field.default
    return attrs.evolve(plugin, **unset) if unset else None
