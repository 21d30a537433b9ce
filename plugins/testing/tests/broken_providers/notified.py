"""A provider for a gateway that reports by notification only, with one mistake each: Adyen, of the examples."""

import json
import sys
from datetime import timedelta
from pathlib import Path

from attrs import evolve
from providers import BROKEN

from paysession.hooks import hookimpl
from paysession.provider import Capabilities, Effect, Outcome, OutcomeUnknown, WebhookRejected
from paysession.values import replace

EXAMPLE = Path(__file__).resolve().parents[4] / "docs/examples/adyen"
sys.path += [str(EXAMPLE / "src"), str(EXAMPLE / "tests")]

from fake_adyen import ACCOUNT, API_KEY, EXPONENTS, HMAC_KEY, FakeAdyen  # noqa: E402
from paysession_adyen import Adyen  # noqa: E402


def breaks(*tests, counterpart=FakeAdyen, fix="fix:"):
    """Register a subclass of `Adyen` with the tests that find its mistake."""

    def register(provider):
        def made(cls, url, api_key="", timeout=0.3, webhook_secret=HMAC_KEY):
            del cls, api_key
            return provider(
                api_key=API_KEY,
                merchant_account=ACCOUNT,
                webhook_hmac_key=webhook_secret or "",
                api_base=url,
                timeout=timeout,
            )

        maker = type(provider.__name__, (), {"__new__": made, "fix": fix})
        BROKEN[provider.__name__] = (maker, counterpart, tests)
        return provider

    return register


# --- amounts ------------------------------------------------------------------------------------------


@breaks("test_amounts_are_right_in_every_currency", fix="declare Capabilities(currency_exponents=...)")
class IsoDecimals(Adyen):
    @property
    def capabilities(self):
        return Capabilities(
            capture="once",
            refund="multiple",
            replay_window=timedelta(days=7),
            call_limit=timedelta(seconds=2),
        )


@breaks("test_amounts_are_right_in_every_currency", fix="send what capabilities.minor(amount) returns")
class DecimalsDeclaredAndNotUsed(Adyen):
    def _amount(self, money):
        return {"currency": money.currency, "value": money.minor}


# --- signatures ---------------------------------------------------------------------------------------


@breaks(
    "test_a_forged_notification_is_rejected[body]",
    "test_a_forged_notification_is_rejected[signature]",
    "test_a_forged_notification_is_rejected[no signature]",
    "test_a_forged_notification_is_rejected[made up]",
)
class SignatureNotChecked(Adyen):
    def _is_signed(self, item):
        return True


@breaks("test_each_item_of_a_request_is_verified", fix="verify the signature of each item")
class FirstItemVerified(Adyen):
    def _is_signed(self, item):
        first = self.__dict__.setdefault("first", [])
        first.append(item)
        return len(first) > 1 or super()._is_signed(item)


@breaks("test_without_a_webhook_secret_nothing_is_accepted", fix="raise WebhookRejected if no secret")
class NoSecretAcceptsAll(Adyen):
    def _is_signed(self, item):
        return not self.webhook_hmac_key or super()._is_signed(item)


@breaks("test_several_notifications_in_one_request_all_count")
class FirstItemRead(Adyen):
    @hookimpl
    def parse_webhook(self, headers, body):
        return super().parse_webhook(headers, body)[:1]


@breaks("test_a_notification_for_another_account_changes_nothing", fix="compare the account")
class AnyAccount(Adyen):
    def _understood(self, item):
        return self._event(item)


@breaks("test_somebody_elses_notification_is_acknowledged")
class OnlyOurs(Adyen):
    @hookimpl
    def parse_webhook(self, headers, body):
        events = super().parse_webhook(headers, body)
        if any(event.session_id not in self.__dict__.setdefault("made", []) for event in events):
            raise WebhookRejected("it is not ours")
        return events

    @hookimpl
    def initiate(self, session, operation):
        self.__dict__.setdefault("made", []).append(session.id)
        return super().initiate(session, operation)


# --- received is not done -----------------------------------------------------------------------------


@breaks("test_a_life_leaves_the_ledger_as_the_gateway_has_it", fix="answer Outcome.pending(reference=...)")
class ReceivedIsCaptured(Adyen):
    @hookimpl
    def capture(self, session, operation):
        return Outcome.captured(operation.amount, reference=super().capture(session, operation).reference)


@breaks("test_a_life_leaves_the_ledger_as_the_gateway_has_it", fix="answer Outcome.pending(reference=...)")
class ReceivedIsRefunded(Adyen):
    @hookimpl
    def refund(self, session, operation):
        return Outcome.refunded(operation.amount, reference=super().refund(session, operation).reference)


@breaks(
    "test_a_session_is_canceled_before_and_after_authorization", fix="answer Outcome.pending(reference=...)"
)
class ReceivedIsCanceled(Adyen):
    @hookimpl
    def cancel(self, session, operation):
        super().cancel(session, operation)
        return Outcome.canceled()


# --- what a notification says -------------------------------------------------------------------------


class Reading(Adyen):
    """Reads of an item what `read` makes of it."""

    def read(self, item):
        return item

    def _effects(self, item):
        item = self.read(item)
        return super()._effects(item) if item is not None else []


@breaks("test_a_payer_who_declines_is_told_so", "test_what_was_accepted_can_still_fail[capture]")
class SuccessNotRead(Reading):
    def read(self, item):
        return {**item, "success": "true"}


@breaks("test_a_payer_who_declines_is_told_so", fix="an Effect of kind authorize in the state failed")
class RefusalIgnored(Reading):
    def read(self, item):
        return None if item["eventCode"] == "AUTHORISATION" and item["success"] == "false" else item


@breaks(
    "test_what_was_accepted_can_still_fail[capture]",
    "test_what_was_accepted_can_still_fail[refund]",
    "test_a_failure_may_overtake_the_answer[capture]",
    "test_a_failure_may_overtake_the_answer[refund]",
)
class FailureIgnored(Reading):
    def read(self, item):
        return None if item["success"] == "false" else item


@breaks("test_what_succeeded_can_still_be_undone[capture]", "test_what_succeeded_can_still_be_undone[refund]")
class FailedLaterIgnored(Reading):
    def read(self, item):
        return None if item["eventCode"].endswith("_FAILED") else item


@breaks(
    "test_what_succeeded_can_still_be_undone[capture]",
    "test_what_succeeded_can_still_be_undone[refund]",
    fix="with the reference of the one that succeeded",
)
class FailedLaterIsNew(Reading):
    def _effects(self, item):
        if not item["eventCode"].endswith("_FAILED"):
            return super()._effects(item)
        return [
            Effect(row.kind, row.amount, row.state, f"{row.reference} {item['eventCode']}", "")
            for row in super()._effects(item)
        ]


@breaks("test_a_failure_may_overtake_the_answer[capture]", "test_a_failure_may_overtake_the_answer[refund]")
class UnderAnotherKey(Reading):
    def _effects(self, item):
        return [replace(row, key=f"{row.key}-again") if row.key else row for row in super()._effects(item)]


@breaks("test_a_life_leaves_the_ledger_as_the_gateway_has_it", fix="declare keyed_effects=False")
class DeclaresKeysThatItNeverReports(Reading):
    @property
    def capabilities(self):
        return evolve(super().capabilities, keyed_effects=True)

    def _effects(self, item):
        return [replace(row, key=None) for row in super()._effects(item)]


@breaks("test_a_life_leaves_the_ledger_as_the_gateway_has_it", fix="as Effect.reference, or operation.key")
class ReportsWithoutAName(Reading):
    @hookimpl
    def capture(self, session, operation):
        super().capture(session, operation)
        return Outcome.pending()

    @hookimpl
    def refund(self, session, operation):
        super().refund(session, operation)
        return Outcome.pending()

    def _effects(self, item):
        return [
            row if row.kind == "authorize" else replace(row, key=None, reference=None)
            for row in super()._effects(item)
        ]


class Told(Adyen):
    """Hands on of a notification what `told` makes of it."""

    def told(self, event):
        return event

    def _event(self, item):
        event = super()._event(item)
        return self.told(event) if event is not None else None


@breaks("test_a_life_leaves_the_ledger_as_the_gateway_has_it", fix="give each notification an id of its own")
class IdOfThePayment(Told):
    def told(self, event):
        return replace(event, id=event.references[0])


@breaks(
    "test_what_a_notification_authorized_is_captured_by_another_process",
    "test_a_life_goes_on_in_another_process",
    fix="keep",
)
class KeptInTheProcess(Told):
    def told(self, event):
        self.__dict__.setdefault("payments", {}).setdefault(event.session_id, event.references[0])
        effects = [replace(row, reference=None) if row.kind == "authorize" else row for row in event.effects]
        return replace(event, reference=None, effects=tuple(effects))

    def _modify(self, what, session, operation):
        known = self.__dict__.get("payments", {}).get(session.id)
        return super()._modify(what, replace(session, reference=known), operation)

    @hookimpl
    def cancel(self, session, operation):
        self._modify("cancels", session, operation)
        return Outcome.pending()


@breaks(
    "test_a_payer_who_never_returns_is_no_lost_sale", "test_what_others_do_at_the_gateway_is_booked[cancel]"
)
class OnlyWhatWeAskedFor(Told):
    def told(self, event):
        ours = tuple(row for row in event.effects if row.key is not None)
        return replace(event, effects=ours) if ours else None


@breaks(
    "test_a_refund_in_the_dashboard_is_booked", "test_what_others_do_at_the_gateway_is_booked[chargeback]"
)
class NothingOfOthers(Told):
    def told(self, event):
        kept = tuple(row for row in event.effects if row.kind in ("authorize", "capture", "cancel"))
        return replace(event, effects=kept) if kept else None


@breaks("test_a_payer_who_is_forgotten_can_still_be_refunded", fix="not by `data`")
class NeedsItsData(Told):
    def told(self, event):
        return replace(event, data=json.dumps({"payment": event.references[0]}))

    def _modify(self, what, session, operation):
        return super()._modify(what, replace(session, reference=session.data["payment"]), operation)


# --- requests -----------------------------------------------------------------------------------------


@breaks("test_nothing_is_authorized_before_the_payer_acts", fix="ask the gateway about this session")
class TrustsTheBrowser(Adyen):
    @hookimpl
    def authorize(self, session, operation):
        if operation.payload.get("resultCode") == "Authorised":
            return Outcome.authorized()
        return super().authorize(session)


@breaks(
    "test_what_was_refused_can_be_tried_again[capture]",
    "test_what_was_refused_can_be_tried_again[refund]",
    fix="sort 422",
)
class RefusalIsUnknown(Adyen):
    def _write(self, path, body, operation):
        try:
            return super()._write(path, body, operation)
        except Exception as error:
            if "error 702" in str(error):
                raise OutcomeUnknown("Adyen answered 422") from None
            raise


@breaks("test_a_manual_session_is_not_captured_by_itself", fix="ask the gateway for a manual capture")
class CapturesAtOnce(Adyen):
    def _write(self, path, body, operation):
        return super()._write(path, {k: v for k, v in body.items() if k != "additionalData"}, operation)


class KeepsTheRest(FakeAdyen):
    """An account with multiple partial captures: what one leaves stays authorized."""

    def _left(self, payment):
        rows = [row for row in payment["modifications"] if row["state"] in ("succeeded", "reversed")]
        if payment["automatic"] or not payment["paid"] or any(row["kind"] == "cancel" for row in rows):
            return 0
        taken = sum(row["amount"]["value"] for row in rows if row["kind"] == "capture")
        return payment["amount"]["value"] - taken

    def _carry_out(self, payment, row):
        if row["kind"] == "cancel":
            row["amount"] = {**row["amount"], "value": self._left(payment)}
        super()._carry_out(payment, row)


class InParts(Adyen):
    @property
    def capabilities(self):
        return Capabilities(
            capture="multiple",
            refund="multiple",
            replay_window=timedelta(days=7),
            call_limit=timedelta(seconds=2),
            currency_exponents=EXPONENTS,
        )


@breaks(
    "test_a_final_capture_lets_go_of_the_rest",
    counterpart=KeepsTheRest,
    fix="only where the gateway releases the rest",
)
class SaysThatItReleases(InParts):
    @hookimpl
    def capture(self, session, operation):
        answer = super().capture(session, operation)
        return Outcome.pending(reference=answer.reference, released=operation.final)


@breaks("test_a_final_capture_lets_go_of_the_rest", counterpart=KeepsTheRest, fix="cancel the rest")
class ReleasesNothing(InParts):
    @hookimpl
    def cancel(self, session, operation):
        return Outcome.canceled()
