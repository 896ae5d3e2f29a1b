"""Messages stay compatible with older readers and writers, as the checked-in schemas define."""

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from contracts import CONTRACT_VERSION
from contracts.schemas import IncompatibleChange, build_schemas, find_breaking_changes, write_schemas

SCHEMAS = Path(__file__).parents[3] / "contracts/schemas"
MAJOR = SCHEMAS / CONTRACT_VERSION.split(".", maxsplit=1)[0]


@pytest.mark.parametrize("name", sorted(build_schemas()))
def test_message_schema_is_compatible_with_checked_in_schema(name: str) -> None:
    path = MAJOR / f"{name}.json"
    assert path.exists(), "The schema of a new message is missing. Run `make schemas`."
    assert find_breaking_changes(json.loads(path.read_text()), build_schemas()[name]) == []


def test_messages_of_current_major_version_all_exist() -> None:
    assert {path.stem for path in MAJOR.glob("*.json")} <= build_schemas().keys()


def test_checked_in_schemas_are_current(tmp_path: Path) -> None:
    for path in write_schemas(tmp_path):
        assert path.read_text() == (MAJOR / path.name).read_text(), "The schemas are outdated. Run `make schemas`."


class Before(BaseModel):
    job_id: int
    note: str | None = None


class WithOptional(Before):
    priority: int = 0


class WithRequired(Before):
    priority: int


class WithoutRequired(BaseModel):
    note: str | None = None


class WithoutOptional(BaseModel):
    job_id: int


class Retyped(BaseModel):
    job_id: str
    note: str | None = None


class Loosened(BaseModel):
    job_id: int = 0
    note: str | None = None


def test_schema_with_new_optional_field_is_compatible() -> None:
    assert find_breaking_changes(Before.model_json_schema(), WithOptional.model_json_schema()) == []


@pytest.mark.parametrize("changed", [WithRequired, WithoutRequired, WithoutOptional, Retyped, Loosened])
def test_schema_with_other_change_is_incompatible(changed: type[BaseModel]) -> None:
    assert find_breaking_changes(Before.model_json_schema(), changed.model_json_schema())


def test_write_schemas_with_incompatible_change_keeps_baseline(tmp_path: Path) -> None:
    (name, *_) = build_schemas()
    (baseline,) = [path for path in write_schemas(tmp_path) if path.stem == name]
    older = json.loads(baseline.read_text())
    older["properties"]["gone"] = {"type": "string"}
    baseline.write_text(json.dumps(older))

    with pytest.raises(IncompatibleChange, match=f"{name}: gone: removed"):
        write_schemas(tmp_path)

    assert json.loads(baseline.read_text()) == older
