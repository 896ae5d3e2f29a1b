"""Writes the JSON Schema of every message and event: `python -m contracts.schemas DIRECTORY`."""

import json
import sys
from pathlib import Path
from typing import Any

from contracts import CONTRACT_VERSION
from contracts.messages import EVENTS, MESSAGE_OF

Schema = dict[str, Any]

_PROSE = {"title", "description", "default", "examples"}
"""What a field's schema says beside its meaning."""


class IncompatibleChange(Exception):
    """A message changed in a way that an older reader or writer would not survive."""


def current_schemas() -> dict[str, Schema]:
    """Return each message's JSON Schema, as its reader sees it, by its title.

    The title is the name of the class unless the model sets another.
    """
    schemas = [model.model_json_schema() for model in (*MESSAGE_OF.values(), *EVENTS)]
    return {schema["title"]: schema for schema in schemas}


def breaks(old: Schema, new: Schema) -> list[str]:
    """Return what of the change from `old` to `new` an older reader or writer would not survive.

    Readers ignore unknown fields. So a field may be added if it is optional (older writers leave it
    out); nothing may be taken away that an older reader requires, and no field may change its meaning.
    """
    before, now = old.get("properties", {}), new.get("properties", {})
    needed_before, needed_now = set(old.get("required", [])), set(new.get("required", []))
    found = [f"{name}: required now, older writers leave it out" for name in sorted(needed_now - needed_before)]
    found += [f"{name}: no longer required, older readers need it" for name in sorted(needed_before - needed_now)]
    found += [f"{name}: gone, older readers and writers know it" for name in sorted(before.keys() - now.keys())]
    found += [
        f"{name}: its meaning changed"
        for name in sorted(before.keys() & now.keys())
        if _meaning(before[name], old) != _meaning(now[name], new)
    ]
    return found


def _meaning(part: Any, schema: Schema) -> Any:
    """Return a part of a schema without its prose, with nested models in the place of references to them.

    So the class of a nested model may change its name.
    """
    if isinstance(part, list):
        return [_meaning(item, schema) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _meaning(schema["$defs"][part["$ref"].removeprefix("#/$defs/")], schema)
    return {
        key: {name: _meaning(field, schema) for name, field in value.items()}
        if key == "properties"
        else _meaning(value, schema)
        for key, value in part.items()
        if key not in _PROSE
    }


def write_schemas(directory: Path) -> list[Path]:
    """Write the schemas under `directory`/<major version>/ and return the files' paths.

    Raises IncompatibleChange, and leaves the file as it is, where a message of the same major version
    changed incompatibly: such a change needs a new major version.
    """
    folder = directory / CONTRACT_VERSION.split(".", maxsplit=1)[0]
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, schema in current_schemas().items():
        path = folder / f"{name}.json"
        faults = breaks(json.loads(path.read_text()), schema) if path.exists() else []
        if faults:
            raise IncompatibleChange("; ".join(f"{name}: {fault}" for fault in faults))
        path.write_text(json.dumps(schema, indent=2, sort_keys=True) + "\n")
        written.append(path)
    return written


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m contracts.schemas DIRECTORY")
    try:
        write_schemas(Path(sys.argv[1]))
    except IncompatibleChange as change:
        sys.exit(f"{change}: this needs a new major version of the contracts")
