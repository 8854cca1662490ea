"""The careful script: one server-side cursor, batches of 1,000, each inserted and committed together.

Usage: careful.py CONNINFO DEALS [tuned]      prints one JSON line

`tuned` does what a profiler would suggest: inventories come as text and are parsed one at a time, and
results go by COPY to a temporary table, which has no key and no log.
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
        if isinstance(inventory, str):
            inventory = json.loads(inventory)
        return (deal_id, None, *figures(deal_type, inventory or []))
    except (KeyError, ValueError) as error:
        return (deal_id, str(error), *[None] * len(METRICS))


def insert(cursor, results):
    cursor.executemany(INSERT, results)


def copy(cursor, results):
    with cursor.copy("COPY careful_results FROM STDIN") as target:
        for row in results:
            target.write_row(row)


def main(conninfo, deals, tuned):
    start, done, cost_total = time.perf_counter(), 0, 0
    with psycopg.connect(conninfo) as reading, psycopg.connect(conninfo) as writing:
        if tuned:
            inventory, write = "CAST(inventory AS text)", copy
            writing.execute(f"CREATE TEMP TABLE careful_results (id text, error text, {COLUMNS})")
        else:
            inventory, write = "inventory", insert
            writing.execute("DROP TABLE IF EXISTS careful_results")
            writing.execute(f"CREATE TABLE careful_results (id text PRIMARY KEY, error text, {COLUMNS})")
        writing.commit()
        with reading.cursor(name="deals") as cursor:
            cursor.itersize = BATCH
            cursor.execute(f"SELECT id, deal_type, {inventory} FROM deals WHERE deleted_at IS NULL "
                           "ORDER BY id LIMIT %s", (deals,))
            while rows := cursor.fetchmany(BATCH):
                results = [result(*row) for row in rows]
                cost_total += sum(row[11] for row in results if row[1] is None)
                with writing.cursor() as target:
                    write(target, results)
                writing.commit()
                done += len(rows)
    print(json.dumps({"deals": done, "seconds": time.perf_counter() - start, "cost_total": str(cost_total)}))


main(sys.argv[1], int(sys.argv[2]), sys.argv[3:] == ["tuned"])
