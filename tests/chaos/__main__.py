"""Run `python -m tests.chaos --rounds 20 --issues 500 --seed 1`. Exit with 1 if a job was lost or done twice."""

import argparse
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.chaos.fleet import Fleet
from tests.chaos.round import POSTERS, Report, run_round, watch_summaries
from tests.support.database import Database
from tests.support.servers import migrate, start_servers


def main() -> int:
    """Run the rounds and print their reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--issues", type=int, default=500, help="accepted issues per round")
    parser.add_argument("--faults", type=int, default=8, help="minimum number of faults per round")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first round; each round adds one")
    arguments = parser.parse_args()
    reports: list[Report] = []
    with tempfile.TemporaryDirectory(prefix="chaos-") as directory:
        Path(directory).chmod(0o755)
        servers = start_servers(Path(directory))
        migrate(servers)
        database = Database(servers.database_url)
        watch_summaries(database)
        fleet = Fleet(servers)
        print(
            f"{'seed':>5} {'faults':>6} {'accepted':>8} {'failed':>7} {'lost':>4} {'twice':>5} {'dead':>4} "
            f"{'retry':>5} {'recovery s':>10}",
            flush=True,
        )
        for number in range(arguments.rounds):
            seed = arguments.seed + number
            report = run_round(fleet, database, arguments.issues, arguments.faults, seed)
            reports.append(report)
            print(
                f"{seed:5} {report.faults.total():6} {report.accepted:8} {report.failed_requests:7} "
                f"{report.lost:4} {report.enriched_twice:5} {report.dead:4} "
                f"{report.republished:5} {report.recovery_s:10.1f}",
                flush=True,
            )
        fleet.stop()
        database.close()
        servers.close()
    return summarise(reports, arguments.issues // POSTERS * POSTERS * arguments.rounds)


def summarise(reports: list[Report], expected: int) -> int:
    """Print the totals and return the exit code."""
    faults = sum((report.faults for report in reports), Counter[str]())
    print("\nfaults caused:")
    for name, count in sorted(faults.items()):
        print(f"  {count:5}  {name}")
    lost, twice, unrecorded = (
        sum(getattr(report, attribute) for report in reports)
        for attribute in ("lost", "enriched_twice", "unrecorded")
    )
    accepted = sum(report.accepted for report in reports)
    durations = sorted(duration for report in reports for duration in report.waits_s)
    recovery_times = sorted(report.recovery_s for report in reports)
    print(
        f"accepted {accepted}, lost {lost}, enriched twice {twice}, "
        f"dead {sum(report.dead for report in reports)}, attempts not recorded {unrecorded}"
    )
    print(
        f"recovery after the last fault of a round: p50 {_percentile(recovery_times, 0.5):.1f} s, "
        f"p99 {_percentile(recovery_times, 0.99):.1f} s"
    )
    print(
        f"POST to end, including faults: p50 {statistics.median(durations):.1f} s, "
        f"p99 {_percentile(durations, 0.99):.1f} s"
    )
    return 1 if lost or twice or unrecorded or accepted != expected else 0


def _percentile(values: list[float], share: float) -> float:
    return values[min(int(len(values) * share), len(values) - 1)]


if __name__ == "__main__":
    sys.exit(main())
