"""Pauses of queues, tasks and projects."""
