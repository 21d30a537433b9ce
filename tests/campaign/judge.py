"""The judge: compares the gateway's ledger with our ledger, and checks every invariant.

1 at most one effect for each operation, and for each key of a caller's; 2 our ledger equals the
ledger; 3 nothing is settled without evidence; 4 no illegal step back; 5 the event feed holds every
transition exactly once, in order, and a reader by cursor misses none; 6 every open row has a next
action; 7 what we send stays within the limits; 8 no secret shows; 9 the rows of the operations, replayed, give
the session's. Besides: nothing that was promised to a caller is lost, and nothing stays unsettled that the
provider could answer for.
"""

import json
import os
import re
from collections import Counter, defaultdict

from attrs import field, mutable
from driver import every_session
from worker import feed
from world import PAYLOAD_SECRET

from paysession import CursorLost

INVARIANTS = {
    "1": "one effect for each operation",
    "2": "our ledger equals the gateway's",
    "3": "nothing settled without evidence",
    "4": "no illegal step back",
    "5": "every transition once in the feed",
    "6": "every open row has a next action",
    "7": "within the limits",
    "8": "no secret shows",
    "9": "the operations give the session",
    "lost": "nothing promised is lost",
    "unsettled": "nothing left open that could be told",
}

MONEY = ("capture", "refund", "chargeback")
INCREMENT = "increment"
"""What the ledger at the gateway calls an update that raised what is authorized: its amount is the difference."""
SUMS = {
    "capture": ("captured", "capturing"),
    "refund": ("refunded", "refunding"),
    "chargeback": ("charged_back", None),
}
"""What each kind adds to once it has succeeded, and while it is pending."""
STEPS = {
    "pending": {"pending", "requires_more", "authorized", "error", "canceled"},
    "requires_more": {"pending", "requires_more", "authorized", "error", "canceled"},
    "error": {"pending", "requires_more", "authorized", "error", "canceled"},
    "authorized": {"authorized", "canceled"},
    "canceled": {"canceled"},
}
TOLD = {
    "capture": "session.captured",
    "refund": "session.refunded",
    "chargeback": "session.charged_back",
}
REFUSALS = {
    "initiate": ("operation.failed", "session.canceled"),
    "authorize": ("operation.failed", "session.error"),
    "chargeback": ("session.dispute_won",),
}
"""Which event reports that an operation was refused; ``operation.failed`` for the other kinds. A pending
capture that fails once the rest was released also ends its session, with an event of the session's."""


@mutable
class Verdict:
    """What the judge found.

    Attributes:
        violations: For each invariant, sentences.
        operations: How many there are in the ledger.
        sessions: How many sessions.
        effects: How many entries the ledger has.
        increments: How many of them raised what is authorized.
        begun_twice: How many payments the gateway has and used a second time, because a restore lost an attempt
            that was not applied; see "After a restore" in docs/operations.md.
        conflicts: How many were reported, by kind.
        settle_seconds: How long operations that recovery had to take over were open, sorted.
    """

    violations: dict[str, list[str]] = field(factory=lambda: defaultdict(list))
    operations: int = 0
    sessions: int = 0
    effects: int = 0
    increments: int = 0
    begun_twice: int = 0
    events: int = 0
    conflicts: Counter = field(factory=Counter)
    settle_seconds: list[float] = field(factory=list)

    def find(self, invariant, sentence):
        self.violations[invariant].append(sentence)


def while_open(world, pay, verdict):
    """Check, before anything comes to rest, that every open row has a next action."""
    accounts = world.plan.site.accounts
    for row in every_session(pay):
        open_ = row.open or row.cancel_requested or (row.pending and accounts[row.provider].askable)
        if open_ and row.due_at is None:
            verdict.find("6", f"{row.id}: open={row.open} pending={row.pending} and nothing is due")


def judge(world, pay, verdict, lost=frozenset()):
    """Check everything, once it is settled.

    Args:
        world: The campaign's.
        pay: The open ledger.
        verdict: Where violations are noted.
        lost: Sessions that a restored backup lacked, and that nobody could find by query.
    """
    site = world.plan.site
    ledger = {name: world.gateway.ledger(name) for name in world.plan.accounts}
    orders = {name: world.gateway.orders(name) for name in world.plan.accounts}
    with open(os.path.join(world.plan.folder, "ledger.json"), "w") as file:
        json.dump(ledger, file)  # for whoever keeps the folder and looks into it
    events = list(_all_events(pay))
    verdict.events = len(events)
    verdict.conflicts.update(
        event.detail.partition(":")[0] for event in events if event.type == "session.conflict"
    )
    told = defaultdict(list)
    for event in events:
        told[event.session_id].append(event)
    entries, views = defaultdict(list), defaultdict(list)
    for name in world.plan.accounts:
        for entry in ledger[name]:
            entries[name, entry["ours"]].append(entry)
        for view in orders[name]:
            views[name, view["ours"]].append(view)
    verdict.effects = sum(map(len, ledger.values()))
    verdict.increments = sum(entry["kind"] == INCREMENT for rows in ledger.values() for entry in rows)
    known = set()
    collections = defaultdict(list)
    histories = {}
    for session in every_session(pay):
        mine = session.provider, session.id
        known.add(session.id)
        collections[session.collection_id].append(session)
        history = histories[session.id] = pay.history(session.id)
        verdict.sessions += 1
        verdict.operations += len(history)
        verdict.settle_seconds += [
            (row.updated_at - row.created_at).total_seconds()
            for row in history
            if row.attempt > 1 and row.state.closed and row.origin != "provider"
        ]
        _one_effect(verdict, session, history, entries[mine])
        restored = bool(world.plan.restores)
        twice = restored and _begun_twice(history, entries[mine])
        found = Verdict() if twice else verdict
        _books(found, site, session, history, entries[mine], views[mine], told[session.id], restored=restored)
        verdict.begun_twice += twice and bool(found.violations)
        _second(verdict, session, views[mine], told[session.id])
        if not restored:
            _ours(verdict, session, history, entries[mine])
        _evidence(verdict, session, history, entries[mine], restored=restored)
        _replay(verdict, session, history)
        _steps(verdict, session, told[session.id])
        _transitions(verdict, session, history, told[session.id])
        _limits(verdict, session, entries[mine])
        if session.open or session.pending or session.cancel_requested:
            verdict.find("unsettled", f"{session.id} ({session.provider}): {_waiting(session, history)}")
    if verdict.begun_twice > 1 + verdict.sessions // 100:
        verdict.find("1", f"{verdict.begun_twice} payments were begun twice: a restore explains one in 100")
    # After a restore the same call may choose another provider: what was begun with the first is lost.
    pairs = {(session.provider, session.id) for session in every_session(pay)}
    for _, ours in set(entries) - pairs:
        if ours in lost or (world.plan.restores and ours in known):
            continue
        verdict.find("lost", f"the gateway has an order of {ours}, and the ledger knows no such session")
    for collection_id, sessions in collections.items():
        held = pay.collection(collection_id).held
        if held != sum(row.held for row in sessions):
            verdict.find("7", f"{collection_id} holds {held}, its sessions {[row.held for row in sessions]}")
    for sentence in site.repeated(world.gateway, world.plan.accounts):
        verdict.find("1", sentence)
    _promises(verdict, world, known, histories)
    _keyed(verdict, world, entries)
    _reader(verdict, world, pay, events)
    _secrets(verdict, world, events, histories)
    verdict.settle_seconds.sort()
    _write_down(verdict, world, pay, told, entries)


def _write_down(verdict, world, pay, told, entries):
    """Keep all that is known of the sessions that a violation names, for whoever keeps the folder."""
    sentences = "\n".join(sentence for rows in verdict.violations.values() for sentence in rows)
    with open(os.path.join(world.plan.folder, "violations.txt"), "w") as file:
        file.write(f"{sentences}\n")
        for session_id in sorted(set(re.findall(r"ps_[0-9a-f]+", sentences)) & told.keys()):
            rows = [vars(pay.get(session_id)), *map(vars, pay.history(session_id))]
            rows += map(vars, told[session_id])
            rows += [row for (_, ours), shown in entries.items() if ours == session_id for row in shown]
            file.writelines(f"{row}\n" for row in ["", *rows])


def _all_events(pay):
    cursor = None
    while rows := pay.events(after=cursor, limit=1000):
        yield from rows
        cursor = rows[-1].cursor


def _begun_twice(history, entries):
    """Return whether another attempt than the one that the ledger knows has begun the payment as well."""
    known = {row.id for row in history}
    calls = {row.id.rpartition("-")[2] for row in history if row.kind == "initiate"}
    begun = {entry["operation"] for entry in entries if entry["kind"] == "create"}
    return any(attempt.rpartition("-")[2] in calls for attempt in begun - known)


def _second(verdict, session, views, events):
    """Check that a second payment is reported only where the gateway has two."""
    reported = [event for event in events if (event.detail or "").startswith("second_payment:")]
    if reported and len(views) < 2:
        verdict.find("2", f"{session.id} has one order, and {reported[0].detail} was reported")


def _kind(operation):
    """Return what the gateway's ledger calls what an operation does."""
    return INCREMENT if operation.increments else operation.kind


def _waiting(session, history):
    """Return what a session waits for, when it is looked at next, and its last operations."""
    rows = ", ".join(f"{row.kind} {row.state} {row.message!r}" for row in history[-3:])
    return (
        f"{session.status}, open {session.open}, {session.pending} pending, cancel requested "
        f"{session.cancel_requested}, checks {session.checks}, due at {session.due_at}, updated at "
        f"{session.updated_at}; {rows}"
    )


def _one_effect(verdict, session, history, entries):
    made = Counter((row["operation"], row["kind"]) for row in entries if row["operation"])
    for (operation, kind), count in made.items():
        if count > 1:
            verdict.find("1", f"{count} effects {kind} of the operation {operation} ({session.provider})")
    callers = defaultdict(set)
    for row in history:
        if row.idempotency_key is not None and _kind(row) in (*MONEY, INCREMENT):
            callers[row.idempotency_key].add(row.id)
    for key, operations in callers.items():
        count = sum(made[operation, kind] for operation in operations for kind in (*MONEY, INCREMENT))
        if count > 1:
            verdict.find("1", f"{count} effects under the caller's key {key} of {session.id}")


def _books(verdict, site, session, history, entries, views, events, *, restored=False):
    def total(kind):
        return sum(row["amount"] for row in entries if row["kind"] == kind and row["state"] == "succeeded")

    books = {
        "captured": session.captured,
        "refunded": session.refunded,
        "charged_back": session.charged_back,
        "authorized": session.authorized,
    }
    truth = {
        "captured": total("capture"),
        "refunded": total("refund"),
        "charged_back": total("chargeback"),
        "authorized": sum(view["authorized"] for view in views),
    }
    if books != truth:
        verdict.find("2", f"{session.id} ({session.provider}): books {books}, ledger {truth}")
    alive = [view for view in views if view["status"] != "canceled" and site.is_known(session, view)]
    usable = [
        view
        for view in alive
        if view["status"] != "authorized"
        or not view["authorized"] == view["captured"] == view["refunded"] + view["charged_back"]
    ]
    if session.status == "canceled" and usable and not session.conflict:
        verdict.find("2", f"{session.id} is canceled, and the order is {alive[0]['status']}")
    if session.status == "authorized" and not alive:
        verdict.find("2", f"{session.id} is authorized, and there is no order")
    # An update that was lost with a backup is reported as a conflict, once it is authorized. One for want of
    # room is over when the order grows again.
    conflicts = {event.detail.partition(":")[0] for event in events if event.type == "session.conflict"}
    reported = restored and (session.status != "authorized" or conflicts & {"amount", "over_limit"})
    if alive and session.initiated and session.status != "canceled" and not reported:
        own = _own(session, alive) if restored else alive[0]
        if (own["amount"], own["currency"]) != (session.amount.minor, session.amount.currency):
            verdict.find("2", f"{session.id} is of {session.amount}, and the order of {own['amount']}")
    if site.named == MONEY:
        _effects(verdict, session, history, entries)
    else:
        _named(verdict, site.named, session, history, entries)


def _own(session, views):
    """Return what a session names at the gateway, where a restore has had it begun twice; else the first."""
    named = (view for view in views if session.reference in (view.get("order"), view.get("id")))
    return next(named, views[0])


def _effects(verdict, session, history, entries):
    """Compare the effects one by one, where the gateway names each."""
    shown = Counter(row["id"] for row in entries if row["kind"] in MONEY and row["state"] != "failed")
    booked = Counter(
        row.reference
        for row in history
        if row.kind in MONEY and row.reverses is None and row.state == "succeeded" and row.reference
    )
    if any(
        row.kind in MONEY and row.state == "succeeded" and not row.reverses and not row.reference
        for row in history
    ):
        return  # captured at once: the provider names no capture of its own
    if shown != booked:
        verdict.find(
            "2", f"{session.id}: the gateway's ledger has {dict(shown - booked)}, ours {dict(booked - shown)}"
        )


def _named(verdict, kinds, session, history, entries):
    """Compare what the gateway names, one by one, with what became of it."""
    shown, booked = Counter(), Counter()
    for row in entries:
        if row["kind"] in kinds and row["state"] == "succeeded":
            shown[row["id"]] += row["amount"]
    names = {row.id: row.reference for row in history}
    for row in history:
        if row.kind in kinds and row.state == "succeeded":
            name = names[row.reverses] if row.reverses else row.reference
            booked[name] += -row.amount.minor if row.reverses else row.amount.minor
    booked = Counter({name: amount for name, amount in booked.items() if amount})
    if shown != booked:
        verdict.find("2", f"{session.id}: the gateway has {dict(shown)}, and ours are {dict(booked)}")


def _ours(verdict, session, history, entries):
    """Check that what one of our operations did is recorded as that operation's, with its amount.

    What an authorization captures at once has a row of its own, if the gateway names it. An increment is of
    all that is authorized then.
    """
    rows = {row.id: row for row in history}
    named = {row.reference: row for row in history if row.kind == "capture" and row.reference}
    authorized = Counter()
    for entry in entries:
        amount = entry["amount"]
        if entry["kind"] in ("authorize", INCREMENT):
            authorized[entry["order"]] += amount
        if entry["kind"] == INCREMENT:
            amount = authorized[entry["order"]]
        if entry["operation"] and entry["kind"] in (*MONEY, INCREMENT) and entry["state"] == "succeeded":
            row = rows.get(entry["operation"])
            if row is not None and row.kind == "authorize":
                row = named.get(entry["id"], row)
            if row is None or (row.state, row.amount.minor) != ("succeeded", amount):
                verdict.find("2", f"{session.id}: {entry} is recorded as {row!r:.300}")


def _evidence(verdict, session, history, entries, *, restored=False):
    done = {(row["operation"], row["kind"]) for row in entries if row["state"] in ("pending", "succeeded")}
    if any(row["kind"] == "cancel" for row in entries):
        # It was authorized and released again before anybody looked: "canceled" is what is true.
        done -= {(row.id, "authorize") for row in history if row.error and row.error.code == "canceled"}
    ever = {(row["operation"], row["kind"]) for row in entries if row["operation"]}
    for row in history:
        if row.origin == "provider":
            continue
        refused, kind = row.state in ("declined", "not_applied"), _kind(row)
        if refused and kind not in ("initiate", "update") and (row.id, kind) in done:
            verdict.find(
                "3", f"{row.id} ({session.provider}) is {row.state}, and the gateway did it: {row.error}"
            )
        # What was raised before a backup was restored may be found as raised when it is asked for anew.
        evident = MONEY if restored else (*MONEY, INCREMENT)
        if row.state == "succeeded" and kind in evident and (row.id, kind) not in ever:
            verdict.find("3", f"{row.id} ({session.provider}) succeeded, and the gateway never did it")


def _replay(verdict, session, history):
    """Compare a session's sums with those of its operations: the session keeps them only to be fast."""
    sums = Counter()
    for row in history:
        done, waits = SUMS.get(row.kind, (None, None))
        if row.state == "pending" and row.kind != "chargeback":
            sums["pending"] += 1
            sums[waits] += row.amount.minor
        elif row.state == "succeeded":
            sums[done] += -row.amount.minor if row.reverses else row.amount.minor
    names = [name for pair in SUMS.values() for name in pair if name] + ["pending"]
    replayed = {name: sums[name] for name in names}
    figures = {name: getattr(session, name) for name in names}
    started = [row.id for row in history if row.state == "started"]
    if figures != replayed or started != ([session.open] if session.open else []):
        verdict.find(
            "9", f"{session.id}: the session has {figures}, its operations give {replayed}, {started}"
        )


def _steps(verdict, session, events):
    before = None
    for event in events:
        if before is not None:
            if event.status not in STEPS[before.status]:
                verdict.find("4", f"{session.id}: {before.status} to {event.status} ({event.type})")
            for name in ("captured", "refunded"):
                if getattr(event, name) < getattr(before, name) and not _reversal(events, event.version):
                    verdict.find("4", f"{session.id}: {name} fell without a reversal ({event.type})")
            if event.version < before.version:
                verdict.find("5", f"{session.id}: version {event.version} after {before.version}")
        before = event


def _reversal(events, version):
    return any(event.version == version and event.type == "session.reversed" for event in events)


def _transitions(verdict, session, history, events):
    ids = Counter(event.id for event in events)
    for id_, count in ids.items():
        if count > 1:
            verdict.find("5", f"the event {id_} is there {count} times")
    told = Counter((event.operation_id, event.type) for event in events)
    for row in history:
        expected = {}
        if row.kind in MONEY and row.reverses is None:
            expected[TOLD[row.kind]] = 1 if row.state == "succeeded" else 0
        if row.reverses is not None:
            expected["session.dispute_won" if row.kind == "chargeback" else "session.reversed"] = 1
        if row.kind == "initiate":
            expected["session.initiated"] = 1 if row.state == "succeeded" else 0
        if row.kind == "update":
            expected["session.updated"] = 1 if row.state == "succeeded" else 0
        if row.state in ("declined", "not_applied"):
            count = sum(told[row.id, kind] for kind in REFUSALS.get(row.kind, ("operation.failed",)))
            if count != 1:
                verdict.find("5", f"{row.id} is {row.state}, and {count} events report it")
        if row.kind == "authorize" and row.state == "succeeded" and row.answer in ("authorized", "captured"):
            count = told[row.id, "session.authorized"]
            if count != 1 and not any(event.type == "session.conflict" for event in events):
                verdict.find("5", f"{row.id} succeeded, and {count} events report it")
        for kind, count in expected.items():
            if told[row.id, kind] != count:
                verdict.find("5", f"{row.id} is {row.state}, and {told[row.id, kind]} events {kind} tell it")
    ends = sum(event.type == "session.canceled" for event in events)
    if ends != (session.status == "canceled"):
        verdict.find("5", f"{session.id} is {session.status}, and {ends} events report its end")
    if events:
        last = events[-1]
        figures = (last.status, last.authorized, last.captured, last.refunded)
        if figures != (session.status, session.authorized, session.captured, session.refunded):
            verdict.find(
                "5", f"{session.id}: the last event tells {figures}, the session is {session!r:.300}"
            )


def _limits(verdict, session, entries):
    """What we sent stays within the limits, in the order in which the gateway carried it out."""
    if any(row["by"] in ("dashboard", "bank", "payer") for row in entries):
        return
    captured = refunded = authorized = 0
    for row in entries:
        if row["state"] in ("failed", "reversed"):
            return
        if row["kind"] in ("authorize", INCREMENT):
            authorized += row["amount"]
        elif row["kind"] == "capture":
            captured += row["amount"]
        elif row["kind"] == "refund":
            refunded += row["amount"]
        if not refunded <= captured <= authorized:
            verdict.find("7", f"{session.id}: {refunded} <= {captured} <= {authorized} does not hold")


def _promises(verdict, world, known, histories):
    path = os.path.join(world.plan.folder, "promises.jsonl")
    if not os.path.exists(path):
        return
    with open(path) as file:
        for line in file:
            promise = json.loads(line)
            if promise["session"] not in known:
                verdict.find(
                    "lost", f"the session {promise['session']} was returned, and is not in the ledger"
                )
            elif not any(
                row.id == promise["operation"] and row.state in ("succeeded", "declined")
                for row in histories[promise["session"]]
            ):
                verdict.find("lost", f"{promise} was returned, and is not in the ledger")


def _keyed(verdict, world, entries):
    """Of all that was done under one key of a caller's there is one effect, whatever the ledger has lost."""
    path = os.path.join(world.plan.folder, "keyed.jsonl")
    if not os.path.exists(path):
        return
    with open(path) as file:
        calls = {tuple(json.loads(line)) for line in file}
    for session_id, digest, words in calls:
        rows = [row for (_, ours), rows in entries.items() if ours == session_id for row in rows]
        made = [row for row in rows if row["operation"].endswith(f"-{digest}")]
        if len(made) > 1:
            verdict.find("1", f"{len(made)} effects of {words} of {session_id}: {made}")


def _reader(verdict, world, pay, events):
    lines = feed(os.path.join(world.plan.folder, "feed.jsonl"))
    if world.plan.restores and lines and lines[-1][0] is not None:
        try:
            pay.events(after=lines[-1][0], limit=1)
        except CursorLost:
            return  # it would begin again: it has not been running since the last restore
    starts = [place for place, (cursor, _) in enumerate(lines, 1) if cursor is None]
    read = [id_ for _, id_ in lines[max(starts, default=0) :]]
    expected = [event.id for event in events[: len(read)]]
    if read != expected:
        missed = len(set(expected) - set(read))
        place = next(
            place for place, pair in enumerate(zip(read, expected, strict=True)) if pair[0] != pair[1]
        )
        verdict.find("5", f"a reader by cursor read another feed from event {place} on; {missed} were missed")


def _secrets(verdict, world, events, histories):
    texts = {"an event": "".join(map(repr, events)), "an operation": repr(histories)}
    for name in ("log.txt", "crashes.txt"):
        path = os.path.join(world.plan.folder, name)
        if os.path.exists(path):
            with open(path, errors="replace") as file:
                texts[name] = file.read()
    for where, text in texts.items():
        for secret in (*world.plan.site.secrets, PAYLOAD_SECRET):
            if secret in text:
                at = text.index(secret)
                verdict.find("8", f"{secret} shows in {where}: ...{text[max(0, at - 100) : at + 40]!r}")
