import copy
import copyreg
import inspect
import json
import logging
import os
import pickle
import pprint
from datetime import UTC, datetime

import attrs
import pytest

from paysession import Checkout, ClientAction, Instructions, InvalidData, Outcome, Redirect, Secret
from paysession.change import Notification
from paysession.outcome import Snapshot
from paysession.values import MAX_JSON, decode, dump_action, encode, load_action, replace


def test_a_secret_does_not_show_itself(caplog):
    secret = Secret("sk_live_1")

    @attrs.frozen
    class Settings:
        api_key: Secret

    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        f"{secret:>10}",
        f"{secret:s}",
        json.dumps([secret], default=str),
        pprint.pformat({"key": secret}),
        repr(attrs.astuple(Settings(secret))),
        repr(inspect.getmembers(secret)),
        repr([getattr(secret, name) for name in Secret.__slots__]),
        repr(vars(Settings)),
        repr(attrs.asdict(Settings(secret))),
        repr(Settings(secret)),
        repr([secret]),
    ]
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("x").debug("%s %r", secret, secret)
    assert "sk_live" not in "".join([*shown, caplog.text])

    class Heir(Secret):
        pass

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for kept in (secret, [secret], Heir(secret)):
            with pytest.raises(TypeError):
                pickle.dumps(kept, protocol)
    for hide in (json.dumps, copy.deepcopy):
        for kept in (secret, [secret], Heir(secret), Settings(secret)):
            with pytest.raises(TypeError):
                hide(kept)
    for take in (
        copy.copy,
        vars,
        len,
        iter,
        bytes,
        int,
        os.fspath,
        Secret.__reduce__,
        Secret.__getstate__,
        object.__reduce__,
        lambda secret: secret.__reduce_ex__(4),
        lambda secret: copyreg.__reduce_ex__(secret, 0),
        lambda secret: secret < secret,
        lambda secret: "" + secret,
        "-".join,
        lambda secret: "sk" in secret,
    ):
        with pytest.raises(TypeError) as caught:
            take(secret)
        assert "sk_live" not in str(caught.value)
    assert "sk_live" not in repr(object.__getstate__(secret))


def test_a_secret_is_revealed_to_who_asks():
    assert Secret(Secret("x")).reveal() == "x"
    assert Secret("x") == Secret("x") != Secret("y")
    assert Secret("x") != "x"
    assert Secret("\ud800") != Secret("\ud801")
    assert not Secret("")
    assert len({Secret("x"), Secret("x")}) == 1
    with pytest.raises(TypeError):
        Secret(3)


@pytest.mark.parametrize(
    "data",
    [
        {"a": float("nan")},
        {"a": object()},
        {"a": {1, 2}},
        {1: "a"},
        ["a"],
        "a",
        [],
        3,
        {"a": b"bytes"},
        {"a": "x" * MAX_JSON},
    ],
)
def test_data_that_is_no_small_json_object_is_refused(data):
    with pytest.raises(InvalidData):
        encode(data, "data")


def test_data_is_kept_as_text_and_read_as_a_copy():
    text = encode({"ü": [1, None, {"b": True}]}, "data")
    assert decode(text) == {"ü": [1, None, {"b": True}]}
    assert decode(text) is not decode(text)
    assert encode(None, "data") == encode({}, "data") == "{}"
    assert decode(None) == {}


@pytest.mark.parametrize(
    "action",
    [
        None,
        Redirect("https://x", "POST", {"a": "b"}),
        ClientAction("k", {"p": [1]}),
        Instructions("k", {"iban": "x"}),
    ],
)
def test_a_next_action_survives_its_text(action):
    assert action == load_action(dump_action(action))


@pytest.mark.parametrize(
    ("action", "shown"),
    [
        (
            Redirect("https://pay.example/s3cret", "POST", {"token": "s3cret"}),
            "Redirect(method='POST', fields=['token'])",
        ),
        (
            ClientAction("stripe.payment_element", {"client_secret": "s3cret", "more": {"deep": "s3cret"}}),
            "ClientAction(kind='stripe.payment_element', params=['client_secret', 'more'])",
        ),
        (
            Instructions("bank_transfer", {"iban": "s3cret"}),
            "Instructions(kind='bank_transfer', fields=['iban'])",
        ),
    ],
)
def test_a_next_action_shows_its_kind_and_names_alone(shop, action, shown):
    session = shop.session("requires_more")
    assert repr(action) == str(action) == f"{action}" == shown
    values = [replace(session, next_action=action), Outcome.pending(next_action=action)]
    values.append(Snapshot("requires_more", next_action=action))
    assert "s3cret" not in repr(values)


def test_a_notification_does_not_show_what_it_brought():
    notification = Notification(
        id="wh_1", provider="fake", type="t", received_at=datetime.now(UTC), details="s3cret", body=b"s3cret"
    )
    assert "s3cret" not in repr(notification)


def test_the_session_id_is_filled_into_urls():
    checkout = Checkout(return_url="https://x/{session_id}?a={b}", cancel_url="https://y", email="e")
    assert checkout.filled("ps_1") == Checkout(
        return_url="https://x/ps_1?a={b}", cancel_url="https://y", email="e"
    )
    assert "e@x" not in repr(Checkout(email="e@x"))


def test_a_placeholder_that_a_framework_has_quoted_is_filled_in():
    checkout = Checkout(return_url="https://x/back/%7Bsession_id%7D")
    assert checkout.filled("ps_1").return_url == "https://x/back/ps_1"


def test_replace_changes_a_copy():
    before = Checkout  # a slotted class is not what replace is for
    del before
    from paysession import Money

    money = Money("1", "EUR")
    assert replace(money, minor=5).minor == 5
    assert money.minor == 100


@pytest.mark.parametrize("make", [Outcome.pending, lambda **given: Snapshot("pending", **given)])
@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"expires_at": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001 - that is what is refused
        ({"expires_at": "2026-01-01"}, "time zone"),
        ({"reference": 7}, "reference is a str, not int"),
        (
            {"next_action": "https://shop.example"},
            "next_action is a Redirect or ClientAction or Instructions",
        ),
    ],
)
def test_an_answer_of_wrong_types_is_refused_where_it_is_made(make, given, wanted):
    with pytest.raises(TypeError, match=wanted):
        make(**given)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (
            Redirect("https://pay.example"),
            {"type": "redirect", "url": "https://pay.example", "method": "GET", "fields": {}},
        ),
        (ClientAction("card", {"id": 7}), {"type": "client_action", "kind": "card", "params": {"id": 7}}),
        (
            Instructions("cash", {"to": "Ann"}),
            {"type": "instructions", "kind": "cash", "fields": {"to": "Ann"}},
        ),
    ],
)
def test_a_next_action_is_told_to_the_page_as_json(action, expected):
    assert expected == action.to_json()
