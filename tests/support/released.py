"""The latest release beside this tree: its own code from git's history, built as wheels, run as processes."""

import os
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import ROOT, tool

NAMED_IN = ROOT / "tests/upgrade/RELEASED"
"""One line: the release's tag, and its commit, which is in every clone's history; a tag need not be."""

MEMBERS = {"contracts": "contracts", "services/api": "api", "services/worker": "app"}
"""What is built of a release, by its directory, and the package in it."""

# The services are no packages in every release: their images copy the directory that this puts into a wheel.
BUILD_SYSTEM = """
[build-system]
requires = ["uv_build>=0.9,<1"]
build-backend = "uv_build"

[tool.uv.build-backend]
module-name = "{package}"
module-root = ""
"""


@dataclass(frozen=True)
class Release:
    """A release that can be run: its tree, and its packages as its wheels hold them.

    They run with this tree's locked libraries: what differs between the two is the project's own code.
    """

    tag: str
    tree: Path
    packages: Path

    @property
    def contract_version(self) -> str:
        """The version of its contracts, which its messages carry."""
        project = tomllib.loads((self.tree / "contracts/pyproject.toml").read_text())["project"]
        return str(project["version"])

    def schemas(self, major: str) -> list[Path]:
        """Return the files of its messages' JSON Schemas, where its contracts have that major version."""
        return sorted((self.tree / "contracts/schemas" / major).glob("*.json"))

    def migrate(self, env: Mapping[str, str]) -> None:
        """Bring the database to the release's schema, by the release's own migrations."""
        subprocess.run(
            [tool("alembic"), "upgrade", "head"],
            cwd=self.tree / "services/api",
            env={**os.environ, **env, "PYTHONPATH": str(self.packages)},
            check=True,
        )


def latest() -> tuple[str, str]:
    """Return the latest release's tag and commit."""
    tag, commit = NAMED_IN.read_text().split()
    return tag, commit


def unavailable_reason() -> str | None:
    """Return why the latest release's code cannot be had here, None when it can."""
    tag, commit = latest()
    if shutil.which("git") is None:
        return "there is no git, which has the release's code in its history"
    if _git("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0:
        return None
    if _git("rev-parse", "--git-dir").returncode != 0:
        return f"this is no git clone, so that the code of {tag} cannot be had"
    return f"the clone is shallow, without the commit of {tag}: `git fetch --unshallow`"


def build(directory: Path) -> Release:
    """Build the latest release's wheels in the directory, without a network, and install them there."""
    if reason := unavailable_reason():
        pytest.skip(reason)
    tag, commit = latest()
    tree, wheels, packages = (directory / name for name in ("tree", "wheels", "packages"))
    tree.mkdir()
    archive = _git("archive", commit, *MEMBERS)
    subprocess.run(["tar", "-x", "-C", tree], input=archive.stdout, check=True)
    for member, package in MEMBERS.items():
        _make_buildable(tree / member / "pyproject.toml", package)
        _uv("build", "--wheel", "--offline", "--out-dir", str(wheels), str(tree / member))
    _uv("pip", "install", "--offline", "--no-deps", "--target", str(packages), *map(str, wheels.glob("*.whl")))
    return Release(tag, tree, packages)


def _make_buildable(project: Path, package: str) -> None:
    if "build-system" not in tomllib.loads(project.read_text()):
        with project.open("a") as file:
            file.write(BUILD_SYSTEM.format(package=package))


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)


def _uv(*arguments: str) -> None:
    done = subprocess.run([tool("uv"), "--quiet", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
