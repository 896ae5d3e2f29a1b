"""The tags over HTTP: a fixed vocabulary whose descriptions admins can change."""
