"""PayPal's refusals, in the words of its OpenAPI files (Apache License 2.0)."""
# ruff: noqa: E501 - sentences that are somebody else's are left whole

from __future__ import annotations

from typing import Any, Final

__all__ = ["Problem"]

_HEADS: Final = {
    400: ("INVALID_REQUEST", "Request is not well-formed, syntactically incorrect, or violates schema."),
    401: (
        "AUTHENTICATION_FAILURE",
        "Authentication failed due to missing authorization header, or invalid authentication credentials.",
    ),
    403: ("NOT_AUTHORIZED", "Authorization failed due to insufficient permissions."),
    404: ("RESOURCE_NOT_FOUND", "The specified resource does not exist."),
    409: ("RESOURCE_CONFLICT", "The server has detected a conflict while processing this request."),
    415: ("UNSUPPORTED_MEDIA_TYPE", "The request payload is not supported"),
    422: (
        "UNPROCESSABLE_ENTITY",
        "The requested action could not be performed, semantically incorrect, or failed business validation.",
    ),
    500: ("INTERNAL_SERVER_ERROR", "An internal server error occurred."),
    503: ("SERVICE_UNAVAILABLE", "Service Unavailable."),
}

_POSITIVE: Final = "Must be greater than zero. If the currency supports decimals, only two decimal place precision is supported."
_PRECISION: Final = "If the currency supports decimals, only two decimal place precision is supported."
_CURRENCY: Final = (
    "Currency code is invalid or is not currently supported. Please refer https://developer.paypal.com/"
    "{}reference/currency-codes/ for list of supported currency codes."
)
_INVOICE: Final = (
    "Duplicate Invoice ID detected. To avoid a potential duplicate transaction your account setting requires "
    "that Invoice Id be unique for each transaction."
)
_NOT_APPROVED: Final = (
    "Payer has not yet approved the Order for payment. Please redirect the payer to the 'rel':'approve' url "
    "returned as part of the HATEOAS links within the Create Order call"
)
_CANNOT_PAY: Final = (
    "Payer cannot pay for this transaction. Please contact the payer to find other ways to pay for this "
    "transaction."
)
_PAYER_ACTION: Final = "Transaction cannot complete successfully, instruct the buyer to return to PayPal."

_ORDERS: Final = {
    "CANNOT_BE_ZERO_OR_NEGATIVE": _POSITIVE,
    "DECIMAL_PRECISION": _PRECISION,
    "INVALID_CURRENCY_CODE": _CURRENCY.format("api/rest/"),
    "DUPLICATE_INVOICE_ID": _INVOICE,
    "PAYER_CANNOT_PAY": _CANNOT_PAY,
    "PAYER_ACTION_REQUIRED": _PAYER_ACTION,
    "TRANSACTION_REFUSED": "The request was refused.",
    "INSTRUMENT_DECLINED": (
        "The instrument presented  was either declined by the processor or bank, or it can't be used for "
        "this payment."
    ),
    "TOKEN_ID_NOT_FOUND": "Specified token was not found. Verify the token and try the request again.",
    "MISMATCHED_VAULT_ID_TO_PAYMENT_SOURCE": (
        "The vault_id does not match the payment_source provided. Please verify that the vault_id token used "
        "refers to the matching payment_source and try again. For example, a PayPal token cannot be passed in "
        "the vault_id field in the payment_source.card object."
    ),
    "ORDER_COMPLETE_ON_PAYMENT_APPROVAL": (
        "A processing_instruction of `ORDER_COMPLETE_ON_PAYMENT_APPROVAL` is required for the specified "
        "payment_source. Please refer to the integration guide https://developer.paypal.com/docs/"
        "limited-release/alternative-payment-methods-with-orders/ for more details"
    ),
    "UNSUPPORTED_INTENT_FOR_PAYMENT_SOURCE": (
        "`intent=AUTHORIZE` is not supported for the specified payment_source. Only `intent=CAPTURE` is "
        "supported."
    ),
    "ORDER_COMPLETION_IN_PROGRESS": (
        "The order was created with processing_instruction of ORDER_COMPLETE_ON_PAYMENT_APPROVAL. The customer "
        "has approved the payment and PayPal is still in the process of capturing the order on your behalf as "
        "instructed. Please try your request again."
    ),
    "ORDER_ALREADY_COMPLETED": "The order cannot be patched after it is completed.",
    "ITEM_TOTAL_REQUIRED": "If item details are specified (items.unit_amount and items.quantity) corresponding amount.breakdown.item_total is required.",
    "ITEM_TOTAL_MISMATCH": "Should equal sum of (unit_amount * quantity) across all items for a given purchase_unit.",
    "AMOUNT_MISMATCH": (
        "Should equal item_total + tax_total + shipping + handling + insurance - shipping_discount - discount."
    ),
    "AMOUNT_CHANGE_NOT_ALLOWED": "The amount specified is different from the amount authorized by payer.",
    "INVALID_PARAMETER": "Cannot be specified as part of the request.",
    "ACTION_DOES_NOT_MATCH_INTENT": (
        "Order was created with an intent to 'CAPTURE'. Please use v2/checkout/orders/order_id/capture to "
        "complete the transaction or alternately Create an order with an intent of 'AUTHORIZE'."
    ),
    "ORDER_NOT_APPROVED": f"{_NOT_APPROVED}.",
    "ORDER_ALREADY_AUTHORIZED": (
        "Order already authorized.If 'intent=AUTHORIZE' only one authorization per order is allowed."
    ),
    "ORDER_ALREADY_CAPTURED": "Order already captured.If 'intent=CAPTURE' only one capture per order is allowed.",
    "ORDER_EXPIRED": (
        "Order is expired and hence cannot be authorized. Please contact Customer Support if you need to "
        "increase your order validity period."
    ),
    "PAYPAL_REQUEST_ID_REQUIRED": (
        "A PayPal-Request-Id is required if you are trying to process payment for an Order. Please specify a "
        "PayPal-Request-Id or Create the Order without a 'payment_source' specified."
    ),
    "MALFORMED_REQUEST_JSON": "The request JSON is not well formed.",
}
_CAPTURE_ORDER: Final = {
    **_ORDERS,
    "ORDER_NOT_APPROVED": f"{_NOT_APPROVED} or provide a valid `payment_source` in the request.",
}
_CAPTURE: Final = {
    "CANNOT_BE_ZERO_OR_NEGATIVE": _POSITIVE,
    "DECIMAL_PRECISION": _PRECISION,
    "DECIMALS_NOT_SUPPORTED": (
        "Currency does not support decimals. Please refer to "
        "https://developer.paypal.com/docs/api/reference/currency-codes/ for more information."
    ),
    "INVALID_CURRENCY_CODE": _CURRENCY.format("docs/api/"),
    "AUTHORIZATION_VOIDED": "A voided authorization cannot be captured or reauthorized. ",
    "AUTHORIZATION_DENIED": "An denied authorization cannot be captured.",
    "AUTHORIZATION_EXPIRED": "An expired authorization cannot be captured.",
    "AUTHORIZATION_ALREADY_CAPTURED": "Authorization has previously been captured.",
    "AUTH_CAPTURE_CURRENCY_MISMATCH": "Currency of capture must be the same as currency of authorization.",
    "DUPLICATE_INVOICE_ID": (
        "Requested invoice_id has been previously captured. Possible duplicate transaction."
    ),
    "MAX_CAPTURE_AMOUNT_EXCEEDED": (
        "Capture amount exceeds allowable limit. Please contact customer service or your account manager to "
        "request the change to your overage limit. The default overage limit is 115%, which allows the sum of "
        "all captures to be up to 115% of the order amount. The ability to over capture is subjected to "
        "regulatory approvals."
    ),
    "MAX_CAPTURE_COUNT_EXCEEDED": (
        "Maxmimum number of allowable captures has been reached. No additional captures are possible for this "
        "authorization. Contact Customer Service or your account manager to change the number of captures for "
        "a given authorization."
    ),
    "PAYER_CANNOT_PAY": _CANNOT_PAY,
    "TRANSACTION_REFUSED": "PayPal's internal controls prevent authorization from being captured.",
}
_VOID: Final = {
    "PREVIOUSLY_CAPTURED": "Authorization has been previously captured and hence cannot be voided.",
    "PREVIOUSLY_VOIDED": "Authorization has been previously voided and hence cannot be voided again.",
    "CANNOT_BE_VOIDED": "A reauthorization cannot be voided. Please void the original parent authorization.",
}
_REAUTHORIZE: Final = {
    **{name: _CAPTURE[name] for name in _CAPTURE if not name.startswith(("AUTH", "DUPLICATE", "MAX"))},
    "AUTHORIZATION_VOIDED": "A voided authorization cannot be captured or reauthorized. ",
    "AUTHORIZATION_ALREADY_CAPTURED": "Authorization has previously been captured.",
    "AUTH_CURRENCY_MISMATCH": (
        "The currency specified during reauthorization should be the same as the currency specified in the "
        "original authorization. Please check the currency of the authorization for which you are trying to "
        "reauthorize and try again."
    ),
    "REAUTHORIZATION_NOT_SUPPORTED": (
        "A reauthorize cannot be attempted on an authorization_id that is the result of a prior "
        "reauthorization or on an authorization made on an Order saved using the `v2/orders/id/save` API."
    ),
}
_REFUND: Final = {
    **dict.fromkeys(
        (
            "CANNOT_BE_ZERO_OR_NEGATIVE",
            "DECIMAL_PRECISION",
            "DECIMALS_NOT_SUPPORTED",
            "INVALID_CURRENCY_CODE",
        ),
        "The amount cannot be refunded.",
    ),
    "CAPTURE_FULLY_REFUNDED": "The capture has already been fully refunded",
    "DUPLICATE_INVOICE_ID": "Invoice ID was previously used to refund a capture.",
    "PENDING_CAPTURE": (
        "Cannot initiate a refund as the capture is pending. Capture is typically pending when the payer has "
        "funded the transaction using e-check/bank funded."
    ),
    "REFUND_AMOUNT_EXCEEDED": (
        "The refund amount must be less than or equal to the capture amount that has not yet been refunded."
    ),
    "REFUND_CAPTURE_CURRENCY_MISMATCH": "Refund must be in the same currency as the capture",
    "REFUND_TIME_LIMIT_EXCEEDED": "You are over the time limit to perform a refund on this capture",
    "REFUND_FAILED_INSUFFICIENT_FUNDS": (
        "Capture could not be refunded due to insufficient funds. Please check to see if you have sufficient "
        "funds in your PayPal account or if the bank account linked to your PayPal account is verified and has "
        "sufficient funds."
    ),
}
_VAULT: Final = {
    "PAYER_ACTION_REQUIRED": "Please make sure setup up token is approved. Please complete the approval flow.",
    "SETUP_TOKEN_ALREADY_VAULTED": "The setup token has become a payment token already.",
    "UNSUPPORTED_PAYMENT_SOURCE": "paysession-sandbox saves accounts of PayPal's and Venmo's only.",
}
_EVERYWHERE: Final = {
    "INVALID_RESOURCE_ID": "Specified resource ID does not exist. Please check the resource ID and try again.",
    "PERMISSION_DENIED": "You do not have permission to access or perform operations on this resource.",
    "PREVIOUS_REQUEST_IN_PROGRESS": (
        "A previous request on this resource is currently in progress. Please wait for sometime and try again. "
        "It is best to space out the initial and the subsequent request(s) to avoid receiving this error."
    ),
}
_WORDS: Final = {
    "reauthorize": _REAUTHORIZE,
    "capture_order": _CAPTURE_ORDER,
    "capture": _CAPTURE,
    "void": _VOID,
    "refund": _REFUND,
    "begin_to_save": _VAULT,
    "save": _VAULT,
}


class Problem(Exception):
    """A request that PayPal refuses.

    Args:
        status: The HTTP status.
        issue: PayPal's issue, or empty.
    """

    def __init__(self, status: int, issue: str = "") -> None:
        super().__init__(f"{status} {issue}")
        self.status = status
        self.issue = issue

    def document(self, call: str, debug_id: str) -> dict[str, Any]:
        """Return PayPal's JSON for it.

        Args:
            call: The name of the call, for PayPal words one issue differently with each.
            debug_id: PayPal's id of the request.
        """
        name, message = _HEADS[self.status]
        document: dict[str, Any] = {"name": name, "message": message, "debug_id": debug_id}
        if self.issue:
            words = {**_EVERYWHERE, **_WORDS.get(call, _ORDERS)}.get(self.issue, self.issue)
            document["details"] = [{"issue": self.issue, "description": words}]
        return document
