"""``python -m paysession_cli``: the command, where its script is not on the path."""

from __future__ import annotations

from paysession_cli.main import main

main()
