"""The latest release: its code from the git history, built as wheels and run as processes."""

import os
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import ROOT, tool

RELEASE_FILE = ROOT / "tests/upgrade/RELEASED"
"""One line with the tag and the commit of the release. Every clone has the commit, but not always the tag."""

MEMBERS = {"contracts": "contracts", "services/api": "api", "services/worker": "app"}
"""The built directories of a release and their packages."""

# In some releases, the services have no build system. Their images copy the directory instead.
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
    """A runnable release: its tree and its installed packages.

    It runs with the locked libraries of this tree, so that only the code of the project differs.
    """

    tag: str
    tree: Path
    packages: Path

    @property
    def contract_version(self) -> str:
        """Return the contract version in the messages of the release."""
        project = tomllib.loads((self.tree / "contracts/pyproject.toml").read_text())["project"]
        return str(project["version"])

    def schemas(self, major: str) -> list[Path]:
        """Return the JSON Schema files of its messages for a major contract version."""
        return sorted((self.tree / "contracts/schemas" / major).glob("*.json"))

    def migrate(self, env: Mapping[str, str]) -> None:
        """Upgrade the database to the schema of the release with its own migrations."""
        subprocess.run(
            [tool("alembic"), "upgrade", "head"],
            cwd=self.tree / "services/api",
            env={**os.environ, **env, "PYTHONPATH": str(self.packages)},
            check=True,
        )


def latest() -> tuple[str, str]:
    """Return the tag and the commit of the latest release."""
    tag, commit = RELEASE_FILE.read_text().split()
    return tag, commit


def unavailable_reason() -> str | None:
    """Return why the code of the latest release is not available, or None."""
    tag, commit = latest()
    if shutil.which("git") is None:
        return "git is not installed, but the code of the release is in the git history"
    if _git("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0:
        return None
    if _git("rev-parse", "--git-dir").returncode != 0:
        return f"the code of {tag} is not available, because this is not a git clone"
    return f"the shallow clone does not contain the commit of {tag}. Run `git fetch --unshallow`."


def build(directory: Path) -> Release:
    """Build the wheels of the latest release in the directory, offline, and install them there."""
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
