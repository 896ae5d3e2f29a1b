"""The peers: each does the same work (a row that waits, a message, an update of the row) in recommended settings.

A peer is a module here that names its worker's `COMMAND` and can `hand_over` rows. Where a setting says how soon
the work of a dead worker is taken up again, it is about thirty seconds. They run in an environment of their own
(`requirements/bench.txt`), so that what they depend on holds nothing back.
"""
