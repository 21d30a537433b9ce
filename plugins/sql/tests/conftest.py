import pytest


@pytest.fixture
def empty_url(postgres):
    """The URL of a database without tables."""
    url = postgres.database()
    yield url
    postgres.drop(url)
