// Chromium, driven through a pair of pipes by the DevTools protocol.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Longest wait for one answer of the browser, in milliseconds. */
const ANSWER_WITHIN = 60_000;

/** Starts the browser that `install_drawing` put into `drawing`, with one page. */
export async function startBrowser(drawing) {
  const profile = mkdtempSync(join(tmpdir(), "rollbook-screenshots-"));
  const child = spawn(
    join(drawing, "chromium"),
    [
      "--headless",
      "--remote-debugging-pipe",
      `--user-data-dir=${profile}`,
      // The pages are this repository's own files. Root cannot have the sandbox, and containers often lack it.
      "--no-sandbox",
      "--disable-gpu",
      "--hide-scrollbars",
      "--allow-file-access-from-files",
      "--font-render-hinting=none",
    ],
    {
      stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
      env: {
        ...process.env,
        FONTCONFIG_FILE: join(drawing, "fonts.conf"),
        LD_LIBRARY_PATH: join(drawing, "al2023/lib"),
        TZ: "UTC",
      },
    },
  );
  const [, , , commands, answers] = child.stdio;
  const waiting = new Map();
  const once = new Map();
  let last = 0;
  let rest = "";
  answers.setEncoding("utf8").on("data", (text) => {
    const messages = (rest + text).split("\0");
    rest = messages.pop();
    for (const message of messages.map((json) => JSON.parse(json))) {
      if (message.id) {
        waiting.get(message.id)?.(message);
        waiting.delete(message.id);
      } else {
        once.get(message.method)?.();
        once.delete(message.method);
      }
    }
  });
  const within = (promise, what) => {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`the browser did not answer ${what}`)), ANSWER_WITHIN);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
  };
  let sessionId;
  const send = async (method, params = {}) => {
    const id = ++last;
    const answered = new Promise((resolve) => waiting.set(id, resolve));
    commands.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    const answer = await within(answered, method);
    if (answer.error) throw new Error(`${method}: ${answer.error.message}`);
    return answer.result;
  };
  const { targetId } = await send("Target.createTarget", { url: "about:blank" });
  ({ sessionId } = await send("Target.attachToTarget", { targetId, flatten: true }));
  await send("Page.enable");

  return {
    send,
    async go(url) {
      const loaded = new Promise((resolve) => once.set("Page.loadEventFired", resolve));
      await send("Page.navigate", { url });
      await within(loaded, url);
    },
    /** The value of an expression in the page; a promise is awaited. */
    async evaluate(expression) {
      const answer = await send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
      if (answer.exceptionDetails) {
        const { exception, text } = answer.exceptionDetails;
        throw new Error(exception?.description ?? text);
      }
      return answer.result.value;
    },
    async size(width, height) {
      await send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
    },
    /** A PNG of a part of the page. */
    async picture(x, y, width, height) {
      const clip = { x, y, width, height, scale: 1 };
      const { data } = await send("Page.captureScreenshot", { format: "png", clip, captureBeyondViewport: true });
      return Buffer.from(data, "base64");
    },
    async close() {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      commands.end();
      child.kill();
      await ended;
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
