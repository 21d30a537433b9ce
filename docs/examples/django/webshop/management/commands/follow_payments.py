"""python manage.py follow_payments: beside the web processes, one or several of them."""

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from webshop.payments import follow, payments


class Command(BaseCommand):
    """Settle what is open, and mark paid what was paid."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add ``--once``."""
        parser.add_argument("--once", action="store_true", help="One round only.")

    def handle(self, *_: Any, once: bool, **__: Any) -> None:
        """Go on until interrupted."""
        while True:
            payments().recover()
            handled = follow()
            self.stdout.write(f"{handled} events")
            if once:
                break
            time.sleep(5)
