// Follows Rollbook's live feed: prints each event once and in order, through restarts of the server
// and of itself. Node 22.6 or newer, no packages; in a browser `EventSource` does what `follow` does.
//
//   node --experimental-strip-types follow.ts --server http://127.0.0.1:7400 \
//     --query 'environment=production' --position feed.position

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

// Longer than between two heartbeats, which come every 15 seconds: silence is a lost connection.
const SILENCE_MS = 40_000;
const RETRY_MS = 1_000;

/** The data of an event; those of `progress` are others. */
interface EventData {
  sequence: number;
  index: number;
  type: string;
  rollout: string | null;
  environment: string | null;
  recorded_at: string;
  event: Record<string, unknown>;
}

/** What came, and the position to go on from once it has been dealt with. */
interface Told {
  position: string;
  type?: string;
  data?: EventData;
}

type Block = Record<string, string>;

/** The fields of each block of server-sent events. */
async function* blocks(body: ReadableStream<Uint8Array>, alive: () => void): AsyncGenerator<Block> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body) {
    alive();
    text += decoder.decode(chunk, { stream: true });
    const whole = text.split("\n\n");
    text = whole.pop() ?? "";
    for (const block of whole) {
      const fields: Block = {};
      for (const line of block.split("\n")) {
        // A line that begins with a colon is a comment, such as the heartbeat.
        const colon = line.indexOf(":");
        fields[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
      }
      yield fields;
    }
  }
}

/** Yields for ever. */
async function* follow(server: string, query: string, position?: string): AsyncGenerator<Told> {
  for (;; await sleep(RETRY_MS)) {
    const gone = new AbortController();
    let timer = setTimeout(() => gone.abort(), SILENCE_MS);
    const alive = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => gone.abort(), SILENCE_MS);
    };
    try {
      const headers: Record<string, string> = position ? { "Last-Event-ID": position } : {};
      const answer = await fetch(`${server}/v1/events?${query}`, { headers, signal: gone.signal });
      if ([400, 401, 403, 404].includes(answer.status)) {
        console.error(await answer.text());
        process.exit(2);
      }
      if (answer.status !== 200 || !answer.body) continue;
      for await (const block of blocks(answer.body, alive)) {
        // Progress has no id: it does not move the position.
        position = block.id ?? position;
        if (block.event === "dropped") break;
        if (position === undefined || (!block.data && !block.id)) continue;
        yield block.data
          ? { position, type: block.event, data: JSON.parse(block.data) as EventData }
          : { position };
      }
    } catch {
      // The server restarts, or the connection was lost: ask again from the position.
    } finally {
      clearTimeout(timer);
    }
  }
}

const { values: args } = parseArgs({
  options: {
    server: { type: "string", default: "http://127.0.0.1:7400" },
    query: { type: "string", default: "" },
    position: { type: "string" },
    until: { type: "string" },
  },
});
const file = args.position;
const begin = file && existsSync(file) ? readFileSync(file, "utf8") : undefined;
for await (const { position, type, data } of follow(args.server, args.query, begin)) {
  if (data && type !== "progress") {
    console.log(`${data.sequence}.${data.index}`, type, data.rollout ?? "-");
  }
  if (file) {
    // After the event was dealt with. A program whose work must not happen twice keeps the position
    // where it does the work, in the same transaction.
    writeFileSync(`${file}.new`, position);
    renameSync(`${file}.new`, file);
  }
  if (type && type === args.until) process.exit(0);
}
