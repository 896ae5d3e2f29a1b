"""Metrics of received messages."""

from app.metrics.storage import counter
from contracts.messages import Skew, classify_skew
from contracts.states import RejectionReason

RECEIVED = counter("messages_received_total", "Received messages, by contract version.", ["contract"])
REJECTED = counter("messages_rejected_total", "Rejected messages.", ["reason"])

for _contract in Skew:
    RECEIVED.labels(_contract)
for _reason in RejectionReason:
    REJECTED.labels(_reason)


def record_received(contract_version: object) -> None:
    """Count a message by its contract version, if that is valid."""
    contract = classify_skew(contract_version) if isinstance(contract_version, str) else None
    if contract is not None:
        RECEIVED.labels(contract).inc()
