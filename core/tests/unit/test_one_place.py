"""The rules stand in one place: who may change a row, who matches effects, and that no rule does I/O."""

import ast
from pathlib import Path

import pytest

import paysession

ROOT = Path(paysession.__file__).parent
MODULES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))
}
LEDGER = {name: tree for name, tree in MODULES.items() if name.startswith("_ledger/")}

COPIES = {
    (
        "_engine/run.py",
        "addressed",
        "operation",
    ): "what a hook is shown of an operation: its capture and the URL",
    ("_engine/lanes.py", "shown", "operation"): "the same: until when its caller waits",
    ("_engine/run.py", "plan", "found"): "the same, once the operation was read again",
    (
        "_engine/recovery.py",
        "_send_again",
        "session",
    ): "what a hook is shown of the session: as it was when it began",
    (
        "_engine/recovery.py",
        "compare_payment",
        "session",
    ): "what the lookup of another payment is shown: it names that one",
    ("_engine/recovery.py", "attend", "session"): "how often it was queried; `Postponed` is applied to it",
    ("_engine/upkeep.py", "_write", "row"): "a notification, not a session",
    ("payments.py", "update_collection", "row"): "a collection, not a session",
    ("reports.py", "judged", "self"): "figures, not a session",
    ("_engine/pay.py", "_fits", "checked_checkout(wanted.checkout, session.id)"): "a checkout, not a session",
    ("checkout.py", "filled", "self"): "a checkout, not a session",
    ("checkout.py", "reported", "payer"): "a payer, not a session",
    ("checkout.py", "_storable", "part"): "a payer's address",
    ("session.py", "summarize", "collection"): "a collection that is read, with its totals",
    ("store.py", "_collection_after", "row"): "a store's own copy of a collection",
}
"""Copies with changes that are made elsewhere: by module, function and what is copied, with the reason."""

MAKERS = {
    ("_ledger/rules.py", "begin"): "a new operation, which `Begun` applies",
    ("payments.py", "initiate"): "a new session, which is yet to be written",
    ("payments.py", "_new_session"): "a new session, which is yet to be written",
    ("payments.py", "_begin"): "a new session, which is yet to be written",
}

NO_IO = {
    "__future__", "attrs", "collections", "datetime", "enum", "hashlib", "re", "types", "typing", "zlib",
    "paysession.change", "paysession.checkout", "paysession.errors", "paysession.money", "paysession.operation", "paysession.outcome",
    "paysession.session", "paysession.values",
}  # fmt: skip
"""What a rule may import: values, and no clock, no process, no log, no store and no plugin."""


def functions(tree):
    """Return each call with the name of the function that it stands in."""
    found = []

    def visit(node, name):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = node.name
        if isinstance(node, ast.Call):
            found.append((name, node))
        for child in ast.iter_child_nodes(node):
            visit(child, name)

    visit(tree, "")
    return found


def called(node):
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module


def test_a_session_and_an_operation_change_in_the_ledger_only():
    others = []
    for module, tree in MODULES.items():
        if module in ("_ledger/ledger.py", "values.py"):
            continue
        for name, node in functions(tree):
            kind = called(node)
            first = ast.unparse(node.args[0]) if node.args else ""
            if kind in ("PaymentSession", "Operation") or (
                kind == "made" and first in ("PaymentSession", "Operation")
            ):
                if (module, name) not in MAKERS:
                    others.append((module, name, ast.unparse(node)[:80]))
            elif (
                kind in ("replace", "evolve")
                and isinstance(node.func, ast.Name)
                and first not in ("request", "report", "known", "notification", "value")
                and (module, name, first) not in COPIES
                and module
                != "store.py"  # which keeps rows as it is given them, but for collections and cursors
            ):
                others.append((module, name, ast.unparse(node)[:80]))
    assert not others


def test_no_attribute_of_a_frozen_row_is_set():
    setting = [
        (module, name, ast.unparse(node)[:80])
        for module, tree in MODULES.items()
        for name, node in functions(tree)
        if called(node) == "__setattr__" and module != "values.py"
    ]
    assert not setting


def test_a_row_under_change_is_written_by_the_ledger_only():
    allowed = {
        ("_ledger/schedule.py", "checks"),
        ("_ledger/schedule.py", "due_at"),
        ("_engine/recovery.py", "due_at"),
    }  # when recovery looks again is no fact of the payment
    found = set()
    for module, tree in MODULES.items():
        if module == "_ledger/ledger.py":
            continue
        for node in ast.walk(tree):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                if isinstance(target, ast.Attribute) and ast.unparse(target.value) in ("row", "ledger.row"):
                    found.add((module, target.attr))
    assert found <= allowed


def test_effects_are_matched_to_operations_in_one_module():
    """Whoever compares an effect's identity with an operation's has both in hand: only ``matching`` does."""
    found = set()
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare):
                text = ast.unparse(node)
                if "effect.reference" in text or "effect.key" in text:
                    found.add(module)
    assert found == {"_ledger/matching.py"}


@pytest.mark.parametrize("module", LEDGER)
def test_no_rule_imports_what_does_io(module):
    foreign = {name for name in imports(LEDGER[module]) if not name.startswith("paysession._ledger")}
    assert {name for name in foreign if name not in NO_IO and name.split(".")[0] not in NO_IO} == set()


def test_nobody_opens_a_file_or_reads_a_clock_in_a_rule():
    for module, tree in LEDGER.items():
        for name, node in functions(tree):
            assert called(node) not in ("open", "print", "now", "utcnow", "today", "sleep"), (module, name)


def test_one_loop_compares_and_swaps_and_calls_no_gateway():
    loops = {
        (module, name)
        for module, tree in MODULES.items()
        for name, node in functions(tree)
        if called(node) == "range" and "ATTEMPTS" in ast.unparse(node)
    }
    assert loops == {("_engine/run.py", "swap"), ("_engine/inbox.py", "_erase")}  # which erases notifications
    (swap,) = (
        node
        for node in ast.walk(MODULES["_engine/run.py"])
        if isinstance(node, ast.FunctionDef) and node.name == "swap"
    )
    calls = {called(node) for node in ast.walk(swap) if isinstance(node, ast.Call)}
    assert calls == {
        "range", "load", "plan", "isinstance", "Step", "commit", "change", "full", "notify", "log_change", "follow_up",
        "too_fast",
    }  # fmt: skip
