"""Lets root start PostgreSQL, which does not run as root, as the user `nobody`."""

import atexit
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from devstack.process import ProcessFailed

USER = "nobody"
CAPABILITIES = {"CHOWN": 0, "DAC_OVERRIDE": 1, "KILL": 5, "SETGID": 6, "SETUID": 7}
"""The capabilities that root needs, with their bits (capabilities(7)). Containers may lack them."""


def command_prefix() -> tuple[str, ...]:
    """Return a command prefix that drops root privileges; empty for other users.

    The command runs as `nobody` with the capability to open files in root's directories. Raise ProcessFailed if
    this is impossible.
    """
    if os.geteuid() != 0:
        _require_name(os.geteuid())
        return ()
    setpriv = shutil.which("setpriv")
    if sys.platform != "linux" or setpriv is None:
        raise ProcessFailed(
            "PostgreSQL does not run as root, and setpriv is missing. Use another user, or install util-linux."
        )
    if missing := _missing_capabilities():
        raise ProcessFailed(
            f"PostgreSQL does not run as root, and this root lacks the capabilities {', '.join(missing)} to start "
            "it as another user. Run as a user that is not root, or add the capabilities (docker run --cap-add)."
        )
    user = pwd.getpwnam(USER)
    capability = "-all,+dac_override"
    return (
        *(setpriv, "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"),
        *("--inh-caps", capability, "--ambient-caps", capability, "--pdeathsig", "INT"),
    )


def _require_name(uid: int) -> None:
    """Raise ProcessFailed if the user has no name, because initdb requires one."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise ProcessFailed(
            f"the user {uid} has no name, which PostgreSQL requires. Use a user of /etc/passwd, or add this one."
        ) from None


def _missing_capabilities() -> list[str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    (effective,) = (int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    return [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]


@cache
def runnable_programs(prefix: tuple[str, ...], programs: Path) -> Path:
    """Return a directory with PostgreSQL's programs that the user of the command prefix can run.

    `initdb` and `postgres` look up their own path with access(2), which ignores the capability of the prefix, and
    `initdb` runs `postgres` in double quotes. If the wheel is in a directory that only root can enter, such as
    /root, or has a special character in its path, the programs run from a copy in the temporary directory. The
    copy is removed when this process exits.
    """

    def can_run(programs: Path) -> bool:
        if any(character in str(programs) for character in '"$`\\'):
            return False
        probe = [*prefix, "test", "-x", str(programs / "postgres")]
        return not prefix or subprocess.run(probe, check=False).returncode == 0

    if can_run(programs):
        return programs
    package = programs.parents[1]
    copy = Path(tempfile.mkdtemp(prefix="issuetracker-postgres-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    # The programs load their libraries from the directory next to the package.
    for directory in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.parent / directory, copy / directory, symlinks=True)
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    programs = copy / programs.relative_to(package.parent)
    if not can_run(programs):
        raise ProcessFailed(
            f"the user `nobody`, which runs PostgreSQL on behalf of root, cannot run programs in {copy.parent}. "
            "Set TMPDIR to a directory that every user can enter, on a file system without noexec."
        )
    return programs


def own_directory(path: Path) -> Path:
    """Create the directory if it does not exist, and make the user that runs PostgreSQL its owner; return it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = path.stat().st_uid
    if os.geteuid() != 0:
        if owner != os.geteuid():
            raise ProcessFailed(f"{path} belongs to user {owner}. Run as that user, or delete the directory.")
    else:
        user = pwd.getpwnam(USER)
        if owner not in {0, user.pw_uid}:
            raise ProcessFailed(f"{path} belongs to user {owner}. Run as that user, not as root.")
        os.chown(path, user.pw_uid, user.pw_gid)
    return path
