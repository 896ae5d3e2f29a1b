"""What most people write: the paired benchmark's twin of this product, in the way that tutorials show.

FastAPI, SQLAlchemy's ORM with commit and refresh, `task.delay()` after the commit, a prefork worker that
acknowledges late and fetches one message at a time, results and events on. It does the same work, written as well
as that way allows; what it loses when something dies is measured too (`benchmarks/paired/kills.py`).
"""
