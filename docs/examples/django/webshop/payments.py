"""The payments of this process, opened when they are first needed; and what they do to orders."""

from functools import cache

from django.conf import settings
from django.db import transaction

from paysession import Event, Payments
from webshop.models import Feed, Order, Parcel


@cache
def payments() -> Payments:
    """Return the payments, opened once per process."""
    return Payments.open(**settings.PAYSESSION)


@transaction.atomic  # what an event does and the cursor behind it, or neither
def follow() -> int:
    """Handle the events that are new, each exactly once; return how many there were."""
    Feed.objects.get_or_create(id=1)
    feed = Feed.objects.select_for_update().get(id=1)  # a second worker waits here
    events = payments().events(after=feed.cursor or None)
    for event in events:
        handle(event)
        feed.cursor = event.cursor
    feed.save()
    return len(events)


def handle(event: Event) -> None:
    """Mark an order paid, and send its parcel, once all of its amount is captured."""
    if event.type not in ("session.captured", "collection.updated"):
        return
    due = payments().collection(event.collection_id)
    if due.captured_amount < due.amount:
        return
    if Order.objects.filter(number=event.reference, paid=False).update(paid=True):
        Parcel.objects.create(order_id=event.reference)
