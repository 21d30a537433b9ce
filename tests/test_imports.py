"""What plugins import: the public modules of the core, and the public names of each other."""

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PUBLIC = {"paysession", "paysession.provider", "paysession.store"}
SOURCES = [
    path
    for pattern in ("plugins/*/src/**/*.py", "docs/examples/**/*.py", "plugins/cli/src/**/*.py.jinja")
    for path in sorted(ROOT.glob(pattern))
]


@functools.cache
def _imported(path):
    """Return the modules that a file imports, with the names taken from them."""
    text = path.read_text()
    if path.suffix == ".jinja":  # its imports, whatever is imported by them
        text = "\n".join(f"import {name}" for name in re.findall(r"\bfrom (paysession[\w.]*) import", text))
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.module or "", alias.name) for alias in node.names]
    return found


def test_a_plugin_imports_only_the_public_modules_of_the_core():
    imported = {
        (str(path), module)
        for path in SOURCES
        for module, _ in _imported(path)
        if module.split(".")[0] == "paysession"
    }
    assert imported
    assert not {(path, module) for path, module in imported if module not in PUBLIC}


def test_a_plugin_imports_nothing_private_of_another_package():
    private = {
        f"{path}: {module}.{name}"
        for path in SOURCES
        for module, name in _imported(path)
        if module.startswith("paysession") and module.split(".")[0] != _package_of(path)
        if any(part.startswith("_") for part in [*module.split("."), name])
    }
    assert not private


def _package_of(path):
    return path.relative_to(ROOT).as_posix().partition("/src/")[2].split("/")[0].removesuffix(".py")
