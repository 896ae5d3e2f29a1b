"""`make backup` and `make restore` onto empty servers, with pending jobs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from devstack.postgres import find_program
from tests.support.backup import run_over_pipe
from tests.support.database import Database
from tests.support.processes import ROOT, start_api, start_worker
from tests.support.servers import Servers, migrate, start_servers
from tests.support.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.xdist_group("backup")

SHORT = {"LEASE_SECONDS": "2", "DISPATCH_POLL_SECONDS": "0.2"}


def run_devstack(servers: Servers, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "devstack", *arguments],
        cwd=ROOT,
        env={**os.environ, **servers.env},
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def new_servers(directory: Path) -> Iterator[tuple[Servers, Database]]:
    servers = start_servers(directory)
    database = Database(servers.database_url)
    yield servers, database
    database.close()
    servers.close()


def run_backup_script(servers: Servers, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script as in Kubernetes, where programs must read all of their input."""
    programs = Path(find_program("pg_dump")).parent
    return run_over_pipe(arguments, servers.database_url, {"PATH": f"{programs}:{os.environ['PATH']}"})


def count_unfinished_jobs(database: Database) -> int:
    number: int = database.one("SELECT count(*) FROM job WHERE state NOT IN ('succeeded', 'skipped')")
    return number


def count_connections(servers: Servers) -> int:
    """Return the number of connections to the database, over a connection to another one."""
    with closing(servers.postgres.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = 'IssueTracker'")
        ((number,),) = cursor.fetchall()
    return int(number)


def rejection_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the only error line of a run that exited with 2."""
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    return line


def test_restore_with_pending_jobs_enriches_all_issues(tmp_path: Path) -> None:
    dump = tmp_path / "all.dump"
    with new_servers(tmp_path / "first") as (servers, database):
        migrate(servers)
        api = start_api({**servers.env, **SHORT})
        for number in range(6):
            assert api.post(f"Issue {number}").status_code == 201
        database.wait_for_states({"queued": 6})
        # The state after workers completed three jobs.
        database.query(
            "WITH done AS (UPDATE job SET state = 'succeeded', lease_until = NULL WHERE id IN "
            "(SELECT id FROM job ORDER BY id LIMIT 3) RETURNING issue_id) "
            "UPDATE issue SET ai_summary = 'AI Summary: done', tags = 'bug' FROM done WHERE id = issue_id"
        )
        # The state while a worker runs one job.
        database.query(
            "UPDATE job SET state = 'running', attempts = 1, worker = 'w' WHERE id = "
            "(SELECT id FROM job WHERE state = 'queued' LIMIT 1)"
        )

        done = run_devstack(servers, "backup", str(dump))
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("the database now has 6 issues\n")
        assert dump.stat().st_mode & 0o777 == 0o600
        before = database.query("SELECT id, title, tags, created_at FROM issue ORDER BY id")
        assert "exists" in rejection_line(run_backup_script(servers, "save", str(dump)))
        database.close()
        assert "connections to the database" in rejection_line(run_backup_script(servers, "restore", str(dump)))
        api.process.stop(DEADLINE_S)

    with new_servers(tmp_path / "second") as (servers, database):
        done = run_devstack(servers, "restore", str(dump))
        assert done.returncode == 0, done.stderr
        assert done.stdout == "restore: 6 issues, 3 unfinished jobs\n"
        migrate(servers)
        api, worker = start_api({**servers.env, **SHORT}), start_worker({**servers.env, **SHORT})
        try:
            wait_until(lambda: count_unfinished_jobs(database) == 0, "all pending jobs to finish")
        finally:
            for program in (worker, api):
                program.process.stop(DEADLINE_S)
        assert database.query("SELECT id, title, tags, created_at FROM issue ORDER BY id")[:3] == before[:3]
        assert database.one("SELECT count(*) FROM issue WHERE ai_summary IS NOT NULL") == 6


def test_restore_rejects_bad_dumps_and_replaces_only_on_request(tmp_path: Path) -> None:
    with new_servers(tmp_path) as (servers, database):
        migrate(servers)
        # Incompressible, so that the truncation below removes data.
        issues = "SELECT gen_random_uuid(), 'Of the backup', gen_random_uuid() FROM generate_series(1, 4000)"
        database.query(f"INSERT INTO issue (id, title, description) {issues}")
        dump = tmp_path / "one.dump"
        assert run_backup_script(servers, "save", str(dump)).returncode == 0
        truncated = tmp_path / "cut.dump"
        content = dump.read_bytes()
        truncated.write_bytes(content[: len(content) // 2])
        database.query("UPDATE issue SET title = 'Of later'")
        database.query("CREATE TABLE of_a_later_version ()")
        database.close()
        wait_until(lambda: count_connections(servers) == 0, "the end of all connections")

        assert "does not exist" in rejection_line(run_backup_script(servers, "restore", str(tmp_path / "none")))
        assert "not a complete dump" in rejection_line(run_backup_script(servers, "restore", str(truncated)))
        assert "not a complete dump" in rejection_line(
            run_backup_script(servers, "restore", str(ROOT / "README.md"))
        )
        assert "not empty" in rejection_line(run_backup_script(servers, "restore", str(dump)))
        later = Database(servers.database_url)
        assert later.one("SELECT DISTINCT title FROM issue") == "Of later"
        later.close()
        # The server's process of a closed connection ends a little later.
        wait_until(lambda: count_connections(servers) == 0, "the end of all connections")

        done = run_backup_script(servers, "restore", str(dump), "--replace")
        assert done.returncode == 0, done.stderr
        after = Database(servers.database_url)
        assert after.one("SELECT DISTINCT title FROM issue") == "Of the backup"
        assert after.one("SELECT to_regclass('of_a_later_version')") is None
        after.close()
        migrate(servers)


def test_backup_while_database_is_down_leaves_no_file(tmp_path: Path) -> None:
    with new_servers(tmp_path) as (servers, _):
        servers.postgres.stop()
        done = run_backup_script(servers, "save", str(tmp_path / "none.dump"))

    assert done.returncode != 0
    assert "connection" in done.stderr
    assert not list(tmp_path.glob("*.dump*"))
