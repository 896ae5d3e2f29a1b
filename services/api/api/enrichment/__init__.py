"""Enrichment results and confirmed tags over HTTP."""
