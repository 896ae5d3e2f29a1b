"""Dead letters over HTTP: jobs and messages that await a decision to replay or discard."""
