"""The job ledger as a worker sees it: claim, renew, finish, fail."""
