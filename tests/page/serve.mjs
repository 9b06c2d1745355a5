// The page and a scripted /status.json, served on 127.0.0.1 as a worker serves them.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

export const PAGE = readFileSync('src/telemetry/page.html', 'utf8');

/** The header that the page's first comment asks for. */
export const POLICY = /^Content-Security-Policy: (.+)$/m.exec(PAGE)?.[1];

/** The hash of the page's one script, as a policy names it. */
export function scriptHash() {
  const scripts = [...PAGE.matchAll(/<script[^>]*>([^]*?)<\/script>/g)];
  if (scripts.length !== 1) throw new Error(`the page has ${scripts.length} scripts, and is to have one`);
  return `'sha256-${createHash('sha256').update(scripts[0][1]).digest('base64')}'`;
}

/** What /status.json does: a status as JSON, any other answer, or none. */
export const json = status => response =>
  response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(status));
export const http =
  (code, body = '') =>
  response =>
    response.writeHead(code).end(body);
export const cut = response => response.destroy();
export const hang = () => {};

/** A server whose `answer` can be changed at any time, and that remembers in `asked` each path it was asked for. */
export async function serve(answer) {
  const it = { answer, asked: [] };
  const server = createServer((request, response) => {
    it.asked.push(request.url);
    if (request.url === '/')
      response
        .writeHead(200, { 'Content-Type': 'text/html; charset=utf-8', 'Content-Security-Policy': POLICY })
        .end(PAGE);
    else if (request.url === '/status.json') it.answer(response);
    else response.writeHead(404).end();
  });
  await new Promise(done => server.listen(0, '127.0.0.1', done));
  it.url = `http://127.0.0.1:${server.address().port}`;
  it.polls = () => it.asked.filter(path => path === '/status.json').length;
  it.close = () => {
    server.closeAllConnections();
    return new Promise(done => server.close(done));
  };
  return it;
}
