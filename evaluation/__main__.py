"""`python -m evaluation TASK --train FILE --data FILE` prints one JSON object.

Each task is a module of this package with a function `evaluate(train: Path | None, data: Path) -> dict`.
"""

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path

TASKS = ("types", "types_more", "areas", "summary", "similar", "search", "calibration")


def _file(value: str) -> Path:
    path = Path(value)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"the file {value} does not exist")
    return path


def main() -> None:
    """Evaluate one task. For invalid input, print one line and exit with code 2."""
    parser = argparse.ArgumentParser(prog="evaluate", description=__doc__, usage=None)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--train", type=_file, help="JSON lines for training; `make evaluate TRAIN=FILE`")
    parser.add_argument("--data", type=_file, required=True, help="JSON lines for the evaluation")
    arguments = parser.parse_args()
    try:
        result = import_module(f"evaluation.{arguments.task}").evaluate(arguments.train, arguments.data)
    except ValueError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        sys.exit(2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
