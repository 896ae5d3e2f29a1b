"""Who may do what: authentication, scopes, rate limits, and what a browser is told.

`Access` finds out who asks, and closes everything that is not listed in `access/open_paths.py`; the dependency
`require_scope_by_method` asks for the scope that a route needs. docs/decisions/0009-access.md tells why.
"""
