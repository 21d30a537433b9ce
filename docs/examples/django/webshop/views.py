"""What a browser sees, and what a gateway calls."""

import logging
from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from paysession import (
    Checkout,
    Declined,
    Money,
    NotFound,
    PaymentSession,
    PaysessionError,
    Redirect,
    RequestError,
    Status,
)
from webshop.models import Order
from webshop.payments import follow, payments

View = Callable[..., HttpResponse]
log = logging.getLogger(__name__)


def payment_errors(view: View) -> View:
    """Answer what paysession refuses with a status and a sentence."""

    @wraps(view)
    def answer(request: HttpRequest, **arguments: str) -> HttpResponse:
        try:
            return view(request, **arguments)
        except PaysessionError as error:
            log.warning("%s", error)  # its text is for the log: the payer gets a sentence of ours
            if isinstance(error, NotFound):
                return HttpResponse("There is no such payment.", status=404)
            if isinstance(error, Declined | RequestError):
                return HttpResponse("That payment is not possible.", status=409)
            return HttpResponse("Not now; please try again.", status=503)

    return answer


def page(request: HttpRequest, number: str, session: PaymentSession | None = None) -> HttpResponse:
    """Show an order, and how its payment stands."""
    order = get_object_or_404(Order, number=number)
    chosen = [row.name for row in payments().providers() if row.selected]
    total = Money.from_minor(order.minor, order.currency)
    context = {"order": order, "total": total, "session": session, "providers": chosen}
    return render(request, "order.html", context)


@require_GET
def show(request: HttpRequest, number: str) -> HttpResponse:
    """Show an order."""
    return page(request, number)


@require_POST
@payment_errors
def pay(request: HttpRequest, number: str) -> HttpResponse:
    """Begin a payment with the provider that the payer chose."""
    order = get_object_or_404(Order, number=number)
    provider = request.POST["provider"]
    collection = payments().create_collection(
        Money.from_minor(order.minor, order.currency), reference=order.number
    )
    earlier = payments().sessions(collection_id=collection.id, provider=provider)
    refused = [session.id for session in earlier if session.status is Status.ERROR]
    ended = len(refused) + sum(session.status is Status.CANCELED for session in earlier)
    address = request.build_absolute_uri(reverse("back", args=["{session_id}"]))
    session = payments().initiate(
        collection.id,
        provider=provider,
        capture="automatic",
        checkout=Checkout(return_url=address),
        replaces=refused[-1] if refused else None,
        idempotency_key=f"{number}:{provider}:{ended}",  # a double click is the same payment
    )
    if isinstance(session.next_action, Redirect):
        return redirect(session.next_action.url)
    return page(request, number, session)


@require_GET
@payment_errors
def back(request: HttpRequest, session_id: str) -> HttpResponse:
    """Take the payer back from the provider."""
    session = payments().resume(session_id, payload=request.GET.dict())
    follow()
    if isinstance(session.next_action, Redirect):
        return redirect(session.next_action.url)
    return page(request, session.collection_reference, session)


@csrf_exempt  # the provider's signature guards it
@require_POST
def webhook(request: HttpRequest, provider: str) -> HttpResponse:
    """Take a provider's notification in: the raw body, before anything is decoded."""
    reply = payments().handle_webhook(provider, headers=request.headers, body=request.body)
    return HttpResponse(reply.body, status=reply.status, content_type="text/plain")
