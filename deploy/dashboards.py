"""Writes the Grafana dashboards: `make dashboards`. The panels come first, then the conversion to JSON.

The description of a panel explains it and names a page in docs/runbooks. Panels query the data source
that is selected in the dashboard's first variable, so the files work in any Grafana.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parent / "grafana/dashboards"
SCHEMA_VERSION = 41
"""The version of Grafana 12. Newer versions of Grafana convert the file when they load it."""
COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `queries` maps legends to PromQL; `unit` is Grafana's name of the unit."""

    title: str
    description: str
    unit: str
    queries: Mapping[str, str]
    kind: str = "timeseries"
    width: int = 12

    @property
    def height(self) -> int:
        """The height in rows of Grafana's grid."""
        return 4 if self.kind == "stat" else 8


def stat(title: str, description: str, unit: str, query: str, width: int = 4) -> Panel:
    """Return a panel with a single number."""
    return Panel(title, description, unit, {title: query}, "stat", width)


def quantiles(metric: str, by: str = "", selector: str = "") -> dict[str, str]:
    """Return queries for the median and the 99th percentile of a histogram."""
    rate = f"rate(issuetracker_{metric}_bucket{selector}[$__rate_interval])"
    legend = f"{{{{{by}}}}} " if by else ""
    grouping = f"le, {by}" if by else "le"
    return {
        f"{legend}{words}": f"histogram_quantile({share}, sum by ({grouping}) ({rate}))"
        for words, share in (("median", 0.5), ("99th percentile", 0.99))
    }


def rate(metric: str, by: str, selector: str = "") -> dict[str, str]:
    """Return a query for the rate of a counter per second, by one label."""
    return {f"{{{{{by}}}}}": f"sum by ({by}) (rate(issuetracker_{metric}{selector}[$__rate_interval]))"}


POST = '{method="POST",route="/api/v1/issues"}'


def share_within(metric: str, le: str, labels: str = "") -> str:
    """Return a query for the share of events that took at most `le` seconds, in the dashboard's time range."""
    within = f'sum(increase(issuetracker_{metric}_bucket{{{labels}le="{le}"}}[$__range]))'
    return f"{within} / sum(increase(issuetracker_{metric}_count{{{labels.rstrip(',')}}}[$__range]))"


OVERVIEW = (
    stat(
        "Enriched within a minute",
        "Share of the issues enriched in this time range. The objective is 99%. ErrorBudgetBurnsFast.md",
        "percentunit",
        share_within("issue_enriched_seconds", "60.0"),
    ),
    stat(
        "POST availability",
        "Share of POST requests without a 5xx status. The objective is 99.9%. ErrorBudgetBurnsFast.md",
        "percentunit",
        f'1 - sum(increase(issuetracker_http_requests_total{POST[:-1]},status_class="5xx"}}[$__range]))'
        f" / sum(increase(issuetracker_http_requests_total{POST}[$__range]))",
    ),
    stat(
        "POST within 250 ms",
        "Share of POST requests that completed within 250 ms. The objective is 99%. ErrorBudgetBurnsFast.md",
        "percentunit",
        share_within("http_request_seconds", "0.25", f"{POST[1:-1]},"),
    ),
    stat(
        "Oldest due job",
        "Waiting time of the oldest due job above class background. JobsWaitTooLong.md",
        "s",
        "max(issuetracker_oldest_due_job_age_seconds)",
    ),
    stat(
        "Dead letters",
        "Jobs and messages that wait for a person's decision. DeadLettersGrow.md",
        "none",
        "sum(issuetracker_dead_letters)",
    ),
    stat(
        "Firing alerts",
        "Each alert has a page in docs/runbooks.",
        "none",
        'count(ALERTS{alertstate="firing"}) or vector(0)',
    ),
    Panel(
        "POST to enriched",
        "Time from the POST of an issue to its enrichment, for which there is an objective.",
        "s",
        quantiles("issue_enriched_seconds"),
    ),
    Panel(
        "Burn rate of the error budgets",
        "At 1 a budget lasts 30 days. Above 14.4 for one hour, or 6 for six hours, an alert pages. "
        "ErrorBudgetBurnsFast.md",
        "none",
        {
            "{{slo}}, 1 hour": "slo:issuetracker_burn:rate1h",
            "{{slo}}, 6 hours": "slo:issuetracker_burn:rate6h",
        },
    ),
    Panel("Traffic", "Requests by status class.", "reqps", rate("http_requests_total", "status_class"), width=8),
    Panel(
        "Errors",
        "Requests with a 5xx status, by route.",
        "reqps",
        rate("http_requests_total", "route", '{status_class="5xx"}'),
        width=8,
    ),
    Panel(
        "Response time",
        "Response time of the API's routes, without probes and scrapes.",
        "s",
        quantiles("http_request_seconds", "method", '{route=~"/api/.*"}'),
        width=8,
    ),
    Panel(
        "Saturation",
        "Requests in flight and database connections of all API processes. DatabasePoolExhausted.md",
        "none",
        {
            "requests in flight": "sum(issuetracker_http_requests_in_flight)",
            "connections in use": 'sum(issuetracker_db_pool_connections{state="in_use"})',
            "maximum connections": "sum(issuetracker_db_pool_size_max)",
        },
    ),
    Panel(
        "Jobs created and finished",
        "If more jobs are created than finished for long, the workers do not keep up. JobsWaitTooLong.md",
        "ops",
        {
            "created": "sum(rate(issuetracker_jobs_created_total[$__rate_interval]))",
            **rate("jobs_finished_total", "outcome"),
        },
    ),
)

WORKERS = (
    Panel(
        "Consuming workers",
        "Number of workers that consume each queue. At 0: QueueHasNoConsumer.md",
        "none",
        {"{{queue}}": "sum by (queue) (issuetracker_worker_consuming)"},
        width=8,
    ),
    Panel(
        "Messages",
        "Messages in Redis by queue, and messages at workers. A backlog waits in PostgreSQL: see Jobs by state.",
        "none",
        {
            "{{queue}}": "sum by (queue) (issuetracker_queue_messages)",
            "at workers": "sum(issuetracker_queue_unacknowledged)",
        },
        width=8,
    ),
    Panel(
        "Jobs by state",
        "Jobs in the ledger that have not ended.",
        "none",
        {"{{state}}": "sum by (state) (issuetracker_jobs)"},
        width=8,
    ),
    Panel(
        "Oldest due job",
        "Waiting time of the oldest due job that is not paused, of projects below their limit. JobsWaitTooLong.md",
        "s",
        {
            "{{queue}}": "max by (queue) (issuetracker_oldest_due_job_age_seconds)",
            "{{queue}}, background": "max by (queue) (issuetracker_oldest_background_job_age_seconds)",
        },
        width=8,
    ),
    Panel(
        "Queueing time",
        "Time from publishing to the start of the attempt, by queue.",
        "s",
        quantiles("job_wait_seconds", "queue"),
        width=8,
    ),
    Panel("Run time", "Duration of attempts, by task.", "s", quantiles("job_run_seconds", "task"), width=8),
    Panel("Attempts", "Ended attempts, by outcome.", "ops", rate("job_attempts_total", "outcome"), width=8),
    Panel("Retries", "Retries by kind of failure.", "ops", rate("job_retries_total", "kind"), width=8),
    Panel(
        "Dead letters",
        "Jobs that used up their attempts, and messages that no worker can run. DeadLettersGrow.md",
        "none",
        {"{{kind}}": "sum by (kind) (issuetracker_dead_letters)"},
        width=8,
    ),
    Panel(
        "Recovered faults",
        "Faults from which the ledger recovered: expired leases, requeued jobs, duplicates, lost processes.",
        "ops",
        {
            "leases expired": "sum(rate(issuetracker_dispatcher_leases_expired_total[$__rate_interval]))",
            "requeued": "sum(rate(issuetracker_dispatcher_requeued_total[$__rate_interval]))",
            "duplicates dropped": "sum(rate(issuetracker_duplicates_dropped_total[$__rate_interval]))",
            "processes lost": "sum(rate(issuetracker_worker_processes_lost_total[$__rate_interval]))",
        },
    ),
    Panel(
        "Messages by contract, and rejected messages",
        "A newer contract for a long time: ContractSkew.md",
        "ops",
        {
            **rate("messages_received_total", "contract"),
            **rate("messages_rejected_total", "reason"),
        },
    ),
    Panel(
        "Pauses",
        "Paused queues, tasks and projects. Their jobs wait without an alert.",
        "none",
        {"{{kind}} {{name}}": "max by (kind, name) (issuetracker_paused) > 0"},
    ),
    Panel(
        "Workers in Flower",
        "Number of workers that Flower reports as online.",
        "none",
        {"online": "sum(flower_worker_online)"},
    ),
    Panel(
        "Versions",
        "Versions of the running processes. During an upgrade there is more than one version.",
        "none",
        {
            "{{service}} {{version}}, contract {{contract_version}}": (
                "count by (service, version, contract_version) (issuetracker_build_info)"
            )
        },
    ),
)

SERVERS = (
    stat("PostgreSQL is up", "DatabaseDown.md", "bool_yes_no", "max(issuetracker_database_up)", 6),
    stat("Redis is up", "RedisDown.md", "bool_yes_no", "max(issuetracker_redis_up)", 6),
    stat("Schema at head", "SchemaNotAtHead.md", "bool_yes_no", "max(issuetracker_schema_at_head)", 6),
    stat(
        "Last dispatcher pass",
        "Time since a dispatcher last checked for due jobs. DispatcherStopped.md",
        "s",
        "time() - max(issuetracker_dispatcher_last_pass_timestamp_seconds)",
        6,
    ),
    Panel("Database size", "VolumeFillsUp.md", "bytes", {"size": "max(issuetracker_database_size_bytes)"}),
    Panel(
        "Connections to PostgreSQL",
        "All connections of the server, and the connections of each API process.",
        "none",
        {
            "all": "max(issuetracker_database_connections)",
            "API {{instance}}, {{state}}": "sum by (instance, state) (issuetracker_db_pool_connections)",
        },
    ),
    Panel(
        "Redis memory",
        "RedisMemoryNearBound.md",
        "bytes",
        {
            "used": "max(issuetracker_redis_memory_used_bytes)",
            "limit": "max(issuetracker_redis_memory_max_bytes)",
        },
    ),
    Panel(
        "Published jobs",
        "Jobs that dispatchers published to Redis, by queue.",
        "ops",
        rate("dispatcher_published_total", "queue"),
    ),
    Panel(
        "Dispatcher failures",
        "Failed requests of dispatchers, by server. DispatchFails.md",
        "ops",
        rate("dispatcher_failures_total", "server"),
    ),
    Panel(
        "Dispatcher lag",
        "Waiting time of the oldest job that should have been published. DispatcherStopped.md",
        "s",
        {"{{queue}}": "max by (queue) (issuetracker_dispatcher_lag_seconds)"},
    ),
)

ENRICHMENT = (
    Panel(
        "POST to enriched",
        "Time from the POST of an issue to its enrichment.",
        "s",
        quantiles("issue_enriched_seconds"),
    ),
    Panel(
        "Jobs finished",
        "Finished jobs, by task.",
        "ops",
        rate("jobs_finished_total", "task"),
    ),
    Panel(
        "Provider requests",
        "Requests to providers, by outcome. The provider is `local` unless you configure another one.",
        "reqps",
        {
            "{{provider}} {{outcome}}": "sum by (provider, outcome)"
            " (rate(issuetracker_provider_requests_total[$__rate_interval]))"
        },
    ),
    Panel(
        "Provider response time",
        "Duration of provider requests, by model.",
        "s",
        quantiles("provider_request_seconds", "model"),
    ),
    Panel(
        "Tokens",
        "Tokens per minute, by model. The daily limit is OPENAI_DAILY_TOKENS.",
        "none",
        {
            "{{model}} {{direction}}": "sum by (model, direction)"
            " (rate(issuetracker_provider_tokens_total[$__rate_interval])) * 60"
        },
        width=8,
    ),
    Panel(
        "Cost",
        "Cost of the last 24 hours, if the prices are set (OPENAI_PRICE_IN, OPENAI_PRICE_OUT).",
        "currencyUSD",
        {"{{model}}": "sum by (model) (increase(issuetracker_provider_cost_dollars_total[24h]))"},
        width=8,
    ),
    Panel(
        "Open circuit breakers",
        "Tasks whose provider is down. Their jobs wait. CircuitOpen.md",
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
"""Title and panels by uid, which is also the name of the file."""


def dashboard(uid: str) -> dict[str, Any]:
    """Return a dashboard in Grafana's JSON model; panels flow from left to right."""
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
    """Write the file of each dashboard."""
    for uid in DASHBOARDS:
        (directory / f"{uid}.json").write_text(json.dumps(dashboard(uid), indent=2) + "\n")


if __name__ == "__main__":
    write(DIRECTORY)
    sys.exit()
