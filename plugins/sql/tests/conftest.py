import pytest

from paysession_sql import upgrade
from paysession_sql.testing import server_or_skip


@pytest.fixture(scope="session")
def postgres():
    """A real server, for all tests of the run."""
    with server_or_skip() as server:
        yield server


@pytest.fixture
def empty_url(postgres):
    """The URL of a database without tables."""
    url = postgres.database()
    yield url
    postgres.drop(url)


@pytest.fixture
def postgres_url(empty_url):
    """The URL of a database with the schema."""
    upgrade(empty_url)
    return empty_url
