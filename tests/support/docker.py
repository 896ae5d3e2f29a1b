"""Docker commands, and skip marks for tests that need Docker or images."""

import subprocess
from functools import cache

import pytest


def docker(*arguments: str, timeout_s: float = 300, check: bool = True) -> str:
    """Run docker and return its output. An error contains the output."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout_s, check=False)
    assert not check or done.returncode == 0, f"docker {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def log(container: str) -> str:
    """Return the output of a container on both streams."""
    done = subprocess.run(["docker", "logs", container], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout + done.stderr


@cache
def missing(*images: str) -> str:
    """Return why containers of these images cannot run, or an empty string."""
    try:
        subprocess.run(["docker", "version"], capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return "no Docker engine is reachable"
    missing_images = [image for image in images if not docker("images", "--quiet", image)]
    return f"missing images: {', '.join(missing_images)}" if missing_images else ""


def needs_images(*images: str) -> pytest.MarkDecorator:
    """Return a mark that skips tests if containers of these images cannot run."""
    return pytest.mark.skipif(bool(missing(*images)), reason=missing(*images))


@cache
def _missing_compose() -> str:
    try:
        subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return "docker compose is not installed"
    return ""


needs_compose = pytest.mark.skipif(bool(_missing_compose()), reason=_missing_compose())
