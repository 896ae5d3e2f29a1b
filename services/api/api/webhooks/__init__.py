"""Webhooks: other systems that are told of events; for admins, over HTTP. Workers deliver."""
