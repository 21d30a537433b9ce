"""What the campaign does to providers that ship, and to the processes that they run in."""

import http.client
import select

from attrs import evolve
from world import RATE


def for_the_campaign(kind):
    """Return a kind of provider whose own seconds are a minute of the campaign's."""

    class Campaigning(kind):
        @property
        def capabilities(self):
            found = super().capabilities
            return evolve(found, call_limit=found.call_limit * RATE)

    return Campaigning


def on_the_wire(points, port):
    """Have this process pass by two points more, between each request to a port and its answer."""
    received = http.client.HTTPConnection.getresponse

    def getresponse(self, *arguments, **options):
        if self.port == port:
            points._pass("request sent")
            select.select([self.sock], [], [], 1.0)
            points._pass("gateway committed, answer unread")
        return received(self, *arguments, **options)

    http.client.HTTPConnection.getresponse = getresponse
