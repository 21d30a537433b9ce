"""What a provider's package keeps: it imports its SDK late, and releases its connections."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from paysession_testing.contract.verdict import broken, not_declared
from paysession_testing.contract.wire import Proxy

if TYPE_CHECKING:
    from paysession_testing.contract.bench import Bench

__all__ = ["PackageContract"]

_OURS: Final = ("paysession", "pluggy", "attr", "attrs")

_PROBE: Final = """
import json, sys
import paysession.provider
before = set(sys.modules)
__import__(sys.argv[1])
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


class PackageContract:
    """The package."""

    def test_importing_the_provider_loads_no_sdk(self, bench: Bench) -> None:
        """A shop pays for an SDK when it first uses it: an import of the provider loads none."""
        module = type(bench.plugin).__module__
        probe = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _PROBE, module],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if probe.returncode:
            not_declared(f"{module} cannot be imported by its name: {probe.stderr.strip()[-200:]}")
        package = module.partition(".")[0]
        allowed = {*_OURS, package, *bench.gateway.imports, *sys.stdlib_module_names}
        loaded = [name for name in json.loads(probe.stdout) if name not in allowed]
        if loaded:
            broken(
                "Importing a provider loads nothing but itself: an SDK is imported when it is first used.",
                found=f"import {module} loads {', '.join(loaded)}",
                fix="import it inside the function that builds the client; or name it in `imports`",
            )

    def test_close_lets_go_of_connections(self, bench: Bench) -> None:
        """After ``close`` no connection is open, and ``close`` can be called again."""
        bench.needs_gateway()
        if not bench.handle.implements("close"):
            not_declared("the provider does not implement close")
        if not isinstance(bench.wire, Proxy):
            not_declared("this wire has no connections")
        bench.authorized()
        bench.payments.close()
        bench.handle.close()
        until = time.monotonic() + 2
        while bench.wire.connections and time.monotonic() < until:
            time.sleep(0.005)  # the other side hears of it a moment later
        if bench.wire.connections:
            broken(
                "`close` releases every connection.",
                found="one is still open",
                fix="close the client, or the session of the HTTP library, in close()",
            )
