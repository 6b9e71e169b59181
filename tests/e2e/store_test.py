#!/usr/bin/env python3
"""A store that cannot be written: a full disk, a file system and files that are read-only.

Nothing is forwarded that is not in the store in the end, once; refusals say why; work resumes without a restart. The disk
is a small tmpfs in a mount namespace of its own: ends with 77 where the kernel or a container does not allow that. Needs
LLMPROXY_BINARY."""

import contextlib
import http.client
import json
import os
import sqlite3
import subprocess
import sys
import threading

from accounts import StoreTest
from daemon import GUARD, main, run, wait_until

INSIDE = "LLMPROXY_E2E_INSIDE"
CLIENTS = 8
DISK = 12 << 20
LEFT = 96 << 10  # of it, once it is filled
UNAVAILABLE = b'"code":"store_unavailable"'


class Unwritable(StoreTest):
    def setUp(self):
        super().setUp()
        self.lock = threading.Lock()
        self.whole = []  # request ids of answers that came whole
        self.refused = 0  # before anything was answered
        self.cut = 0
        self.odd = []

    def load(self, port, secret, first):
        """Asks until it is refused or cut."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GUARD)
        stream = first
        with contextlib.closing(connection):
            while True:
                stream = not stream
                try:
                    status, fields, text = self.ask(connection, secret, stream)
                except (OSError, http.client.HTTPException) as error:
                    partial = getattr(error, "partial", b"")
                    with self.lock:
                        self.cut += 1
                        if b"[DONE]" in partial or UNAVAILABLE not in partial:
                            self.odd.append(f"cut {partial}")
                    return
                with self.lock:
                    if status == 503 and UNAVAILABLE in text:
                        self.refused += 1
                        return
                    if status != 200 or (stream and b"[DONE]" not in text):
                        self.odd.append(f"{status} {text}")
                        return
                    self.whole.append(fields["x-llm-proxy-request-id"])

    def load_until_refused(self, daemon, secret):
        threads = [threading.Thread(target=self.load, args=(daemon.port, secret, i % 2 == 0)) for i in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(GUARD)
            self.assertFalse(thread.is_alive(), "never refused")
        self.assertEqual(self.odd, [])
        self.assertEqual(self.refused + self.cut, CLIENTS)

    def ask_once(self, daemon, secret, stream=False):
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=GUARD)
        with contextlib.closing(connection):
            return self.ask(connection, secret, stream)

    def check_refused(self, daemon, secret):
        """Whatever comes now is refused before anything is sent."""
        asked = self.upstream.asked
        for number in range(20):
            status, fields, text = self.ask_once(daemon, secret, number % 2 == 0)
            self.assertEqual(status, 503, text)
            self.assertIn(UNAVAILABLE, text)
            self.assertEqual(fields["Retry-After"], "1")
        self.assertEqual(self.upstream.asked, asked)

    def wait_until_it_works(self, daemon, secret):
        def works():
            status, fields, text = self.ask_once(daemon, secret)
            if status == 200:
                self.whole.append(fields["x-llm-proxy-request-id"])
            else:
                self.assertIn(UNAVAILABLE, text)
            return status == 200
        wait_until(works, "the store to work again")

    def state(self, daemon):
        return self.manage(daemon, "GET", "/store")["state"]

    @staticmethod
    def messages(daemon):
        return [json.loads(line)["message"] for line in daemon.diagnostics().splitlines()]

    def check_said_once(self, daemon):
        said = self.messages(daemon)
        self.assertEqual(said.count("the store works again"), 1, said)
        return said.count("the store does not work: requests are refused until it does")

    def check_all(self, daemon):
        """Each request that was forwarded has its row, once; each answer that came whole is among them."""
        checked = run("check", "--config", daemon.config, "--store")
        self.assertEqual(checked.returncode, 0, checked.stderr)
        with contextlib.closing(sqlite3.connect(self.store)) as store:
            rows = store.execute("SELECT request_id, outcome FROM usage").fetchall()
            self.assertEqual(len(rows), self.upstream.asked)
            ids = [one for one, _ in rows]
            self.assertEqual(sorted(one for one in self.whole if ids.count(one) != 1), [])
            self.check_sums(store)
            return [outcome for _, outcome in rows]


class FullDisk(Unwritable):
    def setUp(self):
        super().setUp()
        self.disk = os.path.join(self.folder, "disk")
        os.mkdir(self.disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", self.disk], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk], check=True)
        self.store = os.path.join(self.disk, "store.db")
        self.ballast = os.path.join(self.disk, "ballast")

    def fill(self):
        """Takes what is free, but for a little that the store will have used up soon."""
        with open(self.ballast, "wb") as file, contextlib.suppress(OSError):
            while True:
                os.write(file.fileno(), b"x" * 4096)
        os.truncate(self.ballast, os.path.getsize(self.ballast) - LEFT)

    def test_refuses_while_it_is_full_and_resumes_when_there_is_room(self):
        daemon = self.start()
        secret = self.make_token(daemon)["secret"]
        self.fill()
        self.load_until_refused(daemon, secret)
        self.check_refused(daemon, secret)
        self.assertEqual(self.state(daemon), "full")
        os.unlink(self.ballast)
        self.wait_until_it_works(daemon, secret)
        self.assertEqual(self.state(daemon), "ok")
        self.assertEqual(daemon.stop(), 0, daemon.said())
        self.assertEqual(self.check_said_once(daemon), 1)
        self.assertGreater(len(self.whole), 0)
        self.assertEqual(set(self.check_all(daemon)), {"ok"})

    def test_loses_nothing_when_it_is_killed_while_it_is_full(self):
        daemon = self.start()
        secret = self.make_token(daemon)["secret"]
        self.fill()
        self.load_until_refused(daemon, secret)
        daemon.kill()
        os.unlink(self.ballast)
        daemon = self.start()
        self.wait_until_it_works(daemon, secret)
        self.assertEqual(daemon.stop(), 0, daemon.said())
        self.assertLessEqual(set(self.check_all(daemon)), {"ok", "indeterminate"})

    def test_does_not_start_on_a_read_only_one_and_says_why(self):
        daemon = self.start()
        self.make_token(daemon)
        self.assertEqual(daemon.stop(), 0, daemon.said())
        subprocess.run(["mount", "-o", "remount,ro", self.disk], check=True)
        refused = run("serve", "--config", daemon.config)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("Read-only", refused.stderr + daemon.diagnostics())
        checked = run("check", "--config", daemon.config, "--store")
        self.assertEqual(checked.returncode, 0, checked.stderr)
        subprocess.run(["mount", "-o", "remount,rw", self.disk], check=True)
        self.assertEqual(self.start().stop(), 0)


class ReadOnlyFiles(Unwritable):
    """Files that cannot be changed any more, also by who has them open."""

    def freeze(self, frozen):
        files = [self.store + end for end in ("", "-wal") if os.path.exists(self.store + end)]
        return subprocess.run(["chattr", "+i" if frozen else "-i", *files], capture_output=True, check=False)

    def needs_frozen_files(self):
        probe = os.path.join(self.folder, "probe")
        with open(probe, "wb", buffering=0) as file:
            frozen = subprocess.run(["chattr", "+i", probe], capture_output=True, text=True, check=False)
            if frozen.returncode != 0:
                self.skipTest("no immutable files here: " + frozen.stderr.strip())
            try:
                file.write(b"x")
            except PermissionError:
                return
            finally:
                subprocess.run(["chattr", "-i", probe], check=True)
        self.skipTest("who has an immutable file open may write to it on this file system")

    def test_refuses_while_it_is_read_only_and_resumes_afterwards(self):
        self.needs_frozen_files()
        daemon = self.start()
        secret = self.make_token(daemon)["secret"]
        self.addCleanup(self.freeze, False)
        self.assertEqual(self.ask_once(daemon, secret)[0], 200)
        self.assertEqual(self.freeze(True).returncode, 0)
        self.load_until_refused(daemon, secret)
        self.check_refused(daemon, secret)
        wait_until(lambda: self.state(daemon) == "read_only", "the next attempt to say why")
        self.assertEqual(self.freeze(False).returncode, 0)
        self.wait_until_it_works(daemon, secret)
        self.assertEqual(daemon.stop(), 0, daemon.said())
        self.assertGreaterEqual(self.check_said_once(daemon), 1)
        self.assertEqual(set(self.check_all(daemon)), {"ok"})


def enter():
    """Starts this program again in a mount namespace of its own; returns only there."""
    if os.environ.get(INSIDE):
        return
    apart = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--user", "--map-root-user"])
    probe = subprocess.run([*apart, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        print("skipped: no mount namespace of its own here (needs root or unprivileged user namespaces, and unshare):",
              probe.stderr.strip())
        sys.exit(77)
    os.environ[INSIDE] = "1"
    os.execvp(apart[0], [*apart, sys.executable, *sys.argv])


if __name__ == "__main__":
    enter()
    main()
