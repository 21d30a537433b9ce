"""What a browser sees, and what a gateway calls."""

import logging
import secrets
from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from paysession import (
    PAYER_MESSAGES,
    Checkout,
    Declined,
    Money,
    NotFound,
    PaymentSession,
    PaysessionError,
    Redirect,
    RequestError,
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
                return HttpResponse("There is no such payment in this browser.", status=404)
            if isinstance(error, Declined | RequestError):
                return HttpResponse("That payment is not possible.", status=409)
            return HttpResponse("Not now; please try again.", status=503)

    return answer


def shopper_of(request: HttpRequest) -> str:
    """Return what tells this browser from others: a random text in its session's cookie."""
    shopper: str = request.session.setdefault("shopper", secrets.token_urlsafe(32))
    return shopper


def own_order(request: HttpRequest, number: str, *, claim: bool = True) -> Order:
    """Return the shopper's own order: who opens one first gets it, as the basket of a real shop would do."""
    shopper = shopper_of(request)
    if claim:
        Order.objects.filter(number=number, shopper="").update(shopper=shopper)
    order = Order.objects.filter(number=number, shopper=shopper).first()
    if order is None:
        raise NotFound(f"this shopper has no order {number:.80}")
    return order


def page(
    request: HttpRequest, order: Order, session: PaymentSession | None = None, *, leave: bool = False
) -> HttpResponse:
    """Show an order, and how its payment stands; ``leave``: go on to the gateway at once."""
    order.refresh_from_db()
    error = session.error if session is not None else None
    context = {
        "order": order,
        "total": Money.from_minor(order.minor, order.currency),
        "session": session,
        "checking": session is not None and bool(session.in_doubt or session.authorizing),
        "problem": PAYER_MESSAGES[error.payer_message_key] if error is not None else None,
        "back": f"{settings.SHOP_URL}/back/{session.id}" if session else "",
        "providers": payments().offered,
        "leave": leave,
        "nonce": request.META["nonce"],
    }
    return render(request, "order.html", context)


@require_GET
@payment_errors
def show(request: HttpRequest, number: str) -> HttpResponse:
    """Show an order."""
    return page(request, own_order(request, number))


@require_POST
@payment_errors
def pay(request: HttpRequest, number: str) -> HttpResponse:
    """Begin a payment with the provider that the payer chose."""
    order = own_order(request, number)
    url = settings.SHOP_URL  # never the Host header
    due = payments().create_collection(Money.from_minor(order.minor, order.currency), reference=order.number)
    session = payments().pay(
        due.id,
        provider=request.POST.get("provider", ""),
        capture="automatic",
        checkout=Checkout(
            return_url=f"{url}/back/{{session_id}}", cancel_url=f"{url}{reverse('show', args=[number])}"
        ),
    )
    follow()
    action = session.next_action
    if isinstance(action, Redirect) and action.method == "GET":
        return redirect(action.url)
    return page(request, order, session, leave=True)


@require_GET
@payment_errors
def back(request: HttpRequest, session_id: str) -> HttpResponse:
    """Take the payer back from the provider. Anybody else learns nothing and causes nothing."""
    number = payments().get(session_id).collection_reference
    order = own_order(request, number, claim=False)
    session = payments().resume(session_id, payload=request.GET.dict())
    follow()
    return page(request, order, session)


@csrf_exempt  # the provider's signature guards it
@require_POST
def webhook(request: HttpRequest, provider: str) -> HttpResponse:
    """Take a provider's notification in: the raw body, before anything is decoded."""
    reply = payments().handle_webhook(provider, headers=request.headers, body=request.body)
    return HttpResponse(reply.body, status=reply.status, content_type="text/plain")
