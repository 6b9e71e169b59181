#!/usr/bin/env python3
"""The real binary from outside: curl, the commands, and signals. Needs LLMPROXY_BINARY and curl."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest

BINARY = os.environ.get("LLMPROXY_BINARY", "")
GUARD = 20
CHAT = '{"model":"mock-gpt","messages":[{"role":"user","content":"hi"}]}'
STREAM = '{"model":"mock-gpt","stream":true,"messages":[{"role":"user","content":"hi"}]}'


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*args, **more):
    return subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=GUARD, **more)


def wait_until(true, what):
    until = time.monotonic() + GUARD
    while not true():
        if time.monotonic() > until:
            raise AssertionError("timeout: " + what)
        time.sleep(0.01)


class Daemon:
    """`llm-proxy serve` with a mock backend, TLS and plain on one port."""

    def __init__(self, folder, **keys):
        self.folder, self.port = folder, free_port()
        self.config = os.path.join(folder, "proxy.yaml")
        self.log = os.path.join(folder, "diagnostics.log")
        self.write(**keys)
        self.process = subprocess.Popen([BINARY, "serve", "--config", self.config],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wait_until(self.accepts, "start")

    def write(self, model="mock-gpt", more="", drain="5s", mock="{}"):
        certs = os.path.join(self.folder, "certs")
        with open(self.config, "w", encoding="utf-8") as out:
            out.write(f"""server:
  drain_timeout: {drain}
  listeners:
    - name: main
      address: "127.0.0.1:{self.port}"
      serve: [gateway, health, metrics]
      tls: {{ certificate: {certs}/server.crt, key: {certs}/server.key, allow_plain: true }}
backends:
  - {{ name: mock, provider: mock, models: ["{model}*"], mock: {mock} }}
auth: {{ mode: open }}
logging: {{ level: info, path: {self.log}, access_log: {{ path: {self.folder}/access.log }} }}
{more}
""")

    def accepts(self):
        if self.process.poll() is not None:
            raise AssertionError("ended: " + self.process.stdout.read())
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def curl(self, path, *args, scheme="http"):
        return subprocess.run(["curl", "-sS", "-m", str(GUARD), *args,
                               f"{scheme}://localhost:{self.port}{path}"],
                              capture_output=True, text=True, timeout=2 * GUARD)

    def diagnostics(self):
        with open(self.log, encoding="utf-8") as text:
            return text.read()

    def stop(self, *signals):
        for each in signals or (signal.SIGTERM,):
            self.process.send_signal(each)
        code = self.process.wait(GUARD)
        self.process.stdout.close()
        return code


class EndToEnd(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="llmproxy-e2e-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        made = run("certs", "init", os.path.join(self.folder, "certs"))
        self.assertEqual(made.returncode, 0, made.stderr)

    def serve(self, **keys):
        daemon = Daemon(self.folder, **keys)

        def end():
            if daemon.process.poll() is None:
                daemon.process.kill()
                daemon.process.wait()
            daemon.process.stdout.close()
        self.addCleanup(end)
        return daemon

    def test_curl_plain_stream_and_tls(self):
        daemon = self.serve()
        body = ["-H", "Content-Type: application/json", "-d"]
        plain = daemon.curl("/v1/chat/completions", *body, CHAT)
        self.assertEqual(json.loads(plain.stdout)["object"], "chat.completion", plain)
        stream = daemon.curl("/v1/chat/completions", "-N", *body, STREAM)
        self.assertEqual(stream.returncode, 0, stream)
        self.assertTrue(stream.stdout.endswith("data: [DONE]\n\n"), stream.stdout)
        ca = os.path.join(self.folder, "certs", "ca.crt")
        tls = daemon.curl("/v1/chat/completions", "--cacert", ca, *body, CHAT, scheme="https")
        self.assertEqual(json.loads(tls.stdout)["object"], "chat.completion", tls)
        unknown = daemon.curl("/healthz", scheme="https")
        self.assertNotEqual(unknown.returncode, 0)
        self.assertEqual(daemon.curl("/healthz", "-f").returncode, 0)
        self.assertEqual(daemon.curl("/readyz", "-f").returncode, 0)
        self.assertIn("llm_proxy", daemon.curl("/metrics").stdout.replace("llmproxy", "llm_proxy"))
        self.assertEqual(daemon.stop(), 0)
        with open(os.path.join(self.folder, "access.log"), encoding="utf-8") as log:
            lines = [json.loads(line) for line in log]
        self.assertEqual(sum(line.get("model") == "mock-gpt" for line in lines), 3)

    def test_certs_init(self):
        certs = os.path.join(self.folder, "certs")
        for key in ("ca.key", "server.key"):
            self.assertEqual(stat.S_IMODE(os.stat(os.path.join(certs, key)).st_mode), 0o600)
        with open(os.path.join(certs, "ca.key"), encoding="utf-8") as before:
            text = before.read()
        self.assertEqual(run("certs", "init", certs).returncode, 1)
        with open(os.path.join(certs, "ca.key"), encoding="utf-8") as now:
            self.assertEqual(now.read(), text)

    def test_version_help_and_usage(self):
        self.assertRegex(run("version").stdout, r"\d+\.\d+\.\d+")
        self.assertIn("serve", run("--help").stdout)
        self.assertEqual(run("nonsense").returncode, 2)
        self.assertEqual(run("serve").returncode, 2)
        self.assertEqual(run("serve", "--config", "/nonexistent.yaml").returncode, 1)

    def test_healthcheck(self):
        daemon = self.serve()
        url = f"http://127.0.0.1:{daemon.port}/healthz"
        self.assertEqual(run("healthcheck", "--url", url).returncode, 0)
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(run("healthcheck", "--url", url).returncode, 1)

    def test_config_documents(self):
        self.assertIn("server.listeners", run("config", "reference").stdout)
        json.loads(run("config", "schema").stdout)
        example = os.path.join(self.folder, "example.yaml")
        with open(example, "w", encoding="utf-8") as out:
            out.write(run("config", "example").stdout)
        self.assertNotEqual(os.path.getsize(example), 0)

    def test_check_masks_secrets(self):
        path = os.path.join(self.folder, "c.yaml")
        with open(path, "w", encoding="utf-8") as out:
            out.write("""backends:
  - { name: a, base_url: "https://api.example.com/v1", api_key: sk-canary-in-config, models: ["*"] }
auth: { mode: token, static_tokens: [ { name: t, token: tok-canary-in-config-1 } ] }
""")
        checked = run("check", "--config", path)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertIn("***", checked.stdout)
        self.assertNotIn("canary", checked.stdout + checked.stderr)

    def test_check_names_the_place_of_what_is_wrong(self):
        good_backend = 'backends: [ { name: a, base_url: "https://a.test/v1", models: ["*"] } ]\n'
        cases = {
            "unknown top key": (good_backend + "servr: {}\n", "servr"),
            "unknown inner key": (good_backend + "limits: { max_boddy_bytes: 1MiB }\n", "max_boddy_bytes"),
            "wrong type": (good_backend + "limits: { max_concurrent_requests: many }\n", "max_concurrent_requests"),
            "negative": (good_backend + "limits: { max_queued_requests: -1 }\n", "max_queued_requests"),
            "bad size": (good_backend + "limits: { max_body_bytes: 32Mib8 }\n", "max_body_bytes"),
            "bad duration": (good_backend + "timeout: { connect_timeout: soon }\n", "connect_timeout"),
            "list for map": (good_backend + "timeout: [1]\n", "timeout"),
            "map for list": ("backends: { a: b }\n", "backends"),
            "bad provider": ('backends: [ { name: a, provider: oracle, models: ["*"] } ]\n', "provider"),
            "bad url": ('backends: [ { name: a, base_url: "ftp://x", models: ["*"] } ]\n', "base_url"),
            "missing url": ('backends: [ { name: a, models: ["*"] } ]\n', "base_url"),
            "missing name": ('backends: [ { base_url: "https://a.test/v1", models: ["*"] } ]\n', "name"),
            "same name twice": ('backends:\n  - { name: a, provider: mock, models: ["*"] }\n'
                                '  - { name: a, provider: mock, models: ["*"] }\n', "name"),
            "unknown default": (good_backend + "default_backend: b\n", "default_backend"),
            "bad role": (good_backend + 'server: { listeners: [ { name: m, address: "127.0.0.1:1", '
                         'serve: [gatewy] } ] }\n', "serve"),
            "bad address": (good_backend + 'server: { listeners: [ { name: m, address: "nowhere", '
                            'serve: [gateway] } ] }\n', "address"),
            "open beyond loopback": (good_backend + 'auth: { mode: open }\nserver: { listeners: [ { name: m, '
                                     'address: "0.0.0.0:1", serve: [gateway] } ] }\n', "auth"),
            "unset variable": ('backends: [ { name: a, base_url: "${NOT_SET_ANYWHERE}", models: ["*"] } ]\n',
                               "base_url"),
            "bad cidr": (good_backend + "server: { trusted_proxies: [\"10.0.0.0/99\"] }\n", "trusted_proxies"),
            "duplicate key": (good_backend + "auth: { mode: open }\nauth: { mode: token }\n", "auth"),
            "not yaml": (good_backend + "auth: { mode: open\n", ""),
        }
        for name, (text, key) in cases.items():
            with self.subTest(name):
                path = os.path.join(self.folder, "broken.yaml")
                with open(path, "w", encoding="utf-8") as out:
                    out.write(text)
                checked = run("check", "--config", path)
                said = checked.stderr + checked.stdout
                self.assertEqual(checked.returncode, 1, said)
                self.assertRegex(said, r"broken\.yaml:\d+:\d+: ", said)
                self.assertIn(key, said)

    def test_sigterm_lets_a_stream_finish(self):
        daemon = self.serve(mock="{ chunks: 20, chunk_interval: 50ms }")
        curl = subprocess.Popen(["curl", "-sSN", "-m", str(GUARD), "-d", STREAM,
                                 f"http://127.0.0.1:{daemon.port}/v1/chat/completions"],
                                stdout=subprocess.PIPE, text=True)
        first = curl.stdout.readline()
        self.assertTrue(first.startswith("data: "), first)
        daemon.process.send_signal(signal.SIGTERM)
        rest = curl.stdout.read()
        self.assertEqual(curl.wait(GUARD), 0)
        curl.stdout.close()
        self.assertTrue(rest.endswith("data: [DONE]\n\n"), rest[-200:])
        self.assertEqual(daemon.process.wait(GUARD), 0)

    def test_exit_code_3_when_the_drain_is_cut_short(self):
        for signals, drain in (((signal.SIGTERM,), "100ms"), ((signal.SIGTERM, signal.SIGINT), "60s")):
            with self.subTest(drain=drain):
                daemon = self.serve(mock="{ chunks: 1000, chunk_interval: 100ms }", drain=drain)
                curl = subprocess.Popen(["curl", "-sSN", "-m", "60", "-d", STREAM,
                                         f"http://127.0.0.1:{daemon.port}/v1/chat/completions"],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                self.assertTrue(curl.stdout.readline().startswith("data: "))
                daemon.process.send_signal(signals[0])
                if len(signals) > 1:
                    wait_until(lambda d=daemon: not self.ready(d), "draining")
                    daemon.process.send_signal(signals[1])
                self.assertEqual(daemon.process.wait(GUARD), 3)
                rest = curl.stdout.read()
                self.assertNotEqual(curl.wait(GUARD), 0, "curl must see that the stream was cut")
                curl.stdout.close()
                self.assertNotIn("[DONE]", rest)

    def ready(self, daemon):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", daemon.port)) == 0

    def test_sighup_swaps_good_files_and_names_broken_ones(self):
        daemon = self.serve()

        def status(model):
            return daemon.curl("/v1/chat/completions", "-o", "/dev/null", "-w", "%{http_code}", "-d",
                               CHAT.replace("mock-gpt", model)).stdout
        self.assertEqual(status("mock-gpt"), "200")
        self.assertEqual(status("other-gpt"), "404")
        daemon.write(model="other-gpt")
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: status("other-gpt") == "200", "the new file in force")
        self.assertEqual(status("mock-gpt"), "404")
        daemon.write(model="third-gpt", more="nonsense_key: 1\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "nonsense_key" in daemon.diagnostics(), "the broken file in the log")
        self.assertEqual(status("other-gpt"), "200")
        self.assertEqual(status("third-gpt"), "404")
        self.assertEqual(daemon.stop(), 0)

    def test_sigusr1_reopens_the_access_log(self):
        daemon = self.serve()
        log = os.path.join(self.folder, "access.log")
        daemon.curl("/v1/chat/completions", "-d", CHAT)
        wait_until(lambda: os.path.getsize(log) > 0, "a line")
        os.rename(log, log + ".1")
        daemon.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: os.path.exists(log), "a new file")
        daemon.curl("/v1/chat/completions", "-d", CHAT)
        wait_until(lambda: os.path.getsize(log) > 0, "a line in the new file")
        self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    if not BINARY or not shutil.which("curl"):
        sys.exit("needs LLMPROXY_BINARY (path of llm-proxy) and curl")
    unittest.main(verbosity=2)
