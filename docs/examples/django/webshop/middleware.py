"""What every page carries so that a browser runs nothing but our own script and Stripe's."""

import secrets
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

# Stripe's script, frames and API are all that a page may use beside itself. A form may lead to a gateway.
POLICY = (
    "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src 'nonce-{nonce}'; "
    "script-src 'nonce-{nonce}' https://js.stripe.com https://*.js.stripe.com; "
    "frame-src https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com; "
    "connect-src https://api.stripe.com; form-action 'self' https: http://127.0.0.1:*"
)


class ProtectPages:
    """Sets a content security policy, and keeps pages out of caches."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request."""
        nonce = request.META["nonce"] = secrets.token_urlsafe(16)
        response = self.get_response(request)
        response["Content-Security-Policy"] = POLICY.format(nonce=nonce)
        response["Cache-Control"] = "no-store"  # a page may hold a client secret
        return response
