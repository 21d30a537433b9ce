"""Where a process ends itself, in the middle of the protocol: through public hooks only.

A wrapper stands around the provider's hooks, an observer behind the commit, and a connection of its
own between a request and its answer. Nothing in the product knows of them.
"""

import http.client
import os
import select
import signal

from paysession import hookimpl

BEFORE_SEND = "before send"
SENT = "request sent"
COMMITTED = "gateway committed, answer unread"
ANSWERED = "answer read, before our commit"
AFTER_COMMIT = "after our commit, before observers"


class Points:
    """A plugin that kills its process at some of the points it comes by.

    Args:
        strikes: Called with the point's name; whether to die there.
        last_words: Called with the name before it dies.
    """

    def __init__(self, strikes, last_words):
        self._strikes, self._last_words = strikes, last_words

    def pass_by(self, point):
        """Die here, perhaps."""
        if self._strikes(point):
            self._last_words(point)
            os.kill(os.getpid(), signal.SIGKILL)

    def _around(self):
        self.pass_by(BEFORE_SEND)
        try:
            return (yield)
        finally:
            self.pass_by(ANSWERED)

    @hookimpl(wrapper=True, tryfirst=True)
    def initiate(self):
        return (yield from self._around())

    update = authorize = capture = refund = cancel = retrieve = initiate

    @hookimpl
    def session_changed(self):
        self.pass_by(AFTER_COMMIT)

    def connection(self, host, port, timeout):
        """Return an HTTP connection that passes by two points more."""
        points = self

        class Connection(http.client.HTTPConnection):
            def getresponse(self):
                points.pass_by(SENT)
                select.select([self.sock], [], [], timeout)
                points.pass_by(COMMITTED)
                return super().getresponse()

        return Connection(host, port, timeout=timeout)
