"""Access control: authentication, scopes, rate limits and security headers.

The middleware `Access` authenticates each request to a path that is not in `access/open_paths.py`. The dependency
`require_scope_by_method` checks the scope of the route. docs/decisions/0009-access.md has the reasons.
"""
