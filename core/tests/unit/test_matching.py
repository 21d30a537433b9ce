"""Which operation an effect belongs to, and what is recorded of it."""

from datetime import timedelta

import pytest

from helpers import NOW, cents, eur
from paysession import (
    Kind,
    State,
    Status,
)
from paysession._ledger.evidence import (
    from_snapshot,
)
from paysession._ledger.ledger import IMPLIED, Ledger
from paysession._ledger.rules import Request, begin
from paysession.operation import Dispute
from paysession.outcome import Effect, Snapshot
from paysession.values import Failure, replace
from recorded import (
    CAN,
    LATER,
    TOLD,
    an_operation,
    at_gateway,
    authorized,
    canceled,
    events,
    in_doubt,
    kinds,
    looked,
    notified,
    of_kind,
)

# --- which operation an effect belongs to ---------------------------------------------------------------

GRANTED = replace(an_operation(Kind.AUTHORIZE, answer="authorized"), id="ps_1-0-authorize", ordinal=0)


def a_capture(state=State.STARTED, amount="10.00", **changes):
    return an_operation(Kind.CAPTURE, amount, state, **changes)


def capture_reported(
    operation, *, session=None, capabilities=TOLD, amount="10.00", state="succeeded", **effect
):
    """Return the ledger once a capture was reported, with an operation in the ledger, and that one."""
    session = session or authorized(open=operation.id if operation.state is State.STARTED else None)
    ledger = notified(
        session,
        Effect("capture", eur(amount), state, **effect),
        operations=[GRANTED, operation],
        capabilities=capabilities,
    )
    return ledger, ledger.operation(operation.id)


@pytest.mark.parametrize(
    ("before", "ours"),
    [
        (timedelta(0), True),
        (timedelta(minutes=5), True),
        (timedelta(minutes=5, microseconds=1), False),
    ],
)
def test_a_capture_that_is_older_than_ours_by_more_than_clocks_differ_is_another(before, ours):
    ledger, operation = capture_reported(a_capture(), reference="ch", created_at=NOW - before)
    assert operation.state is (State.SUCCEEDED if ours else State.STARTED)
    assert ledger.row.captured == 1000


def test_a_capture_without_our_key_is_not_ours_where_all_of_ours_carry_it():
    keyed = replace(TOLD, keyed_effects=True)
    _, operation = capture_reported(a_capture(), reference="ch", capabilities=keyed)
    assert operation.state is State.STARTED


def test_a_capture_of_the_rest_is_not_ours_if_we_asked_for_less():
    ledger, operation = capture_reported(a_capture(), reference="ch", amount="42.00")
    assert (operation.state, ledger.row.captured) == (State.STARTED, 4200)


def test_what_a_total_showed_gets_its_name_from_the_effect_and_is_no_second_one():
    found = a_capture(State.SUCCEEDED, answer="found", origin="provider")
    for keyed in (False, True):
        capabilities = replace(TOLD, keyed_effects=keyed)
        ledger, operation = capture_reported(
            found, session=authorized(captured=1000), reference="ch", capabilities=capabilities
        )
        assert (operation.reference, operation.sure, ledger.row.captured) == ("ch", True, 1000)


def test_what_was_shown_by_a_foreign_key_alone_is_known_by_its_reference_once_that_is_shown_too():
    found = a_capture(State.SUCCEEDED, answer="found", origin="provider", reference="theirs")
    session = authorized(captured=1000)
    ledger, operation = capture_reported(found, session=session, reference="ch", key="theirs")
    assert (operation.reference, ledger.row.captured) == ("ch", 1000)
    ledger, _ = capture_reported(operation, session=ledger.session, reference="ch")
    assert ledger.row.captured == 1000


def test_captures_with_the_key_of_an_authorization_are_two_if_their_references_are():
    known = a_capture(State.SUCCEEDED, answer="captured", origin="provider", reference="c1")
    session = authorized(captured=1000)
    for reference, captured in [("c1", 1000), ("c2", 2000), (None, 1000)]:
        ledger, operation = capture_reported(known, session=session, reference=reference, key=GRANTED.id)
        assert (operation.reference, ledger.row.captured) == ("c1", captured)


def test_captures_are_two_though_the_first_has_the_objects_name():
    known = a_capture(State.SUCCEEDED, answer="captured", reference="pi_1")
    ledger, operation = capture_reported(known, session=authorized(captured=1000), reference="c2")
    assert (operation.reference, ledger.row.captured) == ("pi_1", 2000)


def test_a_capture_without_a_name_is_none_that_was_refused():
    refused = a_capture(State.DECLINED)
    ledger, operation = capture_reported(refused, reference="ch")
    assert (operation.state, ledger.row.captured, kinds(ledger)) == (State.DECLINED, 1000, [])


def test_captures_with_the_keys_of_two_authorizations_are_two():
    second = replace(GRANTED, id="ps_1-1-authorize")
    known = a_capture(State.SUCCEEDED, answer="found", origin="provider", reference=second.id)
    effect = Effect("capture", eur("10.00"), reference="ch", key=GRANTED.id)
    session = authorized(captured=1000)
    ledger = notified(session, effect, operations=[GRANTED, second, known])
    assert ledger.row.captured == 2000


@pytest.mark.parametrize("name", [{}, {"reference": "", "key": ""}])
def test_two_captures_without_a_name_are_two_and_the_next_report_shows_the_same_two(name):
    captures = [Effect("capture", eur("10.00"), **name)] * 2
    ledger = notified(authorized(), *captures, operations=[GRANTED])
    assert ledger.row.captured == 2000
    if not name:
        ledger = notified(ledger.session, *captures, operations=ledger.operations)
        assert (ledger.row.captured, ledger.changed) == (2000, False)


def test_of_two_captures_alike_one_is_ours():
    ours = a_capture()
    captures = [Effect("capture", eur("10.00"))] * 2
    ledger = notified(authorized(open=ours.id), *captures, operations=[GRANTED, ours])
    assert (ledger.operation(ours.id).state, ledger.row.captured) == (State.SUCCEEDED, 2000)


@pytest.mark.parametrize("open_", [None, "ps_1-1-cancel"])
def test_a_report_of_an_authorization_settles_the_one_that_is_pending_and_nothing_else(open_):
    pending = replace(GRANTED, state=State.PENDING, answer="pending")
    cancel = an_operation(Kind.CANCEL, state=State.STARTED if open_ else State.NOT_APPLIED)
    session = at_gateway(open=open_, authorizing=pending.id, pending=1, held=4200)
    effect = Effect("authorize", eur("42.00"), reference="au")
    ledger = notified(session, effect, operations=[pending, cancel])
    assert ledger.operation(pending.id).state is State.SUCCEEDED
    assert (ledger.row.authorized, len(ledger.operations)) == (4200, 2)


def test_a_capture_that_is_reported_alone_was_authorized():
    ledger = notified(at_gateway(), Effect("capture", eur("10.00"), reference="ch"))
    assert events(ledger) == ["session.authorized", "session.captured", "session.conflict"]
    assert (ledger.row.status, ledger.row.authorized) == (Status.AUTHORIZED, 1000)


def test_what_was_undone_is_undone_once():
    undone = Effect("capture", eur("10.00"), "reversed", "ch")
    ledger = notified(authorized(), undone, operations=[GRANTED])
    ledger = notified(ledger.session, undone, operations=ledger.operations)
    assert (ledger.row.captured, ledger.changed) == (0, False)


GUESSED = a_capture(State.SUCCEEDED, answer="found", reference="a", sure=False)


@pytest.mark.parametrize(
    ("ours", "effect", "reference", "figures"),
    [
        ({}, {}, "b", (2000, 0)),
        ({}, {"state": "reversed"}, "b", (1000, 0)),
        ({}, {"state": "pending"}, "a", (1000, 1000)),
        ({}, {"state": "failed"}, "a", (1000, 0)),
        ({}, {"amount": "8.00"}, "a", (1800, 0)),
        ({"sure": True}, {}, "a", (2000, 0)),
        ({"state": State.DECLINED, "answer": "failed"}, {}, "a", (2000, 0)),
        ({"state": State.PENDING}, {}, "b", (2000, 1000)),
        ({"state": State.PENDING}, {"state": "pending"}, "b", (1000, 2000)),
    ],
)
def test_a_guess_is_taken_back_where_the_key_says_so_and_no_total_moves_by_that(
    ours, effect, reference, figures
):
    operation = replace(GUESSED, **ours)
    pending = operation.state is State.PENDING
    session = authorized(captured=1000, capturing=1000 * pending, pending=int(pending))
    ledger, operation = capture_reported(
        operation, session=session, reference="b", key=operation.id, **effect
    )
    assert operation.reference == reference
    assert (ledger.row.captured, ledger.row.capturing) == figures


def test_a_guess_of_which_a_part_was_undone_is_not_taken_back():
    undone = replace(a_capture(State.SUCCEEDED, "4.00"), id="ps_1-0undone", reverses=GUESSED.id)
    effect = Effect("capture", eur("10.00"), reference="b", key=GUESSED.id)
    ledger = notified(authorized(captured=600), effect, operations=[GRANTED, GUESSED, undone])
    assert (ledger.operation(GUESSED.id).reference, ledger.row.captured) == ("a", 1600)


@pytest.mark.parametrize("capture", ["once", "multiple"])
def test_a_capture_that_is_reported_releases_the_rest_where_the_gateway_does(capture):
    capabilities = replace(TOLD, capture=capture, final_capture_releases=True)
    for final in (False, True):
        ours = a_capture(final=final)
        for state in ("succeeded", "pending"):
            released = state == "succeeded" and (final or capture == "once")
            ledger, _ = capture_reported(ours, capabilities=capabilities, key=ours.id, state=state)
            assert ledger.row.authorized == (1000 if released else 4200)


# --- effects of what was settled as refused -------------------------------------------------------------


@pytest.mark.parametrize("reference", [None, "ch"])
@pytest.mark.parametrize("known", [None, "ch"])
def test_what_was_refused_here_and_undone_there_leaves_no_money(known, reference):
    refused = a_capture(State.NOT_APPLIED, reference=known)
    ledger, _ = capture_reported(refused, state="reversed", reference=reference, key=refused.id)
    assert (ledger.row.captured, kinds(ledger)) == (0, ["effect_after_refusal"])
    assert events(ledger)[-2:] == ["session.captured", "session.reversed"]


@pytest.mark.parametrize(
    ("single", "refused", "news"),
    [
        (True, {"state": State.DECLINED}, False),
        (False, {"state": State.DECLINED}, True),
        (True, {"state": State.NOT_APPLIED}, True),
        (True, {"state": State.NOT_APPLIED, "answer": "pending"}, False),
        (False, {"state": State.DECLINED, "answer": "pending"}, False),
        (False, {"state": State.DECLINED, "answer": "failed"}, False),
    ],
)
def test_what_is_shown_as_pending_may_be_from_before_it_was_refused(single, refused, news):
    operation = replace(a_capture(reference="ch"), **refused)
    effect = Effect("capture", eur("10.00"), "pending", "ch", operation.id)
    if single:
        ledger = notified(authorized(), effect, operations=[GRANTED, operation])
    else:
        ledger = looked(authorized(), Snapshot("authorized", effects=[effect]), GRANTED, operation)
    assert (ledger.row.capturing, kinds(ledger)) == ((1000, ["effect_after_refusal"]) if news else (0, []))


# --- disputes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "status", "news"),
    [
        ("opened", "opened", False),
        ("opened", "under_review", True),
        ("under_review", "opened", False),
        ("under_review", "lost", True),
        ("lost", "under_review", False),
    ],
)
def test_single_reports_of_a_dispute_take_it_forward_only(known, status, news):
    chargeback = an_operation(
        Kind.CHARGEBACK,
        state=State.PENDING,
        origin="provider",
        reference="dp",
        dispute=Dispute(known),
    )
    effect = Effect("chargeback", eur("42.00"), "pending", "dp", dispute=Dispute(status))
    session = authorized(captured=4200, pending=1, disputes=1)
    ledger = notified(session, effect, operations=[chargeback])
    assert (chargeback.id in ledger.written) is news
    # A lookup shows how it stands now, whatever it was before.
    shown = looked(session, Snapshot("authorized", effects=[effect]), chargeback)
    assert (chargeback.id in shown.written) is (status != known)


@pytest.mark.parametrize(
    ("known", "shown", "undone", "news"),
    [
        (None, Dispute("opened"), False, True),
        (Dispute("opened"), Dispute("opened", reason="fraudulent"), False, True),
        (Dispute("lost"), Dispute("opened"), True, False),
        (Dispute("lost"), Dispute("won"), True, True),
        (Dispute("opened"), Dispute("lost"), True, True),
        (Dispute("opened"), Dispute("under_review"), True, False),
    ],
)
def test_how_a_dispute_ended_is_news_and_how_it_stood_before_its_money_came_back_is_not(
    known, shown, undone, news
):
    chargeback = an_operation(Kind.CHARGEBACK, origin="provider", reference="dp", dispute=known)
    back = [replace(chargeback, id="ps_1-0back", reverses=chargeback.id, reference=None)] * undone
    effect = Effect("chargeback", eur("42.00"), reference="dp", dispute=shown)
    session = authorized(captured=4200, charged_back=4200 * (not undone))
    ledger = notified(session, effect, operations=[chargeback, *back])
    assert ledger.operation(chargeback.id).dispute == (shown if news else known)


def test_an_inquiry_about_no_money_goes_on_like_a_dispute():
    inquiry = an_operation(
        Kind.CHARGEBACK, "0.00", State.PENDING, origin="provider", reference="dp", dispute=Dispute("opened")
    )
    effect = Effect("chargeback", eur("0.00"), "pending", "dp", dispute=Dispute("under_review"))
    ledger = notified(authorized(captured=4200, disputes=1), effect, operations=[inquiry])
    assert ledger.operation(inquiry.id).dispute == Dispute("under_review")


def test_a_stale_lookup_takes_a_dispute_forward_only():
    lagging = replace(CAN, lookup="lagging", lookup_lag=timedelta(hours=1))
    chargeback = an_operation(
        Kind.CHARGEBACK, origin="provider", reference="dp", dispute=Dispute("under_review")
    )
    session = authorized(captured=4200, charged_back=4200, disputes=1)
    for status, news in [("opened", False), ("lost", True)]:
        effect = Effect("chargeback", eur("42.00"), reference="dp", dispute=Dispute(status))
        snapshot = Snapshot("authorized", effects=[effect])
        ledger = looked(session, snapshot, chargeback, capabilities=lagging)
        assert (chargeback.id in ledger.written) is news


# --- totals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "settled"), [(Kind.CAPTURE, True), (Kind.REFUND, False)])
def test_a_total_settles_what_is_in_doubt_of_its_kind(kind, settled):
    ledger, operation = begin(authorized(captured=2000), Request(kind, eur("10.00")), CAN, NOW)
    first = an_operation(Kind.CAPTURE, "20.00", answer="captured")
    snapshot = Snapshot("authorized", captured=eur("30.00"))
    shown = looked(ledger.session, snapshot, first, operation)
    assert shown.operation(operation.id).state is (State.SUCCEEDED if settled else State.STARTED)
    assert (shown.row.captured, len(shown.operations)) == (3000, 2 if settled else 3)


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({}, True),
        ({"attempt": 1}, False),
        ({"state": State.DECLINED}, False),
        ({"amount": eur("9.00")}, False),
        ({"kind": Kind.REFUND}, False),
    ],
)
def test_what_a_total_shows_is_what_was_sent_again_and_taken_for_not_applied(changes, lost):
    sent = replace(an_operation(Kind.CAPTURE, "10.00", State.NOT_APPLIED, attempt=2), **changes)
    ledger = looked(authorized(), Snapshot("authorized", captured=eur("10.00")), sent)
    assert (kinds(ledger), ledger.row.captured) == (["effect_after_refusal"] if lost else [], 1000)


def test_what_was_found_since_explains_a_total_no_more():
    sent = an_operation(Kind.CAPTURE, "10.00", State.NOT_APPLIED, attempt=2)
    found = replace(sent, id="ps_1-0found", state=State.SUCCEEDED, answer="found", ordinal=2)
    earlier = replace(found, id="ps_1-0earlier", ordinal=0)
    for rows, lost in [
        ([found], False),
        ([earlier], True),
        ([earlier, found], False),
        ([replace(found, kind=Kind.REFUND)], True),
    ]:
        captured = 1000 * sum(row.kind is Kind.CAPTURE for row in rows)
        session = authorized(captured=captured, refunded=1000)
        snapshot = Snapshot("authorized", captured=cents(captured + 1000))
        assert ("effect_after_refusal" in kinds(looked(session, snapshot, sent, *rows))) is lost


@pytest.mark.parametrize(("kind", "captured"), [(Kind.CAPTURE, 0), (Kind.REFUND, 1000)])
def test_a_stale_total_may_be_from_before_something_of_its_kind_was_undone(kind, captured):
    lagging = replace(CAN, lookup="lagging", lookup_lag=timedelta(hours=1))
    done = an_operation(kind, "10.00", answer="found")
    undone = replace(done, id="ps_1-0undone", reverses=done.id)
    ledger = Ledger(authorized(), LATER, [done, undone])
    snapshot = Snapshot("authorized", captured=eur("10.00"))
    from_snapshot(ledger, snapshot, lagging, room=0, asked_at=LATER)
    assert ledger.row.captured == captured


def test_a_stale_total_that_is_more_than_was_ever_known_shows_something_new():
    lagging = replace(CAN, lookup="lagging", lookup_lag=timedelta(hours=1))
    done = an_operation(Kind.CAPTURE, "10.00", answer="captured")
    snapshot = Snapshot("authorized", captured=eur("15.00"))
    ledger = looked(authorized(captured=1000), snapshot, done, capabilities=lagging)
    assert ledger.row.captured == 1500


def test_an_inquiry_about_no_money_is_settled_by_no_total():
    inquiry = an_operation(
        Kind.CHARGEBACK, "0.00", State.PENDING, origin="provider", reference="dp", dispute=Dispute("opened")
    )
    snapshot = Snapshot("authorized", captured=eur("42.00"), charged_back=eur("0.00"))
    ledger = looked(authorized(captured=4200, disputes=1), snapshot, inquiry)
    assert (ledger.operation(inquiry.id).state, events(ledger)) == (State.PENDING, [])


@pytest.mark.parametrize("kind", [Kind.CAPTURE, Kind.REFUND, Kind.CHARGEBACK])
def test_a_total_that_is_less_undoes_the_newest_of_that_amount_first(kind):
    rows = [
        replace(an_operation(kind, amount, answer="found"), id=f"ps_1-{place}-{kind}", ordinal=place)
        for place, amount in enumerate(["10.00", "5.00", "10.00"], 1)
    ]
    names = {Kind.CAPTURE: "captured", Kind.REFUND: "refunded", Kind.CHARGEBACK: "charged_back"}
    others = [replace(rows[2], id="ps_1-9-failed", state=State.DECLINED, ordinal=9)]
    session = authorized(**{"captured": 2500, names[kind]: 2500})
    for total, undone in [("15.00", [(3, 1000)]), ("20.00", [(2, 500)]), ("18.00", [(3, 700)])]:
        snapshot = Snapshot("authorized", **{names[kind]: eur(total)})
        ledger = looked(session, snapshot, *rows, *others)
        reversals = [row for row in ledger.written.values() if row.reverses is not None]
        assert [(row.reverses, row.amount.minor) for row in reversals] == [
            (f"ps_1-{place}-{kind}", minor) for place, minor in undone
        ]


def test_a_capture_like_one_that_was_undone_is_another():
    capture = an_operation(Kind.CAPTURE, "10.00", answer="found", reference="ch_1")
    undone = replace(
        an_operation(Kind.CAPTURE, "10.00", answer="reversed", origin="provider"),
        id="ps_1-0undone",
        reverses=capture.id,
    )
    ledger = looked(
        authorized(), Snapshot("authorized", effects=[Effect("capture", eur("10.00"))]), capture, undone
    )
    assert ledger.row.captured == 1000


def test_an_authorization_that_was_found_without_an_id_is_named_by_a_report():
    found = an_operation(Kind.AUTHORIZE, answer="found")
    ledger = notified(authorized(), Effect("authorize", eur("42.00"), "succeeded", "au"), operations=[found])
    assert (ledger.operation(found.id).reference, ledger.row.authorized) == ("au", 4200)


# --- which authorization is meant ---------------------------------------------------------------------


def test_what_is_authorized_by_our_key_goes_by_the_gateways_id_alone():
    session, operation = in_doubt(at_gateway(), Kind.AUTHORIZE)
    for reference in ("au", None):
        effect = Effect("authorize", eur("42.00"), reference=reference, key=operation.id)
        ours = notified(session, effect, operations=[operation]).written[operation.id]
        assert (ours.state, ours.answer, ours.reference) == (State.SUCCEEDED, "found", reference)


def test_an_authorization_that_a_restored_backup_does_not_know_gets_its_id_back():
    effect = Effect("authorize", eur("42.00"), reference="au", key="ps_1-7-abcdefgh")
    for ledger in (
        notified(at_gateway(), effect),
        looked(at_gateway(), Snapshot("authorized", effects=[effect])),
    ):
        assert [row.id for row in ledger.operations] == ["ps_1-7-abcdefgh"]
        assert ledger.row.ordinal == 7


@pytest.mark.parametrize(("known", "expected"), [(None, "au"), ("before", "before")])
def test_a_lookup_answers_our_authorization_and_names_it_if_nothing_has(known, expected):
    session, operation = in_doubt(at_gateway(), Kind.AUTHORIZE, reference=known)
    effects = [
        Effect("capture", eur("1.00"), reference="ch"),
        Effect("authorize", eur("42.00"), "succeeded", "au"),
    ]
    ours = looked(session, Snapshot("authorized", effects=effects), operation).written[operation.id]
    assert (ours.answer, ours.reference) == ("authorized", expected)


def test_a_capture_shows_that_it_was_authorized_even_where_the_begin_was_only_found():
    initiated = an_operation(Kind.INITIATE, answer="found")
    ledger = notified(at_gateway(), Effect("capture", eur("10.00"), reference="ch"), operations=[initiated])
    assert (ledger.row.status, ledger.row.authorized) == (Status.AUTHORIZED, 1000)


@pytest.mark.parametrize(("captured", "granted"), [("10.00", 4200), ("50.00", 5000)])
def test_a_capture_shows_that_our_authorization_in_doubt_succeeded(captured, granted):
    session, operation = in_doubt(at_gateway(), Kind.AUTHORIZE)
    effect = Effect("capture", eur(captured), reference="ch")
    ledger = notified(session, effect, operations=[operation])
    assert ledger.written[operation.id].state is State.SUCCEEDED
    assert (len(of_kind(ledger, Kind.AUTHORIZE)), ledger.row.authorized) == (1, granted)


def test_a_pending_authorization_goes_by_the_gateways_id():
    session, operation = in_doubt(at_gateway(), Kind.AUTHORIZE)
    effect = Effect("authorize", eur("42.00"), "pending", "au", operation.id)
    accepted = notified(session, effect, operations=[operation]).written[operation.id]
    assert (accepted.state, accepted.reference) == (State.PENDING, "au")


def test_a_failure_is_of_the_pending_authorization_that_names_it_and_not_of_one_declined_before():
    declined = an_operation(Kind.AUTHORIZE, state=State.DECLINED)
    pending = an_operation(Kind.AUTHORIZE, state=State.PENDING, place=2, reference="au")
    session = at_gateway(pending=1, authorizing=pending.id)
    failed = Effect("authorize", eur("42.00"), "failed", "au", declined.id)
    ledger = notified(session, failed, operations=[declined, pending])
    assert ledger.operation(pending.id).state is State.DECLINED
    assert (ledger.row.status, ledger.row.pending) == (Status.ERROR, 0)


@pytest.mark.parametrize(("reference", "key", "known"), [("au", "k", "au"), (None, "k", "k")])
def test_the_report_of_an_implied_authorization_names_it_and_is_compared_with_what_was_asked(
    reference, key, known
):
    implied = an_operation(Kind.AUTHORIZE, "10.00", answer=IMPLIED)
    session = authorized(captured=1000, granted=1000, authorized=1000, held=1000)
    effect = Effect("authorize", eur("50.00"), reference=reference, key=key)
    ledger = notified(session, effect, operations=[implied], room=10_000)
    assert ledger.written[implied.id].reference == known
    assert (ledger.row.authorized, kinds(ledger)) == (5000, ["amount"])


def test_a_report_by_our_key_gives_an_authorization_the_gateways_id():
    ours = an_operation(Kind.AUTHORIZE, answer="authorized")
    ledger = notified(
        authorized(), Effect("authorize", eur("42.00"), "succeeded", "au", ours.id), operations=[ours]
    )
    assert ledger.written[ours.id].reference == "au"
    assert ledger.row.authorized == 4200


def test_an_authorization_that_was_declined_and_succeeds_after_all_is_one_beside_a_later_one():
    declined = an_operation(Kind.AUTHORIZE, state=State.DECLINED)
    later = an_operation(Kind.AUTHORIZE, answer="authorized", place=2)
    effect = Effect("authorize", eur("42.00"), "succeeded", "au", declined.id)
    ledger = notified(authorized(), effect, operations=[declined, later])
    assert ledger.row.authorized == 8400


@pytest.mark.parametrize(("amount", "authorized_"), [("42.00", 4200), ("10.00", 5200)])
def test_a_report_of_another_amount_is_of_another_authorization(amount, authorized_):
    ours = an_operation(Kind.AUTHORIZE, answer="authorized")
    ledger = notified(authorized(), Effect("authorize", eur(amount), "succeeded", "au"), operations=[ours])
    assert ledger.row.authorized == authorized_


@pytest.mark.parametrize(("reference", "conflict"), [(None, []), ("au_1", ["authorized_after_cancel"])])
def test_after_the_end_only_an_authorization_without_an_id_is_named_by_a_report(reference, conflict):
    ours = an_operation(Kind.AUTHORIZE, answer="authorized", reference=reference)
    ledger = notified(canceled(), Effect("authorize", eur("42.00"), "succeeded", "au_2"), operations=[ours])
    assert kinds(ledger) == conflict


def test_another_authorization_that_failed_says_nothing_of_ours_in_doubt():
    session, operation = in_doubt(at_gateway(), Kind.AUTHORIZE)
    effect = Effect(
        "authorize",
        eur("42.00"),
        "failed",
        "au",
        "another",
        error=Failure("declined", "no funds", "declined"),
    )
    ledger = notified(session, effect, operations=[operation])
    assert (ledger.row.status, events(ledger)) == (Status.PENDING, [])


def test_an_authorization_that_nobody_knew_releases_nothing_when_it_is_undone():
    ledger = notified(authorized(), Effect("authorize", eur("42.00"), "reversed", "another"))
    assert (ledger.row.authorized, events(ledger)) == (4200, [])
