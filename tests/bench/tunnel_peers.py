"""The programs measured as forward proxies: CONNECT to the fake upstream's plain port.

HAProxy is no proxy of this kind; it passes TCP on to one place, which is the least that can be done. Squid and tinyproxy
check no credential; llm-proxy checks a token. All write an access log to a file. Squid has one worker, as a worker more
would need shared memory and change nothing in CPU per request; tinyproxy has no TLS towards its clients.
"""

import os
import pwd
import shutil
import socket
import ssl
import time

import peers
import surroundings
from peers import MOST_CONNECTIONS, READY_WITHIN, THREADS, TOKEN, BenchError, Child, Sides

PLAIN = Sides("plain", False, False)
CLIENT_TLS = Sides("TLS to the proxy", True, False)


def unprivileged(directory):
    """How to start a program that refuses to be root; it gets `directory`."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(directory, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


class TunnelPeer(peers.Peer):
    """A peer that takes CONNECT; `authority` is what to ask it for, nothing for one that only passes TCP on."""

    def __init__(self, context, sides, for_events=False, store=None):
        self.upstream_port = context.upstream.port(sides)
        super().__init__(context, sides, for_events, store)

    @property
    def authority(self):
        return f"127.0.0.1:{self.upstream_port}"

    def _wait_for_answer(self, started):
        tls = ssl.create_default_context(cafile=self._context.certificates.ca)
        last = b"nothing"
        while time.monotonic_ns() - started < READY_WITHIN * 1e9 and not (self.child and self.child.process.poll()):
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as plain:
                    with tls.wrap_socket(plain, server_hostname="localhost") if self.client_tls() else plain as client:
                        last = self._ask(client)
            except OSError as error:
                last = repr(error)
            if last == b"HTTP/1.1 200":
                return (time.monotonic_ns() - started) / 1e6
            time.sleep(0.0005)
        raise BenchError(f"{self.name} ({self.sides.name}) does not answer; last: {last}\n"
                         + (self.child.errors() if self.child else ""))

    def _ask(self, client):
        if self.authority:
            client.sendall(f"CONNECT {self.authority} HTTP/1.1\r\nHost: {self.authority}\r\n"
                           f"Proxy-Authorization: Bearer {TOKEN}\r\n\r\n".encode())
            answer = b""
            while b"\r\n\r\n" not in answer:
                piece = client.recv(4096)
                if not piece:
                    return answer
                answer += piece
            if answer.split()[1] != b"200":
                return answer
        client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return client.recv(12)


class Direct(TunnelPeer):
    name = "direct"
    authority = None

    def _start(self, context, for_events):
        self.port = self.upstream_port

    @classmethod
    def can(cls, sides):
        return not sides.client_tls


class HaProxy(TunnelPeer):
    name = "HAProxy"
    authority = None

    @classmethod
    def available(cls, context):
        return peers.HaProxy.available(context)

    def _start(self, context, for_events):
        tls = f" ssl crt {context.certificates.bundle}" if self.sides.client_tls else ""
        config = self._write("haproxy.cfg", f"""
global
    nbthread {THREADS}
    maxconn {MOST_CONNECTIONS}
    maxpipes 500
    log stdout format raw local0
defaults
    mode tcp
    log global
    option tcplog
    option splice-auto
    timeout connect 10s
    timeout client 600s
    timeout server 600s
listen main
    bind 127.0.0.1:{self.port}{tls}
    server bench 127.0.0.1:{self.upstream_port}
""")
        with open(os.path.join(self.directory, "access.log"), "wb") as log:
            self.child = Child([shutil.which("haproxy"), "-db", "-f", config], self.directory, self.name, stdout=log)


class Squid(TunnelPeer):
    name = "Squid"

    @classmethod
    def available(cls, context):
        return None if shutil.which("squid") else "squid is not installed"

    def _start(self, context, for_events):
        port = f"http_port 127.0.0.1:{self.port}"
        if self.sides.client_tls:
            bundle = shutil.copy(context.certificates.bundle, self.directory)
            os.chmod(bundle, 0o644)  # thrown away after this run
            port = f"https_port 127.0.0.1:{self.port} tls-cert={bundle}"
        config = self._write("squid.conf", f"""
{port}
acl upstream port {self.upstream_port}
http_access allow upstream
http_access deny all
cache deny all
access_log stdio:{self.directory}/access.log
cache_log {self.directory}/cache.log
pid_filename {self.directory}/squid.pid
coredump_dir {self.directory}
visible_hostname bench
pinger_enable off
max_filedescriptors {2 * MOST_CONNECTIONS}
shutdown_lifetime 0 seconds
""")
        self.child = Child([shutil.which("squid"), "-N", "-f", config], self.directory, self.name,
                           **unprivileged(self.directory))


class Tinyproxy(TunnelPeer):
    name = "tinyproxy"
    ends_threads = True

    @classmethod
    def can(cls, sides):
        return not sides.client_tls

    @classmethod
    def available(cls, context):
        return None if shutil.which("tinyproxy") else "tinyproxy is not installed"

    def _start(self, context, for_events):
        config = self._write("tinyproxy.conf", f"""
Listen 127.0.0.1
Port {self.port}
Timeout 600
MaxClients {MOST_CONNECTIONS}
LogFile "{self.directory}/access.log"
LogLevel Connect
ConnectPort {self.upstream_port}
""")
        with open(os.path.join(self.directory, "stdout"), "wb") as log:
            self.child = Child([shutil.which("tinyproxy"), "-d", "-c", config], self.directory, self.name, stdout=log)


class LlmProxy(TunnelPeer):
    name = "llm-proxy"

    @classmethod
    def available(cls, context):
        return peers.LlmProxy.available(context)

    def _start(self, context, for_events):
        certificates = context.certificates
        tls = ""
        if self.sides.client_tls:
            tls = f", tls: {{ certificate: {certificates.certificate}, key: {certificates.key} }}"
        config = self._write("llm-proxy.yaml", f"""
server:
  threads: {THREADS}
  max_connections: {MOST_CONNECTIONS}
  listeners:
    - {{ name: main, address: "127.0.0.1:{self.port}", serve: [forward, health]{tls} }}
    - {{ name: ops, address: "127.0.0.1:{surroundings.free_port()}", serve: [metrics, health] }}
backends: []
forward: {{ allow: ["{self.authority}"], allow_private: ["127.0.0.0/8"] }}
auth: {{ mode: token, static_tokens: [ {{ name: bench, token: {TOKEN} }} ] }}
logging:
  level: warn
  format: json
  access_log: {{ enabled: true, format: json, path: {self.directory}/access.log }}
""")
        with open(os.path.join(self.directory, "stdout"), "wb") as log:
            self.child = Child([context.proxy, "serve", "--config", config], self.directory, self.name, stdout=log)


PEERS = (Direct, HaProxy, Squid, Tinyproxy, LlmProxy)
