"""The worker's access to the job ledger: claim, renew, finish, fail."""
