"""What the programs measured stand between and are made of: processes, certificates, the fake upstream."""

import http.client
import json
import os
import socket
import subprocess


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
