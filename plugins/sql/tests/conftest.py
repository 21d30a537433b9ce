import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from paysession_sql import testing, upgrade


@pytest.fixture
def empty_url(postgres):
    """The URL of a database without tables."""
    url = postgres.database()
    yield url
    postgres.drop(url)


@pytest.fixture(scope="session")
def missing():
    """What a test that needs a package of the system calls without it: skips it, or fails where CI is set."""

    def missing(package):
        reason = f"{package} is not installed: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)

    return missing


BOUNCER = """
[databases]
* = host={host} port={port}
[pgbouncer]
unix_socket_dir = {folder}
listen_port = 6432
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 4
max_client_conn = 500
"""


class PgBouncer:
    """PgBouncer in transaction pooling: all clients of a database share four connections of the server."""

    def __init__(self, program, server_url):
        self._folder = Path(tempfile.mkdtemp(prefix="paysession-bouncer-"))
        self._folder.chmod(0o777)  # its socket is made by the user that it runs as
        server = {"host": "127.0.0.1", "port": "5432", **conninfo_to_dict(server_url)}
        (self._folder / "config").write_text(BOUNCER.format(folder=self._folder, **server))
        (self._folder / "users").write_text('"postgres" ""\n')
        as_user = {}
        if os.geteuid() == 0:  # PgBouncer refuses to run as root
            as_user = {"user": "nobody", "group": testing._group_of("nobody"), "extra_groups": []}
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", testing._WATCH, "sh", "unlimited", program, self._folder / "config"],
                stdin=subprocess.PIPE, stdout=log, stderr=log, cwd="/", **as_user,
            )  # fmt: skip
        deadline = time.monotonic() + testing.STARTS_WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = (self._folder / "log").read_text()
                self.close()
                pytest.fail(f"PgBouncer does not start: {log[-500:]}")
            time.sleep(0.02)

    def _answers(self):
        try:
            psycopg.connect(self.url("postgres"), autocommit=True).close()
        except psycopg.OperationalError:
            return False
        return True

    def url(self, database):
        """Return a database's URL through this PgBouncer."""
        return f"postgresql:///{database}?user=postgres&host={self._folder}&port=6432"

    def close(self):
        self._process.communicate(b"\n")
        shutil.rmtree(self._folder, ignore_errors=True)


@pytest.fixture(scope="session")
def pgbouncer(postgres, missing):
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        missing("pgbouncer")
    bouncer = PgBouncer(program, postgres._base)
    yield bouncer
    bouncer.close()


@pytest.fixture
def pgbouncer_url(pgbouncer, empty_url):
    """The URL of a database with the schema, through PgBouncer in transaction pooling."""
    url = pgbouncer.url(conninfo_to_dict(empty_url)["dbname"])
    upgrade(url)
    return url
