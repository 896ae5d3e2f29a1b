"""The exporter of metrics from the ledger and the broker: `python -m api.exporter`.

A separate process, because every API process would export the same values. It queries the servers at each scrape,
with a timeout. During an outage of a server it exports only that the server is down.
"""
