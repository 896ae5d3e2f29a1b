"""The OpenAPI document is valid and says what the API answers."""

from typing import Any

import pytest
from openapi_spec_validator import validate

from api.app import create_app
from api.settings import ApiSettings


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(ApiSettings()).openapi()


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def test_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)


def test_every_operation_has_a_name_and_a_summary(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(document)]

    assert len(set(names)) == len(names)
    assert all(operation["summary"] for operation in operations(document))


def test_every_error_is_a_problem_document(document: dict[str, Any]) -> None:
    for operation in operations(document):
        assert operation["responses"]["default"]["content"].keys() == {"application/problem+json"}
        assert "422" not in operation["responses"], "FastAPI's own shape is never answered"
    assert document["components"]["schemas"]["Problem"]["required"] == ["title", "status", "detail"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
