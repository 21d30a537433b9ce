"""Where secrets are sent: addresses, and whose word about them counts."""

from contextlib import nullcontext

import pytest
from attrs import field, frozen

from paysession import Payments, Secret, SettingsError
from paysession._plugins.settings import Found, Table, build
from paysession.provider import Capabilities, Endpoint, hookimpl

OWN = Endpoint("https://api.acme.example/v1", hosts=["sandbox.acme.example"])
STRAY = Found("/somewhere/paysession.toml")


@frozen(kw_only=True)
class Acme:
    api_key: Secret = field(converter=Secret)
    webhook_secret: Secret = field(default=Secret(""), converter=Secret)
    api_base: Endpoint = field(default=OWN, converter=Endpoint)
    label: str = ""

    @property
    def mode(self):
        return {"t": "test", "l": "live"}.get(self.api_key.reveal()[:1], "unknown")


@frozen(kw_only=True)
class Undeclared:
    api_key: Secret = field(converter=Secret)
    api_base: str = "https://api.other.example"
    label: str = ""


@pytest.mark.parametrize(
    ("address", "host", "path"),
    [
        ("https://api.acme.example", "api.acme.example", ""),
        ("https://API.Acme.example:8443/v1/", "api.acme.example", "/v1"),
        ("http://127.0.0.1:8000", "127.0.0.1", ""),
        ("http://127.9.9.9/x", "127.9.9.9", "/x"),
        ("http://localhost:1/", "localhost", ""),
        ("http://[::1]:1", "::1", ""),
        ("", "", ""),
    ],
)
def test_an_address_has_a_host_and_a_path(address, host, path):
    made = Endpoint(address)
    assert (made, made.host, made.path) == (address, host, path)
    assert made.hosts == ({host} if host else set())


@pytest.mark.parametrize(
    "address",
    [
        "http://api.acme.example", "http://10.0.0.1", "http://127.0.0.1.evil.example", "http://localhost.evil.example",
        "http://0.0.0.0", "http://[::ffff:10.0.0.1]", "http://127.1", "ftp://localhost", "api.acme.example", "https://",
        "https://api.acme.example@evil.example", "https://evil.example\\@api.acme.example", "https://a.example#b",
        "https://a.example?b", "https://a.example/%2e", "https://a.example\n", " https://a.example", "https://a b",
        "https://ä.example", "https://a.example:99999999", "javascript://a", "HTTP://a.example",
    ],
)  # fmt: skip
def test_an_address_that_is_unsafe_or_can_be_read_in_two_ways_is_refused_and_not_repeated(address):
    with pytest.raises(ValueError, match="an address is") as refused:
        Endpoint(address)
    assert address not in str(refused.value)


@pytest.mark.parametrize(
    ("file", "environ", "redirects"),
    [
        # The key of the environment, and what a file says that lies in the working directory.
        ({"api_base": "https://evil.example"}, {"API_KEY": "t_env"}, "api_base"),
        ({"api_base": "https://api.acme.example/v1"}, {"API_KEY": "t_env"}, "api_base"),
        ({"api_base": "https://evil.example", "api_key": "t_file"}, {"API_KEY": "t_env"}, "api_base"),
        (
            {"api_base": "https://evil.example", "api_key": "t_file"},
            {"WEBHOOK_SECRET": "whsec_env"},
            "api_base",
        ),
        (
            {"label": "x", "webhook_secret": "w", "api_base": "http://127.0.0.1"},
            {"API_KEY": "t_env"},
            "api_base",
        ),
        # All of one file, or nothing that redirects.
        ({"api_base": "https://evil.example", "api_key": "t_file"}, {}, None),
        ({"label": "x"}, {"API_KEY": "t_env"}, None),
        ({"api_key": "t_file"}, {"API_BASE": "https://evil.example"}, None),
    ],
)
def test_a_file_that_was_found_redirects_no_secret_from_elsewhere(file, environ, redirects):
    environ = {f"PAYSESSION_ACME__{key}": value for key, value in environ.items()}
    refused = (
        pytest.raises(SettingsError, match=f"{STRAY}.*[(]{redirects}[)]") if redirects else nullcontext()
    )
    with refused as error:
        build("acme", Acme, Table({}, file, STRAY), environ)
    if redirects:
        assert "evil.example" not in str(error.value)
        assert "t_env" not in str(error.value)
        # The same file, named by somebody who knows it.
        assert build("acme", Acme, Table({}, file), environ).api_key


def test_a_file_that_was_found_redirects_no_secret_of_the_code_either():
    with pytest.raises(SettingsError, match="comes from elsewhere"):
        build("acme", Acme, Table({"api_key": "t_code"}, {"api_base": "https://evil.example"}, STRAY), {})


def test_of_a_provider_that_does_not_say_which_setting_is_an_address_all_are_taken_to_be():
    environ = {"PAYSESSION_OTHER__API_KEY": "k"}
    with pytest.raises(SettingsError, match="label"):
        build("other", Undeclared, Table({}, {"label": "x"}, STRAY), environ)
    assert build("other", Undeclared, Table({}, {"label": "x"}), environ).label == "x"
    assert build("other", Undeclared, Table({}, {"label": "x", "api_key": "k"}, STRAY), {}).label == "x"


def test_a_key_is_not_handed_to_another_plugin_by_a_file_that_was_found():
    environ = {"PAYSESSION_STRIPE__API_KEY": "t_env"}
    with pytest.raises(SettingsError, match="use"):
        build("stripe", Acme, Table({}, {"use": "acme"}, STRAY), environ)
    assert build("stripe", Acme, Table({}, {"use": "acme"}), environ).api_key == Secret("t_env")


@pytest.mark.parametrize(
    ("key", "address", "sent"),
    [
        ("t_1", "https://elsewhere.example", True),
        ("t_1", "http://127.0.0.1:9", True),
        ("l_1", "https://api.acme.example/v2", True),
        ("l_1", "https://sandbox.acme.example", True),
        ("l_1", "https://elsewhere.example", False),
        ("l_1", "http://127.0.0.1:9", False),
        ("x_1", "https://elsewhere.example", False),
        ("x_1", "https://api.acme.example.evil.example", False),
    ],
)
def test_a_key_of_live_or_unknown_mode_goes_to_the_gateways_own_hosts_unless_code_says_otherwise(
    key, address, sent
):
    environ = {"PAYSESSION_ACME__API_BASE": address}
    for table, from_environ in (
        (Table({"api_key": key}), environ),
        (Table({}, {"api_key": key, "api_base": address}), {}),
    ):
        refused = (
            nullcontext()
            if sent
            else pytest.raises(SettingsError, match="api.acme.example, sandbox.acme.example")
        )
        with refused as error:
            build("acme", Acme, table, from_environ)
        if not sent:
            assert address not in str(error.value)
            assert key not in str(error.value)
    assert build("acme", Acme, {"api_key": key, "api_base": address}, {}).api_base == address


def test_an_address_over_plain_http_is_refused_wherever_it_comes_from():
    for table, environ in (
        (Table({"api_key": "t", "api_base": "http://acme.example"}), {}),
        (Table({"api_key": "t"}), {"PAYSESSION_ACME__API_BASE": "http://acme.example"}),
        (Table({}, {"api_key": "t", "api_base": "http://acme.example"}), {}),
    ):
        with pytest.raises(SettingsError, match="'api_base': an address is https, or http on this machine"):
            build("acme", Acme, table, environ)
    with pytest.raises(ValueError, match="https, or http on this machine"):
        Acme(api_key="t", api_base="http://acme.example")


def test_the_environment_wins_over_the_file_and_the_code_over_both():
    environ = {"PAYSESSION_ACME__LABEL": "environment"}
    assert build("acme", Acme, Table({}, {"api_key": "t", "label": "file"}), environ).label == "environment"
    assert (
        build("acme", Acme, Table({"label": "code"}, {"api_key": "t", "label": "file"}), environ).label
        == "code"
    )
    assert build("acme", Acme, Table({}, {"api_key": "t", "label": "file"}), {}).label == "file"


class Shop:
    """A provider that can be selected."""

    def __init__(self, api_key: Secret, api_base: Endpoint = OWN) -> None:
        self.capabilities = Capabilities()

    @hookimpl
    def initiate(self, session): ...

    @hookimpl
    def authorize(self, session): ...

    @hookimpl
    def cancel(self, session): ...


def test_payments_open_takes_a_file_as_found_only_if_it_is_said(tmp_path, monkeypatch):
    class Entry:
        dist = None
        name = value = "shop"

        def load(self):
            return Shop

    def entry_points(group, name=None):
        return [Entry()] if group == "paysession.providers" else []

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    config = tmp_path / "paysession.toml"
    config.write_text('store = "memory:"\n[providers.shop]\napi_base = "https://api.acme.example"\n')
    environ = {"PAYSESSION_SHOP__API_KEY": "k"}
    for providers in (None, ["shop"], {"shop": {}}):
        Payments.open(config=str(config), providers=providers, environ=environ).close()
        with pytest.raises(SettingsError, match="was found and not named"):
            Payments.open(config=Found(config), providers=providers, environ=environ)
