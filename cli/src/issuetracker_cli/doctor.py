"""`issuetracker doctor`: report problems and what to do next."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from issuetracker_cli.client import TARGET, UNAVAILABLE, call
from issuetracker_cli.output import print_line

OLDEST_JOB_MAX_S = 300
CLOCK_MAX_S = 5
MEMORY_MAX = 0.8
"""Share of the memory that Redis may use."""

RUNBOOKS = "docs/runbooks"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of one check, and what to do about a problem."""

    text: str
    wrong: bool = False
    next_step: str | None = None


def _see(alert: str) -> str:
    return f"{RUNBOOKS}/{alert}.md"


Check = Callable[[dict[str, Any]], Verdict]


def _database(seen: dict[str, Any]) -> Verdict:
    database = seen["database"]
    text = (
        f"PostgreSQL {database['version']}, {database['connections']} of {database['connections_max']} connections"
    )
    if database["is_replica"]:
        return Verdict(f"{text}; it is a replica and accepts no writes", True, _see("DatabaseDown"))
    return Verdict(text)


def _migrations(seen: dict[str, Any]) -> Verdict:
    current, head = seen["migrations"]["current"], seen["migrations"]["head"]
    if current == head:
        return Verdict(f"at {head}")
    if seen["migrations"]["is_newer"]:
        return Verdict(f"at {current}, newer than {head} of this API: an upgrade is in progress")
    return Verdict(
        f"{f'at {current}' if current else 'not migrated'}; this version requires {head}",
        True,
        f"make migrate, or `docker compose up migrate`; {_see('SchemaNotAtHead')}",
    )


def _broker(seen: dict[str, Any]) -> Verdict:
    broker = seen["broker"]
    if broker["is_replica"]:
        return Verdict(f"{broker['version']} is a replica and accepts no messages", True, _see("DispatchFails"))
    return Verdict(f"{broker['version']}, {_mib(broker['used_bytes'])} used")


def _broker_settings(seen: dict[str, Any]) -> Verdict:
    broker = seen["broker"]
    faults = []
    if broker["eviction_policy"] != "noeviction":
        faults.append(
            f"maxmemory-policy is {broker['eviction_policy']}: Redis drops messages when its memory is full"
        )
    if not broker["append_only"]:
        faults.append(
            "appendonly is no: a restart loses the waiting messages, and their jobs wait until the lease expires"
        )
    if not broker["is_writing"]:
        faults.append("the last write to the append-only file failed: check the disk space")
    if broker["max_bytes"] and broker["used_bytes"] > MEMORY_MAX * broker["max_bytes"]:
        faults.append(f"{_mib(broker['used_bytes'])} of {_mib(broker['max_bytes'])} used")
    if faults:
        step = "set maxmemory-policy noeviction and appendonly yes, as deploy/compose/servers.yaml does"
        return Verdict("; ".join(faults), True, f"{step}; {_see('RedisMemoryNearBound')}")
    return Verdict("noeviction, append-only file on")


def _consumers(seen: dict[str, Any]) -> Verdict:
    workers, waiting = seen["workers"], seen["broker"]["messages"]
    consumers = {queue: sum(queue in worker["queues"] for worker in workers) for queue in waiting}
    text = ", ".join(
        f"{queue}: {_count(consumers[queue], 'worker')}, {_count(waiting[queue], 'message')}" for queue in waiting
    )
    if all(consumers.values()):
        return Verdict(text)
    return Verdict(text, True, f"start a worker: `docker compose up --wait`; {_see('QueueHasNoConsumer')}")


def _oldest_job(seen: dict[str, Any]) -> Verdict:
    jobs = seen["jobs"]
    oldest = max(jobs["oldest_due_s"].values(), default=0)
    text = ", ".join(f"{number} {state}" for state, number in jobs["unfinished"].items()) or "no unfinished jobs"
    if jobs["open_circuits"]:
        text += "; waiting for a provider: " + ", ".join(jobs["open_circuits"])
    if not jobs["oldest_due_s"]:
        return Verdict(text if jobs["open_circuits"] else f"{text}; none due")
    if oldest <= OLDEST_JOB_MAX_S:
        return Verdict(f"{text}; the oldest has waited for {oldest:.0f} s")
    step = _see("CircuitOpen" if jobs["open_circuits"] else "JobsWaitTooLong")
    return Verdict(f"{text}; the oldest has waited for {oldest:.0f} s", True, step)


def _dead_letters(seen: dict[str, Any]) -> Verdict:
    jobs, messages = seen["jobs"]["dead_jobs"], seen["jobs"]["dead_messages"]
    if jobs + messages == 0:
        return Verdict("none")
    step = f"issuetracker dead-letters list; {_see('DeadLettersGrow')}"
    return Verdict(f"{_count(jobs, 'job')} and {_count(messages, 'message')} await a decision", True, step)


def _clocks(seen: dict[str, Any]) -> Verdict:
    ahead = {part: seen[part]["clock_ahead_s"] for part in ("database", "broker") if seen[part] is not None}
    ahead |= {worker["worker"]: worker["clock_ahead_s"] for worker in seen["workers"] or ()}
    wrong = {name: seconds for name, seconds in ahead.items() if abs(seconds) > CLOCK_MAX_S}
    if not wrong:
        return Verdict(f"at most {max(map(abs, ahead.values()), default=0):.1f} s apart")
    text = ", ".join(f"{name} is {seconds:+.1f} s from the API" for name, seconds in wrong.items())
    return Verdict(text, True, "synchronize the machines' clocks (chrony, systemd-timesyncd)")


def _contracts(seen: dict[str, Any]) -> Verdict:
    ours = seen["contract_version"]
    readers = [worker["contract_version"] for worker in seen["workers"]]
    written = list(seen["jobs"]["contract_versions"])
    text = f"API {ours}, workers {_versions(readers)}, waiting jobs {_versions(written)}"
    newest = max(map(_major, [ours, *written]))
    if any(_major(version) < newest for version in readers):
        step = f"upgrade the workers; {_see('ContractSkew')}"
        return Verdict(f"{text}: some workers cannot read all messages", True, step)
    return Verdict(text)


@dataclass(frozen=True, slots=True)
class Subject:
    """One check: the parts of the diagnosis that it needs, and its exit code."""

    name: str
    exit_code: int
    needs: tuple[str, ...]
    check: Check
    step_if_missing: str = ""
    """What to do if those parts are missing from the diagnosis."""


SUBJECTS = (
    Subject(
        "database", 10, ("database",), _database, f"`docker compose up --wait postgres`; {_see('DatabaseDown')}"
    ),
    Subject("schema", 11, ("migrations",), _migrations, _see("SchemaNotAtHead")),
    Subject("redis", 12, ("broker",), _broker, f"`docker compose up --wait redis`; {_see('RedisDown')}"),
    Subject("redis settings", 13, ("broker",), _broker_settings),
    Subject("consumers", 14, ("broker", "workers"), _consumers, _see("QueueHasNoConsumer")),
    Subject("oldest job", 15, ("jobs",), _oldest_job, _see("SchemaNotAtHead")),
    Subject("dead letters", 16, ("jobs",), _dead_letters, _see("SchemaNotAtHead")),
    Subject("clocks", 17, (), _clocks),
    Subject("contracts", 18, ("jobs", "workers"), _contracts),
)
"""Checks, causes before effects: the first problem sets the exit code."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the report."""

    name: str
    status: str
    says: str
    """The text; a field of the JSON output, whose name is stable."""
    next_step: str | None
    exit_code: int


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Check the installation and print what to do about each problem.

    The exit code is that of the first problem: 3 API, 10 database, 11 schema, 12 Redis, 13 Redis settings,
    14 queue without a worker, 15 jobs that wait too long, 16 dead letters, 17 clocks, 18 contract versions.
    """
    try:
        seen = call("GET", "/diagnosis")
    except typer.Exit as end:
        if end.exit_code == UNAVAILABLE:
            typer.echo(
                f"next: check that the API runs: `docker compose ps api`, or `make run`; {_see('ApiDown')}",
                err=True,
            )
        raise
    findings = [Finding("api", "ok", f"version {seen['version']} at {TARGET.get().url}", None, 0), *examine(seen)]
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print(findings)
    raise typer.Exit(exit_code(findings))


def exit_code(findings: list[Finding]) -> int:
    """Return the exit code of the first problem, or 0 if there is none."""
    return next((finding.exit_code for finding in findings if finding.exit_code), 0)


def examine(seen: dict[str, Any]) -> list[Finding]:
    """Return the findings of a diagnosis; a server that is down is reported once, as its first check."""
    findings: list[Finding] = []
    down: set[str] = set()
    for subject in SUBJECTS:
        missing = [part for part in subject.needs if seen[part] is None]
        if not missing:
            verdict = subject.check(seen)
            status, code = ("wrong", subject.exit_code) if verdict.wrong else ("ok", 0)
            findings.append(Finding(subject.name, status, verdict.text, verdict.next_step, code))
            continue
        text = seen["errors"].get(missing[0], "no response")
        if down.isdisjoint(_SERVER[part] for part in missing):
            findings.append(Finding(subject.name, "wrong", text, subject.step_if_missing, subject.exit_code))
        else:
            findings.append(Finding(subject.name, "unknown", "cannot be checked", None, 0))
        down |= {_SERVER[part] for part in missing}
    return findings


_SERVER = {
    "database": "database",
    "migrations": "database",
    "jobs": "database",
    "broker": "broker",
    "workers": "broker",
}


def _print(findings: list[Finding]) -> None:
    for finding in findings:
        mark = finding.status.upper() if finding.status == "wrong" else finding.status
        print_line(f"{mark:7}  {finding.name:14}  {finding.says}")
        if finding.next_step is not None:
            print_line(f"{'':7}  {'':14}  next: {finding.next_step}")
    wrong = sum(finding.status == "wrong" for finding in findings)
    print_line(_count(wrong, "problem") if wrong else "no problems")


def _versions(versions: list[str]) -> str:
    return ", ".join(sorted(set(versions))) or "none"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _major(version: str) -> int:
    return int(version.partition(".")[0])


def _mib(number: int) -> str:
    return f"{number / 2**20:.0f} MiB"
