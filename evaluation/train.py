"""`python -m evaluation.train --data DIR` reproduces every artefact bit for bit: `make train DATA=DIR`.

DIR contains `types/train.jsonl`, `types_more/train.jsonl` and `areas/train.jsonl`.
"""

import argparse
import json
import sys
from pathlib import Path

from evaluation.train_areas import train_areas
from evaluation.train_summary import train_summary
from evaluation.train_types import train_types


def main() -> None:
    """Train all artefacts. For invalid input, print one line and exit with code 2."""
    parser = argparse.ArgumentParser(prog="train", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the directory with the labelled issues")
    directory = parser.parse_args().data
    try:
        summary = train_summary(directory)
        areas = train_areas(directory)
        model = train_types(directory)
    except (OSError, ValueError) as error:
        print(f"train: {error}", file=sys.stderr)
        sys.exit(2)
    types = {"version": model.version, "temperature": model.temperature, "threshold": model.threshold}
    print(json.dumps({"types": types, "areas": areas["rows"], "summary": summary["trained_on"]}))


if __name__ == "__main__":
    main()
