// Opens pages as standard input says (a JSON list) and prints what was found in each (a JSON list).
// A visit: {url, width, theme, print, script, screenshot, full, axe}; see tests/browser.py.
import chromium from "@sparticuz/chromium";
import puppeteer from "puppeteer-core";
import { readFileSync } from "node:fs";

const visits = JSON.parse(readFileSync(0, "utf8"));
const axeSource = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

const browser = await puppeteer.launch({
  args: [...chromium.args, "--no-sandbox"],
  executablePath: process.env.CHROMIUM || (await chromium.executablePath()),
  headless: "shell",
});

async function look(visit) {
  const page = await browser.newPage();
  const errors = [], requests = [];
  page.on("console", (message) => { if (message.type() === "error") errors.push(message.text()); });
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("dialog", (dialog) => { errors.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => { if (!request.url().startsWith("data:")) requests.push(request.url()); });
  await page.setViewport({ width: visit.width, height: 900 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: visit.theme }]);
  if (visit.print) await page.emulateMediaType("print");
  await page.goto(visit.url, { waitUntil: "load" });
  const value = visit.script ? await page.evaluate(visit.script) : null;
  if (visit.screenshot) await page.screenshot({ path: visit.screenshot, fullPage: visit.full });
  let violations = [];
  if (visit.axe) {
    await page.evaluate(axeSource);
    const found = await page.evaluate(() => axe.run());
    violations = found.violations.map(({ id, impact, help, nodes }) => ({ id, impact, help, count: nodes.length, example: nodes[0].html.slice(0, 200) }));
  }
  await page.close();
  return { errors, requests, value, violations };
}

try {
  const found = [];
  for (const visit of visits) found.push(await look(visit));
  console.log(JSON.stringify(found));
} finally {
  await browser.close();
}
