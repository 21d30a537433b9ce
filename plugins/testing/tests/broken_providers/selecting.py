"""A pytest plugin: runs, for each broken provider, the tests that are said to find it, and keeps what they say."""

import json
import os

import pytest

results = {}


def wanted(cls):
    from providers import BROKEN

    return BROKEN[cls.__name__.removeprefix("Test")][2]


def pytest_pycollect_makeitem(collector, name):
    """Pass over a test of which no case is wanted: all cases of all are forty thousand."""
    if os.environ.get("BROKEN_EVERYTHING") or not isinstance(collector, pytest.Class):
        return None
    return None if name in {test.partition("[")[0] for test in wanted(collector.cls)} else []


def pytest_collection_modifyitems(config, items):
    if not os.environ.get("BROKEN_EVERYTHING"):
        config.hook.pytest_deselected(items=[item for item in items if item.name not in wanted(item.cls)])
        items[:] = [item for item in items if item.name in wanted(item.cls)]


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
