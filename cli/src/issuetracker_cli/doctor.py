"""`issuetracker doctor`: report problems and the next steps."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from contracts.redis_url import normalize_redis_url
from issuetracker_cli.client import BAD_INPUT, TARGET, UNAVAILABLE, call, fail
from issuetracker_cli.output import print_line

OLDEST_JOB_MAX_S = 300
OVERDUE_MAX_S = 60
CLOCK_MAX_S = 5
MEMORY_MAX = 0.8
"""Share of the memory that Redis may use."""

RUNBOOKS = "docs/runbooks"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check, and the next step if there is a problem."""

    text: str
    is_problem: bool = False
    next_step: str | None = None


@dataclass(frozen=True, slots=True)
class Commands:
    """Commands that fix a problem, which depend on the way in which the product runs."""

    database: str
    redis: str
    migrations: str
    workers: str
    redis_settings: str


COMPOSE = Commands(
    database="`docker compose up --wait postgres`",
    redis="`docker compose up --wait redis`",
    migrations="make migrate, or `docker compose up migrate`",
    workers="`docker compose up --wait`",
    redis_settings="deploy/compose/servers.yaml",
)
KUBERNETES = Commands(
    database="`kubectl describe pod postgres-0`",
    redis="`kubectl describe pod redis-0`",
    migrations="`kubectl logs --selector app.kubernetes.io/name=migrate`",
    workers="`kubectl describe pods --selector app.kubernetes.io/name=worker`",
    redis_settings="deploy/k8s/base/redis.yaml",
)


def _commands(diagnosis: dict[str, Any]) -> Commands:
    # An older API does not report it.
    return KUBERNETES if diagnosis.get("is_in_kubernetes") else COMPOSE


def _runbook(alert: str) -> str:
    return f"{RUNBOOKS}/{alert}.md"


def _check_database(diagnosis: dict[str, Any]) -> CheckResult:
    database = diagnosis["database"]
    text = (
        f"PostgreSQL {database['version']}, {database['connections']} of {database['connections_max']} connections"
    )
    if database["is_replica"]:
        return CheckResult(f"{text}; it is a replica and accepts no writes", True, _runbook("DatabaseDown"))
    if database.get("is_read_only"):  # older APIs do not report it
        return CheckResult(f"{text}; default_transaction_read_only is on", True, _runbook("DatabaseDown"))
    return CheckResult(text)


def _check_migrations(diagnosis: dict[str, Any]) -> CheckResult:
    current, head = diagnosis["migrations"]["current"], diagnosis["migrations"]["head"]
    if current == head:
        return CheckResult(f"at {head}")
    if diagnosis["migrations"]["is_newer"]:
        return CheckResult(f"at {current}, newer than {head} of this API: an upgrade is in progress")
    return CheckResult(
        f"{f'at {current}' if current else 'not migrated'}; this version requires {head}",
        True,
        f"{_commands(diagnosis).migrations}; {_runbook('SchemaNotAtHead')}",
    )


def _check_broker(diagnosis: dict[str, Any]) -> CheckResult:
    broker = diagnosis["broker"]
    if broker["is_replica"]:
        return CheckResult(
            f"{broker['version']} is a replica and accepts no messages", True, _runbook("DispatchFails")
        )
    return CheckResult(f"{broker['version']}, {_mib(broker['used_bytes'])} used")


def _check_broker_settings(diagnosis: dict[str, Any]) -> CheckResult:
    broker = diagnosis["broker"]
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
        file = _commands(diagnosis).redis_settings
        step = f"set maxmemory-policy noeviction and appendonly yes, as {file} does"
        return CheckResult("; ".join(faults), True, f"{step}; {_runbook('RedisMemoryNearBound')}")
    return CheckResult("noeviction, append-only file on")


def _check_consumers(diagnosis: dict[str, Any]) -> CheckResult:
    workers, waiting = diagnosis["workers"], diagnosis["broker"]["messages"]
    consumers = {queue: sum(queue in worker["queues"] for worker in workers) for queue in waiting}
    text = ", ".join(
        f"{queue}: {_count(consumers[queue], 'worker')}, {_count(waiting[queue], 'message')}" for queue in waiting
    )
    if all(consumers.values()):
        return CheckResult(text)
    step = f"start a worker: {_commands(diagnosis).workers}; {_runbook('QueueHasNoConsumer')}"
    return CheckResult(text, True, step)


def _check_oldest_job(diagnosis: dict[str, Any]) -> CheckResult:
    jobs = diagnosis["jobs"]
    oldest = max(jobs["oldest_due_s"].values(), default=0)
    text = ", ".join(f"{number} {state}" for state, number in jobs["unfinished"].items()) or "no unfinished jobs"
    if jobs["open_circuits"]:
        text += "; waiting for a provider: " + ", ".join(jobs["open_circuits"])
    # An older API does not report them. Their jobs wait on purpose.
    pauses = jobs.get("pauses", [])
    if pauses:
        text += "; paused: " + ", ".join(f"{pause['kind']} {pause['name']}" for pause in pauses)
    # An older API does not report it. Background jobs may wait for hours.
    background = max(jobs.get("oldest_background_s", {}).values(), default=None)
    if background is not None:
        text += f"; the oldest background job has waited for {background:.0f} s"
    if not jobs["oldest_due_s"]:
        is_explained = jobs["open_circuits"] or pauses or background is not None
        return CheckResult(text if is_explained else f"{text}; none due")
    if oldest <= OLDEST_JOB_MAX_S:
        return CheckResult(f"{text}; the oldest has waited for {oldest:.0f} s")
    step = _runbook("CircuitOpen" if jobs["open_circuits"] else "JobsWaitTooLong")
    return CheckResult(f"{text}; the oldest has waited for {oldest:.0f} s", True, step)


def _check_dead_letters(diagnosis: dict[str, Any]) -> CheckResult:
    jobs, messages = diagnosis["jobs"]["dead_jobs"], diagnosis["jobs"]["dead_messages"]
    if jobs + messages == 0:
        return CheckResult("none")
    step = f"issuetracker dead-letters list; {_runbook('DeadLettersGrow')}"
    return CheckResult(f"{_count(jobs, 'job')} and {_count(messages, 'message')} await a decision", True, step)


def _check_clocks(diagnosis: dict[str, Any]) -> CheckResult:
    ahead = {
        part: diagnosis[part]["clock_ahead_s"] for part in ("database", "broker") if diagnosis[part] is not None
    }
    ahead |= {worker["worker"]: worker["clock_ahead_s"] for worker in diagnosis["workers"] or ()}
    wrong = {name: seconds for name, seconds in ahead.items() if abs(seconds) > CLOCK_MAX_S}
    if not wrong:
        return CheckResult(f"at most {max(map(abs, ahead.values()), default=0):.1f} s apart")
    text = ", ".join(f"{name} is {seconds:+.1f} s from the API" for name, seconds in wrong.items())
    return CheckResult(text, True, "synchronize the machines' clocks (chrony, systemd-timesyncd)")


def _check_contracts(diagnosis: dict[str, Any]) -> CheckResult:
    ours = diagnosis["contract_version"]
    readers = [worker["contract_version"] for worker in diagnosis["workers"]]
    written = list(diagnosis["jobs"]["contract_versions"])
    text = f"API {ours}, workers {_versions(readers)}, waiting jobs {_versions(written)}"
    newest = max(map(_major, [ours, *written]))
    if any(_major(version) < newest for version in readers):
        step = f"upgrade the workers; {_runbook('ContractSkew')}"
        return CheckResult(f"{text}: some workers cannot read all messages", True, step)
    return CheckResult(text)


def _check_proxy(diagnosis: dict[str, Any]) -> CheckResult:
    proxy = diagnosis.get("ignored_proxy")  # older APIs do not report it
    if proxy is None:
        return CheckResult("no forwarding headers were ignored")
    text = f"the API ignores the forwarding headers of {proxy}: it does not know its clients' addresses and https"
    return CheckResult(text, True, f"if it is your reverse proxy, add {proxy} to FORWARDED_ALLOW_IPS")


def _check_schedules(diagnosis: dict[str, Any]) -> CheckResult:
    # An older API does not report them.
    overdue = diagnosis["jobs"].get("overdue_schedules_s", {})
    missing = diagnosis["jobs"].get("missing_schedules", [])
    faults = [f"{name} is missing and never runs" for name in missing]
    faults += [
        f"{name} is overdue by {seconds:.0f} s" for name, seconds in overdue.items() if seconds > OVERDUE_MAX_S
    ]
    return CheckResult("; ".join(faults), True, _runbook("ScheduleOverdue")) if faults else CheckResult("on time")


def _check_webhook_secrets(diagnosis: dict[str, Any]) -> CheckResult:
    clear = diagnosis.get("clear_webhook_secrets")
    if clear is None:
        return CheckResult("unknown")  # the database is down, or the API is older
    if not clear:
        return CheckResult("no secret is in clear text")
    return CheckResult(
        f"the database has {clear} in clear text: set SECRET_KEYS and run `issuetracker webhooks encrypt-secrets`"
    )


@dataclass(frozen=True, slots=True)
class Check:
    """One check: the parts of the diagnosis that it reads, and its exit code."""

    name: str
    exit_code: int
    parts: tuple[str, ...]
    run: Callable[[dict[str, Any]], CheckResult]
    alert: str = ""
    """The alert whose runbook helps if one of these parts is missing from the diagnosis."""

    def step_if_missing(self, commands: Commands) -> str:
        """Return the next step if one of the parts is missing from the diagnosis."""
        command = {"database": commands.database, "redis": commands.redis}.get(self.name)
        return f"{command}; {_runbook(self.alert)}" if command else _runbook(self.alert)


CHECKS = (
    Check("database", 10, ("database",), _check_database, "DatabaseDown"),
    Check("schema", 11, ("migrations",), _check_migrations, "SchemaNotAtHead"),
    Check("redis", 12, ("broker",), _check_broker, "RedisDown"),
    Check("redis settings", 13, ("broker",), _check_broker_settings, "RedisDown"),
    Check("consumers", 14, ("broker", "workers"), _check_consumers, "QueueHasNoConsumer"),
    Check("oldest job", 15, ("jobs",), _check_oldest_job, "SchemaNotAtHead"),
    Check("dead letters", 16, ("jobs",), _check_dead_letters, "SchemaNotAtHead"),
    Check("clocks", 17, (), _check_clocks),
    Check("contracts", 18, ("jobs", "workers"), _check_contracts, "ContractSkew"),
    Check("proxy", 19, (), _check_proxy),
    Check("schedules", 20, ("jobs",), _check_schedules, "SchemaNotAtHead"),
    Check("webhook secrets", 0, (), _check_webhook_secrets),
)
"""Checks, causes before effects: the first problem sets the exit code."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the report."""

    name: str
    status: str
    message: str
    next_step: str | None
    exit_code: int


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Check the installation and print the next step for each problem.

    The exit code is that of the first problem: 3 API, 10 database, 11 schema, 12 Redis, 13 Redis settings,
    14 queue without a worker, 15 jobs that wait too long, 16 dead letters, 17 clocks, 18 contract versions,
    19 reverse proxy, 20 overdue or missing schedules.
    """
    _check_environment()
    try:
        diagnosis = call("GET", "/diagnosis")
    except typer.Exit as end:
        if end.exit_code == UNAVAILABLE:
            typer.echo(
                "next: check that the API runs: `docker compose ps api`, `kubectl get pods` or `make run`; "
                + _runbook("ApiDown"),
                err=True,
            )
        raise
    findings = [
        Finding("api", "ok", f"version {diagnosis['version']} at {TARGET.get().url}", None, 0),
        *examine(diagnosis),
    ]
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print(findings)
    raise typer.Exit(exit_code(findings))


def _check_environment() -> None:
    """Exit if the services would not start with this environment. In a container it is theirs too."""
    url = os.environ.get("CELERY_BROKER_URL")
    if not url:
        return
    try:
        normalize_redis_url(url)
    except ValueError as error:
        fail(f"bad setting: CELERY_BROKER_URL: {error}.", BAD_INPUT)


def exit_code(findings: list[Finding]) -> int:
    """Return the exit code of the first problem, or 0 if there is none."""
    return next((finding.exit_code for finding in findings if finding.exit_code), 0)


def examine(diagnosis: dict[str, Any]) -> list[Finding]:
    """Return the findings of a diagnosis; a server that is down is reported once, as its first check."""
    findings: list[Finding] = []
    down: set[str] = set()
    commands = _commands(diagnosis)
    for check in CHECKS:
        missing = [part for part in check.parts if diagnosis[part] is None]
        if not missing:
            result = check.run(diagnosis)
            status, code = ("wrong", check.exit_code) if result.is_problem else ("ok", 0)
            findings.append(Finding(check.name, status, result.text, result.next_step, code))
            continue
        text = diagnosis["errors"].get(missing[0], "no response")
        if down.isdisjoint(_SERVER[part] for part in missing):
            findings.append(Finding(check.name, "wrong", text, check.step_if_missing(commands), check.exit_code))
        else:
            findings.append(Finding(check.name, "unknown", "cannot be checked", None, 0))
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
        print_line(f"{mark:7}  {finding.name:14}  {finding.message}")
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
