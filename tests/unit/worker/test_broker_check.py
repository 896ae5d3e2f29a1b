"""The reasons for rejected messages are sentences."""

from uuid import UUID

from app.broker.check import _find_fault
from contracts.messages import EnrichIssue

JOB = UUID("01a20614-800f-7a10-9a1b-8c5f8f2c0d11")


def test_find_fault_with_invalid_fields_names_field_value_and_rule() -> None:
    fields = {"contract_version": "one", "job_id": str(JOB), "issue_id": "seven"}

    assert _find_fault(EnrichIssue, JOB, [], fields) == (
        'contract_version: "one" is not valid. Use a version such as 1.1.0. '
        'issue_id: "seven" is not valid. Use a UUID such as 01a20614-800e-771f-862f-526a86f415ac.'
    )


def test_find_fault_with_missing_field_names_the_field() -> None:
    fields = {"contract_version": "1.1.0", "job_id": str(JOB)}

    assert _find_fault(EnrichIssue, JOB, [], fields) == "issue_id: This field is required."
