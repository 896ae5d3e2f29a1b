"""The peers: each does the same work (a row, a message, an update of the row) with its recommended settings.

- pgqueuer is the fastest that loses nothing on `kill -9`, on PostgreSQL as our ledger.
- Dramatiq is the fastest on Redis that loses nothing.
- huey is about as fast and acknowledges nothing, so a kill loses jobs.

A peer is a module with its worker's `COMMAND` and `enqueue`. Peers run in an environment of their own
(`requirements/bench.txt`), so that their dependencies do not constrain the project's. Measured before, slower than
one of these, and dropped: RQ, arq, taskiq, SAQ, and procrastinate.
"""
