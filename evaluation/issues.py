"""Reads labelled issues from JSON lines."""

import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read_rows(path: Path, *fields: str) -> list[Row]:
    """Return the objects of the file; raise a ValueError with line and field if a field is missing."""
    rows: list[Row] = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}:{number}: not JSON: {error}") from None
            missing = [field for field in fields if not isinstance(row, dict) or field not in row]
            if missing:
                raise ValueError(f'{path}:{number}: the field "{missing[0]}" is missing')
            rows.append(row)
    if not rows:
        raise ValueError(f"{path} has no rows")
    return rows
