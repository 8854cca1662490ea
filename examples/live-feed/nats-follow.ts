// Follows a Rollbook ledger on NATS with a credential that can only read: prints each event once and
// in order, through restarts of nats-server and of itself. Node 22.6 or newer, no packages.
//
//   node --experimental-strip-types nats-follow.ts --nats nats://reader:PASSWORD@127.0.0.1:4222 \
//     --position feed.position
//
// Commits arrive as they are stored. One that was missed shows by its number, and is read by it.

import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

/** After so long without a commit it is asked whether one was missed. */
const QUIET_MS = 5_000;
/** An answer that takes longer does not come. */
const ANSWER_MS = 40_000;
const RETRY_MS = 1_000;

/** A message; `status` is set where it is an answer without one. */
interface Message {
  subject: string;
  headers: Map<string, string>;
  status?: string;
  payload: Buffer;
}

/** One connection: the few lines of the protocol that reading needs. */
class Nats {
  private readonly socket: Socket;
  private readonly inbox = `_INBOX.follow.${randomUUID()}`;
  private received = Buffer.alloc(0);
  private live: Message[] = [];
  private answers: Message[] = [];
  private failure: Error | undefined;
  private wake: () => void = () => {};

  constructor(url: URL) {
    this.socket = connect(Number(url.port || 4222), url.hostname);
    const [user, pass] = [url.username, url.password].map(decodeURIComponent);
    this.send(`CONNECT ${JSON.stringify({ verbose: false, headers: true, no_responders: true, user, pass })}`);
    this.send(`SUB ${this.inbox} 1`);
    this.socket.on("data", (bytes) => {
      this.received = Buffer.concat([this.received, bytes]);
      this.parse();
      this.wake();
    });
    const fail = (error?: Error): void => {
      this.failure ??= error ?? new Error("nats-server closed the connection");
      this.wake();
    };
    this.socket.on("error", fail);
    this.socket.on("close", () => fail());
  }

  subscribe(subject: string): void {
    this.send(`SUB ${subject} 2`);
  }

  /** The next message that is no answer; `undefined` where none comes. */
  async next(): Promise<Message | undefined> {
    await this.until(() => this.live.length > 0, QUIET_MS);
    return this.live.shift();
  }

  /** Asks, and returns the answer. */
  async request(subject: string, body: object): Promise<Message> {
    const payload = JSON.stringify(body);
    this.send(`PUB ${subject} ${this.inbox} ${Buffer.byteLength(payload)}\r\n${payload}`);
    await this.until(() => this.answers.length > 0, ANSWER_MS);
    const answer = this.answers.shift();
    if (!answer) throw new Error("no answer");
    return answer;
  }

  close(): void {
    this.socket.destroy();
  }

  private send(text: string): void {
    this.socket.write(`${text}\r\n`);
  }

  private async until(holds: () => boolean, atMostMs: number): Promise<void> {
    const end = Date.now() + atMostMs;
    while (!holds() && Date.now() < end) {
      if (this.failure) throw this.failure;
      const woken = new Promise<void>((resolve) => (this.wake = resolve));
      const timer = setTimeout(() => this.wake(), end - Date.now());
      await woken;
      clearTimeout(timer);
    }
  }

  private parse(): void {
    for (;;) {
      const end = this.received.indexOf("\r\n");
      if (end < 0) return;
      const words = this.received.toString("utf8", 0, end).split(" ");
      let next = end + 2;
      if (words[0] === "MSG" || words[0] === "HMSG") {
        const size = Number(words.at(-1));
        if (this.received.length < next + size + 2) return;
        const headSize = words[0] === "HMSG" ? Number(words.at(-2)) : 0;
        const [version = "", ...lines] = this.received.toString("utf8", next, next + headSize).split("\r\n");
        const headers = new Map<string, string>();
        for (const line of lines) {
          const colon = line.indexOf(": ");
          if (colon > 0) headers.set(line.slice(0, colon), line.slice(colon + 2));
        }
        const payload = Buffer.from(this.received.subarray(next + headSize, next + size));
        const message: Message = { subject: words[1] ?? "", headers, status: version.split(" ")[1], payload };
        (message.subject === this.inbox ? this.answers : this.live).push(message);
        next += size + 2;
      } else if (words[0] === "PING") {
        this.send("PONG");
      } else if (words[0] === "-ERR") {
        this.failure = new Error(words.join(" "));
      }
      this.received = this.received.subarray(next);
    }
  }
}

interface Stored {
  sequence: number;
  headers: Map<string, string>;
  /** A `rollbook.v1.Commit` in protobuf. */
  payload: Buffer;
}

function sequenceOf(message: Message): number {
  return Number(message.headers.get("Nats-Sequence") ?? 0);
}

/** Yields each commit after a sequence, for ever. Without one: what is stored from now on. */
async function* commits(url: string, ledger: string, position?: number): AsyncGenerator<Stored> {
  const stream = ledger === "main" ? "ROLLBOOK" : `ROLLBOOK_${ledger.toUpperCase()}`;
  const get = `$JS.API.DIRECT.GET.${stream}`;
  for (;; await sleep(RETRY_MS)) {
    const nats = new Nats(new URL(url));
    try {
      nats.subscribe(`live.rollbook.${ledger}.>`);
      position ??= sequenceOf(await nats.request(get, { last_by_subj: `rollbook.${ledger}.>` }));
      for (;;) {
        // What was stored while nobody listened, until there is no more: 404.
        for (;;) {
          const { status, headers, payload } = await nats.request(get, { seq: position + 1 });
          if (status) break;
          position += 1;
          yield { sequence: position, headers, payload };
        }
        // What is stored from now on, until one is missing or none comes.
        for (;;) {
          const message = await nats.next();
          if (!message || sequenceOf(message) > position + 1) break;
          if (sequenceOf(message) === position + 1) {
            position += 1;
            yield { sequence: position, headers: message.headers, payload: message.payload };
          }
        }
      }
    } catch {
      // nats-server restarts, or the connection was lost: go on from the position.
    } finally {
      nats.close();
    }
  }
}

const { values: args } = parseArgs({
  options: {
    nats: { type: "string", default: process.env["NATS_URL"] ?? "nats://127.0.0.1:4222" },
    ledger: { type: "string", default: "main" },
    position: { type: "string" },
    until: { type: "string" },
  },
});
const file = args.position;
const begin = file && existsSync(file) ? Number(readFileSync(file, "utf8")) : undefined;
for await (const { sequence, headers } of commits(args.nats, args.ledger, begin)) {
  const kinds = (headers.get("Rollbook-Events") ?? "").split(",");
  kinds.forEach((kind, index) => console.log(`${sequence}.${index}`, kind, headers.get("ce-source")));
  if (file) {
    writeFileSync(`${file}.new`, String(sequence));
    renameSync(`${file}.new`, file);
  }
  if (args.until && kinds.includes(args.until)) process.exit(0);
}
