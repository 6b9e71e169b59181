#!/usr/bin/env python3
"""kill -9 at random moments under load: what clients received whole is in the store, once, and nothing else is lost.

LLMPROXY_E2E_RUNS says how many kills, LLMPROXY_E2E_CLIENTS under how many clients, LLMPROXY_E2E_SEED at which moments."""

import collections
import contextlib
import glob
import http.client
import os
import random
import shutil
import sqlite3
import struct
import threading
import time

from accounts import COST, StoreTest
from daemon import GUARD, main, run, soak_runs

CLIENTS = int(os.environ.get("LLMPROXY_E2E_CLIENTS", 16))
RESERVED_BELOW = 300 * 1000 + 50 * 2000  # bodies are shorter than 300 bytes

JOURNAL_HEAD = 4096
JOURNAL_SLOT = 256


class Crash(StoreTest):
    def setUp(self):
        super().setUp()
        self.random = random.Random(self.seed)
        self.lock = threading.Lock()
        self.whole = collections.Counter()  # by request id
        self.odd = []  # answers that no kill explains
        self.sent = 0
        self.came = 0

    def load(self, port, secret, enough):
        """Asks on one connection until it breaks; `enough` is set once a few answers have come."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GUARD)
        stream = False
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                stream = not stream
                with self.lock:
                    self.sent += 1
                status, fields, text = self.ask(connection, secret, stream)
                if status != 200 or (stream and b"[DONE]" not in text):
                    self.odd.append(f"{status} {text}")
                    return
                with self.lock:
                    self.whole[fields["x-llm-proxy-request-id"]] += 1
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
        token = self.make_token(daemon)
        self.manage(daemon, "PUT", f"/tokens/{token['id']}/budgets",
                    {"budgets": [{"period": "total", "tokens": 10 ** 12}]}, **{"If-Match": "*"})
        under_way = 0
        self.kills = soak_runs(4)
        for kill in range(self.kills):
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
            self.check_sums(store)
            print(f"seed {self.seed}: {self.kills} kills under {CLIENTS} clients, {self.sent} requests sent, "
                  f"{self.upstream.asked} forwarded, {len(self.whole)} received whole, {rows} rows, {lost} of them "
                  f"indeterminate", flush=True)


if __name__ == "__main__":
    main()
