"""What waits, runs and has failed in each queue: for people who watch. Looked at once a second, whoever asks."""
