"""Providers of a gateway at which a refund is that of one capture, which refund another one."""

import json
from collections import Counter

from attrs import evolve
from providers import breaks

from paysession_testing.contract.gateway import GatewayCounterpart
from paysession_testing.gateway_provider import GatewayProvider


class ByCapture(GatewayCounterpart):
    """A gateway that gives back no more of a capture than it took."""

    def __init__(self):
        super().__init__()
        self.refunded = Counter()

    def handle(self, method, path, headers, body):
        if path.endswith("/refund") and not self.gateway.knows(headers["idempotency-key"]):
            told = json.loads(body)
            capture = next(entry for entry in self.gateway.ledger if entry.id == told["capture"])
            if told["amount"] > capture.amount - self.refunded[capture.id]:
                return 409, {}, {"error": "not_refundable"}
            self.refunded[capture.id] += told["amount"]
        return super().handle(method, path, headers, body)


class RefundsACapture(GatewayProvider):
    """Names a capture with each refund."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.capabilities = evolve(self.capabilities, refund_needs_capture=True)

    def capture_of(self, order, operation):
        return operation.capture.reference

    def _post(self, path, operation, **body):
        if path.endswith("/refund"):
            order = self._get(path.removesuffix("/refund"))
            body["capture"] = self.capture_of(order, operation)
        return super()._post(path, operation, **body)


def captures(order):
    return [effect["id"] for effect in order["effects"] if effect["kind"] == "capture"]


@breaks("test_a_refund_goes_to_the_capture_that_it_names", counterpart=ByCapture)
class FirstCaptureAlways(RefundsACapture):
    fix = "not the first capture"

    def capture_of(self, order, operation):
        return captures(order)[0]


@breaks("test_a_refund_goes_to_the_capture_that_it_names", counterpart=ByCapture)
class LastCaptureAlways(RefundsACapture):
    def capture_of(self, order, operation):
        return captures(order)[-1]
