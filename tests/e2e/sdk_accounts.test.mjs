// A newcomer's way with the official openai client: project and token by the command line, calls, what they cost, revoke.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createServer, connect } from 'node:net';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { Daemon, guarded, startUpstream } from './harness.mjs';

let OpenAI;
try {
  ({ default: OpenAI } = await import('openai'));
} catch (error) {
  console.error(`tests/e2e needs its npm packages: run "npm ci" in tests/e2e (dev.sh test does). ${error.message}`);
  process.exit(1);
}

const atOnceMs = 1000;  // what revoking may take to end what is open
const admin = 'management-token-of-the-test';
let upstream, origin, daemon, env;

before(async () => {
  upstream = await startUpstream();
  origin = createServer((socket) => { socket.on('error', () => {}); socket.pipe(socket); });
  await new Promise((resolve) => { origin.listen(0, '127.0.0.1', resolve); });
  daemon = await Daemon.start((d) => `
server:
  listeners:
    - { name: admin, address: "127.0.0.1:0", serve: [admin, metrics, health] }
    - { name: main, address: "127.0.0.1:0", serve: [gateway, forward, health] }
backends:
  - { name: up, base_url: "http://127.0.0.1:${upstream.port}/v1", api_key: upstream-key, models: ["*"] }
forward: { allow: ["127.0.0.1:${origin.address().port}"], allow_private: ["127.0.0.0/8"] }
prices: [ { model: "gpt-*", input: 1, output: 2 } ]
store: { path: "${d.dir}/store.db" }
management: { token: ${admin} }
auth: { mode: token }
logging: { access_log: { path: "${d.accessLog}" } }
`);
  const port = /"listener":"admin".*?"port":(\d+)/.exec(daemon.output)[1];
  env = { ...process.env, LLM_PROXY_MANAGEMENT_TOKEN: admin, LLM_PROXY_MANAGEMENT_URL: `http://127.0.0.1:${port}` };
});

after(async () => {
  upstream.stop();
  origin.close();
  const code = await daemon.stop();
  daemon.remove();
  assert.equal(code, 0);
});

async function cli(...args) {
  const { stdout } = await promisify(execFile)(process.env.LLMPROXY_BINARY, [...args, '--json'], { env });
  return JSON.parse(stdout);
}

function clientWith(secret) {
  return new OpenAI({ apiKey: secret, baseURL: `http://127.0.0.1:${daemon.port}/v1`, maxRetries: 0 });
}

const hi = { model: 'gpt-e2e', max_tokens: 50, messages: [{ role: 'user', content: 'hi' }] };

async function read(stream) {
  let text = '';
  let usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? '';
    usage = chunk.usage ?? usage;
  }
  return { text, usage };
}

test('what the client used is what the command line shows', async () => {
  assert.match(daemon.output, /llm-proxy project create/, 'the first start says what to do');
  await cli('project', 'create', 'team-a');
  await cli('project', 'budget', 'team-a', '--period', 'month', '--usd', '100');
  const { secret } = await cli('token', 'create', '--project', 'team-a', 'ci');
  const client = clientWith(secret);

  const whole = await client.chat.completions.create(hi);
  assert.equal(whole.usage.total_tokens, 7);
  const plain = await read(await client.chat.completions.create({ ...hi, stream: true }));
  assert.deepEqual(plain, { text: 'Grüße aus dem Strom 🙂', usage: undefined }, 'usage that nobody asked for is not shown');
  const asked = await read(await client.chat.completions.create({ ...hi, stream: true, stream_options: { include_usage: true } }));
  assert.equal(asked.usage.total_tokens, 7);
  await client.embeddings.create({ model: 'gpt-embed', input: 'hi' });

  const rows = await cli('usage', 'list', '--token', 'team-a/ci');
  assert.deepEqual(rows.map((row) => [row.route, row.stream, row.prompt_tokens, row.completion_tokens, row.estimated]).reverse(), [
    ['chat_completions', false, 3, 4, false], ['chat_completions', true, 3, 4, false],
    ['chat_completions', true, 3, 4, false], ['embeddings', false, 2, 0, false]]);
  const sums = await cli('usage');
  assert.equal(sums.reduce((sum, one) => sum + one.prompt_tokens, 0), 11);
  const spent = Object.fromEntries((await cli('project', 'spend', 'team-a')).map((one) => [one.period, one]));
  assert.equal(spent.month.tokens, 23);
  assert.equal(spent.month.cost_usd, '0.000035');  // (11 x 1 + 12 x 2) / 10^6
});

test('a revoked token: the next call is 401, open streams and tunnels end at once', async () => {
  await cli('project', 'create', 'team-b');
  const { secret } = await cli('token', 'create', '--project', 'team-b', 'ci');
  const client = clientWith(secret);
  const stream = await client.chat.completions.create({ ...hi, model: 'gpt-endless', stream: true });
  const pieces = stream[Symbol.asyncIterator]();
  assert.equal((await pieces.next()).value.choices[0].delta.content, 'first');
  const tunnel = connect(daemon.port, '127.0.0.1');
  const target = `127.0.0.1:${origin.address().port}`;
  tunnel.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: Bearer ${secret}\r\n\r\n`);
  const answer = await guarded(new Promise((resolve) => { tunnel.once('data', resolve); }), 'tunnel');
  assert.match(answer.toString(), /^HTTP\/1.1 200/);
  tunnel.on('error', () => {});
  const ends = {
    stream: pieces.next().then(() => 'another event', (error) => error).then((how) => ({ how, at: Date.now() })),
    tunnel: new Promise((resolve) => { tunnel.on('close', () => resolve({ at: Date.now() })); tunnel.resume(); }),
  };
  await cli('token', 'revoke', 'team-b/ci');
  const revoked = Date.now();
  const ended = await guarded(ends.stream, 'end of the stream');
  assert.ok(ended.how instanceof Error, 'the stream does not look complete');
  assert.ok(ended.at - revoked < atOnceMs);
  assert.ok((await guarded(ends.tunnel, 'end of the tunnel')).at - revoked < atOnceMs);
  await assert.rejects(client.chat.completions.create(hi), (error) => error instanceof OpenAI.AuthenticationError && error.status === 401);
});

test('a budget that is spent: a RateLimitError that is not tried again', async () => {
  await cli('project', 'create', 'team-c');
  await cli('project', 'budget', 'team-c', '--period', 'day', '--tokens', '10');
  const { secret } = await cli('token', 'create', '--project', 'team-c', 'ci');
  const before = upstream.seen.length;
  let asks = 0;
  const counting = (...request) => { asks += 1; return fetch(...request); };
  const retrying = new OpenAI({ apiKey: secret, baseURL: `http://127.0.0.1:${daemon.port}/v1`, fetch: counting });
  await assert.rejects(retrying.chat.completions.create(hi), (error) => error instanceof OpenAI.RateLimitError && error.code === 'insufficient_quota');
  assert.equal(upstream.seen.length, before);
  assert.equal(asks, 1);
});
