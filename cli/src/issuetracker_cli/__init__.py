"""IssueTracker's command line, `issuetracker`: a client of the HTTP API."""
