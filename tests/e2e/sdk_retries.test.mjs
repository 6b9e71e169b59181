// The official openai client with its own retries on, as it comes, and the proxy's retries over two backends: they do not multiply.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Daemon, startUpstream } from './harness.mjs';

let OpenAI;
try {
  ({ default: OpenAI } = await import('openai'));
} catch (error) {
  console.error(`tests/e2e needs its npm packages: run "npm ci" in tests/e2e (dev.sh test does). ${error.message}`);
  process.exit(1);
}

const maxRetries = 3;  // of the proxy; the client's own are 2
let first, second, daemon, client;

before(async () => {
  first = await startUpstream();
  second = await startUpstream();
  daemon = await Daemon.start((d) => `
server:
  threads: 2
  drain_timeout: 5s
  listeners:
    - { name: main, address: "127.0.0.1:0", serve: [gateway, health] }
backends:
  - { name: one, base_url: "http://127.0.0.1:${first.port}/v1", api_key: key-one, models: ["gpt-*"] }
  - { name: two, base_url: "http://127.0.0.1:${second.port}/v1", api_key: key-two, models: ["gpt-*"], priority: 1 }
  - { name: dead, base_url: "http://127.0.0.1:1/v1", models: ["dead"] }
fallback: { max_retries: ${maxRetries}, backoff_initial_delay: 1, backoff_jitter: 0, circuit_failure_threshold: 1000, retry_budget: 100 }
timeout: { response_header_timeout: 2s }
auth: { mode: open }
logging: { access_log: { path: "${d.accessLog}" } }
`);
  client = new OpenAI({ apiKey: 'any', baseURL: `http://127.0.0.1:${daemon.port}/v1` });
  assert.equal(client.maxRetries, 2);
});

after(() => {
  for (const upstream of [first, second]) upstream.stop();
  daemon.remove();
});

const calls = () => first.seen.length + second.seen.length;

// What comes of each way to fail: the client's error, calls of upstreams in all, requests that the client made.
const cases = [
  { model: 'gpt-status-400', error: 'BadRequestError', calls: 1, requests: 1 },
  { model: 'gpt-status-422', error: 'UnprocessableEntityError', calls: 1, requests: 1 },
  { model: 'gpt-status-401', error: 'InternalServerError', calls: 2, requests: 1 },  // either key; the proxy's fault then
  { model: 'gpt-status-429', error: 'RateLimitError', calls: 4, requests: 1 },
  { model: 'gpt-status-500', error: 'InternalServerError', calls: 4, requests: 1 },
  { model: 'gpt-status-503', error: 'InternalServerError', calls: 4, requests: 1, stream: true },
  { model: 'gpt-reset', error: 'InternalServerError', calls: 3, requests: 1 },  // the pooled connection's free one among them
  { model: 'gpt-error-frame', error: 'APIError', calls: 4, requests: 1, stream: true },
  { model: 'dead', error: 'InternalServerError', calls: 0, requests: 1 },
  { model: 'gpt-silent', error: 'InternalServerError', calls: 3, requests: 3 },  // the proxy makes one attempt each
];

for (const { model, error: kind, calls: wanted, stream = false } of cases) {
  test(`${model} is ${kind} after ${wanted} upstream calls in all`, async () => {
    const before = calls();
    await assert.rejects(async () => {
      const reply = await client.chat.completions.create({ model, stream, messages: [{ role: 'user', content: 'hi' }] });
      if (stream) for await (const chunk of reply) assert.fail(`a chunk: ${JSON.stringify(chunk)}`);
    }, (error) => {
      assert.equal(error.constructor, OpenAI[kind], error.stack);
      return true;
    });
    assert.equal(calls() - before, wanted);
    assert.ok(wanted <= maxRetries + 1);
  });
}

test('the client makes one request where the proxy has retried', async () => {
  assert.equal(await daemon.stop(), 0, daemon.output);
  const lines = daemon.log().trim().split('\n').map((line) => JSON.parse(line));
  for (const { model, requests } of cases) {
    assert.equal(lines.filter((line) => line.model === model).length, requests, model);
  }
  assert.equal(lines.find((line) => line.model === 'dead').attempts, maxRetries + 1);
});
