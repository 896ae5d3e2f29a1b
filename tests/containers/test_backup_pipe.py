"""`deploy/backup` dumps and restores 50 MB through a pipe that blocks unless all of it is read."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from tests.support.backup import run_over_pipe
from tests.support.containers import POSTGRES_IMAGE, ContainerPostgres
from tests.support.database import Database
from tests.support.docker import needs_images
from tests.support.servers import FAST_OPTIONS, run_alembic

pytestmark = [needs_images(POSTGRES_IMAGE)]

CHUNKS, CHUNK_BYTES = 52, 2**20
CHECKSUM = "SELECT md5(string_agg(md5(content), ',' ORDER BY id)) FROM attachment"


@pytest.fixture
def postgres() -> Iterator[ContainerPostgres]:
    server = ContainerPostgres(FAST_OPTIONS)
    server.start()
    yield server
    server.remove()


def test_backup_of_50_mb_over_pipe_is_restored(postgres: ContainerPostgres, tmp_path: Path) -> None:
    assert run_alembic(postgres.url, "upgrade", "head").returncode == 0
    database = Database(postgres.url)
    database.query("CREATE TABLE attachment (id int, content bytea)")
    for number in range(CHUNKS):
        database.query("INSERT INTO attachment VALUES (%s, %s)", number, psycopg2.Binary(os.urandom(CHUNK_BYTES)))
    database.query(
        "INSERT INTO issue (id, title) SELECT gen_random_uuid(), 'Of the backup' FROM generate_series(1, 9)"
    )
    checksum = database.one(CHECKSUM)
    database.close()
    dump = tmp_path / "all.dump"
    container = postgres.container.get_wrapped_container().id

    def backup(*arguments: str) -> tuple[int, str]:
        done = run_over_pipe(
            arguments, "user=issuetracker dbname=IssueTracker", os.environ, f"docker exec -i {container}"
        )
        return done.returncode, done.stdout + done.stderr

    code, output = backup("save", str(dump))
    assert code == 0, output
    assert output.endswith("the database now has 9 issues\n")
    assert dump.stat().st_size > 50e6

    database = Database(postgres.url)
    database.query("TRUNCATE attachment, issue CASCADE")
    database.close()
    code, output = backup("restore", str(dump), "--replace")
    assert code == 0, output
    assert output == "restore: 9 issues, 0 unfinished jobs\n"
    database = Database(postgres.url)
    assert database.one(CHECKSUM) == checksum

    # A file that pg_restore rejects at its first bytes, and a dump that psql rejects at its first table.
    noise = tmp_path / "noise.dump"
    noise.write_bytes(os.urandom(10**6))
    code, output = backup("restore", str(noise), "--replace")
    assert code == 2
    assert "noise.dump is not a complete dump of IssueTracker's database. pg_restore: error: " in output
    with postgres.connect("IssueTracker") as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE attachment OWNER TO postgres")
    connection.close()
    database.close()
    code, output = backup("restore", str(dump), "--replace")
    assert code != 0
    assert 'relation "attachment" already exists' in output
    database = Database(postgres.url)
    assert database.one("SELECT count(*) FROM issue") == 9
    database.close()
