#!/usr/bin/env python3
"""More connections than the daemon has descriptors for, or is allowed: others are served all the same."""

import os
import resource
import selectors
import socket
import threading
import time

from daemon import (CHAT, GUARD, Clients, DaemonTest, HeldUpstream, OpenStream, main, raise_own_limit, request_bytes,
                    wait_until)

DESCRIPTORS = 256
IDLE = 2000
SLOW = 200
POOLED = 2 * 10  # two for each connection to the mock provider that pool.max_idle_per_backend lets it keep


def few_descriptors():
    """Runs in the daemon's process before it begins."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


class Crowd:
    """Connections that ask for nothing, and connections whose request head never ends, a byte at a time."""

    def __init__(self, port):
        self._port, self._idle, self._slow = port, [], []
        self._done = threading.Event()
        self._trickler = threading.Thread(target=self._trickle)

    def __enter__(self):
        self._trickler.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._trickler.join(GUARD)
        for one in self._idle + self._slow:
            one.close()

    def _connect(self):
        return socket.create_connection(("127.0.0.1", self._port), GUARD)

    def arrive(self, idle, slow):
        """One of both kinds after the other, mixed."""
        for i in range(idle):
            self._idle.append(self._connect())
            if i * slow // idle != (i + 1) * slow // idle:
                one = self._connect()
                one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
                one.setblocking(False)
                self._slow.append(one)

    def _trickle(self):
        while not self._done.wait(0.1):
            for one in list(self._slow):
                try:
                    one.send(b"x")
                except OSError:
                    continue  # told to go, or no room: it stays a slow client

    def ended_by_the_daemon(self):
        """How many of the connections were closed from the other side."""
        with selectors.DefaultSelector() as selector:
            for one in self._idle + self._slow:
                selector.register(one, selectors.EVENT_READ)
            return len(selector.select(0))


class Others(Clients):
    """Clients that ask for a chat each on a new connection, all the time, and note what they got."""

    def __init__(self, port, count=4):
        self.statuses, self.longest = [], 0.0
        self._port = port
        super().__init__(self._ask, [()] * count)

    def _ask(self):
        while not self._done.is_set():
            began = time.monotonic()
            try:
                self.statuses.append(ask_once(self._port))
            except OSError as error:
                self.statuses.append(repr(error))
            self.longest = max(self.longest, time.monotonic() - began)

    def wait_for(self, more):
        wanted = len(self.statuses) + more
        wait_until(lambda: len(self.statuses) >= wanted, "answers to others")


def ask_once(port):
    with socket.create_connection(("127.0.0.1", port), GUARD) as client:
        client.sendall(request_bytes(CHAT))
        return client.recv(12).decode()


class Connections(DaemonTest):
    def crowd_out(self, daemon, idle, slow, cap):
        """A crowd arrives while others ask; all of these are served, during it and once it is there."""
        with Crowd(daemon.port) as crowd, Others(daemon.port) as others:
            crowd.arrive(idle, slow)
            others.wait_for(20)
            self.assertLessEqual(daemon.metric('llmproxy_connections{listener="main"}'), cap)
            self.assertGreaterEqual(crowd.ended_by_the_daemon(), idle + slow - cap)
        self.assertEqual(set(others.statuses), {"HTTP/1.1 200"})
        print(f"{len(others.statuses)} served beside {idle + slow}, the slowest in {others.longest:.2f} s")

    def settled(self, daemon):
        """Descriptors and memory in KiB once nobody is connected but who asks."""
        wait_until(lambda: daemon.metric('llmproxy_connections{listener="main"}') == 0, "all gone")
        return daemon.descriptors(), daemon.memory_kb()

    def test_a_crowd_beyond_the_descriptors(self):
        raise_own_limit(IDLE + SLOW + 100)
        # What the address sanitizer keeps of freed memory would hide what the daemon keeps.
        os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
        # Nor is it about what is remembered of each request, or what a thread brings that comes in for the crowd.
        daemon = self.serve(limits=few_descriptors, server="  threads: 1\n",
                            more="limits: { header_timeout: 5m }\ntelemetry: { recent_requests: 0 }\n")
        with Others(daemon.port) as others:
            others.wait_for(20)
        figures = [self.settled(daemon)]
        for _ in range(2):
            self.crowd_out(daemon, IDLE, SLOW, DESCRIPTORS)
            figures.append(self.settled(daemon))
        print("descriptors and KiB at the start and after each crowd:", *figures)
        descriptors, memory = zip(*figures)
        self.assertLessEqual(max(descriptors), descriptors[0] + POOLED, figures)
        # 2 KiB for each who came and went would be more than this.
        self.assertLess(memory[2] - memory[1], 4096, figures)
        self.assertLess(memory[2] - memory[0], 16384, figures)
        self.assertEqual(daemon.stop(), 0)

    def test_a_crowd_beyond_max_connections(self):
        daemon = self.serve(server="  max_connections: 50\n", more="limits: { header_timeout: 5m }\n")
        self.crowd_out(daemon, 400, 50, 50)
        self.settled(daemon)
        self.assertIn("connection limit reached", daemon.diagnostics())
        self.assertEqual(daemon.stop(), 0)

    def test_streams_under_way_are_never_closed_to_make_room(self):
        upstream = HeldUpstream()
        self.addCleanup(upstream.close)
        daemon = self.serve(backends=upstream.backend(), server="  max_connections: 20\n")
        streams = [OpenStream(daemon.port) for _ in range(20)]
        for stream in streams:
            self.addCleanup(stream.close)
            self.assertEqual(stream.begin(), 200)
        waiting = [OpenStream(daemon.port) for _ in range(5)]
        upstream.release()
        for stream in waiting:
            self.addCleanup(stream.close)
            self.assertEqual(stream.begin(), 200)
        for stream in streams + waiting:
            self.assertEqual(stream.finish(), HeldUpstream.WHOLE)
        self.assertEqual(daemon.stop(), 0)

    def test_newcomers_do_not_push_each_other_out(self):
        upstream = HeldUpstream()
        self.addCleanup(upstream.close)
        mock = '  - { name: mock, provider: mock, models: ["mock-gpt"] }\n'
        daemon = self.serve(backends=mock + upstream.backend(), server="  max_connections: 20\n")
        streams = [OpenStream(daemon.port, "m") for _ in range(19)]
        for stream in streams:
            self.addCleanup(stream.close)
            self.assertEqual(stream.begin(), 200)
        with Others(daemon.port, 8) as others:
            others.wait_for(100)
        self.assertEqual(set(others.statuses), {"HTTP/1.1 200"})
        upstream.release()
        for stream in streams:
            self.assertEqual(stream.finish(), HeldUpstream.WHOLE)
        self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    main()
