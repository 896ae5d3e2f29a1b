"""Support code of the tests: real servers, API processes and workers."""
