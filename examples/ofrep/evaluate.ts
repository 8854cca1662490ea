// Evaluates flags with OpenFeature's SDK for servers and its OFREP provider, and prints what each
// evaluation returned as one line of JSON. Node 22.6 or newer, `npm ci` first.
//
//   node --experimental-strip-types evaluate.ts --server http://127.0.0.1:7400 \
//     --context '{"targetingKey":"customer-17","environment":"staging"}' NEW_PATH

import { parseArgs } from "node:util";

import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OpenFeature } from "@openfeature/server-sdk";

const { values: args, positionals: keys } = parseArgs({
  allowPositionals: true,
  options: {
    server: { type: "string", default: "http://127.0.0.1:7400" },
    context: { type: "string", default: "{}" },
    // Flags are booleans; this asks for another type.
    text: { type: "boolean", default: false },
  },
});

await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: args.server }));
const client = OpenFeature.getClient();
const context = JSON.parse(args.context);
for (const key of keys) {
  // The default is the old path: it is what the caller gets if the server cannot be reached.
  const details = args.text
    ? await client.getStringDetails(key, "default", context)
    : await client.getBooleanDetails(key, false, context);
  console.log(
    JSON.stringify({
      key,
      value: details.value,
      reason: details.reason,
      variant: details.variant ?? null,
      mode: details.flagMetadata.mode ?? null,
      error: details.errorCode ?? null,
    }),
  );
}
await OpenFeature.close();
