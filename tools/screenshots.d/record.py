"""Runs a command in a terminal of a given size, and records what it writes there.

    record.py COLUMNS ROWS FILE COMMAND...

The file's first line is a JSON object with the size and the command; every other line is a JSON array of
the time (seconds since 1970) and the text written then. SIGTERM ends the command. The command's exit
code does not matter: many of rollbook's say what state a rollout is in.
"""

import codecs
import fcntl
import json
import os
import pty
import signal
import struct
import sys
import termios
import time

columns, rows, path, *command = sys.argv[1:]

child, terminal = pty.fork()
if child == 0:
    # The parent sets the size before it lets the command start.
    sys.stdin.readline()
    os.environ["TERM"] = "xterm-256color"
    os.execvp(command[0], command)

attributes = termios.tcgetattr(terminal)
attributes[3] &= ~termios.ECHO
termios.tcsetattr(terminal, termios.TCSANOW, attributes)
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", int(rows), int(columns), 0, 0))
os.write(terminal, b"\n")
signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))

decoder = codecs.getincrementaldecoder("utf-8")("replace")
with open(path, "w", encoding="utf-8") as file:
    title = " ".join([os.path.basename(command[0]), *command[1:]])
    print(json.dumps({"columns": int(columns), "rows": int(rows), "command": title}), file=file, flush=True)
    while True:
        try:
            written = os.read(terminal, 65536)
        except OSError:
            # Linux says so when the last process of the terminal has ended.
            break
        if not written:
            break
        print(json.dumps([time.time(), decoder.decode(written)]), file=file, flush=True)
os.waitpid(child, 0)
