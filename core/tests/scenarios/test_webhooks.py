import pytest

from helpers import Least, eur
from paysession import (
    Failure,
    InvalidData,
    MemoryStore,
    Payments,
    StoreError,
    WebhookRejected,
    hookimpl,
)
from paysession._engine.inbox import REJECTIONS_LOGGED_EVERY, Rejections
from paysession._plugins.registry import Registry
from paysession.outcome import Effect, WebhookEvent
from paysession.provider import Outcome, OutcomeUnknown
from paysession_testing import FakeProvider


def post(shop, session_id, **options):
    settle = options.pop("settle", True)
    headers, body = shop.fake.webhook(session_id, **options)
    return shop.payments.handle_webhook("fake", headers=headers, body=body, settle=settle)


def test_a_notification_leads_to_what_the_provider_tells(shop):
    session = shop.session("requires_more")
    shop.fake.authorize_in_browser(session.id)
    assert post(shop, session.id).status == 200
    assert shop.payments.get(session.id).status == "authorized"


def test_an_approval_learnt_by_notification_goes_on(make_shop):
    shop = make_shop(FakeProvider(approve=False))
    session = shop.session("requires_more")
    shop.fake.payer_approves(session.id)
    post(shop, session.id)
    assert shop.payments.get(session.id).status == "authorized"


def test_a_duplicate_changes_nothing(shop):
    session = shop.session("captured")
    shop.fake.refund_in_dashboard(session.id, eur("5.00"))
    replies = [post(shop, session.id, id="evt_x") for _ in range(3)]
    assert [reply.body for reply in replies] == ["ok", "nothing new", "nothing new"]
    assert [event.type for event in shop.payments.events()].count("session.refunded") == 1


def test_a_duplicate_is_read_and_writes_nothing(shop, monkeypatch):
    session = shop.session("captured")
    shop.fake.refund_in_dashboard(session.id, eur("5.00"))
    assert post(shop, session.id, id="evt_x").body == "ok"

    def refused(change):
        raise AssertionError(change)

    monkeypatch.setattr(shop.store, "commit", refused)
    calls = len(shop.fake.calls)
    assert post(shop, session.id, id="evt_x").body == "nothing new"
    assert len(shop.fake.calls) == calls


def test_rejections_are_counted_and_logged_at_a_bounded_rate(caplog):
    caplog.set_level("WARNING", "paysession")
    now = 0.0
    rejections = Rejections(lambda: now)
    for _ in range(1000):
        rejections.count("fake", WebhookRejected("no signature"))
    assert caplog.messages == ["a notification for fake was rejected: no signature"]
    rejections.count("other", WebhookRejected("too old"))
    assert caplog.messages[1:] == ["a notification for other was rejected: too old"]
    now = REJECTIONS_LOGGED_EVERY
    for _ in range(3):
        rejections.count("fake", WebhookRejected("forged"))
    assert caplog.messages[2:] == ["1000 notifications for fake were rejected, the last: forged"]


@pytest.mark.parametrize("spoil", ["signature", "body", "missing", "garbage"])
def test_a_forged_notification_is_rejected_and_not_stored(shop, spoil):
    session = shop.session("requires_more")
    shop.fake.authorize_in_browser(session.id)
    headers, body = shop.fake.webhook(session.id)
    if spoil == "signature":
        headers = {"Fake-Signature": "0" * 64}
    elif spoil == "missing":
        headers = {}
    elif spoil == "garbage":
        headers = {"Fake-Signature": "é\x00"}
    else:
        body += b" "
    assert shop.payments.handle_webhook("fake", headers=headers, body=body).status == 400
    assert session == shop.payments.get(session.id)
    assert not shop.store._notifications


def test_only_raw_bytes_are_taken(shop):
    for body in ("text", bytearray(b"{}"), None):
        with pytest.raises(InvalidData, match="raw bytes"):
            shop.payments.handle_webhook("fake", headers={}, body=body)
    with pytest.raises(InvalidData, match="a mapping of names to values, not as list"):
        shop.payments.handle_webhook("fake", headers=[("a", "b")], body=b"")
    assert shop.payments.handle_webhook("fake", headers={}, body=b"x" * 2_000_000).status == 413
    assert shop.payments.handle_webhook("nix", headers={}, body=b"").status == 404


def test_a_store_that_fails_while_a_notification_is_settled_raises_nothing(make_shop):
    class Full(MemoryStore):
        full = False

        def commit(self, change):
            if self.full and change.notification_seen:
                raise StoreError("the disk is full")
            super().commit(change)

    shop = make_shop(store=Full)
    session = shop.session("requires_more")
    shop.fake.authorize_in_browser(session.id)
    shop.store.full = True
    assert post(shop, session.id).status == 200
    assert shop.payments.get(session.id).status == "authorized"
    assert shop.payments.recover().notifications_done == 0
    shop.store.full = False
    assert shop.payments.recover().notifications_done == 1


def test_what_is_no_header_and_no_flag_is_refused(shop):
    for headers in (None, 7, type("Odd", (), {"items": lambda self: iter([1])})()):
        with pytest.raises(InvalidData, match="headers"):
            shop.payments.handle_webhook("fake", headers=headers, body=b"")
    with pytest.raises(InvalidData, match="settle"):
        shop.payments.handle_webhook("fake", headers={}, body=b"", settle="no")
    for provider in (7, None, [], "\ud800"):
        assert shop.payments.handle_webhook(provider, headers={}, body=b"").status == 404


def test_headers_need_not_be_a_mapping(shop):
    class Headers:  # such as werkzeug's
        def items(self):
            return [("FAKE-Signature", headers["Fake-Signature"]), ("Host", "x")]

    session = shop.session("requires_more")
    headers, body = shop.fake.webhook(session.id)
    assert shop.payments.handle_webhook("fake", headers=Headers(), body=body).status == 200


def test_a_provider_without_notifications_rejects_them(make_shop):
    shop = make_shop(Least())
    assert shop.payments.handle_webhook("fake", headers={}, body=b"{}").status == 400


def test_settle_false_stores_and_leaves_the_rest_to_recovery(shop):
    session = shop.session("requires_more")
    shop.fake.authorize_in_browser(session.id)
    assert post(shop, session.id, settle=False).status == 200
    assert shop.payments.get(session.id).status == "requires_more"
    done = shop.payments.recover()
    assert (done.notifications, done.notifications_done) == (1, 1)
    assert shop.payments.get(session.id).status == "authorized"


def test_a_notification_that_overtakes_its_session_is_tried_again(shop):
    post(shop, "ps_later")
    (kept,) = shop.store._notifications.values()
    assert (kept.state, kept.attempts) == ("received", 1)
    shop.clock.forward(days=90)
    shop.payments.recover()
    (kept,) = shop.store._notifications.values()
    assert (kept.state, kept.due_at) == ("unmatched", None)


def test_a_notification_is_settled_again_after_a_failure(make_shop):
    class Down(FakeProvider):
        down = True

        @hookimpl
        def retrieve(self, session):
            if self.down:
                raise OutcomeUnknown("down")
            return super().retrieve(session)

    shop = make_shop(Down())
    session = shop.session("requires_more")
    shop.fake.authorize_in_browser(session.id)
    assert post(shop, session.id, id="e").status == 200
    assert shop.payments.get(session.id).status == "requires_more"
    shop.fake.down = False
    assert post(shop, session.id, id="e").body == "ok"  # it was not processed, so it is no duplicate
    assert shop.payments.get(session.id).status == "authorized"


def test_what_cannot_be_stored_is_not_acknowledged(make_shop):
    class Full(MemoryStore):
        def commit(self, change):
            if change.notification is not None:
                raise OSError("disk full")
            super().commit(change)

    shop = make_shop()
    shop.payments._inbox._store = Full()
    session = shop.session("requires_more")
    assert post(shop, session.id).status == 503


def test_a_plugin_that_breaks_on_a_notification_does_not_acknowledge_it(make_shop):
    class Breaks(FakeProvider):
        @hookimpl
        def parse_webhook(self, headers, body):
            raise KeyError("whsec_fake")

    shop = make_shop(Breaks())
    reply = shop.payments.handle_webhook("fake", headers={}, body=b"")
    assert (reply.status, reply.body) == (503, "try again")


def test_a_provider_that_cannot_be_loaded_has_its_notifications_sent_again():
    with Payments(MemoryStore(), Registry({"fake": object()})) as payments:
        assert payments.handle_webhook("fake", headers={}, body=b"{}").status == 503


def approved(shop):
    """Return a session whose payer has approved, and that the host has authorized."""
    session = shop.session("requires_more")
    shop.fake.payer_approves(session.id)
    return shop.payments.authorize(session.id)


class Bank(FakeProvider):
    """A gateway that cannot be asked and whose statements tell effects."""

    effects = ()
    authorize_next = None

    def __init__(self):
        super().__init__(lookup="none", approve=False)

    @hookimpl
    def authorize(self, session, operation):
        return self.authorize_next or super().authorize(session, operation)

    @hookimpl
    def parse_webhook(self, headers, body):
        return [WebhookEvent(None, "statement", references=[body.decode()], effects=self.effects)]


def test_a_statement_of_a_bank_that_cannot_be_asked_is_booked(make_shop):
    shop = make_shop(Bank())
    session = shop.session("requires_more")
    statement = [
        [Effect("authorize", eur("42.00"), reference="a"), Effect("capture", eur("42.00"), reference="b")],
        [Effect("refund", eur("2.00"), reference="c", capture="b", error=Failure("AC04", "closed account"))],
    ]
    for effects in statement * 2:  # the bank sends everything twice
        shop.fake.effects = effects
        reference = f"fake_{session.id}".encode()
        assert shop.payments.handle_webhook("fake", headers={}, body=reference).status == 200
    session = shop.payments.get(session.id)
    assert (session.status, session.captured, session.refunded) == ("authorized", 4200, 200)
    rows = {row.kind: row for row in shop.payments.history(session.id)}
    assert rows["refund"].capture_id == rows["capture"].id


@pytest.mark.parametrize("end", ["capture", "cancel"])
def test_a_statement_that_comes_late_says_nothing_about_how_it_stands_now(make_shop, end):
    shop = make_shop(Bank())
    session = shop.session("requires_more")
    shop.fake.payer_approves(session.id)
    session = shop.payments.authorize(session.id)
    if end == "capture":
        session = shop.payments.capture(session.id, eur("30.00"), final=True)
    else:
        session = shop.payments.cancel(session.id)
    rows = {row.kind: row for row in shop.payments.history(session.id)}
    done = [Effect("authorize", eur("42.00"), key=rows["authorize"].id)]
    if end == "capture":
        done.append(Effect("capture", eur("30.00"), key=rows["capture"].id))
    for effect in done * 2:
        shop.fake.effects = [effect]
        shop.payments.handle_webhook("fake", headers={}, body=f"fake_{session.id}".encode())
    assert shop.payments.get(session.id) == session
    assert "session.conflict" not in [event.type for event in shop.payments.events()]


def test_a_debit_that_fails_while_a_cancel_is_in_doubt_is_booked(make_shop):
    shop = make_shop(Bank())
    session = shop.session("requires_more")
    shop.fake.authorize_next = Outcome.pending()
    assert shop.payments.authorize(session.id).authorizing is not None
    shop.fake.fail_next("timeout", kind="cancel")
    with pytest.raises(OutcomeUnknown):
        shop.payments.cancel(session.id)
    debit = next(row for row in shop.payments.history(session.id) if row.kind == "authorize")
    shop.fake.effects = [Effect("authorize", eur("42.00"), "failed", key=debit.id)]
    shop.payments.handle_webhook("fake", headers={}, body=f"fake_{session.id}".encode())
    session = shop.payments.get(session.id)
    assert (session.authorizing, session.pending, session.held, session.in_doubt) == (None, 0, 0, True)


def test_a_statement_of_a_final_capture_in_doubt_releases_the_rest(make_shop):
    shop = make_shop(Bank())
    session = approved(shop)
    shop.fake.fail_next("lost_answer", kind="capture")
    with pytest.raises(OutcomeUnknown):
        shop.payments.capture(session.id, eur("30.00"), final=True)
    capture = shop.payments.history(session.id)[-1]
    shop.fake.effects = [Effect("capture", eur("30.00"), key=capture.id)]
    shop.payments.handle_webhook("fake", headers={}, body=f"fake_{session.id}".encode())
    session = shop.payments.get(session.id)
    assert (session.captured, session.authorized, session.held, session.in_doubt) == (3000, 3000, 3000, False)


@pytest.mark.parametrize("cancel", [True, False])
def test_a_slow_capture_that_fails_frees_what_it_held_once_the_rest_was_released(make_shop, cancel):
    shop = make_shop(Slow())
    session = approved(shop)
    shop.payments.capture(session.id, eur("30.00"))
    capture = shop.payments.history(session.id)[-1]
    if cancel:
        shop.payments.cancel(session.id)
    for state in ("failed", "pending", "failed"):  # what comes late, and what comes twice
        shop.fake.effects = [Effect("capture", eur("30.00"), state, "x", capture.id)]
        shop.payments.handle_webhook("fake", headers={}, body=f"fake_{session.id}".encode())
    session = shop.payments.get(session.id)
    assert (session.status, session.held) == (("canceled", 0) if cancel else ("authorized", 4200))
    assert (session.pending, session.conflict) == (0, None)


def test_a_slow_capture_that_fails_frees_what_it_held_once_a_final_one_has_released_the_rest(make_shop):
    shop = make_shop(Slow())
    session = approved(shop)
    shop.payments.capture(session.id, eur("30.00"))
    slow = shop.payments.history(session.id)[-1]
    shop.fake.outcome = Outcome.captured(eur("5.00"), reference="y", released=True)
    assert shop.payments.capture(session.id, eur("5.00"), final=True).authorized == 3500
    shop.fake.effects = [Effect("capture", eur("30.00"), "failed", "x", slow.id)]
    shop.payments.handle_webhook("fake", headers={}, body=f"fake_{session.id}".encode())
    assert shop.books(session.id) == ("authorized", 500, 500, 0, None)
    assert shop.told()[-2:] == ["operation.failed", "session.released"]
    assert shop.payments.events()[-1].operation_id == slow.id


def test_a_slow_capture_that_fails_frees_nothing_where_nothing_was_released(make_shop):
    shop = make_shop(Slow())
    session = approved(shop)
    shop.fake.outcome = Outcome.captured(eur("5.00"), reference="y")
    shop.payments.capture(session.id, eur("5.00"))
    shop.fake.outcome = Slow.outcome
    shop.payments.capture(session.id, eur("30.00"))
    slow = shop.payments.history(session.id)[-1]
    shop.fake.effects = [Effect("capture", eur("30.00"), "failed", "x", slow.id)]
    shop.payments.handle_webhook("fake", headers={}, body=f"fake_{session.id}".encode())
    assert shop.books(session.id) == ("authorized", 4200, 500, 0, None)


def test_a_statement_of_a_capture_in_doubt_that_was_not_final_releases_nothing(make_shop):
    shop = make_shop(Bank())
    session = approved(shop)
    shop.fake.fail_next("lost_answer", kind="capture")
    with pytest.raises(OutcomeUnknown):
        shop.payments.capture(session.id, eur("30.00"))
    capture = shop.payments.history(session.id)[-1]
    shop.fake.effects = [Effect("capture", eur("30.00"), key=capture.id)]
    shop.payments.handle_webhook("fake", headers={}, body=f"fake_{session.id}".encode())
    assert shop.books(session.id) == ("authorized", 4200, 3000, 0, None)


class Slow(Bank):
    """A bank whose captures take days."""

    outcome = Outcome.pending(reference="x")

    @hookimpl
    def capture(self, session, operation):
        return self.outcome


class Telling(FakeProvider):
    """Its notifications tell of a capture, whoever sent them."""

    @hookimpl
    def parse_webhook(self, body):
        (effect,) = [Effect("capture", eur("42.00"), reference="told")]
        return [WebhookEvent(None, "told", session_id=body.decode(), effects=[effect])]


@pytest.mark.parametrize(("lookup", "captured"), [("consistent", 0), ("none", 4200)])
def test_what_a_notification_tells_is_believed_only_of_a_gateway_that_cannot_be_asked(
    make_shop, lookup, captured
):
    shop = make_shop(Telling(lookup=lookup))
    session = shop.session()
    assert shop.payments.handle_webhook("fake", headers={}, body=session.id.encode()).status == 200
    assert shop.payments.get(session.id).captured == captured
