import pytest

FIRST = "TestGatewayProvider"
"""The contract that the fast tier tries with every fault, of a capture: its gateway makes all there are."""


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what is marked
def pytest_collection_modifyitems(items):
    """Leave to the slow tier what repeats a row of the contract: another fault, for another provider.

    Each of its tests stays in the fast tier with the first fault that is listed, for an authorization and a
    capture: how its payers pay is where such a provider differs.
    """
    seen = set()
    for item in items:
        is_of_contract = (
            item.nodeid.startswith("plugins/testing/tests/test_contract") and item.cls is not None
        )
        if not is_of_contract or not hasattr(item, "callspec") or item.cls.__name__ == FIRST:
            continue
        given = item.callspec.params
        kind = given.get("kind", given.get("hook"))
        row = item.cls.__name__, item.originalname, kind
        if row in seen or kind not in (None, "authorize", "capture"):
            item.add_marker(pytest.mark.slow)
        seen.add(row)
