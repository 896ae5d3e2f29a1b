"""docs/reference/metrics.md matches the metrics of running services."""

import re

from contracts.names import QUEUE_OF
from tests.conftest import WorkerFactory
from tests.support.metrics import Scrape, exporter, scrape_exporter, text
from tests.support.ports import free_port
from tests.support.processes import ROOT, Api
from tests.support.servers import Servers

PAGE = ROOT / "docs/reference/metrics.md"
ENTRY = re.compile(r"^- `issuetracker_(\w+)` \((\w+)([^)]*)\)", re.MULTILINE)
SUFFIX = {"histogram": "_count", "counter": "", "gauge": ""}


def documented_metrics(section: str) -> dict[str, tuple[str, set[str]]]:
    """Return the types and labels of the metrics of a section."""
    page = PAGE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in ENTRY.findall(page)}


def scraped_metrics(scrape: Scrape) -> dict[str, tuple[str, set[str]]]:
    """Return the types and labels of the metrics of a scrape."""
    found = {}
    labels = scrape.labels()
    for family, kind in scrape.types.items():
        name = f"{family}_total" if kind == "counter" else family
        if family.startswith("issuetracker_"):
            found[name.removeprefix("issuetracker_")] = (kind, labels[f"{name}{SUFFIX[kind]}"])
    return found


def test_metrics_page_matches_metrics_of_services(servers: Servers, api: Api, new_worker: WorkerFactory) -> None:
    worker_port = free_port()
    new_worker({"METRICS_PORT": str(worker_port)})
    with exporter(servers) as exporter_port:
        scrapes = {
            "API": Scrape(text(int(api.client.base_url.port or 0))),
            "Worker": Scrape(text(worker_port)),
            "Exporter": scrape_exporter(exporter_port),
        }

    for section, scrape in scrapes.items():
        assert scraped_metrics(scrape) == documented_metrics(section), section
    # Every series exists before the first event.
    assert scrapes["Worker"].one("job_attempts_total") == 0
    for section, name in (("API", "job_attempts_total"), ("Worker", "job_attempts_total"), ("Exporter", "jobs")):
        assert scrapes[section].series(name, "task", "queue") == set(QUEUE_OF.items())
