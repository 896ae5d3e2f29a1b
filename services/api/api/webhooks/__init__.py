"""Webhooks over HTTP, for admins. Workers deliver the events."""
