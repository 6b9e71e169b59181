#!/usr/bin/env python3
"""SIGHUP under load, with good and broken files; what changes and what stays."""

import hashlib
import http.client
import os
import re
import shutil
import signal
import ssl
from contextlib import closing

from daemon import (CHAT, GUARD, STREAM, Clients, DaemonTest, HeldUpstream, OpenStream, main, make_certs, wait_until)

RELOADS = 50


class Load(Clients):
    """Clients that never pause: kept connections, new TLS connections, streams. Notes what failed."""

    def __init__(self, port, authorities):
        self.port, self.failed = port, []
        self.trust = ssl.create_default_context()
        for path in authorities:
            self.trust.load_verify_locations(path)
        kinds = [self.kept, self.kept, self.new_tls, self.streams]
        self.served = [0] * len(kinds)
        super().__init__(self._repeat, enumerate(kinds))

    def each_served_again(self):
        before = list(self.served)
        wait_until(lambda: self.failed or all(now > then for now, then in zip(self.served, before)),
                   "answers of every kind")

    def kept(self):
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=GUARD)) as connection:
            while True:
                yield self.ask(connection, CHAT), b'"chat.completion"'

    def new_tls(self):
        while True:
            with closing(http.client.HTTPSConnection("localhost", self.port, timeout=GUARD,
                                                     context=self.trust)) as connection:
                yield self.ask(connection, CHAT), b'"chat.completion"'

    def streams(self):
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=GUARD)) as connection:
            while True:
                yield self.ask(connection, STREAM), b"data: [DONE]\n\n"

    @staticmethod
    def ask(connection, body):
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()

    def _repeat(self, at, kind):
        try:
            for (status, body), wanted in kind():
                if status != 200 or wanted not in body:
                    self.failed.append(f"{kind.__name__}: {status} {body[-300:]}")
                self.served[at] += 1
                if self._done.is_set():
                    return
        except (OSError, http.client.HTTPException) as error:
            self.failed.append(f"{kind.__name__}: {error!r}")


def place_of(text, part):
    """line:column of the first `part`, from 1."""
    before = text[:text.index(part)]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


class Reload(DaemonTest):
    def setUp(self):
        super().setUp()
        path = lambda *names: os.path.join(self.folder, *names)
        make_certs(path("other"))
        for name in ("garbage", "mixed", "keyless"):
            shutil.copytree(path("certs"), path(name))
        with open(path("garbage", "server.crt"), "w", encoding="ascii") as out:
            out.write("-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n")
        shutil.copy(path("other", "server.key"), path("mixed", "server.key"))
        with open(path("keyless", "server.key"), "w", encoding="ascii"):
            pass

    def broken(self, daemon):
        """Files with one mistake each, and how its line in the log begins after the file's name."""
        def case(part, told, **keys):
            text = daemon.text(**keys)
            return text, f"{place_of(text, part)}: {told}"
        listener = "server.listeners[0].tls."
        text = daemon.text()
        return [
            case("nonsense_key", "nonsense_key: expected one of the keys", more="nonsense_key: 1\n"),
            case("many", "server.threads: expected an integer from 0", server="  threads: many\n"),
            case("soon", "server.drain_timeout: expected a duration", server="  drain_timeout: soon\n"),
            case("certificate: ", listener + "certificate: expected a readable file", certs="nowhere"),
            case("certificate: ", listener + "certificate: expected a PEM file", certs="garbage"),
            case("key: ", listener + "key: expected the private key of the certificate", certs="mixed"),
            case("key: ", listener + "key: expected a PEM file", certs="keyless"),
            (text + "limits: [1\n", f"{text.count(chr(10)) + 2}:1: expected valid YAML"),
            case("\"${NOT_SET", "backends[0].models[0]: expected the environment variable NOT_SET_ANYWHERE",
                 model="${NOT_SET_ANYWHERE}"),
        ]

    def certificate(self, daemon):
        """Digest of what the listener shows."""
        pem = ssl.get_server_certificate(("127.0.0.1", daemon.port), timeout=GUARD)
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()

    def certificate_in(self, folder):
        with open(os.path.join(self.folder, folder, "server.crt"), encoding="ascii") as pem:
            first = re.match(r".*?-----END CERTIFICATE-----\n", pem.read(), re.DOTALL).group()
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()

    def reload(self, daemon, text, result):
        series = f'llmproxy_config_reloads_total{{result="{result}"}}'
        before = daemon.metric(series)
        daemon.write_text(text)
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: daemon.metric(series) > before, f"a reload that is {result}")

    def model_status(self, daemon, model):
        return daemon.status("/v1/chat/completions", "-d", CHAT.replace("mock-gpt", model))

    def backends(self, model):
        return f'  - {{ name: mock, provider: mock, models: ["mock-gpt*", "{model}"] }}\n'

    def test_fifty_times_under_load_with_valid_and_broken_files(self):
        daemon = self.serve()
        broken = self.broken(daemon)
        authorities = [os.path.join(self.folder, each, "ca.crt") for each in ("certs", "other")]
        model = certs = None
        with Load(daemon.port, authorities) as load:
            for each in range(RELOADS):
                if each % 2 == 0:
                    gone, model, certs = model, f"gen{each}", ("other", "certs")[each // 2 % 2]
                    self.reload(daemon, daemon.text(backends=self.backends(model), certs=certs), "ok")
                    if gone:
                        self.assertEqual(self.model_status(daemon, gone), "404")
                else:
                    text, told = broken[each // 2 % len(broken)]
                    said = f"{daemon.config}:{told}"
                    before = daemon.diagnostics().count(said)
                    self.reload(daemon, text, "failed")
                    wait_until(lambda: daemon.diagnostics().count(said) == before + 1, said)
                self.assertEqual(self.model_status(daemon, model), "200")
                self.assertEqual(self.certificate(daemon), self.certificate_in(certs))
                self.assertEqual(daemon.status("/readyz", port=daemon.ops), "200")
                load.each_served_again()
                self.assertEqual(load.failed, [])
        self.assertEqual(load.failed, [])
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual({line["status"] for line in daemon.access_lines() if line["listener"] == "main"},
                         {200, 404})

    def test_the_drain_time_is_that_of_the_newest_file(self):
        upstream = HeldUpstream()
        self.addCleanup(upstream.close)
        daemon = self.serve(backends=upstream.backend(), server="  drain_timeout: 1h\n")
        stream = OpenStream(daemon.port)
        self.addCleanup(stream.close)
        self.assertEqual(stream.begin(), 200)
        self.reload(daemon, daemon.text(backends=upstream.backend(), server="  drain_timeout: 100ms\n"), "ok")
        self.assertEqual(daemon.stop(), 3)

    def test_the_log_level_is_that_of_the_newest_file(self):
        quiet = ("level: info", "level: error")
        daemon = self.serve()
        wait_until(lambda: "started" in daemon.diagnostics(), "the first lines")
        self.reload(daemon, daemon.text().replace(*quiet), "ok")
        self.assertNotIn("configuration reloaded", daemon.diagnostics())
        self.reload(daemon, daemon.text(), "ok")
        wait_until(lambda: "configuration reloaded" in daemon.diagnostics(), "a line of level info")
        self.assertEqual(daemon.diagnostics().count("configuration reloaded"), 1)
        self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    main()
