"""One history at a gateway, reported by whichever channels and in whichever order, leaves one ledger.

A model of a gateway keeps its own record (``histories.py``). Random lives are lived with it through `Payments`. Each
request's answer is heard, lost, late or overtaken; notifications come late, twice and in any order; lookups are
consistent, lag, or do not exist. Once all has been reported, figures, status, conflicts of state, operations and events
equal the model's, and at every commit before nothing was recorded that had not happened at the gateway by then, and the
rows of the operations, replayed, give the session's row.
"""

import pytest

import histories

VARIANTS = [
    pytest.param(
        {"lookup": lookup, "keyed": name == "keyed", "totals": totals}, id=f"{lookup}-{name}-{totals}"
    )
    for lookup, totals in [
        ("consistent", "both"),
        ("consistent", "none"),
        ("consistent", "only"),
        ("lagging", "both"),
        ("lagging", "none"),
        ("lagging", "only"),
        ("none", "none"),
    ]
    for name in (("keyed", "referenced") if totals != "only" else ("neither",))
]
"""What a lookup is like, whether effects carry our key, and whether totals are reported beside the effects."""

VARIANTS += [
    pytest.param(
        {"lookup": lookup, "keyed": False, "totals": totals, "claims_keys": True},
        id=f"{lookup}-keys claimed-{totals}",
    )
    for lookup, totals in [("consistent", "both"), ("lagging", "both"), ("none", "none")]
]
"""Effects carry no key, though the provider declares that they do: an answer says by its reference which are ours."""


@pytest.mark.parametrize("variant", VARIANTS)
def test_whichever_channels_report_a_history_the_ledger_equals_the_gateways(variant):
    for seed in range(12):
        histories.live(seed, **variant)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("block", range(4))
def test_two_thousand_histories_of_each_kind(variant, block):
    for seed in range(12 + block * 525, 12 + (block + 1) * 525):
        histories.live(seed, **variant)
