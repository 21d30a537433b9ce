"""The ``paysession`` command: payment sessions from the shell, and a demo of one life.

A provider brings a command of its own with an entry point of the group ``paysession.commands``: a
``click.Command``, made with `common` and `pass_app`, which hands it an `App`.
"""

from __future__ import annotations

from paysession_cli.app import App, common, pass_app

__all__ = ["App", "common", "pass_app"]
