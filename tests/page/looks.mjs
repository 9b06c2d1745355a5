// How the page looks: hostile strings, contrast, narrow windows, motion, and what it is to a screen reader.
import assert from 'node:assert/strict';

import { DESK, PHONE } from './browser.mjs';
import { again, check, isWord, rows } from './check.mjs';
import { contrasts, outside, overlaps } from './inside.mjs';
import { cut, json } from './serve.mjs';
import { HOSTILE, hostile, many, starting, unhealthy, usual } from './statuses.mjs';

HOSTILE.forEach((text, n) => {
  for (const viewport of [DESK, PHONE]) {
    check(
      `hostile string ${n + 1} stays text, ${viewport.width} px wide`,
      { status: hostile(text), viewport },
      async (page, server) => {
        await page.locator('#ended').evaluate(at => {
          at.open = true;
        });
        const seen = await page.evaluate(() => ({
          pwned: window.pwned,
          images: document.querySelectorAll('img, iframe, object, script[src]').length,
          scripts: document.scripts.length,
          links: [...document.links]
            .map(link => link.getAttribute('href'))
            .filter(href => !/^(#h-\w+|status\.json|metrics)$/.test(href)),
          text: document.body.innerText,
          all: document.documentElement.outerHTML,
          source: document.querySelector('#source').textContent,
        }));
        assert.deepEqual([seen.pwned, seen.images, seen.scripts, seen.links], [undefined, 0, 1, []]);
        const shown = text.replace(
          /[\u0007\u200b\u202e\u2066]/g,
          found => `\\u${found.codePointAt(0).toString(16).padStart(4, '0')}`,
        );
        assert.equal(seen.source.endsWith(shown), true, seen.source.slice(0, 300));
        assert.doesNotMatch(seen.all, /[\u202a-\u202e\u2066-\u2069]/, 'turns the order of what is around it');
        const group = shown.replace(/%([0-7][0-9A-F])/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
        assert.ok(
          (await rows(page, 'partitions')).some(([name]) => name.startsWith(group.slice(0, 80))),
          'its log group is unescaped once',
        );
        const { width, found } = await page.evaluate(outside);
        assert.ok(width <= viewport.width, `${width} px`);
        assert.deepEqual([found, await page.evaluate(overlaps)], [[], []]);
        const high = await page
          .locator('tr')
          .evaluateAll(all => Math.max(...all.map(row => row.getBoundingClientRect().height)));
        assert.ok(high < 420, `a row of ${high} px`);
        await again(page, server, json(hostile(text)));
        await page.calm();
      },
    );
  }
});

check(
  'what is no string where one belongs is text too, and makes no element',
  {
    status: hostile({ tag: 'iframe', text: 'x', src: '/trap', href: 'javascript:window.pwned=1', css: 'trap' }),
  },
  async page => {
    assert.equal(await page.text('#source'), '[object Object]');
    assert.equal(await page.locator('iframe, .trap').count(), 0);
    await page.calm();
  },
);

for (const scheme of ['light', 'dark']) {
  for (const [name, status] of Object.entries({
    usual: usual(),
    unhealthy: unhealthy(),
    'not ready': usual({ state: 'not ready', problems: ['p'] }),
    starting: starting(),
    silent: usual(),
  })) {
    for (const viewport of [DESK, PHONE]) {
      check(
        `contrast, ${scheme}, ${name}, ${viewport.width} px`,
        { status, scheme, viewport, motion: 'reduce' },
        async (page, server) => {
          await page.locator('#ended').evaluate(at => {
            at.open = true;
          });
          if (name === 'silent') {
            await again(page, server, cut);
            await isWord(page, 'No answer since 10:30:00');
          }
          const { texts, worst, low } = await page.evaluate(contrasts, 4.5);
          assert.ok(texts > 40, `only ${texts} texts`);
          assert.deepEqual(low, [], `worst: ${JSON.stringify(worst)}`);
        },
      );
    }
  }
}

check('dark and light differ in each colour', { motion: 'reduce' }, async page => {
  const colors = () =>
    page.evaluate(() =>
      ['body', '#word', '.note', '.plot', 'a', '.badge.alarm', '.curve'].map(one => {
        const { color, backgroundColor, stroke } = getComputedStyle(document.querySelector(one));
        return one === 'body'
          ? [color, backgroundColor].join()
          : one === '.plot'
            ? backgroundColor
            : one === '.curve'
              ? stroke
              : color;
      }),
    );
  const light = await colors();
  await page.emulateMedia({ colorScheme: 'dark' });
  const dark = await colors();
  light.forEach((one, n) => assert.notEqual(one, dark[n]));
});

for (const [name, status] of Object.entries({
  usual: usual(),
  unhealthy: unhealthy(),
  empty: starting(),
  many: many(),
})) {
  for (const width of [320, 360, 640, 800, 870, 1024, 1280]) {
    check(`no sideways scrolling, ${name}, ${width} px`, { status, viewport: { width, height: 740 } }, async page => {
      const { width: wide, found } = await page.evaluate(outside);
      assert.ok(wide <= width, `${wide} px`);
      assert.deepEqual([found, await page.evaluate(overlaps)], [[], []]);
    });
  }
}

check('nothing moves for who wants no motion', { motion: 'reduce' }, async page => {
  const moving = () =>
    page.evaluate(
      () =>
        [...document.querySelectorAll('*')].filter(at => {
          const { transitionDuration, animationName } = getComputedStyle(at);
          return !/^0s(, 0s)*$/.test(transitionDuration) || animationName !== 'none';
        }).length,
    );
  assert.equal(await moving(), 0);
  await page.emulateMedia({ reducedMotion: 'no-preference' });
  assert.ok((await moving()) > 0, 'this check would see it');
});

check('headings, captions, heads and roles, on a desk and on a phone', {}, async page => {
  for (const viewport of [DESK, PHONE]) {
    await page.setViewportSize(viewport);
    assert.equal(await page.locator('h1').count(), 1);
    assert.equal(await page.getByRole('status').count(), 1);
    for (const table of await page.locator('#rest section > table').all()) {
      assert.match(await table.locator('caption').innerText(), /\w/);
      const heads = await table.getByRole('columnheader').count();
      assert.ok(heads >= 4);
      assert.equal(await table.locator('thead th').count(), await table.locator('thead th[scope=col]').count());
      assert.ok((await table.getByRole('rowheader').count()) >= 1);
      assert.equal(await table.getByRole('cell').count(), (heads - 1) * (await table.locator('tbody tr').count()));
    }
    assert.equal(await page.getByRole('slider', { name: /over the last hour$/ }).count(), 4);
  }
});
