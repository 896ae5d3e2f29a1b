"""Flower's settings; it reads this file from the directory that it is started in.

services/worker links to this file, so that the guide's command there gets the same settings.
"""

import os

# Its page has no password of its own yet: only this machine may see it.
address = os.environ.get("FLOWER_ADDRESS", "127.0.0.1")
# Containers come and go under new names.
purge_offline_workers = 600
max_tasks = 10_000
