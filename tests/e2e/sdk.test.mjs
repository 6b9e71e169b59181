// The official openai client, and a WebSocket client, through the real daemon.
import assert from 'node:assert/strict';
import * as buffer from 'node:buffer';
import { after, before, test } from 'node:test';

import { Daemon, deferred, guarded, startUpstream } from './harness.mjs';

globalThis.File ??= buffer.File;  // Node 18

let OpenAI, toFile, WebSocket, WebSocketServer;
try {
  ({ default: OpenAI, toFile } = await import('openai'));
  ({ default: WebSocket, WebSocketServer } = await import('ws'));
} catch (error) {
  console.error(`tests/e2e needs its npm packages: run "npm ci" in tests/e2e (dev.sh test does). ${error.message}`);
  process.exit(1);
}

const clientToken = 'e2e-client-token-canary';
const backendKey = 'sk-e2e-backend-canary';
let upstream, daemon, client;

before(async () => {
  upstream = await startUpstream();
  daemon = await Daemon.start((d) => `
server:
  threads: 2
  drain_timeout: 5s
  listeners:
    - { name: main, address: "127.0.0.1:0", serve: [gateway, health] }
backends:
  - { name: up, base_url: "http://127.0.0.1:${upstream.port}/v1", api_key: "${backendKey}", models: ["gpt-*", "text-*", "tts-*"] }
default_backend: up
fallback: { backoff_initial_delay: 1, backoff_jitter: 0, circuit_failure_threshold: 1000, retry_budget: 100 }
auth: { mode: token, static_tokens: [ { name: sdk, token: "${clientToken}" } ] }
logging: { access_log: { path: "${d.accessLog}" } }
`);
  client = new OpenAI({ apiKey: clientToken, baseURL: `http://127.0.0.1:${daemon.port}/v1`, maxRetries: 0, timeout: 20_000 });
});

after(async () => {
  upstream.stop();
  assert.equal(await daemon.stop(), 0, daemon.output);
  for (const secret of [clientToken, backendKey]) {
    assert.ok(!daemon.output.includes(secret), 'secret in the diagnostics');
    assert.ok(!daemon.log().includes(secret), 'secret in the access log');
  }
  daemon.remove();
});

const ask = (model, more = {}) => ({ model, messages: [{ role: 'user', content: 'hi' }], ...more });

test('chat', async () => {
  const { data, response } = await client.chat.completions.create(ask('gpt-e2e')).withResponse();
  assert.equal(data.choices[0].message.content, 'echo hi');
  assert.equal(response.headers.get('x-llm-proxy-backend'), 'up');
  const seen = upstream.seen.at(-1);
  assert.equal(seen.headers.authorization, `Bearer ${backendKey}`);
  assert.ok(!JSON.stringify(seen.headers).includes(clientToken));
});

test('stream', async () => {
  let text = '';
  for await (const chunk of await client.chat.completions.create(ask('gpt-e2e', { stream: true }))) {
    assert.equal(chunk.choices.length, 1, 'the usage block is hidden');
    text += chunk.choices[0].delta.content ?? '';
  }
  assert.equal(text, 'Grüße aus dem Strom 🙂');
});

test('stream with usage', async () => {
  let usage;
  const stream = await client.chat.completions.create(
    ask('gpt-e2e', { stream: true, stream_options: { include_usage: true } }));
  for await (const chunk of stream) usage = chunk.usage ?? usage;
  assert.equal(usage.total_tokens, 7);
});

test('tool calls', async () => {
  const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object', properties: {} } } }];
  const reply = await client.chat.completions.create(ask('gpt-e2e', { tools }));
  assert.equal(reply.choices[0].message.tool_calls[0].function.arguments, '{"city":"Bern"}');
});

test('tool calls in a stream', async () => {
  const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object', properties: {} } } }];
  const reply = await client.chat.completions.stream(ask('gpt-e2e', { tools })).finalChatCompletion();
  const [call] = reply.choices[0].message.tool_calls;
  assert.equal(call.function.name, 'weather');
  assert.equal(call.function.arguments, '{"city":"Bern"}');
});

test('embeddings', async () => {
  const reply = await client.embeddings.create({ model: 'text-embedding-3-small', input: 'x' });
  assert.equal(reply.data[0].embedding.length, 1536);
  assert.equal(reply.data[0].embedding[7], 0.5);
});

test('completions', async () => {
  const reply = await client.completions.create({ model: 'gpt-e2e', prompt: 'this' });
  assert.equal(reply.choices[0].text, 'after this');
});

test('completions in a stream', async () => {
  let text = '';
  for await (const chunk of await client.completions.create({ model: 'gpt-e2e', prompt: 'this', stream: true })) {
    text += chunk.choices[0].text;
  }
  assert.equal(text, 'after this');
});

test('models list and retrieve', async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes('gpt-e2e'), ids.join());
  assert.equal((await client.models.retrieve('gpt-e2e')).id, 'gpt-e2e');
});

test('file upload', async () => {
  const content = '{"a":1}\n'.repeat(100_000);
  const file = await client.files.create({ file: await toFile(Buffer.from(content), 'f.jsonl'), purpose: 'batch' });
  assert.equal(file.id, 'file-1');
  assert.ok(upstream.seen.at(-1).raw.includes(content.slice(0, 1000)));
  assert.ok(file.bytes > content.length);
});

test('audio download', async () => {
  const reply = await client.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: 'x' });
  const bytes = Buffer.from(await reply.arrayBuffer());
  assert.equal(bytes.length, 200_000);
  assert.equal(bytes.at(-1), 2);
});

test('errors of upstream and of the proxy', async () => {
  await assert.rejects(client.chat.completions.create(ask('unknown-model')),
    (error) => error.status === 404 && error.code === 'model_not_found');
  const stranger = new OpenAI({ apiKey: 'wrong', baseURL: client.baseURL, maxRetries: 0 });
  await assert.rejects(stranger.chat.completions.create(ask('gpt-e2e')),
    (error) => error instanceof OpenAI.AuthenticationError && error.code === 'invalid_api_key');
});

test('abort in mid-stream reaches upstream', async (t) => {
  const stream = await client.chat.completions.create(ask('gpt-endless', { stream: true }));
  for await (const chunk of stream) {
    assert.equal(chunk.choices[0].delta.content, 'first');
    break;
  }
  stream.controller.abort();
  const left = Date.now();
  const took = await guarded(upstream.streamClosed.promise, 'upstream sees the close') - left;
  t.diagnostic(`upstream saw the close after ${took} ms`);
  assert.ok(took <= 1000, `${took} ms`);
});

// What the SDK makes of each outcome, its own retries on: upstream calls stay within those of the proxy.
for (const [model, kind, calls] of [
  ['gpt-status-400', 'BadRequestError', 1],
  ['gpt-status-401', 'InternalServerError', 3],  // our key: not the client's fault; the SDK tries again, the proxy does not
  ['gpt-status-403', 'PermissionDeniedError', 1],
  ['gpt-status-404', 'NotFoundError', 1],
  ['gpt-status-422', 'UnprocessableEntityError', 1],
  ['gpt-status-429', 'RateLimitError', 4],
  ['gpt-status-500', 'InternalServerError', 4],
  ['gpt-status-503', 'InternalServerError', 4],
  ['gpt-reset', 'InternalServerError', 3],  // the pooled connection's free one among them
]) {
  test(`${model} is ${kind} after ${calls} upstream calls`, async () => {
    const eager = client.withOptions({ maxRetries: 2 });
    const before = upstream.seen.length;
    await assert.rejects(eager.chat.completions.create(ask(model)), (error) => {
      assert.equal(error.constructor, OpenAI[kind], error.message);
      return true;
    });
    assert.equal(upstream.seen.length - before, calls);
  });
}

test('an unreachable proxy is APIConnectionError', async () => {
  const nobody = new OpenAI({ apiKey: clientToken, baseURL: 'http://127.0.0.1:1/v1', maxRetries: 0 });
  await assert.rejects(nobody.chat.completions.create(ask('gpt-e2e')), OpenAI.APIConnectionError);
});

test('a cut stream is an error each time', async () => {
  const whole = upstream.cutScript.length;
  const cuts = Array.from({ length: 40 }, (_, i) => 1 + Math.floor(i * (whole - 2) / 39));  // 1 to all but the last byte
  for (upstream.cut of cuts) {
    await assert.rejects(async () => {
      for await (const chunk of await client.chat.completions.create(ask('gpt-cut', { stream: true }))) assert.ok(chunk);
    }, undefined, `cut after ${upstream.cut} bytes`);
  }
});

test('64 at once', async () => {
  const replies = await Promise.all(Array.from({ length: 64 }, (_, i) => client.chat.completions.create(
    { model: 'gpt-e2e', messages: [{ role: 'user', content: `n${i}` }] })));
  replies.forEach((reply, i) => assert.equal(reply.choices[0].message.content, `echo n${i}`));
});

test('64 streams at once', async () => {
  const texts = await Promise.all(Array.from({ length: 64 }, async (_, i) => {
    let text = '';
    const stream = await client.chat.completions.create(
      { model: 'gpt-e2e', stream: true, messages: [{ role: 'user', content: `n${i}` }] });
    for await (const chunk of stream) text += chunk.choices[0].delta.content;
    return text;
  }));
  texts.forEach((text, i) => assert.equal(text, `echo n${i}`));
});

test('WebSocket echo through /v1/realtime', async () => {
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => 'realtime' });
  let upgrade;
  upstream.server.on('upgrade', (request, socket, head) => {
    upgrade = request;
    sockets.handleUpgrade(request, socket, head, (ws) => ws.on('message', (data, binary) => ws.send(data, { binary })));
  });
  const socket = new WebSocket(`ws://127.0.0.1:${daemon.port}/v1/realtime?model=gpt-e2e`,
    ['realtime', `openai-insecure-api-key.${clientToken}`, 'openai-beta.realtime-v1']);
  const opened = deferred();
  socket.once('open', opened.resolve);
  socket.once('error', (error) => opened.resolve(error));
  assert.equal(await guarded(opened.promise, 'open'), undefined);
  assert.equal(upgrade.headers.authorization, `Bearer ${backendKey}`);
  assert.ok(!JSON.stringify(upgrade.headers).includes(clientToken));
  for (const message of ['hello', 'x'.repeat(200_000)]) {
    const echoed = deferred();
    socket.once('message', (data) => echoed.resolve(data.toString()));
    socket.send(message);
    assert.ok(await guarded(echoed.promise, 'echo') === message);
  }
  const closed = deferred();
  socket.once('close', (code) => closed.resolve(code));
  socket.close(1000);
  assert.equal(await guarded(closed.promise, 'close'), 1000);
  sockets.close();
});
