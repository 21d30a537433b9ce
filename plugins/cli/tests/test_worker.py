"""The recovery worker, as a process of its own that is sent signals."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from paysession import Capabilities, Money, Outcome, OutcomeUnknown, Payments, StoreError, hookimpl
from paysession_cli import worker
from paysession_cli.worker import Worker

COMMAND = [
    sys.executable,
    "-c",
    "from paysession_cli.main import main; main()",
    "recover",
    "--watch",
    "--json",
]


class Silent:
    """A gateway without keys and without a lookup, that never answers a capture."""

    capabilities = Capabilities(capture="full")

    @hookimpl
    def initiate(self):
        return Outcome.pending()

    @hookimpl
    def authorize(self):
        return Outcome.authorized()

    @hookimpl
    def capture(self):
        raise OutcomeUnknown("no answer")

    @hookimpl
    def cancel(self):
        return Outcome.canceled()


def in_doubt(pay):
    order = pay.create_collection(Money("42.00", "EUR"), reference="order-1")
    session = pay.initiate(order.id, provider="silent")
    pay.authorize(session.id)
    with pytest.raises(OutcomeUnknown):
        pay.capture(session.id)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_reports_in_lines_and_ends_with_a_signal(tmp_path, sign):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PAYSESSION_")}
    Payments.open(f"sqlite:///{tmp_path}/paysession.db", providers=[]).close()
    work = subprocess.Popen(
        [*COMMAND, "--interval", "0.1", "--report", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=clean,
    )  # fmt: skip
    with work:
        first = json.loads(work.stdout.readline())
        second = json.loads(work.stdout.readline())
        work.send_signal(sign)
        rest, errors = work.communicate(timeout=30)
    assert (0, "") == (work.returncode, errors)
    assert (1, 2) == (first["totals"]["rounds"], second["totals"]["rounds"])
    assert (0, 0.0, []) == (first["in_doubt"], first["oldest_seconds"], first["needs_operator"])
    assert json.loads(rest.splitlines()[-1])["stopped"]


def test_a_worker_goes_on_with_a_file_that_was_put_in_the_place_of_its_own(tmp_path):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PAYSESSION_")}
    path, backup = tmp_path / "paysession.db", tmp_path / "backup.db"
    for file in (path, backup):
        Payments.open(f"sqlite:///{file}", providers=[]).close()
    work = subprocess.Popen(
        [*COMMAND, "--interval", "0.1", "--report", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=clean,
    )  # fmt: skip
    with work:
        assert json.loads(work.stdout.readline())["totals"]["rounds"] == 1
        for log in ("-wal", "-shm"):  # as the documentation says of a restore
            path.with_name(path.name + log).unlink(missing_ok=True)
        backup.replace(path)
        reports = (json.loads(line) for line in work.stdout)
        refused = next(row for row in reports if "store_error" in row)
        later = next(reports)
        work.send_signal(signal.SIGTERM)
        _, errors = work.communicate(timeout=30)
    assert "was replaced or deleted" in refused["store_error"]
    assert (later["in_doubt"], later["totals"]["failed_rounds"]) == (0, 1)
    assert (0, 1) == (work.returncode, errors.count("Error: "))


class Steps:
    """A worker whose time is told by the test, and which is stopped after some rounds."""

    def __init__(self, monkeypatch, pay, rounds, **options):
        self.told, self.complained, self.slept = [], [], 0.0
        self.now = 0.0
        self.pay, self.rounds = pay, rounds
        monkeypatch.setattr(worker.time, "sleep", self.sleep)
        monkeypatch.setattr(worker.time, "monotonic", lambda: self.now)
        recover = pay.recover

        def counted(**options):
            self.rounds -= 1
            if self.rounds <= 0:
                os.kill(os.getpid(), signal.SIGTERM)
            return recover(**options)

        pay.recover = counted
        Worker(
            pay, reopen=lambda: pay, limit=25, interval=5, report_every=60, tell=self.told.append,
            complain=self.complained.append, **options,
        ).run()  # fmt: skip

    def sleep(self, seconds):
        self.now += seconds


def test_what_needs_a_person_is_listed_with_its_age(monkeypatch):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    pay = Payments.open("memory:", providers={"silent": Silent()}, environ={}, clock=lambda: now)
    in_doubt(pay)
    now += timedelta(hours=2)
    steps = Steps(monkeypatch, pay, 1)
    (row,) = steps.told[-1]["needs_operator"]
    assert ("capture", 7200.0) == (row["operation"]["kind"], row["age_seconds"])
    assert (1, 7200.0) == (steps.told[-1]["in_doubt"], steps.told[-1]["oldest_seconds"])


def test_a_worker_prunes_every_minute(monkeypatch):
    pay = Payments.open("memory:", providers={"silent": Silent()}, environ={})
    pruned = []
    monkeypatch.setattr(pay, "prune", lambda **options: pruned.append((worker.time.monotonic(), options)))
    Steps(monkeypatch, pay, 26)
    assert [at for at, _ in pruned] == pytest.approx([0, 60, 120], abs=6)
    assert {options["limit"] for _, options in pruned} == {worker.PRUNED_AT_ONCE}


def test_a_worker_outlives_a_database_that_is_down(monkeypatch):
    pay = Payments.open("memory:", providers={"silent": Silent()}, environ={})
    recover, failures = pay.recover, iter([True] * 6)

    def down(**options):
        if next(failures, False):
            raise StoreError("it is down")
        return recover(**options)

    pay.recover = down
    steps = Steps(monkeypatch, pay, 8)
    assert [f"it is down; trying again in {s} s" for s in (10, 20, 40, 60, 60, 60)] == steps.complained
    assert 6 == steps.told[-1]["totals"]["failed_rounds"]
    failed = [row for row in steps.told if row.get("store_error")]
    assert [1, 2, 3, 4, 5, 6] == [row["totals"]["failed_rounds"] for row in failed]
    assert {(row["store_error"], row["in_doubt"]) for row in failed} == {("it is down", None)}
    assert 250 <= steps.now < 260


def test_what_is_not_due_yet_is_taken_in_the_first_round_only(monkeypatch):
    pay = Payments.open("memory:", providers={"silent": Silent()}, environ={})
    recover, asked = pay.recover, []
    failures = iter([True])

    def noted(**options):
        asked.append((options["limit"], options["provider"], options["now"]))
        if next(failures, False):
            raise StoreError("it is down")
        return recover(**options)

    pay.recover = noted
    Steps(monkeypatch, pay, 4, provider="silent", now=True)
    first, later = (25, "silent", True), (10, "silent", False)
    assert asked == [first, first, later, later]


def test_a_worker_with_nothing_to_do_is_quiet(monkeypatch):
    pay = Payments.open("memory:", providers={"silent": Silent()}, environ={})
    steps = Steps(monkeypatch, pay, 30)
    assert 4 == len(steps.told)  # at the start, twice in 150 seconds, and at the end


def test_handlers_of_signals_are_put_back(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    Steps(monkeypatch, Payments.open("memory:", providers={"silent": Silent()}, environ={}), 1)
    assert before is signal.getsignal(signal.SIGTERM)
