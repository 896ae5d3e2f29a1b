"""Writes Grafana's dashboards: `make dashboards`. What they show is here; what Grafana wants around it is below.

A panel's description says what it means and which page of docs/runbooks to open. Panels ask the data
source that the dashboard's first variable chooses, so the files work in any Grafana.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parent / "grafana/dashboards"
SCHEMA_VERSION = 41
"""Grafana 12's; it brings an older one up to date when it loads it."""
COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: `queries` maps what the legend says to PromQL; `unit` is Grafana's name of it."""

    title: str
    description: str
    unit: str
    queries: Mapping[str, str]
    kind: str = "timeseries"
    width: int = 12

    @property
    def height(self) -> int:
        """Rows of Grafana's grid."""
        return 4 if self.kind == "stat" else 8


def stat(title: str, description: str, unit: str, query: str, width: int = 4) -> Panel:
    """One figure."""
    return Panel(title, description, unit, {title: query}, "stat", width)


def quantiles(metric: str, by: str = "", selector: str = "") -> dict[str, str]:
    """Within which time half, and 99 of 100, were done."""
    rate = f"rate(issuetracker_{metric}_bucket{selector}[$__rate_interval])"
    legend = f"{{{{{by}}}}} " if by else ""
    grouping = f"le, {by}" if by else "le"
    return {
        f"{legend}{words}": f"histogram_quantile({share}, sum by ({grouping}) ({rate}))"
        for words, share in (("half within", 0.5), ("99% within", 0.99))
    }


def rate(metric: str, by: str, selector: str = "") -> dict[str, str]:
    """How many a second, by one label."""
    return {f"{{{{{by}}}}}": f"sum by ({by}) (rate(issuetracker_{metric}{selector}[$__rate_interval]))"}


POST = '{method="POST",route="/api/v1/issues"}'


def share_within(metric: str, le: str, labels: str = "") -> str:
    """Which part of what happened in the dashboard's time took at most so long."""
    within = f'sum(increase(issuetracker_{metric}_bucket{{{labels}le="{le}"}}[$__range]))'
    return f"{within} / sum(increase(issuetracker_{metric}_count{{{labels.rstrip(',')}}}[$__range]))"


OVERVIEW = (
    stat(
        "Enriched within a minute",
        "Of the issues that were enriched in this time. The objective is 99%. ErrorBudgetBurnsFast.md",
        "percentunit",
        share_within("issue_enriched_seconds", "60.0"),
    ),
    stat(
        "POSTs that did not fail",
        "Answered with anything but 5xx. The objective is 99.9%. ErrorBudgetBurnsFast.md",
        "percentunit",
        f'1 - sum(increase(issuetracker_http_requests_total{POST[:-1]},status_class="5xx"}}[$__range]))'
        f" / sum(increase(issuetracker_http_requests_total{POST}[$__range]))",
    ),
    stat(
        "POSTs answered within 250 ms",
        "The objective is 99%. ErrorBudgetBurnsFast.md",
        "percentunit",
        share_within("http_request_seconds", "0.25", f"{POST[1:-1]},"),
    ),
    stat(
        "Oldest due job",
        "For how long it has waited to be run. JobsWaitTooLong.md",
        "s",
        "max(issuetracker_oldest_due_job_age_seconds)",
    ),
    stat("Dead letters", "What waits for a person. DeadLettersGrow.md", "none", "sum(issuetracker_dead_letters)"),
    stat(
        "Alerts that fire",
        "Each has its page in docs/runbooks.",
        "none",
        'count(ALERTS{alertstate="firing"}) or vector(0)',
    ),
    Panel(
        "POST to enriched",
        "The promise: how long issues waited from their POST to their enrichment.",
        "s",
        quantiles("issue_enriched_seconds"),
    ),
    Panel(
        "How fast the error budgets burn",
        "At 1 a budget lasts 30 days; above 14.4 for an hour, or 6 for six, it pages. ErrorBudgetBurnsFast.md",
        "none",
        {
            "{{slo}}, 1 hour": "slo:issuetracker_burn:rate1h",
            "{{slo}}, 6 hours": "slo:issuetracker_burn:rate6h",
        },
    ),
    Panel("Traffic", "Requests by their answer.", "reqps", rate("http_requests_total", "status_class"), width=8),
    Panel(
        "Errors",
        "Requests answered 5xx, by route.",
        "reqps",
        rate("http_requests_total", "route", '{status_class="5xx"}'),
        width=8,
    ),
    Panel(
        "Time to answer",
        "Of the API's own routes, without probes and scrapes.",
        "s",
        quantiles("http_request_seconds", "method", '{route=~"/api/.*"}'),
        width=8,
    ),
    Panel(
        "Saturation",
        "Requests under way, and database connections of all API processes. DatabasePoolExhausted.md",
        "none",
        {
            "requests in flight": "sum(issuetracker_http_requests_in_flight)",
            "connections in use": 'sum(issuetracker_db_pool_connections{state="in_use"})',
            "connections at most": "sum(issuetracker_db_pool_size_max)",
        },
    ),
    Panel(
        "Jobs created and finished",
        "Where they part for long, workers do not keep up. JobsWaitTooLong.md",
        "ops",
        {
            "created": "sum(rate(issuetracker_jobs_created_total[$__rate_interval]))",
            **rate("jobs_finished_total", "outcome"),
        },
    ),
)

WORKERS = (
    Panel(
        "Workers that consume",
        "By queue. None: QueueHasNoConsumer.md",
        "none",
        {"{{queue}}": "sum by (queue) (issuetracker_worker_consuming)"},
        width=8,
    ),
    Panel(
        "Messages",
        "Those that wait in Redis, and those that workers hold. A backlog waits in PostgreSQL: see Jobs by state.",
        "none",
        {
            "{{queue}}": "sum by (queue) (issuetracker_queue_messages)",
            "held by workers": "sum(issuetracker_queue_unacknowledged)",
        },
        width=8,
    ),
    Panel(
        "Jobs by state",
        "What the ledger holds that is not done.",
        "none",
        {"{{state}}": "sum by (state) (issuetracker_jobs)"},
        width=8,
    ),
    Panel(
        "Oldest due job",
        "By queue. JobsWaitTooLong.md",
        "s",
        {"{{queue}}": "max by (queue) (issuetracker_oldest_due_job_age_seconds)"},
        width=8,
    ),
    Panel(
        "Wait, from queued to started",
        "By queue.",
        "s",
        quantiles("job_wait_seconds", "queue"),
        width=8,
    ),
    Panel("Run time", "Of an attempt, by task.", "s", quantiles("job_run_seconds", "task"), width=8),
    Panel("Attempts", "By what became of them.", "ops", rate("job_attempts_total", "outcome"), width=8),
    Panel("Retries", "By the kind of failure that made them.", "ops", rate("job_retries_total", "kind"), width=8),
    Panel(
        "Dead letters",
        "Jobs that used up their attempts, and messages that no worker can run. DeadLettersGrow.md",
        "none",
        {"{{kind}}": "sum by (kind) (issuetracker_dead_letters)"},
        width=8,
    ),
    Panel(
        "Lost and found again",
        "What the ledger made good: leases that ended, jobs requeued, deliveries dropped, processes that died.",
        "ops",
        {
            "leases expired": "sum(rate(issuetracker_dispatcher_leases_expired_total[$__rate_interval]))",
            "requeued": "sum(rate(issuetracker_dispatcher_requeued_total[$__rate_interval]))",
            "duplicates dropped": "sum(rate(issuetracker_duplicates_dropped_total[$__rate_interval]))",
            "processes lost": "sum(rate(issuetracker_worker_processes_lost_total[$__rate_interval]))",
        },
    ),
    Panel(
        "Messages by contract, and rejected",
        "A newer contract for long: ContractSkew.md",
        "ops",
        {
            **rate("messages_received_total", "contract"),
            **rate("messages_rejected_total", "reason"),
        },
    ),
    Panel(
        "Workers, as Flower sees them",
        "Those that are online.",
        "none",
        {"online": "sum(flower_worker_online)"},
    ),
    Panel(
        "Versions",
        "Of the processes that run; more than one while an upgrade is under way.",
        "none",
        {
            "{{service}} {{version}}, contract {{contract_version}}": (
                "count by (service, version, contract_version) (issuetracker_build_info)"
            )
        },
    ),
)

SERVERS = (
    stat("PostgreSQL answers", "DatabaseDown.md", "bool_yes_no", "max(issuetracker_database_up)", 6),
    stat("Redis answers", "RedisDown.md", "bool_yes_no", "max(issuetracker_redis_up)", 6),
    stat("Schema at head", "SchemaNotAtHead.md", "bool_yes_no", "max(issuetracker_schema_at_head)", 6),
    stat(
        "Last pass of a dispatcher",
        "How long ago any of them looked for due jobs. DispatcherStopped.md",
        "s",
        "time() - max(issuetracker_dispatcher_last_pass_timestamp_seconds)",
        6,
    ),
    Panel("Size of the database", "VolumeFillsUp.md", "bytes", {"size": "max(issuetracker_database_size_bytes)"}),
    Panel(
        "Connections to PostgreSQL",
        "All of the server's, and those of each API process.",
        "none",
        {
            "all": "max(issuetracker_database_connections)",
            "API {{instance}}, {{state}}": "sum by (instance, state) (issuetracker_db_pool_connections)",
        },
    ),
    Panel(
        "Memory of Redis",
        "RedisMemoryNearBound.md",
        "bytes",
        {
            "used": "max(issuetracker_redis_memory_used_bytes)",
            "at most": "max(issuetracker_redis_memory_max_bytes)",
        },
    ),
    Panel(
        "Published",
        "Jobs that dispatchers gave to Redis, by queue.",
        "ops",
        rate("dispatcher_published_total", "queue"),
    ),
    Panel(
        "Failures of dispatchers",
        "By the server that did not do what was asked. DispatchFails.md",
        "ops",
        rate("dispatcher_failures_total", "server"),
    ),
    Panel(
        "Lag of the dispatchers",
        "For how long the oldest job has waited that should have been published. DispatcherStopped.md",
        "s",
        {"{{queue}}": "max by (queue) (issuetracker_dispatcher_lag_seconds)"},
    ),
)

ENRICHMENT = (
    Panel(
        "POST to enriched",
        "How long issues waited from their POST to their enrichment.",
        "s",
        quantiles("issue_enriched_seconds"),
    ),
    Panel(
        "Jobs finished",
        "By task.",
        "ops",
        rate("jobs_finished_total", "task"),
    ),
    Panel(
        "Asked of providers",
        "By outcome. The provider is `local` unless an operator names another.",
        "reqps",
        {
            "{{provider}} {{outcome}}": "sum by (provider, outcome)"
            " (rate(issuetracker_provider_requests_total[$__rate_interval]))"
        },
    ),
    Panel(
        "Time of an answer",
        "By model.",
        "s",
        quantiles("provider_request_seconds", "model"),
    ),
    Panel(
        "Tokens",
        "A minute, by model; the daily bound is OPENAI_DAILY_TOKENS.",
        "none",
        {
            "{{model}} {{direction}}": "sum by (model, direction)"
            " (rate(issuetracker_provider_tokens_total[$__rate_interval])) * 60"
        },
        width=8,
    ),
    Panel(
        "Cost",
        "In the last 24 hours, where prices are set (OPENAI_PRICE_IN, OPENAI_PRICE_OUT).",
        "currencyUSD",
        {"{{model}}": "sum by (model) (increase(issuetracker_provider_cost_dollars_total[24h]))"},
        width=8,
    ),
    Panel(
        "Open circuits",
        "Tasks whose provider is down; their jobs wait. CircuitOpen.md",
        "none",
        {"{{task}}": "max by (task) (issuetracker_circuit_open)"},
        width=8,
    ),
)

DASHBOARDS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "issuetracker-overview": ("IssueTracker: overview", OVERVIEW),
    "issuetracker-workers": ("IssueTracker: workers and queues", WORKERS),
    "issuetracker-servers": ("IssueTracker: database and broker", SERVERS),
    "issuetracker-enrichment": ("IssueTracker: enrichment", ENRICHMENT),
}
"""By uid, which is also the file's name."""


def dashboard(uid: str) -> dict[str, Any]:
    """Return a dashboard as Grafana reads it; panels flow from left to right."""
    title, panels = DASHBOARDS[uid]
    placed, x, y, row = [], 0, 0, 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > COLUMNS:
            x, y, row = 0, y + row, 0
        placed.append(_panel(panel, number, x, y))
        x, row = x + panel.width, max(row, panel.height)
    return {
        "uid": uid,
        "title": title,
        "tags": ["issuetracker"],
        "schemaVersion": SCHEMA_VERSION,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}]
        },
        "links": [{"title": "IssueTracker", "type": "dashboards", "tags": ["issuetracker"], "keepTime": True}],
        "panels": placed,
    }


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "title": panel.title,
        "description": panel.description,
        "type": panel.kind,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expression, "legendFormat": legend}
            for place, (legend, expression) in enumerate(panel.queries.items())
        ],
    }


def write(directory: Path) -> None:
    """Write each dashboard's file."""
    for uid in DASHBOARDS:
        (directory / f"{uid}.json").write_text(json.dumps(dashboard(uid), indent=2) + "\n")


if __name__ == "__main__":
    write(DIRECTORY)
    sys.exit()
