"""Fixtures for the tests of a shop: a Stripe and a PayPal with nothing in them, at addresses of their own.

pytest finds them by itself where paysession-sandbox is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paysession_sandbox.paypal import PayPalFake
    from paysession_sandbox.stripe import StripeSandbox

__all__ = ["paypal_sandbox", "stripe_sandbox"]

# The stand-ins are imported by the test that asks for one: every other run of pytest begins as before.


@pytest.fixture
def stripe_sandbox() -> Iterator[StripeSandbox]:
    """Return a Stripe at ``stripe_sandbox.url``, whose clock stands still until it is set forward."""
    from paysession_sandbox.clock import Clock  # noqa: PLC0415
    from paysession_sandbox.stripe import StripeSandbox  # noqa: PLC0415

    with StripeSandbox(Clock()) as sandbox:
        yield sandbox


@pytest.fixture
def paypal_sandbox() -> Iterator[PayPalFake]:
    """Return a PayPal at ``paypal_sandbox.url``, whose clock stands still until it is set forward."""
    from paysession_sandbox.paypal import PayPalFake  # noqa: PLC0415

    with PayPalFake() as fake:
        yield fake
