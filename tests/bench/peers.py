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
import time

from surroundings import BenchError, Child, free_port

THREADS = 2
MOST_CONNECTIONS = 8000  # of a peer, on each side; HAProxy wants two descriptors for each
TOKEN = "bench-token"
MANAGEMENT_TOKEN = "bench-management-token"
READY_WITHIN = 20.0  # seconds; a peer that does not answer by then is broken, not slow

Sides = collections.namedtuple("Sides", "name client_tls upstream_tls")
PLAIN = Sides("plain", False, False)
UPSTREAM_TLS = Sides("TLS upstream", False, True)
BOTH_TLS = Sides("TLS both", True, True)


class Peer:
    """One running instance of a peer. `port` is where the load goes; no child for `direct`."""

    name = ""
    authority = None  # what to ask for by CONNECT
    ends_threads = False  # a thread per connection: what ended threads used is in the ticks only

    def __init__(self, context, sides, for_events, store=None):
        """`store` is the durability with which the daemon records usage; the other peers have nothing of the kind."""
        self.sides = sides
        self.store = store
        self.token = TOKEN  # that the load shows
        self.child = None
        self.port = free_port()
        self.directory = os.path.join(context.directory, f"{self.name}-{self.port}")
        os.mkdir(self.directory)
        self._context = context
        started = time.monotonic_ns()
        self._start(context, for_events)
        try:
            self._prepare()
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

    def _prepare(self):
        """What has to be done once the process runs, before the first request."""

    def figures(self):
        """What only this peer knows of a run: {name: number, counted from the start of the process}."""
        return {}

    def _write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as stream:
            stream.write(text)
        return path

    def _wait_for_answer(self, started):
        """Milliseconds from the start of the process to its first answer from the upstream."""
        body = json.dumps({"model": "gpt-bench", "messages": [{"role": "user", "content": "Hi"}]})
        fields = {"Content-Type": "application/json", "Authorization": "Bearer " + self.token}
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
        self._ops = free_port()
        ops_roles = "metrics, health"
        accounts = ""
        if self.store:
            ops_roles += ", admin"
            accounts = self._accounts()
        config = self._write("llm-proxy.yaml", f"""
server:
  threads: {THREADS}
  max_connections: {MOST_CONNECTIONS}
  listeners:
    - name: main
      address: 127.0.0.1:{self.port}
      serve: [gateway, health]{listener_tls}
    - name: ops
      address: 127.0.0.1:{self._ops}
      serve: [{ops_roles}]
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
auth:{self._auth()}{accounts}
logging:
  level: warn
  format: json
  access_log: {{ enabled: true, format: json, path: {self.directory}/access.log }}
""")
        command = [context.proxy, "serve", "--config", config]
        with open(os.path.join(self.directory, "stdout"), "wb") as log:
            self.child = Child(command, self.directory, self.name, stdout=log)

    def _auth(self):
        return f"\n  mode: token\n  static_tokens:\n    - {{ name: bench, token: {TOKEN} }}"

    def _accounts(self):
        return f"""
store: {{ path: {self.directory}/store.db, durability: {self.store} }}
management: {{ token: {MANAGEMENT_TOKEN} }}
prices:
  - {{ model: "*", input: 1, output: 2 }}"""

    def _prepare(self):
        """A project and a token of the store, both under rate limits that nobody reaches."""
        if not self.store:
            return
        self._wait_for_ops()
        project = self._manage("POST", "projects", {"name": "bench"})["id"]
        token = self._manage("POST", "tokens", {"project": project, "name": "bench"})
        limits = {"limits": [{"requests_per_minute": 10 ** 9, "tokens_per_minute": 10 ** 12,
                              "concurrent_requests": 10 ** 6}]}
        self._manage("PUT", f"projects/{project}/limits", limits)
        self._manage("PUT", f"tokens/{token['id']}/limits", limits)
        self.token = token["secret"]

    def _wait_for_ops(self):
        until = time.monotonic() + READY_WITHIN
        while self.child.process.poll() is None and time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._ops)) == 0:
                    return
            time.sleep(0.001)
        raise BenchError(f"{self.name} did not start: {self.child.errors()}")

    def _manage(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self._ops, timeout=10)
        try:
            connection.request(method, "/manage/" + path, None if body is None else json.dumps(body),
                               {"Authorization": "Bearer " + MANAGEMENT_TOKEN, "If-Match": "*",
                                "Content-Type": "application/json"})
            reply = connection.getresponse()
            text = reply.read()
        finally:
            connection.close()
        if reply.status >= 300:
            raise BenchError(f"{method} /manage/{path}: {reply.status} {text[:300]!r}")
        return json.loads(text)

    def figures(self):
        if not self.store:
            return {}
        store = self._manage("GET", "store")
        if store["state"] != "ok" or store["failures"]:
            raise BenchError(f"the store is {store['state']}: {store['reason']}")
        return {"commits": store["commits"], "writes": store["writes"], "commit_ms": store["commit_ms"]}


PEERS = (Direct, Nginx, HaProxy, LlmProxy)
