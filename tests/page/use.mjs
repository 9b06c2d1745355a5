// The page in use: pointing, keys, thousands of shards, no JavaScript.
import assert from 'node:assert/strict';

import { PHONE } from './browser.mjs';
import { again, browser, check, eventually, rows } from './check.mjs';
import { blocked, firstPaint, showAll } from './inside.mjs';
import { json } from './serve.mjs';
import { NOW, many, shard, usual } from './statuses.mjs';

check('a plot shows the point that is pointed at, or that the keys go to', {}, async page => {
  const plot = page.locator('.plot').first();
  const svg = plot.locator('svg');
  const note = () => plot.locator('.note').innerText();
  const { behind_ms: lags } = usual().history;
  const box = await svg.boundingBox();
  await page.mouse.move(box.x + (box.width * 100.5) / 120, box.y + 20);
  assert.equal((await note()).replaceAll('\u00a0', ' '), `10:20:00: ${(lags[100] / 1000).toFixed(0)}s`);
  assert.notEqual(await plot.locator('.dot').getAttribute('d'), '');
  await page.mouse.move(box.x + (box.width * 3.5) / 120, box.y + 20);
  assert.equal(await note(), '09:31:30: not known');
  await page.mouse.move(5, 5);
  assert.equal(await note(), 'its worst shard');
  assert.equal(await plot.locator('.dot').getAttribute('d'), '');

  await page.keyboard.press('Tab');
  while (await page.evaluate(() => document.activeElement.tagName !== 'svg')) await page.keyboard.press('Tab');
  assert.equal(await note(), `10:29:30: ${(lags[119] / 1000).toFixed(0)}s`);
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('ArrowLeft');
  assert.equal(await note(), `10:28:30: ${(lags[117] / 1000).toFixed(0)}s`);
  assert.equal(await svg.getAttribute('aria-valuetext'), await note());
  assert.equal(await svg.getAttribute('aria-valuenow'), '117');
  await page.keyboard.press('Home');
  assert.equal(await note(), '09:30:00: not known');
  await page.keyboard.press('Escape');
  assert.equal(await note(), 'its worst shard');
  await page.calm();
});

check(
  'everything is reached by the keyboard, in the order of the page, and seen to be focused',
  { status: many(60) },
  async page => {
    const seen = [];
    for (let n = 0; n < 40; n++) {
      await page.keyboard.press('Tab');
      const at = await page.evaluate(() => {
        const it = document.activeElement,
          { outlineStyle, outlineWidth } = getComputedStyle(it);
        return it === document.body
          ? null
          : { is: it.id || it.getAttribute('aria-label') || it.textContent, ring: `${outlineStyle} ${outlineWidth}` };
      });
      if (!at) break;
      assert.equal(at.ring, 'solid 2px', at.is);
      seen.push(at.is);
    }
    assert.deepEqual(seen, [
      '1 unowned shard',
      '12 rejections in the last hour',
      ...['Behind the stream', 'Oldest undelivered', 'Events delivered', 'Bytes decoded'].map(
        name => `${name}, over the last hour`,
      ),
      'more',
      '1 ended shard',
      '/status.json',
      '/metrics',
    ]);
  },
);

check(
  'focus, and what is unfolded, stay through an answer that changes everything else',
  {
    status: usual({
      rejections: [{ code: 'Table.Mismatch', count: 1, last: NOW, message: 'm'.repeat(300) }],
      shards: many(60).shards,
    }),
  },
  async (page, server) => {
    await page.locator('#rejections summary').click();
    await page.locator('#more').focus();
    await page.keyboard.press('Enter');
    assert.equal(await page.text('#more'), 'Show only those furthest behind');
    assert.equal((await rows(page, 'shards')).length, 59);
    const next = many(60)
      .shards.map(one => ({ ...one, behind_ms: one.behind_ms && 6000 - one.behind_ms }))
      .slice(1);
    await again(
      page,
      server,
      json(
        usual({
          now: NOW + 5000,
          shards: next,
          rejections: [
            { code: 'Event.Invalid', count: 2, last: NOW, message: 'new' },
            { code: 'Table.Mismatch', count: 9, last: NOW + 1, message: 'm'.repeat(300) },
          ],
        }),
      ),
    );
    await eventually(async () => assert.equal(await page.text('#as-of'), 'as of 10:30:05'));
    assert.equal(await page.evaluate(() => document.activeElement.id), 'more');
    assert.deepEqual(
      (await rows(page, 'rejections')).map(row => row.slice(0, 2)),
      [
        ['Event.Invalid', '2'],
        ['Table.Mismatch', '9'],
      ],
    );
    assert.ok(await page.locator('#rejections details').evaluate(at => at.open));
    const shards = await rows(page, 'shards');
    const lags = shards.map(row => parseInt(row[1], 10)).filter(Number.isFinite);
    assert.equal(shards.length, 58);
    assert.deepEqual(
      lags,
      [...lags].sort((a, b) => b - a),
    );
    await page.calm();
  },
);

check('the worst shards and the unowned ones are shown first, all when asked for', { status: many() }, async page => {
  assert.equal(
    await page.text('#shards caption'),
    '1,980 open, 5 of them unowned; shown are the 25 furthest behind or unowned.',
  );
  const some = await rows(page, 'shards');
  assert.deepEqual([some.length, some.filter(row => row[2] === 'unowned').length], [25, 5]);
  await page.locator('#more').click();
  assert.equal((await rows(page, 'shards')).length, 1980);
  await page.locator('#more').click();
  assert.deepEqual(await rows(page, 'shards'), some);
});

check(
  '2,000 shards: painted within a second, all of them too, and again',
  { status: many(), real: true, viewport: PHONE },
  async (page, server) => {
    const first = await page.evaluate(firstPaint);
    // The best of three: other work may be going on.
    const times = [];
    for (let n = 0; n < 3; n++) {
      times.push(await page.evaluate(showAll));
      await page.evaluate(n < 2 ? showAll : () => {});
    }
    const all = Math.min(...times);
    server.answer = json({
      ...many(),
      shards: many().shards.map((one, n) => shard(n, { behind_ms: (n * 7919) % 10_007 })),
    });
    const busy = await page.evaluate(blocked, 7000);
    assert.equal(await page.locator('#shards tbody tr').count(), 2000);
    assert.deepEqual(
      [first, all, busy].map(ms => ms < 1000),
      [true, true, true],
      `ms: ${[first, all, busy].map(Math.round)}`,
    );
    console.log(
      `2,000 shards: ${Math.round(first)} ms to the first ones, ${Math.round(all)} ms for all, ${Math.round(busy)} ms for all anew`,
    );
    await page.calm();
  },
);

check('without JavaScript it says where else to look', {}, async (page, server) => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const plain = await context.newPage();
  await plain.goto(server.url);
  assert.equal(await plain.locator('#state').isVisible(), false, 'nothing is asked');
  assert.ok(await plain.getByRole('link', { name: '/metrics' }).first().isVisible());
  assert.match(await plain.locator('main').innerText(), /needs JavaScript.*\/status\.json and \/metrics/);
  await context.close();
});
