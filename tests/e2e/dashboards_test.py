#!/usr/bin/env python3
"""docker/prometheus and docker/grafana: Debian's Prometheus reads a daemon under load, and each query of the dashboard has
an answer. Needs LLMPROXY_BINARY; skipped without prometheus. LLMPROXY_E2E_RUNS (dev.sh soak) makes the load last a minute."""

import concurrent.futures
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import daemon as e2e
from daemon import CHAT, GUARD, STREAM, Daemon, DaemonTest, Origin, request_bytes, run, soak_runs, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROMETHEUS = os.path.join(ROOT, "docker", "prometheus")
DASHBOARD = os.path.join(ROOT, "docker", "grafana", "dashboards", "llm-proxy.json")
MANAGEMENT = "e2e-management-token-0123456789"
LOAD_SECONDS = 60 if soak_runs(1) > 1 else 5
NAME = re.compile(r"\b(?:llmproxy|gen_ai|process)_[a-z0-9_]+")
OWN = {"up"}  # of Prometheus itself


def promtool(*args, **more):
    return subprocess.run(["promtool", *args], capture_output=True, text=True, timeout=GUARD, check=False, **more)


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as text:
        return text.read()


def catalogue():
    """Every series name that the reference knows, with the label names of its metric."""
    known = {}
    for line in read(ROOT, "docs", "metrics.md").splitlines():
        row = re.match(r"\| `(\w+)` \| (\w+) \| (.*?) \|", line)
        if row:
            labels = set(re.findall(r"`(\w+)`", row[3]))
            known[row[1]] = labels
            if row[2] == "histogram":
                known.update({row[1] + "_bucket": labels | {"le"}, row[1] + "_sum": labels, row[1] + "_count": labels})
    return known


def panels():
    """(title, query) of everything that the dashboard shows."""
    return [(panel["title"], target["expr"]) for panel in json.loads(read(DASHBOARD))["panels"]
            for target in panel.get("targets", [])]


def alerts():
    return [(rule[1], rule[2]) for rule in
            re.finditer(r"- alert: (\w+)\n(.*?)\n        labels:", read(PROMETHEUS, "alerts.yml"), re.S)]


def names_in(query):
    """Metric names, and the label names that stand with each: in its selector, and in the groupings of the query."""
    labels = set(re.findall(r"gen_ai_\w+|\w+", " ".join(re.findall(r"\b(?:by|without) \(([^)]*)\)", query))))
    plain = re.sub(r"\b(?:by|without) \([^)]*\)", "", query)
    found = []
    for match in re.finditer(NAME.pattern + r"(?:\{([^}]*)\})?", plain):
        name = re.match(NAME, match[0])[0]
        found.append((name, set(re.findall(r"(\w+)\s*(?:=|!)", match[1] or ""))))
    return found, labels


class Files(unittest.TestCase):
    def test_prometheus_takes_configuration_and_rules(self):
        for command, file in (("config", "prometheus.yml"), ("rules", "alerts.yml")):
            checked = promtool("check", command, file, cwd=PROMETHEUS)
            self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
            self.assertIn("SUCCESS", checked.stdout)

    def test_every_alert_is_tested_both_ways(self):
        tested = promtool("test", "rules", "alerts_test.yml", cwd=PROMETHEUS)
        self.assertEqual(tested.returncode, 0, tested.stdout + tested.stderr)
        tests = read(PROMETHEUS, "alerts_test.yml")
        self.assertGreaterEqual(len(alerts()), 7)
        for alert, _ in alerts():
            self.assertRegex(tests, rf"alertname: {alert}\n\s+eval_time: \S+\n\s+exp_alerts:\n\s+- exp_labels")
            self.assertRegex(tests, rf"alertname: {alert}, eval_time: \S+, exp_alerts: \[\]")

    def test_alerts_and_dashboard_name_what_the_catalogue_has(self):
        known = catalogue()
        queries = panels() + alerts()
        self.assertGreater(len(queries), 50)
        used = set()
        for where, query in queries:
            found, groups = names_in(query)
            allowed = {"instance", "job", "le"}
            for name, labels in found:
                self.assertIn(name, known, where)
                self.assertLessEqual(labels, known[name] | {"instance", "job"}, (where, name))
                allowed |= known[name]
                used.add(name)
            self.assertTrue(found or OWN & set(re.findall(r"\w+", query)), where)
            self.assertLessEqual(groups, allowed, where)
        families = {name for name in known if not re.search(r"_(bucket|sum|count)$", name)}
        shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
        self.assertEqual(families - shown, set(), "metrics that nothing shows")


class LoadedDaemon(Daemon):
    """Gateway and forward proxy on one listener, with everything that a metric can tell about."""

    def text(self, origin=0, dead=0, **_):
        checked = "health_check: { path: /v1/models, interval: 200ms, timeout: 2s }"
        backends = f"""  - {{ name: good, provider: mock, models: ["mock-gpt*"], mock: {{ chunks: 12 }}, {checked} }}
  - {{ name: flaky, provider: mock, models: ["flaky"], api_keys: [a, b], mock: {{ error_rate: 0.5, error_status: 500 }} }}
  - {{ name: named, base_url: "http://localhost:{origin}/v1", models: ["named"] }}
  - {{ name: dead, base_url: "http://127.0.0.1:{dead}/v1", models: ["dead"] }}
"""
        more = f"""management: {{ token: {MANAGEMENT} }}
store: {{ path: "{self.folder}/store.db" }}
metrics: {{ max_projects: 10 }}
tracing: {{ endpoint: "http://127.0.0.1:{origin}", interval: 100ms }}
fallback: {{ backoff_initial_delay: 2ms, backoff_max_delay: 5ms, circuit_open_timeout: 300s }}
forward: {{ allow: ["127.0.0.1:{origin}"], allow_private: ["127.0.0.0/8"] }}
prices:
  - {{ model: "*", input: 1000, output: 2000 }}
"""
        text = super().text(backends=backends, ops="metrics, health, admin", auth="{ mode: token }", more=more)
        return text.replace("serve: [gateway, health]", "serve: [gateway, forward, health]")


def answer_once(connection):
    """An origin: one JSON answer for a connection, then it closes."""
    with connection.makefile("rb") as lines:
        length, line = 0, lines.readline()
        while line.strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
            line = lines.readline()
        lines.read(length)
    body = b'{"model":"named","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}'
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                       b"Content-Length: %d\r\n\r\n" % len(body) + body)


class Prometheus:
    def __init__(self, folder, target):
        self.folder = os.path.join(folder, "prometheus")
        os.mkdir(self.folder)
        shutil.copy(os.path.join(PROMETHEUS, "alerts.yml"), self.folder)
        config = read(PROMETHEUS, "prometheus.yml")
        for was, now in (('"llm-proxy:8889"', f'"{target}"'), ("15s", "1s")):
            if was not in config:
                raise AssertionError(f"prometheus.yml has no {was} any more")
            config = config.replace(was, now)
        with open(os.path.join(self.folder, "prometheus.yml"), "w", encoding="utf-8") as out:
            out.write(config)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        with open(os.path.join(self.folder, "output.txt"), "wb") as output:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data",
                 f"--web.listen-address=127.0.0.1:{self.port}"], stdout=output, stderr=subprocess.STDOUT)
        wait_until(self.ready, "Prometheus")

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError(read(self.folder, "output.txt"))
        if not e2e.connects(self.port):
            return False
        with contextlib.suppress(urllib.error.HTTPError):  # 503 until it has started
            return self.fetch("-/ready").startswith(b"Prometheus")
        return False

    def fetch(self, path):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}/{path}", timeout=GUARD) as answer:
            return answer.read()

    def get(self, path, **query):
        try:
            return json.loads(self.fetch(f"api/v1/{path}?" + urllib.parse.urlencode(query)))["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from error

    def values(self, query):
        """The numbers that a query gives now; what is no number does not count."""
        got = [float(one["value"][1]) for one in self.get("query", query=query)["result"]]
        return [value for value in got if value == value]

    def stop(self):
        self.process.terminate()
        self.process.wait(GUARD)


class Scrape(DaemonTest):
    def setUp(self):
        super().setUp()
        self.origin = Origin(answer_once)
        self.addCleanup(self.origin.close)
        with socket.create_server(("127.0.0.1", 0)) as closed:
            dead = closed.getsockname()[1]
        self.daemon = LoadedDaemon(self.folder, origin=self.origin.port, dead=dead)
        self.addCleanup(self.daemon.kill)
        self.cli("project", "create", "team-a")
        self.token = json.loads(self.cli("token", "create", "--project", "team-a", "app", "--json"))["secret"]
        self.cli("project", "budget", "team-a", "--period", "month", "--usd", "1000000")

    def cli(self, *args):
        environment = dict(os.environ, LLM_PROXY_MANAGEMENT_TOKEN=MANAGEMENT,
                           LLM_PROXY_MANAGEMENT_URL=f"http://127.0.0.1:{self.daemon.ops}")
        done = run(*args, env=environment)
        self.assertEqual(done.returncode, 0, (args, done.stderr))
        return done.stdout

    def send(self, data, until_end=True, secure=False):
        """One connection: what came back on it."""
        with socket.create_connection(("127.0.0.1", self.daemon.port), GUARD) as connection:
            if secure:
                context = ssl.create_default_context(cafile=os.path.join(self.folder, "certs", "ca.crt"))
                connection = context.wrap_socket(connection, server_hostname="localhost")
            connection.sendall(data)
            got = connection.recv(65536)
            while until_end:
                piece = connection.recv(65536)
                if not piece:
                    break
                got += piece
            connection.close()
        return got

    def post(self, body, path="/v1/chat/completions"):
        more = f"Connection: close\r\nAuthorization: Bearer {self.token}\r\n\r\n{{"
        return request_bytes(body, path).replace(b"\r\n\r\n{", b"\r\n" + more.encode(), 1)

    def connect(self, authority):
        return (f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"
                f"Proxy-Authorization: Bearer {self.token}\r\n\r\n").encode()

    def work(self):
        """One round of everything, over and over."""
        def model(name, body=CHAT):
            return self.post(body.replace("mock-gpt", name))
        tunnelled = b"GET / HTTP/1.1\r\nHost: o\r\n\r\n"
        while not self.done.is_set():
            for secure in (False, True):
                self.assertIn(b" 200 ", self.send(self.post(CHAT), secure=secure))
                self.assertIn(b"[DONE]", self.send(model("mock-gpt?interval=1ms", STREAM), secure=secure))
            self.send(self.post('{"model":"mock-gpt","input":"x"}', "/v1/embeddings"))
            self.assertIn(b" 200 ", self.send(model("named")))
            self.send(model("flaky"))
            self.send(model("dead"))
            self.assertIn(b" 404 ", self.send(model("nobody-has-it")))
            self.assertNotIn(b"[DONE]", self.send(model("mock-gpt?cut=3", STREAM)))
            self.send(model("mock-gpt?interval=20ms&chunks=500", STREAM), until_end=False)
            authority = f"127.0.0.1:{self.origin.port}"
            self.assertIn(b'"model":"named"', self.send(self.connect(authority) + tunnelled))
            self.assertIn(b" 403 ", self.send(self.connect("127.0.0.1:1"), until_end=False))

    @contextlib.contextmanager
    def load(self):
        """Two clients at work. Gives a function that raises what went wrong with them."""
        self.done = threading.Event()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            clients = [pool.submit(self.work) for _ in range(2)]

            def works():
                for client in clients:
                    if client.done():
                        client.result()
                return True
            try:
                yield works
            finally:
                self.done.set()
        works()

    def test_prometheus_reads_it_and_every_panel_has_data(self):
        prometheus = Prometheus(self.folder, f"127.0.0.1:{self.daemon.ops}")
        self.addCleanup(prometheus.stop)
        wait_until(lambda: prometheus.values('up{job="llm-proxy"}') == [1], "a first scrape")
        began = time.monotonic()
        with self.load() as works:
            self.daemon.signal(signal.SIGHUP)
            for title, query in panels():
                shown = query.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$backend", ".*")
                wait_until(lambda q=shown: works() and prometheus.values(q), f"data for '{title}': {shown}")
            wait_until(lambda: works() and time.monotonic() - began > LOAD_SECONDS, "load")
            for alert, _ in alerts():
                self.assertIn(f'"{alert}"', json.dumps(prometheus.get("rules")), alert)
            (target,) = prometheus.get("targets")["activeTargets"]
        self.assertEqual((target["health"], target["lastError"]), ("up", ""), target)
        self.assertEqual(prometheus.values('min_over_time(up{job="llm-proxy"}[10m])'), [1])
        for group in prometheus.get("rules")["groups"]:
            for rule in group["rules"]:
                self.assertEqual((rule["health"], rule.get("lastError", "")), ("ok", ""), rule["name"])

        page = self.daemon.curl("/metrics", "-f", port=self.daemon.ops).stdout
        checked = promtool("check", "metrics", input=page)
        self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, ""))
        self.assertEqual({name for name in re.findall(r"^# TYPE (\w+)", page, re.M)} - set(catalogue()), set())
        wait_until(lambda: self.daemon.metric("llmproxy_active_requests") == 1, "requests to end")  # this one
        sums = json.loads(self.cli("usage", "--json"))
        self.assertAlmostEqual(self.daemon.metric('llmproxy_cost_usd_total{project="team-a"}'),
                               sum(float(one["cost_usd"]) for one in sums), places=6)


if __name__ == "__main__":
    for program in ("prometheus", "promtool"):
        if not shutil.which(program):
            print(f"skipped: {program} is missing, Debian's package prometheus has it (cmake/dev.sh deps test)")
            sys.exit(77)
    e2e.main()
