"""Enrichment: text in; summary, tags with confidence, provenance out; nothing else."""
