"""A shell in which the commands of the guide work from the project's root."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from devstack.postgres import GUEST, find_program
from devstack.settings import ROOT, DevSettings

API = ROOT / "services/api"
WORKER = ROOT / "services/worker"
NOTE = (
    "celery, uvicorn, psql and redis-cli use this project and the servers of `make run`. `exit` leaves this shell."
)


def build_environment(settings: DevSettings) -> dict[str, str]:
    """Return the environment of the shell: commands, packages, and psql's server, role and database."""
    tools = (Path(sys.executable).parent, Path(__file__).parent / "bin", Path(find_program("psql")).parent)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return {
        **inherited,
        "VIRTUAL_ENV": sys.prefix,
        "PATH": os.pathsep.join(map(str, (*tools, inherited["PATH"]))),
        "PYTHONPATH": os.pathsep.join(map(str, (API, WORKER))),
        "PGHOST": str(settings.postgres.host),
        "PGPORT": str(settings.postgres.port),
        "PGUSER": GUEST,
        "PGDATABASE": str(settings.postgres.database),
        # Flower and uvicorn look into the working directory by default.
        "FLOWER_CONF": str(WORKER / "flowerconfig.py"),
        "UVICORN_RELOAD_DIRS": str(API),
    }


def open_shell(settings: DevSettings) -> NoReturn:
    """Replace this process by the user's shell."""
    if sys.stdin.isatty():
        print(NOTE, flush=True)
    shell = os.environ.get("SHELL") or "/bin/sh"
    os.execve(shell, [shell], build_environment(settings))
