"""The sandbox's Stripe, with what the tests of the provider play with."""

from paysession_sandbox.stripe import StripeSandbox


class FaultySandbox(StripeSandbox):
    """What the provider speaks to in the tests.

    `disputes` and `refund_status` let a test show disputes, and statuses of refunds, that Stripe itself
    comes to only by a long way, or that nobody knows.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.disputes = {}
        self.refund_status = None
        self.api.patches += [("refund", self._as_patched), ("charge", self._disputed)]

    @property
    def local(self):
        """The stand-in, called directly."""
        return self

    @property
    def patches(self):
        """The functions that change every PaymentIntent that is shown."""
        return _Patches(self)

    def serve(self, request):
        charge = request.params.get("charge")
        if request.method == "GET" and request.path == "/v1/disputes" and charge in self.disputes:
            found = {"object": "list", "has_more": False, "data": self.disputes[charge][::-1]}
            self.answer(request.path, {**found, "url": request.path})
        return super().serve(request)

    def _as_patched(self, refund):
        if self.refund_status is not None and refund["metadata"]:
            refund["status"] = self.refund_status

    def _disputed(self, charge):
        charge["disputed"] = charge["disputed"] or charge["id"] in self.disputes


class _Patches:
    def __init__(self, sandbox):
        self._sandbox = sandbox

    def remove(self, function):
        self._sandbox.unpatch(function)
