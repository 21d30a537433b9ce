"""Stripe with faults: the sandbox, with a memory of keys and a list of what is to go wrong next."""

import json
import threading

from paysession_sandbox.stripe.layer import Answer, Sandbox


class FaultySandbox(Sandbox):
    """What the provider speaks to in the tests.

    It remembers idempotency keys as Stripe does, keeps every request, counts what was really carried
    out, and fails on demand:

    - ``drop_before``, ``drop_after``: the connection is cut before, or after, it was carried out;
    - ``500_before``, ``500_after``, ``429``, ``409``, ``400``, ``401``, ``garbage``, ``list``, ``null``;
    - ``hang``: it is carried out, and no answer comes until `release`.
    """

    def __init__(self, local, **options):
        super().__init__(local, **options)
        self.requests = []
        self.effects = []
        self.replies = {}
        self.faults = []
        self.patches = []
        self.canned = {}
        self.disputes = {}
        self.refund_status = None
        self._held = threading.Event()
        self._guard = threading.Lock()
        self._in_flight = set()

    def fail(self, fault, path="", method="POST", times=1):
        """Let the next requests to a path fail."""
        self.faults += [(method, path, fault)] * times

    def patch(self, function):
        """Have a function change every PaymentIntent that is shown."""
        self.patches.append(function)

    def answer(self, path, found):
        """Answer every question to a path in this way."""
        self.canned[path] = found

    def release(self):
        """Let hanging answers go."""
        self._held.set()

    def writes(self, path=""):
        """Return the requests that change something, to paths that end so."""
        return [r for r in self.requests if r.method == "POST" and r.path.endswith(path)]

    def serve(self, request):
        with self._guard:
            self.requests.append(request)
            fault = self._due(request)
        early = {
            "drop_before": Answer(None),
            "500_before": _error(500, type="api_error", message="An unknown error occurred."),
            "429": _error(429, code="rate_limit", message="Too many requests.", retry_after="7"),
            "400": _error(400, message="Search is not available in your country."),
            "401": _error(401, message="Invalid API Key provided: sk_test_*****"),
            "409": _error(409, type="idempotency_error", code="idempotency_key_in_use", message="In use."),
        }.get(fault)
        if early is not None:
            return early
        answer = self._replayed(request) if request.method == "POST" else super().serve(request)
        if fault == "hang":
            self._held.wait(30)
        return {
            "drop_after": Answer(None),
            "500_after": _error(500, type="api_error", message="An unknown error occurred."),
            "garbage": Answer(200, b"<html>it works</html>"),
            "list": Answer(200, b"[]"),
            "null": Answer(200, b"null"),
            "hang": Answer(None),
        }.get(fault, answer)

    def _due(self, request):
        for place, (method, path, fault) in enumerate(self.faults):
            if request.method == method and request.path.endswith(path):
                del self.faults[place]
                return fault
        return None

    def _replayed(self, request):
        """Carry a request out once for its key, as Stripe does; what is not begun is not kept."""
        key = request.headers.get("idempotency-key")
        if key is None:
            return super().serve(request)
        with self._guard:
            known = self.replies.get(key)
            if known is not None:
                if known[0] != (request.path, request.params):
                    return _error(400, type="idempotency_error", message="Other parameters.")
                return known[1]
            if key in self._in_flight:
                return _error(409, code="idempotency_key_in_use", message="In use.")
            self._in_flight.add(key)
        try:
            answer = super().serve(request)
        finally:
            with self._guard:
                self._in_flight.discard(key)
        with self._guard:
            self.replies[key] = ((request.path, request.params), answer)
            if answer.status == 200:
                self.effects.append((request.path, key))
        return answer

    def carry_out(self, request):
        if request.method == "GET" and request.path == "/v1/disputes":
            found = self.disputes.get(request.params["charge"], [])
            return {"object": "list", "has_more": False, "data": found[::-1]}
        if request.method == "GET" and request.path in self.canned:
            return self.canned[request.path]
        return super().carry_out(request)

    def _refund(self, params):
        return self._as_patched(super()._refund(params))

    def _refunds(self, charge):
        found = super()._refunds(charge)
        for refund in found["data"]:
            self._as_patched(refund)
        return found

    def _as_patched(self, refund):
        if self.refund_status is not None and refund["metadata"]:
            refund["status"] = self.refund_status
        return refund

    def _show(self, intent, expand):
        shown = super()._show(intent, expand)
        if isinstance(shown["latest_charge"], dict):
            shown["latest_charge"]["disputed"] = shown["latest_charge"]["id"] in self.disputes
        for patch in self.patches:
            patch(shown)
        return shown


def _error(status, retry_after=None, **error):
    error.setdefault("type", "invalid_request_error")
    headers = {"Request-Id": "req_faulty"}
    if retry_after is not None:
        headers["Retry-After"] = retry_after
    return Answer(status, json.dumps({"error": error}).encode(), headers)
