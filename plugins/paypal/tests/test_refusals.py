"""What a refusal says, whatever PayPal, a proxy or somebody else has written into it."""

import json

import pytest

from paysession.provider import Declined, NotApplied, OutcomeUnknown
from paysession_paypal import Reply
from paysession_paypal.refusals import STATE, StateRefusal, refusal

STATUSES = [
    300,
    302,
    400,
    401,
    403,
    404,
    405,
    408,
    409,
    415,
    418,
    422,
    429,
    451,
    500,
    502,
    503,
    504,
    599,
    999,
]
BODIES = [
    b"", b"null", b"[]", b"7", b"{", b"\xff\xfe", b"<html>", b"{}", b'{"name": null}', b'{"name": 7, "details": 7}',
    b'{"name": "X", "details": [7, null, {"issue": ["X"]}]}', b'{"details": [{"issue": ""}]}', b"[" * 50_000,
]  # fmt: skip


def said(status, body=b"", **options):
    return refusal(Reply(status, body if isinstance(body, bytes) else json.dumps(body).encode(), **options))


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("status", STATUSES)
def test_an_answer_that_is_not_paypals_is_never_a_decline(status, body):
    error = said(status, body)
    # Credentials and rates are checked before anything is done; else nobody knows what stands behind it.
    assert type(error) is (NotApplied if status in (401, 429) else OutcomeUnknown)
    assert f"HTTP {status}" in error.message


@pytest.mark.parametrize(
    ("status", "issue", "kind"),
    [
        (400, "INVALID_PARAMETER_VALUE", Declined),
        (403, "PERMISSION_DENIED", NotApplied),
        (422, "PAYER_CANNOT_PAY", Declined),
        (422, "AN_ISSUE_THAT_IS_NEW", Declined),
        (404, "INVALID_RESOURCE_ID", NotApplied),
        (429, "RATE_LIMIT_REACHED", NotApplied),
        (401, "AUTHENTICATION_FAILURE", NotApplied),
        (409, "PREVIOUS_REQUEST_IN_PROGRESS", OutcomeUnknown),
        (500, "INTERNAL_SERVER_ERROR", OutcomeUnknown),
        (503, "SERVICE_UNAVAILABLE", OutcomeUnknown),
        # No request of ours denies an authorization, or lets it expire.
        (422, "AUTHORIZATION_DENIED", Declined),
        (422, "AUTHORIZATION_EXPIRED", Declined),
        *((422, issue, StateRefusal) for issue in sorted(STATE)),
    ],
)
def test_each_issue_has_its_class(status, issue, kind):
    problem = {
        "name": "N",
        "message": "m",
        "debug_id": "d1",
        "details": [{"issue": issue, "description": "Why."}],
    }
    error = said(status, problem)
    assert type(error) is kind
    assert error.message.startswith(("Why.", f"{issue}: Why.", "PayPal"))
    assert "debug_id d1" in error.message
    if kind is Declined:
        assert error.code == issue


def test_the_issue_is_what_decides_and_the_name_only_without_one():
    assert said(422, {"name": "UNPROCESSABLE_ENTITY", "details": [{"issue": "X"}]}).code == "X"
    assert said(422, {"name": "UNPROCESSABLE_ENTITY", "details": []}).code == "UNPROCESSABLE_ENTITY"


@pytest.mark.parametrize("turn", [1, -1])
def test_a_state_among_several_issues_is_not_overlooked_wherever_it_stands(turn):
    issues = [7, {"issue": "AUTHORIZATION_ALREADY_CAPTURED"}, {"issue": "MAX_CAPTURE_AMOUNT_EXCEEDED"}]
    assert isinstance(said(422, {"name": "N", "details": issues[::turn]}), OutcomeUnknown)
    assert said(422, {"name": "N", "details": issues[2:]}).code == "MAX_CAPTURE_AMOUNT_EXCEEDED"


def test_what_somebody_wrote_is_one_line_of_some_length():
    problem = {"name": "N" * 9999, "message": "two\nlines\x00" * 9999, "debug_id": {"not": "text"}}
    error = said(422, problem, debug_id="d2")
    assert "\n" not in error.message
    assert "debug_id d2" in error.message
    assert len(error.message) < 500
    assert len(error.code) <= 300


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7), ("0", 0), ("", None), ("soon", None), ("-1", None), ("9" * 9, None), ("٣", None)],
)
def test_how_long_to_wait_is_believed_within_reason(text, seconds):
    from paysession_paypal.transport import _seconds

    error = said(429, b"", retry_after=_seconds(text))
    assert (error.retry_after.total_seconds() if error.retry_after is not None else None) == seconds
