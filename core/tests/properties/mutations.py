"""Deliberate faults in the rules, and the pytest plugin that puts one of them in place (``-p mutations``).

A mutation is a text of a module under ``_ledger`` and what stands there instead. The plugin takes the one that the
environment variable ``MUTATION`` names, and none where that is empty.
"""

import inspect
import os

import pytest

from paysession._ledger import consequences, evidence, ledger, lookup, matching, rules

MUTATIONS = {
    name: (module, old, new)
    for module, name, old, new in [
    # --- figures ---
    (ledger, "a reversed capture is kept", "row.captured -= amount.minor", "pass"),
    (ledger, "a reversed refund is kept", "row.refunded -= amount.minor", "pass"),
    (ledger, "a reversed capture stays authorized", "row.granted -= amount.minor", "pass"),
    (ledger, "a capture is not counted", "row.captured += minor", "pass"),
    (ledger, "a refund is not counted", "row.refunded += minor", "pass"),
    (ledger, "a pending operation stays reserved", "self._reserve(operation, -1)", "pass"),
    (ledger, "nothing is reserved", "self._reserve(operation, +1)", "pass"),
    (ledger, "authorized is what was granted", "max(row.granted, row.kept)", "row.granted"),
    (ledger, "a release releases nothing", "row.kept if row.released else max", "max"),
    (ledger, "a final capture does not release", "row.released = row.released or fact.released", "pass"),
    (ledger, "held is not derived", "row.held = row.authorized\n", "pass\n"),
    (ledger, "a second authorization replaces the first", "minor + (row.kept if row.released else row.granted)", "minor"),
    (ledger, "what was released is granted again", "(row.kept if row.released else row.granted)", "row.granted"),
    (ledger, "an implied authorization counts twice", "self._grant(operation, minor - asked.minor", "self._grant(operation, minor"),
    (ledger, "a reported authorization reopens", "minor - asked.minor, released=row.released", "minor - asked.minor, released=False"),
    (ledger, "part of a release is all of it", "self._reduced(operation, fact)", "self._succeeded(Succeeded(operation, fact.answer))"),
    (ledger, "the end is not final", "if self.before.status is not Status.CANCELED:", "if True:"),
    (ledger, "a session never ends", "Status.AUTHORIZED if row.authorized else Status.CANCELED", "Status.AUTHORIZED"),
    (ledger, "a lost key gets another number", "max(row.ordinal + 1, number), lost", "max(row.ordinal + 1, number), lost + 'x'"),
    # --- increments ---
    (ledger, "an increment raises nothing", "row.granted = max(row.granted, minor)", "pass"),
    (ledger, "an increment adds to what was raised meanwhile", "row.granted = max(row.granted, minor)", "row.granted += operation.hold"),
    (ledger, "an increment in doubt holds nothing", "row.held += opened.hold", "pass"),
    (ledger, "an increment in doubt holds what was released", "opened.increments and not row.released", "opened.increments"),
    (lookup, "an increment is not found", "matching.raised(snapshot.amount)", "pass"),
    (matching, "an increment was too late for the former amount", "or operation.increments or amount is None", "or amount is None"),
    (matching, "less than an increment is enough", "amount >= operation.amount:", "True:"),
    (rules, "what is captured is raised", "if session.captured or session.capturing or session.pending or session.cancel_requested:", "if False:"),
    (rules, "what is authorized is lowered", "asked <= least and not found:", "False:"),
    (evidence, "what others raised and captured is not reported", "matching.compare(room)\n    compare_capture(ledger, capabilities)", "matching.compare(room)"),
    (rules, "an increment is not asked for again after a restore", "asked <= least and not found:", "asked <= least:"),
    # --- disputes ---
    (ledger, "a chargeback is not counted", "row.charged_back += minor", "pass"),
    (ledger, "a dispute that was won is kept", "row.charged_back -= amount.minor", "pass"),
    (ledger, "a dispute is not counted", "self.row.disputes += _is_disputed(changed) - _is_disputed(operation)", "pass"),
    (ledger, "a dispute is no event", 'self._record("session.disputed", operation, detail=_summary(operation))', "pass"),
    (ledger, "a dispute that is lost is no event", 'self._record("session.charged_back"', 'bool("session.charged_back"'),
    (matching, "a dispute that was decided is opened again", "return False  # the money came back: it is over", "pass"),
    (consequences, "over_captured forgets chargebacks", "if row.returned - row.captured > max(0, returned - before.captured):", "if row.refunded > row.captured:"),
    (rules, "what was charged back is refunded", "session.refunding - session.charged_back", "session.refunding"),
    # --- events ---
    (ledger, "a capture is no event", 'self._record("session.captured", operation)', "pass"),
    (ledger, "a reversal is no event", 'self._record("session.reversed", undone)', "pass"),
    (ledger, "an end by reversal is no event", 'self._record("session.canceled", undone)', "pass"),
    (ledger, "a failure is no event", 'self._record("operation.failed", operation, detail=code)', "pass"),
    (ledger, "a failure of what nobody knew is no event", 'self._record("operation.failed", operation, detail=detail)', "pass"),
    # --- matching ---
    (matching, "references are not compared", "in ledger.named(effect.reference, effect.key):", "in ():"),
    (matching, "keys are not compared", "of_key if of_key is not None and _is_alike(effect, of_key) else None", "None"),
    (matching, "a foreign key is ours", "if of_key is None:", "if False:"),
    (matching, "amounts are not compared", "and (operation.amount == effect.amount or self._is_rest(effect, operation))", ""),
    (matching, "one operation is many effects", "and operation.id not in self._matched", ""),
    (matching, "what has a reference is another's", "self._has_no_name(operation)\n", "True\n"),
    (matching, "no reference is learned", "if effect.reference is not None and operation.reference != effect.reference:", "if False:"),
    (matching, "a refused operation matches", "operation.state in (*OPEN, State.SUCCEEDED)", "True"),
    (matching, "what is keyed is guessed all the same", "if effect.key is not None or self.capabilities.keyed_effects:", "if effect.key is not None:"),
    (matching, "an older effect is ours", "effect.created_at >= operation.created_at - _SKEW", "True"),
    (matching, "a guess is final", "if operation.sure or effect.reference in (None, operation.reference):", "if True:"),
    (matching, "a guess is sure", "ledger.apply(Identified(operation, effect.reference, sure))", "ledger.apply(Identified(operation, effect.reference, True))"),
    (evidence, "an answer does not name what was found", "if found is not None:\n        over", "if False:\n        over"),
    (ledger, "what undid what was found is left to it", "if other.reverses == found.id:", "if False:"),
    (ledger, "what was found stays reserved for it", "if operation.state is State.PENDING:\n            self._reserve", "if False:\n            self._reserve"),
    (ledger, "what was taken for ours is forgotten", 'self._succeeded(Succeeded(other, "found"))', "pass"),
    (evidence, "a refund does not wait for its capture", "if patient and matching.is_early(effect):", "if False:"),
    # --- single effects ---
    (matching, "failed is not final", 'if effect.state in ("reversed", "failed"):', 'if effect.state == "reversed":'),
    (matching, "reversed does not reverse", 'if effect.state in ("reversed", "failed"):', "if False:"),
    (matching, "a failure is a success", 'elif effect.state != "pending":', "elif True:"),
    (matching, "a failure is not recorded", 'ledger.apply(failed(operation, effect.error))\n        elif effect.state != "pending"', 'pass\n        elif effect.state != "pending"'),
    (matching, "a tombstone is not kept", "if refused is None and reports_all and effect.reference is not None:", "if False:"),
    (matching, "what is older than a refusal counts", "if refused is not None and self._is_older(effect, refused):", "if False:"),
    (matching, "an old pending state counts", 'return effect.state == "pending" and (declined or refused.answer == Answer.PENDING)', "return False"),
    (matching, "what was refused and undone stays", "found = next(reversed(ledger.written.values()))", "found = next(iter(ledger.written.values()))"),
    (matching, "reversed twice", "        if left:\n", "        if True:\n"),
    (matching, "pending is not accepted", "ledger.apply(Accepted(operation))\n\n    def _is_news", "pass\n\n    def _is_news"),
    (matching, "a capture implies nothing", "self._imply(amount.minor)\n        once", "once"),
    (matching, "a capture implies each time", "if op.kind is AUTHORIZE):\n            return", "if op.kind is AUTHORIZE and False):\n            return"),
    (matching, "an authorization counts twice", "if granting and operation is not None:", "if False:"),
    (matching, "an implied authorization is another", "if implied is not None:", "if False:"),
    (matching, "a reported cancel ends what may precede it", "return self._single and operation.kind is CAPTURE", "return False"),
    # --- totals ---
    (matching, "a total that rises is ignored", "if more > 0:\n            amount", "if False:\n            amount"),
    (matching, "a total that falls is ignored", "elif more < 0:", "elif False:"),
    (matching, "a stale total counts", "if not self.fresh:  #", "if False:  #"),
    (matching, "a total settles nothing", "if 0 < minor <= more and", "if False and"),
    (lookup, "what is authorized is not compared", "if matching.fresh:", "if False:"),
    (lookup, "less authorized is no cancel", "matching.reduce(found)", "pass"),
    (lookup, "a stale total of what is authorized counts", "(matching.fresh or ends)", "True"),
    (lookup, "more authorized is ignored", "if found > row.authorized and (matching.fresh or ends):", "if False:"),
    (lookup, "what is stale reopens", "if before.status is Status.CANCELED and not matching.fresh:", "if False:"),
    (evidence, "nothing is stale", 'stale = capabilities.lookup == "lagging" and', "stale = False and"),
    (matching, "what came and went leaves no trace", "return effect.kind is CAPTURE and authorized and not self._told", "return False"),
    # --- the end ---
    (lookup, "what was captured before our cancel stays pending", "ledger.apply(Succeeded(pending, Answer.CANCELED, granted=False))", "return"),
    (lookup, "a failure after the end stays pending", "if pending is not None and fresh and status is Status.ERROR:", "if False:"),
    (matching, "a cancel of nothing stays pending", "operation.state is State.PENDING:\n            self.ledger.apply(Succeeded(operation,", "False:\n            self.ledger.apply(Succeeded(operation,"),
    (matching, "a failure is of what failed before", "named.sort(", "sorted(named, "),
    (lookup, "a canceled object is not canceled", "elif status is Status.CANCELED:\n            matching.canceled()", "elif status is Status.CANCELED:\n            pass"),
    (matching, "a release of nothing is no barrier", "row.status is Status.CANCELED or ledger.is_implied:", "row.status is Status.CANCELED:"),
    (lookup, "a canceled object was never authorized", "if taken:", "if False:"),
    (consequences, "the rest of a final capture stays", "ledger.apply(CancelRequested())  # the gateway kept the rest authorized", "pass"),
    (consequences, "a late grant is not canceled", "if row.status is Status.CANCELED and row.authorized > max(row.kept, before.authorized):", "if False:"),
    (consequences, "a final capture releases nothing", "final = operation.final and capabilities.final_capture_releases", "final = False"),
    (consequences, "a final capture always releases", "final = operation.final and capabilities.final_capture_releases", "final = operation.final"),
    # --- conflicts ---
    (consequences, "over_captured is not seen", "if row.returned - row.captured > max(0, returned - before.captured):", "if False:"),
    (consequences, "over_captured stays", "return row.returned <= row.captured", "return False"),
    (matching, "over_limit stays", 'ledger.apply(ConflictClosed("over_limit"))', "pass"),
    (evidence, "a second payment is not reported", "if not _is_alive(snapshot):", "if True:"),
    (evidence, "a second payment stays", 'ledger.apply(ConflictClosed("second_payment"))', "pass"),
    (evidence, "the end of any payment closes a second one", "opened is not None and opened.found == reference\n", "opened is not None\n"),
    (evidence, "what was just reported is not looked at again", "return reported", "return True"),
    # --- what may begin ---
    (rules, "a repetition of what was in doubt is another call", "settled is not None\n        and request.idem", "False\n        and request.idem"),
    (rules, "more is captured than is left", "left, offered = session.authorized - session.captured - session.capturing,", "left, offered = session.authorized,"),
]
}  # fmt: skip


def mutate(monkeypatch, name):
    """Give the functions and methods of a mutation's module the code that they have with its text replaced.

    A mutation whose text is gone is out of date, and fails.
    """
    module, old, new = MUTATIONS[name]
    source = inspect.getsource(module)
    assert source.count(old) >= 1, f"{old!r} is no text of {module.__name__} any more"
    namespace = {"__name__": module.__name__}
    exec(compile(source.replace(old, new), module.__file__, "exec"), namespace)
    for attribute, value in namespace.items():
        there = vars(module).get(attribute)
        if getattr(value, "__module__", None) != module.__name__ or there is None:
            continue
        if inspect.isfunction(value):
            monkeypatch.setattr(there, "__code__", value.__code__)
        elif inspect.isclass(value) and not issubclass(value, tuple | dict):
            for part, method in vars(value).items():
                if inspect.isfunction(method) or isinstance(method, property) or part == "_rules":
                    monkeypatch.setattr(there, part, method)


def pytest_configure(config):
    """Put the mutation in place before any test is collected."""
    monkeypatch = pytest.MonkeyPatch()
    config.add_cleanup(monkeypatch.undo)
    if os.environ["MUTATION"]:
        mutate(monkeypatch, os.environ["MUTATION"])
