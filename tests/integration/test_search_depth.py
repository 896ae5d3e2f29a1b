"""A search ranks the newest 500 matches, wherever they are among the issues."""

import pytest

from api.issues.listing import DEPTHS, RANKED_MAX
from tests.integration.test_search import ISSUES
from tests.support.database import Database
from tests.support.processes import Api

COUNT = DEPTHS[0] + 1000
EXPECTED = {
    "common": range(COUNT - RANKED_MAX, COUNT),
    "thirds": range(COUNT - 3 * RANKED_MAX, COUNT, 3),
    "twentieth": range(0, COUNT, 20),
    "rare": (COUNT - 1500, COUNT - 1),
    "legacy": range(600 - RANKED_MAX, 600),
    '"common legacy"': range(600 - RANKED_MAX, 600),
    '"legacy common"': (),
    "common-legacy": range(600 - RANKED_MAX, 600),
    "common created:<2020-01-02": range(1440 - RANKED_MAX, 1440),
    "legacy created:<2020-01-01T05:00Z": range(300),
    "common -created:>=2020-01-02": range(1440 - RANKED_MAX, 1440),
    "common status:closed": range(0, COUNT, 100),
    "legacy status:closed": range(0, 600, 100),
}
"""The numbers of the issues that each search finds; issue n is created in minute n of 2020."""


@pytest.fixture
def numbered_api(api: Api, database: Database) -> Api:
    database.query(
        "INSERT INTO issue (id, title, status, created_at) SELECT gen_random_uuid(), concat_ws(' ', n, 'common',"
        " CASE WHEN n < 600 THEN 'legacy' END, CASE WHEN mod(n, 3) = 0 THEN 'thirds' END,"
        " CASE WHEN mod(n, 20) = 0 THEN 'twentieth' END, CASE WHEN n IN (%s, %s) THEN 'rare' END),"
        " CASE WHEN mod(n, 100) = 0 THEN 'closed' ELSE 'open' END,"
        " timestamptz '2020-01-01 00:00Z' + n * interval '1 minute'"
        " FROM generate_series(0, %s) n",
        *(COUNT - 1500, COUNT - 1, COUNT - 1),
    )
    return api


def test_search_finds_the_newest_matches_on_all_pages(numbered_api: Api) -> None:
    for q, numbers in EXPECTED.items():
        found: list[int] = []
        query: dict[str, str | int] = {"q": q, "limit": 100}
        while query.get("cursor", "") is not None:
            page = numbered_api.client.get(ISSUES, params=query).json()
            found += [int(issue["title"].split()[0]) for issue in page["items"]]
            query["cursor"] = page["next_cursor"]

        assert sorted(found) == list(numbers), q
