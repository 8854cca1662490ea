"""The peer of `compare_vs_duckdb`: DuckDB joins the parts of two snapshots and tests tolerances.

Reads commands as JSON lines from standard input, answers each with one JSON line:
{"before": [files], "after": [files], "metrics": [names], "tolerance_percent": 5, "threads": 2}
-> {"seconds": …, "compared": …, "equal": …, "within": …, "beyond": …, "missing": …, "added": …,
    "before_cents": …, "after_cents": …}

The process is warm: start-up, import and a first command are not in the time. DuckDB verifies no
checksum of the files and stores no differences; Rollbook does both within its time.
"""

import json
import sys
import time

import duckdb


def sql(command):
    def table(side):
        files = ", ".join("'" + name.replace("'", "''") + "'" for name in command[side])
        return f"read_parquet([{files}])"

    names = ['"' + name.replace('"', '""') + '"' for name in command["metrics"]]
    tolerance = f"{command['tolerance_percent']} * b.{{0}}"
    equal = " AND ".join(f"a.{name} = b.{name}" for name in names)
    # Exact in integers, as Rollbook's rule: |after - before| * 100 <= tolerance * before.
    within = " AND ".join(
        f"(a.{name} = b.{name} OR (b.{name} > 0 AND abs(a.{name} - b.{name}) * 100 <= "
        + tolerance.format(name)
        + "))"
        for name in names
    )
    both = "b.deal_id IS NOT NULL AND a.deal_id IS NOT NULL"
    return f"""
        SELECT count(*) FILTER (WHERE {both}),
               count(*) FILTER (WHERE {both} AND {equal}),
               count(*) FILTER (WHERE {both} AND NOT ({equal}) AND {within}),
               count(*) FILTER (WHERE {both} AND NOT ({within})),
               count(*) FILTER (WHERE a.deal_id IS NULL),
               count(*) FILTER (WHERE b.deal_id IS NULL),
               coalesce(sum(b.cost_total) FILTER (WHERE {both}), 0),
               coalesce(sum(a.cost_total) FILTER (WHERE {both}), 0)
        FROM {table("before")} b FULL OUTER JOIN {table("after")} a USING (deal_id)"""


def main():
    connection = duckdb.connect()
    names = "compared equal within beyond missing added before_cents after_cents".split()
    for line in sys.stdin:
        command = json.loads(line)
        connection.execute(f"SET threads = {int(command['threads'])}")
        query = sql(command)
        start = time.perf_counter()
        row = connection.execute(query).fetchone()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, **{n: int(v) for n, v in zip(names, row)}}), flush=True)


if __name__ == "__main__":
    main()
