"""What the API sees of all that it depends on, for `issuetracker doctor`."""
