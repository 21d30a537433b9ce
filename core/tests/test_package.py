"""What a newcomer sees of the package: its names, their documentation, and what importing costs."""

import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys

import attrs
import pytest

import paysession
from paysession import PaymentSession
from paysession.hooks import ObserverHooks, ProviderHooks
from paysession.store import SessionRow


def modules():
    for info in pkgutil.walk_packages(paysession.__path__, "paysession."):
        yield importlib.import_module(info.name)


def test_importing_paysession_loads_no_sdk_and_scans_nothing():
    code = "import sys, json, paysession; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", code]))
    heavy = {"sqlalchemy", "stripe", "requests", "paypalrestsdk", "importlib.metadata", "asyncio", "pytest"}
    assert not heavy & set(loaded)


def test_what_opens_payments_is_loaded_when_it_is_first_named():
    code = """if True:
        import sys
        import paysession
        assert not {"paysession.payments", "paysession.store", "hashlib", "logging"} & set(sys.modules)
        assert set(paysession.__all__) <= set(dir(paysession))
        assert not {"paysession.payments", "paysession.store"} & set(sys.modules)
        assert paysession.Payments is sys.modules["paysession.payments"].Payments
        assert vars(paysession)["Payments"] is paysession.Payments
    """
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", paysession.__all__)
def test_every_exported_name_exists_and_is_documented(name):
    value = getattr(paysession, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value)


def test_every_public_name_of_every_module_is_documented():
    bare = []
    for module in modules():
        if not module.__doc__:
            bare.append(module.__name__)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if not (inspect.isclass(value) or inspect.isfunction(value)):
                continue
            if not value.__doc__:
                bare.append(f"{module.__name__}.{name}")
            for key, member in vars(value).items() if inspect.isclass(value) else ():
                public = not key.startswith(("_", "test_")) and (
                    inspect.isfunction(member) or isinstance(member, property)
                )
                if public and not inspect.getdoc(getattr(value, key)) and name != "MemoryStore":
                    bare.append(f"{module.__name__}.{name}.{key}")
    assert not bare


def test_the_error_tree_is_drawn_as_it_is():
    from paysession import errors

    drawn = errors.__doc__
    for name in errors.__all__:
        assert name in drawn
        assert issubclass(getattr(errors, name), errors.PaysessionError)


@pytest.mark.parametrize("spec", [ProviderHooks, ObserverHooks])
def test_every_hook_is_a_signature_with_words(spec):
    for name, hook in vars(spec).items():
        if not name.startswith("_"):
            assert hook.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nix"):
        _ = paysession.nix
    with pytest.raises(AttributeError, match="nix"):
        _ = importlib.import_module("paysession_testing").nix


def test_what_the_engine_remembers_is_no_part_of_the_session_that_hosts_see():
    row, public = ({part.name for part in attrs.fields(kind)} for kind in (SessionRow, PaymentSession))
    assert public < row
    assert row - public >= {"granted", "released", "initiated", "ordinal", "due_at", "attention_at", "checks"}


def test_every_attribute_of_the_session_that_hosts_see_is_documented():
    source = inspect.getsource(PaymentSession)
    for part in attrs.fields(PaymentSession):
        described = re.search(
            rf'^        {part.alias}: |^    {part.name}: [^\n]*\n    """', source, re.MULTILINE
        )
        amount = f"{part.name}_amount" in dir(PaymentSession)
        assert described or amount or part.alias == "data", part.name
