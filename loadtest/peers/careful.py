"""The careful script: one server-side cursor, batches of 1,000, one COPY of the results per batch.

Usage: careful.py CONNINFO DEALS      prints one JSON line
"""

import json
import sys
import time

import psycopg

from rules import METRICS, figures

BATCH = 1000


def main(conninfo, deals):
    columns = ", ".join(f"{name} bigint" for name in METRICS)
    start, done, cost_total = time.perf_counter(), 0, 0
    with psycopg.connect(conninfo) as reading, psycopg.connect(conninfo) as writing:
        writing.execute(f"CREATE TEMP TABLE results (id text, error text, {columns})")
        writing.commit()
        with reading.cursor(name="deals") as cursor:
            cursor.itersize = BATCH
            # As text, so that each is parsed once, by json.loads.
            cursor.execute("SELECT id, deal_type, CAST(inventory AS text) FROM deals WHERE deleted_at IS NULL "
                           "ORDER BY id LIMIT %s", (deals,))
            while rows := cursor.fetchmany(BATCH):
                with writing.cursor() as results, results.copy("COPY results FROM STDIN") as copy:
                    for deal_id, deal_type, inventory in rows:
                        try:
                            values = figures(deal_type, json.loads(inventory or "[]"))
                            cost_total += values[9]
                            copy.write_row((deal_id, None, *values))
                        except (KeyError, ValueError) as error:
                            copy.write_row((deal_id, str(error), *[None] * len(METRICS)))
                writing.commit()
                done += len(rows)
    print(json.dumps({"deals": done, "seconds": time.perf_counter() - start, "cost_total": str(cost_total)}))


main(sys.argv[1], int(sys.argv[2]))
