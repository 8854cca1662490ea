"""The durable-workflow library that people would pick instead: a record of every step in PostgreSQL.

Usage: dbos_steps.py URL STEPS (sequence|parallel) CONCURRENCY     prints one JSON line
"""

import json
import logging
import subprocess
import sys
import time

from dbos import DBOS


@DBOS.step()
def step():
    subprocess.run(["sh", "-c", "true"], check=True)


@DBOS.workflow()
def one_step():
    step()


@DBOS.workflow()
def in_sequence(steps):
    for _ in range(steps):
        step()


def main(url, steps, shape, concurrency):
    logging.disable(logging.CRITICAL)
    DBOS(config={"name": "steps", "system_database_url": url, "run_admin_server": False})
    DBOS.launch()
    queue = DBOS.register_queue("steps", worker_concurrency=concurrency, polling_interval_sec=0.02)
    in_sequence(20)
    begun = time.perf_counter()
    if shape == "sequence":
        in_sequence(steps)
    else:
        for handle in [queue.enqueue(one_step) for _ in range(steps)]:
            handle.get_result(polling_interval_sec=0.02)
    seconds = time.perf_counter() - begun
    DBOS.destroy()
    print(json.dumps({"seconds": seconds}))


main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
