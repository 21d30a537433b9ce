"""The providers of the benchmarks, and one lifecycle: initiate, authorize, capture, refund."""

from paysession import Capabilities, Money, Outcome, Payments, hookimpl
from paysession_manual import Manual

EUR = Money("42.00", "EUR")


class Remote:
    """A provider that answers at once and whose effects count as remote."""

    capabilities = Capabilities(capture="multiple", refund="multiple")

    @hookimpl
    def initiate(self):
        return Outcome.pending()

    @hookimpl
    def authorize(self):
        return Outcome.authorized()

    @hookimpl
    def capture(self, operation):
        return Outcome.captured(operation.amount)

    @hookimpl
    def refund(self, operation):
        return Outcome.refunded(operation.amount)

    @hookimpl
    def cancel(self):
        return Outcome.canceled()


PROVIDERS = {"local": Manual(auto_authorize=True), "remote": Remote()}


def opened(url):
    return Payments.open(url, providers=PROVIDERS, environ={})


def live(pay, provider, orders):
    for order in orders:
        session_id = pay.initiate(order, provider=provider).id
        pay.authorize(session_id)
        pay.capture(session_id)
        pay.refund(session_id)
