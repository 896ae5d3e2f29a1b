"""Each operation of the OpenAPI document, requested with a token of each scope. `make scopes` prints the table."""

import re

from tests.integration.test_issues_api import assert_problem
from tests.support.access import INGEST, NO_TOKEN, SCOPES, Tokens, bearer, is_granted
from tests.support.processes import Api
from tests.support.routes import Endpoint, endpoints
from tests.unit.api.test_access_rules import OPEN, PAGE

ANY_SCOPE_PATHS = {"/api/v1/session", "/api/v1/sessions", "/api/v1/sessions/{session_id}"}
ADMIN_PATHS = (
    *("/api/v1/tokens", "/api/v1/audit", "/api/v1/diagnosis", "/api/v1/webhooks", "/api/v1/pauses"),
    "/api/v1/schedules",
)
ADMIN_CHANGES = {"PUT /api/v1/tags", "PUT /api/v1/queues/projects"}


def may(endpoint: Endpoint, kind: str) -> bool:
    """Return whether a token of this kind may run the operation, by rules of this test alone."""
    path, method = endpoint.path, endpoint.method
    if str(endpoint) in OPEN:
        return True
    if kind in {NO_TOKEN, INGEST}:
        return kind == INGEST and str(endpoint) == "POST /api/v1/issues"
    if kind == "admin" or path in ANY_SCOPE_PATHS:
        return True
    if path.startswith(ADMIN_PATHS) or str(endpoint) in ADMIN_CHANGES:
        return False
    if path.startswith("/api/v1/erasures") or kind == "issues:erase":
        return path.startswith("/api/v1/erasures") and kind == "issues:erase"
    return kind == ("issues:read" if method == "GET" else "issues:write")


def request(api: Api, endpoint: Endpoint, token: str | None) -> int:
    """Return the status of a request without a body; check that a denial states its reason."""
    headers = {} if token is None else bearer(token)
    with api.client.stream(endpoint.method, endpoint.url, headers=headers) as response:
        if "event-stream" not in response.headers.get("content-type", ""):
            response.read()
    if response.status_code == 403:
        assert "scope" in str(assert_problem(response, 403)["detail"]), endpoint
        assert 'error="insufficient_scope"' in response.headers["www-authenticate"], endpoint
    return response.status_code


def test_scope_matrix_has_no_leak(closed_api: Api, tokens: Tokens) -> None:
    secrets: dict[str, str | None] = {NO_TOKEN: None}
    secrets[INGEST] = tokens.make("issues-ingest", INGEST, projects=["default"])["token"]
    secrets |= {scope: tokens.make(scope.replace(":", "-"), scope)["token"] for scope in SCOPES}
    paths = closed_api.client.get("/openapi.json").json()["paths"]
    operations = {
        Endpoint(method.upper(), path, is_api_route=True): operation["security"]
        for path, methods in paths.items()
        for method, operation in methods.items()
    }
    leaks, denied, undocumented = [], [], []

    print("\n" + " ".join(f"{kind:>13}" for kind in secrets))
    for endpoint, security in operations.items():
        statuses = {kind: request(closed_api, endpoint, token) for kind, token in secrets.items()}
        print(" ".join(f"{status:>13}" for status in statuses.values()), endpoint)
        for kind, status in statuses.items():
            denial = 401 if kind == NO_TOKEN else 403
            if not may(endpoint, kind) and status != denial:
                leaks.append((endpoint, kind, status))
            if may(endpoint, kind) and (status in {denial, 429} or status >= 500):
                denied.append((endpoint, kind, status))
            if may(endpoint, kind) != is_granted(security, kind):
                undocumented.append((endpoint, kind, security))
    cells = len(operations) * len(secrets)
    print(f"{len(operations)} operations x {len(secrets)} kinds of token = {cells} cells, {len(leaks)} leaks")

    assert not leaks
    assert not denied
    assert not undocumented
    closed = {re.sub(r":\w+}", "}", str(endpoint)) for endpoint in endpoints()} - OPEN - PAGE
    assert closed <= {str(endpoint) for endpoint in operations}
