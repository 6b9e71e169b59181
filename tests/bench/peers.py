"""The programs measured: how each is configured, started and stopped.

Every peer stands between the load generator and the fake upstream with the same sides: plain or TLS
towards the client, plain or TLS (chain and name verified) towards the upstream. Every peer has two
workers or threads, keeps its upstream connections, replaces the Authorization field, and writes an
access log to a file. `direct` is the load generator on the upstream itself.
"""

import collections
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import time

THREADS = 2
MOST_CONNECTIONS = 8000  # of a peer, on each side; HAProxy wants two descriptors for each
TOKEN = "bench-token"
READY_WITHIN = 20.0  # seconds; a peer that does not answer by then is broken, not slow

Sides = collections.namedtuple("Sides", "name client_tls upstream_tls")
PLAIN = Sides("plain", False, False)
UPSTREAM_TLS = Sides("TLS upstream", False, True)
BOTH_TLS = Sides("TLS both", True, True)


class BenchError(Exception):
    """Something this run cannot go on with."""


def free_port():
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Child:
    """A child process: waited for, and ended by its own pid only."""

    def __init__(self, command, directory, name, **streams):
        self.name = name
        self._errors_path = os.path.join(directory, name + ".stderr")
        with open(self._errors_path, "wb") as errors:
            streams.setdefault("stdin", subprocess.DEVNULL)
            self.process = subprocess.Popen(command, cwd=directory, stderr=errors, **streams)
        self.pid = self.process.pid

    def errors(self):
        with open(self._errors_path, "r", errors="replace") as stream:
            return stream.read()[-2000:]

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()


class Certificates:
    """A throw-away CA and one leaf for localhost and 127.0.0.1 (ECDSA P-256)."""

    def __init__(self, directory):
        self.ca = os.path.join(directory, "ca.crt")
        self.certificate = os.path.join(directory, "leaf.crt")
        self.key = os.path.join(directory, "leaf.key")
        self.bundle = os.path.join(directory, "leaf.pem")
        ca_key = os.path.join(directory, "ca.key")
        request = os.path.join(directory, "leaf.csr")
        extensions = os.path.join(directory, "leaf.ext")
        with open(extensions, "w") as stream:
            stream.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        for arguments in (
            ["req", "-x509", *new_key, "-keyout", ca_key, "-out", self.ca, "-days", "2",
             "-subj", "/CN=bench CA"],
            ["req", *new_key, "-keyout", self.key, "-out", request, "-subj", "/CN=localhost"],
            ["x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial",
             "-days", "2", "-extfile", extensions, "-out", self.certificate],
        ):
            subprocess.run(["openssl", *arguments], check=True, capture_output=True)
        with open(self.bundle, "w") as bundle:
            for path in (self.certificate, self.key):
                with open(path) as part:
                    bundle.write(part.read())


class Upstream:
    """The fake upstream (bench_upstream), shared by all peers."""

    def __init__(self, binary, directory, certificates):
        command = [binary, "--certificate", certificates.certificate, "--key", certificates.key]
        self.child = Child(command, directory, "upstream", stdout=subprocess.PIPE)
        line = self.child.process.stdout.readline()
        if not line:
            raise BenchError("bench_upstream did not start: " + self.child.errors())
        self.ports = json.loads(line)

    def port(self, sides):
        return self.ports["tls" if sides.upstream_tls else "plain"]

    def statistics(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["plain"], timeout=10)
        try:
            connection.request("GET", "/stats")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


class Peer:
    """One running instance of a peer. `port` is where the load goes; no child for `direct`."""

    name = ""
    authority = None  # what to ask for by CONNECT
    ends_threads = False  # a thread per connection: what ended threads used is in the ticks only

    def __init__(self, context, sides, for_events):
        self.sides = sides
        self.child = None
        self.port = free_port()
        self.directory = os.path.join(context.directory, f"{self.name}-{self.port}")
        os.mkdir(self.directory)
        self._context = context
        started = time.monotonic_ns()
        self._start(context, for_events)
        try:
            self.start_ms = self._wait_for_answer(started)
        except BaseException:
            self.stop()
            raise

    @classmethod
    def available(cls, context):
        """Why it cannot run, or nothing."""
        del context

    @classmethod
    def can(cls, sides):
        """Whether it speaks what these sides do."""
        del sides
        return True

    def _start(self, context, for_events):
        raise NotImplementedError

    def _write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as stream:
            stream.write(text)
        return path

    def _wait_for_answer(self, started):
        """Milliseconds from the start of the process to its first answer from the upstream."""
        body = json.dumps({"model": "gpt-bench", "messages": [{"role": "user", "content": "Hi"}]})
        fields = {"Content-Type": "application/json", "Authorization": "Bearer " + TOKEN}
        tls = ssl.create_default_context(cafile=self._context.certificates.ca)
        last = "nothing"
        while time.monotonic_ns() - started < READY_WITHIN * 1e9:
            if self.child and self.child.process.poll() is not None:
                break
            if self.client_tls():
                connection = http.client.HTTPSConnection(
                    "localhost", self.port, timeout=5, context=tls)
            else:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("POST", "/v1/chat/completions", body, fields)
                reply = connection.getresponse()
                last = f"{reply.status} {reply.read()[:300]!r}"
                if reply.status == 200:
                    return (time.monotonic_ns() - started) / 1e6
            except (OSError, http.client.HTTPException) as error:
                last = repr(error)
            finally:
                connection.close()
            time.sleep(0.0005)
        errors = self.child.errors() if self.child else ""
        raise BenchError(f"{self.name} ({self.sides.name}) did not answer: {last}\n{errors}")

    def client_tls(self):
        return self.sides.client_tls

    def stop(self):
        if self.child:
            self.child.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Direct(Peer):
    name = "direct"

    def _start(self, context, for_events):
        self.port = context.upstream.port(self.sides)

    def client_tls(self):
        return self.sides.upstream_tls


class Nginx(Peer):
    name = "nginx"

    @classmethod
    def available(cls, context):
        return None if shutil.which("nginx") else "nginx is not installed"

    def _start(self, context, for_events):
        certificates = context.certificates
        listen = f"listen 127.0.0.1:{self.port} backlog=4096"
        if self.sides.client_tls:
            listen += (f" ssl; ssl_certificate {certificates.certificate};"
                       f" ssl_certificate_key {certificates.key}")
        upstream = "http://upstream"
        if self.sides.upstream_tls:
            upstream = (f"https://upstream; proxy_ssl_verify on; proxy_ssl_server_name on;"
                        f" proxy_ssl_name localhost;"
                        f" proxy_ssl_trusted_certificate {certificates.ca}")
        buffering = "off" if for_events else "on"
        config = self._write("nginx.conf", f"""
daemon off;
pid {self.directory}/nginx.pid;
error_log stderr warn;
worker_processes {THREADS};
events {{ worker_connections {2 * MOST_CONNECTIONS}; }}
http {{
    access_log {self.directory}/access.log combined;
    client_body_temp_path {self.directory}/body;
    proxy_temp_path {self.directory}/proxy;
    fastcgi_temp_path {self.directory}/fastcgi;
    uwsgi_temp_path {self.directory}/uwsgi;
    scgi_temp_path {self.directory}/scgi;
    keepalive_requests 100000000;
    upstream upstream {{
        server 127.0.0.1:{context.upstream.port(self.sides)};
        keepalive 256;
        keepalive_requests 100000000;
    }}
    server {{
        {listen};
        location / {{
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer bench-key";
            proxy_buffering {buffering};
            proxy_read_timeout 600s;
            proxy_pass {upstream};
        }}
    }}
}}
""")
        command = [shutil.which("nginx"), "-p", self.directory, "-e", "stderr", "-c", config]
        self.child = Child(command, self.directory, self.name)


class HaProxy(Peer):
    name = "HAProxy"

    @classmethod
    def available(cls, context):
        return None if shutil.which("haproxy") else "haproxy is not installed"

    def _start(self, context, for_events):
        certificates = context.certificates
        bind = f"bind 127.0.0.1:{self.port}"
        if self.sides.client_tls:
            bind += f" ssl crt {certificates.bundle}"
        server = f"server bench 127.0.0.1:{context.upstream.port(self.sides)}"
        if self.sides.upstream_tls:
            server += (f" ssl verify required ca-file {certificates.ca} sni str(localhost)"
                       f" verifyhost localhost")
        no_delay = "option http-no-delay" if for_events else ""
        config = self._write("haproxy.cfg", f"""
global
    nbthread {THREADS}
    maxconn {MOST_CONNECTIONS}
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    option http-keep-alive
    http-reuse always
    {no_delay}
    timeout connect 10s
    timeout client 600s
    timeout server 600s
frontend main
    {bind}
    default_backend upstream
backend upstream
    http-request set-header Authorization "Bearer bench-key"
    {server}
""")
        with open(os.path.join(self.directory, "access.log"), "wb") as log:
            self.child = Child([shutil.which("haproxy"), "-db", "-f", config], self.directory,
                               self.name, stdout=log)


class LlmProxy(Peer):
    name = "llm-proxy"

    @classmethod
    def available(cls, context):
        if os.access(context.proxy, os.X_OK):
            return None
        return f"{context.proxy} is not there; build it or name it with --proxy"

    def _start(self, context, for_events):
        certificates = context.certificates
        scheme = "https" if self.sides.upstream_tls else "http"
        base = f"{scheme}://127.0.0.1:{context.upstream.port(self.sides)}/v1"
        listener_tls = backend_tls = ""
        if self.sides.client_tls:
            listener_tls = (f"\n      tls: {{ certificate: {certificates.certificate},"
                            f" key: {certificates.key} }}")
        if self.sides.upstream_tls:
            backend_tls = f"\n    tls: {{ ca: {certificates.ca} }}"
        config = self._write("llm-proxy.yaml", f"""
server:
  threads: {THREADS}
  max_connections: {MOST_CONNECTIONS}
  listeners:
    - name: main
      address: 127.0.0.1:{self.port}
      serve: [gateway, health]{listener_tls}
    - name: ops
      address: 127.0.0.1:{free_port()}
      serve: [metrics, health]
limits:
  max_concurrent_requests: {MOST_CONNECTIONS}
pool:
  max_connections_per_backend: {MOST_CONNECTIONS}
  max_idle_per_backend: 256
backends:
  - name: bench
    provider: openai
    base_url: {base}
    api_key: bench-key
    models: ["*"]{backend_tls}
default_backend: bench
auth:
  mode: token
  static_tokens:
    - {{ name: bench, token: {TOKEN} }}
logging:
  level: warn
  format: json
  access_log: {{ enabled: true, format: json, path: {self.directory}/access.log }}
""")
        command = [context.proxy, "serve", "--config", config]
        with open(os.path.join(self.directory, "stdout"), "wb") as log:
            self.child = Child(command, self.directory, self.name, stdout=log)


PEERS = (Direct, Nginx, HaProxy, LlmProxy)
