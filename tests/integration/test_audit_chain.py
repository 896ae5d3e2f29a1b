"""`issuetracker audit verify` finds what was changed in the audit log with SQL."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from uuid import UUID

import psycopg2
import pytest

from api.audit.verification import PAGE
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.processes import Api
from tests.support.servers import Servers
from tests.support.waiting import wait_until

ENTRIES = 6
MIDDLE = "(SELECT id FROM audit_log ORDER BY id OFFSET 2 LIMIT 1)"
LAST = "(SELECT id FROM audit_log ORDER BY id DESC LIMIT 2)"
CHANGED = "The entry was changed."
DELETED = "The entry was deleted."
FORGED = "The entry has no seal. IssueTracker did not write it, or the seal was deleted."
INSERT = "INSERT INTO audit_log (id, actor, action, subject, created_at)"
FAULTS = {
    "actor": (f"UPDATE audit_log SET actor = 'mallory' WHERE id = {MIDDLE}", CHANGED),
    "actor_id": (f"UPDATE audit_log SET actor_id = gen_random_uuid() WHERE id = {MIDDLE}", CHANGED),
    "subject": (f"UPDATE audit_log SET subject = 'other' WHERE id = {MIDDLE}", CHANGED),
    "detail": (f"""UPDATE audit_log SET detail = '{{"tags": []}}' WHERE id = {MIDDLE}""", CHANGED),
    "time": (f"UPDATE audit_log SET created_at = created_at - interval '1 us' WHERE id = {MIDDLE}", CHANGED),
    "id": (f"UPDATE audit_log SET id = gen_random_uuid() WHERE id = {MIDDLE}", (DELETED, FORGED)),
    "delete_middle": (f"DELETE FROM audit_log WHERE id = {MIDDLE}", DELETED),
    "delete_last": (f"DELETE FROM audit_log WHERE id IN {LAST}", DELETED),
    "insert": (f"{INSERT} VALUES (gen_random_uuid(), 'alice', 'issue.changed', 'x', now())", FORGED),
    "insert_old": (f"{INSERT} SELECT '00000000-0000-7000-8000-000000000000', 'a', 'b', 'c', '2020-01-01'", FORGED),
}
NIL = UUID(int=0)
RENUMBER = """
DELETE FROM audit_log WHERE id IN (SELECT entry_id FROM audit_seal WHERE number <= 3);
DELETE FROM audit_seal WHERE number < 3;
UPDATE audit_seal SET number = number - 103;
UPDATE audit_seal SET number = number + 100
"""
SEAL_FAULTS = {
    "digest": ("UPDATE audit_seal SET digest = sha256('x') WHERE number = 3", "The seal was changed."),
    "hash": ("UPDATE audit_seal SET hash = sha256('x') WHERE number = 3", "The seal was changed."),
    "delete_first": ("DELETE FROM audit_seal WHERE number = 1", FORGED),
    "delete_middle": ("DELETE FROM audit_seal WHERE number = 3", FORGED),
    "delete_last": ("DELETE FROM audit_seal WHERE number = 6", FORGED),
    "renumbered": (RENUMBER, "The seal was changed."),
    "negative": (
        f"{INSERT} SELECT '{NIL}', 'a', 'b', 'c', now(); INSERT INTO audit_seal VALUES (-1, '{NIL}', '', '')",
        FORGED,
    ),
    "number": ("UPDATE audit_seal SET number = 9 WHERE number = 6", "Seals before this one were deleted."),
}
RECOMPUTE = """
DO $$ DECLARE seal record; previous bytea; BEGIN
    FOR seal IN SELECT * FROM audit_seal JOIN audit_log ON audit_log.id = entry_id ORDER BY number LOOP
        UPDATE audit_seal SET
            digest = audit_digest(seal.id, seal.actor, seal.actor_id, seal.action, seal.subject, seal.detail,
                seal.created_at)
        WHERE number = seal.number;
        UPDATE audit_seal SET hash = audit_hash(previous, number, entry_id, digest)
        WHERE number = seal.number RETURNING hash INTO previous;
    END LOOP;
END $$
"""


def verify(api: Api, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_cli(str(api.client.base_url), "audit", "verify", *arguments)


def seal(database: Database) -> int:
    """Seal all entries, as an API does after some seconds; return the number of seals."""
    while database.one("SELECT sealed FROM seal_audit_entries(10000)"):
        pass
    # An API may be sealing at the moment.
    wait_until(lambda: database.one("SELECT count(*) FROM audit_pending") == 0, "the seals")
    return int(database.one("SELECT count(*) FROM audit_seal"))


@pytest.fixture
def sealed(api: Api, database: Database) -> Api:
    """Return an API with a sealed audit log."""
    for number in range(ENTRIES):
        api.post(f"issue {number}")
    assert seal(database) == ENTRIES
    return api


def read_head(api: Api) -> str:
    found = re.search("^head: ([0-9a-f]{64}) ", verify(api).stdout, re.MULTILINE)
    assert found is not None
    return found[1]


def test_audit_verify_of_untouched_log_reports_what_it_checked(sealed: Api) -> None:
    verified = verify(sealed)

    assert verified.returncode == 0, verified.stderr
    entries, seals, head, result = verified.stdout.splitlines()
    assert re.fullmatch(f"entries: {ENTRIES} from 20[-0-9T:]+ to 20[-0-9T:]+", entries)
    assert seals == f"seals: {ENTRIES}; waiting: 0"
    assert head.endswith(f" (seal {ENTRIES})")
    assert result == "intact"
    assert verify(sealed, "--head", read_head(sealed)).returncode == 0


def test_audit_verify_of_empty_log_is_intact(api: Api) -> None:
    verified = verify(api)

    assert (verified.returncode, verified.stdout.splitlines()[-2:]) == (0, ["head: -", "intact"])


@pytest.mark.parametrize(("statement", "detail"), FAULTS.values(), ids=FAULTS)
def test_audit_verify_finds_change_of_sealed_entry(
    statement: str, detail: str | tuple[str, ...], sealed: Api, database: Database
) -> None:
    assert verify(sealed).returncode == 0
    database.query(statement)

    verified = verify(sealed)

    assert verified.returncode == 1
    assert verified.stdout.splitlines()[-1].endswith(detail)
    assert re.search(
        "^fault: entry [-0-9a-f]{36}, (-|20[-0-9T:]+), (no seal|seal [1-6]): ", verified.stdout, re.MULTILINE
    )


@pytest.mark.parametrize(("statement", "detail"), FAULTS.values(), ids=FAULTS)
def test_audit_verify_finds_change_of_entry_that_waits_for_its_seal(
    statement: str, detail: str | tuple[str, ...], api: Api, database: Database
) -> None:
    for number in range(ENTRIES):
        api.post(f"issue {number}")
    database.query(statement)

    assert verify(api).stdout.splitlines()[-1].endswith(detail)
    seal(database)
    assert verify(api).stdout.splitlines()[-1].endswith(detail)


@pytest.mark.parametrize(("statement", "detail"), SEAL_FAULTS.values(), ids=SEAL_FAULTS)
def test_audit_verify_finds_change_of_seal(statement: str, detail: str, sealed: Api, database: Database) -> None:
    database.query(statement)

    verified = verify(sealed)

    assert verified.returncode == 1
    assert verified.stdout.splitlines()[-1].endswith(detail)


def test_audit_verify_finds_change_behind_missing_digest(sealed: Api, database: Database) -> None:
    database.query("ALTER TABLE audit_seal ALTER digest DROP NOT NULL")
    try:
        database.query("UPDATE audit_seal SET digest = NULL WHERE number = 3")
        database.query(f"UPDATE audit_log SET actor = 'mallory' WHERE id = {MIDDLE}")

        assert verify(sealed).stdout.splitlines()[-1].endswith("The seal was changed.")
    finally:
        database.query("DELETE FROM audit_seal")
        database.query("ALTER TABLE audit_seal ALTER digest SET NOT NULL")


def test_audit_verify_finds_change_behind_replaced_function(sealed: Api, database: Database) -> None:
    definition = database.one("SELECT pg_get_functiondef('audit_digest'::regproc)")
    body = definition[definition.index("AS $") :]
    database.query(f"UPDATE audit_log SET actor = 'mallory' WHERE id = {MIDDLE}")
    lookup = "AS $$ SELECT digest FROM public.audit_seal WHERE entry_id = $1 $$"
    try:
        database.query(definition.replace(body, lookup).replace("%", "%%"))

        assert verify(sealed).stdout.splitlines()[-1].endswith(CHANGED)
    finally:
        database.query(definition.replace("%", "%%"))


def test_audit_verify_finds_entry_that_waits_too_long(api: Api, database: Database, servers: Servers) -> None:
    with closing(psycopg2.connect(servers.database_url)) as owner:
        # No API seals meanwhile.
        owner.cursor().execute("LOCK TABLE audit_seal IN SHARE ROW EXCLUSIVE MODE")
        database.query("SET application_name = 'issuetracker-api'")
        database.query(f"{INSERT} VALUES (gen_random_uuid(), 'a', 'b', 'c', now() - interval '1 hour')")
        database.query("RESET application_name")

        assert verify(api).stdout.splitlines()[-1].endswith("Check that an API runs.")
    seal(database)
    assert verify(api).returncode == 0


def test_audit_verify_with_stored_head_finds_deletion_of_the_end(sealed: Api, database: Database) -> None:
    head = read_head(sealed)
    database.query(f"DELETE FROM audit_seal WHERE entry_id IN {LAST}")
    database.query(f"DELETE FROM audit_log WHERE id IN {LAST}")

    assert verify(sealed).returncode == 0
    verified = verify(sealed, "--head", head)

    assert verified.returncode == 1
    assert verified.stdout.splitlines()[-1].startswith(f"fault: The log does not contain the head {head}.")


def test_audit_verify_with_stored_head_finds_new_chain(sealed: Api, database: Database) -> None:
    head = read_head(sealed)
    database.query(f"UPDATE audit_log SET actor = 'mallory' WHERE id = {MIDDLE}")
    database.query(RECOMPUTE)

    assert verify(sealed).returncode == 0
    assert verify(sealed, "--head", head).returncode == 1


def test_audit_verify_with_malformed_head_exits_with_2(api: Api) -> None:
    verified = verify(api, "--head", "1234")

    assert verified.returncode == 2
    assert verified.stderr.startswith("issuetracker: head: ")


def test_audit_chain_of_concurrent_writers_is_intact(api: Api, database: Database) -> None:
    with ThreadPoolExecutor(8) as writers:
        posted = list(writers.map(lambda number: api.post(f"issue {number}"), range(80)))
        while seal(database) < len(posted):
            pass

    assert verify(api).stdout.splitlines()[-1] == "intact"


def test_api_seals_entries_and_logs_the_head(api: Api, database: Database) -> None:
    def find_heads() -> list[str]:
        """Return the logged heads that the chain contains. The log has those of earlier tests too."""
        stored = {row["head"] for row in database.query("SELECT encode(hash, 'hex') AS head FROM audit_seal")}
        return [head for head in re.findall('"head": "([0-9a-f]{64})"', str(api.log)) if head in stored]

    def has_sealed() -> bool:
        api.post()  # another API may seal the entry
        return bool(find_heads())

    wait_until(has_sealed, "the API to seal an entry")

    assert verify(api, "--head", find_heads()[-1]).returncode == 0


def add_entries(database: Database, count: int) -> None:
    """Add entries as the API does."""
    database.query("SET application_name = 'issuetracker-api'")
    database.query(
        "INSERT INTO audit_log (id, actor, action, subject)"
        " SELECT gen_random_uuid(), 'a', 'issue.deleted', number FROM generate_series(1, %s) AS number",
        count,
    )
    database.query("RESET application_name")


def test_audit_verify_of_many_entries_reads_all_pages(api: Api, database: Database) -> None:
    count = PAGE + 2
    add_entries(database, count)
    seal(database)

    assert verify(api).stdout.startswith(f"entries: {count} from")
    database.query(
        "UPDATE audit_log SET actor = 'mallory' WHERE id = (SELECT entry_id FROM audit_seal WHERE number = %s)",
        PAGE + 1,
    )
    assert verify(api).stdout.splitlines()[-1].endswith(f"seal {PAGE + 1}: {CHANGED}")


def test_audit_chain_after_rolled_back_entries_is_intact(api: Api, database: Database) -> None:
    database.query("SET application_name = 'issuetracker-api'")
    database.query(
        "DO $$ BEGIN INSERT INTO audit_log (id, actor, action, subject) VALUES (gen_random_uuid(), 'a', 'b', 'c');"
        " RAISE 'x'; EXCEPTION WHEN OTHERS THEN NULL; END $$"
    )
    database.query("RESET application_name")
    api.post()

    assert seal(database) == 1
    assert verify(api).stdout.splitlines()[-1] == "intact"
