"""Delivers events to other systems as specified by Standard Webhooks (https://www.standardwebhooks.com)."""
