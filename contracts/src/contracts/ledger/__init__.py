"""The ledger: the only package that knows the columns and states of `job`.

| Module | Transitions | Used by |
|---|---|---|
| `enqueue` | -> pending | API, worker, SQL (function `enqueue_job`) |
| `dispatch` | claim_due, requeue, renew_queued, expire, settle_rejected | dispatcher |
| `attempts` | claim, defer, complete, fail | worker |
| `batches` | claim, renew, release and complete several jobs | worker |
| `decisions` | replay, discard, cancel, skip, postpone | API, worker |
| `classes`, `fair_share` | none: which due jobs are next | dispatcher, worker |
| `shares` | none: weights and limits of projects | API, dispatcher, worker |
| `lanes` | none: the SQL that finds lanes | `dispatch`, `queries` |
| `pauses` | none: pauses of queues, tasks and projects | API, exporter, and the modules above |
| `queries` | none: counts, ages, the due condition | API, exporter, autoscaler, KEDA, pruning |

`states` contains the states, their sets and SQL conditions. `statement` renders a statement for both
drivers. `tests/unit/contracts/test_ledger.py` fails if another module names a state or writes `job`.
"""
