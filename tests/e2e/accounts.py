"""What tests of the store have in common: an upstream that tells usage, and a daemon with a token on it."""

import contextlib
import http.client
import json
import os
import random
import threading
import time

from daemon import GUARD, DaemonTest, Origin

ADMIN = "management-token-of-the-test"
BODY = '{"model":"gpt-x","max_tokens":50,"messages":[]}'
STREAM = '{"model":"gpt-x","max_tokens":50,"stream":true,"messages":[]}'
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
COST = 11 * 1000 + 7 * 2000  # nano-USD


class UsageUpstream(Origin):
    """Answers with usage, each time after another while, and counts what it was asked."""

    def __init__(self, seed):
        self.asked = 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        super().__init__(self._answer)

    def _answer(self, connection):
        with connection.makefile("rb") as lines:
            while True:
                length, line = 0, lines.readline()
                if not line:
                    return
                while line.strip():
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                    line = lines.readline()
                body = lines.read(length)
                if len(body) != length:
                    return
                with self._lock:
                    self.asked += 1
                    pause = self._random.uniform(0, 0.02)
                if b'"stream":true' in body:
                    self._stream(connection, pause)
                else:
                    time.sleep(pause)  # what makes kills hit requests under way
                    self._whole(connection)

    @staticmethod
    def _whole(connection):
        reply = json.dumps({"id": "c", "model": "gpt-x", "choices": [], "usage": USAGE}).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                           % (len(reply), reply))

    @staticmethod
    def _stream(connection, pause):
        def chunk(event):
            data = b"data: " + event + b"\n\n"
            connection.sendall(b"%x\r\n%s\r\n" % (len(data), data))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            chunk(b'{"id":"c","model":"gpt-x","choices":[{"delta":{"content":"a"}}]}')
            time.sleep(pause / 3)
        chunk(json.dumps({"id": "c", "model": "gpt-x", "choices": [], "usage": USAGE}).encode())
        chunk(b"[DONE]")
        connection.sendall(b"0\r\n\r\n")


class StoreTest(DaemonTest):
    """`self.store` is the database; `self.upstream` counts what it was asked."""

    def setUp(self):
        super().setUp()
        self.store = os.path.join(self.folder, "store.db")
        self.seed = int(os.environ.get("LLMPROXY_E2E_SEED", time.time_ns() % 1_000_000))
        self.upstream = UsageUpstream(self.seed)
        self.addCleanup(self.upstream.close)

    def start(self):
        return self.serve(
            backends=f'  - {{ name: up, base_url: "http://127.0.0.1:{self.upstream.port}/v1", models: ["*"] }}\n',
            auth="{ mode: token }", ops="metrics, health, admin",
            more=f"store: {{ path: \"{self.store}\" }}\nmanagement: {{ token: {ADMIN} }}\n"
                 "prices: [ { model: \"*\", input: 1, output: 2 } ]\n"
                 "fallback: { max_retries: 0, enable_circuit_breaker: false }\n")

    @staticmethod
    def manage(daemon, method, path, body=None, **fields):
        connection = http.client.HTTPConnection("127.0.0.1", daemon.ops, timeout=GUARD)
        with contextlib.closing(connection):
            connection.request(method, "/manage" + path, None if body is None else json.dumps(body),
                               {"Authorization": "Bearer " + ADMIN, "Content-Type": "application/json", **fields})
            reply = connection.getresponse()
            text = reply.read()
            if reply.status >= 300:
                raise AssertionError(f"{method} {path}: {reply.status} {text}")
            return json.loads(text)

    def make_token(self, daemon):
        project = self.manage(daemon, "POST", "/projects", {"name": "p"})["id"]
        return self.manage(daemon, "POST", "/tokens", {"project": project, "name": "t"})

    @staticmethod
    def ask(connection, secret, stream):
        """One chat on a connection: its status, header fields and text. Raises if it was cut."""
        connection.request("POST", "/v1/chat/completions", STREAM if stream else BODY,
                           {"Authorization": "Bearer " + secret, "Content-Type": "application/json"})
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()

    def check_sums(self, store):
        """Ledgers of project and token are the sums of the rows."""
        spent = store.execute("SELECT sum(cost), sum(prompt + completion), count(*) FROM usage").fetchone()
        for kind in (1, 2):
            self.assertEqual(store.execute("SELECT sum(cost), sum(tokens), sum(requests) FROM ledger "
                                           "WHERE subject_kind = ?", (kind,)).fetchone(), spent)
