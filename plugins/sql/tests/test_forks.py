"""Forks of a process that is in the middle of its work: task queues, pre-forking web servers, multiprocessing."""

import http.client
import os
import socket
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")

START = """
import os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, since Python 3.12
from paysession import Money, Payments, StoreError
from paysession.payments import open_store
from paysession._plugins.registry import Registry
from paysession_testing import FakeProvider
url = sys.argv[1]
pay = Payments(open_store(url), Registry({"fake": FakeProvider()}))
def create(reference):
    return pay.create_collection(Money("1.00", "EUR"), reference=reference)
def there(reference):
    return pay.collection(reference=reference).reference == reference
"""
"""What every script begins with. They run in processes of their own: this one has threads of pytest's."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/books.db"
    return request.getfixturevalue("postgres_url")


def run(code, url, *more):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", START + textwrap.dedent(code), url, *more],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.split()


def test_processes_that_fork_while_their_threads_write_lose_nothing(url):
    code = """
    stop, made = threading.Event(), []
    def write(name):
        n = 0
        while not stop.is_set():
            made.append(create(f"{name}-{n}").reference)
            n += 1
    threads = [threading.Thread(target=write, args=(f"parent-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    children = []
    for n in range(6):
        seen = len(made)
        while len(made) < seen + 5:
            pass
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            mine = [create(f"child-{n}-{m}").reference for m in range(10)]
            theirs = threading.Thread(target=lambda: mine.append(create(f"child-{n}-thread").reference))
            theirs.start()
            theirs.join()
            pay.close()
            os.write(writing, " ".join(mine).encode())
            os._exit(0)
        os.close(writing)
        children.append((child, reading))
    acknowledged = []
    for child, reading in children:
        while part := os.read(reading, 65536):
            acknowledged += part.decode().split()
        assert os.waitpid(child, 0)[1] == 0
    assert len(acknowledged) == 6 * 11
    stop.set()
    for thread in threads:
        thread.join()
    pay.close()
    pay = Payments(open_store(url), Registry({"fake": FakeProvider()}))
    assert all(there(reference) for reference in [*acknowledged, *made])
    pay.close()
    print("done")
    """
    assert run(code, url) == ["done"]


def test_a_child_goes_on_after_its_parent_has_closed_and_ended(url):
    code = """
    create("parent")
    go, start = os.pipe()
    out, told = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:  # the worker
            os.read(go, 1)
            create("worker")
            assert there("parent")
            os.write(told, b"x")
            os.read(go, 1)
            create("worker again")
            os.write(told, b"x")
            os._exit(0)
        pay.close()
        os._exit(0)
    os.wait()
    os.write(start, b"x")
    os.read(out, 1)
    # Whoever is the last to close a SQLite file removes its log: not while the worker has it open.
    other = Payments(open_store(url), Registry({"fake": FakeProvider()}))
    assert other.collection(reference="worker")
    other.close()
    pay.close()
    os.write(start, b"x")
    os.read(out, 1)
    pay = Payments(open_store(url), Registry({"fake": FakeProvider()}))
    assert there("worker") and there("worker again")
    pay.close()
    print("done")
    """
    assert run(code, url) == ["done"]


def test_what_was_closed_before_the_fork_is_closed_in_the_child(url):
    code = """
    pay.close()
    if os.fork() == 0:
        try:
            create("a")
        except StoreError:
            os._exit(7)
        os._exit(1)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    assert run(code, url) == ["7"]


def test_multiprocessing_forks_workers(url):
    code = """
    import multiprocessing
    create("parent")
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(there, ["parent"] * 6) == [True] * 6
        made = [row.reference for row in pool.map(create, [f"job {n}" for n in range(20)])]
    assert all(there(reference) for reference in made)
    pay.close()
    print("done")
    """
    assert run(code, url) == ["done"]


def test_asynchronous_payments_work_in_a_child(url):
    code = """
    import asyncio
    from paysession import AsyncPayments
    pay = AsyncPayments(pay)
    async def both():
        return await asyncio.gather(*(
            pay.create_collection(Money("1.00", "EUR"), reference=f"{os.getpid()}-{n}") for n in range(4)
        ))
    asyncio.run(both())  # the parent's threads exist, and wait for work
    if os.fork() == 0:
        asyncio.run(both())
        asyncio.run(pay.close())
        os._exit(0)
    assert os.wait()[1] == 0
    print(len(asyncio.run(pay.collections())))
    asyncio.run(pay.close())
    """
    assert run(code, url) == ["8"]


APPLICATION = """
import os, threading
from paysession import Money, Payments
from paysession_testing import FakeProvider
# In the master, before the fork.
pay = Payments.open(os.environ["BOOKS"], providers={"fake": FakeProvider()}, environ={})
def create(reference):
    return pay.create_collection(Money("1.00", "EUR"), reference=reference)
create("master")
stop = threading.Event()
def write():  # as a thread of metrics or of recovery may, while workers are forked
    n = 0
    while not stop.wait(0.01):
        create(f"master-{n}")
        n += 1
threading.Thread(target=write, daemon=True).start()
def application(environ, start_response):
    pay.collection(reference="master")
    create(environ["PATH_INFO"])
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""


@pytest.mark.skipif(os.name == "nt", reason="gunicorn runs on POSIX")
@pytest.mark.parametrize("url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
def test_gunicorn_preloads_the_application_and_its_payments(url, tmp_path):
    pytest.importorskip("gunicorn")
    (tmp_path / "shop.py").write_text(APPLICATION)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        listening.set_inheritable(True)
        port = listening.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "--preload",
            "--workers=3",
            "--threads=4",
            "shop:application",
        ]
        server = subprocess.Popen(
            [*command, f"--bind=fd://{listening.fileno()}"],
            cwd=tmp_path,
            env={**os.environ, "BOOKS": url, "PYTHONWARNINGS": "ignore::DeprecationWarning"},
            pass_fds=[listening.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(number):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", f"/{number}")
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    try:
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(ask, range(80)))
    finally:
        server.terminate()
        said = server.communicate(timeout=60)[1]
    assert {status for status, _ in answers} == {200}, said
    assert server.returncode == 0, said
    code = """
    assert all(there(f"/{number}") for number in range(80))
    pay.close()
    print("done")
    """
    assert run(code, url) == ["done"]


# --- what is particular to SQLite -----------------------------------------------------------------


@pytest.fixture
def file_url(tmp_path):
    return f"sqlite:///{tmp_path}/books.db"


def test_a_fork_past_pythons_handlers_is_refused_with_a_sentence(file_url):
    code = """
    import ctypes
    create("parent")
    if ctypes.CDLL(None).fork() == 0:  # as a server written in C may do
        try:
            create("child")
        except StoreError as error:
            assert "at-fork" in str(error), error
            pay.close()
            pay = Payments(open_store(url), Registry({"fake": FakeProvider()}))  # as it says
            create("child")
            pay.close()
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
    assert there("child")
    create("parent again")
    print("done")
    """
    assert run(code, file_url) == ["done"]


def test_a_signal_handler_that_forks_within_a_commit_stops_neither_the_call_nor_the_child(file_url):
    code = """
    import signal
    children = []
    def fork(*_):
        child = os.fork()
        if child == 0:
            try:
                create("child")
            except StoreError as error:
                assert "at-fork" in str(error), error
                os._exit(7)
            os._exit(1)
        children.append(child)
    write = pay._store._write
    def slow(connection, change):
        write(connection, change)
        signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, fork)
    pay._store._write = slow
    create("parent")
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 7
    pay._store._write = write
    create("parent again")
    pay.close()
    print("done")
    """
    assert run(code, file_url) == ["done"]


# --- what is particular to PostgreSQL -------------------------------------------------------------


def test_a_child_does_not_keep_its_parents_connections_open(postgres_url):
    code = """
    import psycopg
    create("parent")
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'paysession' AND datname = current_database()"
    go, start = os.pipe()
    out, told = os.pipe()
    if os.fork() == 0:
        os.write(told, b"x")
        os.read(go, 1)
        os._exit(0)
    os.read(out, 1)
    # As if the parent were killed: its socket is closed without a word to the server.
    for connection in pay._store._pool._places().connections.values():
        os.close(connection._libpq.socket)
    with psycopg.connect(url, autocommit=True) as other:
        for attempt in range(1000):
            if other.execute(count).fetchone()[0] == 0:
                break
            other.execute("SELECT pg_sleep(0.01)")
    print(attempt < 999)
    os.write(start, b"x")
    os._exit(0 if sys.stdout.flush() is None else 1)
    """
    assert run(code, postgres_url) == ["True"]
