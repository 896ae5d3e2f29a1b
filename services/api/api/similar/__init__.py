"""Similar issues over HTTP."""
