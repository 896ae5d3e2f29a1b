"""The OpenAPI document is valid and describes the responses of the API."""

from typing import Any

import pytest
from openapi_spec_validator import validate

from api.app import create_app
from api.idempotency.middleware import SECRET_PATHS
from api.request_shape import REPEATABLE
from api.settings import ApiSettings


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(ApiSettings()).openapi()


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def test_openapi_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)


def test_openapi_operation_has_unique_id_and_summary(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(document)]

    assert len(set(names)) == len(names)
    assert all(operation["summary"] for operation in operations(document))


def test_openapi_errors_are_problem_documents(document: dict[str, Any]) -> None:
    for operation in operations(document):
        assert operation["responses"]["default"]["content"].keys() == {"application/problem+json"}
        assert "422" not in operation["responses"], "the API never returns the error format of FastAPI"
    assert document["components"]["schemas"]["Problem"]["required"] == ["title", "status", "detail"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_openapi_operation_has_example(document: dict[str, Any]) -> None:
    """An example of the request or of the response. Deletions have neither."""
    for operation in operations(document):
        if "204" in operation["responses"]:
            continue
        assert _has_example(document, operation), operation["operationId"]


def _has_example(document: dict[str, Any], operation: dict[str, Any]) -> bool:
    bodies = [operation.get("requestBody", {})]
    bodies += [response for status, response in operation["responses"].items() if status.startswith("2")]
    contents = [media for body in bodies for media in body.get("content", {}).values()]
    if any("example" in media for media in contents):
        return True
    schemas = [media["schema"] for media in contents]
    references = [each.get("$ref", "") for schema in schemas for each in schema.get("anyOf", [schema])]
    names = [reference.rpartition("/")[2] for reference in references]
    components = document["components"]["schemas"]
    return any("examples" in components.get(name, {}) for name in names)


def test_openapi_post_accepts_idempotency_key_unless_it_returns_secret(document: dict[str, Any]) -> None:
    for path, operations_of_path in document["paths"].items():
        for method, operation in operations_of_path.items():
            names = [parameter["name"] for parameter in operation.get("parameters", [])]
            accepts_key = method == "post" and path not in SECRET_PATHS
            assert names.count("Idempotency-Key") == accepts_key, operation["operationId"]


def test_repeatable_parameters_are_those_with_several_values(document: dict[str, Any]) -> None:
    parameters = [item for operation in operations(document) for item in operation.get("parameters", ())]

    assert {item["name"] for item in parameters if item["schema"].get("type") == "array"} == REPEATABLE
