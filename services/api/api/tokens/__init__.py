"""API tokens over HTTP, for admins."""
