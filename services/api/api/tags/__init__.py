"""The vocabulary of tags over HTTP: its words are closed, what they mean is for people to say."""
