#!/usr/bin/env python3
"""Follows a Rollbook ledger on NATS with a credential that can only read: prints each event once and in
order, through restarts of nats-server and of itself. Standard library only.

    nats_follow.py --nats nats://reader:PASSWORD@127.0.0.1:4222 --position feed.position

Commits arrive as they are stored. One that was missed shows by its number, and is read by it.
"""

import argparse
import json
import os
import select
import socket
import time
import urllib.parse

# After so long without a commit it is asked whether one was missed.
QUIET_S = 5
# An answer that takes longer does not come.
ANSWER_S = 40
RETRY_S = 1
INBOX = "_INBOX.follow." + os.urandom(8).hex()


class Nats:
    """One connection: the few lines of the protocol that reading needs."""

    def __init__(self, url):
        url = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((url.hostname, url.port or 4222), timeout=ANSWER_S)
        self.received = b""
        self.waiting = []
        self.line()  # INFO
        user = urllib.parse.unquote(url.username or "")
        password = urllib.parse.unquote(url.password or "")
        options = {"verbose": False, "headers": True, "no_responders": True, "user": user, "pass": password}
        self.send("CONNECT " + json.dumps(options))

    def send(self, line, payload=None):
        text = line + "\r\n" + ("" if payload is None else payload + "\r\n")
        self.socket.sendall(text.encode("utf-8"))

    def receive(self):
        received = self.socket.recv(65536)
        if not received:
            raise ConnectionError("nats-server closed the connection")
        self.received += received

    def line(self):
        while b"\r\n" not in self.received:
            self.receive()
        line, _, self.received = self.received.partition(b"\r\n")
        return line.decode("utf-8")

    def bytes(self, count):
        """So many, and the line end behind them."""
        while len(self.received) < count + 2:
            self.receive()
        taken, self.received = self.received[:count], self.received[count + 2 :]
        return taken

    def read(self):
        """The next message: subject, headers (with "status", where there is one), payload."""
        while True:
            line = self.line()
            match line.split():
                case ["PING"]:
                    self.send("PONG")
                case ["-ERR", *_]:
                    raise ConnectionError(line)
                case ["MSG", subject, *_, size]:
                    return subject, {}, self.bytes(int(size))
                case ["HMSG", subject, *_, head_size, size]:
                    message = self.bytes(int(size))
                    version, *lines = message[: int(head_size)].decode("utf-8").split("\r\n")
                    headers = dict(line.split(": ", 1) for line in lines if ": " in line)
                    for status in version.split()[1:2]:
                        headers["status"] = status
                    return subject, headers, message[int(head_size) :]

    def next(self):
        """The next message that is no answer; None where none comes."""
        if self.waiting:
            return self.waiting.pop(0)
        if not self.received and not select.select([self.socket], [], [], QUIET_S)[0]:
            return None
        return self.read()

    def request(self, subject, body):
        """Asks, and returns headers and payload of the answer."""
        payload = json.dumps(body)
        self.send(f"PUB {subject} {INBOX} {len(payload)}", payload)
        while True:
            message = self.read()
            if message[0] == INBOX:
                return message[1:]
            self.waiting.append(message)


def commits(url, ledger, position):
    """Yields (sequence, headers, payload) of each commit after a sequence, for ever. The payload is a
    `rollbook.v1.Commit` in protobuf. Without a sequence: what is stored from now on."""
    stream = "ROLLBOOK" if ledger == "main" else "ROLLBOOK_" + ledger.upper()
    get = f"$JS.API.DIRECT.GET.{stream}"
    while True:
        try:
            nats = Nats(url)
            nats.send(f"SUB live.rollbook.{ledger}.> 1")
            nats.send(f"SUB {INBOX} 2")
            if position is None:
                headers, _ = nats.request(get, {"last_by_subj": f"rollbook.{ledger}.>"})
                position = int(headers.get("Nats-Sequence", 0))
            while True:
                # What was stored while nobody listened, until there is no more: 404.
                headers, payload = nats.request(get, {"seq": position + 1})
                while "status" not in headers:
                    position += 1
                    yield position, headers, payload
                    headers, payload = nats.request(get, {"seq": position + 1})
                # What is stored from now on, until one is missing or none comes.
                while message := nats.next():
                    _, headers, payload = message
                    sequence = int(headers.get("Nats-Sequence", 0))
                    if sequence > position + 1:
                        break
                    if sequence == position + 1:
                        position = sequence
                        yield position, headers, payload
        except OSError:
            time.sleep(RETRY_S)  # nats-server restarts, or the connection was lost.


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nats", default=os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    parser.add_argument("--ledger", default="main")
    parser.add_argument("--position", help="the file that keeps the sequence")
    parser.add_argument("--until", help="end with the first event of this type")
    args = parser.parse_args()
    position = None
    if args.position and os.path.exists(args.position):
        with open(args.position, encoding="utf-8") as file:
            position = int(file.read())
    for position, headers, _ in commits(args.nats, args.ledger, position):
        kinds = headers["Rollbook-Events"].split(",")
        for index, kind in enumerate(kinds):
            print(f"{position}.{index}", kind, headers["ce-source"], flush=True)
        if args.position:
            with open(args.position + ".new", "w", encoding="utf-8") as file:
                file.write(str(position))
            os.replace(args.position + ".new", args.position)
        if args.until in kinds:
            return


if __name__ == "__main__":
    main()
