"""Whatever PayPal shows: an order with anything missing, twisted or contradicting itself books nothing wrong."""

import copy
import json
from datetime import UTC, datetime, timedelta

import pytest

from paysession.provider import Declined, Failure, Kind, Money, NotApplied, OutcomeUnknown, Snapshot, Status
from paysession.values import replace
from paysession_paypal import Reply
from paysession_paypal.orders import AUTHORIZATION, CAPTURE, ORDER, REFUND

NOW = datetime(2026, 1, 2, tzinfo=UTC)
JUNK = [
    None,
    True,
    0,
    -1,
    1.5,
    "",
    "x",
    "42.00 ",
    "-1.00",
    "1e999",
    "NaN",
    [],
    {},
    [None],
    [[]],
    {"value": {}},
]
junk_of_all_kinds = pytest.mark.parametrize(
    "values",
    [
        pytest.param((..., None, "x", "-1.00", {}), id="some junk"),
        pytest.param((..., *JUNK), id="all junk", marks=pytest.mark.slow),
    ],
)
"""What takes the place of each value, or `...`: nothing does."""


class Shows:
    """A transport that shows one document, whatever is asked."""

    def __init__(self, document=None, status=200, date=NOW):
        self.document, self.status, self.date = document, status, date
        self.asked = []

    def send(self, request, deadline):
        self.asked.append(request)
        return Reply(self.status, json.dumps(self.document).encode(), "d1", self.date)

    def close(self):
        pass


@pytest.fixture
def life(hand, fake):
    """Return a hand whose order has been captured in part and refunded in part, and that order."""
    hand.authorized(fake)
    hand.do("capture", "20.00")
    hand.do("refund", "5.00", capture=hand.last)
    hand.do("capture", "10.00")
    return hand, json.loads(fake_order(fake, hand))


def fake_order(fake, hand):
    hand.look()
    return fake.calls("show")[-1].answer.body


def show(hand, document, **options):
    hand.provider.transport = Shows(document, **options)
    return hand.provider.retrieve(hand.session, None)


def places(node, path=()):
    """Go through a document, and yield the path of every value in it."""
    if path:
        yield path
    for key, part in (
        node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    ):
        yield from places(part, (*path, key))


def put(document, path, value):
    document = copy.deepcopy(document)
    node = document
    for key in path[:-1]:
        node = node[key]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return document


def test_the_order_as_it_is(life):
    hand, document = life
    snapshot = show(hand, document)
    assert (snapshot.status, snapshot.session_id, snapshot.reference) == (
        Status.AUTHORIZED, hand.session.id, hand.session.reference,
    )  # fmt: skip
    assert [money.minor for money in (snapshot.authorized, snapshot.captured, snapshot.refunded)] == [
        4200,
        3000,
        500,
    ]
    assert [(e.kind, e.amount.minor, e.state, e.key) for e in snapshot.effects] == [
        (Kind.AUTHORIZE, 4200, "succeeded", None),
        (Kind.CAPTURE, 2000, "succeeded", hand.operations[2].key),
        (Kind.CAPTURE, 1000, "succeeded", hand.operations[4].key),
        (Kind.REFUND, 500, "succeeded", hand.operations[3].key),
    ]


@junk_of_all_kinds
def test_one_value_missing_or_twisted_is_unknown_or_tells_no_more_money_than_there_is(life, values):
    """Every value of the order in turn, each with all the junk there is: about 3,000 orders."""
    hand, document = life
    count = 0
    for path in places(document):
        for junk in values:
            count += 1
            try:
                snapshot = show(hand, put(document, path, junk))
            except (OutcomeUnknown, NotApplied):
                continue
            assert type(snapshot) is Snapshot, path
            assert snapshot.session_id == hand.session.id, path
            for money in (snapshot.amount, snapshot.authorized, snapshot.captured, snapshot.refunded):
                assert money is None or money.currency == "EUR", path
            if snapshot.captured is None or snapshot.refunded is None or snapshot.charged_back is None:
                assert hand.session.status is not Status.AUTHORIZED or snapshot.status is Status.PENDING, path
                assert json.loads(snapshot.data)["unclear"], path
                continue
            assert snapshot.captured <= snapshot.authorized, (path, junk)
            assert snapshot.captured <= Money("30.00", "EUR"), (path, junk)
    assert count > 120 * len(values)


@junk_of_all_kinds
@pytest.mark.parametrize("hook", ["authorize", "cancel", "update"])
def test_the_hooks_that_look_first_raise_nothing_but_what_a_provider_may(hand, fake, hook, values):
    hand.do("initiate")
    fake.payer_approves(hand.session.reference)
    document = json.loads(fake_order(fake, hand))
    for path in places(document):
        for junk in values:
            hand.provider.transport = Shows(put(document, path, junk))
            operation = hand.operation(hook)
            try:
                getattr(hand.provider, hook)(hand.session, operation)
            except (Declined, NotApplied, OutcomeUnknown) as error:
                assert len(str(error)) < 500


@junk_of_all_kinds
@pytest.mark.parametrize("hook", ["initiate", "capture", "refund", "cancel"])
def test_the_hooks_that_write_believe_no_twisted_answer(life, fake, hook, values):
    hand, document = life
    unit = document["purchase_units"][0]["payments"]
    answers = {
        "initiate": document, "capture": unit["captures"][0], "refund": unit["refunds"][0],
        "cancel": {**unit["authorizations"][0], "status": "VOIDED"},
    }  # fmt: skip
    for path in places(answers[hook]):
        for junk in values:
            hand.provider.transport = Shows(put(answers[hook], path, junk), status=201)
            operation = hand.operation(hook, "20.00", capture=hand.operations[2])
            try:
                outcome = getattr(hand.provider, hook)(hand.session, operation)
            except (Declined, NotApplied, OutcomeUnknown):
                continue
            assert outcome.amount is None or outcome.amount.currency == "EUR"


def test_a_status_that_is_not_documented_is_unknown_for_that_row_alone(life):
    """The rest is read, no total is stated that it could falsify, and the core reports a conflict."""
    hand, document = life
    payments = ("purchase_units", 0, "payments")
    for kind, known in (("authorizations", AUTHORIZATION), ("captures", CAPTURE), ("refunds", REFUND)):
        for status in ("PAID", "completed", *sorted(known)):
            try:
                snapshot = show(hand, put(document, (*payments, kind, 0, "status"), status))
            except OutcomeUnknown:
                assert status in known, "a capture that declined leaves nothing that explains CAPTURED"
                continue
            odd = status not in known
            assert (snapshot.status is Status.PENDING) is odd, (kind, status)
            taken_back = kind == "captures" and status in ("REFUNDED", "REVERSED")
            assert len(snapshot.effects) == 4 + taken_back, (kind, status)
            if not odd:
                assert "unclear" not in json.loads(snapshot.data)
                continue
            assert any(status in words for words in json.loads(snapshot.data)["unclear"])
            assert [e.state for e in snapshot.effects].count("pending") == 1, (kind, status)
            assert (snapshot.authorized is None) is (kind != "refunds")
            assert (snapshot.captured is None) is (kind == "captures")
            assert (snapshot.refunded is None) is (kind == "refunds")
            assert snapshot.charged_back is None


def test_an_orders_own_status_decides_only_while_it_shows_no_payment(life):
    hand, document = life
    for status in ("PAID", *sorted(ORDER)):
        assert show(hand, {**document, "status": status}).status is Status.AUTHORIZED
    document["purchase_units"][0]["payments"] = {}
    with pytest.raises(OutcomeUnknown, match="not documented"):
        show(hand, {**document, "status": "PAID"})


@pytest.mark.parametrize("kind", ["capture", "refund"])
def test_of_an_operation_that_may_be_what_cannot_be_read_nothing_is_said(life, kind):
    hand, document = life
    rows = document["purchase_units"][0]["payments"][f"{kind}s"]
    rows.append({**rows[0], "id": "X9", "amount": None})
    hand.provider.transport = Shows(document)
    with pytest.raises(OutcomeUnknown, match="no amount"):
        hand.provider.retrieve(hand.session, hand.operation(kind, "5.00"))
    listed = next(op for op in hand.operations if op.kind == kind)
    assert hand.provider.retrieve(hand.session, listed).effects, "what is listed under its key is known"


@pytest.mark.parametrize("currency", ["USD", "XXX", "eur", "HUF"])
def test_another_currency_is_told_or_unknown_and_never_taken_for_ours(life, currency):
    hand, document = life
    text = json.dumps(document).replace('"EUR"', f'"{currency}"')
    try:
        snapshot = show(hand, json.loads(text))
    except OutcomeUnknown:
        return
    assert snapshot.captured.currency == currency


@pytest.mark.parametrize("units", [0, 2])
def test_an_order_of_no_unit_or_two_is_none_of_ours(life, units):
    hand, document = life
    with pytest.raises(OutcomeUnknown, match=f"{units} purchase units"):
        show(hand, {**document, "purchase_units": document["purchase_units"] * units})


def test_a_completed_order_without_a_payment_is_unknown(life):
    hand, document = life
    document["purchase_units"][0]["payments"] = {}
    with pytest.raises(OutcomeUnknown, match="without a payment"):
        show(hand, document)
    hand.provider.transport = Shows(document)
    with pytest.raises(OutcomeUnknown, match="without a payment"):
        hand.do("authorize")


def test_an_order_that_vanished_with_its_money_is_unknown(life):
    hand, _ = life
    with pytest.raises(OutcomeUnknown, match="does not show the order"):
        show(hand, {"name": "RESOURCE_NOT_FOUND"}, status=404)


def test_a_404_that_is_not_paypals_says_nothing(life):
    hand, _ = life
    with pytest.raises(NotApplied, match="could not be looked at"):
        show(hand, ["a proxy's page"], status=404)


def test_without_paypals_clock_nothing_has_run_out(hand, fake):
    hand.do("initiate")
    with pytest.raises(NotApplied, match=r"\(yet\)"):
        hand.provider.transport = Shows({"name": "RESOURCE_NOT_FOUND"}, status=404, date=None)
        hand.do("authorize")
    assert hand.look().status is None


def test_an_authorization_is_over_by_paypals_clock_and_not_by_ours(life):
    hand, document = life
    ends = document["purchase_units"][0]["payments"]["authorizations"][0]["expiration_time"]
    end = datetime.fromisoformat(ends)
    after = end + timedelta(minutes=10)  # by then it would show what was captured at the last moment
    assert show(hand, document, date=None).authorized == Money("42.00", "EUR")
    assert show(hand, document, date=end).authorized == Money("42.00", "EUR")
    assert show(hand, document, date=after).authorized == Money("30.00", "EUR")
    assert show(hand, document, date=after).status is Status.AUTHORIZED


def test_a_reauthorization_takes_the_place_of_the_original_and_does_not_add_to_it(life):
    hand, document = life
    payments = document["purchase_units"][0]["payments"]
    later = {"id": "A9", "expiration_time": "2026-02-20T12:00:00Z"}
    payments["authorizations"].append({**payments["authorizations"][0], **later})
    assert show(hand, document).expires_at == datetime(2026, 2, 20, 12, tzinfo=UTC)
    assert show(hand, document).authorized == Money("42.00", "EUR")
    for value, authorized in (("40.00", "42.00"), ("48.30", "48.30")):
        payments["authorizations"][1]["amount"] = {"currency_code": "EUR", "value": value}
        assert show(hand, document).authorized == Money(authorized, "EUR"), "the larger one is what holds"
    spent = copy.deepcopy(document)
    for row in spent["purchase_units"][0]["payments"]["authorizations"]:
        row["status"] = "CAPTURED"
    spent["purchase_units"][0]["payments"]["captures"] = [
        {
            **payments["captures"][0],
            "status": "DECLINED",
            "amount": {"currency_code": "EUR", "value": "42.00"},
        }
    ]
    with pytest.raises(OutcomeUnknown, match="without its captures"):
        show(hand, spent)


def test_a_denied_payment_tells_why(hand, fake):
    fake.ledger.next_status["authorize"] = ["DENIED"]
    hand.do("initiate")
    with pytest.raises(Declined, match="denied"):
        hand.do("authorize", payload=fake.payer_approves(hand.session.reference))
    assert hand.look().error == Failure("AUTHORIZATION_DENIED", "PayPal denied the payment")
    hand.session = replace(hand.session, status=Status.AUTHORIZED)
    assert hand.look().status is Status.CANCELED, "what was authorized for us, and is denied since, is gone"


def test_an_answer_with_another_operations_invoice_number_is_not_this_operations(life):
    hand, document = life
    other = document["purchase_units"][0]["payments"]["captures"][0]
    hand.provider.transport = Shows(other, status=201)
    with pytest.raises(OutcomeUnknown, match="PayPal answered with the effect"):
        hand.do("capture", "20.00")


def test_an_id_cannot_reach_out_of_its_place_in_a_path(hand):
    hand.session = replace(hand.session, reference="../../v1/oauth2/token?x=#")
    with pytest.raises((NotApplied, OutcomeUnknown)):
        show(hand, {})
    assert (
        hand.provider.transport.asked[0].path == "/v2/checkout/orders/..%2F..%2Fv1%2Foauth2%2Ftoken%3Fx%3D%23"
    )


# --- what is rare ---------------------------------------------------------------------------------


def test_a_new_amount_that_does_not_show_is_unknown(hand, fake):
    hand.do("initiate")
    document = json.loads(fake_order(fake, hand))
    hand.provider.transport = Shows(document)
    with pytest.raises(OutcomeUnknown, match="does not show it yet"):
        hand.do("update", "50.00")


def test_a_void_that_does_not_show_is_unknown(life):
    hand, document = life
    hand.provider.transport = Shows(document["purchase_units"][0]["payments"]["authorizations"][0])
    with pytest.raises(OutcomeUnknown, match="does not show it yet"):
        hand.do("cancel")


def test_a_void_may_be_answered_with_nothing(life):
    hand, document = life
    hand.provider.transport = Empty(document)
    assert hand.do("cancel").answer == "canceled"


class Empty(Shows):
    """Answers 204, as PayPal does to who does not ask for the authorization."""

    def send(self, request, deadline):
        return super().send(request, deadline) if request.method == "GET" else Reply(204)


def test_a_capture_without_any_authorization_is_not_sent(hand, fake):
    hand.do("initiate")
    with pytest.raises(NotApplied, match="no authorization"):
        hand.do("capture", "1.00")
    hand.session = replace(hand.session, reference=None)
    with pytest.raises(NotApplied, match="no authorization"):
        hand.do("capture", "1.00")
    assert fake.calls("capture") == []


def test_a_capture_whose_authorization_the_ledger_lost_looks_it_up(hand, fake):
    hand.authorized(fake)
    data = {key: value for key, value in hand.session.data.items() if key != "authorizations"}
    hand.session = replace(hand.session, data=json.dumps(data))
    assert hand.do("capture", "1.00").amount == Money("1.00", "EUR")


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"status": "VOIDED"}, "canceled"),
        ({"status": "COMPLETED", "authorizations": ["VOIDED"]}, "canceled"),
        ({"status": "COMPLETED", "authorizations": ["CAPTURED"]}, "authorized"),
        ({"status": "COMPLETED", "authorizations": ["VOIDED"], "captures": ["COMPLETED"]}, OutcomeUnknown),
        ({"status": "COMPLETED", "authorizations": ["DENIED"]}, Declined),
    ],
)
def test_authorize_answers_what_the_order_shows_already(life, changes, answer):
    hand, document = life
    payments = document["purchase_units"][0]["payments"]
    document["status"] = changes["status"]
    document["purchase_units"][0]["payments"] = {
        kind: [{**payments[kind][0], "status": status} for status in changes.get(kind, [])]
        for kind in ("authorizations", "captures")
    }
    hand.provider.transport = Shows(document)
    if isinstance(answer, str):
        assert hand.do("authorize").answer == answer
    else:
        with pytest.raises(answer):
            hand.do("authorize")
    assert [request.method for request in hand.provider.transport.asked] == ["GET"], "nothing is written"


def test_a_captured_authorization_whose_capture_is_not_listed_yet_is_unknown(life):
    hand, document = life
    payments = document["purchase_units"][0]["payments"]
    document["purchase_units"][0]["payments"] = {
        "authorizations": [{**payments["authorizations"][0], "status": "CAPTURED"}]
    }
    with pytest.raises(OutcomeUnknown, match="without its captures"):
        show(hand, document)


def test_an_authorization_spent_on_captures_that_failed_is_over(life):
    hand, document = life
    payments = document["purchase_units"][0]["payments"]
    payments["authorizations"][0]["status"] = "CAPTURED"
    payments["captures"] = [
        {
            **payments["captures"][0],
            "status": "DECLINED",
            "amount": {"currency_code": "EUR", "value": "42.00"},
        }
    ]
    payments["refunds"] = []
    assert show(hand, document).status is Status.CANCELED


@pytest.mark.parametrize(
    ("kind", "status"), [("capture", "DECLINED"), ("refund", "FAILED"), ("refund", "CANCELLED")]
)
def test_a_write_that_came_to_nothing_is_declined(life, kind, status):
    hand, document = life
    (row, *_) = document["purchase_units"][0]["payments"][f"{kind}s"]
    details = {"reason": "PAYER_CANNOT_PAY"} if kind == "capture" else {}
    failed = {**row, "status": status, "status_details": details}
    del failed["invoice_id"]
    hand.provider.transport = Shows(failed, status=201)
    with pytest.raises(Declined) as caught:
        hand.do(kind, "5.00", capture=hand.operations[2])
    assert caught.value.code == details.get("reason", status)


def test_after_a_decline_an_order_that_stands_as_it_was_is_still_declined(hand, fake):
    hand.do("initiate")
    fake.payer_approves(hand.session.reference)
    failure = Failure("PAYER_CANNOT_PAY", "no")
    hand.session = replace(hand.session, status=Status.ERROR, error=failure)
    snapshot = hand.look()
    assert (snapshot.status, snapshot.error, snapshot.ready) == (Status.ERROR, failure, False)


def test_cancel_of_an_order_that_is_gone_has_nothing_to_void(hand):
    hand.do("initiate")
    hand.provider.transport = Shows({"name": "RESOURCE_NOT_FOUND"}, status=404)
    assert hand.do("cancel").answer == "canceled"


def test_only_a_204_may_be_empty(life):
    """A 200 whose body was lost says nothing of what happened."""
    hand, document = life
    hand.provider.transport = Blank()
    for kind in ("capture", "refund", "cancel"):
        with pytest.raises(OutcomeUnknown, match="no JSON object"):
            hand.do(kind, "5.00", capture=hand.operations[2])


class Blank(Shows):
    """Answers 200 and nothing more."""

    def send(self, request, deadline):
        return Reply(200)


def test_a_chargeback_adds_what_the_refunds_of_that_capture_have_left(life):
    """The first capture (20.00, of which 5.00 is refunded) is taken back whole; the second one (10.00) is not."""
    hand, document = life
    payments = document["purchase_units"][0]["payments"]
    first, second = payments["captures"]
    first["status"] = "REFUNDED"
    (refund,) = payments["refunds"]
    elsewhere = [
        {**link, "href": link["href"].replace(first["id"], second["id"])} for link in refund["links"]
    ]
    payments["refunds"] += [
        {**refund, "id": "R8", "invoice_id": "theirs", "links": elsewhere},
        {**refund, "id": "R9", "invoice_id": "theirs", "status": "FAILED"},
        {**refund, "id": "R7", "invoice_id": "theirs", "status": "PENDING", "links": elsewhere},
    ]
    snapshot = show(hand, document)
    assert (snapshot.refunded, snapshot.charged_back) == (Money("10.00", "EUR"), Money("15.00", "EUR"))
    given_back = (Kind.REFUND, Kind.CHARGEBACK)
    refunds = [(e.amount.minor, e.state, e.capture) for e in snapshot.effects if e.kind in given_back]
    assert refunds == [
        (500, "succeeded", first["id"]),
        (500, "succeeded", second["id"]),
        (500, "failed", first["id"]),
        (500, "pending", second["id"]),
        (1500, "succeeded", first["id"]),
    ]


def test_what_was_voided_before_the_ledger_knew_of_it_is_canceled_and_not_refused(life):
    hand, document = life
    hand.session = replace(hand.session, status=Status.REQUIRES_MORE)
    (authorization,) = document["purchase_units"][0]["payments"]["authorizations"]
    document["purchase_units"][0]["payments"] = {"authorizations": [{**authorization, "status": "VOIDED"}]}
    assert show(hand, document).status is Status.CANCELED
    del document["purchase_units"][0]["payments"]
    assert show(hand, {**document, "status": "VOIDED"}).status is Status.CANCELED
    assert show(hand, {**document, "status": "CREATED"}).status is Status.REQUIRES_MORE


def test_a_cancel_is_done_once_nothing_is_left_beyond_what_was_captured(life):
    hand, document = life
    cancel = hand.operation("cancel")
    hand.provider.transport = Shows(document)
    assert hand.provider.retrieve(hand.session, cancel).status is Status.AUTHORIZED
    (authorization,) = document["purchase_units"][0]["payments"]["authorizations"]
    authorization["status"] = "VOIDED"
    hand.provider.transport = Shows(document)
    assert hand.provider.retrieve(hand.session, cancel).status is Status.CANCELED
    assert show(hand, document).status is Status.AUTHORIZED, "for anybody else what was captured stands"
