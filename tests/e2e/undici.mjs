// undici's ProxyAgent through the forward proxy that forward_test.py has started.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

let ProxyAgent, request;
try {
  ({ ProxyAgent, request } = await import('undici'));
} catch (error) {
  console.error(`tests/e2e needs its npm packages: run "npm ci" in tests/e2e (dev.sh test does). ${error.message}`);
  process.exit(1);
}

const { PROXY_PORT, PROXY_CA, ORIGIN_CA, SECURE, PLAIN, TOKEN } = process.env;
const requestTls = { ca: readFileSync(ORIGIN_CA) };
const proxyTls = { ca: readFileSync(PROXY_CA) };
const token = `Bearer ${TOKEN}`;

async function fetchText(options, url) {
  const dispatcher = new ProxyAgent({ requestTls, ...options });
  try {
    const { statusCode, body } = await request(url, { dispatcher });
    return { statusCode, text: await body.text() };
  } finally {
    await dispatcher.close();
  }
}

const plainProxy = `http://localhost:${PROXY_PORT}`;
const tlsProxy = `https://localhost:${PROXY_PORT}`;
for (const origin of [SECURE, PLAIN]) {
  for (const options of [{ uri: plainProxy, token }, { uri: tlsProxy, token, proxyTls },
    { uri: plainProxy.replace('//', `//${TOKEN}:x@`) }]) {
    const { statusCode, text } = await fetchText(options, `${origin}/hello.txt`);
    assert.equal(statusCode, 200, `${origin} by ${options.uri}`);
    assert.equal(text, 'hello from the origin');
  }
  for (const wrong of [{}, { token: 'Bearer wrong' }]) {
    await assert.rejects(fetchText({ uri: plainProxy, ...wrong }, `${origin}/hello.txt`), /407/);
  }
}
await assert.rejects(fetchText({ uri: plainProxy, token }, 'https://not.allowed.example/'), /403/);
