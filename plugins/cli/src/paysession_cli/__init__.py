"""The ``paysession`` command: payment sessions from the shell, and a demo of one life."""
