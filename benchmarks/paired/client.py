"""Load from a client in a process of its own: wrk where it is installed, else `benchmarks.paired.load`."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.paired.load import BODY, PATH
from tests.support.processes import ROOT

WRK = shutil.which("wrk")
NAME = "wrk" if WRK else "benchmarks.paired.load"
CONNECTIONS = 32


def full_load(port: int, seconds: int) -> dict[str, float]:
    """Post as fast as 32 connections can; return `per_second`."""
    if WRK is None:
        return _own(port, seconds)
    script = Path(__file__).with_name("post.lua")
    command = [
        WRK,
        "--timeout",
        "60s",
        "--threads",
        "1",
        "--connections",
        str(CONNECTIONS),
        "--duration",
        f"{seconds}s",
    ]
    made = subprocess.run(
        [*command, "--script", script, f"http://127.0.0.1:{port}{PATH}"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "BODY": BODY},
    )
    if "Non-2xx" in made.stdout or "Socket errors" in made.stdout:
        raise SystemExit(f"benchmark: not every POST was answered with 201:\n{made.stdout}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", made.stdout)
    assert found is not None, made.stdout
    return {"per_second": float(found[1])}


def at_rate(port: int, seconds: int, rate: float) -> dict[str, float]:
    """Post so many a second, whatever the answers take; return `p50_ms` and `p99_ms` too."""
    return _own(port, seconds, "--rate", f"{rate:g}")


def _own(port: int, seconds: int, *more: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.paired.load", str(port), "--connections", str(CONNECTIONS)]
    made = subprocess.run(
        [*command, "--seconds", str(seconds), *more], cwd=ROOT, capture_output=True, text=True, check=True
    )
    result: dict[str, float] = json.loads(made.stdout)
    if result["refused"]:
        raise SystemExit(f"benchmark: {result['refused']:.0f} POSTs were not answered with 201")
    return result
