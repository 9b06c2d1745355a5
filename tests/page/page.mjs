// The checks of src/telemetry/page.html: see tests/page/run, which installs what they need.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { open } from './browser.mjs';
import { browser, eventually, chosen, options, plain, rows } from './check.mjs';
import { screenshots } from './screenshots.mjs';
import { PAGE, POLICY, scriptHash } from './serve.mjs';
import './shows.mjs';
import './looks.mjs';
import './use.mjs';
import { HOSTILE, assertShape, hostile, many, starting, unhealthy, usual } from './statuses.mjs';

plain(
  'the file: one script whose hash its policy has, no other origin, no way for JSON to become HTML, at most 40 kB',
  () => {
    assert.match(
      POLICY,
      /^default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[^']*'; connect-src 'self'; img-src data:;/,
    );
    assert.ok(
      POLICY.includes(scriptHash()),
      `the script's hash is now ${scriptHash()}: put it into the comment of src/telemetry/page.html`,
    );
    assert.doesNotMatch(PAGE, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser/);
    assert.deepEqual(
      PAGE.match(/https?:\/\/[^'"\s]*/g),
      ['http://www.w3.org/2000/svg', 'http://www.w3.org/2000/svg'],
      'names of SVG alone',
    );
    assert.ok(Buffer.byteLength(PAGE) <= 40_000, `it has ${Buffer.byteLength(PAGE)} bytes`);
  },
);

plain('the made-up statuses are of the shape that a worker has to tell', () => {
  for (const status of [usual(), starting(), unhealthy(), many(), hostile(HOSTILE[0])]) assertShape(status);
  for (const broken of [
    { ...usual(), totals: {} },
    { ...usual(), state: 'well' },
    { ...usual(), shards: [{ id: 1 }] },
  ]) {
    assert.throws(() => assertShape(broken), assert.AssertionError);
  }
});

if (options.url) {
  test(`the worker at ${options.url}: its status has the shape, and the page shows it`, async () => {
    const url = options.url.replace(/\/+$/, '');
    const page = await open(browser, url);
    const answered = page.waitForResponse(`${url}/status.json`);
    assert.match(page.served.headers()['content-security-policy'] ?? 'no policy', /default-src 'none'/);
    const status = await (await answered).json();
    assertShape(status);
    await eventually(async () => assert.equal((await page.text('#word')).toLowerCase(), status.state));
    assert.ok((await page.text('h1')).includes(status.group));
    assert.deepEqual(await page.locator('#problems li').allInnerTexts(), status.problems);
    assert.equal(
      (await rows(page, 'shards')).length > 0,
      status.shards.some(one => one.position !== 'end'),
    );
    await page.calm();
    await page.context().close();
  });
}

if (options.screenshots) {
  test('screenshots', () => screenshots(browser, options.screenshots));
}
if (options.only && !chosen) {
  console.error(`no check has "${options.only}" in its name`);
  process.exit(1);
}
