"""A control group that limits a server to less than one core."""

import os
import time
from pathlib import Path


class Cgroup:
    """A control group with a CPU and a memory limit: version 2 if the system has it, otherwise version 1."""

    def __init__(self, cpus, memory, period_ms=100, part=""):
        """`cpus` apply per `period_ms`: a server that has used up its share waits for the next period.

        `part` distinguishes groups of one process.
        """
        self.period = period_ms * 1_000
        base = Path("/sys/fs/cgroup")
        name = f"starling-bench-{os.getpid()}{part}"
        self.v2 = "cpu" in self._controllers(base)
        if self.v2:
            (base / "cgroup.subtree_control").write_text("+cpu +memory")
            self.folders = [base / name]
        else:
            self.folders = [base / "cpu" / name, base / "memory" / name, base / "cpuacct" / name]
        for folder in self.folders:
            folder.mkdir(exist_ok=True)
        self.limit_cpus(cpus)
        self.limit_memory(memory)

    def limit_cpus(self, cpus):
        quota = int(cpus * self.period)
        if self.v2:
            (self.folders[0] / "cpu.max").write_text(f"{quota} {self.period}")
        else:
            (self.folders[0] / "cpu.cfs_period_us").write_text(str(self.period))
            (self.folders[0] / "cpu.cfs_quota_us").write_text(str(quota))

    def limit_memory(self, memory):
        name = "memory.max" if self.v2 else "memory.limit_in_bytes"
        (self.folders[0 if self.v2 else 1] / name).write_text(str(memory))

    def memory_used(self):
        """Bytes that are charged to the group."""
        name = "memory.current" if self.v2 else "memory.usage_in_bytes"
        return int((self.folders[0 if self.v2 else 1] / name).read_text())

    @staticmethod
    def _controllers(base):
        file = base / "cgroup.controllers"
        return file.read_text().split() if file.exists() else []

    def enter(self):
        """Moves the calling process into the group. Called in the child before it executes the server."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def used(self):
        """CPU seconds, number of periods, and number of throttled periods."""
        stat = dict(line.split() for line in (self.folders[0] / "cpu.stat").read_text().splitlines())
        if self.v2:
            seconds = int(stat["usage_usec"]) / 1e6
        else:
            seconds = int((self.folders[2] / "cpuacct.usage").read_text()) / 1e9
        return seconds, int(stat["nr_periods"]), int(stat["nr_throttled"])

    def remove(self):
        for folder in self.folders:
            for _ in range(50):
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.1)
