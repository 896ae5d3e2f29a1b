"""Projects' models over HTTP."""
