#!/usr/bin/env python3
"""kill -9 at random moments under load: what clients received whole is in the store, once, and nothing else is lost.

LLMPROXY_E2E_RUNS says how many kills, LLMPROXY_E2E_CLIENTS under how many clients, LLMPROXY_E2E_SEED at which moments."""

import collections
import contextlib
import glob
import http.client
import json
import os
import random
import shutil
import sqlite3
import struct
import threading
import time

from daemon import GUARD, DaemonTest, Origin, main, run, soak_runs

CLIENTS = int(os.environ.get("LLMPROXY_E2E_CLIENTS", 16))
ADMIN = "management-token-of-the-test"
BODY = '{"model":"gpt-x","max_tokens":50,"messages":[]}'
STREAM = '{"model":"gpt-x","max_tokens":50,"stream":true,"messages":[]}'
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
COST = 11 * 1000 + 7 * 2000  # nano-USD
RESERVED_BELOW = 300 * 1000 + 50 * 2000  # bodies are shorter than 300 bytes

JOURNAL_HEAD = 4096
JOURNAL_SLOT = 256


class Upstream(Origin):
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


class Crash(DaemonTest):
    def setUp(self):
        super().setUp()
        self.store = os.path.join(self.folder, "store.db")
        self.seed = int(os.environ.get("LLMPROXY_E2E_SEED", time.time_ns() % 1_000_000))
        self.random = random.Random(self.seed)
        self.upstream = Upstream(self.seed)
        self.addCleanup(self.upstream.close)
        self.lock = threading.Lock()
        self.whole = collections.Counter()  # by request id
        self.odd = []  # answers that no kill explains
        self.sent = 0
        self.came = 0

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

    def load(self, port, secret, enough):
        """Asks on one connection until it breaks; `enough` is set once a few answers have come."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GUARD)
        stream = False
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                stream = not stream
                with self.lock:
                    self.sent += 1
                connection.request("POST", "/v1/chat/completions", STREAM if stream else BODY,
                                   {"Authorization": "Bearer " + secret, "Content-Type": "application/json"})
                reply = connection.getresponse()
                text = reply.read()
                if reply.status != 200 or (stream and b"[DONE]" not in text):
                    self.odd.append(f"{reply.status} {text}")
                    return
                with self.lock:
                    self.whole[reply.headers["x-llm-proxy-request-id"]] += 1
                    self.came += 1
                    if self.came >= self.target:
                        enough.set()

    def copy_of_store(self):
        """The files as the process left them; the copy may be recovered without touching them."""
        folder = os.path.join(self.folder, "copy")
        shutil.rmtree(folder, True)
        os.mkdir(folder)
        for name in (self.store, self.store + "-wal"):
            if os.path.exists(name):
                shutil.copy(name, folder)
        return sqlite3.connect(os.path.join(folder, "store.db"))

    def check_whole(self, rows):
        """Each response that came whole is in the store once, with what it cost."""
        settled = collections.Counter()
        for request_id, outcome, prompt, completion, cost in rows:
            if outcome == "ok":
                settled[request_id] += 1
                self.assertEqual((prompt, completion, cost), (11, 7, COST))
        wrong = [(one, settled[one]) for one in self.whole if settled[one] != 1]
        self.assertEqual(wrong, [], f"of {len(self.whole)}")

    def check_killed(self):
        with contextlib.closing(self.copy_of_store()) as store:
            self.assertEqual(store.execute("PRAGMA integrity_check").fetchone(), ("ok",))
            self.check_whole(store.execute("SELECT request_id, outcome, prompt, completion, cost FROM usage"))

    def occupied_slots(self):
        with open(self.store + "-reservations", "rb") as journal:
            data = journal.read()
        return sum(struct.unpack_from("<I", data, at)[0] != 0
                   for at in range(JOURNAL_HEAD, len(data) - JOURNAL_SLOT + 1, JOURNAL_SLOT))

    def test_nothing_is_lost_nor_counted_twice(self):
        daemon = self.start()
        project = self.manage(daemon, "POST", "/projects", {"name": "p"})["id"]
        token = self.manage(daemon, "POST", "/tokens", {"project": project, "name": "t"})
        self.manage(daemon, "PUT", f"/tokens/{token['id']}/budgets",
                    {"budgets": [{"period": "total", "tokens": 10 ** 12}]}, **{"If-Match": "*"})
        under_way = 0
        for kill in range(soak_runs(4)):
            with self.subTest(kill=kill, seed=self.seed):
                self.target = self.came + CLIENTS
                enough = threading.Event()
                threads = [threading.Thread(target=self.load, args=(daemon.port, token["secret"], enough))
                           for _ in range(CLIENTS)]
                for thread in threads:
                    thread.start()
                self.assertTrue(enough.wait(GUARD), daemon.said())
                time.sleep(self.random.uniform(0, 0.3))
                daemon.kill()
                for thread in threads:
                    thread.join(GUARD)
                self.assertEqual(self.odd, [])
                self.check_killed()
                under_way += self.occupied_slots()
                daemon = self.start()
        self.assertEqual(daemon.stop(), 0, daemon.said())
        self.assertEqual(self.occupied_slots(), 0, "reservations that nobody accounts for")
        checked = run("check", "--config", daemon.config, "--store")
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.check_all(under_way)
        for path in glob.glob(self.store + "*"):
            with open(path, "rb") as file:
                self.assertNotIn(token["secret"][5:].encode(), file.read(), path)

    def check_all(self, under_way):
        with contextlib.closing(sqlite3.connect(self.store)) as store:
            def value(query):
                return store.execute(query).fetchone()[0]
            self.assertEqual(value("PRAGMA integrity_check"), "ok")
            self.check_whole(store.execute("SELECT request_id, outcome, prompt, completion, cost FROM usage"))
            self.assertEqual(set(store.execute("SELECT DISTINCT outcome FROM usage")) - {("ok",), ("indeterminate",)},
                             set())
            lost = value("SELECT count(*) FROM usage WHERE outcome = 'indeterminate'")
            self.assertGreater(lost, 0, "no kill has hit a request under way")
            # A slot whose row was committed and that was not free yet makes no second row.
            self.assertLessEqual(lost, under_way)
            self.assertEqual(value(f"SELECT count(*) FROM usage WHERE outcome = 'indeterminate' AND (cost < {COST} "
                                   f"OR cost > {RESERVED_BELOW} OR project <= 0 OR token <= 0)"), 0)
            rows = value("SELECT count(*) FROM usage")
            self.assertGreaterEqual(rows, self.upstream.asked, "requests that were forwarded unaccounted")
            self.assertLessEqual(rows, self.sent)
            spent = store.execute("SELECT sum(cost), sum(prompt + completion), count(*) FROM usage").fetchone()
            for kind in (1, 2):
                self.assertEqual(store.execute("SELECT sum(cost), sum(tokens), sum(requests) FROM ledger "
                                               "WHERE subject_kind = ?", (kind,)).fetchone(), spent)


if __name__ == "__main__":
    main()
