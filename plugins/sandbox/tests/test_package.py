"""The package stands for itself: it shares nothing with the providers that are tried against it."""

import ast
from pathlib import Path

import paysession_sandbox

SOURCES = sorted(Path(paysession_sandbox.__file__).parent.rglob("*.py"))


def test_it_imports_no_provider():
    assert SOURCES
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found = [name for name in names if name.startswith(("paysession_stripe", "paysession_paypal"))]
            assert not found, path
