"""The real retry schedule, once: a job that fails four times, with the default settings. Takes seven minutes.

python -m benchmarks.retry_schedule
"""

import sys

from benchmarks.stage import stage
from tests.support.processes import start_api, start_worker
from tests.support.tasks import TASK


def main() -> int:
    """Run the job and print what the ledger tells of its attempts."""
    with stage() as (servers, database):
        api = start_api(servers.env)
        worker = start_worker(servers.env, app="tests.support.misbehaving_app")
        job_id = database.add_job(TASK, how="transient")
        database.wait_for_states({"dead": 1}, 600)
        before = None
        for failure in database.failures(job_id):
            waited = "" if before is None else f", {(failure['started_at'] - before).total_seconds():.1f} s later"
            print(f"attempt {failure['attempt']} at {failure['started_at']:%H:%M:%S}{waited}: {failure['error']}")
            before = failure["failed_at"]
        print(f"then {database.job(job_id)['state']}")
        worker.process.stop(60)
        api.process.stop(60)
    return 0


if __name__ == "__main__":
    sys.exit(main())
