"""A Stripe of one's own, for tests and for the demo."""
