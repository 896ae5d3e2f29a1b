"""Comparison of the series that dashboards and alerts use with those that services expose."""

import operator
import re
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.parser import text_string_to_metric_families

from tests.support.promql import Selector

Series = tuple[str, Mapping[str, str]]

MATCH: dict[str, Callable[[str, str], object]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "=~": lambda value, pattern: re.fullmatch(pattern, value),
    "!~": lambda value, pattern: not re.fullmatch(pattern, value),
}


def series(scrapes: Mapping[str, str]) -> list[Series]:
    """Return all series of the scrapes with the labels that Prometheus adds."""
    return [
        (sample.name, {**sample.labels, "job": job, "instance": job})
        for job, text in scrapes.items()
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def missing_series(used: Iterable[Selector], exposed: list[Series]) -> list[str]:
    """Return the selectors that match no series, and their locations."""
    return sorted(
        {
            f"{selector} ({selector.location})"
            for selector in used
            if not any(_is_matched_by(selector, *found) for found in exposed)
        }
    )


def _is_matched_by(used: Selector, name: str, labels: Mapping[str, str]) -> bool:
    return (
        used.name == name
        and used.grouped_by <= labels.keys()
        and all(MATCH[op](labels.get(label, ""), value) for label, op, value in used.matchers)
    )
