"""The careful script: rows are streamed, results inserted and committed in batches of 1,000.

Usage: careful.py CONNINFO DEALS      prints one JSON line
"""

import json
import sys
import time

import psycopg

from rules import METRICS, figures

BATCH = 1000
COLUMNS = ", ".join(f"{name} bigint" for name in METRICS)
INSERT = f"INSERT INTO careful_results VALUES ({', '.join(['%s'] * (2 + len(METRICS)))})"


def result(deal_id, deal_type, inventory):
    try:
        return (deal_id, None, *figures(deal_type, inventory or []))
    except (KeyError, ValueError) as error:
        return (deal_id, str(error), *[None] * len(METRICS))


def main(conninfo, deals):
    start, done, cost_total = time.perf_counter(), 0, 0
    with psycopg.connect(conninfo) as reading, psycopg.connect(conninfo) as writing:
        writing.execute("DROP TABLE IF EXISTS careful_results")
        writing.execute(f"CREATE TABLE careful_results (id text PRIMARY KEY, error text, {COLUMNS})")
        writing.commit()
        batch = []

        def store():
            with writing.cursor() as cursor:
                cursor.executemany(INSERT, batch)
            writing.commit()

        with reading.cursor() as cursor:
            query = "SELECT id, deal_type, inventory FROM deals WHERE deleted_at IS NULL ORDER BY id LIMIT %s"
            for row in cursor.stream(query, (deals,)):
                values = result(*row)
                cost_total += values[11] or 0
                batch.append(values)
                if len(batch) == BATCH:
                    store()
                    done += len(batch)
                    batch.clear()
        store()
        done += len(batch)
    print(json.dumps({"deals": done, "seconds": time.perf_counter() - start, "cost_total": str(cost_total)}))


main(sys.argv[1], int(sys.argv[2]))
