// Pictures of the page, for somebody to look at.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { DESK, PHONE, open } from './browser.mjs';
import { cut, json, serve } from './serve.mjs';
import { HOSTILE, NOW, hostile, many, starting, unhealthy, usual } from './statuses.mjs';

const PICTURES = {
  light: {},
  dark: { scheme: 'dark' },
  phone: { viewport: PHONE },
  'phone-dark': { viewport: PHONE, scheme: 'dark' },
  tablet: { viewport: { width: 800, height: 1000 } },
  'phone-first-sight': { viewport: PHONE, part: true },
  unhealthy: { status: unhealthy() },
  'unhealthy-dark': { status: unhealthy(), scheme: 'dark' },
  'unhealthy-phone': { status: unhealthy(), viewport: PHONE, part: true },
  empty: { status: starting() },
  'empty-phone-dark': { status: starting(), viewport: PHONE, scheme: 'dark' },
  silent: { then: cut },
  'silent-dark': { then: cut, scheme: 'dark' },
  many: { status: many() },
  hostile: { status: hostile(HOSTILE[0]) },
  'hostile-long-phone': { status: hostile(HOSTILE[3]), viewport: PHONE },
  pointed: { part: true, point: true },
};

export async function screenshots(browser, folder) {
  await mkdir(folder, { recursive: true });
  for (const [name, { status = usual(), then, part, point, viewport = DESK, scheme }] of Object.entries(PICTURES)) {
    const server = await serve(json(status));
    const page = await open(browser, server.url, { now: NOW, viewport, scheme, motion: 'reduce', scale: 2 });
    await page.locator('#rest').waitFor();
    if (then) {
      server.answer = then;
      await page.clock.runFor(5000);
      await page.locator('body.silent').waitFor();
    }
    if (point) {
      const box = await page.locator('.plot svg').first().boundingBox();
      await page.mouse.move(box.x + box.width * 0.64, box.y + 20);
    }
    await page.screenshot({ path: join(folder, `${name}.png`), fullPage: !part });
    await page.context().close();
    await server.close();
  }
}
