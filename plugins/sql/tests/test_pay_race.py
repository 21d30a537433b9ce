"""Four processes that are asked to pay one order at the same moment: one session can be paid in the end."""

import json
import subprocess
import sys

import pytest

from paysession import Money, Payments

RACE = """
import json
import os
import sys
import paysession_sql.postgres  # before the fork
from paysession import Capabilities, Outcome, Payments, hookimpl

class Gateway:
    capabilities = Capabilities()
    def __init__(self, path):
        self.path = path
    def write(self, *words):
        with open(self.path, "a") as file:
            file.write(" ".join(words) + chr(10))
    @hookimpl
    def initiate(self, session):
        self.write("open", session.id)
        return Outcome.pending()
    @hookimpl
    def authorize(self):
        return Outcome.authorized()
    @hookimpl
    def cancel(self, session):
        self.write("close", session.id)
        return Outcome.canceled()

def child(url, path, collection_id, name, ready, go):
    with Payments.open(url, providers={"a": Gateway(path), "b": Gateway(path)}, environ={}) as pay:
        os.write(ready, b".")
        os.read(go, 1)
        found = [pay.pay(collection_id, provider=name) for _ in range(2)]
    os.write(1, json.dumps([[row.id, row.provider] for row in found]).encode() + b"\\n")

if __name__ == "__main__":
    url, path, collection_id, names = sys.argv[1:]
    (ready, all_ready), (go, start) = os.pipe(), os.pipe()
    children = []
    for name in names:
        children.append(os.fork())
        if not children[-1]:
            child(url, path, collection_id, name, all_ready, go)
            os._exit(0)
    for _ in children:
        assert os.read(ready, 1)
    os.write(start, b"." * len(children))
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
"""
"""A gateway that is a file (each object that is opened or closed is a line of it), and a process for each name."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/books.db"
    return request.getfixturevalue("postgres_url")


@pytest.mark.parametrize("names", ["aaaa", "abab"])
def test_processes_that_pay_at_once_end_with_one_session_that_can_be_paid(url, tmp_path, names):
    gateway, module = tmp_path / "gateway", {"__name__": "test"}
    exec(RACE, module)
    providers = {name: module["Gateway"](gateway) for name in "ab"}
    with Payments.open(url, providers=providers, environ={}) as pay:
        order = pay.create_collection(Money("42.00", "EUR"), reference="r")
        command = [sys.executable, "-c", RACE, url, str(gateway), order.id, names]
        told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout
        answers = [json.loads(line) for line in told.splitlines()]
        sessions = pay.sessions(collection_id=order.id)
    assert len(answers) == len(names)
    returned = {session_id: name for answer in answers for session_id, name in answer}
    assert {row.id: row.provider for row in sessions} == returned
    lines = [line.split() for line in gateway.read_text().splitlines()]
    opened = [session_id for word, session_id in lines if word == "open"]
    closed = [session_id for word, session_id in lines if word == "close"]
    assert sorted(opened) == sorted({row.id for row in sessions}), "an object was made twice"
    assert len(closed) == len(set(closed))
    (left,) = set(opened) - set(closed)
    assert [row.id for row in sessions if row.status != "canceled"] == [left]
    if names == "aaaa":
        assert opened == [left]
