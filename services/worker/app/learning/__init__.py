"""Learns a project's habits of tagging from what its people confirmed, never from the machine's own guesses."""
