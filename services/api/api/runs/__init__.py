"""Enrichment runs over HTTP: each is a job of the ledger, in the ledger's own states."""
