"""Writes the JSON Schema of every message and event: `python -m contracts.schemas DIRECTORY`."""

import json
import sys
from pathlib import Path
from typing import Any

from contracts import CONTRACT_VERSION
from contracts.messages import EVENTS, MESSAGE_OF

Schema = dict[str, Any]

_PROSE = {"title", "description", "default", "examples"}
"""Keys of a field's schema that do not affect compatibility."""


class IncompatibleChange(Exception):
    """A message changed in a way that breaks older readers or writers."""


def build_schemas() -> dict[str, Schema]:
    """Return the JSON Schema of each message by its title.

    The title is the name of the class unless the model sets another one.
    """
    schemas = [model.model_json_schema() for model in (*MESSAGE_OF.values(), *EVENTS)]
    return {schema["title"]: schema for schema in schemas}


def find_breaking_changes(old: Schema, new: Schema) -> list[str]:
    """Return the differences between `old` and `new` that break older readers or writers.

    Readers ignore unknown fields. An optional field may be added, because older writers omit it. A field that
    older readers require must stay required, and no field may change its meaning.
    """
    before, now = old.get("properties", {}), new.get("properties", {})
    needed_before, needed_now = set(old.get("required", [])), set(new.get("required", []))
    found = [f"{name}: now required, but older writers omit it" for name in sorted(needed_now - needed_before)]
    found += [f"{name}: now optional, but older readers require it" for name in sorted(needed_before - needed_now)]
    found += [f"{name}: removed, but older versions use it" for name in sorted(before.keys() - now.keys())]
    found += [
        f"{name}: meaning changed"
        for name in sorted(before.keys() & now.keys())
        if _resolve(before[name], old) != _resolve(now[name], new)
    ]
    return found


def _resolve(part: Any, schema: Schema) -> Any:
    """Return a part of a schema without its prose, with references replaced by the models that they name.

    A nested model may therefore change the name of its class.
    """
    if isinstance(part, list):
        return [_resolve(item, schema) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _resolve(schema["$defs"][part["$ref"].removeprefix("#/$defs/")], schema)
    return {
        key: {name: _resolve(field, schema) for name, field in value.items()}
        if key == "properties"
        else _resolve(value, schema)
        for key, value in part.items()
        if key not in _PROSE
    }


def write_schemas(directory: Path) -> list[Path]:
    """Write the schemas to `directory`/<major version>/ and return the paths of the files.

    Raises IncompatibleChange, without writing the file, if a message changed incompatibly within a major version.
    """
    folder = directory / CONTRACT_VERSION.split(".", maxsplit=1)[0]
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, schema in build_schemas().items():
        path = folder / f"{name}.json"
        faults = find_breaking_changes(json.loads(path.read_text()), schema) if path.exists() else []
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
        sys.exit(f"{change}. An incompatible change needs a new major version of the contracts.")
