// Keeps all flags of an environment with OpenFeature's SDK for browsers, whose OFREP provider asks for
// them at once and again while they change. Prints a flag's value whenever it is another, until it is
// what `--until` says. Node 22.6 or newer, `npm ci` first.
//
//   node --experimental-strip-types follow.ts --server http://127.0.0.1:7400 --poll 1000 \
//     --context '{"targetingKey":"customer-17","environment":"staging"}' NEW_PATH

import { parseArgs } from "node:util";

import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";

const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    server: { type: "string", default: "http://127.0.0.1:7400" },
    context: { type: "string", default: "{}" },
    poll: { type: "string", default: "10000" },
    until: { type: "string" },
  },
});
const [key] = positionals;

const provider = new OFREPWebProvider({
  baseUrl: args.server,
  pollInterval: Number(args.poll),
  cacheMode: "disabled",
  // An answer that has not changed is a 304, whose body is empty.
  fetchImplementation: async (...request) => {
    const answer = await fetch(...request);
    if (answer.status === 304) console.log("unchanged");
    return answer;
  },
});
await OpenFeature.setContext(JSON.parse(args.context));
await OpenFeature.setProviderAndWait(provider);
const client = OpenFeature.getClient();

let last: string | undefined;
async function tell(): Promise<void> {
  const value = String(client.getBooleanValue(key, false));
  if (value !== last) console.log(key, value);
  last = value;
  if (value === args.until) {
    await OpenFeature.close();
    process.exit(0);
  }
}
client.addHandler(ProviderEvents.ConfigurationChanged, tell);
await tell();
