"""Enrichment by a model behind the OpenAI protocol, at an address that the operator names."""
