"""Tables of figures, and the changes against another run."""

import statistics

# A column is (title, figure, decimals).
LOAD = (("deliveries/s", "deliveries_per_s", 0), ("user µs/delivery", "user_us", 3), ("system µs/delivery", "system_us", 3),
        ("user µs/message", "user_us_per_message", 1), ("p50 ms", "p50_ms", 1), ("p99 ms", "p99_ms", 1), ("p99.9 ms", "p999_ms", 1),
        ("MiB", "peak_mib", 1))
IDLE = (("bytes/connection", "bytes_per_connection", 0), ("connects/s", "connects_per_s", 0), ("CPU µs/accept", "us_per_accept", 1),
        ("user µs/connection and minute", "user_us_per_minute", 1), ("system µs/connection and minute", "system_us_per_minute", 1))
TABLES = {
    "load": ("Under load", LOAD),
    "climb": ("The highest rate", (("messages/s", "rate", 0), *LOAD)),
    "swarm": ("The swarm", (*LOAD, ("bots' CPU µs/delivery", "swarm_us", 2), ("generator's", "generator_us", 2),
                           ("bytes/bot", "bytes_per_bot", 0))),
    "idle": ("Idle", IDLE),
    "storm": ("Joining and leaving", (("commands/s", "commands_per_s", 0), ("CPU µs/command", "us_per_command", 1))),
    "reach": ("The most connections", (("connect s", "connect_s", 2), ("connects/s", "connects_per_s", 0), ("CPU µs/accept", "us_per_accept", 1),
              ("server MiB", "server_mib", 1), ("kernel MiB, both ends", "kernel_mib", 1), ("p50 ms", "p50_ms", 1), ("p99 ms", "p99_ms", 1))),
}
STORED = (("mean commit ms", "commit_ms", 2), ("messages in it", "commit_messages", 1))
# The limits for the project's bots: CPU per delivery as a multiple of the generator's, and bytes per bot.
SWARM_CPU_MOST = 2
BOT_BYTES_MOST = 12_000
# Above this many cores of other load, a row has a note.
ALONE = 0.1
# A smaller relative difference counts as noise.
SAME = 0.05
HIGHER_IS_BETTER = {"deliveries_per_s", "connects_per_s", "commands_per_s", "rate"}


def median(runs, figure):
    values = [run[figure] for run in runs if figure in run]
    return statistics.median(values) if values else None


def table(head, rows):
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    line = lambda row: "| " + " | ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))) + " |"
    rule = "|" + "|".join("-" * (w + 1) + ("-" if i == 0 else ":") for i, w in enumerate(widths)) + "|"
    return "\n".join((line(head), rule, *map(line, rows)))


def show(workloads, results):
    """The tables of a run, in Markdown."""
    parts = []
    for kind, (title, columns) in TABLES.items():
        measured = [work for work in workloads if work.kind == kind and results.get(work.name)]
        for stored in (False, True):
            chosen = [work for work in measured if any("commit_ms" in run for run in results[work.name]) == stored]
            if not chosen:
                continue
            shown = columns + STORED if stored else columns
            rows = []
            for work in chosen:
                runs = results[work.name]
                cells = [median(runs, figure) for _, figure, _ in shown]
                numbers = ["" if value is None else f"{value:,.{decimals}f}" for value, (_, _, decimals) in zip(cells, shown)]
                notes = []
                if wrong := max(run.get("faults", 0) for run in runs):
                    notes.append(f"{wrong:,.0f} lost, doubled, misplaced or refused")
                if (others := median(runs, "others") or 0) > ALONE:
                    notes.append(f"others used {others:.1f} cores")
                rows.append([work.what, *numbers, "; ".join(notes)])
            parts.append(f"### {title}{' with a stored history' if stored else ''}\n\n" + table(["", *(name for name, _, _ in shown), "problems"], rows))
    return "\n\n".join(parts)


def ratios(results):
    """The ratios of the speed goals, as far as their workloads were run."""
    lines = []

    def compare(title, above, below, figure):
        if results.get(above) and results.get(below):
            a, b = median(results[above], figure), median(results[below], figure)
            if a is not None and b:
                lines.append(f"- {title}: {a / b:.2f}")

    for other, name in (("naive", "the naive actix chat"), ("ws", "Node's ws")):
        compare(f"deliveries/s at saturation against {name}", "starling-saturated", f"{other}-saturated", "deliveries_per_s")
        compare(f"p99 at 1,000 messages/s against {name}", "starling-open", f"{other}-open", "p99_ms")
        compare(f"memory per connection against {name}", "starling-idle", f"{other}-idle", "bytes_per_connection")
    for part in ("user", "system"):
        compare(f"{part} CPU of heartbeats against a bare loop", "idle", "bare-idle", f"{part}_us_per_minute")
    for name in (name for name, runs in results.items() if any("swarm_us" in run for run in runs)):
        ratio, size = (median(results[name], figure) for figure in ("swarm_us", "bytes_per_bot"))
        ratio /= median(results[name], "generator_us")
        kept = "kept" if ratio <= SWARM_CPU_MOST and size <= BOT_BYTES_MOST else "NOT KEPT"
        lines.append(f"- {name}: bots' CPU per delivery against the generator's: {ratio:.2f} (at most {SWARM_CPU_MOST}), "
                     f"{size:,.0f} bytes a bot (at most {BOT_BYTES_MOST:,}): {kept}")
    compare("user CPU per delivery, a room of 10,000 against one of 100", "room-10000", "room-100", "user_us")
    compare("saturated, history `normal` against memory", "history-normal", "history-memory", "deliveries_per_s")
    return "\n".join(lines)


def slopes(results):
    """The cost of one more connection, by least squares over all sizes."""
    points = [run for name, runs in results.items() if name.startswith("reach-") for run in runs]
    if len({point["connections"] for point in points}) < 2:
        return ""
    x = [point["connections"] for point in points]
    slope = lambda figure: statistics.linear_regression(x, [point[figure] for point in points]).slope
    return (f"One more connection costs: {slope('server_mib') * 2**20:,.0f} bytes of the server, {slope('kernel_mib') * 2**20:,.0f} bytes of the kernel "
            f"for both ends, {slope('connect_s') * 1e6:,.0f} µs to connect, {slope('p99_ms') * 1e3:,.2f} µs of p99.")


def changes(before, now):
    """The differences between two runs that exceed the spread of both runs and 5 %."""
    lines = []
    for name, runs in now.items():
        for figure in sorted({figure for run in runs for figure in run} - {"others", "faults", "connections"}):
            old, new = ([run[figure] for run in side if figure in run] for side in (before.get(name, []), runs))
            if not old or not new:
                continue
            a, b = statistics.median(old), statistics.median(new)
            overlaps = min(new) <= max(old) and min(old) <= max(new)
            if overlaps or a == 0 or abs(b - a) <= SAME * a:
                continue
            better = (b > a) == (figure in HIGHER_IS_BETTER)
            lines.append(f"{'better' if better else 'WORSE '}  {name:24} {figure:24} {a:,.3f} -> {b:,.3f} ({(b - a) / a:+.0%})")
        wrong = max(run.get("faults", 0) for run in runs)
        if wrong > max((run.get("faults", 0) for run in before.get(name, [{}])), default=0):
            lines.append(f"WORSE   {name:24} {'faults':24} {wrong:,.0f}")
    return "\n".join(lines) or "no change beyond the noise"
