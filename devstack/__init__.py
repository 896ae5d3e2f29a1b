"""Runs the servers and services on one machine without Docker. `make run` and the tests use this package."""
