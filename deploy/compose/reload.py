"""Runs a command and restarts it when a source file changes. For development only."""

import signal
import subprocess
import sys
import time
from pathlib import Path

PLACES = (Path("/app"), Path("/contracts"))
POLL_S = 1


def _state() -> dict[Path, int]:
    files = (file for place in PLACES for file in place.rglob("*.*") if file.suffix in {".py", ".toml"})
    return {file: file.stat().st_mtime_ns for file in files}


def main(command: list[str]) -> int:
    """Run until SIGTERM or SIGINT; return the exit code of the command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    while True:
        state = _state()
        process = subprocess.Popen(command)
        try:
            while state == _state():
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            process.terminate()
            return process.wait()
        print("reload: a file has changed", flush=True)
        process.terminate()
        process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
