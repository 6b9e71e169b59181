// Traces: W3C Trace Context in and out, and what a collector gets, read by OpenTelemetry's own decoder.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Daemon, guardMs, guarded } from './harness.mjs';

let otlp;
try {
  ({ default: otlp } = await import('@opentelemetry/otlp-transformer/build/src/generated/root.js'));
} catch (error) {
  console.error(`tests/e2e needs its npm packages: run "npm ci" in tests/e2e (dev.sh test does). ${error.message}`);
  process.exit(1);
}
const ExportRequest = otlp.opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest;

const ids = ['traceId', 'spanId', 'parentSpanId'];
const mapIds = (value, map) => {
  if (Array.isArray(value)) return value.map((one) => mapIds(one, map));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, ids.includes(key) ? map(one) : mapIds(one, map)]));
};
const toBase64 = (hex) => Buffer.from(hex, 'hex').toString('base64');
const toHex = (text) => Buffer.from(text, 'base64').toString('hex');

/** Reads a post as OTLP says (ids are hex), and shows that nothing of it was unknown to the decoder. */
function decode(text) {
  const json = JSON.parse(text);
  const plain = mapIds(json, toBase64);
  assert.equal(ExportRequest.verify(ExportRequest.toObject(ExportRequest.fromObject(plain))), null);
  const wire = ExportRequest.encode(ExportRequest.fromObject(plain)).finish();
  const read = ExportRequest.toObject(ExportRequest.decode(wire), { longs: String, bytes: String });
  assert.deepEqual(mapIds(read, toHex), json);
  return json.resourceSpans.flatMap(({ resource, scopeSpans }) => scopeSpans.flatMap(({ spans, schemaUrl }) => spans.map((span) => ({
    ...span, resource: values(resource.attributes), attributes: values(span.attributes), schemaUrl,
    start: BigInt(span.startTimeUnixNano), end: BigInt(span.endTimeUnixNano),
    ms: Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1e6,
  }))));
}

function values(attributes = []) {
  const plain = (value) => value.stringValue ?? value.boolValue ?? value.doubleValue ?? value.arrayValue?.values.map(plain) ?? Number(value.intValue);
  return Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]));
}

async function readAll(stream) {
  let text = '';
  for await (const part of stream) text += part;
  return text;
}

/** A collector that keeps what it got. */
class Collector {
  constructor(answer = 200) { this.spans = []; this.requests = []; this.answer = answer; }

  async start() {
    this.server = http.createServer(async (request, response) => {
      const text = await readAll(request);
      this.requests.push({ url: request.url, headers: request.headers, method: request.method });
      response.writeHead(this.answer, { 'content-type': 'application/json' }).end('{}');
      if (this.answer !== 200) return;
      try {
        this.spans.push(...decode(text));
      } catch (error) {
        this.error ??= error;
      }
    }).listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = this.server.address().port;
    return this;
  }

  /** The spans of a trace, once `enough` says so. */
  async trace(id, enough = (spans) => spans.some((span) => span.kind === 2)) {
    const until = Date.now() + guardMs;
    for (;;) {
      const spans = this.spans.filter((span) => span.traceId === id);
      if (enough(spans)) return spans;
      assert.ifError(this.error);
      assert.ok(Date.now() < until, `no trace ${id}`);
      await sleep(10);
    }
  }

  stop() { this.server.close(); this.server.closeAllConnections(); }
}

const pauseMs = 250;
const chunk = (more) => `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'gpt-served', ...more })}\n\n`;

/** An upstream: the model's name tells what it does. `seen` are the heads that came. */
function upstream(seen, name) {
  return async (request, response) => {
    const body = JSON.parse((await readAll(request)) || '{}');
    seen.push({ name, headers: request.headers, model: body.model });
    await sleep(pauseMs);
    if (name === 'first' || (body.model === 'gpt-again' && seen.filter((one) => one.model === 'gpt-again').length % 2 === 1)) {
      response.writeHead(503, { 'content-type': 'application/json' }).end('{"error":{"message":"busy","type":"server_error"}}');
      return;
    }
    if (!body.stream) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({
        id: 'c', object: 'chat.completion', model: 'gpt-served', choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'x' } }],
        usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } }));
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(chunk({ choices: [{ index: 0, delta: { content: 'a' }, finish_reason: null }] }));
    await sleep(pauseMs);
    response.write(chunk({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }));
    response.write(chunk({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } }));
    response.end('data: [DONE]\n\n');
  };
}

const seen = [];
let folder, first, second, collector, daemon;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'llmproxy-traces-'));
  execFileSync(process.env.LLMPROXY_BINARY, ['certs', 'init', folder]);
  const tls = { key: readFileSync(join(folder, 'server.key')), cert: readFileSync(join(folder, 'server.crt')) };
  first = https.createServer(tls, upstream(seen, 'first')).listen(0);
  second = http.createServer(upstream(seen, 'second')).listen(0, '127.0.0.1');
  await Promise.all([first, second].map((server) => server.listening || once(server, 'listening')));
  collector = await new Collector().start();
  daemon = await start(collector.port);
});

after(async () => {
  assert.equal(await daemon.stop(), 0);
  daemon.remove();
  collector.stop();
  for (const server of [first, second]) { server.close(); server.closeAllConnections(); }
  rmSync(folder, { recursive: true, force: true });
});

function start(port, tracing = 'interval: 20ms', more = '') {
  return Daemon.start((d) => `
server:
  threads: 2
  drain_timeout: 5s
  listeners:
    - { name: main, address: "127.0.0.1:0", serve: [gateway, forward, health, metrics] }
backends:
  - { name: first, base_url: "https://localhost:${first.address().port}/v1", models: ["gpt-over"], tls: { ca: "${folder}/ca.crt" } }
  - { name: second, base_url: "http://127.0.0.1:${second.address().port}/v1", models: ["gpt-*"], priority: 1 }
  - { name: mock, provider: mock, models: ["mock-gpt"] }
fallback: { backoff_initial_delay: ${pauseMs}ms, backoff_jitter: 0, circuit_failure_threshold: 1000, retry_budget: 100 }
forward: { allow: ["127.0.0.1:${second.address().port}"], allow_private: ["127.0.0.0/8"] }
auth: { mode: open }
tracing: { endpoint: "http://127.0.0.1:${port}/otlp", sample_ratio: 1, authorization: "Bearer otlp-canary", headers: { X-Tenant: team }, ${tracing} }
logging: { access_log: { path: "${d.accessLog}" } }
${more}`);
}

const hex = (bytes) => Array.from({ length: bytes * 2 }, () => '0123456789abcdef'[Math.floor(Math.random() * 16)]).join('').replace(/^0/, '1');

/** One request to the gateway, or by it as a proxy if `path` is absolute: status, headers, body. */
async function ask(to, body, headers = {}, path = '/v1/chat/completions') {
  const request = http.request({ host: '127.0.0.1', port: to.port, path, method: 'POST', agent: false,
    headers: { 'content-type': 'application/json', ...headers } });
  request.end(JSON.stringify({ messages: [{ role: 'user', content: 'hi' }], ...body }));
  const [response] = await guarded(once(request, 'response'), 'an answer');
  return { status: response.statusCode, headers: response.headers, body: await readAll(response) };
}

/** Follows the access log's line of a request. */
async function logged(of, answer) {
  const id = answer.headers['x-llm-proxy-request-id'];
  const until = Date.now() + guardMs;
  for (;;) {
    const line = of.log().split('\n').filter(Boolean).map(JSON.parse).find((one) => one.request_id === id);
    if (line) return line;
    assert.ok(Date.now() < until, `no line of ${id}`);
    await sleep(10);
  }
}

const sum = (spans) => spans.reduce((total, span) => total + span.ms, 0);
const children = (spans, of) => spans.filter((span) => span.parentSpanId === of.spanId);

/** Whether the parts follow one another and add up to the whole, within 5 %. */
const addsUp = (whole, parts) => Math.abs(whole.ms - sum(parts)) <= whole.ms * 0.05;

/** A machine that is busy may take its time between two parts: of some requests one has to add up. */
async function oneOf(count, request) {
  for (let i = 1; ; ++i) {
    const { spans, server, attempts } = await request();
    const parts = children(spans, server);
    if (addsUp(server, parts) && attempts.every((attempt) => addsUp(attempt, children(spans, attempt)))) return;
    assert.ok(i < count, `does not add up: ${JSON.stringify(spans.map(({ name, ms }) => [name, ms]))}`);
  }
}

test('a failover shows each attempt with its parts, which add up', async () => {
  await oneOf(5, async () => {
    const given = { trace: hex(16), span: hex(8) };
    seen.length = 0;
    const answer = await ask(daemon, { model: 'gpt-over', stream: true },
      { traceparent: `00-${given.trace}-${given.span}-01`, tracestate: 'vendor=a, t@other=b' });
    assert.equal(answer.status, 200, answer.body);
    const spans = await collector.trace(given.trace);
    const server = spans.find((span) => span.kind === 2);
    assert.equal(server.parentSpanId, given.span);
    assert.equal(server.name, 'POST chat_completions');
    assert.equal(server.traceState, 'vendor=a, t@other=b');
    assert.equal(server.schemaUrl, 'https://opentelemetry.io/schemas/1.37.0');
    assert.equal(server.resource['service.name'], 'llm-proxy');
    assert.equal(server.attributes['http.response.status_code'], 200);
    assert.equal(server.attributes['llmproxy.attempts'], 2);
    assert.equal(server.status, undefined);

    const attempts = children(spans, server).filter((span) => span.kind === 3);
    assert.deepEqual(attempts.map((span) => span.attributes['llmproxy.backend']), ['first', 'second']);
    const [failed, answered] = attempts;
    for (const attempt of attempts) {
      assert.deepEqual(children(spans, attempt).map((span) => span.name).slice(-3), ['send', 'first_byte', 'relay']);
    }
    assert.equal(failed.attributes['error.type'], 'transient');
    assert.equal(failed.status.code, 2);
    assert.equal(failed.attributes['server.address'], 'localhost');
    assert.equal(failed.attributes['server.port'], first.address().port);
    assert.equal(failed.attributes['gen_ai.usage.output_tokens'], undefined);
    assert.equal(answered.name, 'chat gpt-over');
    assert.equal(answered.attributes['http.request.resend_count'], 1);
    assert.equal(answered.attributes['gen_ai.operation.name'], 'chat');
    assert.equal(answered.attributes['gen_ai.provider.name'], 'openai');
    assert.equal(answered.attributes['gen_ai.request.model'], 'gpt-over');
    assert.equal(answered.attributes['gen_ai.response.model'], 'gpt-served');
    assert.deepEqual(answered.attributes['gen_ai.response.finish_reasons'], ['stop']);
    assert.equal(answered.attributes['gen_ai.usage.input_tokens'], 3);
    assert.equal(answered.attributes['gen_ai.usage.output_tokens'], 4);
    assert.equal(answered.status, undefined);

    // Each upstream got the trace, with its attempt as the parent.
    assert.deepEqual(seen.map((one) => one.headers.traceparent),
      attempts.map((span) => `00-${given.trace}-${span.spanId}-01`));
    assert.deepEqual(seen.map((one) => one.headers.tracestate), ['vendor=a, t@other=b', 'vendor=a, t@other=b']);
    for (const span of spans) assert.ok(span.start >= server.start && span.end <= server.end, span.name);

    const line = await logged(daemon, answer);
    assert.equal(line.trace_id, given.trace);
    assert.equal(server.attributes['llmproxy.request_id'], line.request_id);
    assert.ok(Math.abs(line.duration_ms - server.ms) < 0.01);
    return { spans, server, attempts };
  });
});

test('a new connection shows look-up, connecting and handshake', async () => {
  const fresh = await start(collector.port);
  const trace = hex(16);
  await ask(fresh, { model: 'gpt-over' }, { traceparent: `00-${trace}-${hex(8)}-01` });
  const spans = await collector.trace(trace);
  const [failed, answered] = spans.filter((span) => span.kind === 3);
  assert.deepEqual(children(spans, failed).map((span) => span.name), ['dns', 'connect', 'tls', 'send', 'first_byte', 'relay']);
  assert.deepEqual(children(spans, answered).map((span) => span.name), ['dns', 'connect', 'send', 'first_byte', 'relay']);
  assert.equal(await fresh.stop(), 0);
  fresh.remove();
});

test('waits between attempts and in the queue are parts too', async () => {
  const narrow = await start(collector.port, 'interval: 20ms', 'limits: { max_concurrent_requests: 1 }');
  await oneOf(5, async () => {
    const [one, two] = [hex(16), hex(16)];
    const before = seen.length;
    const ahead = ask(narrow, { model: 'gpt-wait' }, { traceparent: `00-${one}-${hex(8)}-01` });
    while (seen.length === before) await sleep(1);
    const behind = await ask(narrow, { model: 'gpt-again' }, { traceparent: `00-${two}-${hex(8)}-01` });
    assert.equal((await ahead).status, 200);
    assert.equal(behind.status, 200);
    const spans = await collector.trace(two);
    const server = spans.find((span) => span.kind === 2);
    const attempts = children(spans, server).filter((span) => span.kind === 3);
    assert.deepEqual(children(spans, server).map((span) => span.name).sort(), ['backoff', 'chat gpt-again', 'chat gpt-again', 'queue']);
    return { spans, server, attempts };
  });
  assert.equal(await narrow.stop(), 0);
  narrow.remove();
});

test('what is no traceparent is replaced, and its tracestate dropped', async () => {
  const trace = hex(16);
  const span = hex(8);
  for (const bad of [`00-${trace}-${span}`, `00-${trace}-${span}-01-x`, `ff-${trace}-${span}-01`, `0-${trace}-${span}-01`, `00-${'0'.repeat(32)}-${span}-01`,
    `00-${trace}-${'0'.repeat(16)}-01`, `00-${trace.toUpperCase().replace(/\d/g, 'A')}-${span}-01`, `00-${trace}-${span}-0x`, 'x', '',
    [`00-${trace}-${span}-01`, `00-${trace}-${span}-01`]]) {
    seen.length = 0;
    const answer = await ask(daemon, { model: 'gpt-bad' }, { traceparent: bad, tracestate: 'vendor=a' });
    assert.equal(answer.status, 200);
    const [, id] = /^00-([0-9a-f]{32})-[0-9a-f]{16}-01$/.exec(seen[0].headers.traceparent) ?? assert.fail(seen[0].headers.traceparent);
    assert.notEqual(id, trace);
    assert.equal(seen[0].headers.tracestate, undefined);
    const server = (await collector.trace(id)).find((one) => one.kind === 2);
    assert.equal(server.parentSpanId, undefined);
  }
  seen.length = 0;
  await ask(daemon, { model: 'gpt-later' }, { traceparent: `01-${trace}-${span}-01-later`, tracestate: 'no list' });
  assert.match(seen[0].headers.traceparent, new RegExp(`^00-${trace}-`));
  assert.equal(seen[0].headers.tracestate, undefined);
});

test('a parent that is not sampled is not exported, but its trace goes on', async () => {
  const [trace, span, later] = [hex(16), hex(8), hex(16)];
  seen.length = 0;
  const answer = await ask(daemon, { model: 'gpt-quiet' }, { traceparent: `00-${trace}-${span}-00`, tracestate: 'vendor=a' });
  const [, parent] = new RegExp(`^00-${trace}-([0-9a-f]{16})-00$`).exec(seen[0].headers.traceparent);
  assert.notEqual(parent, span);
  assert.equal(seen[0].headers.tracestate, 'vendor=a');
  assert.equal((await logged(daemon, answer)).trace_id, trace);
  await ask(daemon, { model: 'mock-gpt' }, { traceparent: `00-${later}-${span}-01` });
  await collector.trace(later);
  assert.deepEqual(collector.spans.filter((one) => one.traceId === trace), []);
});

test('the forward proxy passes traces on', async () => {
  const [trace, span] = [hex(16), hex(8)];
  seen.length = 0;
  const answer = await ask(daemon, { model: 'gpt-forward' }, { traceparent: `00-${trace}-${span}-01`, tracestate: 'vendor=a' },
    `http://127.0.0.1:${second.address().port}/v1/chat/completions`);
  assert.equal(answer.status, 200, answer.body);
  const spans = await collector.trace(trace);
  const server = spans.find((one) => one.kind === 2);
  const [attempt] = spans.filter((one) => one.kind === 3);
  assert.equal(server.attributes['http.route'], 'forward');
  assert.equal(seen[0].headers.traceparent, `00-${trace}-${attempt.spanId}-01`);
  assert.equal(seen[0].headers.tracestate, 'vendor=a');
  assert.equal(attempt.attributes['server.port'], second.address().port);
  assert.deepEqual(children(spans, attempt).map((one) => one.name), ['dns', 'connect', 'send', 'first_byte', 'relay']);
  assert.ok(sum(children(spans, attempt)) <= attempt.ms);

  const tunnelled = hex(16);
  const connect = http.request({ host: '127.0.0.1', port: daemon.port, method: 'CONNECT', path: `127.0.0.1:${second.address().port}`, agent: false,
    headers: { traceparent: `00-${tunnelled}-${span}-01` } });
  connect.end();
  const [response, socket] = await guarded(once(connect, 'connect'), 'a tunnel');
  assert.equal(response.statusCode, 200);
  socket.destroy();
  const dialled = await collector.trace(tunnelled);
  assert.deepEqual(dialled.map((one) => one.name), ['CONNECT connect', 'CONNECT', 'dns', 'connect']);
});

test('the collector is asked as configured', () => {
  for (const request of collector.requests) {
    assert.equal(request.method, 'POST');
    assert.equal(request.url, '/otlp/v1/traces');
    assert.equal(request.headers['content-type'], 'application/json');
    assert.equal(request.headers.authorization, 'Bearer otlp-canary');
    assert.equal(request.headers['x-tenant'], 'team');
  }
  const config = join(daemon.dir, 'proxy.yaml');
  const shown = execFileSync(process.env.LLMPROXY_BINARY, ['check', '--config', config]).toString();
  assert.ok(shown.includes('/otlp'));
  for (const text of [shown, daemon.output, daemon.log()]) assert.ok(!text.includes('otlp-canary'));
});

const metric = async (of, name) => {
  const response = await fetch(`http://127.0.0.1:${of.port}/metrics`);
  const line = (await response.text()).split('\n').find((one) => one.startsWith(name));
  return line ? Number(line.split(' ').at(-1)) : 0;
};

async function until(true_, what) {
  const end = Date.now() + guardMs;
  while (!(await true_())) {
    assert.ok(Date.now() < end, `timeout: ${what}`);
    await sleep(10);
  }
}

test('what was not exported yet is, when the daemon drains', async () => {
  const patient = await start(collector.port, 'interval: 50s');
  const trace = hex(16);
  await ask(patient, { model: 'mock-gpt' }, { traceparent: `00-${trace}-${hex(8)}-01` });
  assert.equal(await patient.stop(), 0);
  await collector.trace(trace);
  patient.remove();
});

test('a collector that hangs delays nobody: traces are dropped and counted, the drain is bounded', async () => {
  const sockets = [];
  const hung = createServer((socket) => { sockets.push(socket); socket.on('error', () => {}); }).listen(0, '127.0.0.1');
  await once(hung, 'listening');
  const proxy = await start(hung.address().port, 'interval: 1ms, queue: 3, batch: 1, timeout: 600s');
  for (let i = 0; i < 20; ++i) assert.equal((await ask(proxy, { model: 'mock-gpt' })).status, 200);
  await until(async () => (await metric(proxy, 'llmproxy_traces_total{result="dropped"}')) >= 16, 'drops');
  assert.equal(await proxy.stop(), 0);  // within the guard, although the post may take 600 s
  for (const socket of sockets) socket.destroy();
  hung.close();
  proxy.remove();
});

test('a collector that refuses or is gone costs its traces only', async () => {
  const refusing = await new Collector(400).start();
  const gone = createServer().listen(0, '127.0.0.1');
  await once(gone, 'listening');
  const { port } = gone.address();
  gone.close();
  for (const [to, tracing] of [[refusing.port, 'interval: 1ms'], [port, 'interval: 1ms']]) {
    const proxy = await start(to, tracing);
    assert.equal((await ask(proxy, { model: 'mock-gpt' })).status, 200);
    await until(async () => (await metric(proxy, 'llmproxy_traces_total{result="failed"}')) === 1, 'a failure');
    assert.match(proxy.output, /the collector does not take traces/);
    assert.equal(await proxy.stop(), 0);
    proxy.remove();
  }
  assert.equal(refusing.requests.length, 1);  // what is refused is not posted again
  refusing.stop();
});

test('without an endpoint nothing is touched', async () => {
  const plain = await Daemon.start((d) => `
server:
  listeners: [{ name: main, address: "127.0.0.1:0", serve: [gateway, health, metrics] }]
backends: [{ name: second, base_url: "http://127.0.0.1:${second.address().port}/v1", models: ["*"] }]
auth: { mode: open }
logging: { access_log: { path: "${d.accessLog}" } }
`);
  seen.length = 0;
  const answer = await ask(plain, { model: 'gpt-x' }, { traceparent: 'as it is', tracestate: 'whatever' });
  assert.equal(seen[0].headers.traceparent, 'as it is');
  assert.equal(seen[0].headers.tracestate, 'whatever');
  assert.equal((await logged(plain, answer)).trace_id, undefined);
  assert.equal(await metric(plain, 'llmproxy_traces_total'), 0);
  assert.equal(await plain.stop(), 0);
  plain.remove();
});
