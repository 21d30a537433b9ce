"""What plugins import: the public modules of the core, and the public names of each other."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PUBLIC = {"paysession", "paysession.provider", "paysession.store"}
SOURCES = [
    path
    for pattern in ("plugins/*/src/**/*.py", "docs/examples/**/*.py", "plugins/cli/src/**/*.py.jinja")
    for path in sorted(ROOT.glob(pattern))
]


def _imported(path):
    """Return the modules that a file imports, with the names taken from them."""
    text = path.read_text()
    if path.suffix == ".jinja":  # its imports, whatever is imported by them
        text = "\n".join(f"import {name}" for name in re.findall(r"\bfrom (paysession[\w.]*) import", text))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_plugin_imports_only_the_public_modules_of_the_core(path):
    imported = {module for module, _ in _imported(path) if module.split(".")[0] == "paysession"}
    assert imported <= PUBLIC


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_plugin_imports_nothing_private_of_another_package(path):
    own = path.relative_to(ROOT).as_posix().partition("/src/")[2].split("/")[0].removesuffix(".py")
    private = {
        f"{module}.{name}"
        for module, name in _imported(path)
        if module.startswith("paysession") and module.split(".")[0] != own
        if any(part.startswith("_") for part in [*module.split("."), name])
    }
    assert not private
