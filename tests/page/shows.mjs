// What the page shows of what a worker says, and of a worker that says nothing.
import assert from 'node:assert/strict';

import { PHONE } from './browser.mjs';
import { again, check, eventually, isWord, rows } from './check.mjs';
import { cut, hang, http, json } from './serve.mjs';
import { NOW, THIS, starting, unhealthy, usual } from './statuses.mjs';

check('a usual state: every value', {}, async page => {
  assert.equal(await page.title(), 'Ready · default · Firemain');
  assert.equal(await page.text('h1'), 'Firemain group default · ip-10-0-1-7');
  assert.equal(await page.text('#as-of'), 'as of 10:30:00');
  assert.equal(await page.text('#word'), 'Ready');
  assert.equal(await page.text('#said'), 'It takes records and delivers them. No problems.');
  assert.deepEqual(await page.locator('#notices li').allInnerTexts(), [
    '1 unowned shard',
    '12 rejections in the last hour',
  ]);

  const plots = (await page.locator('.plot').allInnerTexts()).map(text =>
    text.replaceAll('\u00a0', ' ').split('\n').filter(Boolean),
  );
  const { history } = usual();
  const mean = (values, over, scale) => (values.slice(-over).reduce((a, b) => a + b) * scale) / 30 / over;
  assert.deepEqual(
    plots.map(lines => lines.slice(0, 3)),
    [
      ['Behind the stream', `${(history.behind_ms.at(-1) / 1000).toFixed(0)}s`, 'its worst shard'],
      ['Oldest undelivered', '5m 4s', 'flushed every 5m'],
      ['Events delivered', `${Math.round(mean(history.events, 10, 1)).toLocaleString('en')} /s`, 'mean of 5m'],
      ['Bytes decoded', `${mean(history.decoded_bytes, 2, 1e-6).toPrecision(3)} MB/s`, 'mean of 1m'],
    ],
  );
  for (const lines of plots)
    assert.deepEqual(
      [lines.includes('0'), lines.at(-2), lines.at(-1)],
      [true, '09:30', '10:30'],
      'the ends of its axes',
    );

  assert.equal(await page.text('#buffered'), '112.5 MiB of 256 MiB');
  assert.deepEqual(await Promise.all(['#open-partitions', '#backlog', '#flush-interval'].map(page.text)), [
    '37',
    '1',
    '5m',
  ]);

  const shards = await rows(page, 'shards');
  assert.equal(await page.text('#shards caption'), '10 open, 1 of them unowned; furthest behind first.');
  assert.deepEqual(shards[0].slice(0, 4), [
    'shardId-000000000009',
    '4m 12s',
    'ip-10-0-1-7 this worker',
    '10:27:59 2m ago',
  ]);
  assert.match(shards[0][4], /^after 4965…\d{12}$/);
  const lags = shards.slice(1, 5).map(row => parseInt(row[1], 10));
  assert.deepEqual(
    lags,
    [...lags].sort((a, b) => b - a),
    'the worst lag first',
  );
  assert.deepEqual(shards[5], ['shardId-000000000008', 'not known', 'unowned', 'not known', 'trim_horizon']);
  assert.equal(shards[6][2], 'ip-10-0-2-31');
  assert.equal(await page.text('#ended summary'), '3 ended shards');
  assert.equal(await page.locator('#ended-shards').isVisible(), false);
  await page.locator('#ended summary').click();
  await eventually(async () =>
    assert.deepEqual((await rows(page, 'ended-shards'))[0], ['shardId-000000000010', '2024-03-21 08:30:00 1d ago']),
  );

  assert.deepEqual(await rows(page, 'workers'), [
    ['ip-10-0-1-7 this worker', THIS, '5', '09:45:00 45m ago'],
    ['ip-10-0-2-31', usual().workers[0].id, '4', '09:45:00 45m ago'],
  ]);
  assert.deepEqual(await rows(page, 'partitions'), [
    ['/aws/lambda/checkout', 'log_events', '2024-03-22 04:00 UTC', '5,120,338', '402.1 MB', '12'],
    ['/ecs/web:edge', 'apache_access', '2024-03-22 05:00 UTC', '1,204,990', '96.3 MB', '12'],
    ['/aws/lambda/thumbnails', 'log_events', '2024-03-22 05:00 UTC', '208,331', '15 MB', '11'],
    ['Event.Invalid', 'errors', '2024-03-22 05:00 UTC', '12', '5.32 kB', '2'],
  ]);
  assert.deepEqual(await rows(page, 'rejections'), [
    ['Event.Invalid', '12', '10:23:00 7m ago', usual().rejections[0].message],
  ]);
  assert.deepEqual((await rows(page, 'objects'))[0], [usual().objects[0].key, '48,211', '3.41 MB', '10:28:00 2m ago']);
  const totals = ['records', 'events', 'rejections', 'control', 'objects', 'bytes', 'expired'].map(name =>
    page.text(`#total-${name}`),
  );
  assert.deepEqual(await Promise.all(totals), ['18,204,331', '912,443,208', '214', '96', '41,877', '61.2 GB', '0']);
  assert.deepEqual(
    await Promise.all(['#source', '#destination', '#group', '#worker', '#host', '#started', '#version'].map(page.text)),
    [
      'arn:aws:kinesis:eu-west-1:123456789012:stream/app-logs',
      's3://lake/logs',
      'default',
      THIS,
      'ip-10-0-1-7',
      '09:45:00 45m ago',
      '0.1.0',
    ],
  );
  await page.calm();
});

check('times are local, and UTC when pointed at', {}, async page => {
  const times = await page
    .locator('time')
    .evaluateAll(all => all.map(time => [time.innerText, time.title, time.dateTime]));
  assert.ok(times.length > 20);
  for (const [text, title, iso] of times.filter(([, , iso]) => iso)) {
    if (title.endsWith('local time'))
      assert.match(`${text} ${title}`, /^2024-03-22 0[45]:00\sUTC 2024-03-22 (09|10):30 local time$/);
    else assert.equal(title, `${iso.slice(0, 19).replace('T', ' ')} UTC`);
  }
  assert.ok(times.some(([text, title]) => text === '10:30:00' && title === '2024-03-22 05:00:00 UTC'));
  assert.match(await page.text('footer'), /Times are local \(Asia\/(Kolkata|Calcutta)\)/);
});

check('nothing yet: each part says so in words', { status: starting() }, async page => {
  assert.equal(await page.text('#word'), 'Starting');
  assert.deepEqual(await page.locator('.none:visible').allInnerTexts(), [
    'No shards are known yet.',
    'No workers are known yet.',
    'No rows were delivered in the last hour.',
    'No rejections in the last hour.',
    'No objects published yet.',
  ]);
  assert.equal(await page.locator('table:visible').count(), 0);
  for (const text of await page.locator('.plot').allInnerTexts())
    assert.match(text, /not known\s+nothing measured yet/);
  await page.calm();
});

check(
  'null where anything can be null, and what is missing, is not known',
  {
    status: Object.fromEntries(
      Object.entries(usual()).map(([key, value]) => [key, ['now', 'state'].includes(key) ? value : null]),
    ),
  },
  async page => {
    assert.equal(await page.text('#word'), 'Ready');
    assert.equal(await page.text('#total-events'), 'not known');
    assert.equal(await page.text('#buffered'), 'not known of not known');
    assert.doesNotMatch(await page.locator('body').innerText(), /NaN|undefined|null|Invalid|\[object/);
    await page.calm();
  },
);

check(
  'unhealthy: the word, the problems and a sign of its own, before anything else',
  { status: unhealthy(), viewport: PHONE },
  async page => {
    assert.equal(await page.title(), 'Unhealthy · default · Firemain');
    assert.equal(await page.text('#word'), 'Unhealthy');
    assert.deepEqual(await page.locator('#problems li').allInnerTexts(), unhealthy().problems);
    assert.match(
      (await page.locator('#notices li').allInnerTexts()).at(-1),
      /^2 expired positions since the group began: each may be a loss$/,
    );
    assert.ok((await page.locator('#state').boundingBox()).y < 100);
    await page.calm();
  },
);

check('every state has a word, a sentence and a sign of its own', {}, async (page, server) => {
  const seen = new Set();
  for (const state of ['starting', 'ready', 'not ready', 'unhealthy', 'ending', 'bewitched', '__proto__', null]) {
    await again(page, server, json(usual({ state })));
    const word =
      state === null
        ? 'State not known'
        : ['bewitched', '__proto__'].includes(state)
          ? state
          : state[0].toUpperCase() + state.slice(1);
    await isWord(page, word);
    if (word.toLowerCase() === state)
      seen.add([await page.text('#said'), await page.locator('#sign path').getAttribute('d')].join());
  }
  assert.equal(seen.size, 6, [...seen].join('\n'));
  await page.calm();
});

check('no answer: since when and why, the old values greyed; and back again', {}, async (page, server) => {
  const color = () => page.locator('#total-events').evaluate(at => getComputedStyle(at).color);
  const fresh = await color();
  const whys = [
    [cut, 'no connection'],
    [http(503), 'it says HTTP 503'],
    [http(200, '<html>'), 'what it says is no status'],
    [json(null), 'what it says is no status'],
  ];
  for (const [answer, why] of whys) {
    await again(page, server, answer);
    await isWord(page, 'No answer since 10:30:00');
    await eventually(async () =>
      assert.equal(
        await page.text('#said'),
        `The worker does not answer: ${why}. It was ready then, and what is below is of then. It is asked again every 5 seconds.`,
      ),
    );
    assert.equal(await page.title(), 'No answer since 10:30:00 · default · Firemain');
    assert.equal(await page.text('#total-events'), '912,443,208');
    await eventually(async () => assert.notEqual(await color(), fresh));
  }
  assert.equal(await page.locator('#word time').getAttribute('title'), '2024-03-22 05:00:00 UTC');
  await again(page, server, json(usual({ now: NOW + 25_000, state: 'not ready', problems: ['no commit for 25s'] })));
  await isWord(page, 'Not ready');
  assert.equal(await page.text('#as-of'), 'as of 10:30:25');
  assert.deepEqual(await page.locator('#problems li').allInnerTexts(), ['no commit for 25s']);
  await eventually(async () => assert.equal(await color(), fresh));
  await page.calm({ unanswered: true });
});

check(
  'never answered: said at once, and shown when it answers; hanging counts as no answer after 10 seconds',
  { answer: hang },
  async (page, server) => {
    assert.equal(await page.text('#word'), 'Asking the worker');
    await eventually(() => assert.equal(server.polls(), 1));
    await page.clock.runFor(9_000);
    assert.equal(await page.text('#word'), 'Asking the worker');
    await page.clock.runFor(1_000);
    await eventually(async () =>
      assert.match(
        await page.text('#said'),
        /^The worker does not answer: nothing within 10 seconds\. It is asked again every 5 seconds\.$/,
      ),
    );
    assert.equal(await page.text('#word'), 'No answer since 10:30:00');
    assert.equal(await page.locator('#rest').isVisible(), false);
    await again(page, server, json(usual()));
    await isWord(page, 'Ready');
    assert.ok(await page.locator('#rest').isVisible());
    await page.calm({ unanswered: true });
  },
);

check('it asks every 5 seconds, and not while nobody looks', {}, async (page, server) => {
  const hide = hidden =>
    page.evaluate(is => {
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => is });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
  for (let n = 1; n <= 3; n++) await again(page, server, json(usual({ now: NOW + n * 5000 })));
  await eventually(async () => assert.equal(await page.text('#as-of'), 'as of 10:30:15'));
  await hide(true);
  await page.clock.runFor(60_000);
  assert.equal(server.polls(), 4);
  await hide(false);
  await eventually(() => assert.equal(server.polls(), 5));
  await page.calm();
});
