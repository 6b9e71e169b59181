#!/usr/bin/env python3
"""SIGTERM with many streams under way, as an operator's supervisor sends it."""

import http.client
import signal

from daemon import DaemonTest, HeldUpstream, OpenStream, connects, main, soak_runs, wait_until

STREAMS = 100


class Drain(DaemonTest):
    def start(self, drain_timeout):
        upstream = HeldUpstream()
        self.addCleanup(upstream.close)
        daemon = self.serve(backends=upstream.backend(), server=f"  drain_timeout: {drain_timeout}\n")
        streams = [OpenStream(daemon.port) for _ in range(STREAMS)]
        for stream in streams:
            self.addCleanup(stream.close)
        for stream in streams:
            self.assertEqual(stream.begin(), 200)
        return upstream, daemon, streams

    def draining(self, daemon):
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: not connects(daemon.port), "new connections refused")
        self.assertEqual(daemon.status("/readyz", port=daemon.ops), "503")
        self.assertEqual(daemon.status("/livez", port=daemon.ops), "200")

    def expect_all_cut(self, streams):
        for stream in streams:
            with self.assertRaises((http.client.IncompleteRead, ConnectionError)):
                stream.finish()
            self.assertNotIn(b"[DONE]", stream.text)

    def test_open_streams_finish_and_the_exit_code_is_0(self):
        for each in range(soak_runs(2)):
            with self.subTest(run=each):
                upstream, daemon, streams = self.start("60s")
                self.draining(daemon)
                upstream.release()
                for stream in streams:
                    self.assertEqual(stream.finish(), HeldUpstream.WHOLE)
                self.assertEqual(daemon.wait(), 0, daemon.said())
                outcomes = [line["outcome"] for line in daemon.access_lines() if line.get("stream")]
                self.assertEqual(outcomes, ["ok"] * STREAMS * (each + 1))

    def test_past_the_drain_time_streams_are_cut_and_the_exit_code_is_3(self):
        _, daemon, streams = self.start("300ms")
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 3, daemon.said())
        self.expect_all_cut(streams)

    def test_a_second_sigterm_ends_it_at_once_with_3(self):
        _, daemon, streams = self.start("1h")
        self.draining(daemon)
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 3, daemon.said())
        self.expect_all_cut(streams)


if __name__ == "__main__":
    main()
