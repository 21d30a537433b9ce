"""A pytest plugin: runs, for each broken provider, the tests that are said to find it, and keeps what they say."""

import json
import os

import pytest

results = {}


def pytest_collection_modifyitems(config, items):
    from providers import BROKEN

    wanted = [item for item in items if item.name in BROKEN[item.cls.__name__.removeprefix("Test")][2]]
    if not os.environ.get("BROKEN_EVERYTHING"):
        config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
        items[:] = wanted


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" or report.outcome != "passed":
        key = f"{item.cls.__name__.removeprefix('Test')}.{item.name}"
        words = report.longreprtext if report.failed else ""
        results[key] = [report.outcome if report.when == "call" else f"{report.when} {report.outcome}", words]
    return report


def pytest_sessionfinish():
    with open(os.environ["BROKEN_RESULTS"], "w") as file:
        json.dump(results, file)
