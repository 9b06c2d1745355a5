// What a worker may say at /status.json, made up; and the shape that all of it has.
import assert from 'node:assert/strict';

/** 2024-03-22 05:00:00 UTC. */
export const NOW = 1_711_083_600_000;
const MINUTE = 60_000;
export const THIS = '0190a6c4-7d20-7b6e-9c55-3f0e5d1c2a77';
const OTHER = '0190a6c4-7d31-7f02-8a4d-b1946ac92e01';

const shardId = n => `shardId-${String(n).padStart(12, '0')}`;
const sequence = n => `4965014831930236${String(n * 7_919_353).padStart(40, '0')}`;
/** Numbers between 0 and 1 that look like chance, the same each time. */
const wobble = n => ((Math.sin(n * 12.9898) * 43758.5453) % 1) / 2 + 0.5;
const steps = of => Array.from({ length: 120 }, (_, n) => of(n));

export function shard(n, more = {}) {
  return {
    id: shardId(n),
    owner: n % 2 ? THIS : OTHER,
    position: `after ${sequence(n + 1)}`,
    behind_ms: n % 2 ? Math.round(800 + 4200 * wobble(n)) : null,
    committed: NOW - 2 * MINUTE - n * 100,
    ...more,
  };
}

/** A worker that is well, in the middle of its day: the first quarter of an hour was before it started. */
export function usual(more = {}) {
  const object = n => ({
    key: `log_events/log_group=%2Faws%2Flambda%2F${['checkout', 'thumbnails', 'mailer'][n % 3]}/dt=2024-03-22/hour=0${4 + (n % 2)}/0190a6d0-11${n}0-7c1e-a2f4-9d3b5c7e8f10-${n}.parquet`,
    rows: 48_211 - 733 * n,
    bytes: 3_412_998 - 41_000 * n,
    at: NOW - 2 * MINUTE - 900 * n,
  });
  return {
    version: '0.1.0',
    now: NOW,
    started: NOW - 45 * MINUTE,
    group: 'default',
    source: 'arn:aws:kinesis:eu-west-1:123456789012:stream/app-logs',
    destination: 's3://lake/logs',
    worker: THIS,
    host: 'ip-10-0-1-7',
    state: 'ready',
    problems: [],
    flush_interval_ms: 300_000,
    buffered_bytes: 117_964_800,
    buffer_limit: 268_435_456,
    open_partitions: 37,
    backlog_packs: 1,
    totals: {
      records: 18_204_331,
      events: 912_443_208,
      rejections: 214,
      control: 96,
      objects: 41_877,
      bytes: 61_223_004_118,
      expired: 0,
    },
    history: {
      step_ms: 30_000,
      end: NOW,
      events: steps(n => (n < 30 ? null : n % 10 === 9 ? Math.round(330_000 + 90_000 * wobble(n)) : 0)),
      decoded_bytes: steps(n =>
        n < 30 ? null : Math.round(3.1e8 + 1.4e8 * wobble(n) + (n > 70 && n < 82 ? 2.4e8 : 0)),
      ),
      behind_ms: steps(n =>
        n < 30
          ? null
          : Math.round(900 + 1800 * wobble(n) + (n > 70 && n < 86 ? 21_000 * Math.sin((n - 70) / 5) ** 2 : 0)),
      ),
      freshness_ms: steps(n => (n < 30 ? null : ((n % 10) + 1) * 30_000 + 4000)),
    },
    shards: [
      ...Array.from({ length: 8 }, (_, n) => shard(n)),
      shard(8, { owner: null, behind_ms: null, position: 'trim_horizon', committed: null }),
      shard(9, { behind_ms: 252_000 }),
      ...[10, 11, 12].map(n =>
        shard(n, { owner: null, position: 'end', behind_ms: null, committed: NOW - 26 * 60 * MINUTE }),
      ),
    ],
    workers: [
      { id: OTHER, host: 'ip-10-0-2-31', joined: NOW - 45 * MINUTE, shards: 4, this: false },
      { id: THIS, host: 'ip-10-0-1-7', joined: NOW - 45 * MINUTE, shards: 5, this: true },
    ],
    partitions: [
      {
        partition: 'log_events/log_group=%2Faws%2Flambda%2Fcheckout/dt=2024-03-22/hour=04',
        rows: 5_120_338,
        bytes: 402_118_224,
        objects: 12,
      },
      {
        partition: 'apache_access/log_group=%2Fecs%2Fweb%3Aedge/dt=2024-03-22/hour=05',
        rows: 1_204_990,
        bytes: 96_332_118,
        objects: 12,
      },
      {
        partition: 'log_events/log_group=%2Faws%2Flambda%2Fthumbnails/dt=2024-03-22/hour=05',
        rows: 208_331,
        bytes: 14_998_101,
        objects: 11,
      },
      { partition: 'errors/error=Event.Invalid/dt=2024-03-22/hour=05', rows: 12, bytes: 5_322, objects: 2 },
    ],
    rejections: [
      {
        code: 'Event.Invalid',
        count: 12,
        last: NOW - 7 * MINUTE,
        message: 'event 3 of 41: timestamp is no whole number of milliseconds: "2024-03-22T04:51:07"',
      },
    ],
    objects: Array.from({ length: 6 }, (_, n) => object(n)),
    ...more,
  };
}

export const starting = () =>
  usual({
    state: 'starting',
    problems: [],
    started: NOW - 3000,
    buffered_bytes: 0,
    open_partitions: 0,
    backlog_packs: 0,
    totals: { records: 0, events: 0, rejections: 0, control: 0, objects: 0, bytes: 0, expired: 0 },
    history: {
      step_ms: 30_000,
      end: NOW,
      events: steps(() => null),
      decoded_bytes: steps(() => null),
      behind_ms: steps(() => null),
      freshness_ms: steps(() => null),
    },
    shards: [],
    workers: [],
    partitions: [],
    rejections: [],
    objects: [],
  });

export function unhealthy() {
  const status = usual({
    state: 'unhealthy',
    problems: [
      'no commit for 12m: put s3://lake/logs/_firemain/default/staged/0190a6d0.pack: 403 AccessDenied: give the task role s3:PutObject on this prefix',
      'buffers are full: nothing is read until a commit goes through',
    ],
    buffered_bytes: 268_435_456,
    backlog_packs: 4,
  });
  status.history.behind_ms = status.history.behind_ms.map((one, n) => (n > 95 ? (n - 95) * 30_000 : one));
  status.history.freshness_ms = status.history.freshness_ms.map((one, n) =>
    n > 95 ? (n - 95) * 30_000 + 60_000 : one,
  );
  status.history.events = status.history.events.map((one, n) => (n > 95 ? 0 : one));
  status.history.decoded_bytes = status.history.decoded_bytes.map((one, n) => (n > 100 ? 0 : one));
  status.shards = status.shards.map((one, n) =>
    n < 8 && one.owner === THIS ? { ...one, behind_ms: 720_000 + n * 1000, committed: NOW - 12 * MINUTE } : one,
  );
  status.totals.expired = 2;
  return status;
}

export const many = (shards = 2000) =>
  usual({
    shards: Array.from({ length: shards }, (_, n) =>
      shard(n, n % 400 === 7 ? { owner: null, behind_ms: null } : n % 100 === 3 ? { position: 'end' } : {}),
    ),
  });

/** Strings that somebody may have chosen to harm who looks at them. */
export const HOSTILE = [
  '<img src=x onerror="window.pwned=1">',
  '</script><script>window.pwned=1</script>',
  '\u202Egpj.exe\u2066 \u200b\u0007 turned',
  'x'.repeat(4096),
  '&lt;b&gt;&amp; %2F%3Cimg%20src=x%3E',
  '"><svg onload=window.pwned=1>',
  'javascript:window.pwned=1',
  '__proto__',
  '\u0623\u0647\u0644\u0627 Z\u0324\u0355\u0363\u0357\u0360a\u0362l\u036ag\u0348o'.repeat(20),
];

/** A usual status with each of its strings replaced by `text`, which may be no string; `state` alone stays. */
export function hostile(text) {
  const replaced = value =>
    Array.isArray(value)
      ? value.map(replaced)
      : value && typeof value === 'object'
        ? Object.fromEntries(Object.entries(value).map(([key, one]) => [key, replaced(one)]))
        : typeof value === 'string'
          ? text
          : value;
  const status = replaced(usual({ problems: ['p'] }));
  return {
    ...status,
    state: 'ready',
    partitions: [
      ...status.partitions,
      {
        partition: `log_events/log_group=${String(text).replaceAll('/', '%2F')}/dt=2024-03-22/hour=05`,
        rows: 1,
        bytes: 1,
        objects: 1,
      },
    ],
  };
}

// ---- The shape

const number = value => Number.isFinite(value);
const text = value => typeof value === 'string';
const or = check => value => value === null || check(value);
const each = check => value => Array.isArray(value) && value.every(check);
const shaped = shape => value => {
  assert.ok(value && typeof value === 'object', `${JSON.stringify(value)} is no object`);
  for (const [key, check] of Object.entries(shape)) {
    assert.ok(Object.hasOwn(value, key), `it has no "${key}": ${JSON.stringify(value).slice(0, 200)}`);
    assert.ok(check(value[key]), `"${key}" can't be ${JSON.stringify(value[key])?.slice(0, 200)}`);
  }
  return true;
};
const series = value => each(or(number))(value) && value.length === 120;

/** Fails unless `status` has all that the page reads, each of its type. Times and lags that are not known are null. */
export const assertShape = shaped({
  version: text,
  now: number,
  started: number,
  group: text,
  source: text,
  destination: text,
  worker: text,
  host: or(text),
  state: value => ['starting', 'ready', 'not ready', 'unhealthy', 'ending'].includes(value),
  problems: each(text),
  flush_interval_ms: or(number),
  buffered_bytes: or(number),
  buffer_limit: or(number),
  open_partitions: or(number),
  backlog_packs: or(number),
  totals: shaped(
    Object.fromEntries(
      ['records', 'events', 'rejections', 'control', 'objects', 'bytes', 'expired'].map(key => [key, or(number)]),
    ),
  ),
  history: shaped({
    step_ms: number,
    end: number,
    events: series,
    decoded_bytes: series,
    behind_ms: series,
    freshness_ms: series,
  }),
  shards: each(shaped({ id: text, owner: or(text), position: text, behind_ms: or(number), committed: or(number) })),
  workers: each(shaped({ id: text, host: or(text), joined: or(number), shards: or(number) })),
  partitions: each(shaped({ partition: text, rows: number, bytes: number, objects: number })),
  rejections: each(shaped({ code: text, count: number, last: or(number), message: text })),
  objects: each(shaped({ key: text, rows: number, bytes: number, at: or(number) })),
});
