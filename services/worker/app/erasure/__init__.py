"""Erases the text of issues from every table: on request, and of issues that were deleted long ago.

The tombstones in the table `erasure` remain. Enrichment runs and deliveries keep ids until they are pruned.
"""
