"""What the tests of the forward proxy share: the daemon as a proxy, origins, and a client that asks for tunnels."""

import functools
import http.server
import os
import shutil
import socket
import ssl
import threading

from daemon import GUARD, Daemon, DaemonTest, Origin, make_certs

TOKEN = "e2e-forward-token-canary"
NARROW = "e2e-narrow-token-canary"  # may go to narrow.example only
LOOPBACK = ["127.0.0.0/8"]


def quoted(items):
    return "[" + ", ".join(f'"{item}"' for item in items) + "]"


def clean_environment(**more):
    """Without the proxies of the machine that runs this."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")} | more


def nobody():
    """How to start a program that is to have no privileges; it has none anyway where this one has none."""
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def give_to_nobody(folder):
    """Everything in `folder`, which a program started with `nobody()` may then write to."""
    if os.geteuid() == 0:
        for place, _, files in os.walk(folder):
            for path in [place] + [os.path.join(place, name) for name in files]:
                shutil.chown(path, "nobody", "nogroup")


class ForwardDaemon(Daemon):
    """A daemon whose listener `main` is a forward proxy, TLS and plain on one port."""

    def text(self, allow=(), private=LOOPBACK, forward="", address="127.0.0.1:0", listener="", server="",
             more=""):
        certs = os.path.join(self.folder, "certs")
        tls = f"tls: {{ certificate: {certs}/server.crt, key: {certs}/server.key, allow_plain: true }}"
        return f"""server:
  listeners:
    - {{ name: main, address: "{address}", serve: [forward, health], {tls}{listener} }}
    - {{ name: ops, address: "127.0.0.1:0", serve: [metrics, health] }}
{server}backends: []
forward: {{ allow: {quoted(allow)}, allow_private: {quoted(private)}{forward} }}
auth:
  mode: token
  static_tokens:
    - {{ name: all, token: "{TOKEN}" }}
    - {{ name: narrow, token: "{NARROW}", hosts: ["narrow.example"] }}
logging: {{ level: info, path: "{self.log}", access_log: {{ path: "{self.folder}/access.log" }} }}
{more}"""

    def tunnels(self):
        """The access-log lines of CONNECT that have ended."""
        return [line for line in self.access_lines() if line.get("route") == "connect"]


class Tunnel:
    """A client that has asked for a tunnel: `status`, and what followed the answer in `body`."""

    def __init__(self, port, authority, context=None, token=TOKEN, first=b""):
        self.socket = socket.create_connection(("127.0.0.1", port), GUARD)
        self.source = self.socket.getsockname()
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost", suppress_ragged_eofs=False)
        credential = f"Proxy-Authorization: Bearer {token}\r\n" if token else ""
        self.socket.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{credential}\r\n".encode() + first)
        got = b""
        while b"\r\n\r\n" not in got:
            piece = self.socket.recv(4096)
            if not piece:
                raise AssertionError(f"no answer to CONNECT {authority}: {got!r}")
            got += piece
        self.head, _, self.body = got.partition(b"\r\n\r\n")
        self.status = int(self.head.split()[1])
        if self.status != 200:
            for piece in iter(functools.partial(self.socket.recv, 4096), b""):
                self.body += piece

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


class _Files(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = GUARD

    def do_GET(self):
        self.server.seen.append(dict(self.headers.items()))
        super().do_GET()

    def log_message(self, *_):
        return


class WebServer:
    """An HTTP server for the files of a folder; over TLS with a certificate for localhost if `certs` is given."""

    class _Server(http.server.ThreadingHTTPServer):
        def __init__(self, context, handler):
            self.context, self.seen = context, []
            super().__init__(("127.0.0.1", 0), handler)

        def finish_request(self, request, client_address):
            """In the connection's own thread, so that a slow handshake holds up nobody."""
            request.settimeout(GUARD)
            if not self.context:
                super().finish_request(request, client_address)
                return
            with self.context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)

        def handle_error(self, request, client_address):
            return  # a client that went away; the test sees what it got

    def __init__(self, folder, certs=None):
        context = None
        if certs:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(os.path.join(certs, "server.crt"), os.path.join(certs, "server.key"))
        self._server = self._Server(context, functools.partial(_Files, directory=folder))
        self.port = self._server.server_address[1]
        self.authority = f"localhost:{self.port}"
        self.url = f"{'https' if certs else 'http'}://{self.authority}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def seen(self):
        """The header fields of each request."""
        return self._server.seen

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(GUARD)


class ForwardTest(DaemonTest):
    """A test of the forward proxy; `ca` is that of the proxy, `origin_ca` that of TLS origins."""

    def setUp(self):
        super().setUp()
        self.ca = os.path.join(self.folder, "certs", "ca.crt")
        self.web = os.path.join(self.folder, "web")
        os.mkdir(self.web)
        with open(os.path.join(self.web, "hello.txt"), "w", encoding="ascii") as out:
            out.write("hello from the origin")

    def serve(self, folder=None, **keys):
        daemon = ForwardDaemon(folder or self.folder, **keys)
        self.addCleanup(daemon.kill)
        return daemon

    def second_folder(self, name):
        """A folder for one more daemon, with the same certificates."""
        folder = os.path.join(self.folder, name)
        os.mkdir(folder)
        os.symlink(os.path.join(self.folder, "certs"), os.path.join(folder, "certs"))
        return folder

    def origin(self, serve):
        origin = Origin(serve)
        self.addCleanup(origin.close)
        return origin

    def web_server(self, tls=True):
        certs = None
        if tls:
            certs = os.path.join(self.folder, "origin")
            if not os.path.exists(certs):
                make_certs(certs)
            self.origin_ca = os.path.join(certs, "ca.crt")
        server = WebServer(self.web, certs)
        self.addCleanup(server.close)
        return server

    def tls_context(self):
        return ssl.create_default_context(cafile=self.ca)

    def tunnel(self, daemon, authority, **more):
        tunnel = Tunnel(daemon.port, authority, **more)
        self.addCleanup(tunnel.close)
        return tunnel
