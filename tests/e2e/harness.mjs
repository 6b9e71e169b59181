// Starts the daemon under test and a fake upstream; used by the *.test.mjs files.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const guardMs = 20_000;

/** Rejects if `promise` takes longer than the guard. */
export function guarded(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`timeout: ${what}`)), guardMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A promise with its `resolve` outside. */
export function deferred() {
  let resolve;
  const promise = new Promise((done) => { resolve = done; });
  return { promise, resolve };
}

/** The real binary, in a process of its own. */
export class Daemon {
  static async start(yaml) {
    const binary = process.env.LLMPROXY_BINARY;
    if (!binary) throw new Error('LLMPROXY_BINARY must name the llm-proxy binary');
    const daemon = new Daemon();
    daemon.dir = mkdtempSync(join(tmpdir(), 'llmproxy-e2e-'));
    daemon.accessLog = join(daemon.dir, 'access.log');
    writeFileSync(join(daemon.dir, 'proxy.yaml'), yaml(daemon));
    daemon.process = spawn(binary, ['serve', '--config', join(daemon.dir, 'proxy.yaml')],
      { stdio: ['ignore', 'pipe', 'pipe'] });
    daemon.output = '';
    for (const stream of [daemon.process.stdout, daemon.process.stderr]) {
      stream.on('data', (bytes) => { daemon.output += bytes; });
    }
    daemon.exited = new Promise((resolve) => {
      daemon.process.once('exit', (code, signal) => { daemon.ended = true; resolve({ code, signal }); });
    });
    const until = Date.now() + guardMs;
    let listening;
    while (!(listening = /"message":"listening","listener":"main".*?"port":(\d+)/.exec(daemon.output))) {
      if (daemon.ended || Date.now() > until) throw new Error(`did not start:\n${daemon.output}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    daemon.port = Number(listening[1]);
    return daemon;
  }

  /** SIGTERM, and the exit code. */
  async stop() {
    if (!this.ended) this.process.kill('SIGTERM');
    const { code } = await guarded(this.exited, 'exit after SIGTERM');
    return code;
  }

  log() { return readFileSync(this.accessLog, 'utf8'); }

  remove() { rmSync(this.dir, { recursive: true, force: true }); }
}

function readAll(request) {
  return new Promise((resolve, reject) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => resolve(Buffer.concat(parts)));
    request.on('error', reject);
  });
}

/** An upstream like OpenAI's as far as the tests need; `seen` lists what came, `streamClosed` tells of aborts. */
export async function startUpstream() {
  const upstream = { seen: [], streamClosed: deferred(), cut: 0, cutScript: '' };
  const json = (response, value, status = 200) => {
    const text = JSON.stringify(value);
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
    response.end(text);
  };
  const event = (value) => `data: ${JSON.stringify(value)}\n\n`;
  const delta = (more) => ({ id: 'c1', object: 'chat.completion.chunk', created: 1, model: 'gpt-e2e', choices: [{ index: 0, delta: more, finish_reason: null }] });

  upstream.cutScript = event(delta({ content: 'a' })) + event(delta({ content: 'b' })) + 'data: [DONE]\n\n';

  function streamChat(body, response) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    if (body.model === 'gpt-endless') {
      response.on('close', () => upstream.streamClosed.resolve(Date.now()));
      response.write(event(delta({ content: 'first' })));
      return;
    }
    if (body.model === 'gpt-error-frame') {
      return response.end(event({ error: { message: 'as asked', type: 'server_error', code: null, param: null } }));
    }
    if (body.model === 'gpt-cut') {
      response.write(upstream.cutScript.slice(0, upstream.cut), () => response.socket.end());
      return;
    }
    if (body.tools) {
      const call = (more) => delta({ role: 'assistant', tool_calls: [{ index: 0, ...more }] });
      response.write(event(call({ id: 'call_1', type: 'function', function: { name: body.tools[0].function.name, arguments: '' } })));
      for (const part of ['{"ci', 'ty":"Be', 'rn"}']) response.write(event(call({ function: { arguments: part } })));
      response.write(event({ ...delta({}), choices: [{ index: 0, delta: {}, finish_reason: 'tool_calls' }] }));
      return response.end('data: [DONE]\n\n');
    }
    if (body.messages.at(-1).content !== 'hi') {
      response.write(event(delta({ content: `echo ${body.messages.at(-1).content}` })));
      return response.end('data: [DONE]\n\n');
    }
    for (const word of ['Grüße', ' aus', ' dem', ' Strom 🙂']) response.write(event(delta({ content: word })));
    if (body.stream_options?.include_usage) {
      response.write(event({ ...delta({}), choices: [], usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } }));
    }
    response.end('data: [DONE]\n\n');
  }

  function streamText(body, response) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const text of ['after ', body.prompt]) {
      response.write(event({ id: 'x', object: 'text_completion', created: 1, model: body.model, choices: [{ index: 0, text, finish_reason: null, logprobs: null }] }));
    }
    response.end('data: [DONE]\n\n');
  }

  const routes = {
    'POST /v1/chat/completions': (body, response) => {
      const status = /^gpt-status-(\d+)$/.exec(body.model)?.[1];
      if (status) return json(response, { error: { message: 'as asked', type: 'x', code: null, param: null } }, Number(status));
      if (body.model === 'gpt-reset') return response.socket.destroy();
      if (body.model === 'gpt-silent') return undefined;
      if (body.stream) return streamChat(body, response);
      const message = { role: 'assistant', content: `echo ${body.messages.at(-1).content}` };
      if (body.tools) {
        message.content = null;
        message.tool_calls = [{ id: 'call_1', type: 'function', function: { name: body.tools[0].function.name, arguments: '{"city":"Bern"}' } }];
      }
      return json(response, { id: 'c1', object: 'chat.completion', created: 1, model: body.model,
        choices: [{ index: 0, message, finish_reason: body.tools ? 'tool_calls' : 'stop' }],
        usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } });
    },
    'POST /v1/completions': (body, response) => body.stream ? streamText(body, response) : json(response, { id: 'x', object: 'text_completion', created: 1,
      model: body.model, choices: [{ index: 0, text: `after ${body.prompt}`, finish_reason: 'stop', logprobs: null }] }),
    'POST /v1/embeddings': (body, response) => json(response, { object: 'list', model: body.model,
      data: [{ object: 'embedding', index: 0, embedding: body.encoding_format === 'base64'
        ? Buffer.from(new Float32Array(1536).fill(0.5).buffer).toString('base64') : new Array(1536).fill(0.5) }],
      usage: { prompt_tokens: 2, total_tokens: 2 } }),
    'GET /v1/models': (body, response) => json(response, { object: 'list',
      data: [{ id: 'gpt-e2e', object: 'model', created: 1, owned_by: 'test' }] }),
    'GET /v1/models/gpt-e2e': (body, response) => json(response, { id: 'gpt-e2e', object: 'model', created: 1, owned_by: 'test' }),
    'POST /v1/files': (body, response, raw) => json(response, { id: 'file-1', object: 'file', bytes: raw.length,
      created_at: 1, filename: 'f.jsonl', purpose: 'batch', status: 'processed' }),
    'POST /v1/audio/speech': (body, response) => {
      response.writeHead(200, { 'content-type': 'audio/mpeg' });
      response.write(Buffer.alloc(100_000, 1));
      response.end(Buffer.alloc(100_000, 2));
    },
  };

  const server = createServer(async (request, response) => {
    const raw = await readAll(request).catch(() => undefined);
    if (raw === undefined) return;
    upstream.seen.push({ method: request.method, url: request.url, headers: request.headers, raw });
    let body;
    try { body = JSON.parse(raw.toString() || 'null'); } catch { body = null; }
    const route = routes[`${request.method} ${request.url.split('?')[0]}`];
    if (route) route(body, response, raw);
    else json(response, { error: { message: 'no such route', type: 'invalid_request_error', code: null, param: null } }, 404);
  });
  server.keepAliveTimeout = 60_000;
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  upstream.server = server;
  upstream.port = server.address().port;
  upstream.stop = () => { server.closeAllConnections(); server.close(); };
  return upstream;
}
