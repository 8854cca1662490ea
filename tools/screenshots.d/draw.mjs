// Draws what was recorded: terminals through xterm.js, pages as a screen, a phone and paper show them.
//
//     node draw.mjs DRAWING RECORDED PICTURES
//
// DRAWING is what install_drawing installed. RECORDED holds recordings of record.py (NAME.jsonl),
// the moments of which pictures are wanted of a recording (NAME.moments, a time and a word a line; without it
// the end with everything that scrolled away), and pages (NAME.html).

import { mkdirSync, readFileSync, readdirSync, writeFileSync, existsSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { startBrowser } from "./browser.mjs";

const [drawing, recorded, pictures] = process.argv.slice(2).map((path) => resolve(path));

/** The tallest picture, in pixels. */
const TALLEST = 3000;
const PAPER = { paperWidth: 8.27, paperHeight: 11.69, printBackground: true, preferCSSPageSize: true };

const packages = join(drawing, "node_modules");
const text = (path) => readFileSync(path, "utf8");
const save = (name, bytes) => writeFileSync(join(pictures, name), bytes);

/** Draws the bytes of a recording that were written until `until`. */
async function terminal(browser, name, lines, until) {
  const [{ columns, rows, command }, ...writes] = lines;
  const shown = until ? writes.filter(([at]) => at <= until) : writes;
  const bytes = `\x1b[1m$ ${command}\x1b[0m\r\n${shown.map(([, written]) => written).join("")}`;
  const box = await browser.evaluate(`draw(${JSON.stringify({ columns, rows, bytes, all: !until })})`);
  await browser.size(Math.ceil(box.width), Math.ceil(box.height));
  await parts(browser, name, box.width, box.height);
}

/** Saves the page as one picture, or as several with a number each if it is too tall. */
async function parts(browser, name, width, height) {
  const count = Math.ceil(height / TALLEST);
  for (let part = 0; part < count; part += 1) {
    const top = part * TALLEST;
    const bytes = await browser.picture(0, top, width, Math.min(TALLEST, height - top));
    save(count === 1 ? `${name}.png` : `${name}.${part + 1}.png`, bytes);
  }
}

/** Runs in the page. Resolves to the size of the picture. */
async function draw({ columns, rows, bytes, all }) {
  document.body.replaceChildren();
  document.body.style.cssText = "margin:0;padding:12px;width:max-content;background:#16191f";
  const screen = document.createElement("div");
  document.body.append(screen);
  const terminal = new Terminal({
    cols: columns,
    rows,
    scrollback: 10_000,
    fontFamily: "DejaVu Sans Mono",
    fontSize: 14,
    cursorInactiveStyle: "none",
    theme: { background: "#16191f", foreground: "#d8dee6" },
  });
  terminal.open(screen);
  await new Promise((done) => terminal.write(bytes, done));
  if (all) {
    const { active } = terminal.buffer;
    // As many rows as were written, so that nothing is scrolled away.
    terminal.resize(columns, active.baseY + active.cursorY + 1);
  }
  await new Promise((done) => setTimeout(done, 150));
  const grid = screen.querySelector(".xterm-screen").getBoundingClientRect();
  return { width: grid.width + 24, height: grid.height + 24 };
}

async function terminals(browser) {
  await browser.go("about:blank");
  await browser.evaluate(text(join(packages, "@xterm/xterm/lib/xterm.js")));
  const style = JSON.stringify(`${text(join(packages, "@xterm/xterm/css/xterm.css"))} .scrollbar { display: none }`);
  await browser.evaluate(`document.head.append(Object.assign(document.createElement("style"), { textContent: ${style} }))`);
  await browser.evaluate(`globalThis.draw = ${draw}; null`);
  for (const file of readdirSync(recorded).filter((name) => name.endsWith(".jsonl"))) {
    const name = basename(file, ".jsonl");
    const lines = text(join(recorded, file)).trimEnd().split("\n").map((line) => JSON.parse(line));
    const moments = join(recorded, `${name.split(".")[0]}.moments`);
    if (!existsSync(moments)) {
      await terminal(browser, name, lines);
      continue;
    }
    for (const line of text(moments).trimEnd().split("\n")) {
      const [at, word] = line.split(" ");
      await terminal(browser, name.replace(".", `-${word}.`), lines, Number(at));
    }
  }
}

/** Draws the page as it is on a screen of this width. */
async function screen(browser, name, width, height) {
  await browser.size(width, height);
  const [wide, tall] = await browser.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]");
  if (wide > width) {
    console.log(`screenshots: ${name} is ${wide} pixels wide on a screen of ${width}`);
    process.exitCode = 1;
  }
  await parts(browser, name, width, tall);
}

const scheme = (browser, value) =>
  browser.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }] });

async function pages(browser) {
  for (const file of readdirSync(recorded).filter((name) => name.endsWith(".html"))) {
    const name = basename(file, ".html");
    await scheme(browser, "light");
    await browser.go(pathToFileURL(join(recorded, file)).href);
    await screen(browser, `${name}.screen`, 1280, 900);
    await screen(browser, `${name}.phone`, 390, 844);
    const { data } = await browser.send("Page.printToPDF", PAPER);
    save(`${name}.pdf`, Buffer.from(data, "base64"));
    await scheme(browser, "dark");
    await screen(browser, `${name}.dark`, 1280, 900);
    await scheme(browser, "light");
    await paper(browser, name, data);
  }
}

/** Draws the sheets of a PDF, given as base64. */
async function paper(browser, name, pdf) {
  await browser.go(pathToFileURL(join(packages, "pdfjs-dist/LICENSE")).href);
  const library = pathToFileURL(join(packages, "pdfjs-dist/build")).href;
  const sheets = await browser.evaluate(`(async () => {
    const pdfjs = await import("${library}/pdf.min.mjs");
    pdfjs.GlobalWorkerOptions.workerSrc = "${library}/pdf.worker.min.mjs";
    const data = Uint8Array.from(atob("${pdf}"), (byte) => byte.charCodeAt(0));
    globalThis.document_ = await pdfjs.getDocument({ data, isEvalSupported: false }).promise;
    return document_.numPages;
  })()`);
  for (let number = 1; number <= sheets; number += 1) {
    const image = await browser.evaluate(`(async () => {
      const page = await document_.getPage(${number});
      const viewport = page.getViewport({ scale: 1.3 });
      const canvas = Object.assign(document.createElement("canvas"), { width: viewport.width, height: viewport.height });
      await page.render({ canvas, canvasContext: canvas.getContext("2d"), viewport }).promise;
      return canvas.toDataURL("image/png").split(",")[1];
    })()`);
    save(`${name}.paper.${number}.png`, Buffer.from(image, "base64"));
  }
}

mkdirSync(pictures, { recursive: true });
const browser = await startBrowser(drawing);
try {
  await terminals(browser);
  await pages(browser);
} finally {
  await browser.close();
}
const drawn = readdirSync(pictures).filter((name) => name.endsWith(".png"));
console.log(`screenshots: ${drawn.length} pictures in ${pictures}`);
