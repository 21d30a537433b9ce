"""The rules of a payment session: facts, the one function that applies them, and what proves them.

Nothing here does I/O. ``rules`` says whether an operation may begin. ``evidence`` translates every source of
knowledge (an answer, a lookup, a notification, an operator) into ``facts``, with ``matching``, ``lookup``,
``refusals`` and ``consequences``, and ``ledger`` applies them. ``verdict`` says what to do about an operation
in doubt, and ``schedule`` when recovery looks again.
"""
