"""Medians, ratios and the Markdown table."""

import statistics

UNITS = {
    "cpu_us": "CPU, us/request",
    "calls": "system calls/request",
    "rps": "requests/s",
    "p50_us": "p50, us",
    "p99_us": "p99, us",
    "reuse_percent": "upstream connections reused, %",
    "cpu_ms_per_gb": "CPU, ms/GB",
    "cpu_us_per_piece": "CPU, us/piece",
    "calls_per_piece": "system calls/piece",
    "delay_p50_us": "delay p50, us",
    "delay_p99_us": "delay p99, us",
    "commit_us": "a commit takes, us",
    "rows_per_commit": "requests per commit",
    "stream_kb": "Pss, KB/stream",
    "start_ms": "to the first answer, ms",
    "idle_rss_mib": "idle Rss, MiB",
    "idle_pss_mib": "idle Pss, MiB",
}
SUBJECT = "llm-proxy"
AGAINST = ("nginx", "HAProxy", "Squid")


def medians(samples):
    """{scenario: {peer: [{metric: number}, ...]}} to {scenario: {peer: {metric: median}}}."""
    result = {}
    for scenario, by_peer in samples.items():
        for peer, rounds in by_peer.items():
            names = {name for found in rounds for name in found}
            result.setdefault(scenario, {})[peer] = {
                name: statistics.median(found[name] for found in rounds if name in found)
                for name in sorted(names)
            }
    return result


def _number(value):
    if value is None:
        return ""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 200 else f"{value:.1f}"


def table(scenarios, middle, peer_names):
    """The Markdown table: a line per scenario and metric, ratios in the last columns."""
    ratios = [name for name in AGAINST if SUBJECT in peer_names and name in peer_names]
    heads = ["scenario", "sides", "metric", *peer_names, *(f"/ {name}" for name in ratios)]
    lines = ["| " + " | ".join(heads) + " |",
             "|---|---|---|" + "---:|" * (len(heads) - 3)]
    for scenario in scenarios:
        found = middle.get(scenario.name, {})
        for metric in scenario.metrics:
            values = {name: found.get(name, {}).get(metric) for name in peer_names}
            if all(value is None for value in values.values()):
                continue
            cells = [scenario.title, scenario.sides.name, UNITS[metric]]
            cells += [_number(values[name]) for name in peer_names]
            for name in ratios:
                mine, theirs = values[SUBJECT], values[name]
                cells.append(f"{mine / theirs:.2f}" if mine is not None and theirs else "")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
