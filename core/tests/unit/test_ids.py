"""The ids of operations: the gateways keep them as keys, so another release has to give a call the same one."""

import pytest

from paysession._ledger.ids import digest_of, found_id


@pytest.mark.parametrize(
    ("parts", "digest"),
    [
        (("ps_1",), "cd4ptcm2"),
        (("ps_1", "capture 1000 EUR", 2), "chbimwa6"),
        (("",), "4oymiquy"),
        ((None,), "3sjxwwmj"),
        (("ps_1", None), "p6rmtlba"),
    ],
)
def test_a_call_has_the_same_digest_in_every_release(parts, digest):
    assert digest_of(*parts) == digest


def test_parts_are_told_apart():
    assert len({digest_of("ab", "c"), digest_of("a", "bc"), digest_of("abc")}) == 3


def test_what_was_found_goes_by_its_digest_and_the_number_0():
    assert found_id("ps_1", "capture", "ch_1") == f"ps_1-0{digest_of('capture', 'ch_1')}"
