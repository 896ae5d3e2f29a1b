"""The times of cron expressions, over the clock changes of 2027."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from api.schedules.cron import check_cron, check_time_zone, find_next_run

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


@pytest.mark.parametrize(
    ("zone", "cron", "runs"),
    [
        # Berlin: 02:00 becomes 03:00 at 01:00 UTC of March 28; 03:00 becomes 02:00 at 01:00 UTC of October 31.
        (BERLIN, "30 2 * * *", "03-27T01:30 03-28T01:00 03-29T00:30"),
        (BERLIN, "30 2 * * *", "10-30T00:30 10-31T00:30 11-01T01:30"),
        (BERLIN, "*/30 2 * * *", "03-27T01:00 03-27T01:30 03-28T01:00 03-29T00:00 03-29T00:30"),
        (BERLIN, "*/30 2 * * *", "10-30T00:30 10-31T00:00 10-31T00:30 11-01T01:00 11-01T01:30"),
        (BERLIN, "0 2,3 * * *", "03-27T02:00 03-28T01:00 03-29T00:00 03-29T01:00"),
        (BERLIN, "0 */2 * * *", "10-30T22:00 10-31T00:00 10-31T03:00"),
        (BERLIN, "0 * * * *", "03-27T23:00 03-28T00:00 03-28T01:00 03-28T02:00"),
        (BERLIN, "0 */1 * * *", "10-30T23:00 10-31T00:00 10-31T01:00 10-31T02:00"),
        # New York: March 14 at 07:00 UTC, November 7 at 06:00 UTC.
        (NEW_YORK, "15 2 * * *", "03-13T07:15 03-14T07:00 03-15T06:15"),
        (NEW_YORK, "15 1 * * *", "11-06T05:15 11-07T05:15 11-08T06:15"),
        (NEW_YORK, "0 12 * * SUN", "03-07T17:00 03-14T16:00 03-21T16:00"),
        # Lord Howe: half an hour, October 2 at 15:30 UTC, April 3 at 15:00 UTC.
        (LORD_HOWE, "15 2 * * *", "10-01T15:45 10-02T15:30 10-03T15:15"),
        (LORD_HOWE, "45 1 * * *", "04-02T14:45 04-03T14:45 04-04T15:15"),
        (LORD_HOWE, "0 2 * * *", "04-02T15:00 04-03T15:30 04-04T15:30"),
        ("Asia/Kathmandu", "0 3 * * *", "03-27T21:15 03-28T21:15 03-29T21:15"),
        ("UTC", "30 2 * * *", "03-27T02:30 03-28T02:30 03-29T02:30"),
    ],
)
def test_runs_over_clock_change_happen_once_each(zone: str, cron: str, runs: str) -> None:
    times = [datetime.fromisoformat(f"2027-{run}:00+00:00") for run in runs.split()]

    assert [find_next_run(cron, zone, time) for time in times[:-1]] == times[1:]
    # A run that comes late, before the next one.
    late = [earlier + (later - earlier) * 0.99 for earlier, later in pairwise(times)]
    assert [find_next_run(cron, zone, time) for time in late] == times[1:]


@pytest.mark.parametrize(
    ("cron", "rule"),
    [
        ("@daily", "Use five fields"),
        ("* * * * * *", "Use five fields"),
        ("61 * * * *", "Use a valid minute"),
        ("0 24 * * *", "Use a valid hour"),
        ("٣ * * * *", "Use a valid minute"),
        ("0 0 31 2,4 *", "Use a valid day of month"),
        ("0 0 */31 * FRI#2", "Use a date that occurs"),
    ],
)
def test_wrong_cron_expression_is_rejected_with_rule(cron: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        check_cron(cron)


@pytest.mark.parametrize(
    "name",
    ["", "Europe", "europe/berlin", "../UTC", "/etc/localtime", "localtime", "right/UTC", "a\0b", "é"],
)
def test_wrong_time_zone_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="Use the name of an IANA time zone"):
        check_time_zone(name)


def test_next_run_in_second_occurrence_of_hour_is_in_future() -> None:
    second_ten_past_two = datetime(2027, 10, 31, 1, 10, tzinfo=UTC)

    assert find_next_run("30 2 * * *", BERLIN, second_ten_past_two) == datetime(2027, 11, 1, 1, 30, tzinfo=UTC)
