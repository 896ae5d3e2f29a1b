"""Sessions of the page: a token is exchanged for a cookie."""
