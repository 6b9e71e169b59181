#!/usr/bin/env python3
"""Where the forward proxy goes and where not, with every packet watched.

Runs in a network of its own (namespaces of its own), in which this machine has all the addresses in question and a name
server: whoever is dialled answers, so a refusal that is none cannot go unseen. Needs LLMPROXY_BINARY, unshare and ip; ends
with 77 where the kernel or a container does not allow namespaces.
"""

import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading

import daemon as e2e
from forward import NARROW, TOKEN, ForwardTest, Tunnel

INSIDE = "LLMPROXY_E2E_INSIDE"
PROXY = 8888
PUBLIC = "198.41.0.4"
PRIVATE = "10.0.0.1"
MINE = ["169.254.169.254/32", "10.0.0.1/32", "100.64.0.1/32", f"{PUBLIC}/32", "fd00::1/128", "64:ff9b::7f00:1/128"]
NOTATIONS = {
    "127.0.0.1": "127.0.0.1", "[::1]": "::1", "169.254.169.254": "169.254.169.254", "10.0.0.1": "10.0.0.1",
    "100.64.0.1": "100.64.0.1", "[fd00::1]": "fd00::1", "[::ffff:127.0.0.1]": "127.0.0.1",
    "[64:ff9b::7f00:1]": "64:ff9b::7f00:1", "2130706433": "127.0.0.1", "0x7f.1": "127.0.0.1",
    "0177.0.0.1": "127.0.0.1", "127.1": "127.0.0.1", "localhost": "127.0.0.1", "localhost.": "127.0.0.1",
    "hosted.test": PRIVATE, "private.test": PRIVATE, "private6.test": "fd00::1",
}
NAMES = {"private.test": [PRIVATE], "private6.test": ["fd00::1"], "public.test": [PUBLIC],
         "mixed.test": [PRIVATE, PUBLIC, "fd00::1"]}
REBINDING = "rebinding.test"


class NameServer:
    """DNS on 127.0.0.1:53 for NAMES; REBINDING is public when first asked for and private ever after."""

    def __init__(self):
        self.asked = []  # the names of A queries
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _addresses(self, name):
        if name == REBINDING:
            return [PUBLIC] if self.asked.count(name) <= 1 else [PRIVATE]
        return NAMES.get(name, [])

    def _serve(self):
        while True:
            query, client = self._socket.recvfrom(512)
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode())
                at += 1 + query[at]
            name, kind = ".".join(labels).lower(), struct.unpack(">H", query[at + 1:at + 3])[0]
            family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
            if family == socket.AF_INET:
                self.asked.append(name)
            found = [a for a in self._addresses(name) if family and (":" in a) == (family == socket.AF_INET6)]
            known = name in NAMES or name == REBINDING
            reply = query[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, len(found), 0, 0)
            reply += query[12:at + 5]
            for address in found:
                data = socket.inet_pton(family, address)
                reply += struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(data)) + data
            self._socket.sendto(reply, client)


class SynWatch:
    """Every SYN on the loopback interface, which is all the interfaces that there are."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))  # ETH_P_ALL
        self._socket.bind(("lo", 0))
        self._socket.setblocking(False)

    def since_last(self, own):
        """Where SYNs went, as (address, port), but for those from the sockets `own`."""
        found = []
        while True:
            try:
                packet, (_, _, direction, *_) = self._socket.recvfrom(65536)
            except BlockingIOError:
                return found
            if direction != socket.PACKET_OUTGOING:
                continue  # seen when it left
            if packet[0] >> 4 == 4 and packet[9] == socket.IPPROTO_TCP:
                tcp, family, addresses = packet[(packet[0] & 15) * 4:], socket.AF_INET, packet[12:20]
            elif packet[0] >> 4 == 6 and packet[6] == socket.IPPROTO_TCP:
                tcp, family, addresses = packet[40:], socket.AF_INET6, packet[8:40]
            else:
                continue
            source, target = struct.unpack(">HH", tcp[:4])
            if tcp[13] & 0x12 != 0x02 or source in own:
                continue
            found.append((socket.inet_ntop(family, addresses[len(addresses) // 2:]), target))


class Trap:
    """Listens on every address at a port and answers as an HTTP origin does."""

    def __init__(self, port):
        self._listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(e2e.GUARD)
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ntrap")


class Destinations(ForwardTest):
    @classmethod
    def setUpClass(cls):
        cls.names = NameServer()
        cls.traps = [Trap(443), Trap(80)]
        cls.watch = SynWatch()

    def start(self, allow=("*",), private=(), **more):
        ports = f", connect_ports: [443, {PROXY}], http_ports: [80, {PROXY}]"
        daemon = self.serve(allow=allow, private=private, forward=ports, address=f"0.0.0.0:{PROXY}", **more)
        self.daemon = daemon
        self.watch.since_last([])
        return daemon

    def connect(self, authority, token=TOKEN):
        """Status and body of a CONNECT, and where the daemon sent SYNs for it."""
        with Tunnel(PROXY, authority, token=token, first=b"GET / HTTP/1.0\r\n\r\n") as tunnel:
            if tunnel.status == 200:
                while b"trap" not in tunnel.body:
                    piece = tunnel.socket.recv(4096)
                    self.assertTrue(piece, "the origin's answer")
                    tunnel.body += piece
            return tunnel.status, tunnel.body, self.watch.since_last([tunnel.source[1]])

    def fetch(self, host):
        """The same of a request for http://host/."""
        with socket.create_connection(("127.0.0.1", PROXY), e2e.GUARD) as client:
            client.sendall(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Bearer {TOKEN}\r\n"
                           "Connection: close\r\n\r\n".encode())
            got = b"".join(iter(lambda: client.recv(4096), b""))
            return int(got.split()[1]), got, self.watch.since_last([client.getsockname()[1]])

    def expect_refused(self, answer, rule):
        status, body, dialled = answer
        self.assertEqual(status, 403, body)
        self.assertIn(rule.encode(), body)
        self.assertEqual(dialled, [], "SYNs were sent")

    def test_what_is_not_public_is_refused_in_every_notation(self):
        daemon = self.start()
        for host in NOTATIONS:
            with self.subTest(host=host):
                self.expect_refused(self.connect(f"{host}:443"), "address_not_public")
                self.expect_refused(self.fetch(host), "address_not_public")
        refused = daemon.metric('llmproxy_forward_refusals_total{rule="address_not_public"}')
        self.assertEqual(refused, 2 * len(NOTATIONS))
        told = [line for line in daemon.diagnostics().splitlines() if "address_not_public" in line]
        self.assertEqual(len(told), 2 * len(NOTATIONS))

    def test_it_is_reached_once_allowed(self):
        self.start(private=["127.0.0.0/8", "::1", "169.254.169.254", "10.0.0.0/8", "100.64.0.0/10", "fd00::/8",
                            "64:ff9b::/96"])
        for host, address in NOTATIONS.items():
            with self.subTest(host=host):
                for port, (status, body, dialled) in ((443, self.connect(f"{host}:443")), (80, self.fetch(host))):
                    self.assertEqual(status, 200, body)
                    self.assertIn(b"trap", body)
                    self.assertEqual(dialled, [(address, port)])

    def test_an_allowed_range_opens_nothing_else(self):
        self.start(private=["10.0.0.0/8"])
        self.assertEqual(self.connect("10.0.0.1:443")[0], 200)
        for host in ("127.0.0.1", "localhost", "169.254.169.254", "[fd00::1]"):
            self.expect_refused(self.connect(f"{host}:443"), "address_not_public")

    def test_a_name_that_turns_private_gains_nothing(self):
        self.start()
        status, _, dialled = self.connect(f"{REBINDING}:443")
        self.assertEqual((status, dialled), (200, [(PUBLIC, 443)]))
        self.assertEqual(self.names.asked.count(REBINDING), 1, "one look-up for decision and connection")
        self.assertEqual(self.daemon.stop(), 0)
        self.start()  # knows nothing of the first look-up
        self.expect_refused(self.connect(f"{REBINDING}:443"), "address_not_public")
        self.assertEqual(self.names.asked.count(REBINDING), 2)

    def test_of_several_addresses_only_the_public_one_is_dialled(self):
        self.start()
        status, _, dialled = self.connect("mixed.test:443")
        self.assertEqual((status, dialled), (200, [(PUBLIC, 443)]))

    def test_own_listeners_are_refused_under_any_name_whatever_is_allowed(self):
        self.start(private=["0.0.0.0/0", "::/0"])
        for host in ("127.0.0.1", "127.0.0.2", "localhost", "localhost.", "0x7f.1", "[::ffff:127.0.0.1]", "0.0.0.0",
                     PRIVATE, PUBLIC, "private.test", "public.test", "hosted.test"):
            with self.subTest(host=host):
                self.expect_refused(self.connect(f"{host}:{PROXY}"), "own_listener")
                self.expect_refused(self.fetch(f"{host}:{PROXY}"), "own_listener")

    def test_what_the_lists_do_not_have_is_not_even_looked_up(self):
        self.start(allow=["public.test", "private.test"])
        before = len(self.names.asked)
        self.expect_refused(self.connect("mixed.test:443"), "destination_not_listed")
        self.expect_refused(self.connect("public.test:444"), "port_not_allowed")
        self.expect_refused(self.connect("public.test:443", NARROW), "token_not_allowed")
        for token in (None, "wrong"):
            for host in ("public.test", "private.test", "mixed.test"):
                status, body, dialled = self.connect(f"{host}:443", token)
                self.assertEqual((status, dialled), (407, []))
                self.assertNotIn(b"destination", body)
        self.assertEqual(len(self.names.asked), before)
        self.assertEqual(self.connect("public.test:443")[0], 200)


def enter():
    """Starts this program again in namespaces of its own; returns only there."""
    if os.environ.get(INSIDE):
        return
    apart = ["unshare", "--mount", "--net"] + ([] if os.geteuid() == 0 else ["--user", "--map-root-user"])
    probe = subprocess.run([*apart, "ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        print("skipped: no network namespace of its own here (needs root or unprivileged user namespaces, unshare and ip):",
              probe.stderr.strip())
        sys.exit(77)
    os.environ[INSIDE] = "1"
    os.execvp(apart[0], [*apart, sys.executable, *sys.argv])


def furnish(folder):
    """Gives the network its addresses, and the programs in it a hosts file and a name server; `folder` holds the files."""
    def do(*command):
        subprocess.run(command, check=True)
    do("ip", "link", "set", "lo", "up")
    for address in MINE:
        do("ip", "address", "add", address, "dev", "lo")
    for path, text in (("/etc/hosts", f"127.0.0.1 localhost\n{PRIVATE} hosted.test\n"),
                       ("/etc/resolv.conf", "nameserver 127.0.0.1\n"), ("/etc/nsswitch.conf", "hosts: files dns\n")):
        ours = os.path.join(folder, os.path.basename(path))
        with open(ours, "w", encoding="ascii") as out:
            out.write(text)
        do("mount", "--bind", ours, path)


if __name__ == "__main__":
    enter()
    with tempfile.TemporaryDirectory(prefix="llmproxy-e2e-") as files:
        furnish(files)
        e2e.main()
