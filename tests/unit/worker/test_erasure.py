"""Dead messages are found by the issue that they name, in any form."""

import json
from base64 import b64encode

import pytest

from api.dispatch.envelope import encode_message
from app.erasure.dead_messages import find_ids
from contracts.ids import new_id


@pytest.mark.parametrize("padding", ["", "a", "ab"])
def test_ids_of_message_include_those_of_its_encoded_body(padding: str) -> None:
    job_id, issue_id = new_id(), new_id()
    envelope = json.loads(
        encode_message(job_id, "tests.unknown", "issues", {padding: "", "issue_id": str(issue_id)}, 0)
    )
    del envelope["headers"]["kwargsrepr"]

    assert {job_id, issue_id} <= find_ids(json.dumps(envelope).encode())


@pytest.mark.parametrize("raw", [b"", b"A" * 49, b"\xff" * 100, b64encode(b"\xff" * 100), b'{"id": "0-0-0-0"}'])
def test_message_without_ids_names_none(raw: bytes) -> None:
    assert find_ids(raw) == set()


def test_id_in_upper_case_is_found() -> None:
    issue_id = new_id()

    assert find_ids(f"issue {str(issue_id).upper()}".encode()) == {issue_id}
