"""A long seeded random run that tries to make paysession move money twice, or lose it.

    python tests/campaign --seed 1 --store sqlite,postgresql
    python tests/campaign --seed 1 --provider stripe

Processes are killed at each point of the protocol and anywhere else, stopped past their leases, and
started again; the gateway drops, delays, mangles and refuses; payers, dashboards and banks act on
their own; notifications come late, twice, never, and forged. Then everything comes to rest, and the
gateway's own ledger is compared with ours. Exits with 1 if an invariant is violated.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from importlib import import_module
from statistics import median

from driver import Campaign
from judge import INVARIANTS, Verdict, judge, while_open
from variants import Sound
from worker import THREADS, log_to
from world import RATE, Plan

from paysession_sql import upgrade


def options(arguments):
    parser = argparse.ArgumentParser(
        prog="campaign", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seed", type=int, default=None, help="of everything that is left to chance; printed if not given")
    add("--provider", choices=SITES, default="testing", help="the kit's gateway, or a stand-in")
    add("--store", default="sqlite", help="sqlite, postgresql, or several with commas (default: sqlite)")
    add("--kills", type=int, default=260, help="run until there were so many, per store (default: 260)")
    add("--faults", type=int, default=2600, help="... and so many of these (default: 2600)")
    add("--minutes", type=float, default=10.0, help="but no longer than this, per store (default: 10)")
    add("--workers", type=int, default=4, help="processes that take orders (default: 4)")
    add("--recoverers", type=int, default=2, help="processes that recover (default: 2)")
    add("--hot", type=int, default=0, help="let all workers hammer so many sessions at a time, and no others")
    add("--restores", type=int, default=0, help="restore a backup so many times (only some accounts)")
    add("--hosts", type=int, default=0, help="let so many hosts fork the workers, in the middle of calls")
    add("--accounts", default="", help="only these accounts of the gateway, with commas (default: all)")
    add("--broken", default="", help="run a broken variant, to see it caught")
    add("--json", action="store_true", help="print the result as JSON")
    add("--keep", action="store_true", help="keep the ledger, the log and the journals, and say where")
    given = parser.parse_args(arguments)
    given.site = SITES[given.provider]()
    if given.broken and given.broken not in given.site.broken:
        parser.error(f"--broken: there are {', '.join(given.site.broken)}")
    if given.restores and not given.site.restorable:
        parser.error(f"no backup is restored at {given.provider}")
    if given.hosts and given.workers < given.hosts * (THREADS + 1):
        parser.error(f"each host has {THREADS} threads that take orders, and forks the other --workers")
    return given


def main(arguments=None):
    given = options(arguments)
    # Whoever stops it, such as a test that has waited for too long, leaves no process behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("it was stopped"))
    site = given.site
    seed = given.seed if given.seed is not None else random.randrange(10**6)
    results = []
    for name in given.store.split(","):
        with contextlib.ExitStack() as stack:
            if given.keep:
                folder = tempfile.mkdtemp(prefix="campaign-")
                print("kept in", folder, file=sys.stderr)
            else:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="campaign-"))
            every = site.restorable if given.restores else site.accounts
            variant = site.broken[given.broken]() if given.broken else Sound()
            accounts = given.accounts or variant.accounts or ",".join(every)
            url = stack.enter_context(STORES[name](folder))
            plan = Plan(
                seed=seed,
                store=url,
                folder=folder,
                site=site,
                workers=given.workers,
                recoverers=given.recoverers,
                kills=given.kills,
                faults=given.faults,
                minutes=given.minutes,
                hot=given.hot or variant.hot,
                restores=given.restores,
                hosts=given.hosts,
                accounts=tuple(accounts.split(",")),
                variant=variant,
            )
            results.append(one(name, plan, Progress(name, plan)))
    if given.json:
        said = {"seed": seed, "provider": given.provider, "broken": given.broken}
        print(json.dumps(said | {"stores": results}))
    else:
        print(table(given, seed, results))
    return 0 if all(not row["violations"] for row in results) else 1


def one(name, plan, show):
    """Run one campaign, bring it to rest, and judge it."""
    log_to(plan.folder, "driver %(message)s")
    campaign = Campaign(plan, show)
    world = campaign.run()
    verdict = Verdict()
    try:
        with world.open() as pay:
            while_open(world, pay, verdict)
            show.resting()
            campaign.rest(pay)
            judge(world, pay, verdict, campaign.lost)
        stats = world.gateway.stats()
    finally:
        world.gateway.close()
    tally = campaign.tally
    if tally.crashes:
        with contextlib.suppress(OSError), open(os.path.join(plan.folder, "crashes.txt")) as file:
            tally.crashes.append(file.read()[-4000:])
    settle = verdict.settle_seconds or [0.0]
    return {
        "store": name,
        "seconds": round(tally.seconds, 1),
        "kills": tally.killed,
        "kills by point": tally.kills,
        "pauses": tally.pauses,
        "forks by hosts": campaign.forks(),
        "outages": tally.outages,
        "restores": tally.restores,
        "faults": sum(stats["faults"].values()),
        "faults by name": stats["faults"],
        "calls": sum(stats["calls"].values()),
        "sessions": verdict.sessions,
        "operations": verdict.operations,
        "ledger entries": verdict.effects,
        "increments": verdict.increments,
        "begun twice around a restore": verdict.begun_twice,
        "events": verdict.events,
        "conflicts": dict(verdict.conflicts),
        "double effects": len(verdict.violations.get("1", ())),
        "lost sessions": len(verdict.violations.get("lost", ())),
        "unsettled": len(verdict.violations.get("unsettled", ())),
        "resolved by an operator": len(tally.by_person),
        "taken over by recovery": len(verdict.settle_seconds),
        "time to settle, median (s)": round(median(settle), 1),
        "time to settle, 95% (s)": round(settle[int(len(settle) * 0.95)], 1),
        "time to settle, longest (s)": round(settle[-1], 1),
        "crashes": tally.crashes,
        "violations": {key: rows for key, rows in verdict.violations.items() if rows},
    }


def table(given, seed, results):
    """Return the results side by side, in words."""
    shown = [
        key
        for key in results[0]
        if key not in ("store", "violations", "crashes", "kills by point", "faults by name", "conflicts")
    ]
    lines = [f"seed {seed}, provider {given.provider!r}"]
    lines[0] += f", broken variant {given.broken!r}" if given.broken else ""
    lines += ["", f"{'':34}" + "".join(f"{row['store']:>14}" for row in results)]
    lines += [f"{key:34}" + "".join(f"{row[key]:>14,}" for row in results) for key in shown]
    for part in ("kills by point", "faults by name"):
        lines += ["", part]
        names = sorted({name for row in results for name in row[part]})
        lines += [
            f"  {name:32}" + "".join(f"{row[part].get(name, 0):>14,}" for row in results) for name in names
        ]
    lines += ["", "violations"]
    for key, words in INVARIANTS.items():
        counts = [len(row["violations"].get(key, ())) for row in results]
        lines += [f"  {key:>9} {words:40}"[:44] + "".join(f"{count:>14,}" for count in counts)]
    for row in results:
        lines += [
            f"  {row['store']}: {key}: {one}" for key, rows in row["violations"].items() for one in rows
        ]
        lines += [f"  {row['store']}: crash: {words}" for words in row["crashes"]]
    lines += ["", f"(times are the campaign's own, which runs {RATE:.0f} times as fast as ours)"]
    return "\n".join(lines)


class Progress:
    """Says on standard error how far a campaign is: always on a terminal, elsewhere every 30 seconds."""

    EVERY = 30.0

    def __init__(self, name, plan):
        self._name, self._plan = name, plan
        self._began = self._next = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def __call__(self, tally, stats, orders):
        """Say it, if it is time."""
        now = time.monotonic()
        if not self._terminal and now < self._next:
            return
        self._next = now + self.EVERY
        plan, faults = self._plan, sum(stats["faults"].values())
        left = max(0.0, plan.minutes * 60 - (now - self._began))
        self._print(
            f"{tally.killed:,} of {plan.kills:,} kills, {faults:,} of {plan.faults:,} faults, "
            f"{orders:,} orders, {sum(stats['calls'].values()):,} calls, {int(left) // 60}:{int(left) % 60:02} left"
        )

    def resting(self):
        """Say that the disturbance is over."""
        self._print("coming to rest and judging", end="\n")

    def _print(self, words, end=""):
        words = f"{self._name}: {words}"
        words = f"\r{words:100}{end}" if self._terminal else f"{words}\n"
        print(words, end="", file=sys.stderr, flush=True)


def _site(module, name):
    """Return what makes a site; its provider is loaded only where it is used."""

    def make():
        return getattr(import_module(module), name)()

    return make


@contextlib.contextmanager
def sqlite(folder):
    yield f"sqlite:///{folder}/books.db"


@contextlib.contextmanager
def postgresql(folder):
    """Start a server of its own, or use the one that PAYSESSION_TEST_POSTGRES names."""
    from paysession_sql.testing import PostgresServer

    with PostgresServer() as server:
        url = server.database()
        upgrade(url)
        yield url
        server.drop(url)


SITES = {
    "testing": _site("at_testing_gateway", "AtTestingGateway"),
    "stripe": _site("at_stripe", "AtStripe"),
    "paypal": _site("at_paypal", "AtPayPal"),
}
STORES = {"sqlite": sqlite, "postgresql": postgresql}

if __name__ == "__main__":
    sys.exit(main())
