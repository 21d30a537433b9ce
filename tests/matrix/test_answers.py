"""What an answer, or none, may be taken for: a failure is declined, not applied, or unknown."""

from datetime import timedelta

import pytest
from tests.matrix.conftest import KINDS, MOVES, TOTAL, eur

from paysession import Declined, NotApplied, OutcomeUnknown, PaysessionError, SessionBusy, hookimpl

LOST = ("drop_after", "silent_after", "error_after", "bad_gateway_after", "request_timeout_after")
NEVER = (
    "drop_before",
    "silent_before",
    "error_before",
    "unavailable",
    "request_timeout_before",
    "in_progress",
)
UNREADABLE = ("garbage", "truncated", "empty", "wrong_amount", "wrong_currency", "unknown_status")


def verb(kind):
    return {"initiate": "create"}.get(kind, kind)


def attempt(lab, kind, session_id):
    """Act, and say which error came, if one did."""
    try:
        lab.act(lab.pay, kind, session_id)
    except PaysessionError as error:
        return type(error)
    return None


@pytest.mark.parametrize("kind", [*KINDS, "sync"])
def test_a_refused_connection_means_that_nothing_happened_and_may_be_tried_again(lab, kind):
    session_id = lab.ready_for(kind) if kind != "sync" else lab.session()
    lab.gateway.refuse()
    if kind == "sync":
        lab.forward(minutes=1)
        with pytest.raises((NotApplied, OutcomeUnknown)):
            lab.pay.sync(session_id)
        lab.gateway.accept()
        assert lab.pay.sync(session_id).status == "authorized"
        return
    assert attempt(lab, kind, session_id) is NotApplied
    assert not lab.pay.in_doubt()
    lab.gateway.accept()
    assert attempt(lab, kind, session_id) is None
    lab.check(kind, session_id)


@pytest.mark.parametrize(("keys", "lookup"), [("all", "consistent"), ("all", "none"), ("success", "none")])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", LOST)
def test_an_answer_that_was_lost_after_the_commit_is_found_out(lab, kind, fault, keys, lookup):
    lab.account(keys=keys, lookup=lookup)
    session_id = lab.ready_for(kind)
    lab.inject(fault, verb=verb(kind))
    assert attempt(lab, kind, session_id) in (None, OutcomeUnknown)
    if lookup == "none" and keys == "all" and fault == "error_after":
        return tell_by_person(lab, kind, session_id)  # it replays its 500 for ever, and cannot be asked
    lab.settle()
    return lab.check(kind, session_id)


def tell_by_person(lab, kind, session_id):
    lab.settle(hours=25)
    # Initiating is inert: an abandoned one needs nobody's word.
    assert [row.needs_operator for row in lab.pay.in_doubt()] == [True] * (kind != "initiate")
    assert lab.effects(kind) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", NEVER)
def test_a_request_that_was_lost_before_the_commit_is_unknown_and_sent_again_once(lab, kind, fault):
    session_id = lab.ready_for(kind)
    lab.inject(fault, verb=verb(kind))
    assert attempt(lab, kind, session_id) is OutcomeUnknown
    assert lab.effects(kind) == 0
    if fault == "error_before":  # stored under the key and replayed: only the end of the window frees it
        lab.settle(hours=25)
        assert not lab.pay.in_doubt()
        if kind != "initiate":
            attempt(lab, kind, session_id)
            lab.check(kind, session_id)
        return
    lab.settle()
    lab.check(kind, session_id)


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_is_carried_out_after_we_gave_up_happens_once(lab, kind):
    session_id = lab.ready_for(kind)
    lab.inject("late", verb=verb(kind))
    attempt(lab, kind, session_id)
    lab.settle()
    lab.check(kind, session_id)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["request_timeout_before", "in_progress", "busy"])
def test_408_409_and_429_are_never_a_decline(lab, kind, fault):
    session_id = lab.ready_for(kind)
    lab.inject(fault, verb=verb(kind))
    expected = NotApplied if fault == "busy" else OutcomeUnknown
    assert attempt(lab, kind, session_id) is expected
    if session_id:
        assert lab.pay.history(session_id)[-1].state != "declined"
    if fault == "busy":
        attempt(lab, kind, session_id)
    lab.settle()
    lab.check(kind, session_id)


@pytest.mark.parametrize("kind", MOVES)
def test_a_decline_whose_cause_is_fixed_goes_through_under_a_new_key(lab, kind):
    session_id = lab.ready_for(kind)
    lab.inject("declined", verb=kind)
    if kind == "authorize":
        assert lab.pay.authorize(session_id).status == "error"
    else:
        with pytest.raises(Declined):
            getattr(lab.pay, kind)(session_id)
    getattr(lab.pay, kind)(session_id)
    lab.check(kind, session_id)
    declined, again = lab.pay.history(session_id)[-2:]
    assert (declined.state, again.state) == ("declined", "succeeded")
    assert declined.key != again.key


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("committed", [True, False])
def test_after_the_keys_life_doubt_is_looked_up_and_never_sent_again(lab, kind, committed):
    lab.account(window=timedelta(hours=1))
    session_id = lab.ready_for(kind)
    lab.inject("silent_after" if committed else "silent_before", verb=verb(kind))
    lab.inject("drop_before", "drop_before", verb="lookup")
    if kind == "authorize":  # it looks before it writes
        lab.gateway.heal("shop")
        lab.inject("silent_after" if committed else "silent_before", verb=verb(kind))
    attempt(lab, kind, session_id)
    if kind == "authorize" and not committed:
        lab.gateway.payer("shop", session_id, "challenge")  # or the payer's approval would begin a new one
    asked = lab.calls().get(verb(kind), 0)
    lab.settle(hours=2)
    assert lab.calls().get(verb(kind), 0) == asked
    if committed:
        lab.check(kind, session_id)
    else:
        lab.check_nothing(kind)


@pytest.mark.parametrize("kind", MOVES)
def test_the_lookup_decides_against_a_stored_500(lab, kind):
    session_id = lab.ready_for(kind)
    lab.inject("error_after", verb=kind)
    if kind != "authorize":
        lab.inject("drop_before", verb="lookup")
    attempt(lab, kind, session_id)
    lab.settle()
    lab.check(kind, session_id)


def test_the_lookup_decides_against_a_stored_requires_action(lab):
    session_id = lab.session("requires_more")
    lab.inject("drop_after", verb="authorize")  # the gateway answered: the payer must act
    with pytest.raises(OutcomeUnknown):
        lab.pay.authorize(session_id)
    lab.gateway.payer("shop", session_id, "confirm")
    lab.settle()
    session = lab.pay.get(session_id)
    assert (session.status, session.authorized, session.in_doubt) == ("authorized", TOTAL, False)
    assert lab.effects("authorize") == 1


@pytest.mark.parametrize("kind", ["capture", "refund", "cancel"])
def test_a_refusal_for_the_objects_state_is_looked_up(lab, kind):
    """Somebody in the dashboard was faster: the gateway refuses ours, and that is no decline."""
    session_id = lab.ready_for(kind)
    assert lab.gateway.dashboard("shop", session_id, kind, TOTAL)
    attempt(lab, kind, session_id)
    lab.settle()
    assert "declined" not in [row.state for row in lab.pay.history(session_id)]
    assert lab.done(kind, session_id)
    assert lab.effects(kind) == 1


@pytest.mark.parametrize("kind", ["initiate", "authorize", "capture", "refund"])
@pytest.mark.parametrize("fault", UNREADABLE)
def test_an_answer_that_is_not_what_was_asked_for_settles_nothing_by_itself(lab, kind, fault):
    lab.account(lookup="none")
    session_id = lab.ready_for(kind)
    lab.inject(fault, verb=verb(kind))
    assert attempt(lab, kind, session_id) is OutcomeUnknown
    lab.settle()
    lab.check(kind, session_id)


@pytest.mark.parametrize("fault", UNREADABLE)
def test_a_lookup_that_cannot_be_right_is_reported_or_changes_nothing(lab, fault):
    session_id = lab.session("captured")
    before = lab.pay.get(session_id)
    lab.inject(fault, verb="lookup")
    try:
        session = lab.pay.sync(session_id)
    except (NotApplied, OutcomeUnknown):
        session = lab.pay.get(session_id)
        assert session == before
    else:
        assert session.conflict in ("amount", "currency")
        assert [event.type for event in lab.pay.events()].count("session.conflict") == 1
    assert (session.captured, session.refunded) == (TOTAL, 0)
    lab.pay.sync(session_id)
    lab.check("capture", session_id)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["raises", "none", "nonsense", "unknown"])
def test_a_plugin_that_answers_nothing_of_use_leaves_doubt_and_its_words(lab, kind, how):
    class Breaks:
        broken = True

        def _around(self):
            answer = yield
            if not self.broken:
                return answer
            if how == "raises":
                raise KeyError("of the plugin's own")
            return {"none": None, "nonsense": "captured", "unknown": object()}[how]

        @hookimpl(wrapper=True)
        def initiate(self):
            return (yield from self._around())

        update = authorize = capture = refund = cancel = initiate

    lab.account(lookup="none")
    session_id = lab.ready_for(kind)
    plugin = Breaks()
    lab.pay._engine.registry._loaded.clear()
    lab.pay._engine.registry._plugins = None
    lab.pay._engine.registry._plugin_names.append(plugin)
    assert attempt(lab, kind, session_id) is OutcomeUnknown
    (doubt,) = lab.pay.in_doubt()
    assert ("KeyError" if how == "raises" else "answered") in doubt.reason
    plugin.broken = False
    lab.settle()
    lab.check(kind, session_id)


@pytest.mark.parametrize("lookup", ["consistent", "none"])
def test_another_provider_is_refused_while_one_is_in_doubt(lab, lookup):
    lab.account(lookup=lookup)
    session_id = lab.ready_for("authorize")
    other = lab.session("requires_more", provider="other")
    lab.gateway.payer("shop", other, "approve")
    lab.inject("silent_before", verb="authorize")
    assert attempt(lab, "authorize", session_id) is OutcomeUnknown
    with pytest.raises(PaysessionError) as caught:
        lab.pay.authorize(other)
    assert not isinstance(caught.value, SessionBusy | OutcomeUnknown)
    assert lab.effects("authorize") == 0
    lab.settle()
    assert lab.pay.get(session_id).status == "authorized"
    assert sum(row["amount"] for row in lab.ledger("authorize")) == TOTAL
    assert eur(TOTAL) == lab.pay.collection(reference="order-1").authorized_amount
