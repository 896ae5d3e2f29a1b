"""The naive system: FastAPI, SQLAlchemy's ORM, `delay()` after the commit, a prefork worker with late acks."""
