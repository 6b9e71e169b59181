#!/usr/bin/env python3
"""The real binary from outside: curl, the commands, and signals. Needs LLMPROXY_BINARY and curl."""

import json
import os
import signal
import stat
import subprocess

from daemon import (CHAT, GUARD, STREAM, DaemonTest, connects, main, run, wait_until)


class EndToEnd(DaemonTest):
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
        self.assertGreaterEqual(daemon.metric('llmproxy_requests_total{backend="mock",outcome="ok"'), 1)
        self.assertEqual(daemon.stop(), 0)
        models = [line.get("model") for line in daemon.access_lines()]
        self.assertEqual(models.count("mock-gpt"), 3)

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
        checked = run("check", "--config", example)
        self.assertEqual(checked.returncode, 0, checked.stderr)

    def test_sigterm_lets_a_stream_finish(self):
        daemon = self.serve(mock="{ chunks: 20, chunk_interval: 50ms }")
        curl = subprocess.Popen(["curl", "-sSN", "-m", str(GUARD), "-d", STREAM,
                                 f"http://127.0.0.1:{daemon.port}/v1/chat/completions"],
                                stdout=subprocess.PIPE, text=True)
        first = curl.stdout.readline()
        self.assertTrue(first.startswith("data: "), first)
        daemon.signal(signal.SIGTERM)
        rest = curl.stdout.read()
        self.assertEqual(curl.wait(GUARD), 0)
        curl.stdout.close()
        self.assertTrue(rest.endswith("data: [DONE]\n\n"), rest[-200:])
        self.assertEqual(daemon.wait(), 0)

    def test_exit_code_3_when_the_drain_is_cut_short(self):
        for signals, drain in (((signal.SIGTERM,), "100ms"), ((signal.SIGTERM, signal.SIGINT), "60s")):
            with self.subTest(drain=drain):
                daemon = self.serve(mock="{ chunks: 1000, chunk_interval: 100ms }", server=f"  drain_timeout: {drain}\n")
                curl = subprocess.Popen(["curl", "-sSN", "-m", "60", "-d", STREAM,
                                         f"http://127.0.0.1:{daemon.port}/v1/chat/completions"],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                self.assertTrue(curl.stdout.readline().startswith("data: "))
                daemon.signal(signals[0])
                if len(signals) > 1:
                    wait_until(lambda d=daemon: not connects(d.port), "draining")
                    daemon.signal(signals[1])
                self.assertEqual(daemon.wait(), 3)
                rest = curl.stdout.read()
                self.assertNotEqual(curl.wait(GUARD), 0, "curl must see that the stream was cut")
                curl.stdout.close()
                self.assertNotIn("[DONE]", rest)

    def test_sighup_swaps_good_files_and_names_broken_ones(self):
        daemon = self.serve()

        def status(model):
            return daemon.curl("/v1/chat/completions", "-o", "/dev/null", "-w", "%{http_code}", "-d",
                               CHAT.replace("mock-gpt", model)).stdout
        self.assertEqual(status("mock-gpt"), "200")
        self.assertEqual(status("other-gpt"), "404")
        daemon.write(model="other-gpt")
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: status("other-gpt") == "200", "the new file in force")
        self.assertEqual(status("mock-gpt"), "404")
        daemon.write(model="third-gpt", more="nonsense_key: 1\n")
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: "nonsense_key" in daemon.diagnostics(), "the broken file in the log")
        self.assertEqual(status("other-gpt"), "200")
        self.assertEqual(status("third-gpt"), "404")
        self.assertEqual(daemon.stop(), 0)

    def test_sigusr1_and_sighup_reopen_the_access_log(self):
        daemon = self.serve()
        log = os.path.join(self.folder, "access.log")
        daemon.curl("/v1/chat/completions", "-d", CHAT)
        for number, reopens in enumerate((signal.SIGUSR1, signal.SIGHUP)):
            wait_until(lambda: os.path.getsize(log) > 0, "a line")
            os.rename(log, f"{log}.{number}")
            daemon.signal(reopens)
            wait_until(lambda: os.path.exists(log), "a new file")
            daemon.curl("/v1/chat/completions", "-d", CHAT)
        wait_until(lambda: os.path.getsize(log) > 0, "a line in the new file")
        self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    main()
