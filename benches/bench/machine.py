"""Starts servers and the load generator, each on its own core, and reads their figures from the kernel."""

import json
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATOR_CORE = 1
TICKS = os.sysconf("SC_CLK_TCK")
WS_VERSION = "8.18.3"


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def pinned(cores):
    return lambda: os.sched_setaffinity(0, cores)


class Programs:
    """Builds the measured servers and the load generator."""

    def __init__(self, servers):
        metadata = json.loads(run("cargo", "metadata", "--format-version", "1", "--no-deps", cwd=ROOT))
        target = Path(metadata["target_directory"])
        run("cargo", "build", "--locked", "--release", "--workspace", "--bins", cwd=ROOT)
        self.generator = target / "release/fanout-bench"
        self.server = {"starling": [target / "release/starling"]}
        self.swarm = target / "release/bot-swarm"
        self.results = target / "bench"
        self.results.mkdir(exist_ok=True)
        for server, example in (("naive", "naive_chat"), ("bare", "bare")):
            if server in servers:
                run("cargo", "build", "--locked", "--release", "--example", example, cwd=ROOT)
                self.server[server] = [target / "release/examples" / example]
        if "ws" in servers:
            # Outside the source tree: Node resolves `ws` from its working directory.
            self.node = self.results / "node"
            self.node.mkdir(exist_ok=True)
            run("npm", "install", "--prefix", self.node, "--no-save", "--no-audit", "--no-fund", "--ignore-scripts",
                "--loglevel=error", f"ws@{WS_VERSION}")
            self.server["ws"] = ["node", ROOT / "benches/baselines/ws_broadcast.mjs"]


def certificate(folder):
    """Makes a certificate for 127.0.0.1 with the program openssl; returns its file and that of its key."""
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=bench",
        "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", cert,
        stderr=subprocess.DEVNULL)
    return cert, key


class Server:
    """A fresh server in its own folder; the `with` block stops it. The child calls `enter` before it starts."""

    def __init__(self, programs, workload, enter=lambda: None):
        pin = pinned(workload.cores)
        self.folder = tempfile.TemporaryDirectory()
        log = Path(self.folder.name) / "log"
        settings = {"CHAT_BIND": "127.0.0.1:0", "CHAT_WORKERS": "1", "CHAT_MESSAGES_PER_SECOND": "0", "CHAT_HISTORY": "memory",
                    **workload.settings}
        if workload.tls:
            self.certificate, key = certificate(Path(self.folder.name))
            settings.update(CHAT_TLS_CERT=self.certificate, CHAT_TLS_KEY=key)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CHAT_")}
        directory = programs.node if workload.server == "ws" else self.folder.name
        with open(log, "wb") as stream:
            self.process = subprocess.Popen(programs.server[workload.server], env={**environment, **settings}, cwd=directory,
                                            stderr=stream, stdout=stream, preexec_fn=lambda: (pin(), enter()))
        deadline = time.monotonic() + 20
        while not (found := re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"bench: {workload.server} does not start: {log.read_text()}")
            time.sleep(0.02)
        self.address = found[1]
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()

    def cpu_seconds(self):
        """User and system CPU seconds since the start."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) / TICKS, int(fields[12]) / TICKS

    def resident_bytes(self):
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def metric(self, name):
        """A metric of Starling, summed over its labels; `None` if the server does not have it."""
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        values = [float(line.rsplit(" ", 1)[1]) for line in lines if re.match(re.escape(name) + r"[ {]", line)]
        return sum(values) if values else None


def kernel_bytes():
    """Kernel memory that grows with connections: slabs and socket buffers."""
    meminfo = dict(re.findall(r"(\w+):\s+(\d+) kB", Path("/proc/meminfo").read_text()))
    pages = int(re.search(r"TCP:.* mem (\d+)", Path("/proc/net/sockstat").read_text())[1])
    return int(meminfo["Slab"]) * 1024 + pages * os.sysconf("SC_PAGE_SIZE")


def user_seconds_of_all():
    """User CPU seconds of all processes on this machine."""
    user, nice = Path("/proc/stat").read_text().splitlines()[0].split()[1:3]
    return (int(user) + int(nice)) / TICKS


def describe():
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    dirty = "+" if run("git", "status", "--porcelain", "--untracked-files=no", cwd=ROOT) else ""
    return {
        "commit": run("git", "rev-parse", "--short", "HEAD", cwd=ROOT).strip() + dirty,
        "machine": f"{os.cpu_count()} cores, {model[1] if model else '?'}, Linux {os.uname().release}",
        "time": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
    }
