"""The example shops are started as a reader would, and paid through their own HTTP.

The gateway is a FakeProvider with a ledger of its own, so that a test can approve as the payer, lose
an answer, and say what really happened.
"""

import asyncio
import http.cookiejar
import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from paysession import ClientAction, Money, Payments, Redirect, hookimpl
from paysession.provider import Outcome
from paysession_testing import FakeProvider

EXAMPLES = Path(__file__).parent.parent / "docs/examples"


def load(name):
    """Import an example's shop.py under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / name / "shop.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fake():
    return FakeProvider(approve=False)


@pytest.fixture
def books(fake, tmp_path):
    url = f"sqlite:///{tmp_path / 'payments.db'}"
    with Payments.open(url, providers={"fake": fake, "manual": {}}) as payments:
        yield payments


# --- each framework in front of the same story ----------------------------------------------------


class FlaskShop:
    """A shop, and one browser in front of it; `browser` makes another."""

    def __init__(self, books, folder, **options):
        self.app = load("flask").create_app(books, str(folder / "shop.db"), **options)
        self.client = self.browser()
        self.database = folder / "shop.db"

    def browser(self):
        return self.app.test_client()

    def get(self, path, client=None, **options):
        return answered((client or self.client).get(path, **options))

    def pay(self, provider, client=None, **options):
        form = {"provider": provider}
        return answered((client or self.client).post("/orders/1001/pay", data=form, **options))

    def notify(self, headers, body):
        return self.client.post("/pay/webhooks/fake", headers=headers, data=body).status_code

    def work(self):
        done = self.app.test_cli_runner().invoke(args=["work", "--once"])
        assert done.exit_code == 0, done.output

    def figures(self):
        with sqlite3.connect(self.database) as shop:
            (paid,) = shop.execute("SELECT paid FROM orders").fetchone()
            (parcels,) = shop.execute("SELECT count(*) FROM parcels").fetchone()
        shop.close()
        return paid, parcels

    def close(self):
        pass


class FastAPIShop(FlaskShop):
    def __init__(self, books, folder, **options):
        self.app = load("fastapi").create_app(books, str(folder / "shop.db"), every=3600, **options)
        self.client = self.browser()
        self.client.__enter__()  # the lifespan: opens, and starts the worker
        self.database = folder / "shop.db"

    def browser(self):
        from fastapi.testclient import TestClient

        return TestClient(self.app, follow_redirects=False)

    def pay(self, provider, client=None, **options):
        query = {"provider": provider}
        return answered((client or self.client).post("/orders/1001/pay", params=query, **options))

    def notify(self, headers, body):
        return self.client.post("/pay/webhooks/fake", headers=headers, content=body).status_code

    def work(self):
        self.app.state.books.recover()
        self.app.state.shop.follow(self.app.state.books)

    def close(self):
        self.client.__exit__(None, None, None)


class DjangoShop:
    def __init__(self, books, folder):
        sys.path.insert(0, str(EXAMPLES / "django"))
        os.environ["DJANGO_SETTINGS_MODULE"] = "webshop.settings"
        import django
        from django.conf import settings
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        settings.DATABASES["default"]["NAME"] = connections["default"].settings_dict["NAME"] = (
            folder / "shop.db"
        )
        call_command("migrate", verbosity=0)
        import webshop.payments
        import webshop.views
        from webshop.management.commands import follow_payments

        self.modules = webshop.payments, webshop.views, follow_payments
        self.real = webshop.payments.payments
        for module in self.modules:
            module.payments = lambda: books
        self.client = self.browser()
        self.call = call_command

    def browser(self, **options):
        from django.test import Client

        return Client(headers={"host": "127.0.0.1"}, **options)

    def get(self, path, client=None, **options):
        return answered((client or self.client).get(path, **options))

    def pay(self, provider, client=None, **options):
        return answered((client or self.client).post("/orders/1001/pay", {"provider": provider}, **options))

    def notify(self, headers, body):
        strict = self.browser(enforce_csrf_checks=True)  # a gateway has no CSRF token
        return strict.post(
            "/pay/webhooks/fake", body, content_type="application/json", headers=headers
        ).status_code

    def work(self):
        import io

        self.call("follow_payments", "--once", stdout=io.StringIO())
        assert "webshop.management.commands.follow_payments" in sys.modules

    def figures(self):
        from webshop.models import Order, Parcel

        return Order.objects.get(number="1001").paid, Parcel.objects.count()

    def close(self):
        from django.db import connections

        for module in self.modules:
            module.payments = self.real
        connections.close_all()
        sys.path.remove(str(EXAMPLES / "django"))


def answered(answer):
    """Return the status, the page, and where the payer is sent by a redirect, or by a script of the page."""
    text = answer.content.decode() if hasattr(answer, "content") else answer.text
    away = answer.headers.get("Location")
    if answer.headers["Content-Type"] == "application/json":
        away = (answer.json().get("next") or {}).get("url")
    return answer.status_code, text, away


OF_EACH = {
    "test_the_payer_pays_and_comes_back_and_the_order_is_paid_once",
    "test_an_answer_that_was_lost_is_no_second_charge_and_no_lost_order",
    "test_a_strangers_browser_is_shown_nothing_and_causes_nothing",
    "test_every_answer_has_the_headers_that_guard_it",
}
"""What the fast tier tries of each shop, and the slow tier the rest for all but the first."""


def pytest_generate_tests(metafunc):
    if "shop" in metafunc.fixturenames:
        marks = [] if metafunc.function.__name__ in OF_EACH else [pytest.mark.slow]
        further = [
            pytest.param(kind, id=name, marks=marks)
            for kind, name in ((FastAPIShop, "fastapi"), (DjangoShop, "django"))
        ]
        metafunc.parametrize("shop", [pytest.param(FlaskShop, id="flask"), *further], indirect=True)


@pytest.fixture
def shop(request, books, tmp_path):
    shop = request.param(books, tmp_path)
    yield shop
    shop.close()


def begin(shop, fake):
    """Press the button, and return the session's id and the page that the payer is sent to."""
    status, _, away = shop.pay("fake")
    assert status in (200, 302, 303)
    assert away.startswith("https://fake.example/")
    return away.rpartition("/")[2]


def test_the_payer_pays_and_comes_back_and_the_order_is_paid_once(shop, fake):
    session_id = begin(shop, fake)
    assert begin(shop, fake) == session_id  # a double click
    assert shop.figures() == (False, 0)
    fake.payer_approves(session_id)
    for _ in range(2):  # the payer reloads the page
        status, _, _ = shop.get(f"/back/{session_id}?token=x")
        assert status == 200
    shop.work()
    assert shop.figures() == (True, 1)
    assert fake.total(session_id, "capture") == 4200
    assert shop.get("/orders/1001")[0] == 200


def test_a_payer_who_does_not_come_back_is_found_by_the_webhook(shop, fake):
    session_id = begin(shop, fake)
    fake.payer_approves(session_id)
    headers, body = fake.webhook(session_id)
    assert shop.notify({"Fake-Signature": "forged"}, body) == 400
    shop.work()
    assert shop.figures() == (False, 0)
    assert [shop.notify(headers, body) for _ in range(2)] == [200, 200]  # gateways repeat themselves
    shop.work()
    assert shop.figures() == (True, 1)


def test_an_answer_that_was_lost_is_no_second_charge_and_no_lost_order(shop, fake):
    session_id = begin(shop, fake)
    fake.payer_approves(session_id)
    fake.fail_next("lost_answer", kind="authorize")
    assert shop.get(f"/back/{session_id}")[0] == 200
    shop.work()
    assert shop.figures() == (True, 1)
    assert fake.total(session_id, "capture") == 4200


def test_a_decline_is_shown_and_another_attempt_can_be_made(shop, fake):
    session_id = begin(shop, fake)
    fake.payer_declines(session_id)
    status, page, _ = shop.get(f"/back/{session_id}")
    assert status == 200
    assert "payment was refused" in page
    assert "gave up" not in page, "why is for the merchant only"
    assert shop.figures() == (False, 0)
    again = begin(shop, fake)
    assert again != session_id
    assert begin(shop, fake) == again  # a double click
    fake.payer_approves(again)
    shop.get(f"/back/{again}")
    shop.work()
    assert shop.figures() == (True, 1)
    assert fake.total(session_id, "capture") == 0


def test_a_payer_who_has_not_acted_is_shown_the_way_to_the_provider_and_the_others(shop, fake):
    session_id = begin(shop, fake)
    status, page, _ = shop.get(f"/back/{session_id}")
    assert (status, f"https://fake.example/approve/{session_id}" in page) == (200, True)
    if not isinstance(shop, FastAPIShop):
        assert 'value="manual">Pay with manual' in page


def test_a_payer_who_gave_up_one_way_pays_another(shop, fake, books):
    first = begin(shop, fake)
    shop.get(f"/back/{first}")
    assert shop.pay("manual")[0] == 200
    again = begin(shop, fake)  # and changes their mind
    assert again != first
    fake.payer_approves(again)
    shop.get(f"/back/{again}")
    shop.work()
    assert shop.figures() == (True, 1)
    statuses = {(row.provider, str(row.status)) for row in books.sessions()}
    assert statuses == {("fake", "canceled"), ("fake", "authorized"), ("manual", "canceled")}
    assert fake.total(again, "capture") == 4200


def test_a_payer_who_has_paid_does_not_pay_another_way_as_well(shop, fake, books):
    session_id = begin(shop, fake)
    fake.payer_approves(session_id)  # and presses another button instead of coming back
    status, page, _ = shop.pay("manual")
    assert (status, len(books.sessions())) == (200, 1)
    assert shop.figures() == (True, 1)


# --- what strangers, and payers with ideas of their own, may cause ---------------------------------


def test_a_strangers_browser_is_shown_nothing_and_causes_nothing(shop, fake, books):
    session_id = begin(shop, fake)
    fake.payer_approves(session_id)
    stranger, before = shop.browser(), (books.get(session_id), list(fake.calls))
    unknown = shop.get("/back/ps_unknown", client=stranger)
    for _ in range(5):
        assert shop.get(f"/back/{session_id}", client=stranger) == unknown
        assert shop.pay("fake", client=stranger)[:2] == unknown[:2]
        assert shop.get("/orders/1001", client=stranger)[:2] == unknown[:2]
    assert unknown[0] == 404
    assert (books.get(session_id), list(fake.calls)) == before
    shop.get(f"/back/{session_id}")
    assert shop.figures() == (True, 1)


def test_a_session_that_no_browser_began_is_shown_to_none(shop, fake, books):
    order = books.create_collection(Money("42.00", "EUR"), reference="1001")
    session = books.initiate(order.id, provider="fake")
    fake.payer_approves(session.id)
    assert shop.get(f"/back/{session.id}")[0] == 404
    assert books.get(session.id) == session


def test_only_what_is_offered_can_be_chosen_and_a_wrong_choice_gives_nothing_up(fake, tmp_path):
    for kind in (FlaskShop, FastAPIShop, DjangoShop):
        folder = tmp_path / kind.__name__
        folder.mkdir()
        till = {"use": "manual", "auto_authorize": True}
        providers = {"fake": fake, "till": till, "manual": {}}
        with Payments.open("memory:", providers=providers, offered=["fake"]) as books:
            shop = kind(books, folder)
            session_id = begin(shop, fake)
            for name in ("till", "manual", "unknown", ""):
                assert shop.pay(name)[0] in (400, 409, 422)
            assert [(row.id, str(row.status)) for row in books.sessions()] == [(session_id, "requires_more")]
            assert "till" not in shop.get("/orders/1001")[1]
            shop.close()


def test_the_addresses_to_come_back_to_do_not_depend_on_the_request(shop, books):
    if isinstance(shop, DjangoShop):
        status, *_ = shop.pay("manual", headers={"host": "other.example"})
        assert status == 400
        shop.pay("manual")
    else:
        shop.pay("manual", headers={"Host": "other.example"})
    (session,) = books.sessions()
    for address in (session.checkout.return_url, session.checkout.cancel_url):
        assert address.startswith("http://127.0.0.1:")
    assert session.checkout.return_url.endswith(f"/back/{session.id}")


def test_every_answer_has_the_headers_that_guard_it(shop, fake):
    begin(shop, fake)
    for path in ("/orders/1001", "/back/ps_unknown", "/nowhere"):
        headers = shop.client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"


def test_the_shoppers_cookie_is_kept_from_scripts_and_other_sites(shop):
    cookies = shop.client.get("/orders/1001").headers.get("Set-Cookie", "")
    if isinstance(shop, DjangoShop):
        cookies = str(shop.client.cookies["sessionid"])
    assert "HttpOnly" in cookies
    assert "samesite=lax" in cookies.lower()
    assert "secure" not in cookies.lower(), "the example is served by http"


@pytest.mark.parametrize("kind", [FlaskShop, FastAPIShop], ids=["flask", "fastapi"])
def test_with_https_the_cookie_is_for_this_host_and_https_only(kind, books, tmp_path):
    shop = kind(books, tmp_path, url="https://shop.example")
    cookie = shop.client.get("/orders/1001").headers["Set-Cookie"]
    assert cookie.startswith("__Host-shopper=")
    assert "; Secure" in cookie
    assert len(cookie.partition("=")[2].partition(";")[0]) >= 43  # 256 random bits
    shop.close()


def test_a_huge_request_is_not_read(shop):
    status = shop.notify({"Fake-Signature": "x"}, b"x" * 1_048_577)
    assert status in (400, 413)


class Elsewhere(FakeProvider):
    """A gateway that says what the payer's browser is to do."""

    action = None

    @hookimpl
    def initiate(self, session, operation):
        answer = super().initiate(session, operation)
        return Outcome.requires_more(next_action=self.action, reference=answer.reference)


@pytest.fixture
def elsewhere(request, tmp_path):
    """Return a function that opens a shop whose gateway gives an action, and presses its button."""
    opened = []

    def press(kind, action):
        gateway = Elsewhere(approve=False)
        gateway.action = action
        books = Payments.open("memory:", providers={"fake": gateway, "manual": {}})
        shop = kind(books, tmp_path)
        opened.append(shop)
        return shop, books, shop.pay("fake")

    yield press
    for shop in opened:
        shop.close()


POSTED = Redirect("https://bank.example/3ds", "POST", {"PaReq": 'a"b<c>', "MD": "1"})
CARD = ClientAction(
    "stripe.payment_element", {"client_secret": "pi_secret_</script>", "publishable_key": "pk_test_x"}
)


@pytest.mark.parametrize("kind", [FlaskShop, DjangoShop], ids=["flask", "django"])
def test_a_redirect_by_post_is_a_form_that_sends_itself_and_has_a_button(kind, elsewhere):
    shop, books, (status, page, away) = elsewhere(kind, POSTED)
    assert (status, away) == (200, None)
    assert '<form id="leave" method="post" action="https://bank.example/3ds">' in page
    assert re.search(r'name="PaReq" value="a&(#34|quot);b&lt;c&gt;"', page)
    assert ".submit()" in page
    (session,) = books.sessions()
    again = shop.get(f"/back/{session.id}")[1]
    assert '<form id="leave"' in again
    assert ".submit()" not in again, "who came back is not sent away again"


def test_the_api_says_how_a_redirect_by_post_is_made(elsewhere):
    _, _, (status, text, _) = elsewhere(FastAPIShop, POSTED)
    told = json.loads(text)["next"]
    assert (told["method"], told["fields"]) == ("POST", {"PaReq": 'a"b<c>', "MD": "1"})


@pytest.mark.parametrize("kind", [FlaskShop, DjangoShop], ids=["flask", "django"])
def test_a_card_is_paid_on_the_page_with_stripes_own_script(kind, elsewhere):
    shop, books, (status, page, _) = elsewhere(kind, CARD)
    (session,) = books.sessions()
    assert "pi_secret_</script>" not in page
    assert "pi_secret_\\u003C/script\\u003E" in page or "pi_secret_\\u003c/script\\u003e" in page
    assert '<script src="https://js.stripe.com/v3/"></script>' in page
    assert f"/back/{session.id}" in page
    answer = shop.client.get(f"/back/{session.id}")
    policy = answer.headers["Content-Security-Policy"]
    nonce = re.search(r"script-src 'nonce-([\w-]+)' https://js.stripe.com", policy)[1]
    text = answered(answer)[1]
    inline = re.findall(r"<(?:script|style)(?![^>]*(?:src=|application/json))[^>]*>", text)
    assert inline
    assert all(f'nonce="{nonce}"' in tag for tag in inline)


def test_djangos_forms_need_their_token_and_production_settings_are_clean(books, tmp_path):
    shop = DjangoShop(books, tmp_path)
    strict = shop.browser(enforce_csrf_checks=True)
    strict.get("/orders/1001")
    assert strict.post("/orders/1001/pay", {"provider": "fake"}).status_code == 403
    assert books.sessions() == ()
    shop.close()
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "INFO"]
    live = {**os.environ, "SHOP_URL": "https://shop.example", "DJANGO_SECRET_KEY": secrets.token_urlsafe(50)}
    done = subprocess.run(
        command, cwd=EXAMPLES / "django", env=live, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    del live["DJANGO_SECRET_KEY"]
    done = subprocess.run(
        command, cwd=EXAMPLES / "django", env=live, capture_output=True, text=True, timeout=60, check=False
    )
    assert "DJANGO_SECRET_KEY" in done.stderr, "no secret of the example goes live"


def test_a_transfer_shows_its_instructions_and_is_paid_when_a_person_confirms(shop, books):
    status, page, _ = shop.pay("manual")
    assert status == 200
    assert "bank_transfer" in page or "42.00" in page
    (session,) = books.sessions(reference="1001")
    books.authorize(session.id, payload={"by": "ann"})
    shop.work()
    assert shop.figures() == (True, 1)


def test_what_cannot_be_found_or_done_is_answered_without_a_traceback(shop, fake):
    assert shop.get("/back/ps_unknown")[0] == 404
    assert shop.get("/orders/9999")[0] == 404
    fake.fail_next("not_applied", kind="initiate")
    assert shop.pay("fake")[0] == 503
    begin(shop, fake)


# --- the same shop with another provider: only what is selected changes ----------------------------


def test_the_same_shop_takes_cards_through_stripe(tmp_path):
    pytest.importorskip("paysession_sandbox")
    demo = pytest.importorskip("paysession_stripe.demo")
    with demo.Demo(environ={}) as browser:
        settings = {**browser.settings, "publishable_key": "pk_test_sandbox"}
        url = f"sqlite:///{tmp_path / 'payments.db'}"
        with Payments.open(url, providers={"stripe": settings}) as books:
            shop = FastAPIShop(books, tmp_path)
            told = json.loads(shop.pay("stripe")[1])
            assert "stripe.payment_element" == told["next"]["kind"]
            assert {"client_secret", "publishable_key"} <= set(told["next"]["params"])
            browser.payer_acts(books.get(told["session"]))
            assert "authorized" == json.loads(shop.get(f"/back/{told['session']}")[1])["status"]
            shop.work()
            assert shop.figures() == (True, 1)
            shop.close()


@pytest.mark.parametrize("kind", [FlaskShop, DjangoShop], ids=["flask", "django"])
def test_the_same_shop_takes_paypal(kind, tmp_path):
    gateway = pytest.importorskip("paysession_sandbox.paypal")
    with gateway.PayPalFake() as paypal:
        settings = {
            "client_id": paypal.client_id,
            "client_secret": paypal.client_secret,
            "endpoint": paypal.url,
        }
        url = f"sqlite:///{tmp_path / 'payments.db'}"
        with Payments.open(url, providers={"paypal": settings}) as books:
            shop = kind(books, tmp_path)
            status, _, away = shop.pay("paypal")
            (session,) = books.sessions()
            assert (status in (302, 303), away) == (True, session.next_action.url)
            query = paypal.payer_approves(session.reference)
            shop.get(f"/back/{session.id}?{urllib.parse.urlencode(query)}")
            shop.work()
            assert shop.figures() == (True, 1)
            shop.close()


# --- started by the commands of the guides, each with its own settings ----------------------------

COMMANDS = {
    "flask": [["-m", "flask", "--app", "shop", "run", "--port", "{port}"]],
    "fastapi": [["-m", "uvicorn", "shop:app", "--port", "{port}"]],
    "django": [["manage.py", "migrate"], ["manage.py", "runserver", "--noreload", "{port}"]],
}
WORK = {
    "flask": ["-m", "flask", "--app", "shop", "work", "--once"],
    "django": ["manage.py", "follow_payments", "--once"],
}


def ask(browser, port, path, form=None):
    """Ask the running server; return the page."""
    data = urllib.parse.urlencode(form).encode() if form else None
    method = "POST" if form is not None else "GET"
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, method=method)
    for _ in range(600):
        try:
            with browser.open(asked, timeout=30) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            time.sleep(0.1)  # it is not listening yet
    raise TimeoutError("the server does not listen")


@pytest.fixture(
    params=["flask", *(pytest.param(name, marks=pytest.mark.slow) for name in ("fastapi", "django"))]
)
def running(request, tmp_path):
    """A copy of an example's folder, its server started as its guide says, and the port."""
    folder = tmp_path / request.param
    shutil.copytree(EXAMPLES / request.param, folder, ignore=shutil.ignore_patterns("*.db*", "__pycache__"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    *first, last = ([word.format(port=port) for word in words] for words in COMMANDS[request.param])
    for words in first:
        subprocess.run([sys.executable, *words], cwd=folder, check=True, capture_output=True, timeout=60)
    log = (folder / "server.log").open("w")
    server = subprocess.Popen([sys.executable, *last], cwd=folder, stdout=log, stderr=log)
    yield request.param, folder, port
    server.terminate()
    server.wait(30)
    log.close()


def test_an_example_runs_as_its_guide_says(running, in_process):
    name, folder, port = running
    cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    browser = urllib.request.build_opener(cookies)  # the order belongs to it from now on
    page = ask(browser, port, "/orders/1001")
    assert "42.00 EUR" in page
    form = {"provider": "manual"}
    if name == "django":  # its form carries a token, which a browser sends back with its cookie
        form["csrfmiddlewaretoken"] = re.search(r'csrfmiddlewaretoken" value="(\w+)"', page)[1]
    page = ask(browser, port, "/orders/1001/pay?provider=manual", form)
    assert "DE02120300000000202051" in page

    listed = in_process("session", "list", "--reference", "1001", "--json", cwd=folder)
    (session,) = json.loads(listed.stdout)
    assert in_process("session", "authorize", session["id"], "--by", "ann", cwd=folder).returncode == 0
    if name in WORK:
        subprocess.run([sys.executable, *WORK[name]], cwd=folder, check=True, capture_output=True, timeout=60)
    for _ in range(600):  # FastAPI's worker is a task of the server, and looks every five seconds
        page = ask(browser, port, "/orders/1001")
        if "is paid" in page or '"paid":true' in page:
            break
        time.sleep(0.1)
    assert "is paid" in page or '"paid":true' in page


# --- the script -----------------------------------------------------------------------------------


@pytest.fixture
def script_in_process(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["shop.py", *arguments])
        load("script").main()
        return capsys.readouterr().out

    return run


@pytest.fixture
def script_in_a_process(tmp_path):
    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-W", "error", EXAMPLES / "script/shop.py", *arguments],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize(
    "caller", ["script_in_process", pytest.param("script_in_a_process", marks=pytest.mark.slow)]
)
def test_the_script_takes_an_order_to_its_payment(caller, request):
    run = request.getfixturevalue(caller)
    assert "order 1001 is not paid yet" in run("order", "1001", "42.00", "EUR")
    assert "order 1001 is not paid yet" in run("work")
    assert "captured: 42.00 EUR" in run("confirm", "1001", "ann")
    assert "order 1001 is paid" in run("work")
    assert "events handled: 0" in run("work")


def test_the_script_is_started_as_its_guide_says(script_in_a_process):
    assert "order 1001 is not paid yet" in script_in_a_process("order", "1001", "42.00", "EUR")


KILLED = """
import os, signal, sqlite3, sys
sys.path.insert(0, {folder!r})
import shop as example
from paysession import Payments

point, number = sys.argv[1], int(sys.argv[2])
handle, seen = example.handle, 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def handle_until(payments, shop, event):
    global seen
    seen += 1
    if point == "before the event" and seen == number: die()
    handle(payments, shop, event)
    if point == "after the event" and seen == number: die()

example.handle = handle_until
shop = example.open_shop()
with Payments.open("sqlite:///payments.db", providers=["manual"]) as payments:
    example.follow(payments, shop)
    if point == "after the commit": die()
"""


@pytest.mark.parametrize(
    ("point", "number"),
    [
        ("after the event", 3),
        pytest.param("before the event", 1, marks=pytest.mark.slow),
        pytest.param("before the event", 9, marks=pytest.mark.slow),
        pytest.param("after the commit", 0, marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_is_killed_anywhere_sends_each_parcel_exactly_once(
    point, number, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    example = load("script")
    shop = example.open_shop()
    with Payments.open("sqlite:///payments.db", providers=["manual"]) as payments:
        for order in ("1001", "1002", "1003"):
            example.order(payments, shop, order, Money("42.00", "EUR"))
            example.confirm(payments, order, "ann")
        assert len(payments.events()) == 9  # initiated, authorized, captured, for each
        code = KILLED.format(folder=str(EXAMPLES / "script"))
        dead = subprocess.run(
            [sys.executable, "-c", code, point, str(number)], cwd=tmp_path, timeout=60, check=False
        )
        assert dead.returncode == -signal.SIGKILL
        example.follow(payments, shop)
        example.follow(payments, shop)
    parcels = shop.execute("SELECT number FROM parcels ORDER BY number").fetchall()
    assert parcels == [("1001",), ("1002",), ("1003",)]
    shop.close()


def test_a_replay_of_all_events_from_the_start_sends_nothing_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = load("script")
    shop = example.open_shop()
    with Payments.open("sqlite:///payments.db", providers=["manual"]) as payments:
        example.order(payments, shop, "1001", Money("42.00", "EUR"))
        example.confirm(payments, "1001", "ann")
        assert example.follow(payments, shop) == 3
        with shop:
            shop.execute("UPDATE feed SET cursor = NULL")  # a restored backup of the cursor alone
        assert example.follow(payments, shop) == 3
    assert shop.execute("SELECT number FROM parcels").fetchall() == [("1001",)]
    shop.close()


def test_the_worker_of_fastapi_goes_on_after_a_round_that_failed(caplog, tmp_path):
    example = load("fastapi")
    rounds = []

    async def run():
        app = example.create_app(None, str(tmp_path / "shop.db"))
        app.state.books, app.state.shop = None, example.Shop(str(tmp_path / "shop.db"))
        app.state.shop.follow = lambda _: rounds.append("followed")

        async def recover():
            rounds.append("recovered")
            if len(rounds) == 1:
                raise sqlite3.OperationalError("database is locked")
            if len(rounds) > 3:
                raise asyncio.CancelledError

        app.state.payments = SimpleNamespace(recover=recover)
        await example.work(app, 0)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    assert rounds == ["recovered", "recovered", "followed", "recovered"]
    assert "a round of the worker failed" in caplog.text
