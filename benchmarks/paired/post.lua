-- What wrk sends: the same as benchmarks/paired/load.py.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = os.getenv("BODY")
