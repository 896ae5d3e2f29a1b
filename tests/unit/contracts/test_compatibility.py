"""The checked-in schemas hold the messages to what older readers and writers survive."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from contracts import CONTRACT_VERSION
from contracts.schemas import current_schemas, write_schemas

SCHEMAS = Path(__file__).parents[3] / "contracts/schemas"
MAJOR = SCHEMAS / CONTRACT_VERSION.split(".", maxsplit=1)[0]

# What a field's schema says beside its meaning.
PROSE = {"title", "description", "default", "examples"}


def breaks(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return what of the change from `old` to `new` an older reader or writer would not survive.

    Readers ignore unknown fields. So a field may be added if it is optional (older writers leave it
    out); nothing may be taken away that an older reader requires, and no field may change its meaning.
    """
    found = []
    old_fields, new_fields = old.get("properties", {}), new.get("properties", {})
    required_before, required_now = set(old.get("required", [])), set(new.get("required", []))
    found += [f"{name}: required now, older writers leave it out" for name in required_now - required_before]
    found += [f"{name}: no longer required, older readers need it" for name in required_before - required_now]
    found += [
        f"{name}: gone, older writers send it and readers know it" for name in old_fields if name not in new_fields
    ]
    for name in old_fields.keys() & new_fields.keys():
        before, now = ({k: v for k, v in f[name].items() if k not in PROSE} for f in (old_fields, new_fields))
        if before != now:
            found.append(f"{name}: was {before}, is {now}")
    if old.get("$defs", {}) != new.get("$defs", {}):
        found.append("a nested model changed")
    return found


@pytest.mark.parametrize("name", sorted(current_schemas()))
def test_messages_are_compatible_with_the_checked_in_schemas(name: str) -> None:
    path = MAJOR / f"{name}.json"
    assert path.exists(), "a new message: run `make schemas`"
    assert breaks(json.loads(path.read_text()), current_schemas()[name]) == []


def test_no_message_of_this_major_version_was_dropped() -> None:
    assert {path.stem for path in MAJOR.glob("*.json")} <= current_schemas().keys()


def test_checked_in_schemas_are_current(tmp_path: Path) -> None:
    for path in write_schemas(tmp_path):
        assert path.read_text() == (MAJOR / path.name).read_text(), "run `make schemas`"


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


def test_an_optional_field_may_be_added() -> None:
    assert breaks(Before.model_json_schema(), WithOptional.model_json_schema()) == []


@pytest.mark.parametrize("changed", [WithRequired, WithoutRequired, WithoutOptional, Retyped, Loosened])
def test_other_changes_break(changed: type[BaseModel]) -> None:
    assert breaks(Before.model_json_schema(), changed.model_json_schema())
