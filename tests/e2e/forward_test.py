#!/usr/bin/env python3
"""The forward proxy as programs use it: curl, wget, git, Python, undici. Needs LLMPROXY_BINARY and those programs."""

import os
import shutil
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import daemon as e2e
from daemon import GUARD, wait_until
from forward import NARROW, TOKEN, ForwardTest, clean_environment, echo

CUT = (ConnectionResetError, ssl.SSLEOFError)  # Python's word for a reset below TLS is the latter
HERE = os.path.dirname(os.path.abspath(__file__))


class Clients(ForwardTest):
    def setUp(self):
        super().setUp()
        self.secure = self.web_server()
        self.plain = self.web_server(tls=False)
        self.proxy = self.serve(allow=[self.secure.authority, self.plain.authority])

    def tearDown(self):
        self.assertEqual(self.proxy.stop(), 0, self.proxy.said())
        for secret in (TOKEN, NARROW):
            self.assertNotIn(secret, self.proxy.diagnostics())
            for name in ("access.log", "output.txt"):
                with open(os.path.join(self.folder, name), encoding="utf-8") as text:
                    self.assertNotIn(secret, text.read(), name)
        for fields in self.secure.seen + self.plain.seen:
            self.assertNotIn(TOKEN, str(fields))
            self.assertNotIn("Proxy-Authorization", fields)

    def run_program(self, *command, **environment):
        return subprocess.run(command, capture_output=True, text=True, timeout=2 * GUARD, cwd=self.folder, check=False,
                              env=clean_environment(**environment))

    def curl(self, *args, **environment):
        return self.run_program("curl", "-sS", "-m", str(GUARD), *args, **environment)

    def proxy_url(self, scheme="http", token=TOKEN):
        return f"{scheme}://{token + '@' if token else ''}localhost:{self.proxy.port}"

    def hello(self, result):
        self.assertEqual((result.returncode, result.stdout), (0, "hello from the origin"), result)

    def test_curl_by_plain_and_tls_proxies(self):
        for scheme in ("http", "https"):
            with self.subTest(proxy=scheme):
                verify = ["--proxy-cacert", self.ca] if scheme == "https" else []
                proxy = ["-x", self.proxy_url(scheme), *verify]
                self.hello(self.curl(*proxy, "--cacert", self.origin_ca, self.secure.url + "/hello.txt"))
                self.hello(self.curl(*proxy, self.plain.url + "/hello.txt"))
                self.hello(self.curl(*verify, "--cacert", self.origin_ca, self.secure.url + "/hello.txt",
                                     HTTPS_PROXY=self.proxy_url(scheme)))
        unknown = self.curl("-x", self.proxy_url("https"), self.plain.url + "/hello.txt")
        self.assertNotEqual(unknown.returncode, 0, "a proxy whose CA is not known")

    def test_curl_with_the_token_in_every_place(self):
        url = self.secure.url + "/hello.txt"
        proxy = ["-x", self.proxy_url(token=""), "--cacert", self.origin_ca]
        self.hello(self.curl(*proxy, "--proxy-user", f"{TOKEN}:x", url))
        self.hello(self.curl(*proxy, "--proxy-user", f"anyone:{TOKEN}", url))
        self.hello(self.curl(*proxy, "--proxy-header", f"Proxy-Authorization: Bearer {TOKEN}", url))

    def test_curl_refused(self):
        elsewhere = "https://not.allowed.example/"
        url = self.secure.url + "/hello.txt"
        for token, target, status in (("", url, "407"), ("wrong", url, "407"), ("", elsewhere, "407"),
                                      ("wrong", elsewhere, "407"), (TOKEN, elsewhere, "403"), (NARROW, url, "403"),
                                      (TOKEN, f"https://localhost:{self.plain.port + 1}/", "403")):
            for proxy in (["-x", self.proxy_url(token=token)],
                          ["-x", self.proxy_url("https", token), "--proxy-cacert", self.ca]):
                with self.subTest(token=token, target=target, proxy=proxy[1]):
                    refused = self.curl(*proxy, "-o", os.devnull, "-w", "%{http_connect}", target)
                    self.assertEqual((refused.returncode, refused.stdout), (56, status), refused)
                    if target == elsewhere:
                        plainly = self.curl(*proxy, "-o", os.devnull, "-w", "%{http_code}", "http://not.allowed.example/")
                        self.assertEqual(plainly.stdout, status, plainly)
        challenged = self.curl("-x", self.proxy_url(token=""), "-o", os.devnull, "-D", "-", self.plain.url)
        self.assertRegex(challenged.stdout, r"(?mi)^proxy-authenticate: Basic ")
        self.assertEqual(self.secure.seen + self.plain.seen, [])

    def test_wget(self):
        proxy = ["wget", "-q", "-O", "-", "-T", str(GUARD), "-t", "1", "-e", "use_proxy=yes",
                 "-e", f"https_proxy={self.proxy_url(token='')}", "-e", f"http_proxy={self.proxy_url(token='')}",
                 "--ca-certificate", self.origin_ca]
        credential = ["--proxy-user", TOKEN, "--proxy-password", "x"]
        self.hello(self.run_program(*proxy, *credential, self.secure.url + "/hello.txt"))
        self.hello(self.run_program(*proxy, *credential, self.plain.url + "/hello.txt"))
        self.assertNotEqual(self.run_program(*proxy, self.secure.url + "/hello.txt").returncode, 0)

    def make_repository(self):
        work = os.path.join(self.folder, "work")
        author = ["-c", "user.name=e2e", "-c", "user.email=e2e@example.com"]
        for command in (["init", "-q", work], ["-C", work, *author, "commit", "-q", "--allow-empty", "-m", "first"],
                        ["clone", "-q", "--bare", work, os.path.join(self.web, "x.git")],
                        ["-C", os.path.join(self.web, "x.git"), "update-server-info"]):
            made = self.run_program("git", *command, GIT_CONFIG_GLOBAL=os.devnull)
            self.assertEqual(made.returncode, 0, made)

    def test_git_clones_over_https(self):
        """By the plain proxy: Debian's git has libcurl with GnuTLS, which overlooks bytes of TLS inside TLS now and then."""
        self.make_repository()
        cloned = self.run_program(
            "git", "-c", f"http.proxy={self.proxy_url(token=TOKEN + ':x')}", "clone", "-q", self.secure.url + "/x.git", "x",
            GIT_SSL_CAINFO=self.origin_ca, GIT_CONFIG_GLOBAL=os.devnull, GIT_TERMINAL_PROMPT="0")
        self.assertEqual(cloned.returncode, 0, cloned)
        log = self.run_program("git", "-C", "x", "log", "--format=%s")
        self.assertEqual(log.stdout, "first\n", log)

    def test_python_urllib(self):
        def fetch(url, token):
            proxy = f"http://{token}:x@localhost:{self.proxy.port}" if token else self.proxy_url(token="")
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({"http": proxy, "https": proxy}),
                urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=self.origin_ca)))
            with opener.open(url, timeout=GUARD) as reply:
                return reply.read()
        self.assertEqual(fetch(self.secure.url + "/hello.txt", TOKEN), b"hello from the origin")
        self.assertEqual(fetch(self.plain.url + "/hello.txt", TOKEN), b"hello from the origin")
        for token in ("", "wrong"):
            with self.assertRaisesRegex(OSError, "407"):
                fetch(self.secure.url + "/hello.txt", token)
            with self.assertRaises(urllib.error.HTTPError) as refused:
                fetch(self.plain.url + "/hello.txt", token)
            self.assertEqual(refused.exception.code, 407)
            refused.exception.close()

    def test_undici(self):
        result = self.run_program(
            "node", os.path.join(HERE, "undici.mjs"), PROXY_PORT=str(self.proxy.port), PROXY_CA=self.ca,
            ORIGIN_CA=self.origin_ca, SECURE=self.secure.url, PLAIN=self.plain.url, TOKEN=TOKEN)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)


class Endings(ForwardTest):
    """What the log says of how a tunnel ended, and that nothing stays open."""

    def expect_end(self, daemon, words):
        wait_until(lambda: len(daemon.tunnels()) == len(words), f"{len(words)} ended tunnels")
        self.assertEqual([line["tunnel"] for line in daemon.tunnels()], words)
        self.assertEqual(daemon.metric("llmproxy_tunnels_active"), 0)

    def test_an_origin_that_never_answers(self):
        """It accepts and says nothing: the tunnel stands until it was idle for the time allowed."""
        held = threading.Event()
        self.addCleanup(held.set)
        origin = self.origin(lambda connection: held.wait(GUARD))
        daemon = self.serve(allow=[origin.authority], forward=", idle_timeout: 300ms")
        for context in (None, self.tls_context()):
            tunnel = self.tunnel(daemon, origin.authority, context=context, first=b"anybody there?")
            self.assertEqual(tunnel.status, 200)
            with self.subTest(tls=context is not None), self.assertRaises(CUT):
                tunnel.socket.recv(1)
        self.expect_end(daemon, ["idle_timeout"] * 2)
        self.assertEqual([line["bytes_in"] for line in daemon.tunnels()], [14, 14])
        self.assertEqual(daemon.stop(), 0)

    def test_drained_tunnels_are_reset_and_the_exit_code_is_3(self):
        origin = self.origin(echo)
        daemon = self.serve(allow=[origin.authority], server="  drain_timeout: 300ms\n")
        tunnel = self.tunnel(daemon, origin.authority, first=b"x")
        self.assertEqual(tunnel.body or tunnel.socket.recv(1), b"x")
        daemon.signal(15)
        with self.assertRaises(ConnectionResetError):
            tunnel.socket.recv(1)
        self.assertEqual(daemon.wait(), 3)
        self.assertEqual([line["tunnel"] for line in daemon.tunnels()], ["drained"])


if __name__ == "__main__":
    missing = [name for name in ("curl", "wget", "git", "node") if not shutil.which(name)]
    if missing:
        sys.exit(f"{' '.join(missing)} missing: run cmake/dev.sh deps test")
    e2e.main()
