// Drives the relay's page in a real browser. Told by lines on stdin what happens to the relay, says
// on stdout what the page shows. Arguments: URL, folder for the screenshots.
"use strict";
const path = require("path");
const readline = require("readline");
const { chromium } = require("playwright-core");

const [url, shots] = process.argv.slice(2);
const DEADLINE = 120000;
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function told(word) {
  const { value } = await lines.next();
  if (value !== word) throw new Error(`expected to be told ${word}, heard ${value}`);
}

// Polls from here: the page's Content-Security-Policy rightly forbids waiting by eval inside it.
async function until(what, ask) {
  const end = Date.now() + DEADLINE;
  while (!(await ask())) {
    if (Date.now() > end) throw new Error("waited in vain: " + what);
    await new Promise((done) => setTimeout(done, 100));
  }
}

async function open(browser, options, errors) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE);
  page.on("console", (m) => { if (m.type() === "error") errors.push(m.text()); });
  page.on("pageerror", (e) => errors.push(String(e)));
  page.on("request", (r) => {
    if (new URL(r.url()).origin !== new URL(url).origin) errors.push("outside: " + r.url());
  });
  await page.goto(url);
  return page;
}

async function shoot(browser, name, errors) {
  for (const colorScheme of ["light", "dark"])
    for (const width of [1280, 400]) {
      const page = await open(browser, { colorScheme, viewport: { width, height: 800 } }, errors);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      if (wide > width) errors.push(`${name} ${width}: the page is ${wide} wide`);
      await page.screenshot({ path: path.join(shots, `${name}-${colorScheme}-${width}.png`),
                              fullPage: true });
      await page.context().close();
    }
}

async function main() {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
                                          args: ["--no-sandbox", "--disable-gpu"] });
  const errors = [];
  const page = await open(browser, { viewport: { width: 1280, height: 800 } }, errors);
  const frames = () => page.locator("#frames").textContent();

  const before = await frames();
  await until("numbers that move", async () => (await frames()) !== before);
  await page.waitForSelector("#throughput path.in");
  await page.waitForSelector("#targets li.good");
  console.log("moving", before, await frames());

  await told("outage");
  await page.waitForSelector("#targets li.bad .cause");
  await page.waitForSelector("#verdict.bad");
  await until("a backlog", async () => (await page.locator("#behind").textContent()) !== "0");
  const cause = (await page.locator("#targets li.bad .cause").textContent()).trim();
  await shoot(browser, "outage", errors);
  console.log("outage", cause);

  await told("recovered");
  await page.waitForSelector("#targets li.good");
  await until("nothing bad", async () =>
    (await page.locator("#verdict.bad, #targets li.bad").count()) === 0);
  await shoot(browser, "recovered", errors);
  console.log("recovered");

  const still = await open(browser, { javaScriptEnabled: false }, errors);
  for (const id of ["#verdict", "#frames", "#behind", "#targets li", "#shards td", "#ledger",
                    "#throughput", "#backlog"])
    if (await still.locator(id).count() === 0) errors.push("without JavaScript: no " + id);
  if (await still.locator("#stale").isVisible()) errors.push("without JavaScript: stale");
  console.log("errors", JSON.stringify(errors));

  await told("stopped");
  await page.waitForSelector("#stale", { state: "visible" });
  console.log("stale");
  await browser.close();
  process.exit(0); // stdin is still open
}

main().catch((error) => { console.error(error); process.exit(1); });
