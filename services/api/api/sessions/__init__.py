"""Sessions of the page: a token in, a cookie out."""
