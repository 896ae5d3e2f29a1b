"""Messages as they come in."""

from app.metrics.storage import counter
from contracts.messages import Skew, skew
from contracts.states import RejectionReason

RECEIVED = counter("messages_received_total", "Messages, by the contract that wrote them.", ["contract"])
REJECTED = counter("messages_rejected_total", "Messages given back or kept unread.", ["reason"])

for _contract in Skew:
    RECEIVED.labels(_contract)
for _reason in RejectionReason:
    REJECTED.labels(_reason)


def record_received(contract_version: object) -> None:
    """Count a message by the version that it names, if it is one."""
    contract = skew(contract_version) if isinstance(contract_version, str) else None
    if contract is not None:
        RECEIVED.labels(contract).inc()
