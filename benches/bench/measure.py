"""Runs one workload once and returns its figures."""

import contextlib
import json
import os
import re
import shlex
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from cgroup import Cgroup
from machine import GENERATOR_CORE, Server, kernel_bytes, pinned, user_seconds_of_all
from workloads import STORM_ROUNDS

# A rate counts as served if its p99 is below this.
HIGHEST_P99_MS = 250
SWARM_SECONDS = 30
# The memory of a control group whose CPU is measured: more than any server takes.
MEMORY_BYTES = 8 << 30


def generate(programs, server, workload, seconds, extra=()):
    """Runs the generator and returns its report. The workload's options come last, to override the defaults."""
    scheme = "wss" if workload.tls else "ws"
    command = [programs.generator, "--url", f"{scheme}://{server.address}{workload.path}", "--server-pid", str(server.pid),
               "-d", str(seconds), "-m", workload.message]
    if workload.tls:
        command += ["--ca", server.certificate]
    if workload.kind == "load" or workload.kind == "climb":
        command.append("--busy-poll")
    for frame in workload.hellos:
        command += ["--hello", frame]
    own = shlex.split(workload.load.replace('"', '\\"'))
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        before, began = user_seconds_of_all(), time.monotonic()
        outcome = subprocess.run([*command, *own, *extra, "--json", report.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 text=True, preexec_fn=pinned((GENERATOR_CORE,)))
        if outcome.returncode not in (0, 1) or not Path(report.name).stat().st_size:
            raise SystemExit(f"bench: the generator failed at {workload.name}: {outcome.stdout}")
        taken = time.monotonic() - began
        report = json.load(open(report.name))
    report["elapsed"] = taken
    report["user_of_all"] = user_seconds_of_all() - before
    return report


def faults(report):
    return sum(report["deliveries"][kind] for kind in ("lost", "duplicates", "order_violations", "misrouted", "protocol_errors"))


def figures_of_load(workload, report):
    server, window, latency = report["server"], report["window"], report["latency"]
    received = max(window["received"], 1)
    sent = max(report["load"]["sent_in_window"], 1)
    return {
        "deliveries_per_s": window["deliveries_per_s"],
        "user_us": server["cpu_user_s"] * 1e6 / received,
        "system_us": server["cpu_sys_s"] * 1e6 / received,
        "user_us_per_message": server["cpu_user_s"] * 1e6 / sent,
        "p50_ms": latency["p50_ms"], "p99_ms": latency["p99_ms"], "p999_ms": latency["p999_ms"],
        "peak_mib": server["hwm"] / 2**20,
        "faults": faults(report),
    }


def figures_of_connecting(report):
    return {
        "bytes_per_connection": report["server"]["bytes_per_idle_connection"],
        "connects_per_s": report["connect"]["per_s"],
        "us_per_accept": report["connect"]["server_cpu_us_per_connect"],
        "faults": report["connect"]["failed"] + report["deliveries"]["disconnects"],
    }


def figures_of_idling(report):
    connections, window = report["connect"]["ready"], report["window"]["seconds"]
    if window < 30:
        return {}
    per_minute = 1e6 * 60 / window / connections
    return {"user_us_per_minute": report["server"]["cpu_user_s"] * per_minute,
            "system_us_per_minute": report["server"]["cpu_sys_s"] * per_minute}


def load(programs, workload, seconds):
    with Server(programs, workload) as server:
        report = generate(programs, server, workload, seconds)
        figures = figures_of_load(workload, report)
        if workload.server == "starling" and workload.settings.get("CHAT_HISTORY") == "sqlite":
            commits = server.metric("chat_history_commit_seconds_count") or 1
            figures["commit_ms"] = (server.metric("chat_history_commit_seconds_sum") or 0) * 1e3 / commits
            figures["commit_messages"] = (server.metric("chat_history_commit_messages_sum") or 0) / commits
    return {**figures, **disturbance(report)}


def idle(programs, workload, seconds):
    with Server(programs, workload) as server:
        report = generate(programs, server, workload, seconds)
    return {**figures_of_connecting(report), **figures_of_idling(report), **disturbance(report)}


def storm(programs, workload, seconds):
    with Server(programs, workload) as server:
        report = generate(programs, server, workload, seconds)
    commands = 2 * STORM_ROUNDS + 1
    connect = report["connect"]
    return {"commands_per_s": connect["per_s"] * commands, "us_per_command": connect["server_cpu_us_per_connect"] / commands,
            "faults": connect["failed"], **disturbance(report)}


class KernelMemory(threading.Thread):
    """The largest growth of kernel memory during a `with` block."""

    def __init__(self):
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.before = kernel_bytes()
        self.grown_by = 0

    def run(self):
        while not self.ended.wait(0.5):
            self.grown_by = max(self.grown_by, kernel_bytes() - self.before)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


def reach(programs, workload, seconds):
    with Server(programs, workload) as server:
        at_start = server.resident_bytes()
        with KernelMemory() as kernel:
            report = generate(programs, server, workload, seconds)
    connect = report["connect"]
    return {
        **figures_of_load(workload, report),
        "connections": connect["ready"], "connect_s": connect["seconds"], "connects_per_s": connect["per_s"],
        "us_per_accept": connect["server_cpu_us_per_connect"],
        "server_mib": (report["server"]["rss_after_run"] - at_start) / 2**20,
        "kernel_mib": kernel.grown_by / 2**20,
        "faults": faults(report) + connect["failed"], **disturbance(report),
    }


@contextlib.contextmanager
def limited(cpus):
    """A control group with this many cores; yields how a process enters it. 0: no group."""
    if not cpus:
        yield lambda: None
        return
    group = Cgroup(cpus, MEMORY_BYTES)
    try:
        yield group.enter
    finally:
        group.remove()


def climb(programs, workload, seconds):
    """Finds the highest rate that is served. A rate has two attempts, in case the machine stalls during one."""
    best = {"rate": 0}
    for rate, options in workload.rates:
        tries = []
        for _ in range(2):
            with limited(workload.cpus) as enter, Server(programs, workload, enter) as server:
                report = generate(programs, server, workload, seconds, options.split())
            tries.append({"rate": rate, **figures_of_load(workload, report), **disturbance(report)})
            if tries[-1]["p99_ms"] < HIGHEST_P99_MS:
                break
        if tries[-1]["p99_ms"] >= HIGHEST_P99_MS:
            break
        best = tries[-1]
    return best


def swarm(programs, workload, seconds):
    """Runs the project's bots on the generator's core, and returns their latencies and the CPU time of the server and
    of the bots. Then runs the same load with the generator, for the generator's own CPU time."""
    with Server(programs, workload) as server:
        bots = {"BOT_SERVER_URL": f"ws://{server.address}/ws", "BOT_RAMP_PER_SECOND": "1000", "BOT_SECONDS": str(SWARM_SECONDS),
                **workload.bots}
        others = {name: value for name, value in os.environ.items() if not name.startswith("BOT_")}
        outcome = subprocess.run([programs.swarm], env={**others, **bots}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                 cwd=server.folder.name, preexec_fn=pinned((GENERATOR_CORE,)))
        user, system = server.cpu_seconds()
        deliveries = server.metric("chat_deliveries_total") or 1
    with Server(programs, workload) as server:
        client = generate(programs, server, workload, seconds)["client"]
    said = outcome.stdout
    swarm_us = re.search(r"CPU \((\S+) µs per delivery\)", said)
    bytes_per_bot = re.search(r"\((\d+) bytes per bot\)", said)
    quantiles = re.search(r"delivery\s+p50 (\S+ ?\S*)\s+p99 (\S+ ?\S*)\s+p99.9 (\S+ ?\S*)\s+max", said)
    if not (quantiles and swarm_us and bytes_per_bot):
        raise SystemExit(f"bench: the swarm's report has no latencies: {said}")
    p50, p99, p999 = (milliseconds(text) for text in quantiles.groups())
    # The server's CPU time includes connecting, as a part of the bots' work.
    return {"deliveries_per_s": deliveries / SWARM_SECONDS, "user_us": user * 1e6 / deliveries, "system_us": system * 1e6 / deliveries,
            "p50_ms": p50, "p99_ms": p99, "p999_ms": p999, "faults": outcome.returncode,
            "swarm_us": float(swarm_us[1]), "generator_us": client["cpu_us_per_delivery"], "bytes_per_bot": int(bytes_per_bot[1])}


def milliseconds(text):
    value, unit = re.match(r"([\d.]+) ?(\S+)", text).groups()
    return float(value) * {"µs": 1e-3, "ms": 1, "s": 1e3}[unit]


def disturbance(report):
    """User time of other processes, in cores. If it is high, other load has disturbed the run."""
    own = report["server"]["cpu_user_s"] + report["client"]["cpu_s"]
    return {"others": max(report["user_of_all"] - own, 0) / report["elapsed"]}


KINDS = {"load": load, "idle": idle, "reach": reach, "storm": storm, "climb": climb, "swarm": swarm}


def measure(programs, workload, seconds):
    return KINDS[workload.kind](programs, workload, seconds)
