"""Evaluates the enrichment on labelled issues and trains its artefacts. It is not part of any image."""
