"""`make run` in fresh containers of python:3.13-slim: it enriches the guide's issue, and stops on a signal.

The first start on a clone installs everything. All tests share the downloaded wheels and run in order.
"""

import shlex
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.docker import needs_images
from tests.support.fresh import Machine, MakeRun, Site, share_site, start_machine
from tests.support.processes import ROOT

BASE = "python:3.13-slim"
ODD = 'Jörg\'s "Projekte", 100 % $HOME & 日本語'
LOCAL = "LOCAL_DIR=/root/local"
READ_ONLY = "/source/tree"
pytestmark = [needs_images(BASE), pytest.mark.xdist_group("fresh-python")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    source = tmp_path_factory.mktemp("source")
    subprocess.run(["git", "clone", "--quiet", ROOT, source / "tree"], check=True)
    with share_site(BASE, source) as site:
        yield site


@pytest.fixture(scope="module")
def machine(site: Site) -> Iterator[Machine]:
    with start_machine(site) as machine:
        yield machine


def check(run: MakeRun, signal: str, *, group: bool = False) -> None:
    """Wait until the run is ready, post the guide's issue, wait for its summary, and signal make."""
    print(run.wait_ready())
    run.enrich()
    run.signal(signal, group=group)
    run.wait_stopped()


@pytest.fixture(scope="module")
def clone(machine: Machine) -> str:
    """Return the directory of a clone in a home that only root can enter."""
    home = machine.make_home("root")
    machine.run(f"git clone --quiet /source/git {home}/IssueTracker")
    return f"{home}/IssueTracker"


@pytest.fixture(scope="module")
def venv(machine: Machine, site: Site) -> str:
    """Return the path of a virtual environment that every user can read, installed from the read-only source."""
    path = f"{site.home}/venv"
    machine.run(f"cd {READ_ONLY} && make {path}/ready VENV={path}")
    return path


@pytest.fixture(scope="module")
def clone_of_user(machine: Machine, venv: str) -> str:
    """Return the directory of a clone in a home that only `user` can enter."""
    home = machine.make_home("user")
    machine.run(
        f"git clone --quiet /source/git {home}/IssueTracker && chown -R user: {home} && touch {venv}/ready"
    )
    return f"{home}/IssueTracker"


def test_root_in_private_home_until_ctrl_c(machine: Machine, clone: str) -> None:
    check(MakeRun(machine, clone), "INT", group=True)


def test_http_proxy_until_sighup_to_make(machine: Machine, clone: str) -> None:
    check(MakeRun(machine, clone, "--env=http_proxy=http://127.0.0.1:9"), "HUP")


def test_shallow_clone_with_umask_077_until_sigint_to_make(machine: Machine) -> None:
    home = machine.make_home("umask")
    machine.run(f"umask 077; git clone --quiet --depth 1 file:///source/git {home}/IssueTracker")

    check(MakeRun(machine, f"{home}/IssueTracker", line="umask 077; echo $$ $$; exec {make}"), "INT")


def test_odd_path_until_sigterm_to_make(machine: Machine) -> None:
    home = machine.make_home(ODD)
    machine.run(f"cd {shlex.quote(home)} && git clone --quiet /source/git .")

    check(MakeRun(machine, home), "TERM")


def test_read_only_source_prints_fix_that_works(machine: Machine, venv: str) -> None:
    assert MakeRun(machine, READ_ONLY).wait_failed() == (
        "make: cannot write to .venv in /source/tree. Choose other directories: "
        "make run VENV=/tmp/venv LOCAL_DIR=/tmp/local"
    )

    check(MakeRun(machine, READ_ONLY, variables=f"VENV={venv} {LOCAL}"), "INT", group=True)


def test_user_without_capabilities_until_sighup_to_group(site: Site, clone_of_user: str, venv: str) -> None:
    with start_machine(site, "--cap-drop=ALL", "--security-opt=no-new-privileges") as machine:
        check(MakeRun(machine, clone_of_user, "--user=user", variables=f"VENV={venv}"), "HUP", group=True)


def test_user_without_setpriv_until_sigterm_to_make(site: Site, clone_of_user: str, venv: str) -> None:
    with start_machine(site) as machine:
        machine.run("rm /usr/bin/setpriv")

        check(MakeRun(machine, clone_of_user, "--user=user", variables=f"VENV={venv}"), "TERM")


def test_machine_without_ipv6_until_sigterm_to_group(site: Site, clone: str) -> None:
    with start_machine(site, "--sysctl=net.ipv6.conf.all.disable_ipv6=1") as machine:
        assert machine.run("cat /proc/net/if_inet6") == ""

        check(MakeRun(machine, clone, variables=LOCAL), "TERM", group=True)


def test_root_without_capabilities_is_reported(site: Site, clone: str) -> None:
    with start_machine(site, "--cap-drop=ALL") as machine:
        line = MakeRun(machine, clone).wait_failed()

    assert line == (
        "issuetracker: PostgreSQL does not run as root, and this root lacks the capabilities "
        "CHOWN, DAC_OVERRIDE, KILL, SETGID, SETUID to start it as another user. "
        "Run as a user that is not root, or add the capabilities "
        "(docker run --cap-add)."
    )


def test_root_without_setpriv_is_reported(site: Site, clone: str) -> None:
    with start_machine(site) as machine:
        machine.run("rm /usr/bin/setpriv")
        line = MakeRun(machine, clone).wait_failed()

    assert line == (
        "issuetracker: PostgreSQL does not run as root, and setpriv is missing. "
        "Use another user, or install util-linux."
    )


def test_user_without_name_is_reported(site: Site, venv: str) -> None:
    with start_machine(site) as machine:
        machine.run("chmod 777 /root")
        environment = ("--user=4321", "--env=HOME=/root")
        line = MakeRun(
            machine, "/source/tree", *environment, variables=f"VENV={site.home}/venv {LOCAL}"
        ).wait_failed()

    assert line == (
        "issuetracker: the user 4321 has no name, which PostgreSQL requires. "
        "Use a user of /etc/passwd, or add this one."
    )
