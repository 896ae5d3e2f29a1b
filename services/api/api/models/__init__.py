"""What was learned of each project, over HTTP."""
