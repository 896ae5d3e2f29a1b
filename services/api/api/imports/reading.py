"""Read one row of a file as an issue, with the rules of `POST /api/v1/issues`."""

from pydantic import ValidationError
from pydantic_core import from_json

from api.imports.rows import InvalidRow, Record, Row, RowProblem, RowRules, describe
from api.imports.trackers import GithubIssue, GitlabIssue, OwnIssue
from api.json_shape import explain_excess


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
        model = _choose_model(document)
        if model is Row:
            _require_bounded(document)
            document = _rename(document, rules)
        return model.model_validate(document, context=rules).record(rules)
    except ValidationError as error:
        raise InvalidRow(*describe(error)) from None


def _choose_model(document: object) -> type[Row | GithubIssue | GitlabIssue | OwnIssue]:
    """Return the model of a row by its members."""
    if not isinstance(document, dict):
        return Row
    names = document.keys()
    if {"id", "enrichment", "external", "suggested_tags"} <= names:
        return OwnIssue
    if names & {"external_id", "external", "source"}:
        return Row
    if "iid" in names:
        return GitlabIssue
    return GithubIssue if names & {"number", "html_url"} else Row


def _require_bounded(document: object) -> None:
    """Raise InvalidRow before the validation of a row with too many values."""
    if (excess := explain_excess(document)) is not None:
        raise InvalidRow(RowProblem("#", "too_many_values", excess))


def _rename(document: object, rules: RowRules) -> object:
    """Return a row of JSON with the names that the request maps; rows of sheets have been mapped before."""
    if not isinstance(document, dict) or not rules.columns:
        return document
    renamed = {rules.columns.get(name, name): value for name, value in document.items()}
    renamed.pop("", None)
    return renamed
