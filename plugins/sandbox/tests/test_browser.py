"""Pages with the documented browser code, in Chromium: only the address of the script is another one."""

import importlib.util
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from paysession_sandbox.paypal import PayPalFake, vault
from paysession_sandbox.paypal.problems import Problem
from paysession_sandbox.stripe import StripeSandbox
from paysession_sandbox.stripe.cards import CARDS

_spec = importlib.util.spec_from_file_location(
    "paysession_sandbox_browser", Path(__file__).with_name("browser.py")
)
browsers = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(browsers)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browsers.found() is None, reason="there is no Chromium here"),
]

# https://docs.stripe.com/payments/accept-a-payment?platform=web&ui=elements
STRIPE_PAGE = """<!doctype html><title>Shop</title><script src="SCRIPT"></script>
<form id="payment-form"><div id="payment-element"></div><button id="submit">Pay</button>
<div id="error-message"></div></form>
<script>
const stripe = Stripe('pk_test_sandbox');
const elements = stripe.elements({clientSecret: 'SECRET', appearance: {}});
const paymentElement = elements.create('payment', {layout: 'tabs'});
paymentElement.on('ready', () => document.body.dataset.ready = 'yes');
paymentElement.mount('#payment-element');
document.querySelector('#payment-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const {error} = await stripe.confirmPayment({elements, confirmParams: {return_url: location.origin + '/back'}});
  if (error) document.querySelector('#error-message').textContent = error.message;
});
</script>"""
# https://docs.stripe.com/payments/accept-a-payment?platform=web&ui=elements#web-post-payment
STRIPE_BACK = """<!doctype html><title>Back</title><script src="SCRIPT"></script><p id="message"></p>
<script>
const stripe = Stripe('pk_test_sandbox');
const clientSecret = new URLSearchParams(window.location.search).get('payment_intent_client_secret');
stripe.retrievePaymentIntent(clientSecret).then(({paymentIntent}) => {
  document.querySelector('#message').textContent = paymentIntent.status;
});
</script>"""
# https://developer.paypal.com/docs/checkout/standard/integrate/
PAYPAL_PAGE = """<!doctype html><title>Shop</title><script src="SCRIPT?client-id=client-id&currency=EUR"></script>
<div id="paypal-button-container"></div><p id="result-message"></p>
<script>
const say = (text) => document.querySelector('#result-message').textContent = text;
paypal.Buttons({
  async createOrder() {
    const response = await fetch('/api/orders', {method: 'POST'});
    return (await response.json()).id;
  },
  async onApprove(data, actions) {
    const response = await fetch(`/api/orders/${data.orderID}/capture`, {method: 'POST'});
    const order = await response.json();
    if (order.details && order.details[0].issue === 'INSTRUMENT_DECLINED') return actions.restart();
    say(order.status + ' ' + data.payerID);
  },
  onCancel(data) { say('canceled ' + data.orderID); },
  onError(error) { say('error ' + error); },
}).render('#paypal-button-container').then(() => document.body.dataset.ready = 'yes');
</script>"""

# https://developer.paypal.com/sdk/js/v5/save-without-purchase/paypal
PAYPAL_SAVES = """<!doctype html><title>Account</title>
<script src="SCRIPT?client-id=client-id" data-user-id-token="ID_TOKEN"></script>
<div id="paypal-buttons-container"></div><p id="result-message"></p>
<script>
const say = (text) => document.querySelector('#result-message').textContent = text;
paypal.Buttons({
  createVaultSetupToken: async () => {
    const result = await fetch('/api/setup-tokens', {method: 'POST'});
    return (await result.json()).id;
  },
  onApprove: async ({vaultSetupToken}) => {
    const result = await fetch(`/api/payment-tokens/${vaultSetupToken}/make`, {method: 'POST'});
    say('saved ' + (await result.json()).id);
  },
  onCancel() { say('canceled'); },
  onError(error) { say('error ' + error); },
}).render('#paypal-buttons-container').then(() => document.body.dataset.ready = 'yes');
</script>"""


class Shop:
    """A shop's pages, and what its server does."""

    def __init__(self):
        self.pages = {}
        self.posts = {}
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def _send(self, body, kind):
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                page = shop.pages.get(urlsplit(self.path).path, "")
                self._send(page.encode(), "text/html; charset=utf-8")

            def do_POST(self):
                act = next(act for path, act in shop.posts.items() if self.path.endswith(path))
                self._send(json.dumps(act(self.path)).encode(), "application/json")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.005,), daemon=True).start()


@pytest.fixture(scope="module")
def shop():
    shop = Shop()
    yield shop
    shop.server.shutdown()
    shop.server.server_close()


@pytest.fixture(scope="module")
def browser():
    browser = browsers.Browser()
    yield browser
    browser.close()


@pytest.fixture
def stripe():
    with StripeSandbox() as stripe:
        yield stripe


def begin(browser, shop, stripe, **params):
    """Open the page that pays a new PaymentIntent; return the PaymentIntent's id."""
    intent = stripe.call("POST", "/v1/payment_intents", {"amount": 4200, "currency": "eur", **params})
    script = f"{stripe.url}/v3/"
    shop.pages["/pay"] = STRIPE_PAGE.replace("SCRIPT", script).replace("SECRET", intent["client_secret"])
    shop.pages["/back"] = STRIPE_BACK.replace("SCRIPT", script)
    browser.open(f"{shop.url}/pay")
    browser.until("document.body.dataset.ready === 'yes'")
    return intent["id"]


def fill(browser, **values):
    for name, value in values.items():
        browser.run(
            f"(() => {{ const input = document.querySelector('#payment-element [name={name}]');"
            f"input.value = {json.dumps(value)}; input.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
        )
    browser.run("document.querySelector('#submit').click()")


def card(browser, number):
    cvc = "1234" if number.startswith(("34", "37")) else "123"  # American Express has four digits
    fill(browser, number=number, expiry="12 / 34", cvc=cvc)


def status(stripe, intent):
    return stripe.call("GET", f"/v1/payment_intents/{intent}")["status"]


def came_back(browser):
    """Wait until the page of the shop says what the PaymentIntent's status is; return it."""
    found = browser.until("location.pathname === '/back' && document.querySelector('#message').textContent")
    query = parse_qs(urlsplit(browser.run("location.href")).query)
    assert {"payment_intent", "payment_intent_client_secret", "redirect_status"} <= set(query)
    return found, query["redirect_status"][0]


# https://docs.stripe.com/testing: what each test card does. Spaces are typed as on the card.
PAY = (
    "4242 4242 4242 4242", "4000056655665556", "5555555555554444", "2223003122003222", "5200828282828210",
    "5105105105105100", "378282246310005", "371449635398431", "6011111111111117", "6011000990139424",
    "3056930009020004", "36227206271667", "3566002020360505", "6200000000000005", "4000002760000016",
    "4000002500000003", "4000005280000002", "4000008260000000", "4000000000000259", "4000000000002685",
    "4000000000001976", "4000000000007726", "4000000000005126", "4000000000000077", "4000000000003055",
)  # fmt: skip
DECLINED = {
    "4000000000000002": "was declined",
    "4000000000000341": "was declined",
    "4000000000009987": "was declined",
    "4000000000009979": "was declined",
    "4000000000006975": "was declined",
    "4100000000000019": "was declined",
    "4000000000004954": "was declined",
    "4000000000009995": "insufficient funds",
    "4000000000000069": "has expired",
    "4000000000000127": "security code is incorrect",
    "4000000000000119": "processing your card",
    "4242424242424241": "card number is incorrect",
}
ASK = ("4000002500003155", "4000002760003184", "4000000000003220", "4000003800000446")
ASK_AND_DECLINE = {"4000008260003178": "insufficient funds", "4000008400001629": "was declined"}


def test_each_card_that_is_known_is_tried_in_the_browser():
    tried = {*(number.replace(" ", "") for number in PAY), *DECLINED, *ASK, *ASK_AND_DECLINE}
    assert tried - {"4242424242424241"} == set(CARDS)


@pytest.mark.parametrize("number", PAY)
def test_a_card_pays_in_the_browser(browser, shop, stripe, number):
    intent = begin(browser, shop, stripe, capture_method="manual")
    card(browser, number)
    assert came_back(browser) == ("requires_capture", "succeeded")
    assert status(stripe, intent) == "requires_capture"


@pytest.mark.parametrize("number", DECLINED)
def test_a_card_is_declined_in_the_browser_and_another_one_pays(browser, shop, stripe, number):
    intent = begin(browser, shop, stripe)
    card(browser, number)
    assert DECLINED[number] in browser.until("document.querySelector('#error-message').textContent")
    assert status(stripe, intent) == "requires_payment_method"
    card(browser, "4242424242424242")
    assert came_back(browser) == ("succeeded", "succeeded")


def answer_the_bank(browser, label):
    browser.until("document.querySelector('[data-sandbox=bank] iframe')")
    browser.press_in_frame(label)


@pytest.mark.parametrize("number", ASK)
@pytest.mark.parametrize("success", [True, False])
def test_the_bank_asks_in_the_browser(browser, shop, stripe, number, success):
    intent = begin(browser, shop, stripe)
    card(browser, number)
    answer_the_bank(browser, "Complete authentication" if success else "Fail authentication")
    if success:
        assert came_back(browser) == ("succeeded", "succeeded")
    else:
        assert "authenticated" in browser.until("document.querySelector('#error-message').textContent")
        assert status(stripe, intent) == "requires_payment_method"


@pytest.mark.parametrize("number", ASK_AND_DECLINE)
def test_the_bank_asks_in_the_browser_and_declines(browser, shop, stripe, number):
    intent = begin(browser, shop, stripe)
    card(browser, number)
    answer_the_bank(browser, "Complete authentication")
    words = browser.until("document.querySelector('#error-message').textContent")
    assert ASK_AND_DECLINE[number] in words
    assert status(stripe, intent) == "requires_payment_method"


@pytest.mark.parametrize(
    ("iban", "after", "found"),
    [
        ("DE89370400440532013000", 5, "succeeded"),
        ("DE62370400440532013001", 5, "requires_payment_method"),
        ("DE78370400440532013004", 180, "requires_payment_method"),
    ],
)
def test_a_debit_ends_as_its_account_says(browser, shop, stripe, iban, after, found):
    intent = begin(browser, shop, stripe)
    fill(browser, type="sepa_debit", iban=iban, name="Jenny Rosen", email="j@example.com")
    assert came_back(browser) == ("processing", "succeeded")
    stripe.advance(seconds=after)
    assert status(stripe, intent) == found


def test_a_debit_waits_for_the_bank(browser, shop, stripe):
    intent = begin(browser, shop, stripe)
    fill(browser, type="sepa_debit", iban="DE08370400440532013003", name="Jenny Rosen", email="j@example.com")
    assert came_back(browser) == ("processing", "succeeded")
    browser.open(stripe.url)
    browser.run(
        "[...document.querySelectorAll('button')].find((b) => b.innerText === 'Settle the debit').click()"
    )
    browser.until("document.body && !document.body.innerText.includes('Settle the debit')")
    assert status(stripe, intent) == "succeeded"


@pytest.mark.parametrize("success", [True, False])
def test_ideal_leads_to_the_banks_page_and_back(browser, shop, stripe, success):
    begin(browser, shop, stripe)
    fill(browser, type="ideal", name="Jenny Rosen")
    label = "Complete authentication" if success else "Fail authentication"
    browser.until("document.body.innerText.includes('Your bank')")
    browser.run(f"[...document.querySelectorAll('button')].find((b) => b.innerText === '{label}').click()")
    assert came_back(browser) == (
        ("succeeded", "succeeded") if success else ("requires_payment_method", "failed")
    )


@pytest.mark.parametrize("number", ["4242424242424242", "4000002760003184"])
def test_checkouts_page_is_paid(browser, shop, stripe, number):
    shop.pages["/thanks"] = "<title>Thanks</title>Thank you"
    price = {"currency": "eur", "unit_amount": 2100, "product_data": {"name": "A book"}}
    session = stripe.call(
        "POST",
        "/v1/checkout/sessions",
        {
            "mode": "payment",
            "success_url": f"{shop.url}/thanks?session={{CHECKOUT_SESSION_ID}}",
            "line_items": [{"price_data": price, "quantity": 2}],
        },
    )
    browser.open(session["url"])
    for value in ("4000000000000002", number):
        for name, text in {
            "number": value,
            "expiry": "12/34",
            "cvc": "123",
            "email": "j@example.com",
        }.items():
            browser.run(f"document.querySelector('[name={name}]').value = '{text}'")
        browser.run("document.querySelector('button.full').click()")
        if value == "4000000000000002":
            browser.until("document.querySelector('[role=alert]')")
    if number == "4000002760003184":
        browser.until("document.body.innerText.includes('Your bank')")
        browser.run("document.querySelector('button.main').click()")
    browser.until(f"location.href === '{shop.url}/thanks?session={session['id']}'")
    session = stripe.call("GET", f"/v1/checkout/sessions/{session['id']}")
    assert (session["status"], session["payment_status"]) == ("complete", "paid")


# https://docs.stripe.com/js/embedded_checkout/create
EMBEDDED_PAGE = """<!doctype html><title>Shop</title><script src="SCRIPT"></script><div id="checkout"></div>
<script>
(async () => {
  const stripe = Stripe('pk_test_sandbox');
  const checkout = await stripe.createEmbeddedCheckoutPage({fetchClientSecret: async () => 'SECRET'});
  checkout.mount('#checkout');
})();
</script>"""


@pytest.mark.parametrize("number", ["4242424242424242", "4000002760003184"])
def test_checkouts_page_is_paid_within_the_shops(browser, shop, stripe, number):
    shop.pages["/thanks"] = "<title>Thanks</title>Thank you"
    price = {"currency": "eur", "unit_amount": 4200, "product_data": {"name": "A book"}}
    session = stripe.call(
        "POST",
        "/v1/checkout/sessions",
        {
            "mode": "payment",
            "ui_mode": "embedded_page",
            "return_url": f"{shop.url}/thanks?session={{CHECKOUT_SESSION_ID}}",
            "line_items": [{"price_data": price, "quantity": 1}],
        },
    )
    script = f"{stripe.url}/endive/stripe.js"
    shop.pages["/pay"] = EMBEDDED_PAGE.replace("SCRIPT", script).replace("SECRET", session["client_secret"])
    browser.open(f"{shop.url}/pay")
    for value in ("4000000000000002", number):
        typed = {"number": value, "expiry": "12/34", "cvc": "123", "email": "j@example.com"}
        alert = "!document.querySelector('[role=alert]')" if value == "4000000000000002" else "true"
        browser.run_in_frame(
            f"(() => {{ if (!document.querySelector('button.full') || !({alert})) return false;"
            f"for (const [name, text] of Object.entries({json.dumps(typed)}))"
            "document.querySelector(`[name=${name}]`).value = text;"
            "document.querySelector('button.full').click(); return true; })()"
        )
        if value == "4000000000000002":
            browser.run_in_frame("!!document.querySelector('[role=alert]')")
    if number == "4000002760003184":
        browser.press_in_frame("Complete authentication")
    browser.until(f"location.href === '{shop.url}/thanks?session={session['id']}'")
    session = stripe.call("GET", f"/v1/checkout/sessions/{session['id']}")
    assert (session["status"], session["payment_status"]) == ("complete", "paid")


# --- PayPal ---------------------------------------------------------------------------------------


@pytest.fixture
def paypal():
    with PayPalFake() as paypal:
        yield paypal


def open_paypal(browser, shop, paypal, **order):
    """Open the page that pays with PayPal's buttons, and press the button."""

    def create(_path):
        unit = {"amount": {"currency_code": "EUR", "value": "42.00"}}
        return {"id": paypal.ledger.create({"intent": "CAPTURE", "purchase_units": [unit], **order}).id}

    def capture(path):
        try:
            order = paypal.ledger.capture_order(path.split("/")[-2])
        except Problem as problem:
            return problem.document("capture_order", "f00d")
        return {"id": order.id, "status": order.status}

    shop.posts = {"/api/orders": create, "/capture": capture}
    shop.pages["/paypal"] = PAYPAL_PAGE.replace("SCRIPT", f"{paypal.url}/sdk/js")
    browser.open(f"{shop.url}/paypal")
    press_paypal(browser)


def press_paypal(browser):
    browser.until("document.body.dataset.ready === 'yes'")
    browser.run("document.querySelector('[data-sandbox=paypal-button]').click()")


def answer_paypal(browser, action):
    browser.until(f"document.querySelector('[data-action={action}]')")
    browser.run(f"document.querySelector('[data-action={action}]').click()")


def said(browser):
    return browser.until("document.querySelector('#result-message').textContent")


def test_paypals_buttons_pay(browser, shop, paypal):
    open_paypal(browser, shop, paypal)
    answer_paypal(browser, "approve")
    assert said(browser).startswith("COMPLETED ")
    assert paypal.effects == ["capture 42.00"]


def test_paypals_buttons_are_canceled(browser, shop, paypal):
    open_paypal(browser, shop, paypal)
    answer_paypal(browser, "cancel")
    assert said(browser).startswith("canceled ")
    assert paypal.effects == []


def test_a_payer_whose_card_is_declined_is_asked_again_by_paypals_buttons(browser, shop, paypal):
    open_paypal(browser, shop, paypal)
    paypal.decline_next()
    browser.until("document.querySelector('[data-sandbox=paypal]')")
    browser.run("document.querySelector('[data-sandbox=paypal]').dataset.asked = 'once'")
    answer_paypal(browser, "approve")
    browser.until("document.querySelector('[data-sandbox=paypal]:not([data-asked])')")
    answer_paypal(browser, "approve")
    assert said(browser).startswith("COMPLETED ")
    assert paypal.effects == ["capture 42.00"]


def test_paypals_buttons_save_an_account_with_a_payment(browser, shop, paypal):
    source = {"paypal": {"attributes": {"vault": {"store_in_vault": "ON_SUCCESS", "usage_type": "MERCHANT"}}}}
    open_paypal(browser, shop, paypal, payment_source=source)
    answer_paypal(browser, "approve")
    assert said(browser).startswith("COMPLETED ")
    assert list(paypal.ledger.vault.values()) == ["paypal"]


def open_saving(browser, shop, paypal):
    """Open the page that saves the payer's account without a payment, and press the button."""
    ledger = paypal.ledger

    def turn(path):
        token = {"id": path.split("/")[-2], "type": "SETUP_TOKEN"}
        return {"id": vault.turn(ledger, {"payment_source": {"token": token}})}

    asked = {"payment_source": {"paypal": {"usage_type": "MERCHANT"}}}
    shop.posts = {"/api/setup-tokens": lambda _: {"id": vault.begin(ledger, asked).id}, "/make": turn}
    shop.pages["/account"] = PAYPAL_SAVES.replace("SCRIPT", f"{paypal.url}/sdk/js")
    browser.open(f"{shop.url}/account")
    press_paypal(browser)


def test_paypals_buttons_save_an_account_without_a_payment(browser, shop, paypal):
    open_saving(browser, shop, paypal)
    answer_paypal(browser, "approve")
    assert said(browser) == f"saved {next(iter(paypal.ledger.vault))}"
    assert paypal.effects == []


def test_a_payer_does_not_let_paypals_buttons_save_the_account(browser, shop, paypal):
    open_saving(browser, shop, paypal)
    answer_paypal(browser, "cancel")
    assert said(browser) == "canceled"
    assert paypal.ledger.vault == {}


def test_what_paypals_buttons_do_not_imitate_is_said(browser, shop, paypal):
    page = PAYPAL_SAVES.replace("SCRIPT", f"{paypal.url}/sdk/js")
    shop.pages["/subscribe"] = page.replace("createVaultSetupToken", "createSubscription")
    browser.open(f"{shop.url}/subscribe")
    press_paypal(browser)
    assert "not with: createSubscription" in said(browser)


@pytest.mark.parametrize(
    ("press", "status"), [("Pay 42.00 EUR", "APPROVED"), ("Back to the shop", "CREATED")]
)
def test_paypals_page_leads_back_to_the_shop(browser, shop, paypal, press, status):
    for path in ("/back", "/no"):
        shop.pages[path] = "<title>Shop</title>Shop"
    context = {"return_url": f"{shop.url}/back", "cancel_url": f"{shop.url}/no"}
    unit = {"amount": {"currency_code": "EUR", "value": "42.00"}}
    order = paypal.ledger.create(
        {"intent": "CAPTURE", "purchase_units": [unit], "application_context": context}
    )
    browser.open(f"{paypal.url}/checkoutnow?token={order.id}")
    browser.run(f"[...document.querySelectorAll('button')].find((b) => b.innerText === '{press}').click()")
    browser.until(f"location.href.startsWith('{shop.url}')")
    assert order.status == status
