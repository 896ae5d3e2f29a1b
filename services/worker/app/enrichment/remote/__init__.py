"""Enrichment by a model on a server with an OpenAI-compatible API, at an address that the operator configures."""
