import pytest

from paysession_stripe import StripeData

FULL = {
    "customer": "cus_1",
    "email": "a@b.example",
    "name": "Jenny",
    "payment_method": "pm_1",
    "off_session": False,
    "setup_future_usage": "off_session",
    "payment_intent": "pi_1",
    "latest_charge": "ch_1",
    "paid_with": "pm_2",
    "status": "succeeded",
    "last_error": "card_declined",
}


def test_data_is_read_and_written_as_plain_json():
    assert FULL == StripeData.from_json(FULL).to_json()
    assert {} == StripeData.from_json({}).to_json()


def test_what_another_version_wrote_is_kept():
    assert {"customer": "cus_1", "later": [1]} == StripeData.from_json(
        {"later": [1], "customer": "cus_1"}
    ).to_json()


@pytest.mark.parametrize(
    "data",
    [
        {"customer": ""},
        {"customer": "pi_1"},
        {"customer": "cus_1/../charges"},
        {"customer": 7},
        {"payment_method": "4242424242424242"},
        {"off_session": "yes"},
        {"setup_future_usage": "always"},
        {"email": ""},
        {"name": "x" * 257},
        {"costumer": "cus_1"},
        {"payment_intent": "pi_1"},
        {"status": "succeeded"},
    ],
)
def test_what_the_host_may_not_give_is_refused(data):
    with pytest.raises(ValueError):
        StripeData.requested(data)


def test_personal_data_is_not_in_the_repr():
    assert "Jenny" not in repr(StripeData.from_json(FULL))
    assert "a@b.example" not in repr(StripeData.from_json(FULL))
