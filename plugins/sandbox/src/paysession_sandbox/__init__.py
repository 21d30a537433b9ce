"""Stripe and PayPal on this machine: stand-ins over real sockets, for tests, demos and browsers.

They share no code with the providers that are tried against them: what they accept and answer comes
from the gateways' own documentation.
"""
