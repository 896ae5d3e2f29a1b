"""Runs the real servers and services on one machine without Docker; used by `make run` and by the tests."""
