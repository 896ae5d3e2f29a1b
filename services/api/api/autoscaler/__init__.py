"""Scales the worker Deployments of a Kubernetes cluster by the jobs in the ledger: `python -m api.autoscaler`."""
