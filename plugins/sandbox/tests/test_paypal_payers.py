"""The payer at PayPal's pages."""

import requests


def test_the_payer_approves_or_gives_up_in_a_browser(begin, paypal):
    order = begin()
    page = f"{paypal.url}/checkoutnow?token={order.id}"
    shown = requests.get(page, timeout=5).text
    assert "This is not PayPal" in shown
    assert "Pay 42.00 EUR" in shown
    gave_up = requests.post(
        f"{paypal.url}/checkoutnow/cancel?token={order.id}", allow_redirects=False, timeout=5
    )
    assert gave_up.headers["Location"] == f"https://shop.example/no?token={order.id}"
    assert order.status == "PAYER_ACTION_REQUIRED"
    paid = requests.post(
        f"{paypal.url}/checkoutnow/approve?token={order.id}", allow_redirects=False, timeout=5
    )
    assert paid.headers["Location"] == f"https://shop.example/back?x=1&token={order.id}&PayerID=QYR5Z8XDVJNXQ"
    assert "You have approved it" in requests.get(page, timeout=5).text


def test_a_brand_cannot_write_into_the_approval_page(begin, paypal):
    order = begin(brand_name="<script>alert(1)</script>")
    page = requests.get(f"{paypal.url}/checkoutnow?token={order.id}", timeout=5)
    assert "<script>" not in page.text
    for path in ("/checkoutnow?token=O7", "/checkoutnow", "/nothing", "/checkoutnow/approve?token=<b>"):
        assert requests.get(paypal.url + path, timeout=5).status_code == 404
