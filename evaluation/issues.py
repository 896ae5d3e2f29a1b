"""Labelled issues as JSON lines."""

import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read_rows(path: Path, *fields: str) -> list[Row]:
    """Return the file's objects; raise ValueError that names line and field where one is missing."""
    rows: list[Row] = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}:{number}: not JSON: {error}") from None
            missing = [field for field in fields if not isinstance(row, dict) or field not in row]
            if missing:
                raise ValueError(f"{path}:{number}: no {missing[0]}")
            rows.append(row)
    if not rows:
        raise ValueError(f"{path}: no rows")
    return rows
