"""Enrichment: computes a summary, tags with confidence and their provenance from an issue's text."""
