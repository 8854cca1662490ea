#!/usr/bin/env python3
"""Follows Rollbook's live feed: prints each event once and in order, through restarts of the server
and of itself. Standard library only.

    follow.py --server http://127.0.0.1:7400 --query 'environment=production' --position feed.position
"""

import argparse
import http.client
import json
import os
import time
import urllib.parse

# Longer than between two heartbeats, which come every 15 seconds: silence is a lost connection.
SILENCE_S = 40
RETRY_S = 1


def blocks(answer):
    """The fields of each block of server-sent events."""
    fields = {}
    for raw in answer:
        line = raw.decode("utf-8").rstrip("\r\n")
        if line:
            # A line that begins with a colon is a comment, such as the heartbeat.
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        else:
            yield fields
            fields = {}


def follow(server, query, position):
    """Yields (position, type, data) for ever. The position is the one to go on from once the event has
    been dealt with. Type and data are None where only the position moves."""
    host = urllib.parse.urlsplit(server).netloc
    while True:
        connection = http.client.HTTPConnection(host, timeout=SILENCE_S)
        try:
            headers = {"Last-Event-ID": position} if position else {}
            connection.request("GET", f"/v1/events?{query}", headers=headers)
            answer = connection.getresponse()
            if answer.status in (400, 401, 403, 404):
                raise SystemExit(answer.read().decode("utf-8"))
            for block in blocks(answer) if answer.status == 200 else ():
                # Progress has no id: it does not move the position.
                position = block.get("id", position)
                if block.get("event") == "dropped":
                    break
                if "data" in block:
                    yield position, block["event"], json.loads(block["data"])
                elif "id" in block:
                    yield position, None, None
        except (OSError, http.client.HTTPException):
            pass  # The server restarts, or the connection was lost: ask again from the position.
        finally:
            connection.close()
        time.sleep(RETRY_S)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", default="http://127.0.0.1:7400")
    parser.add_argument("--query", default="", help="filters such as rollout=ID&type=gate_passed")
    parser.add_argument("--position", help="the file that keeps the position")
    parser.add_argument("--until", help="end with the first event of this type")
    args = parser.parse_args()
    position = None
    if args.position and os.path.exists(args.position):
        with open(args.position, encoding="utf-8") as file:
            position = file.read()
    for position, kind, data in follow(args.server, args.query, position):
        if kind and kind != "progress":
            print(f"{data['sequence']}.{data['index']}", kind, data["rollout"] or "-", flush=True)
        if args.position:
            # After the event was dealt with. A program whose work must not happen twice keeps the
            # position where it does the work, in the same transaction.
            with open(args.position + ".new", "w", encoding="utf-8") as file:
                file.write(position)
            os.replace(args.position + ".new", args.position)
        if kind and kind == args.until:
            return


if __name__ == "__main__":
    main()
