#!/usr/bin/env python3
"""A store with a million tokens: how long the daemon takes to start on it, what it holds in memory, and what a request costs
whose token no cache knows.

Fills a store that the daemon has made itself with tokens of its own making, then asks with tokens that are in memory and
with others. Loopback only; nothing here has an opinion on what is fast enough.
"""

import argparse
import hashlib
import http.client
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time

import bench
import peers
import processes

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
BODY = json.dumps({"model": "gpt-bench", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]})


def token_text(number):
    """The secret of a token: in the form of the daemon's own, and the same each time."""
    value = int.from_bytes(hashlib.sha256(f"bench {number}".encode()).digest(), "big")
    digits = ""
    for _ in range(43):
        value, rest = divmod(value, 62)
        digits += DIGITS[rest]
    return "llmp_" + digits


def fill(path, count):
    """Adds the tokens to the daemon's own store; each under limits and a budget of its project's only."""
    store = sqlite3.connect(path)
    with store:
        project = store.execute("SELECT min(id) FROM projects").fetchone()[0]
        columns = ("models", "hosts", "routes", "created")
        grants = store.execute(f"SELECT {', '.join(columns)} FROM tokens").fetchone()
        store.executemany(
            "INSERT INTO tokens(version, project, name, hash, prefix, models, hosts, routes, created, updated) "
            "VALUES(1, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((project, f"token {number}", hashlib.sha256(text.encode()).digest(), text[:11], *grants, grants[3])
             for number, text in ((number, token_text(number)) for number in range(count))))
    store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    return os.path.getsize(path)


class Daemon(peers.LlmProxy):
    """The daemon of the benchmark, on a store that stays."""

    name = "llm-proxy-tokens"
    cache = 0
    folder = ""
    shows = "a new one"  # the token of the first request

    def _prepare(self):
        if self.shows == "a new one":
            super()._prepare()
        else:
            self.token = self.shows

    def _accounts(self):
        return super()._accounts().replace(self.directory + "/store.db", self.folder + "/store.db")

    def _auth(self):
        return super()._auth() + f"\n  token_cache_size: {self.cache}"

    def rss_mib(self):
        return processes.memory_kb([self.child.pid], "Rss") / 1024

    def thread_cpu_us(self):
        """CPU of each thread, by its number."""
        found = {}
        for task in os.listdir(f"/proc/{self.child.pid}/task"):
            with open(f"/proc/{self.child.pid}/task/{task}/schedstat") as stream:
                found[task] = int(stream.read().split()[0]) / 1000
        return found


def ask(daemon, numbers):
    """A request with each of these tokens, one after the other; latencies in microseconds, CPU by thread a request."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
    taken = []
    before = daemon.thread_cpu_us()
    for number in numbers:
        fields = {"Content-Type": "application/json", "Authorization": "Bearer " + token_text(number)}
        begun = time.perf_counter_ns()
        connection.request("POST", "/v1/chat/completions", BODY, fields)
        reply = connection.getresponse()
        text = reply.read()
        taken.append((time.perf_counter_ns() - begun) / 1000)
        if reply.status != 200:
            raise peers.BenchError(f"{reply.status} {text[:300]!r}")
    connection.close()
    cpu = sorted(((value - before.get(task, 0)) / len(taken) for task, value in daemon.thread_cpu_us().items()),
                 reverse=True)
    taken.sort()
    return {"requests": len(taken), "p50_us": statistics.median(taken), "p99_us": taken[int(len(taken) * 0.99)],
            "cpu_us_by_thread": [round(value, 1) for value in cpu if value >= 0.1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", default="build/release", help="build tree with the programs")
    parser.add_argument("--proxy", help="the llm-proxy to measure; default: the build tree's")
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--cache", type=int, default=10_000, help="auth.token_cache_size")
    arguments = parser.parse_args()
    arguments.quick, arguments.seconds = False, 60
    with tempfile.TemporaryDirectory(prefix="llm-proxy-bench-") as directory:
        context = bench.Context(arguments, directory)
        Daemon.cache, Daemon.folder = arguments.cache, directory
        try:
            def start():
                return Daemon(context, peers.PLAIN, False, "process")
            start().stop()
            Daemon.shows = peers.TOKEN
            empty = start()
            print(f"empty store: {empty.start_ms:.1f} ms to the first answer, Rss {empty.rss_mib():.1f} MiB", flush=True)
            empty.stop()
            size = fill(directory + "/store.db", arguments.tokens)
            Daemon.shows = token_text(0)
            full = start()
            print(f"{arguments.tokens} tokens, {size / 1e6:.0f} MB: {full.start_ms:.1f} ms to the first answer, "
                  f"Rss {full.rss_mib():.1f} MiB", flush=True)
            try:
                few = arguments.cache // 10
                for what, numbers in (("unknown to the cache", range(1, few)), ("in the cache", range(1, few)),
                                      ("until the cache is full", range(few, arguments.cache)),
                                      ("as many again", range(arguments.cache, 2 * arguments.cache)),
                                      ("and twice as many", range(2 * arguments.cache, 4 * arguments.cache))):
                    print(f"{what}: {json.dumps(ask(full, numbers))}, Rss {full.rss_mib():.1f} MiB", flush=True)
            finally:
                full.stop()
        except peers.BenchError as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            context.upstream.child.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
