#!/usr/bin/env python3
"""`check` and `serve` on configurations with one mistake each: place, key and expectation, exit code 1."""

import os

from daemon import DaemonTest, main, make_certs, run

BACKEND = 'backends: [ { name: a, base_url: "https://a.test/v1", models: ["*"] } ]\n'
TLS = """server:
  listeners:
    - name: main
      address: 127.0.0.1:0
      serve: [gateway]
      tls:
        certificate: {0}
        key: {1}
"""

# What the file says, and how the one line about it begins after the file's name.
BROKEN = {
    "unknown section": (BACKEND + "servr: {}\n", "2:1: servr: expected a known key; did you mean 'server'?"),
    "unknown key": (
        BACKEND + "limits: { max_boddy_bytes: 1MiB }\n",
        "2:11: limits.max_boddy_bytes: expected a known key; did you mean 'max_body_bytes'?"),
    "text for an integer": (
        BACKEND + "limits: { max_concurrent_requests: many }\n",
        "2:36: limits.max_concurrent_requests: expected an integer from 1 to 10000000; got many"),
    "below the bounds": (
        BACKEND + "limits: { max_queued_requests: -1 }\n",
        "2:32: limits.max_queued_requests: expected an integer from 0 to 10000000; got \"-1\""),
    "size": (
        BACKEND + "limits: { max_body_bytes: 32Mib8 }\n",
        "2:27: limits.max_body_bytes: expected a size from 1 to 64GiB, such as 4096, 32KiB or 1GiB; got 32Mib8"),
    "duration": (
        BACKEND + "timeout: { connect_timeout: soon }\n",
        "2:29: timeout.connect_timeout: expected a duration from 1ms to 1h with a unit"),
    "duration without a unit": (
        BACKEND + "timeout:\n  total_timeout: 30\n",
        "3:18: timeout.total_timeout: expected a duration from 1ms to 168h with a unit"),
    "list for a mapping": (BACKEND + "timeout: [1]\n", "2:10: timeout: expected a mapping; got a list"),
    "mapping for a list": (
        "backends: { a: b }\n", "1:11: backends: expected a list of mappings; got a mapping"),
    "provider": (
        'backends: [ { name: a, provider: oracle, base_url: "http://a", models: ["*"] } ]\n',
        "1:34: backends[0].provider: expected openai or mock; got oracle"),
    "scheme of a URL": (
        'backends: [ { name: a, base_url: "ftp://x", models: ["*"] } ]\n',
        "1:24: backends[0].base_url: expected http(s)://host[:port][/path]"),
    "no URL": (
        'backends: [ { name: a, models: ["*"] } ]\n',
        "1:13: backends[0].base_url: expected http(s)://host[:port][/path]"),
    "no name": (
        'backends: [ { base_url: "https://a.test/v1", models: ["*"] } ]\n',
        "1:13: backends[0].name: expected a value, a text; got nothing"),
    "a name twice": (
        "backends:\n  - { name: a, provider: mock }\n  - { name: a, provider: mock }\n",
        "3:7: backends[1].name: expected a name that no other entry has; got a"),
    "unknown backend": (
        BACKEND + "default_backend: b\n", "2:1: default_backend: expected the name of a backend; got b"),
    "role": (
        'server: { listeners: [ { name: m, address: "127.0.0.1:1", serve: [gatewy] } ] }\n',
        "1:67: server.listeners[0].serve[0]: expected a list of gateway, forward, health, admin or metrics"),
    "address": (
        'server: { listeners: [ { name: m, address: "nowhere", serve: [gateway] } ] }\n',
        "1:35: server.listeners[0].address: expected host:port or [v6]:port with a port from 0 to 65535"),
    "open to everybody": (
        'auth: { mode: open }\nserver: { listeners: [ { name: m, address: "0.0.0.0:1", serve: [gateway] } ] }\n',
        "2:35: server.listeners[0].address: expected a loopback address while auth.mode is open"),
    "unset variable": (
        'backends: [ { name: a, base_url: "${NOT_SET_ANYWHERE}", models: ["*"] } ]\n',
        "1:34: backends[0].base_url: expected the environment variable NOT_SET_ANYWHERE to be set"),
    "CIDR": (
        'server: { trusted_proxies: ["10.0.0.0/99"] }\n',
        "1:29: server.trusted_proxies[0]: expected an address or a CIDR such as 10.0.0.0/8"),
    "a key twice": (
        BACKEND + "auth: { mode: open }\nauth: { mode: token }\n",
        "3:1: auth: expected a key once; it is given on line 2 already"),
    "not YAML": (BACKEND + "auth: { mode: open\n", "3:1: expected valid YAML; got: end of map flow not found"),
    "certificate that is not there": (
        TLS.format("nowhere.crt", "certs/server.key"),
        "7:9: server.listeners[0].tls.certificate: expected a readable file; got nowhere.crt"),
    "certificate that is none": (
        TLS.format("certs/server.key", "certs/server.key"),
        "7:9: server.listeners[0].tls.certificate: expected a PEM file with a certificate"),
    "key that is none": (
        TLS.format("certs/server.crt", "certs/ca.crt"),
        "8:9: server.listeners[0].tls.key: expected a PEM file with an unencrypted private key"),
    "key of another certificate": (
        TLS.format("certs/server.crt", "other/server.key"),
        "8:9: server.listeners[0].tls.key: expected the private key of the certificate in certs/server.crt"),
}


class Check(DaemonTest):
    def write(self, text):
        path = os.path.join(self.folder, "broken.yaml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def test_every_mistake_is_told_by_place_key_and_expectation(self):
        make_certs(os.path.join(self.folder, "other"))
        for name, (text, told) in BROKEN.items():
            path = self.write(text)
            for command in ("check", "serve"):
                with self.subTest(name, command=command):
                    done = run(command, "--config", path, cwd=self.folder)
                    self.assertEqual(done.returncode, 1, done.stderr)
                    self.assertTrue(done.stderr.startswith(f"{path}:{told}"), done.stderr)
                    self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                    self.assertEqual(done.stdout, "")

    def test_several_mistakes_are_told_at_once(self):
        path = self.write("server: { threads: x }\nlimits: { nonsense: 1 }\ndefault_backend: b\n")
        said = run("check", "--config", path).stderr
        for place in (":1:20: server.threads: ", ":2:11: limits.nonsense: ", ":3:1: default_backend: "):
            self.assertIn(path + place, said)

    def test_a_file_that_is_not_there(self):
        path = os.path.join(self.folder, "nowhere.yaml")
        for command in ("check", "serve"):
            done = run(command, "--config", path)
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stderr, f"{path}: expected a readable file; got: No such file or directory\n")

    def test_what_is_right_is_printed_with_secrets_masked(self):
        path = self.write("""backends:
  - { name: a, base_url: "https://api.example.com/v1", api_key: sk-canary-in-config, models: ["*"] }
auth: { mode: token, static_tokens: [ { name: t, token: tok-canary-in-config-1 } ] }
""")
        done = run("check", "--config", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("***", done.stdout)
        self.assertNotIn("canary", done.stdout + done.stderr)
        shown = self.write(done.stdout.replace('"***"', "x").replace("***", "x"))
        self.assertEqual(run("check", "--config", shown).returncode, 0, "what is printed is a configuration")


if __name__ == "__main__":
    main()
