"""Tells other systems of events, as Standard Webhooks says (https://www.standardwebhooks.com)."""
