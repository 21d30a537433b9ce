"""The gateway's provider with one safeguard removed each: what the contract is there to find.

`BROKEN` says which tests find it. Each class is the careful provider but for a few lines.
"""

import hashlib
import hmac
import http.client
import json
import logging
import netrc
import os
import secrets
import threading
import time
from base64 import b64encode
from decimal import Decimal
from urllib.parse import urlsplit

from attrs import evolve, frozen

from paysession.errors import OutcomeUnknown
from paysession.hooks import hookimpl
from paysession.money import Money
from paysession.provider import (
    Capabilities,
    Declined,
    NotApplied,
    Outcome,
    Redirect,
    Snapshot,
    Status,
    WebhookEvent,
    WebhookRejected,
)
from paysession.values import replace
from paysession_testing.contract.gateway import GatewayCounterpart
from paysession_testing.gateway_provider import GatewayProvider, _read

BROKEN = {}


def breaks(*tests, counterpart=GatewayCounterpart):
    """Register a provider together with the tests that find what is wrong with it."""

    def register(cls):
        BROKEN[cls.__name__] = (cls, counterpart, tests)
        return cls

    return register


# --- answers ----------------------------------------------------------------------------------------


class SavedCard(GatewayCounterpart):
    """A gateway whose payer has a saved card: whatever is authorized succeeds."""

    def handle(self, method, path, headers, body):
        reply = super().handle(method, path, headers, body)
        if method == "POST" and path == "/orders":
            self.gateway.payer(json.loads(body)["ours"], "approve")
        return reply


@breaks("test_initiate_charges_nothing", counterpart=SavedCard)
class ChargesAtInitiate(GatewayProvider):
    @hookimpl
    def initiate(self, session, operation):
        outcome = super().initiate(session, operation)
        self._post(f"orders/{outcome.reference}/authorize", replace(operation, id=operation.subkey("now")))
        return outcome


@breaks("test_the_gateways_object_carries_the_sessions_id")
class SessionIdNotSent(GatewayProvider):
    def _post(self, path, operation, **body):
        if "ours" in body:
            body["ours"] = "order of a customer"
        return super()._post(path, operation, **body)


@breaks("test_the_gateways_object_carries_the_sessions_id")
class ReferenceNotTold(GatewayProvider):
    @hookimpl
    def initiate(self, session, operation):
        return replace_(super().initiate(session, operation), reference=None)


def replace_(outcome, **changes):
    """Return an outcome with other arguments."""
    told = {name: getattr(outcome, name) for name in ("amount", "released", "reference", "next_action")}
    data = json.loads(outcome.data) if outcome.data is not None else None
    return Outcome(answer=outcome.answer, **{"data": data, **told, **changes})


@breaks("test_every_hook_answers_what_it_may")
class AnswersNone(GatewayProvider):
    @hookimpl
    def refund(self, session, operation):
        super().refund(session, operation)


@breaks("test_every_hook_answers_what_it_may")
class NeverAnswers(GatewayProvider):
    fix = "set a timeout"

    @hookimpl
    def refund(self, session, operation):
        threading.Event().wait(60)


@breaks("test_every_hook_answers_what_it_may")
class AnswersAnotherHooksAnswer(GatewayProvider):
    @hookimpl
    def cancel(self, session, operation):
        super().cancel(session, operation)
        return Outcome.refunded(operation.amount)


@breaks("test_every_hook_answers_what_it_may")
class AnswersAGenerator(GatewayProvider):
    @hookimpl
    def capture(self, session, operation):
        return self._later(session, operation)

    def _later(self, session, operation):
        return (super(AnswersAGenerator, self).capture(s, o) for s, o in [(session, operation)])


@breaks(
    "test_a_life_leaves_the_ledger_as_the_gateway_has_it",
    "test_two_captures_of_one_amount_are_two",
)
class EffectsWithNewReferences(GatewayProvider):
    @hookimpl
    def retrieve(self, session):
        snapshot = super().retrieve(session)
        if snapshot.status is None:
            return snapshot
        effects = [
            type(effect)(effect.kind, effect.amount, effect.state, secrets.token_hex(4))
            for effect in snapshot.effects
        ]
        return snapshot_(snapshot, effects=effects, captured=None, refunded=None)


@breaks("test_a_life_leaves_the_ledger_as_the_gateway_has_it")
class DeclaresKeysThatItDoesNotGive(GatewayProvider):
    fix = "declare keyed_effects=False"

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.capabilities = evolve(self.capabilities, keyed_effects=True)

    @hookimpl
    def retrieve(self, session):
        snapshot = super().retrieve(session)
        if snapshot.status is None:
            return snapshot
        effects = [evolve(effect, key=None) for effect in snapshot.effects]
        return snapshot_(snapshot, effects=effects, captured=None, refunded=None)


def snapshot_(snapshot, **changes):
    """Return a snapshot with other arguments."""
    names = ("amount", "authorized", "captured", "refunded", "effects", "ready", "session_id", "reference")
    told = {name: getattr(snapshot, name) for name in names}
    return Snapshot(**{"status": snapshot.status, "error": snapshot.error, **told, **changes})


@breaks(
    "test_a_life_goes_on_in_another_process",
    "test_a_crash_is_recovered_with_one_effect[capture-after]",
)
class KeepsTheOrderInItself(GatewayProvider):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.orders = {}

    @hookimpl
    def initiate(self, session, operation):
        outcome = super().initiate(session, operation)
        self.orders[session.id] = outcome.reference
        return outcome

    @hookimpl
    def capture(self, session, operation):
        return super().capture(replace(session, reference=self.orders[session.id]), operation)

    @hookimpl
    def retrieve(self, session):
        return super().retrieve(replace(session, reference=self.orders[session.id]))


@breaks("test_a_life_leaves_the_ledger_as_the_gateway_has_it")
class DataForgottenByALook(GatewayProvider):
    @hookimpl
    def retrieve(self, session):
        return snapshot_(super().retrieve(session), data={"seen": time.time_ns()})


@breaks("test_data_is_json")
class DataIsNotJson(GatewayProvider):
    @hookimpl
    def authorize(self, session, operation):
        return replace_(super().authorize(session, operation), data={"amount": Decimal(1)})


@breaks("test_amounts_are_right_in_every_currency")
class AmountTimesAHundred(GatewayProvider):
    def _post(self, path, operation, **body):
        if "currency" in body:
            body["amount"] = int(operation.amount.amount * 100)
        return super()._post(path, operation, **body)


@breaks("test_amounts_are_right_in_every_currency")
class AmountAsFloat(GatewayProvider):
    def _post(self, path, operation, **body):
        if body.get("currency") == "EUR":
            body["amount"] = int(float(operation.amount.amount) * 100)
        return super()._post(path, operation, **body)


class Returning(GatewayCounterpart):
    """A gateway whose payer comes back with a query, as a browser sends it."""

    def approve(self, session):
        super().approve(session)
        return {"order": session.reference, "result": "paid"}


@breaks("test_nothing_is_authorized_before_the_payer_acts", counterpart=Returning)
class BelievesAnyReturn(GatewayProvider):
    fix = "ask the gateway about this session"

    @hookimpl
    def authorize(self, session, operation):
        if operation.payload.get("result") == "paid":
            return Outcome.authorized(amount=session.amount)
        return super().authorize(session, operation)


@breaks("test_nothing_is_authorized_before_the_payer_acts", counterpart=Returning)
class BelievesAReturnThatNamesTheOrder(GatewayProvider):
    @hookimpl
    def authorize(self, session, operation):
        if operation.payload.get("order") == session.reference:
            return Outcome.authorized(amount=session.amount)
        return super().authorize(session, operation)


@breaks("test_nothing_is_authorized_before_the_payer_acts")
class AuthorizesWhatTheBrowserNames(GatewayProvider):
    """Looks at the order that the payload names, whoever has paid it."""

    fix = "ask the gateway about this session"

    @hookimpl
    def authorize(self, session, operation):
        named = operation.payload.get("order") or session.reference
        return super().authorize(replace(session, reference=named), operation)


@breaks("test_nothing_is_authorized_before_the_payer_acts")
class WaitsForThePayer(GatewayProvider):
    fix = "look once"

    @hookimpl
    def authorize(self, session, operation):
        threading.Event().wait(self.capabilities.call_limit.total_seconds() + 0.2)
        return super().authorize(session, operation)


@breaks("test_nothing_is_authorized_before_the_payer_acts")
class BelievesThePayer(GatewayProvider):
    @hookimpl
    def authorize(self, session, operation):
        super().authorize(session, operation)
        return Outcome.authorized(amount=session.amount)


@breaks("test_a_payer_who_declines_is_told_so")
class DeclineAsTryAgain(GatewayProvider):
    @hookimpl
    def authorize(self, session, operation):
        try:
            return super().authorize(session, operation)
        except Declined:
            return Outcome.requires_more(next_action=Redirect("https://gateway.example/pay"))


@breaks("test_a_session_is_canceled_before_and_after_authorization")
class CancelsInWordsOnly(GatewayProvider):
    @hookimpl
    def cancel(self, session, operation):
        return Outcome.canceled()


class PaidInTheBrowser(GatewayCounterpart):
    """A gateway that authorizes by itself once the payer has approved."""

    def approve(self, session):
        self.gateway.payer(session.id, "confirm")


@breaks("test_a_session_is_canceled_before_and_after_authorization", counterpart=PaidInTheBrowser)
class CancelsTheUnpaidInWordsOnly(GatewayProvider):
    fix = "cancel the object at the gateway"

    @hookimpl
    def cancel(self, session, operation):
        return super().cancel(session, operation) if session.authorized else Outcome.canceled()


class CapturesByItselfLater(GatewayCounterpart):
    """A gateway that accepts the capture of an automatic order with its authorization, and finishes later."""

    def approve(self, session):
        self.gateway.payer(session.id, "confirm")
        if session.capture == "automatic":
            told = {"amount": session.amount.minor}
            self.gateway.request(f"orders/{session.reference}/capture", "", told, slow=True)


@breaks("test_an_automatic_session_is_captured", counterpart=CapturesByItselfLater)
class AcceptedAsCaptured(GatewayProvider):
    @hookimpl
    def authorize(self, session, operation):
        outcome = super().authorize(session, operation)
        return Outcome.captured(outcome.amount) if session.capture == "automatic" else outcome


class CannotCancel(PaidInTheBrowser):
    cannot = {"cancel": "what nobody paid for expires by itself"}


@breaks("test_a_session_is_canceled_before_and_after_authorization", counterpart=CannotCancel)
class CancelsWhatCannotBe(CancelsTheUnpaidInWordsOnly):
    fix = "raise Declined"


@breaks("test_a_session_is_canceled_before_and_after_authorization")
class CancelUnderAnotherReference(GatewayProvider):
    fix = "leave reference= out"

    @hookimpl
    def cancel(self, session, operation):
        return replace_(super().cancel(session, operation), reference="cancel_1")


@breaks("test_two_captures_of_one_amount_are_two", "test_what_was_refused_can_be_tried_again[capture]")
class OneKeyForAllCaptures(GatewayProvider):
    @hookimpl
    def capture(self, session, operation):
        return super().capture(session, replace(operation, id=f"{session.id}-capture"))


# --- the truth --------------------------------------------------------------------------------------


@breaks("test_retrieve_tells_what_happened")
class EffectsNotTold(GatewayProvider):
    @hookimpl
    def retrieve(self, session):
        snapshot = super().retrieve(session)
        return snapshot_(snapshot, captured=None, refunded=None, effects=()) if snapshot.status else snapshot


def slow():
    """A gateway that finishes captures and refunds later."""
    return GatewayCounterpart(slow=True)


@breaks("test_what_was_accepted_can_still_fail[refund]", counterpart=slow)
class FailureNotTold(GatewayProvider):
    @hookimpl
    def retrieve(self, session):
        snapshot = super().retrieve(session)
        if snapshot.status is None:
            return snapshot
        effects = [effect for effect in snapshot.effects if effect.state != "failed"]
        return snapshot_(snapshot, effects=effects)


@breaks("test_what_was_refused_can_be_tried_again[refund]")
class RefusalAsUnknown(GatewayProvider):
    @hookimpl
    def refund(self, session, operation):
        try:
            return super().refund(session, operation)
        except Declined as error:
            raise OutcomeUnknown(error.message) from None


@breaks("test_a_lookup_changes_nothing[manual]", "test_a_lookup_changes_nothing[automatic]")
class AuthorizesInALookup(GatewayProvider):
    fix = "in their own hooks"

    @hookimpl
    def retrieve(self, session):
        snapshot = super().retrieve(session)
        if snapshot.ready:
            self._exchange("POST", f"orders/{session.reference}/authorize", "{}", None)
        return snapshot


@breaks("test_a_lookup_changes_nothing[automatic]")
class ReleasesInALookup(GatewayProvider):
    """Cancels, when it is asked, the rest of what was captured in part or refunded."""

    @hookimpl
    def retrieve(self, session):
        snapshot = super().retrieve(session)
        if snapshot.refunded and snapshot.refunded.minor:
            self._exchange("POST", f"orders/{session.reference}/cancel", "{}", None)
        return snapshot


@breaks("test_retrieve_tells_what_happened")
class LastRefundAsTotal(GatewayProvider):
    @hookimpl
    def retrieve(self, session):
        snapshot = super().retrieve(session)
        return snapshot_(snapshot, captured=None, refunded=snapshot.captured) if snapshot.status else snapshot


@breaks("test_a_session_that_the_gateway_does_not_know_is_absent")
class NotFoundAsUnknown(GatewayProvider):
    @hookimpl
    def retrieve(self, session):
        snapshot = super().retrieve(session)
        if snapshot.status is None:
            raise OutcomeUnknown("no such order")
        return snapshot


@breaks("test_a_payer_who_never_returns_is_no_lost_sale", "test_a_notification_brings_the_ledger_up_to_date")
class ReadyNotTold(GatewayProvider):
    @hookimpl
    def retrieve(self, session):
        snapshot = super().retrieve(session)
        return snapshot_(snapshot, ready=False)


@breaks("test_a_refund_in_the_dashboard_is_booked")
class OnlyOurOwnEffects(GatewayProvider):
    @hookimpl
    def retrieve(self, session):
        snapshot = super().retrieve(session)
        if snapshot.status is None:
            return snapshot
        ours = [effect for effect in snapshot.effects if effect.key]
        return snapshot_(snapshot, effects=ours, captured=None, refunded=None)


@breaks(
    "test_a_failed_lookup_proves_nothing[500_before]",
    "test_a_failed_lookup_proves_nothing[html]",
)
class FailedLookupAsAbsent(GatewayProvider):
    @hookimpl
    def retrieve(self, session):
        try:
            return super().retrieve(session)
        except NotApplied:
            return Snapshot.absent()


# --- sorting ----------------------------------------------------------------------------------------


class Disputing(GatewayProvider):
    """Shows disputes in its own way."""

    def shown(self, effect):
        return effect

    @hookimpl
    def retrieve(self, session):
        snapshot = super().retrieve(session)
        if snapshot.status is None:
            return snapshot
        effects = [
            self.shown(effect) if effect.kind == "chargeback" else effect for effect in snapshot.effects
        ]
        return snapshot_(snapshot, effects=effects)


@breaks("test_a_dispute_takes_nothing_while_it_is_open")
class OpenDisputeAsLost(Disputing):
    fix = "in the state pending"

    def shown(self, effect):
        return evolve(effect, state="succeeded")


@breaks("test_a_dispute_takes_nothing_while_it_is_open")
class WonDisputeAsOpen(Disputing):
    def shown(self, effect):
        return evolve(effect, state="pending")


class Missorting(GatewayProvider):
    """Sorts what is not known as something else."""

    def sort(self, error):
        return error

    def _post(self, path, operation, **body):
        try:
            return super()._post(path, operation, **body)
        except (OutcomeUnknown, NotApplied) as error:
            raise self.sort(error) from None


@breaks("test_a_refused_connection_is_not_applied[capture]")
class RefusedAsUnknown(Missorting):
    def sort(self, error):
        return OutcomeUnknown(error.message) if "reached" in error.message else error


@breaks("test_a_timeout_is_unknown_and_in_time[capture]")
class TimeoutAsDeclined(Missorting):
    def sort(self, error):
        return Declined("timeout") if "Timeout" in error.message else error


@breaks(
    "test_a_key_that_is_refused_is_no_decline[capture-401]",
    "test_a_key_that_is_refused_is_no_decline[initiate-401]",
)
class WrongKeyAsDeclined(Missorting):
    def sort(self, error):
        return Declined("unauthorized") if "did not take" in error.message else error


@breaks("test_a_key_that_is_refused_is_no_decline[refund-403]")
class ForbiddenAsDeclined(Missorting):
    def sort(self, error):
        return Declined("forbidden") if "403" in error.message else error


@breaks("test_a_key_that_is_refused_is_no_decline[capture-401]")
class StopsAfterAWrongKey(Missorting):
    """Sends nothing more once the key was refused."""

    fix = "keep nothing of a refused key"

    def sort(self, error):
        if "did not take" in error.message:
            self._connect = _refuse
            self.close()
        return error


def _refuse(host, port, timeout):
    raise ConnectionRefusedError


@breaks(
    "test_what_may_have_happened_is_unknown[capture-reset]",
    "test_what_may_have_happened_is_unknown[authorize-drop_after]",
    "test_doubt_is_settled_with_one_effect[capture-drop_after]",
)
class LostConnectionAsNotApplied(Missorting):
    def sort(self, error):
        return NotApplied(error.message) if "no answer" in error.message else error


@breaks(
    "test_what_may_have_happened_is_unknown[refund-500_after]",
    "test_what_may_have_happened_is_unknown[capture-503_html]",
    "test_doubt_is_settled_with_one_effect[capture-500_after]",
)
class ServerErrorAsDeclined(Missorting):
    def sort(self, error):
        return Declined("failed") if "answered 5" in error.message else error


@breaks(
    "test_what_may_have_happened_is_unknown[capture-html]",
    "test_what_may_have_happened_is_unknown[capture-empty]",
    "test_what_may_have_happened_is_unknown[capture-list]",
)
class UnreadableAsSuccess(GatewayProvider):
    @hookimpl
    def capture(self, session, operation):
        try:
            return super().capture(session, operation)
        except OutcomeUnknown as error:
            if "answered 200" in error.message:
                return Outcome.captured(operation.amount)
            raise


@breaks(
    "test_come_back_later_is_no_decline[capture-429]",
    "test_come_back_later_is_no_decline[capture-409]",
    "test_a_refusal_for_the_objects_state_is_no_decline[capture]",
    "test_a_refusal_for_the_objects_state_is_no_decline[refund]",
    "test_a_refusal_for_the_objects_state_is_no_decline[cancel]",
)
class EveryRefusalAsDeclined(Missorting):
    def sort(self, error):
        return Declined("refused") if any(f"{s}" in error.message for s in (" 409", "429")) else error

    def _post(self, path, operation, **body):
        try:
            return super()._post(path, operation, **body)
        except NotApplied as error:
            if "did not take" in error.message:
                raise Declined("refused") from None
            raise


@breaks(
    "test_a_wrong_amount_is_not_believed[capture-wrong_amount]",
    "test_a_wrong_amount_is_not_believed[refund-wrong_currency]",
)
class RepeatsWhatWasAsked(GatewayProvider):
    @hookimpl
    def capture(self, session, operation):
        return replace_(super().capture(session, operation), amount=operation.amount)

    @hookimpl
    def refund(self, session, operation):
        return replace_(super().refund(session, operation), amount=operation.amount)


@breaks("test_an_unknown_status_is_not_believed[authorize]", "test_an_unknown_status_is_not_believed[refund]")
class TwoStatusesOnly(GatewayProvider):
    @hookimpl
    def authorize(self, session, operation):
        told = self._post(f"orders/{session.reference}/authorize", operation)
        if told["status"] == "declined":
            raise Declined("declined")
        return Outcome.authorized(amount=Money.from_minor(told["authorized"], told["currency"]))

    @hookimpl
    def refund(self, session, operation):
        told = self._post(f"orders/{session.reference}/refund", operation, amount=operation.amount.minor)
        if told["status"] != "refunded":
            raise Declined(told["status"])
        amount = Money.from_minor(told["amount"], told["currency"])
        return Outcome.refunded(amount, reference=told["reference"])


@breaks("test_a_timeout_is_unknown_and_in_time[capture]")
class NoTimeout(GatewayProvider):
    def __init__(self, url, *, timeout, **options):
        super().__init__(url, timeout=30, **options)


@breaks("test_a_timeout_is_unknown_and_in_time[refund]")
class LimitTooShort(GatewayProvider):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.capabilities = Capabilities(
            capture="multiple",
            refund="multiple",
            replay_window=self.capabilities.replay_window,
            lookup="consistent",
            call_limit=self.capabilities.call_limit / 8,
        )


# --- connections ------------------------------------------------------------------------------------


@breaks(
    "test_a_redirect_is_not_followed[capture-302]",
    "test_a_redirect_is_not_followed[retrieve-302]",
)
class FollowsRedirects(GatewayProvider):
    """As an HTTP client does by default: a 302 is followed by a GET, with the credentials."""

    fix = "follow no redirects"
    again = (302,)

    def _connect_and_ask(self, method, path, body, headers):
        connection = self._connect(self._host, self._port, self._timeout)
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        answer = reply.status, reply.read()
        connection.close()
        if reply.status not in self.again:
            return answer
        place = urlsplit(reply.headers["Location"])
        self._host, self._port = place.hostname, place.port
        method, body = ("GET", None) if reply.status == 302 else (method, body)
        return self._connect_and_ask(method, place.path, body, headers)

    def _exchange(self, method, path, body, key):
        headers = {"Authorization": f"Bearer {self._api_key.reveal()}", "Idempotency-Key": key or "none"}
        try:
            return self._connect_and_ask(method, f"{self._path}/{path}", body, headers)
        except ConnectionRefusedError:
            raise NotApplied("the gateway cannot be reached") from None
        except (OSError, http.client.HTTPException) as error:
            raise OutcomeUnknown(f"no answer: {error}") from None


@breaks(
    "test_a_redirect_is_not_followed[capture-307]",
    "test_a_redirect_is_not_followed[initiate-307]",
)
class RepeatsAtAnotherHost(FollowsRedirects):
    """As an HTTP client does by default: a POST that is redirected with 307 is repeated there."""

    again = (307,)


@breaks("test_a_redirect_is_not_followed[refund-302]")
class RedirectAsDeclined(Missorting):
    fix = "an answer that cannot be read"

    def sort(self, error):
        return Declined("moved") if "answered 30" in error.message else error


@breaks("test_a_netrc_file_changes_nothing")
class AsksNetrc(GatewayProvider):
    """As a session of requests does by default."""

    fix = "trust_env"

    def _exchange(self, method, path, body, key):
        found = netrc.netrc(os.environ["NETRC"]).authenticators(self._host) if "NETRC" in os.environ else None
        if found is None:
            return super()._exchange(method, path, body, key)
        login, _, password = found
        basic = b64encode(f"{login}:{password}".encode()).decode()
        connection = self._connect(self._host, self._port, self._timeout)
        connection.request(method, f"{self._path}/{path}", body, {"Authorization": f"Basic {basic}"})
        reply = connection.getresponse()
        answer = reply.status, reply.read()
        connection.close()
        return answer


def unbounded(host, port, timeout):
    return http.client.HTTPConnection(host, port, timeout=timeout)


@breaks(
    "test_an_answer_that_drips_ends_in_time[capture]",
    "test_an_answer_that_drips_ends_in_time[retrieve]",
)
class TimeoutForEachByte(GatewayProvider):
    """A timeout as a socket has it; a long one, so that a busy machine does not keep it."""

    fix = "the time of the whole answer"

    def __init__(self, url, *, timeout, **options):
        super().__init__(url, timeout=5, connect=unbounded, **options)


@breaks("test_a_huge_answer_is_not_read[capture]", "test_a_huge_answer_is_not_read[retrieve]")
class ReadsEverything(GatewayProvider):
    fix = "a few megabytes"

    def __init__(self, url, *, timeout, **options):
        super().__init__(url, timeout=5, connect=unbounded, **options)


# --- doubt ------------------------------------------------------------------------------------------


@breaks(
    "test_every_write_carries_the_operations_key[capture]",
    "test_every_write_carries_the_operations_key[initiate]",
    "test_a_repetition_carries_the_same_key[refund]",
    "test_the_same_operation_twice_has_one_effect[capture]",
)
class KeyNotSent(GatewayProvider):
    def _exchange(self, method, path, body, key):
        return super()._exchange(method, path, body, None)


@breaks(
    "test_a_repetition_carries_the_same_key[capture]",
    "test_the_same_operation_twice_has_one_effect[refund]",
)
class RandomKey(GatewayProvider):
    def _exchange(self, method, path, body, key):
        return super()._exchange(method, path, body, key and secrets.token_hex(8))


@breaks("test_a_repetition_carries_the_same_key[refund]")
class RepetitionDiffers(GatewayProvider):
    def _post(self, path, operation, **body):
        return super()._post(path, operation, **body, sent=time.time_ns())


@breaks("test_the_same_call_in_many_threads_has_one_effect[capture]")
class RetriesUnderAnotherKey(GatewayProvider):
    @hookimpl
    def capture(self, session, operation):
        half = replace(operation, amount=Money.from_minor(operation.amount.minor // 2, "EUR"))
        super().capture(session, half)
        super().capture(session, replace(half, id=operation.subkey("again")))
        return Outcome.captured(operation.amount)


@breaks(
    "test_after_the_key_expired_it_is_only_looked_up[capture-after]",
    "test_a_crash_is_recovered_with_one_effect[refund-before]",
)
class CannotBeAsked(GatewayProvider):
    @hookimpl
    def retrieve(self, session, operation):
        if operation is not None:
            raise OutcomeUnknown("it cannot be told")
        return super().retrieve(session)


@breaks("test_one_provider_serves_many_threads")
class KeepsTheCallInItself(GatewayProvider):
    @hookimpl
    def initiate(self, session, operation):
        self.session = session
        time.sleep(0.02)
        return super().initiate(replace(session, amount=self.session.amount), operation)


# --- notifications ----------------------------------------------------------------------------------


@breaks("test_a_notification_brings_the_ledger_up_to_date")
class NotificationWithoutIds(GatewayProvider):
    @hookimpl
    def parse_webhook(self, headers, body):
        return [WebhookEvent(event.id, event.type) for event in super().parse_webhook(headers, body)]


@breaks("test_a_notification_brings_the_ledger_up_to_date")
class NotificationOfAnotherPayment(GatewayProvider):
    fix = "what retrieve reports as reference"

    @hookimpl
    def parse_webhook(self, headers, body):
        return [
            replace(event, payment=f"{event.payment}-1") for event in super().parse_webhook(headers, body)
        ]


@breaks(
    "test_an_old_notification_does_not_turn_back_time", "test_a_notification_after_the_end_changes_nothing"
)
class BelievesNotifications(GatewayProvider):
    told = None

    @hookimpl
    def parse_webhook(self, headers, body):
        self.told = json.loads(body)["type"]
        return super().parse_webhook(headers, body)

    @hookimpl
    def retrieve(self, session):
        snapshot = super().retrieve(session)
        if self.told == "create.succeeded":
            return snapshot_(snapshot, status=Status.REQUIRES_MORE, ready=False)
        return snapshot


@breaks("test_a_duplicate_changes_nothing")
class OneIdForAllOfAnOrder(GatewayProvider):
    fix = "the id of the notification"

    @hookimpl
    def parse_webhook(self, headers, body):
        return [
            WebhookEvent(event.session_id, event.type, session_id=event.session_id)
            for event in super().parse_webhook(headers, body)
        ]


@breaks("test_a_duplicate_changes_nothing")
class RejectsRepetitions(GatewayProvider):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.seen = set()

    @hookimpl
    def parse_webhook(self, headers, body):
        if body in self.seen:
            raise WebhookRejected("it came before")
        self.seen.add(body)
        return super().parse_webhook(headers, body)


@breaks("test_somebody_elses_notification_is_acknowledged")
class RejectsStrangers(GatewayProvider):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.mine = set()

    @hookimpl
    def initiate(self, session, operation):
        self.mine.add(session.id)
        return super().initiate(session, operation)

    @hookimpl
    def parse_webhook(self, headers, body):
        events = super().parse_webhook(headers, body)
        if any(event.session_id not in self.mine for event in events):
            raise WebhookRejected("not ours")
        return events


@breaks("test_a_plain_reference_of_another_shop_is_acknowledged")
class RejectsWhatIsNoIdOfOurs(GatewayProvider):
    fix = "only for what cannot be trusted or read"

    @hookimpl
    def parse_webhook(self, headers, body):
        events = super().parse_webhook(headers, body)
        if not all(str(event.session_id).startswith("ps_") for event in events):
            raise WebhookRejected("not ours")
        return events


class Forgetful(GatewayProvider):
    """Leaves something out of the order."""

    forgets = ""

    def _post(self, path, operation, **body):
        return super()._post(path, operation, **{k: v for k, v in body.items() if k != self.forgets})


@breaks("test_the_gateway_hears_where_to_notify")
class NoAddressForNotifications(Forgetful):
    forgets, fix = "webhook_url", "send operation.webhook_url"


@breaks("test_the_payer_is_sent_back_to_the_shop")
class NoWayBack(Forgetful):
    forgets, fix = "return_url", "send session.checkout.return_url"


class Trusting(GatewayProvider):
    """Reads notifications without looking at the signature."""

    @hookimpl
    def parse_webhook(self, headers, body):
        told = _read(body)
        if told is None or "id" not in told:
            raise WebhookRejected("it cannot be read")
        return [WebhookEvent(told["id"], told["type"], session_id=told["ours"])]


@breaks(
    "test_a_forged_notification_is_rejected[body]",
    "test_a_forged_notification_is_rejected[signature]",
    "test_a_forged_notification_is_rejected[no signature]",
    "test_a_forged_notification_is_rejected[made up]",
    "test_a_notification_of_another_time_is_rejected[stale]",
    "test_without_a_webhook_secret_nothing_is_accepted",
)
class NotificationsNotVerified(Trusting):
    pass


class Unsigned(GatewayCounterpart):
    cannot = {"sign": "notifications name a payment and nothing else", "date": "as above"}


@breaks("test_what_nobody_can_verify_is_declared", counterpart=Unsigned)
class UnsignedNotDeclared(Trusting):
    fix = "unsigned_webhooks=True"


@breaks("test_what_nobody_can_verify_is_declared", counterpart=Unsigned)
class UnsignedAndUnknownIsRejected(Trusting):
    fix = "raise nothing"

    def __init__(self, url, **options):
        super().__init__(url, **options)
        self.capabilities = evolve(self.capabilities, unsigned_webhooks=True)
        self.ours = set()

    @hookimpl
    def initiate(self, session, operation):
        self.ours.add(session.id)
        return super().initiate(session, operation)

    @hookimpl
    def parse_webhook(self, headers, body):
        events = super().parse_webhook(headers, body)
        if events[0].session_id not in self.ours:
            raise WebhookRejected("not ours")
        return events


@breaks("test_a_notification_of_another_time_is_rejected[future]")
class FutureAccepted(GatewayProvider):
    @hookimpl
    def parse_webhook(self, headers, body):
        at = int(headers["gateway-signature"].partition(",")[0][2:])
        self._clock = lambda: max(at, time.time()) if at > time.time() else time.time()
        return super().parse_webhook(headers, body)


@breaks("test_a_notification_that_cannot_be_read_is_rejected[not json]")
class UnreadableAsFault(GatewayProvider):
    @hookimpl
    def parse_webhook(self, headers, body):
        json.loads(body)
        return super().parse_webhook(headers, body)


@breaks("test_without_a_webhook_secret_nothing_is_accepted")
class NoSecretNoCheck(GatewayProvider):
    @hookimpl
    def parse_webhook(self, headers, body):
        if self._webhook_secret is None:
            return Trusting.parse_webhook(self, headers, body)
        return super().parse_webhook(headers, body)


@breaks(
    "test_a_signature_that_was_cut_short_is_rejected[half]",
    "test_a_signature_that_was_cut_short_is_rejected[nothing]",
)
class ComparesWhatIsThere(GatewayProvider):
    """Compares as many characters of the signature as were sent."""

    fix = "compare the whole signature"

    @hookimpl
    def parse_webhook(self, headers, body):
        at, _, given = headers["gateway-signature"].partition(",v1=")
        secret = self._webhook_secret.reveal().encode()
        expected = hmac.new(secret, at[2:].encode() + b"." + body, hashlib.sha256).hexdigest()
        whole = expected if expected.startswith(given) else given
        return super().parse_webhook({**headers, "gateway-signature": f"{at},v1={whole}"}, body)


class EmptySecret:
    """A setting that was not given, and is used all the same."""

    def reveal(self):
        return ""


@breaks("test_a_signature_under_an_empty_secret_is_rejected")
class VerifiesWithAnEmptySecret(GatewayProvider):
    fix = "before a signature is computed"

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._webhook_secret = self._webhook_secret or EmptySecret()


# --- secrets ----------------------------------------------------------------------------------------


@breaks("test_secrets_stay_out_of_reprs")
class SecretInRepr(GatewayProvider):
    def __repr__(self):
        return f"SecretInRepr({self._api_key.reveal()!r})"


@breaks("test_secrets_stay_out_of_logs")
class SecretInLog(GatewayProvider):
    def _exchange(self, method, path, body, key):
        logging.getLogger("sdk").debug("%s %s with %s", method, path, self._api_key.reveal())
        return super()._exchange(method, path, body, key)


@breaks("test_secrets_stay_out_of_errors")
class SecretInError(GatewayProvider):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._plain = self._api_key.reveal()
        self._api_key = _Revealing(self._plain)

    def _exchange(self, method, path, body, key):
        status, text = super()._exchange(method, path, body, key)
        if status != 200:
            raise OutcomeUnknown(f"{method} {path} with {self._plain}: {status}")
        return status, text


@frozen
class _Revealing:
    """A setting that is no `Secret`, so that nobody knows to hide it."""

    value: str

    def reveal(self):
        return self.value


@breaks("test_secrets_stay_out_of_addresses")
class SecretInAddress(GatewayProvider):
    fix = "send it in a header"

    def _exchange(self, method, path, body, key):
        return super()._exchange(method, f"{path}?api_key={self._api_key.reveal()}", body, key)


@breaks("test_secrets_stay_out_of_the_ledger")
class SecretInData(GatewayProvider):
    @hookimpl
    def initiate(self, session, operation):
        outcome = super().initiate(session, operation)
        return replace_(outcome, data={"key": self._api_key.reveal()})


# --- the package ------------------------------------------------------------------------------------


@breaks("test_close_lets_go_of_connections")
class NeverCloses(GatewayProvider):
    @hookimpl
    def close(self):
        pass

    def __del__(self):
        super().close()
