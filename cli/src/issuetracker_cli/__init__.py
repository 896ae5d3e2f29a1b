"""IssueTracker's command line: `issuetracker`. It knows the HTTP API and nothing else."""
