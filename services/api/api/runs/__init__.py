"""Enrichment runs over HTTP. Each run is a job of the ledger and has its states."""
