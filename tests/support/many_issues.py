"""Many issues at once, made by PostgreSQL itself: as varied as real ones, with the few that are rare."""

from tests.support.database import Database

WORDS = 3000
"""Different words; a few are in most texts, most are in few."""

_ISSUES = f"""
INSERT INTO issue (id, project, title, description, priority, status, tags, created_at, updated_at)
SELECT gen_random_uuid(), 'project-' || mod(number, 7),
    'Issue ' || number || ' ' || (SELECT string_agg(word, ' ') FROM (
        SELECT 'word' || floor(power(random(), 3) * {WORDS})::int AS word FROM generate_series(1, 6 + number * 0)
    ) title),
    (SELECT string_agg(word, ' ') FROM (
        SELECT 'word' || floor(power(random(), 3) * {WORDS})::int AS word FROM generate_series(1, 40 + number * 0)
    ) description),
    (ARRAY['medium', 'medium', 'low', 'high', 'critical'])[1 + floor(power(random(), 2) * 5)::int],
    (ARRAY['closed', 'resolved', 'open', 'in_progress'])[1 + floor(power(random(), 2) * 4)::int],
    (ARRAY['bug', 'bug,frontend', 'feature', '', 'question,lang:fr'])[1 + floor(power(random(), 2) * 5)::int],
    now() - (%s - number) * interval '1 minute', now() - random() * interval '30 days'
FROM generate_series(1, %s) number
"""
_JOBS = """
INSERT INTO job (id, task, queue, message, issue_id, state, attempts, run_at, created_at, finished_at)
SELECT gen_random_uuid(), 'app.tasks.issues.enrich_issue', 'issues', '{}', id,
    CASE WHEN mod(number, 500) = 0 THEN 'dead' WHEN mod(number, 500) = 1 THEN 'retrying' ELSE 'succeeded' END,
    1, now() + interval '1 day', created_at, now()
FROM (SELECT id, created_at, row_number() OVER (ORDER BY created_at) AS number FROM issue) issue
"""


def make_issues(database: Database, count: int) -> None:
    """Insert issues and their jobs, one a minute until now, and let PostgreSQL look at them."""
    database.query(_ISSUES, count, count)
    database.query(_JOBS)
    for table in ("issue", "job"):
        database.query(f"VACUUM ANALYZE {table}")
