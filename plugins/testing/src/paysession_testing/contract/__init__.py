"""The contract of a provider: what every provider has to keep, as a test class to subclass.

``counterpart`` is what an author fills in, ``wire`` is the socket in front of it where things go
wrong, ``bench`` holds the provider's ledger. The tests stand in ``lives``, ``truth``, ``faults``,
``connections``, ``doubt``, ``notifications``, ``meanwhile``, ``secrets`` and ``package``; ``suite`` puts
them together.
"""
