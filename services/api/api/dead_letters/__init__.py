"""Dead letters over HTTP: what no machine can mend, for a person to replay or discard."""
