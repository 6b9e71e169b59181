#!/usr/bin/env python3
"""The forward proxy behind another proxy: Squid, HAProxy, a second llm-proxy, and itself. Needs those programs and curl."""

import os
import shutil
import socket
import subprocess
import sys

import daemon as e2e
from daemon import GUARD, connects, make_certs, wait_until
from forward import TOKEN, ForwardTest, Origin, clean_environment, give_to_nobody, nobody


def free_port():
    """A port that was free a moment ago: these programs cannot tell which one the system chose for them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Chain(ForwardTest):
    def setUp(self):
        super().setUp()
        self.secure = self.web_server()
        self.plain = self.web_server(tls=False)
        os.chmod(self.folder, 0o755)
        self.other_ca = os.path.join(make_certs(os.path.join(self.folder, "other")), "ca.crt")

    def hop(self, name, text, *command):
        """Starts another proxy with a configuration of its own; the port in it listens when this returns."""
        folder = os.path.join(self.folder, f"{name}-{len(os.listdir(self.folder))}")
        os.mkdir(folder)
        port = free_port()
        path = os.path.join(folder, name + ".conf")
        with open(path, "w", encoding="ascii") as out:
            out.write(text.format(port=port, folder=folder))
        give_to_nobody(folder)
        with open(os.path.join(folder, "output.txt"), "wb") as output:
            process = subprocess.Popen([*command, path], cwd=folder, stdout=output, stderr=subprocess.STDOUT, **nobody())

        def end():
            process.kill()
            process.wait(GUARD)
        self.addCleanup(end)

        def ready():
            if process.poll() is not None:
                with open(os.path.join(folder, "output.txt"), encoding="utf-8", errors="replace") as said:
                    raise AssertionError(f"{name} ended: {said.read()}")
            return connects(port)
        wait_until(ready, f"{name} listening")
        return port

    def squid(self, daemon, ca):
        """docs/forward-proxy.md, section "Behind another proxy"."""
        return self.hop("squid", f"""
http_port 127.0.0.1:{{port}}
cache_peer localhost parent {daemon.port} 0 no-query default login=PASSTHRU tls tls-cafile={ca} tls-domain=localhost
never_direct allow all
http_access allow all
cache deny all
pid_filename {{folder}}/squid.pid
access_log none
cache_log {{folder}}/cache.log
coredump_dir {{folder}}
visible_hostname first-hop
pinger_enable off
""", "squid", "-N", "-f")

    def haproxy(self, daemon, ca, options=""):
        return self.hop("haproxy", f"""
defaults
    timeout connect {GUARD}s
    timeout client {GUARD}s
    timeout server {GUARD}s
frontend proxy
    mode tcp
    bind 127.0.0.1:{{port}}
    default_backend llm_proxy
backend llm_proxy
    mode tcp
    server one 127.0.0.1:{daemon.port} ssl verify required ca-file {ca} sni str(localhost) verifyhost localhost {options}
""", "haproxy", "-db", "-f")

    def curl(self, port, url, *args, token=TOKEN):
        return subprocess.run(["curl", "-sS", "-m", str(GUARD), "-x", f"http://{token + ':x@' if token else ''}localhost:{port}",
                               "--cacert", self.origin_ca, *args, url],
                              capture_output=True, text=True, timeout=2 * GUARD, env=clean_environment(), check=False)

    def expect_hop(self, make_hop):
        """Both kinds of requests pass, with the token and with TLS that is verified; what is refused says so."""
        daemon = self.serve(allow=[self.secure.authority, self.plain.authority])
        port = make_hop(daemon, self.ca)
        for url in (self.secure.url, self.plain.url):
            passed = self.curl(port, url + "/hello.txt")
            self.assertEqual((passed.returncode, passed.stdout), (0, "hello from the origin"), passed)
        for url, token, status in ((self.secure.url, "", "407"), (self.secure.url, "wrong", "407"),
                                   ("https://not.allowed.example", TOKEN, "403")):
            refused = self.curl(port, url, "-o", os.devnull, "-w", "%{http_connect}", token=token)
            self.assertEqual((refused.returncode, refused.stdout), (56, status), refused)
        for token, status in (("", "407"), ("wrong", "407")):
            plainly = self.curl(port, self.plain.url, "-o", os.devnull, "-w", "%{http_code}", token=token)
            self.assertEqual(plainly.stdout, status, plainly)
        wait_until(lambda: sorted(line["status"] for line in daemon.tunnels()) == [200, 403, 407, 407], "the tunnels' lines")
        before = len(self.secure.seen)
        mistrusting = make_hop(daemon, self.other_ca)
        self.assertNotEqual(self.curl(mistrusting, self.secure.url + "/hello.txt").returncode, 0)
        self.assertEqual(len(self.secure.seen), before, "a request passed although the CA is another's")
        self.assertEqual(daemon.stop(), 0)

    def test_behind_squid(self):
        self.expect_hop(self.squid)

    def test_behind_haproxy(self):
        self.expect_hop(self.haproxy)

    def test_the_client_address_by_proxy_protocol(self):
        daemon = self.serve(allow=[self.secure.authority], server='  trusted_proxies: ["127.0.0.1"]\n',
                            listener=", proxy_protocol: true")
        port = self.haproxy(daemon, self.ca, "send-proxy-v2")
        with socket.create_connection(("127.0.0.1", port), GUARD, source_address=("127.0.0.9", 0)) as client:
            client.sendall(f"CONNECT {self.secure.authority} HTTP/1.1\r\nHost: {self.secure.authority}\r\n"
                           f"Proxy-Authorization: Bearer {TOKEN}\r\n\r\n".encode())
            self.assertTrue(client.recv(4096).startswith(b"HTTP/1.1 200 "))
        wait_until(daemon.tunnels, "the tunnel's line")
        self.assertEqual(daemon.tunnels()[0]["client"].split(":")[0], "127.0.0.9", daemon.tunnels())

    def test_a_chain_of_two_daemons(self):
        """The client asks the first for a tunnel to the second and the second for one to the origin."""
        last = self.serve(allow=[self.secure.authority, self.plain.authority])
        first = self.serve(folder=self.second_folder("first"), allow=[f"localhost:{last.port}"])
        with self.tunnel(first, f"localhost:{last.port}") as outer:
            self.assertEqual(outer.status, 200)
            outer.socket.sendall(f"CONNECT {self.plain.authority} HTTP/1.1\r\nHost: x\r\n"
                                 f"Proxy-Authorization: Bearer {TOKEN}\r\n\r\n".encode())
            self.assertTrue(outer.socket.recv(4096).startswith(b"HTTP/1.1 200 "))
            outer.socket.sendall(b"GET /hello.txt HTTP/1.0\r\n\r\n")
            got = b"".join(iter(lambda: outer.socket.recv(4096), b""))
            self.assertTrue(got.endswith(b"hello from the origin"), got)
        for daemon in (first, last):
            wait_until(daemon.tunnels, "the tunnel's line")

    def test_a_request_that_comes_back_is_508(self):
        """By a hop that the daemon cannot know for itself, as an address that is forwarded to it would be."""
        back = Origin(self.pass_on)
        self.addCleanup(back.close)
        daemon = self.serve(allow=[back.authority])
        self.daemon_port = daemon.port
        looped = self.curl(daemon.port, f"http://{back.authority}/", "-w", "%{http_code}")
        self.assertTrue(looped.stdout.endswith("508"), looped)
        self.assertIn("loop_detected", looped.stdout)

    def pass_on(self, connection):
        """Asks the daemon for what it was asked by it, as a proxy for `http://` would."""
        head = connection.recv(65536)
        line, _, fields = head.partition(b"\r\n")
        method, path, version = line.split(b" ")
        host = next(field.split(b" ")[1] for field in fields.split(b"\r\n") if field.lower().startswith(b"host: "))
        with socket.create_connection(("127.0.0.1", self.daemon_port), GUARD) as again:
            again.sendall(b" ".join([method, b"http://" + host + path, version]) + b"\r\nProxy-Authorization: Bearer "
                          + TOKEN.encode() + b"\r\nConnection: close\r\n" + fields)
            connection.sendall(b"".join(iter(lambda: again.recv(4096), b"")))


if __name__ == "__main__":
    missing = [name for name in ("curl", "haproxy", "squid") if not shutil.which(name)]
    if missing:
        sys.exit(f"{' '.join(missing)} missing: run cmake/dev.sh deps test")
    e2e.main()
