"""What changes, as a stream of server-sent events that resumes without a gap.

Triggers write each change into table `event` (migration 0009); `Hub` reads it once for all listeners of a process.
Nobody is woken by NOTIFY: transactions that notify commit one after another, and POST would pay for it.
"""
