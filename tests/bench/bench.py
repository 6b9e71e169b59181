#!/usr/bin/env python3
"""Measures llm-proxy beside nginx, HAProxy, Squid and tinyproxy over a cheap fake upstream, on loopback only.

Rounds are interleaved (A B C, A B C, ...), so that a change in the machine's load meets all; the
figures are medians over the rounds. docs/performance.md tells how to read them. Nothing here has
an opinion on what is fast enough: the exit code says only whether everything could be measured.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import signal
import sys
import tempfile
import time

import peers
import report
import scenarios
import surroundings
import tunnel_peers


ALL_PEERS = (*peers.PEERS, *tunnel_peers.PEERS)
PEER_NAMES = list(dict.fromkeys(peer.name for peer in ALL_PEERS))


class Context:
    """What scenarios and peers share."""

    def __init__(self, arguments, directory):
        self.directory = directory
        self.proxy = os.path.abspath(arguments.proxy or find(arguments.build, "llm-proxy"))
        self.load_binary = os.path.abspath(find(arguments.build, "bench_load"))
        self.scale = 0.2 if arguments.quick else 1.0
        self.seconds = arguments.seconds
        self.certificates = surroundings.Certificates(directory)
        self.upstream = surroundings.Upstream(
            os.path.abspath(find(arguments.build, "bench_upstream")), directory, self.certificates)


def find(build, name):
    """A program somewhere in a build tree."""
    for place, folders, files in os.walk(build):
        folders[:] = sorted(folder for folder in folders if folder != "CMakeFiles")
        path = os.path.join(place, name)
        if name in files and os.access(path, os.X_OK):
            return path
    return os.path.join(build, name)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build/release", help="build tree with the programs")
    parser.add_argument("--proxy", help="the llm-proxy to measure; default: the build tree's")
    parser.add_argument("--rounds", type=int, help="default 5, with --quick 1")
    parser.add_argument("--quick", action="store_true", help="a fifth of the requests")
    parser.add_argument("--seconds", type=int, default=60, help="bound of each single load run")
    parser.add_argument("--only", action="append", metavar="SCENARIO",
                        choices=[scenario.name for scenario in scenarios.ALL],
                        help="may be repeated: " + " ".join(s.name for s in scenarios.ALL))
    parser.add_argument("--peers", metavar="A,B", help="default: all that are installed, of "
                        + ",".join(PEER_NAMES))
    parser.add_argument("--strace", action="store_true",
                        help="count system calls too, in a short round of its own")
    parser.add_argument("--json", metavar="FILE", help="write every sample and the medians here")
    arguments = parser.parse_args()
    if arguments.rounds is None:
        arguments.rounds = 1 if arguments.quick else 5
    return arguments


def choose_peers(arguments, context):
    wanted = {name.lower() for name in arguments.peers.split(",")} if arguments.peers else None
    known = {peer.name.lower() for peer in ALL_PEERS}
    if wanted and not wanted <= known:
        raise peers.BenchError("no such peer: " + ", ".join(sorted(wanted - known)))
    chosen = []
    for peer in ALL_PEERS:
        if wanted and peer.name.lower() not in wanted:
            continue
        reason = peer.available(context)
        if reason is None:
            chosen.append(peer)
        elif wanted:
            raise peers.BenchError(reason)
        else:
            say("left out: " + reason)
    return chosen


def say(text):
    print(text, file=sys.stderr, flush=True)


def measure_all(arguments, context, chosen, wanted):
    """Every sample: {scenario: {peer: [{metric: number}, ...]}}, and what went wrong."""
    samples, failures = {}, []

    def take(scenario, peer, action):
        started = time.monotonic()
        try:
            found = action(context, peer)
        except peers.BenchError as error:
            failures.append(f"{scenario.name}, {peer.name}: {error}")
            say("FAILED " + failures[-1])
            return
        if found:
            samples.setdefault(scenario.name, {}).setdefault(peer.name, []).append(found)
            say(f"  {scenario.name:20} {peer.name:10} {time.monotonic() - started:6.1f} s")

    def fit(scenario):
        return [peer for peer in chosen if peer in scenario.contestants and peer.can(scenario.sides)]

    for number in range(arguments.rounds):
        say(f"round {number + 1} of {arguments.rounds}")
        for scenario in wanted:
            for peer in fit(scenario):
                take(scenario, peer, scenario.measure)
    if arguments.strace:
        say("system calls")
        for scenario in wanted:
            for peer in fit(scenario):
                take(scenario, peer, scenario.count_system_calls)
    return samples, failures


def describe_machine():
    model = "unknown"
    with open("/proc/cpuinfo") as stream:
        for line in stream:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "load_average": os.getloadavg()[0],
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def run(arguments, directory):
    context = Context(arguments, directory)
    try:
        chosen = choose_peers(arguments, context)
        if arguments.strace and not shutil.which("strace"):
            raise peers.BenchError("strace is not installed")
        wanted = [scenario for scenario in scenarios.ALL
                  if not arguments.only or scenario.name in arguments.only]
        machine = describe_machine()
        samples, failures = measure_all(arguments, context, chosen, wanted)
    finally:
        context.upstream.child.stop()
    middle = report.medians(samples)
    print(f"{machine['cores']} cores, {machine['cpu']}, Linux {machine['kernel']}, "
          f"load {machine['load_average']:.1f} at the start, {arguments.rounds} rounds"
          + (" (quick)" if arguments.quick else "") + "\n")
    for family in (peers.PEERS, tunnel_peers.PEERS):
        rows = [scenario for scenario in wanted if scenario.contestants is family]
        if rows:
            print(report.table(rows, middle, [peer.name for peer in chosen if peer in family]) + "\n")
    if arguments.json:
        with open(arguments.json, "w") as stream:
            json.dump({"machine": machine, "rounds": arguments.rounds, "quick": arguments.quick,
                       "medians": middle, "samples": samples, "failures": failures},
                      stream, indent=1)
    return 1 if failures else 0


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that children are stopped
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        with tempfile.TemporaryDirectory(prefix="llm-proxy-bench-") as directory:
            # nginx's workers leave root; they need to reach their own files.
            os.chmod(directory, 0o755)
            return run(arguments, directory)
    except peers.BenchError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
