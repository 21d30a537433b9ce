"""The page about the contract says of each test what its own docstring says."""

from pathlib import Path

from paysession_testing.contract.counterpart import FEATURES
from paysession_testing.contract.suite import TESTS
from paysession_testing.contract.wire import FAULTS

PAGE = (Path(__file__).parent.parent / "docs/contract-kit.md").read_text()


def test_every_test_of_the_contract_is_on_its_page_in_its_own_words():
    for name, test in TESTS.items():
        words = test.__doc__.splitlines()[0].replace("``", "`")
        assert f"| `{name}` | {words} |" in PAGE


def test_every_fault_and_every_feature_is_on_its_page():
    for fault, words in FAULTS.items():
        assert f"| `{fault}` | {words} |" in PAGE
    for feature, words in FEATURES.items():
        assert f"| `{feature}` | {words} |" in PAGE
