// What the checks of the page have in common: the options of tests/page/run, one browser, and a server for each check.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { parseArgs } from 'node:util';

import { launch, open } from './browser.mjs';
import { json, serve } from './serve.mjs';
import { NOW, usual } from './statuses.mjs';

export const { values: options } = parseArgs({
  options: { only: { type: 'string' }, screenshots: { type: 'string' }, url: { type: 'string' } },
});

export let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** How many checks are to run. */
export let chosen = 0;

/** A test that `--only` may leave out, and that `--url` does. */
export function plain(name, body) {
  if (options.url || (options.only && !name.includes(options.only))) return;
  chosen++;
  test(name, body);
}

/**
 * A test with a server that gives `answer`, and a page that shows it at a time that stands still; with `real`, time goes.
 * Other options are those of `open`.
 */
export function check(name, { status = usual(), answer, real = false, ...how } = {}, body) {
  plain(name, async () => {
    const server = await serve(answer ?? json(status));
    const page = await open(browser, server.url, { now: real ? undefined : NOW, ...how });
    try {
      if (!answer) await page.locator('#rest').waitFor();
      await body(page, server);
    } finally {
      await page.context().close();
      await server.close();
    }
  });
}

/** Has the page ask again, which it does every 5 seconds; returns once it has dealt with `answer`. */
export async function again(page, server, answer) {
  const dealt = times => eventually(async () => assert.equal(await page.evaluate(() => window.dealt), times));
  const before = await page.evaluate(() => window.dealt);
  await dealt(Math.max(1, before));
  server.answer = answer;
  await page.clock.runFor(5000);
  await dealt(Math.max(1, before) + 1);
}

/** Waits until `holds` throws no more: what is fetched comes when it comes. */
export async function eventually(holds, within = 5000) {
  for (const end = Date.now() + within; ;) {
    try {
      return await holds();
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise(done => setTimeout(done, 20));
    }
  }
}

/** The texts of a table's cells, row by row. */
export const rows = async (page, table) =>
  (
    await page
      .locator(`#${table} tbody tr`)
      .evaluateAll(all => all.map(row => [...row.cells].map(cell => cell.innerText.trim())))
  ).map(row => row.map(text => text.replaceAll('\u00a0', ' ')));
export const isWord = (page, word) => eventually(async () => assert.equal(await page.text('#word'), word));
