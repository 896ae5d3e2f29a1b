"""A short round of `make chaos`."""

from tests.chaos.fleet import Fleet
from tests.chaos.round import run_round, watch_summaries
from tests.support.database import Database
from tests.support.servers import Servers


def test_chaos_round_loses_no_issue_and_enriches_none_twice(servers: Servers, database: Database) -> None:
    watch_summaries(database)
    fleet = Fleet(servers)
    try:
        report = run_round(fleet, database, issues=100, faults=6, seed=7)
    finally:
        fleet.stop()
        database.query("DROP TABLE summary_written; DROP FUNCTION note_summary CASCADE")

    assert report.accepted == 100
    assert (report.lost, report.enriched_twice, report.unrecorded) == (0, 0, 0), report
