"""The stream of changes: server-sent events that resume without a gap.

Triggers write each change into the table `event` (migration 0009). `Hub` reads it once for all listeners of a
process. NOTIFY is not used, because it serializes commits and would slow down POST.
"""
