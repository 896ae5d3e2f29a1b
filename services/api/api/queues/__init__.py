"""The state of the queues for users, read at most once a second."""
