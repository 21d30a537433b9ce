"""What is refused when it is registered, and how one provider is called."""

from datetime import timedelta

import pytest

from helpers import Least
from paysession import (
    Capabilities,
    Money,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    Payments,
    ProviderLoadError,
    ProviderNotFound,
    Secret,
    SettingsError,
    hookimpl,
)
from paysession._plugins.registry import Registry
from paysession_testing import FakeProvider


def refused(match, **attributes):
    cls = type("Odd", (Least,), attributes)
    with pytest.raises(ProviderLoadError, match=match):
        Payments.open("memory:", providers={"odd": cls()}, environ={})


def test_the_least_provider_is_accepted():
    Payments.open("memory:", providers={"least": Least()}, environ={}).close()


@pytest.mark.parametrize(
    ("told", "expected"), [("test", "test"), ("live", "live"), ("", None), (7, None), (None, None)]
)
def test_a_provider_may_tell_whose_money_it_moves(told, expected):
    provider = type("Telling", (Least,), {"mode": told})()
    with Payments.open("memory:", providers={"least": Least(), "telling": provider}, environ={}) as payments:
        modes = {row.name: row.mode for row in payments.providers() if row.selected}
    assert {"least": None, "telling": expected} == modes


@pytest.mark.parametrize("hook", ["initiate", "authorize", "cancel"])
def test_a_missing_required_hook(hook):
    refused(f"does not implement the hook '{hook}'", **{hook: None})


@pytest.mark.parametrize(
    ("capabilities", "hook"),
    [
        (Capabilities(capture="full"), "capture"),
        (Capabilities(refund="full"), "refund"),
        (Capabilities(lookup="consistent"), "retrieve"),
    ],
)
def test_a_declared_capability_without_its_hook(capabilities, hook):
    refused(f"'{hook}', and its capabilities declare it", capabilities=capabilities)


class Complete(Least):
    @hookimpl
    def capture(self): ...

    @hookimpl
    def refund(self): ...

    @hookimpl
    def retrieve(self): ...


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("capabilities", "match"),
    [
        (Capabilities(lookup="lagging"), "declares lookup='lagging' without lookup_lag"),
        (Capabilities(lookup="consistent", lookup_lag=HOUR), "declares lookup_lag, and not lookup='lagging'"),
        (Capabilities(lookup_lag=HOUR), "declares lookup_lag, and not lookup='lagging'"),
        (Capabilities(refund_needs_capture=True), "declares refund_needs_capture, and refund='none'"),
        (Capabilities(final_capture_releases=True), "declares final_capture_releases, and capture='none'"),
        (Capabilities(call_limit=timedelta(0)), "declares call_limit=0"),
        (Capabilities(call_limit=-HOUR), "declares call_limit as .*: it is a timedelta of 0 or more"),
        (Capabilities(call_limit=60), "declares call_limit as 60: it is a timedelta"),
        (Capabilities(lookup="lagging", lookup_lag=-HOUR), "declares lookup_lag as .* of 0 or more"),
        (Capabilities(replay_window=86_400), "declares replay_window as 86400: it is a timedelta"),
        (Capabilities(replay_window={"refund": 3600}), "declares replay_window refund as 3600"),
        (Capabilities(replay_window={"refunds": HOUR}), "a replay_window of refunds: .* one of .*, refund, "),
        (Capabilities(replay_window={"chargeback": HOUR}), "a replay_window of chargeback: "),
    ],
)
def test_a_declaration_that_cannot_be_meant(capabilities, match):
    with pytest.raises(ProviderLoadError, match=match):
        Registry({"odd": type("Odd", (Complete,), {"capabilities": capabilities})()}).provider("odd")


def test_keys_of_effects_that_are_never_reported():
    refused("declares keyed_effects and reports no effects", capabilities=Capabilities(keyed_effects=True))


@pytest.mark.parametrize(
    "capabilities",
    [
        Capabilities(lookup="lagging", lookup_lag=HOUR, keyed_effects=True),
        Capabilities(capture="once", refund="full", refund_needs_capture=True, final_capture_releases=True),
        Capabilities(replay_window={"initiate": HOUR, "refund": timedelta(0)}),
    ],
)
def test_a_declaration_that_holds_together(capabilities):
    provider = type("Right", (Complete,), {"capabilities": capabilities})()
    assert Registry({"right": provider}).provider("right").capabilities is capabilities


@pytest.mark.parametrize("lookup", ["consistent", "lagging", "none"])
def test_the_fake_provider_is_accepted_with_each_kind_of_lookup(lookup):
    fake = FakeProvider(lookup=lookup)
    assert Registry({"fake": fake}).provider("fake").capabilities.lookup == lookup


def test_no_capabilities():
    refused("has no capabilities", capabilities=None)
    refused("has no capabilities", capabilities={"capture": "full"})


def test_an_unknown_hook():
    refused("unknown hook 'charge'", charge=hookimpl(lambda self, session: None))


def test_a_keyword_only_parameter():
    def capture(self, *, session): ...

    refused("keyword-only", capture=hookimpl(capture))


def test_a_variable_parameter():
    def capture(self, **kwargs): ...

    refused("keyword-only or variable", capture=hookimpl(capture))


def test_a_parameter_that_the_hook_lacks():
    refused("takes an argument 'order'", capture=hookimpl(lambda self, order: None))


def test_a_defaulted_parameter():
    refused("a default", capture=hookimpl(lambda self, session, order=None: None))
    refused("a default", capture=hookimpl(lambda self, session, operation=None: None))


def test_an_async_hook():
    async def capture(self, session): ...

    async def refund(self, session):
        yield

    refused("async", capture=hookimpl(capture))
    refused("async", refund=hookimpl(refund))


@pytest.fixture
def later(monkeypatch):
    """Be a core that has API_VERSION 4, and carries 3 as well."""
    monkeypatch.setattr("paysession._plugins.compatibility.API_VERSION", 4)
    monkeypatch.setattr("paysession._plugins.compatibility.OLDEST_API_VERSION", 3)


@pytest.mark.parametrize(
    ("version", "match"),
    [
        (5, "API_VERSION 5, and this paysession has 4: install a newer paysession"),
        (2, "API_VERSION 2, and this paysession carries 3 at least: install a newer version of the plugin"),
        ("4", "states API_VERSION '4'; it is an integer"),
        (True, "states API_VERSION True"),
        (None, "states API_VERSION None"),
    ],
)
def test_an_api_version_that_is_not_carried(later, version, match):
    refused(match, API_VERSION=version)


def test_the_api_version_before_is_carried_with_a_warning(later):
    cls = type("Older", (Least,), {"API_VERSION": 3})
    words = "provider 'older' is written for API_VERSION 3.* this one has 4: install a newer version"
    with pytest.warns(DeprecationWarning, match=words):
        Payments.open("memory:", providers={"older": cls()}, environ={}).close()


def test_an_older_plugin_that_watches_is_warned_too(later):
    class Watch:
        API_VERSION = 3

        @hookimpl
        def operation_in_doubt(self, operation): ...

    with pytest.warns(DeprecationWarning, match="plugin Watch is written for API_VERSION 3"):
        Payments.open("memory:", providers={"least": Least()}, plugins=[Watch()], environ={}).close()


@pytest.mark.parametrize("stated", [{"API_VERSION": 4}, {}])
def test_the_api_version_of_the_core_and_none_at_all_are_not_warned(later, stated):
    cls = type("Newest", (Least,), stated)
    Payments.open("memory:", providers={"newest": cls()}, environ={}).close()


def test_a_hook_that_only_wraps_does_not_answer():
    def authorize(self):
        return (yield)

    refused("does not implement the hook 'authorize'", authorize=hookimpl(wrapper=True)(authorize))


def test_a_wrapper_that_does_not_yield():
    class Wrap:
        key = Secret("hidden")

        @hookimpl(wrapper=True)
        def capture(self): ...

        def __repr__(self):
            return "hidden"

    with pytest.raises(ProviderLoadError, match="cannot be registered") as caught:
        Payments.open("memory:", providers={"fake": FakeProvider()}, plugins=[Wrap()], environ={})
    assert "hidden" not in str(caught.value)


def test_a_plugin_that_answers_a_provider_hook():
    with pytest.raises(ProviderLoadError, match="only wrap"):
        Payments.open("memory:", providers={}, plugins=[Least()], environ={})


def test_a_plugin_without_hooks():
    with pytest.raises(ProviderLoadError, match="no hook"):
        Payments.open("memory:", providers={}, plugins=[object()], environ={})


def test_a_class_in_place_of_an_instance():
    with pytest.raises(ProviderLoadError, match=r"give an instance, Least\(\.\.\.\)"):
        Payments.open("memory:", providers={"least": Least}, environ={})
    with pytest.raises(ProviderLoadError, match=r"give an instance, FakeProvider\(\.\.\.\)"):
        Payments.open("memory:", providers={}, plugins=[FakeProvider], environ={})


def test_a_wrong_plugin_is_refused_at_the_start_even_if_no_provider_is_chosen():
    with pytest.raises(ProviderLoadError, match="no hook"):
        Payments.open("memory:", plugins=[object()], environ={})
    with pytest.raises(SettingsError, match="plugins is a list of names and instances"):
        Payments.open("memory:", plugins="otel", environ={})


def test_what_is_not_installed_is_named():
    with pytest.raises(ProviderNotFound, match="pip install paysession-nix"):
        Payments.open("memory:", providers=["nix"], environ={})
    with pytest.raises(SettingsError, match="list of names"):
        Payments.open("memory:", providers="manual", environ={})


def test_a_session_is_seen_by_its_own_provider_only(make_shop):
    shop = make_shop()
    other = FakeProvider()
    payments = Payments.open("memory:", providers={"a": FakeProvider(), "b": other}, environ={})
    order = payments.create_collection(shop.order.amount, reference="r")
    payments.authorize(payments.initiate(order.id, provider="a").id)
    assert not other.calls


SECRET = "sk_live_hidden"


@pytest.mark.parametrize(
    "error",
    [RuntimeError(f"url?key={SECRET}"), OutcomeUnknown(f"bad {SECRET}"), NotApplied(f"refused {SECRET}")],
)
def test_a_secret_in_an_error_of_the_plugin_does_not_get_out(make_shop, caplog, error):
    class Leaks(FakeProvider):
        def __init__(self):
            super().__init__(lookup="none")
            self.api_key = Secret(SECRET)

        @hookimpl
        def capture(self):
            raise error

    shop = make_shop(Leaks())
    session = shop.session()
    with caplog.at_level(0), pytest.raises((OutcomeUnknown, NotApplied)) as caught:
        shop.payments.capture(session.id)
    shown = [
        str(caught.value),
        repr(caught.value),
        repr(caught.value.__cause__),
        repr(shop.payments.get(session.id)),
        repr(shop.payments.history(session.id)),
        repr(shop.payments.events()),
        repr(shop.payments.in_doubt()),
        caplog.text,
    ]
    assert not [text for text in shown if SECRET in text]
    assert "***" in str(caught.value)


def test_data_and_next_action_are_not_shown(make_shop):
    class Tells(FakeProvider):
        @hookimpl
        def initiate(self, session):
            from paysession import ClientAction

            return Outcome.requires_more(
                next_action=ClientAction("k", {"client_secret": SECRET}), data={"token": SECRET}
            )

    shop = make_shop(Tells())
    session = shop.session("requires_more")
    assert session.next_action.params == {"client_secret": SECRET}
    assert SECRET not in repr(session) + repr(shop.payments.events()) + repr(
        shop.payments.history(session.id)
    )


def test_a_plugin_may_bear_the_name_of_the_provider_that_it_wraps(monkeypatch):
    seen = []

    class Watcher:
        @hookimpl(wrapper=True)
        def initiate(self):
            seen.append("around")
            return (yield)

    class Entry:
        distribution = "both 1.0"

        def load(self):
            return Watcher

    monkeypatch.setattr("paysession._plugins.registry.installed", lambda group, name=None: {"both": Entry()})
    with Payments.open("memory:", providers={"both": FakeProvider()}, plugins=["both"], environ={}) as pay:
        order = pay.create_collection(Money("1.00", "EUR"), reference="r")
        pay.initiate(order.id, provider="both")
    assert seen == ["around"]
