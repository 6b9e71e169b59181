"""What the kernel knows about a process and its descendants: CPU time, memory, system calls."""

import os
import re
import signal
import subprocess
import time


def family(pid):
    """`pid` and all its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as stream:
                # The name may hold anything; the fields begin behind its last parenthesis.
                parent = int(stream.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry))
    found = [pid]
    for member in found:
        found.extend(children.get(member, []))
    return found


def cpu_ns(pids, ends_threads=False):
    """CPU time of all threads, from the scheduler's nanosecond counters where there are any.

    Falls back to the 10 ms ticks of /proc/PID/stat. Threads that have ended are counted by the
    ticks only, so a program that starts and ends threads under load needs the fallback.
    """
    if ends_threads:
        return sum(map(_ticks_ns, pids))
    total = 0
    for pid in pids:
        exact = 0
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as stream:
                    exact += int(stream.read().split()[0])
        except OSError:
            exact = 0
        total += exact or _ticks_ns(pid)
    return total


def _ticks_ns(pid):
    try:
        with open(f"/proc/{pid}/stat") as stream:
            fields = stream.read().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def memory_kb(pids, member):
    """Sum of one member (Pss, Rss, ...) of /proc/PID/smaps_rollup."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as stream:
            total += int(re.search(rf"^{member}:\s+(\d+) kB", stream.read(), re.M).group(1))
    return total


class SystemCallCount:
    """Counts the system calls of running processes with strace, which slows them."""

    def __init__(self, pids, directory):
        self._output = os.path.join(directory, "strace.txt")
        command = ["strace", "-c", "-f", "-o", self._output]
        for pid in pids:
            command += ["-p", str(pid)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        tasks = [(pid, task) for pid in pids for task in os.listdir(f"/proc/{pid}/task")]
        until = time.monotonic() + 10
        while time.monotonic() < until and not all(_is_traced(*task) for task in tasks):
            time.sleep(0.01)

    def stop(self):
        """The number of calls, or None if strace could not count."""
        self._process.send_signal(signal.SIGINT)
        self._process.communicate()
        try:
            with open(self._output) as stream:
                match = re.search(r"^100\.00\s+\S+\s+\S+\s+(\d+)", stream.read(), re.M)
        except OSError:
            return None
        return int(match.group(1)) if match else None


def _is_traced(pid, task):
    try:
        with open(f"/proc/{pid}/task/{task}/status") as stream:
            return re.search(r"^TracerPid:\s+0$", stream.read(), re.M) is None
    except OSError:
        return True
