"""Writes the JSON Schema of every message: `python -m contracts.schemas DIRECTORY`."""

import json
import sys
from pathlib import Path
from typing import Any

from contracts import CONTRACT_VERSION
from contracts.messages import MESSAGE_OF


def current_schemas() -> dict[str, dict[str, Any]]:
    """Return each message's JSON Schema, as its reader sees it, by the message's class name."""
    return {model.__name__: model.model_json_schema() for model in MESSAGE_OF.values()}


def write_schemas(directory: Path) -> list[Path]:
    """Write the schemas under `directory`/<major version>/ and return the files' paths."""
    folder = directory / CONTRACT_VERSION.split(".", maxsplit=1)[0]
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, schema in current_schemas().items():
        path = folder / f"{name}.json"
        path.write_text(json.dumps(schema, indent=2, sort_keys=True) + "\n")
        written.append(path)
    return written


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m contracts.schemas DIRECTORY")
    write_schemas(Path(sys.argv[1]))
