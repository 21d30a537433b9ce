"""The campaign in short: sound, it finds nothing; broken on purpose, it names what was violated."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run(*arguments):
    done = subprocess.run(
        [sys.executable, HERE, "--json", *arguments], capture_output=True, text=True, timeout=280, check=False
    )  # fmt: skip
    assert done.stdout and done.returncode in (0, 1), done.stderr[-2000:]
    (result,) = json.loads(done.stdout)["stores"]
    return result, done.returncode


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def store(request):
    if request.param == "postgresql":
        request.getfixturevalue("postgres")  # skips or fails where none can be started
    return request.param


@pytest.mark.parametrize(
    ("kills", "faults"),
    [
        pytest.param(8, 60, id="shortest"),
        pytest.param(25, 200, id="short", marks=pytest.mark.slow),
    ],
)
def test_a_short_campaign_finds_nothing(store, kills, faults):
    result, status = run("--seed", "1", "--store", store, "--kills", str(kills), "--faults", str(faults))
    assert (result["violations"], result["crashes"], status) == ({}, [], 0)
    assert result["kills"] >= kills
    assert result["faults"] >= faults
    assert min(result["operations"], result["events"], result["ledger entries"]) > faults / 2
    assert result["increments"] > 0


@pytest.mark.slow
def test_sixteen_processes_and_two_recovery_workers_on_eight_sessions_keep_every_invariant(store):
    result, status = run(
        "--seed", "2", "--store", store, "--workers", "16", "--recoverers", "2", "--hot", "8",
        "--kills", "10", "--faults", "600",
    )  # fmt: skip
    assert (result["violations"], result["crashes"], status) == ({}, [], 0)
    assert result["operations"] > 100


@pytest.mark.slow
def test_after_backups_were_restored_the_ledger_equals_the_gateway_and_nothing_is_sent_twice(store):
    result, status = run(
        "--seed", "3", "--store", store, "--restores", "2", "--kills", "10", "--faults", "100",
    )  # fmt: skip
    assert (result["violations"], result["crashes"], status) == ({}, [], 0)
    assert result["restores"] == 2
    assert result["operations"] > 50


@pytest.mark.slow
def test_a_host_that_forks_workers_while_its_threads_are_inside_calls_keeps_every_invariant(store):
    result, status = run(
        "--seed", "3", "--store", store, "--hosts", "1", "--workers", "5", "--recoverers", "1",
        "--kills", "100000", "--minutes", "0.5",
    )  # fmt: skip
    assert (result["violations"], result["crashes"], status) == ({}, [], 0)
    assert min(result["forks by hosts"], result["operations"]) > 10


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_every_process_ends_with_the_driver(tmp_path, monkeypatch, how):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = [sys.executable, HERE, "--seed", "1", "--kills", "100000", "--minutes", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as driver:
        assert "kills" in driver.stderr.readline()  # the first line that says how far it is
        driver.send_signal(how)
        driver.communicate(timeout=30)  # until nobody can write there any more
    assert driver.returncode != 0
    if how == signal.SIGTERM:
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_at_stripe_after_a_backup_was_restored_the_ledger_equals_the_gateway_and_nothing_is_sent_twice():
    result, status = run(
        "--provider", "stripe", "--seed", "3", "--restores", "1", "--kills", "20", "--faults", "200",
        "--minutes", "0.8",
    )  # fmt: skip
    assert (result["violations"], result["crashes"], status) == ({}, [], 0)
    assert result["restores"] == 1
    assert result["operations"] > 20
    assert result["increments"] > 0


@pytest.mark.slow
def test_a_short_campaign_at_paypal_finds_nothing():
    result, status = run(
        "--provider", "paypal", "--seed", "1", "--kills", "10", "--faults", "150", "--minutes", "0.4"
    )
    assert (result["violations"], result["crashes"], status) == ({}, [], 0)
    assert min(result["kills"], result["faults"], result["operations"]) >= 10


VARIANTS = {
    "random-key": "1",
    "resend-after-window": "1",
    "unknown-is-declined": "3",
    "unknown-is-not-applied": "1",
    "no-compare-and-swap": "5",
    "loses-events": "5",
    "forgets": "6",
    "trusts-notifications": "2",
    "leaks": "8",
}
"""The invariant that each variant violates; those whose store is broken are the same at every provider."""

WHAT_SHIPS = {
    ("stripe", "random-key"): "1",
    ("stripe", "no-key"): "1",
    ("stripe", "unknown-is-not-applied"): "3",
    ("stripe", "unmarked"): "3",
    ("stripe", "raises-again"): "1",
    ("paypal", "unknown-is-not-applied"): "3",
}
"""The same of the providers that ship, broken."""


def caught(violated, faults, *arguments):
    for seed in range(1, 6):  # chance may spare it once: each further campaign is longer
        size = "--kills", str(5 * seed), "--faults", str(faults * seed)
        result, status = run("--seed", str(seed), *size, *arguments)
        if violated in result["violations"]:
            break
    assert status == 1
    assert violated in result["violations"]


@pytest.mark.slow
@pytest.mark.parametrize("broken", VARIANTS)
def test_a_broken_variant_is_caught_by_name(broken):
    caught(VARIANTS[broken], 100, "--broken", broken)


@pytest.mark.slow
@pytest.mark.parametrize(("provider", "broken"), WHAT_SHIPS)
def test_a_broken_variant_of_a_shipped_provider_is_caught_by_name(provider, broken):
    violated = WHAT_SHIPS[provider, broken]
    caught(violated, 150, "--provider", provider, "--broken", broken, "--minutes", "0.3")
