"""The daemon under test as a process of its own, with what the *_test.py files ask of it."""

import http.client
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

BINARY = os.environ.get("LLMPROXY_BINARY", "")
GUARD = 60  # seconds: only a test that hangs gets there
CHAT = '{"model":"mock-gpt","messages":[{"role":"user","content":"hi"}]}'
STREAM = '{"model":"mock-gpt","stream":true,"messages":[{"role":"user","content":"hi"}]}'


def soak_runs(otherwise):
    """How often a test repeats itself: LLMPROXY_E2E_RUNS, which `dev.sh soak` sets, or `otherwise`."""
    return int(os.environ.get("LLMPROXY_E2E_RUNS", otherwise))


def raise_own_limit(wanted):
    """Lets this program have so many descriptors, if it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def run(*args, **more):
    return subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=GUARD, **more)


def wait_until(true, what):
    until = time.monotonic() + GUARD
    while not true():
        if time.monotonic() > until:
            raise AssertionError("timeout: " + what)
        time.sleep(0.01)


def connects(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def request_bytes(body, path="/v1/chat/completions"):
    return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}").encode()


def make_certs(folder):
    """A throw-away CA and server certificate in `folder`."""
    made = run("certs", "init", folder)
    if made.returncode != 0:
        raise AssertionError(made.stderr)
    return folder


class Daemon:
    """`llm-proxy serve`: a listener for clients, TLS and plain on one port, and one for health and metrics."""

    def __init__(self, folder, limits=None, start=None, **keys):
        """`limits` runs in the process before it begins, `start` is more for subprocess.Popen (a user, for one)."""
        self.folder = folder
        self.config = os.path.join(folder, "proxy.yaml")
        self.log = os.path.join(folder, "diagnostics.log")
        self.output = os.path.join(folder, "output.txt")
        self.write(**keys)
        earlier = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen([BINARY, "serve", "--config", self.config], stdout=output,
                                            stderr=subprocess.STDOUT, preexec_fn=limits, **(start or {}))
        wait_until(lambda: self.listening(earlier), "start")

    def text(self, backends="", model="mock-gpt", mock="{}", server="", certs="certs", more="",
             ops="metrics, health", ops_more="", auth="{ mode: open }"):
        """A configuration; `server` and `more` are lines, `backends` replaces the mock provider, `ops` are the roles of
        the second listener."""
        certs = os.path.join(self.folder, certs)
        backends = backends or f'  - {{ name: mock, provider: mock, models: ["{model}*"], mock: {mock} }}\n'
        return f"""server:
  listeners:
    - name: main
      address: "127.0.0.1:0"
      serve: [gateway, health]
      tls:
        certificate: {certs}/server.crt
        key: {certs}/server.key
        allow_plain: true
    - {{ name: ops, address: "127.0.0.1:0", serve: [{ops}]{ops_more} }}
{server}backends:
{backends}auth: {auth}
logging: {{ level: info, path: "{self.log}", access_log: {{ path: "{self.folder}/access.log" }} }}
{more}"""

    def write(self, **keys):
        self.write_text(self.text(**keys))

    def write_text(self, text):
        """Puts another file in its place, whole, as careful operators do."""
        with open(self.config + ".new", "w", encoding="utf-8") as out:
            out.write(text)
        os.replace(self.config + ".new", self.config)

    def listening(self, earlier):
        """Whether the log, after what was in it earlier, names the ports that the system chose."""
        if self.process.poll() is not None:
            raise AssertionError("ended: " + self.said())
        if not os.path.exists(self.log):
            return False
        lines = self.diagnostics()[earlier:].rpartition("\n")[0].splitlines()
        ports = {line["listener"]: line["port"] for line in map(json.loads, lines)
                 if line["message"] == "listening"}
        self.port, self.ops = ports.get("main"), ports.get("ops")
        return any('"started"' in line for line in lines)

    def said(self):
        with open(self.output, encoding="utf-8", errors="replace") as text:
            return text.read()

    def diagnostics(self):
        with open(self.log, encoding="utf-8") as text:
            return text.read()

    def access_lines(self):
        with open(os.path.join(self.folder, "access.log"), encoding="utf-8") as text:
            return [json.loads(line) for line in text]

    def curl(self, path, *args, scheme="http", port=None):
        return subprocess.run(["curl", "-sS", "-m", str(GUARD), *args,
                               f"{scheme}://localhost:{port or self.port}{path}"],
                              capture_output=True, text=True, timeout=2 * GUARD, check=False)

    def status(self, path, *args, **more):
        """The status that curl sees; 000 if there was no answer."""
        return self.curl(path, "-o", os.devnull, "-w", "%{http_code}", *args, **more).stdout

    def metric(self, series):
        """Value of the series whose line begins so; 0 while there is none."""
        for line in self.curl("/metrics", "-f", port=self.ops).stdout.splitlines():
            if line.startswith(series):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory_kb(self):
        """Resident set."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as text:
            return next(int(line.split()[1]) for line in text if line.startswith("VmRSS:"))

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        return self.process.wait(GUARD)

    def stop(self):
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class DaemonTest(unittest.TestCase):
    """Gives each test a folder with certificates, and daemons that end with it."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="llmproxy-e2e-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        make_certs(os.path.join(self.folder, "certs"))

    def serve(self, **keys):
        daemon = Daemon(self.folder, **keys)
        self.addCleanup(daemon.kill)
        return daemon


class Clients:
    """Threads that ask all the time, from `with` to its end: each runs `ask` with its arguments until `_done` is set."""

    def __init__(self, ask, arguments):
        self._done = threading.Event()
        self._threads = [threading.Thread(target=ask, args=one) for one in arguments]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        for thread in self._threads:
            thread.join(GUARD)


class Origin:
    """A listener on a free port of 127.0.0.1 that hands each connection to `serve` in a thread of its own."""

    def __init__(self, serve, address="127.0.0.1", backlog=1024):
        self._serve = serve
        self._listener = socket.create_server((address, 0), backlog=backlog)
        self.port = self._listener.getsockname()[1]
        self.authority = f"{address}:{self.port}"
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(GUARD)

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        with connection:
            try:
                self._serve(connection)
            except ConnectionError:
                return  # the other side went away; the test sees what its client got


class HeldUpstream(Origin):
    """An upstream whose streams send one event and wait for `release` before the rest."""

    FIRST = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    LAST = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"b"}}]}\n\n'
    DONE = b"data: [DONE]\n\n"
    WHOLE = FIRST + LAST + DONE

    def __init__(self):
        self._released = threading.Event()
        super().__init__(self._stream)

    def backend(self):
        """The configuration's item for it, serving every model."""
        return f'  - {{ name: up, base_url: "http://127.0.0.1:{self.port}/v1", models: ["*"] }}\n'

    def release(self):
        self._released.set()

    def close(self):
        self.release()
        super().close()

    def _stream(self, connection):
        def chunk(data):
            connection.sendall(b"%x\r\n%s\r\n" % (len(data), data))
        with connection.makefile("rb") as lines:
            while self._read_request(lines):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                   b"Transfer-Encoding: chunked\r\n\r\n")
                chunk(self.FIRST)
                self._released.wait(GUARD)
                chunk(self.LAST)
                chunk(self.DONE)
                connection.sendall(b"0\r\n\r\n")

    @staticmethod
    def _read_request(lines):
        length, line = 0, lines.readline()
        while line.strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            line = lines.readline()
        return line and len(lines.read(length)) == length


class OpenStream:
    """A stream on a raw socket, so that a clean end and a cut are told apart."""

    def __init__(self, port, model="mock-gpt"):
        self.socket = socket.create_connection(("127.0.0.1", port), GUARD)
        self.socket.sendall(request_bytes(STREAM.replace("mock-gpt", model)))
        self.response = http.client.HTTPResponse(self.socket, method="POST")

    def begin(self):
        """Reads the head and the first event; the status."""
        self.response.begin()
        self.text = self.response.read1(len(HeldUpstream.FIRST))
        return self.response.status

    def finish(self):
        """Reads to the last chunk; raises if that never comes."""
        self.text += self.response.read()
        return self.text

    def close(self):
        self.response.close()
        self.socket.close()


def main():
    if not BINARY or not shutil.which("curl"):
        sys.exit("needs LLMPROXY_BINARY (path of llm-proxy) and curl")
    unittest.main(module="__main__", verbosity=2)
