"""Fresh machines: containers with what the README requires, in which a user runs `make run`."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

from devstack.process import Process
from tests.support.docker import docker
from tests.support.processes import ROOT
from tests.support.servers import Log
from tests.support.waiting import wait_until

PACKAGES = {"python:3.13-slim": "git", "debian:trixie-slim": "python3 python3-venv"}
"""The packages of each base image, next to curl and make."""
DISK = "/disk"
"""The mount point of a volume with the wheels that earlier runs downloaded and the homes of this run."""
CACHE = f"{DISK}/cache"
ISSUE = """\
curl --silent --show-error --fail -X POST http://localhost:8000/api/v1/issues \
  -H "Content-Type: application/json" \
  -d '{
    "title": "Test Issue",
    "description": "This is a test issue for Celery enrichment",
    "priority": "high"
  }'"""
SUMMARY = "AI Summary: Test Issue. This is a test issue for Celery enrichment"


@dataclass(frozen=True)
class Site:
    """What the machines of one base image share: the name of image and volume, the repository, and a directory."""

    name: str
    source: Path
    home: str


@contextmanager
def share_site(base: str, source: Path) -> Iterator[Site]:
    """Build the image, and write the repository to `source`: a bare clone `git` and the archive `archive.tar`."""
    name = f"issuetracker-fresh-{base.partition(':')[0]}"
    arguments = (f"--build-arg=BASE={base}", f"--build-arg=PACKAGES={PACKAGES[base]}")
    docker("build", "--quiet", f"--tag={name}", *arguments, f"{ROOT}/tests/support/fresh", timeout_s=500)
    subprocess.run(["git", "clone", "--quiet", "--bare", ROOT, source / "git"], check=True)
    subprocess.run(["git", "archive", "--output", source / "archive.tar", "HEAD"], cwd=ROOT, check=True)
    source.chmod(0o755)
    site = Site(name, source, f"{DISK}/{uuid4().hex[:8]}")
    try:
        yield site
    finally:
        docker("run", "--rm", f"--volume={name}:{DISK}", name, "rm", "-rf", site.home)


class Machine:
    """A running machine. Its options are those of `docker run`."""

    def __init__(self, site: Site, *options: str) -> None:
        mounts = (f"--volume={site.name}:{DISK}", f"--volume={site.source}:/source:ro")
        self._site = site
        # Where wheels are on the same file system, uv links them instead of copying 1 GB.
        environment = f"--env=UV_CACHE_DIR={CACHE}"
        command = (*mounts, environment, *options, site.name, "sleep", "infinity")
        self.name = docker("run", "--detach", "--rm", "--init", *command)

    def make_home(self, name: str) -> str:
        """Create a directory that only root can enter and return its path."""
        home = f"{self._site.home}/{name}"
        self.run(f"mkdir -p {shlex.quote(home)} && chmod 700 {shlex.quote(home)}")
        return home

    def run(self, line: str, *, check: bool = True) -> str:
        """Run a line of shell as root and return its output of both streams."""
        done = subprocess.run(
            ["docker", "exec", self.name, "bash", "-c", line],
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert not check or done.returncode == 0, f"{line}: {done.returncode}\n{done.stdout}{done.stderr}"
        return (done.stdout + done.stderr).strip()

    def processes(self) -> list[str]:
        """Return the command lines of all processes that `start` started, with their descendants."""
        lines = docker("top", self.name, "-eo", "pid,args").splitlines()[1:]
        return [line for line in lines if not line.endswith("sleep infinity")]

    def close(self) -> None:
        docker("rm", "--force", self.name, check=False)


@contextmanager
def start_machine(site: Site, *options: str) -> Iterator[Machine]:
    """Start a machine; remove it at the end."""
    machine = Machine(site, *options)
    try:
        yield machine
    finally:
        machine.close()


PLAIN = "echo $$ $$; exec {make}"
NOHUP = "nohup {make} & echo $! $$; wait"
"""A shell without job control, such as that of a script, lets its background processes ignore SIGINT too."""
TERMINAL = "echo $$ $$; exec script -qc '{make}' /dev/null"
"""In a terminal, whose process is the one with the printed id."""


class MakeRun:
    """`make run` in a directory of a machine, started by a line of shell that prints its process and group."""

    def __init__(
        self,
        machine: Machine,
        directory: str,
        *options: str,
        variables: str = "",
        line: str = PLAIN,
    ) -> None:
        """Start it with these options of `docker exec` and variables of make."""
        self._machine = machine
        self._options = options
        self.log = Log()
        line = f"cd {shlex.quote(directory)}; {line.format(make=f'make run {variables}')}"
        self._exec = Process("run", ["docker", "exec", *options, machine.name, "sh", "-c", line], self.log)

    def wait_ready(self) -> str:
        """Wait until the wheels are installed and the services are ready; return that line of the output."""
        for milestone in ("starting PostgreSQL", ready := "IssueTracker is ready"):
            wait_until(partial(self._has, milestone), lambda: str(self.log))
        return next(line for line in self.log.lines if ready in line)

    def _has(self, text: str) -> bool:
        assert self._exec.exit_code is None, str(self.log)
        return self.log.has(text)

    def enrich(self) -> None:
        """Post the guide's issue, and wait until it has a summary."""
        found = re.search(r'"id":"([^"]+)"', created := self._machine.run(ISSUE))
        assert found, created
        show = f"curl --silent http://localhost:8000/api/v1/issues/{found[1]}"
        wait_until(lambda: SUMMARY in self._machine.run(show), lambda: f"the summary\n{self.log}")

    def signal(self, name: str, *, group: bool) -> None:
        """Send a signal to make alone, or to its process group."""
        make, leader = self.log.lines[0].removeprefix("run | ").split()
        kill = f"kill -{name} -- {f'-{leader}' if group else make}"
        # As the same user, because root without capabilities may not signal others.
        docker("exec", *self._options, self._machine.name, "bash", "-c", kill)

    def wait_stopped(self) -> None:
        """Wait until no process is left, so that none keeps a port, and no file in the temporary directory."""
        wait_until(
            lambda: not self._machine.processes(), lambda: f"the end\n{self._machine.processes()}\n{self.log}"
        )
        assert self._machine.run("ls /tmp") == ""

    def wait_failed(self) -> str:
        """Wait until `make run` fails, and return its only line of output, without make's own."""
        self._exec.wait(240)
        lines = [line.removeprefix("run | ") for line in self.log.lines[1:]]
        assert lines[-1].startswith("make: *** ")
        assert lines[-1].endswith(" Error 2")
        (line,) = lines[:-1]
        return line
