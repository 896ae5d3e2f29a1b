"""The one exporter of what the ledger and the broker hold: `python -m api.exporter`.

Every API process would tell the same; one process of its own asks once a scrape. It looks at the servers only when
it is scraped, each within a bound, and tells nothing of one that is away but that it is.
"""
