"""Each deliberate fault in the rules is found: by the random histories of the channels, or by the stories of a subject."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mutations
from histories import live
from test_channels import VARIANTS

HERE = Path(__file__).parent


STORIES = {
    "a second payment is not reported": "second_payment",
    "a second payment stays": "second_payment",
    "the end of any payment closes a second one": "second_payment",
    "what was just reported is not looked at again": "second_payment",
    "a repetition of what was in doubt is another call": "recovery",
    "what is captured is raised": "increment",
    "an increment adds to what was raised meanwhile": "increment",
    "what is authorized is lowered": "increment",
    "what others raised and captured is not reported": "increment",
    "an increment is not asked for again after a restore": "restore",
    "a dispute that was decided is opened again": "disputes",
    "what was charged back is refunded": "disputes",
    "an older effect is ours": "identity",
    "a guess is final": "identity",
    "a guess is sure": "identity",
    "what was taken for ours is forgotten": "identity",
    "what was found stays reserved for it": "identity",
    "an old pending state counts": "orders",
    "a total settles nothing": "effects",
    "a reported cancel ends what may precede it": "orders",
    "a release of nothing is no barrier": "orders",
    "an implied authorization is another": "orders",
    "more is captured than is left": "calls",
    "a lost key gets another number": "restore",
    "failed is not final": "reversals",
    "what was refused and undone stays": "reversals",
    "a canceled object was never authorized": "cancel_at_the_gateway",
    "a failure after the end stays pending": "cancel_at_the_gateway",
    "a foreign key is ours": "without_lookup",
    "one operation is many effects": "effects",
    "amounts are not compared": "effects",
    "a reported authorization reopens": "orders",
    "a tombstone is not kept": "without_lookup",
    "a failure of what nobody knew is no event": "without_lookup",
    "a refund does not wait for its capture": "orders",
    "what is older than a refusal counts": "orders",
    "a stale total of what is authorized counts": "cancel_at_the_gateway",
}
"""Mutations that are too rare in random histories, and the file under ``scenarios`` that finds them."""

EQUIVALENT = {"what is stale reopens": "Each change that follows is guarded by itself."}
"""Mutations that change nothing, with the reason."""


def is_found_by_histories():
    for seed in range(300):
        for variant in VARIANTS:
            try:
                live(seed, **variant.values[0])
            except Exception:  # noqa: BLE001 - whatever it breaks
                return True
    return False


def is_found_by_stories(mutation, subject):
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", "-p", "mutations"]
        + [HERE.parent / "scenarios" / f"test_{subject}.py"],
        env={**os.environ, "MUTATION": mutation, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr  # no error of usage, nothing uncollected
    return ended.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("mutation", sorted(set(mutations.MUTATIONS) - set(STORIES) - set(EQUIVALENT)))
def test_a_fault_in_the_rules_is_found_by_random_histories(monkeypatch, mutation):
    mutations.mutate(monkeypatch, mutation)
    assert is_found_by_histories()


@pytest.mark.slow
@pytest.mark.parametrize("mutation", sorted(STORIES))
def test_a_rare_fault_in_the_rules_is_found_by_the_stories_of_its_subject(mutation):
    assert is_found_by_stories(mutation, STORIES[mutation])


@pytest.mark.slow
def test_the_stories_find_nothing_where_there_is_no_fault():
    assert not any(is_found_by_stories("", subject) for subject in sorted(set(STORIES.values())))
