"""Read one row of a file as an issue, with the rules of `POST /api/v1/issues`."""

from typing import TypeAlias

from pydantic import ValidationError
from pydantic_core import from_json

from api.imports.rows import InvalidRow, Record, Row, RowProblem, RowRules, describe
from api.imports.trackers import GithubIssue, GitlabIssue, OwnIssue
from api.json_shape import explain_excess

_Model: TypeAlias = type[Row | GithubIssue | GitlabIssue | OwnIssue]
_NOT_GITHUB = Row.model_fields.keys() - GithubIssue.model_fields.keys()
_NOT_GITLAB = Row.model_fields.keys() - GitlabIssue.model_fields.keys()
"""Members of a row that these trackers do not have."""


def read_row(body: bytes, rules: RowRules) -> Record | None:
    """Return the issue of a row, or None if the row is a pull request; raise InvalidRow."""
    try:
        document = from_json(body)
    except ValueError:
        document = None
    try:
        if document is None:
            Row.model_validate_json(body)  # describes invalid JSON
            raise InvalidRow(RowProblem("#", "model_type", "null is not valid. Use a JSON object."))
        model, document = _choose_model(document, rules)
        return model.model_validate(document, context=rules).record(rules)
    except ValidationError as error:
        raise InvalidRow(*describe(error)) from None


def _choose_model(document: object, rules: RowRules) -> tuple[_Model, object]:
    """Return the model of a row by its members, and the row with the names that the request maps."""
    if not isinstance(document, dict):
        return Row, document
    renamed = _rename(document, rules)
    names = renamed.keys()
    if any(map(rules.columns.get, document)):
        model: _Model = Row
    elif {"id", "enrichment", "external", "suggested_tags"} <= names:
        model = OwnIssue
    elif "iid" in names and not names & _NOT_GITLAB:
        model = GitlabIssue
    elif {"number", "title"} <= names and names & {"html_url", "url", "state"} and not names & _NOT_GITHUB:
        model = GithubIssue
    else:
        model = Row
        _require_bounded(document)
    return model, renamed


def _require_bounded(document: object) -> None:
    """Raise InvalidRow before the validation of a row with too many values."""
    if (excess := explain_excess(document)) is not None:
        raise InvalidRow(RowProblem("#", "too_many_values", excess))


def _rename(document: dict[str, object], rules: RowRules) -> dict[str, object]:
    """Return a row of JSON with the names that the request maps; rows of sheets have been mapped before."""
    renamed: dict[str, object] = {}
    for name, value in document.items():
        if not (found := rules.columns.get(name, name)):
            continue
        if found in renamed:
            detail = f"Several members are {found}. Use each field once."
            raise InvalidRow(RowProblem(f"#/{found}", "repeated", detail))
        renamed[found] = value
    return renamed
