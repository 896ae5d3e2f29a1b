"""Measures the enrichment on labelled issues and trains its artefacts; not part of any image."""
