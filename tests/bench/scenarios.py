"""What is measured. Each scenario gets a fresh instance of a peer and returns {metric: number}."""

import contextlib
import json
import subprocess
import time

import peers
import processes
import tunnel_peers

WARM_UP = 0.2  # of a scenario's requests, at least one on each connection


class Load:
    """One run of the load generator."""

    def __init__(self, context, peer, **options):
        command = [context.load_binary, "--port", str(peer.port), "--token", peer.token]
        if peer.client_tls():
            command += ["--ca", context.certificates.ca]
        if peer.authority:
            command += ["--connect", peer.authority]
        for name, value in options.items():
            if value is False:
                continue
            command.append("--" + name.replace("_", "-"))
            if value is not True:
                command.append(str(value))
        self._where = f"{peer.name}, {peer.sides.name}"
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait_until_warm(self):
        """The connections are open and have had requests; the load now waits for `go`."""
        if self.process.stdout.readline() != "warm\n":
            raise peers.BenchError(f"{self._where}: the warm-up did not end in time")

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def finish(self):
        """Waits for the end and returns the report; failed requests make it worthless."""
        output, _ = self.process.communicate()
        if self.process.returncode != 0 or not output.strip():
            raise peers.BenchError(
                f"{self._where}: bench_load ended with {self.process.returncode}")
        report = json.loads(output.strip().splitlines()[-1])
        if report["errors"]:
            raise peers.BenchError(f"{self._where}: failed requests: {report['error_reasons']}")
        return report

    def abandon(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()


def run_load(context, peer, **options):
    load = Load(context, peer, **options)
    try:
        return load.finish()
    except BaseException:
        load.abandon()
        raise


class Traffic:
    """Requests from N connections; CPU of the peer per request and per piece, latency, reuse."""

    contestants = peers.PEERS

    def __init__(self, name, title, sides, *, metrics, requests, connections, events=False,
                 for_strace=0.1, bulk=0, store=None, **options):
        self.name = name
        self._store = store  # durability of the usage that the daemon records; None: none
        self.title = title
        self.metrics = metrics
        self._bulk = bulk  # bytes of a request's body or its reply's
        self.sides = sides
        self._events = events
        self._requests = requests
        self._connections = connections
        self._strace_share = for_strace
        self._options = options

    def measure(self, context, peer_type):
        peer = peer_type(context, self.sides, self._events, self._store)
        try:
            return self._measure(context, peer)
        finally:
            peer.stop()

    @contextlib.contextmanager
    def _warm_load(self, context, peer, share=1.0):
        """A load whose connections are open and warm, before its measured part."""
        requests = max(self._connections, int(self._requests * context.scale * share))
        load = Load(context, peer, requests=requests, connections=self._connections,
                    warm_up=max(1, int(requests * WARM_UP)) if not self._events else self._connections,
                    seconds=context.seconds, stream=self._events, **self._options)
        try:
            load.wait_until_warm()
            yield load
        finally:
            load.abandon()

    def _measure(self, context, peer):
        before_all = context.upstream.statistics()
        pids = processes.family(peer.child.pid) if peer.child else []
        with self._warm_load(context, peer) as load:
            own = peer.figures()
            cpu = processes.cpu_ns(pids, peer.ends_threads)
            load.go()
            report = load.finish()
            cpu = (processes.cpu_ns(pids, peer.ends_threads) - cpu) / 1000
            own = {name: value - own[name] for name, value in peer.figures().items()}
        after_all = context.upstream.statistics()
        requests = report["requests"]
        if not requests:
            raise peers.BenchError(f"{peer.name}: no request of {self.name} ended in time")
        opened = after_all["accepted"] - before_all["accepted"] - 1  # one is /stats itself
        asked = after_all["requests"] - before_all["requests"]
        found = {
            "rps": report["rps"],
            "p50_us": report["latency_us"]["p50"],
            "p99_us": report["latency_us"]["p99"],
            "reuse_percent": 100 * (1 - opened / asked),
            "load_cpu_us": report["own_cpu_us"] / requests,
        }
        if peer.child:
            found["cpu_us"] = cpu / requests
            if self._bulk:
                found["cpu_ms_per_gb"] = cpu / 1000 / (requests * self._bulk / 1e9)
        if own.get("commits"):
            if own["writes"] < requests:
                raise peers.BenchError(f"{peer.name}: {requests} requests, {own['writes']} in the store")
            found["commit_us"] = own["commit_ms"] * 1000 / own["commits"]
            found["rows_per_commit"] = own["writes"] / own["commits"]
        if report["pieces"]:
            found["delay_p50_us"] = report["delay_us"]["p50"]
            found["delay_p99_us"] = report["delay_us"]["p99"]
            if peer.child:
                found["cpu_us_per_piece"] = cpu / report["pieces"]
        return found

    def count_system_calls(self, context, peer_type):
        """System calls per request and per piece, in a round of its own."""
        peer = peer_type(context, self.sides, self._events, self._store)
        try:
            return self._count_system_calls(context, peer) if peer.child else {}
        finally:
            peer.stop()

    def _count_system_calls(self, context, peer):
        with self._warm_load(context, peer, self._strace_share) as load:
            counter = processes.SystemCallCount(processes.family(peer.child.pid), peer.directory)
            try:
                load.go()
                report = load.finish()
            finally:
                calls = counter.stop()
        if calls is None or not report["requests"]:
            return {}
        found = {"calls": calls / report["requests"]}
        if report["pieces"]:
            found["calls_per_piece"] = calls / report["pieces"]
        return found


class TunnelTraffic(Traffic):
    """The same through CONNECT."""

    contestants = tunnel_peers.PEERS


class QuietStreams:
    """Memory of N streams that have had their head and one event, and then nothing."""

    contestants = peers.PEERS

    STREAMS = 1000
    QUIET_SECONDS = 120

    def __init__(self, name, title, sides):
        self.name = name
        self.title = title
        self.sides = sides
        self.metrics = ("stream_kb",)

    def measure(self, context, peer_type):
        peer = peer_type(context, self.sides, True)
        try:
            if not peer.child:
                return {}
            return self._measure(context, peer)
        finally:
            peer.stop()

    def _measure(self, context, peer):
        streams = self.STREAMS  # with --quick too: few streams measure the allocator's steps
        pids = processes.family(peer.child.pid)
        # A few streams first: what a first request sets up is not the cost of a stream.
        run_load(context, peer, requests=20, connections=10, stream=True, model="sse-2-0",
                 seconds=context.seconds)
        before = processes.memory_kb(pids, "Pss")
        load = Load(context, peer, requests=streams, connections=streams, hold=True,
                    model=f"sse-quiet-{self.QUIET_SECONDS}", seconds=self.QUIET_SECONDS - 10)
        try:
            if not load.process.stdout.readline().startswith("holding"):
                raise peers.BenchError(f"{peer.name}: {streams} quiet streams did not come up")
            time.sleep(1)  # buffers that are given back after a moment have been given back
            after = processes.memory_kb(pids, "Pss")
            load.process.stdin.close()
            load.process.stdin = None
            load.finish()
        finally:
            load.abandon()
        return {"stream_kb": (after - before) / streams}

    def count_system_calls(self, context, peer_type):
        del context, peer_type
        return {}


class QuietTunnels(QuietStreams):
    """The same in tunnels, which then have nothing to carry."""

    contestants = tunnel_peers.PEERS


class Start:
    """Start of the process to its first answer, and its memory a moment later."""

    name = "start"
    title = "start"
    contestants = peers.PEERS
    sides = peers.PLAIN
    metrics = ("start_ms", "idle_rss_mib", "idle_pss_mib")

    def measure(self, context, peer_type):
        peer = peer_type(context, self.sides, False)
        try:
            if not peer.child:
                return {}
            time.sleep(0.5)
            pids = processes.family(peer.child.pid)
            return {
                "start_ms": peer.start_ms,
                "idle_rss_mib": processes.memory_kb(pids, "Rss") / 1024,
                "idle_pss_mib": processes.memory_kb(pids, "Pss") / 1024,
            }
        finally:
            peer.stop()

    def count_system_calls(self, context, peer_type):
        del context, peer_type
        return {}


REQUEST = ("cpu_us", "calls", "rps", "p50_us", "p99_us", "reuse_percent")
USAGE = ("cpu_us", "calls", "rps", "p50_us", "p99_us", "commit_us", "rows_per_commit")

# About half of what the daemon does with usage on, on a small machine; requests come whatever becomes of those before.
RATE = ("cpu_us", "rps", "p50_us", "p99_us")
AT_A_RATE = {"requests": 30000, "connections": 256, "every_us": 100}

ALL = (
    Traffic("chat", "chat, 64 connections", peers.PLAIN, metrics=REQUEST,
            requests=30000, connections=64),
    Traffic("chat_usage", "chat, usage on, 64 connections", peers.PLAIN, metrics=USAGE,
            requests=30000, connections=64, store="process"),
    Traffic("chat_usage_power", "chat, usage on (power), 64 connections", peers.PLAIN, metrics=USAGE,
            requests=30000, connections=64, store="power"),
    Traffic("chat_rate", "chat, 10,000 a second", peers.PLAIN, metrics=RATE, **AT_A_RATE),
    Traffic("chat_rate_usage", "chat, usage on, 10,000 a second", peers.PLAIN, metrics=RATE,
            store="process", **AT_A_RATE),
    Traffic("chat_rate_usage_power", "chat, usage on (power), 10,000 a second", peers.PLAIN,
            metrics=RATE, store="power", **AT_A_RATE),
    Traffic("chat_tls_upstream", "chat, 64 connections", peers.UPSTREAM_TLS, metrics=REQUEST,
            requests=30000, connections=64),
    Traffic("chat_tls", "chat, 64 connections", peers.BOTH_TLS, metrics=REQUEST,
            requests=30000, connections=64),
    Traffic("one", "chat, one connection", peers.UPSTREAM_TLS, metrics=("p50_us", "p99_us"),
            requests=4000, connections=1),
    Traffic("embeddings", "18 KB embeddings reply", peers.UPSTREAM_TLS,
            metrics=("cpu_us", "calls", "rps", "p50_us", "p99_us"), requests=10000, connections=64,
            path="/v1/embeddings", model="text-embedding-bench"),
    Traffic("new_tls", "new TLS connection per request", peers.BOTH_TLS,
            metrics=("cpu_us", "calls", "rps", "p99_us"), requests=3000, connections=32,
            new_connection=True),
    Traffic("sse_paced", "SSE, 100 streams x 20 ms", peers.UPSTREAM_TLS, events=True,
            metrics=("cpu_us_per_piece", "calls_per_piece", "delay_p50_us", "delay_p99_us"),
            requests=200, connections=100, for_strace=0.5, model="sse-100-20000",
            warm_model="sse-2-0",
            stagger_us=20000),
    Traffic("sse_burst", "SSE, 100 streams, no pause", peers.UPSTREAM_TLS, events=True,
            metrics=("cpu_us_per_piece", "calls_per_piece", "rps"),
            requests=600, connections=100, for_strace=0.5, model="sse-200-0",
            warm_model="sse-2-0"),
    QuietStreams("quiet", "quiet SSE stream", peers.PLAIN),
    QuietStreams("quiet_tls_upstream", "quiet SSE stream", peers.UPSTREAM_TLS),
    QuietStreams("quiet_tls", "quiet SSE stream", peers.BOTH_TLS),
    Start(),
)

BULK = 64 << 20
CONNECT = {"requests": 6000, "connections": 16, "metrics": ("cpu_us", "calls", "rps", "p50_us"),
           "path": "/v1/models", "new_connection": True}
MUCH = {"requests": 48, "connections": 4, "metrics": ("cpu_ms_per_gb", "calls"), "bulk": BULK}
DOWN = {**MUCH, "path": f"/bulk/{BULK}"}
UP = {**MUCH, "path": "/bulk/up", "upload": BULK}

TUNNELS = (
    TunnelTraffic("connect", "connect, one GET, close", tunnel_peers.PLAIN, **CONNECT),
    TunnelTraffic("connect_tls", "connect, one GET, close", tunnel_peers.CLIENT_TLS, **CONNECT),
    TunnelTraffic("bulk_down", "much data to the client", tunnel_peers.PLAIN, **DOWN),
    TunnelTraffic("bulk_down_tls", "much data to the client", tunnel_peers.CLIENT_TLS, **DOWN),
    TunnelTraffic("bulk_up", "much data to the origin", tunnel_peers.PLAIN, **UP),
    TunnelTraffic("bulk_up_tls", "much data to the origin", tunnel_peers.CLIENT_TLS, **UP),
    QuietTunnels("quiet_tunnel", "quiet tunnel", tunnel_peers.PLAIN),
    QuietTunnels("quiet_tunnel_tls", "quiet tunnel", tunnel_peers.CLIENT_TLS),
)
ALL += TUNNELS
