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

from paysession import Money, Payments
from paysession.testing import FakeProvider

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
    def __init__(self, books, folder):
        self.app = load("flask").create_app(books, str(folder / "shop.db"))
        self.client = self.app.test_client()
        self.database = folder / "shop.db"

    def get(self, path):
        answer = self.client.get(path)
        return answer.status_code, answer.text, answer.headers.get("Location")

    def pay(self, provider):
        answer = self.client.post("/orders/1001/pay", data={"provider": provider})
        return answer.status_code, answer.text, answer.headers.get("Location")

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
    def __init__(self, books, folder):
        from fastapi.testclient import TestClient

        self.app = load("fastapi").create_app(books, str(folder / "shop.db"), every=3600)
        self.client = TestClient(self.app, follow_redirects=False)
        self.client.__enter__()  # the lifespan: opens, and starts the worker
        self.database = folder / "shop.db"

    def get(self, path):
        answer = self.client.get(path)
        action = answer.json().get("next") or {}
        return answer.status_code, answer.text, action.get("url")

    def pay(self, provider):
        answer = self.client.post("/orders/1001/pay", params={"provider": provider})
        action = answer.json().get("next") or {}
        return answer.status_code, answer.text, action.get("url")

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
        from django.test import Client

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
        self.client = Client(enforce_csrf_checks=False)
        self.call = call_command

    def get(self, path):
        answer = self.client.get(path)
        return answer.status_code, answer.content.decode(), answer.headers.get("Location")

    def pay(self, provider):
        answer = self.client.post("/orders/1001/pay", {"provider": provider})
        return answer.status_code, answer.content.decode(), answer.headers.get("Location")

    def notify(self, headers, body):
        from django.test import Client

        strict = Client(enforce_csrf_checks=True)  # a gateway has no CSRF token
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


@pytest.fixture(params=[FlaskShop, FastAPIShop, DjangoShop], ids=["flask", "fastapi", "django"])
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
    assert "the payer gave up" in page
    assert shop.figures() == (False, 0)
    again = begin(shop, fake)
    assert again != session_id
    assert begin(shop, fake) == again  # a double click
    fake.payer_approves(again)
    shop.get(f"/back/{again}")
    shop.work()
    assert shop.figures() == (True, 1)
    assert fake.total(session_id, "capture") == 0


def test_a_payer_who_has_not_acted_is_sent_to_the_provider_again(shop, fake):
    session_id = begin(shop, fake)
    assert shop.get(f"/back/{session_id}")[2] == f"https://fake.example/approve/{session_id}"


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
    pytest.importorskip("localstripe")
    demo = pytest.importorskip("paysession_stripe.demo")
    with demo.Demo(environ={}) as browser:
        settings = {**browser.settings, "publishable_key": "pk_test_localstripe"}
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
    gateway = pytest.importorskip("paysession_paypal.fake")
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


def ask(port, path, form=None):
    """Ask the running server; return the status and the page."""
    data = urllib.parse.urlencode(form).encode() if form else None
    method = "POST" if form is not None else "GET"
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, method=method)
    for _ in range(600):
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except urllib.error.URLError:
            time.sleep(0.1)  # it is not listening yet
    raise TimeoutError("the server does not listen")


@pytest.fixture(params=COMMANDS)
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


def test_an_example_runs_as_its_guide_says(running):
    name, folder, port = running
    status, page = ask(port, "/orders/1001")
    assert (status, "42.00 EUR" in page) == (200, True)
    if name == "django":  # its form carries a token, which a browser sends back with its cookie
        asked = http.cookiejar.CookieJar()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(asked))
        with browser.open(f"http://127.0.0.1:{port}/orders/1001") as answer:
            token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', answer.read().decode())[1]
        form = urllib.parse.urlencode({"provider": "manual", "csrfmiddlewaretoken": token}).encode()
        with browser.open(f"http://127.0.0.1:{port}/orders/1001/pay", form) as answer:
            page = answer.read().decode()
    else:
        status, page = ask(port, "/orders/1001/pay?provider=manual", {"provider": "manual"})
        assert status == 200
    assert "DE02120300000000202051" in page

    command = [sys.executable, "-c", "from paysession_cli.main import main; main()"]
    listed = subprocess.run(
        [*command, "session", "list", "--reference", "1001", "--json"],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (session,) = json.loads(listed.stdout)
    subprocess.run(
        [*command, "session", "authorize", session["id"], "--by", "ann"],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=60,
    )
    if name in WORK:
        subprocess.run([sys.executable, *WORK[name]], cwd=folder, check=True, capture_output=True, timeout=60)
    for _ in range(600):  # FastAPI's worker is a task of the server, and looks every five seconds
        page = ask(port, "/orders/1001")[1]
        if "is paid" in page or '"paid":true' in page:
            break
        time.sleep(0.1)
    assert "is paid" in page or '"paid":true' in page


# --- the script -----------------------------------------------------------------------------------


def run_script(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "script/shop.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_script_takes_an_order_to_its_payment(tmp_path):
    assert "order 1001 is not paid yet" in run_script(tmp_path, "order", "1001", "42.00", "EUR")
    assert "order 1001 is not paid yet" in run_script(tmp_path, "work")
    assert "captured: 42.00 EUR" in run_script(tmp_path, "confirm", "1001", "ann")
    assert "order 1001 is paid" in run_script(tmp_path, "work")
    assert "events handled: 0" in run_script(tmp_path, "work")


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
    [("before the event", 1), ("after the event", 3), ("before the event", 9), ("after the commit", 0)],
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
