// Chromium without a window, and pages of it that note what must not happen.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const { chromium } = createRequire(resolve(process.env.PAGE_MODULES ?? 'target/page', 'package.json'))(
  'playwright-core',
);

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });

export const DESK = { width: 1280, height: 900 };
export const PHONE = { width: 360, height: 740 };

/**
 * Opens `url`. With `now`, the page's clock stands there until `page.clock.runFor` moves it on; without, it goes.
 * `page.calm()` fails if anything was asked for but the two, said on the console, thrown or forbidden by the policy;
 * `unanswered`: the browser may say of failed requests that they failed.
 */
export async function open(
  browser,
  url,
  { now, viewport = DESK, scheme = 'light', motion = 'no-preference', touch = false, scale = 1 } = {},
) {
  const context = await browser.newContext({
    viewport,
    colorScheme: scheme,
    reducedMotion: motion,
    timezoneId: 'Asia/Kolkata',
    locale: 'de-DE',
    hasTouch: touch,
    deviceScaleFactor: scale,
  });
  const page = await context.newPage();
  const asked = [],
    said = [];
  page.on('request', request => asked.push(request.url()));
  page.on('console', message => said.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', error => said.push(`thrown: ${error.message}`));
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener('securitypolicyviolation', event =>
      window.violations.push(`${event.violatedDirective} ${event.blockedURI}`),
    );
  });
  if (now) {
    await page.clock.install({ time: now - 1000 });
    await page.clock.pauseAt(now);
    await page.addInitScript(() => {
      // Having dealt with an answer, or with none, the page waits until it asks again.
      const wait = window.setTimeout;
      window.dealt = 0;
      window.setTimeout = (then, ms, ...rest) => {
        if (ms === 5000) window.dealt++;
        return wait(then, ms, ...rest);
      };
    });
  }
  page.calm = async ({ unanswered = false } = {}) => {
    assert.deepEqual(
      asked.filter(one => ![`${url}/`, `${url}/status.json`].includes(one)),
      [],
      'asked for besides the page and its status',
    );
    assert.deepEqual(
      said.filter(one => !(unanswered && one.includes('Failed to load resource'))),
      [],
      'said on the console',
    );
    assert.deepEqual(await page.evaluate(() => window.violations), [], 'forbidden by the policy');
  };
  page.text = async selector => (await page.locator(selector).innerText()).replaceAll('\u00a0', ' ');
  page.served = await page.goto(`${url}/`, { waitUntil: 'commit' });
  return page;
}
