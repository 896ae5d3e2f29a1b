"""The state of the API's dependencies, for `issuetracker doctor`."""
