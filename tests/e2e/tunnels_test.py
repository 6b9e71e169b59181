#!/usr/bin/env python3
"""Much data and many tunnels through the real binary. Needs LLMPROXY_BINARY; LLMPROXY_E2E_RUNS (dev.sh soak) makes it bigger."""

import hashlib
import os
import selectors
import shutil
import socket
import struct
import threading

import daemon as e2e
from daemon import GUARD, raise_own_limit, soak_runs, wait_until
from forward import ForwardTest, Tunnel, give_to_nobody, nobody

MIB = 1 << 20
SOAK = soak_runs(1) > 1
PLAIN_BYTES = (1024 if SOAK else 192) * MIB
TLS_BYTES = (256 if SOAK else 32) * MIB
CROWD = 1000
BLOCK = 64 * 1024


class Stretch:
    """Bytes that never repeat in step with a pipe or a buffer, the same for the same seed, and their checksum."""

    def __init__(self, seed, size):
        self._block = hashlib.shake_128(seed).digest(BLOCK + 4099)
        self.size = size

    def blocks(self):
        for at in range(0, self.size, len(self._block)):
            yield self._block[:self.size - at]

    def digest(self):
        return checksum(self.blocks())


def checksum(blocks):
    digest = hashlib.blake2b()
    for block in blocks:
        digest.update(block)
    return digest.digest()


def received(connection, size=None):
    """The blocks that come until the other side ends, or until they are `size` bytes."""
    left = size
    while left != 0:
        block = connection.recv(BLOCK)
        if not block:
            return
        left = None if left is None else left - len(block)
        yield block


UP, DOWN = b"to the origin", b"to the client"


class Bulk(ForwardTest):
    def take(self, connection):
        """An origin that reads what it should get, then says what it was."""
        connection.sendall(checksum(received(connection, self.size)))

    def give(self, connection):
        for block in Stretch(DOWN, self.size).blocks():
            connection.sendall(block)

    def exchange(self, connection):
        """Both at once."""
        sender = threading.Thread(target=self.give, args=(connection,))
        sender.start()
        digest = checksum(received(connection, self.size))
        sender.join()
        connection.sendall(digest)

    def open(self, serve, size, context):
        self.size = size
        origin = self.origin(serve)
        self.daemon = self.serve(allow=[origin.authority])
        tunnel = self.tunnel(self.daemon, origin.authority, context=context)
        self.assertEqual(tunnel.status, 200)
        return tunnel

    def send_all(self, tunnel):
        for block in Stretch(UP, self.size).blocks():
            tunnel.socket.sendall(block)

    def received_all(self, tunnel):
        yield tunnel.body
        yield from received(tunnel.socket)

    def expect_line(self, bytes_in, bytes_out):
        wait_until(self.daemon.tunnels, "the tunnel's line")
        line = self.daemon.tunnels()[-1]
        self.assertEqual((line["bytes_in"], line["bytes_out"], line["outcome"], line["tunnel"]),
                         (bytes_in, bytes_out, "ok", "upstream_closed"), line)
        self.assertEqual(self.daemon.stop(), 0, self.daemon.said())
        os.remove(os.path.join(self.folder, "access.log"))

    def each_way(self, size, context):
        tunnel = self.open(self.take, size, context)
        self.send_all(tunnel)
        self.assertEqual(b"".join(self.received_all(tunnel)), Stretch(UP, size).digest())
        tunnel.close()
        self.expect_line(size, 64)
        tunnel = self.open(self.give, size, context)
        self.assertEqual(checksum(self.received_all(tunnel)), Stretch(DOWN, size).digest())
        tunnel.close()
        self.expect_line(0, size)

    def test_plain_each_way(self):
        self.each_way(PLAIN_BYTES, None)

    def test_tls_to_the_proxy_each_way(self):
        self.each_way(TLS_BYTES, self.tls_context())

    def test_both_ways_at_once(self):
        tunnel = self.open(self.exchange, PLAIN_BYTES, None)
        sender = threading.Thread(target=self.send_all, args=(tunnel,))
        sender.start()
        digest = hashlib.blake2b()
        size, tail = 0, b""
        for block in self.received_all(tunnel):
            tail += block
            size += len(block)
            digest.update(tail[:-64])
            tail = tail[-64:]
        sender.join()
        tunnel.close()
        self.assertEqual(size, PLAIN_BYTES + 64)
        self.assertEqual(digest.digest(), Stretch(DOWN, PLAIN_BYTES).digest())
        self.assertEqual(tail, Stretch(UP, PLAIN_BYTES).digest())
        self.expect_line(PLAIN_BYTES, PLAIN_BYTES + 64)


class Crowd(ForwardTest):
    def test_many_tunnels_at_once_and_descriptors_back(self):
        """The second crowd finds what the first has left behind."""
        raise_own_limit(6 * CROWD)
        origin = EchoOrigin()
        self.addCleanup(origin.close)
        daemon = self.serve(allow=[origin.authority])
        with self.tunnel(daemon, origin.authority, first=b"x") as first:
            self.assertEqual(first.status, 200)
            # Closing with the echo unread would be a reset, not an end.
            self.assertEqual(first.body or first.socket.recv(1), b"x")
        wait_until(lambda: daemon.metric("llmproxy_tunnels_active") == 0, "the first has ended")
        before = daemon.descriptors()
        for each in range(2):
            tunnels = [Tunnel(daemon.port, origin.authority) for _ in range(CROWD)]
            self.assertEqual({tunnel.status for tunnel in tunnels}, {200})
            self.assertEqual(daemon.metric("llmproxy_tunnels_active"), CROWD)
            for number, tunnel in enumerate(tunnels):
                tunnel.socket.sendall(b"%06d" % number)
            for number, tunnel in enumerate(tunnels):
                got = b""
                while len(got) < 6:
                    piece = tunnel.socket.recv(6)
                    self.assertTrue(piece, f"tunnel {number} of crowd {each} ended")
                    got += piece
                self.assertEqual(got, b"%06d" % number)
            for number, tunnel in enumerate(tunnels):
                if number % 3 == 0:
                    reset(tunnel.socket)
                tunnel.close()
            wait_until(lambda: daemon.metric("llmproxy_tunnels_active") == 0, "all have ended")
            wait_until(lambda: daemon.descriptors() <= before, "descriptors back")
        self.assertEqual(daemon.stop(), 0, daemon.said())
        ends = [line["tunnel"] for line in daemon.tunnels()]
        self.assertEqual(len(ends), 2 * CROWD + 1)
        self.assertEqual(ends.count("client_reset"), 2 * ((CROWD + 2) // 3))
        self.assertEqual(ends.count("client_closed"), len(ends) - ends.count("client_reset"))


class Unprivileged(ForwardTest):
    """Pipes are a resource of the user's: past 256 big ones the system gives no more, which root does not see."""

    TUNNELS = 400
    EACH = (8 if SOAK else 1) * MIB

    def test_400_tunnels_that_move_data_at_once(self):
        raise_own_limit(6 * self.TUNNELS)
        origin = EchoOrigin()
        self.addCleanup(origin.close)
        os.chmod(self.folder, 0o755)
        program = shutil.copy(e2e.BINARY, self.folder)  # nobody might not reach it where it is
        give_to_nobody(self.folder)
        daemon = self.serve(allow=[origin.authority], start=nobody() | {"executable": program})
        with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as status:
            uid = next(line.split()[1] for line in status if line.startswith("Uid:"))
        self.assertNotEqual(uid, "0")
        stretch = Stretch(UP, self.EACH)
        data = b"".join(stretch.blocks())
        tunnels = [Tunnel(daemon.port, origin.authority) for _ in range(self.TUNNELS)]
        self.assertEqual({tunnel.status for tunnel in tunnels}, {200})
        echoed = everything_echoed([tunnel.socket for tunnel in tunnels], data)
        self.assertEqual(echoed, {stretch.digest()})
        for tunnel in tunnels:
            tunnel.close()
        wait_until(lambda: daemon.metric("llmproxy_tunnels_active") == 0, "all have ended")
        self.assertEqual(daemon.stop(), 0, daemon.said())
        moved = {(line["bytes_in"], line["bytes_out"], line["tunnel"]) for line in daemon.tunnels()}
        self.assertEqual(moved, {(self.EACH, self.EACH, "client_closed")})


class EchoOrigin:
    """Sends back what it gets, all connections in one thread, and never more than it could send."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self.authority = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self._held = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._stop, self._stopped = socket.socketpair()
        self._selector.register(self._stopped, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self):
        self._stop.close()
        self._thread.join(GUARD)
        for one in [*self._held, self._listener, self._stopped]:
            one.close()
        self._selector.close()

    def _run(self):
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stopped:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._serve(key.fileobj)

    def _accept(self):
        try:
            one, _ = self._listener.accept()
        except BlockingIOError:
            return
        one.setblocking(False)
        self._held[one] = b""
        self._selector.register(one, selectors.EVENT_READ)

    def _serve(self, one):
        try:
            if not self._held[one]:
                self._held[one] = one.recv(BLOCK)
                if not self._held[one]:
                    self._forget(one)
                    return
            sent = one.send(self._held[one])
            self._held[one] = self._held[one][sent:]
        except BlockingIOError:
            pass  # no room for more just now
        except ConnectionError:
            self._forget(one)
            return
        self._selector.modify(one, selectors.EVENT_WRITE if self._held[one] else selectors.EVENT_READ)

    def _forget(self, one):
        self._selector.unregister(one)
        del self._held[one]
        one.close()


def reset(connection):
    """The close that follows is an RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def everything_echoed(connections, data):
    """Sends `data` on all connections at once and takes it back; the checksums of what came, and no more than once each."""
    view, sent = memoryview(data), dict.fromkeys(connections, 0)
    got = {one: hashlib.blake2b() for one in connections}
    left = dict.fromkeys(connections, len(data))
    with selectors.DefaultSelector() as selector:
        for one in connections:
            one.setblocking(False)
            selector.register(one, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while selector.get_map():
            for key, events in selector.select(GUARD) or [(None, 0)]:
                if key is None:
                    raise AssertionError(f"nothing moves any more; {sum(left.values())} bytes are missing")
                one = key.fileobj
                if events & selectors.EVENT_WRITE:
                    sent[one] += one.send(view[sent[one]:sent[one] + BLOCK])
                    if sent[one] == len(data):
                        selector.modify(one, selectors.EVENT_READ)
                if events & selectors.EVENT_READ:
                    block = one.recv(BLOCK)
                    got[one].update(block)
                    left[one] -= len(block)
                    if not block or left[one] <= 0:
                        selector.unregister(one)
    return {digest.digest() for digest in got.values()}


if __name__ == "__main__":
    e2e.main()
