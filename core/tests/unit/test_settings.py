from datetime import timedelta

import pytest
from attrs import field, frozen
from attrs.validators import ge, gt, in_, instance_of, matches_re, max_len

from paysession import Payments, Secret, SettingsError, StoreError
from paysession._plugins.settings import build
from paysession.provider import Endpoint
from paysession_testing import FakeProvider


@frozen(kw_only=True)
class Gateway:
    api_key: Secret
    hooks: tuple[Secret, ...] = ()
    timeout: float = 10.0
    retries: int = 2
    live: bool = False
    lag: timedelta = timedelta(0)
    mode: str = field(default="a", validator=in_(("a", "b")))
    account: str | None = None
    token: Secret | None = None


def test_settings_come_from_code_and_environment_and_code_wins():
    environ = {
        "PAYSESSION_PAY_US__API_KEY": "sk_env",
        "PAYSESSION_PAY_US__HOOKS": "one, two",
        "PAYSESSION_PAY_US__TIMEOUT": "2.5",
        "PAYSESSION_PAY_US__RETRIES": "5",
        "PAYSESSION_PAY_US__LIVE": "Yes",
        "PAYSESSION_PAY_US__LAG": "30",
        "PAYSESSION_PAY_US__TOKEN": "t",
        "PAYSESSION_OTHER__API_KEY": "x",
    }
    made = build("pay-us", Gateway, {"retries": 1, "account": "acct"}, environ)
    assert made == Gateway(
        api_key=Secret("sk_env"), hooks=(Secret("one"), Secret("two")), timeout=2.5, retries=1, live=True,
        lag=timedelta(seconds=30), account="acct", token=Secret("t"),
    )  # fmt: skip
    assert "sk_env" not in repr(made)


def test_texts_become_secrets():
    made = build("p", Gateway, {"api_key": "sk", "hooks": ["a", Secret("b")]}, {})
    assert (made.api_key, made.hooks) == (Secret("sk"), (Secret("a"), Secret("b")))
    assert build("p", Gateway, {"api_key": "sk", "hooks": "a"}, {}).hooks == (Secret("a"),)
    environ = {"PAYSESSION_P__HOOKS": '["a,b", "c"]'}
    assert build("p", Gateway, {"api_key": "sk"}, environ).hooks == (Secret("a,b"), Secret("c"))


@pytest.mark.parametrize(
    ("given", "environ", "match"),
    [
        ({}, {}, "missing setting api_key; .*PAYSESSION_P__API_KEY"),
        ({"api_key": "k", "api_kex": "v"}, {}, "unknown setting 'api_kex' .did you mean 'api_key'"),
        ({"api_key": "k"}, {"PAYSESSION_P__NIX": "v"}, "unknown setting 'nix'"),
        ({"api_key": "k"}, {"PAYSESSION_P__RETRIES": "many"}, "'retries' must be of type int"),
        ({"api_key": "k"}, {"PAYSESSION_P__LIVE": "perhaps"}, "'live' must be of type bool"),
        ({"api_key": 3}, {}, "'api_key' must be of type Secret"),
        ({"api_key": "k", "retries": "many"}, {}, "'retries' must be of type int"),
        ({"api_key": "k", "live": "no"}, {}, "'live' must be of type bool"),
        ({"api_key": "k", "mode": "c"}, {}, "mode"),
    ],
)
def test_a_wrong_setting_is_an_error_that_shows_no_value(given, environ, match):
    with pytest.raises(SettingsError, match=match):
        build("p", Gateway, given, environ)


def test_a_refused_secret_is_not_repeated():
    def check(instance, attribute, value):
        raise ValueError(f"bad key {value.reveal()}")

    @frozen
    class Picky:
        api_key: Secret = field(validator=check)

    with pytest.raises(SettingsError) as caught:
        build("p", Picky, {"api_key": "sk_hidden"}, {})
    assert "sk_hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("mode", "hunter2"),
        ("word", "hunter 2"),
        ("word", "hun'ter\n2"),
        ("number", -271828),
        ("ratio", -2.71828),
        ("kind", 271828),
        ("token", "hunter2"),
        ("tokens", ["hunter2", "x"]),
        ("own", "hunter2"),
        ("address", "https://user:hunter2@elsewhere.example"),
    ],
)
def test_an_error_about_a_setting_never_repeats_its_value(setting, value):
    def refuse(instance, attribute, given):
        raise ValueError(f"{attribute.name} is no word: {given!s} / {given!r}")

    @frozen(kw_only=True)
    class Picky:
        mode: str = field(default="a", validator=in_(("a", "b")))
        word: str = field(default="a", validator=matches_re("[a-z]*"))
        number: int = field(default=1, validator=ge(0))
        ratio: float = field(default=1.0, validator=gt(0))
        kind: str = field(default="", validator=instance_of(str))
        token: str = field(default="", validator=max_len(3))
        tokens: tuple[Secret, ...] = field(default=(), validator=max_len(1))
        own: str = field(default="", validator=lambda i, a, given: given and refuse(i, a, given))
        address: Endpoint = field(default=Endpoint(""), converter=Endpoint)

    with pytest.raises(SettingsError, match=f"(?s)p: .*{setting}") as caught:
        build("p", Picky, {setting: value}, {})
    for part in ("hunter", "71828"):
        assert part not in str(caught.value)


def test_a_secret_from_settings_has_no_line_break_at_its_end():
    made = build("p", Gateway, {"hooks": [" a\n"]}, {"PAYSESSION_P__API_KEY": "sk_1\r\n"})
    assert (made.api_key, made.hooks) == (Secret("sk_1"), (Secret("a"),))


def test_no_url_of_a_store_is_repeated():
    for url in ("user:hunter2@host/db", "postgresql//u:hunter2@host", "//u:hunter2@host"):
        with pytest.raises(StoreError) as caught:
            Payments.open(url, providers={"fake": FakeProvider()}, environ={})
        assert "hunter2" not in str(caught.value)


def write(path, text):
    path.write_text(text)
    return path


def test_a_file_selects_what_code_does_not(tmp_path):
    config = write(tmp_path / "pay.toml", 'store = "memory:"\npublic_url = "https://x"\n')
    with Payments.open(config=config, providers={"fake": FakeProvider()}, environ={}) as payments:
        assert [row.name for row in payments.providers() if row.selected] == ["fake"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("stor = 1", "unknown key 'stor' .* .did you mean 'store'"),
        ("not toml", "cannot be read"),
        ("providers = 3", "is a table"),
        ("[providers]\nmanual = 3", "is a table"),
        ('store = "memory:"\n[providers.nix]', "no installed distribution offers"),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path, text, match):
    config = write(tmp_path / "pay.toml", text)
    with pytest.raises(Exception, match=match):
        Payments.open(config=config, environ={})


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(SettingsError, match="there is no settings file"):
        Payments.open(config=tmp_path / "nix.toml", environ={})


def test_code_wins_over_the_environment_and_that_over_the_file(tmp_path):
    config = write(tmp_path / "pay.toml", 'store = "oracle:x"\npublic_url = "https://file"\n')
    fake = {"fake": FakeProvider()}
    for options, environ in (
        ({"url": "memory:"}, {"PAYSESSION_DB": "oracle:y"}),
        ({}, {"PAYSESSION_DB": "memory:"}),
    ):
        Payments.open(config=config, providers=fake, environ=environ, **options).close()
    with pytest.raises(Exception, match="oracle"):
        Payments.open(config=config, providers=fake, environ={})


def test_an_account_uses_another_name_and_the_settings_of_the_file_and_of_the_code_are_joined(
    tmp_path, monkeypatch
):
    from paysession._plugins import registry

    class Entry:
        distribution = "paysession-gate 1"

        def load(self):
            class Gate(FakeProvider):
                def __init__(self, api_key: Secret, mode: str = "a"):
                    super().__init__()
                    self.api_key, self.mode = api_key, mode

            return Gate

    monkeypatch.setattr(registry, "installed", lambda group, name=None: {"gate": Entry()})
    monkeypatch.setattr("paysession.payments.installed", lambda group, name=None: {"gate": Entry()})
    config = write(
        tmp_path / "pay.toml", 'store = "memory:"\n[providers.gate-us]\nuse = "gate"\napi_key = "file"\n'
    )
    for given, expected in (
        (["gate-us"], ("file", "a")),
        ({"gate-us": {"mode": "b"}}, ("file", "b")),
        (None, ("file", "a")),
        ({"gate-us": {"api_key": "code"}}, ("code", "a")),
    ):
        with Payments.open(config=config, providers=given, environ={}) as pay:
            plugin = pay._registry.provider("gate-us").plugin
            assert (plugin.api_key.reveal(), plugin.mode) == expected
            selected, offered = pay.providers()
            assert (selected.name, selected.selected, selected.problem) == ("gate-us", True, None)
            assert selected.distribution == offered.distribution == "paysession-gate 1"
            assert (offered.name, offered.selected, offered.capabilities) == ("gate", False, None)
    with Payments.open("memory:", environ={}) as pay:  # all that is installed, loaded when it is used
        (broken,) = pay.providers()
    assert (broken.name, broken.selected, broken.capabilities) == ("gate", True, None)
    assert "missing setting api_key" in broken.problem
