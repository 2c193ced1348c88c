"""The workloads: each has a server, its settings and a load."""

from dataclasses import dataclass, field

NAMED = '{"clientId":"{id}","Message":"{payload}"}'
PRIVATE = '{"to":"{target}","Message":"{payload}"}'
# The load generator's marker takes 28 bytes of each message, so this is the smallest message.
SMALLEST = 28
STORM_ROUNDS = 25
# Seconds from the last connection until the memory of idle ones is read. The server's allocator needs some 3 until it has given
# back what it used while tables grew.
IDLE_SETTLE = 5


@dataclass(frozen=True)
class Workload:
    """One load on one server. `load` contains options of fanout-bench."""

    name: str
    what: str
    load: str
    path: str = "/ws"
    message: str = NAMED
    server: str = "starling"
    settings: dict = field(default_factory=dict)
    cores: tuple = (0,)
    # One of load, idle, reach, storm, climb and swarm. Decides which figures the workload has.
    kind: str = "load"
    hellos: tuple = ()
    # Whether --quick includes the workload.
    quick: bool = False
    # For `climb`: messages per second, and the options that make them, in the order of the attempts. They end when the p99
    # is too high.
    rates: tuple = ()
    # The limit of the server's control group, in cores; 0: it has none. Needs root.
    cpus: float = 0
    # Whether the server and the generator speak TLS.
    tls: bool = False
    # For `swarm`: settings of the project's bots that make the same load as the generator.
    bots: dict = field(default_factory=dict)


def storm_hellos():
    """The frames that each connection sends at once: it joins and leaves a shared room again and again."""
    join, leave = '{"type":"join","room":"storm"}', '{"type":"leave","room":"storm"}'
    last = '{"type":"join","room":"calm"}'
    return (*(frame for _ in range(STORM_ROUNDS) for frame in (join, leave)), last)


def all_workloads():
    work = []

    def add(name, what, load, kind="load", **kwargs):
        if kind == "idle":
            load += f" --settle {IDLE_SETTLE}"
        work.append(Workload(name, what, load, kind=kind, **kwargs))

    # The number of deliveries per second is the same for every room size.
    for members in (10, 100, 1_000, 10_000):
        add(f"room-{members}", f"{members:,} in a room, {100_000 // members:,} messages/s",
            f"-n {members} -p 10 -r {100_000 // members}", quick=members == 1_000)
    for members in (10, 100, 1_000, 10_000):
        add(f"saturated-{members}", f"{members:,} in a room, 32 messages in flight",
            f"-n {members} -p 10 --closed-loop --window 32", quick=members == 1_000)
    add("saturated-128", "1,000 in a room, 128 messages in flight", "-n 1000 -p 10 --closed-loop --window 128", quick=True)
    add("highest-rate", "1,000 in a room: the highest rate with a p99 below 250 ms", "-n 1000 -p 10", kind="climb",
        rates=tuple((rate, f"-r {rate}") for rate in (1_000, 2_000, 3_000, 4_500, 6_500, 9_500, 14_000)))

    for rate in (500, 2_000, 8_000, 20_000):
        add(f"small-rooms-{rate}", f"1,000 rooms of 4, {rate:,} messages/s",
            f"-n 4000 -p 1000 --rooms 1000 -r {rate}", path="/ws/{room}", quick=rate == 2_000)
    add("small-rooms-saturated", "1,000 rooms of 4, 1,000 messages in flight",
        "-n 4000 -p 1000 --rooms 1000 --closed-loop --window 1000", path="/ws/{room}")
    add("talk", "10 rooms of 100, everybody talks, 1,000 messages/s in all",
        "-n 1000 -p 1000 --rooms 10 -r 1000", path="/ws/{room}")
    add("private", "1,000 clients, 10,000 private messages/s",
        "-n 1000 -p 100 --private -r 10000", path="/ws?clientId={id}", message=PRIVATE)

    for size in (SMALLEST, 128, 1_024, 16_384):
        add(f"size-{size}", f"100 in a room, 100 messages/s of {size:,} bytes", f"-n 100 -p 10 -r 100 -s {size}")
    add("slow-readers", "200 in a room, 100 messages/s of 8 KiB, beside 20 that never read",
        "-n 200 -p 10 -r 100 -s 8192 --slow-readers 20 -d 25")

    for server, name in (("starling", "idle"), ("bare", "bare-idle")):
        add(name, f"10,000 idle connections for a minute: {server}", "-n 10000 -r 0 -d 60", kind="idle", server=server,
            settings={"CHAT_HEARTBEAT_SECONDS": "25"})
    add("connect-storm", "10,000 connect, 2,000 handshakes at once", "-n 10000 -r 0 -d 1 --connect-concurrency 2000", kind="idle",
        quick=True)
    add("join-storm", f"1,000 clients, each joins and leaves one room {STORM_ROUNDS} times, as fast as they can",
        "-n 1000 -r 0 -d 1 --connect-concurrency 1000 --ready-contains \"room\":\"calm\"", kind="storm",
        hellos=storm_hellos(), settings={"CHAT_ROOMS_PER_CLIENT": "64"})

    histories = {"off": {"CHAT_HISTORY": "off"}, "memory": {}, "normal": {"CHAT_HISTORY": "sqlite", "CHAT_HISTORY_SYNC": "normal"},
                 "full": {"CHAT_HISTORY": "sqlite", "CHAT_HISTORY_SYNC": "full"}}
    for mode, settings in histories.items():
        add(f"history-{mode}", f"1,000 in a room, 32 in flight, history {mode}", "-n 1000 -p 10 --closed-loop --window 32",
            settings=settings)
        add(f"history-rooms-{mode}", f"100 rooms of 10, 200 in flight, history {mode}",
            "-n 1000 -p 100 --rooms 100 --closed-loop --window 200", path="/ws/{room}", settings=settings)

    for workers in (1, 2):
        shape = {"settings": {"CHAT_WORKERS": str(workers)}, "cores": (0, 1)}
        add(f"workers-{workers}-open", f"1,000 in a room, 1,000 messages/s, {workers} worker(s), server on both cores",
            "-n 1000 -p 10 -r 1000", **shape)
        add(f"workers-{workers}-rooms", f"1,000 rooms of 4, 8,000 messages/s, {workers} worker(s), server on both cores",
            "-n 4000 -p 1000 --rooms 1000 -r 8000", path="/ws/{room}", **shape)

    for server in ("starling", "naive", "ws"):
        add(f"{server}-saturated", f"1,000 in a room, 32 messages in flight: {server}", "-n 1000 -p 10 --closed-loop --window 32",
            server=server)
        add(f"{server}-open", f"1,000 in a room, 1,000 messages/s: {server}", "-n 1000 -p 10 -r 1000", server=server)
        add(f"{server}-idle", f"10,000 idle connections: {server}", "-n 10000 -r 0 -d 2", server=server, kind="idle")

    # What the floor shows: how much of a figure the kernel and a bare loop take.
    normal = {"server": "starling", "settings": histories["normal"]}
    for name, shape in (("bare", {"server": "bare"}), ("starling", {}), ("stored", normal)):
        add(f"floor-accept-{name}", f"10,000 connect: {name}", "-n 10000 -r 0 -d 1", kind="idle", **shape)
        add(f"floor-four-{name}", f"one room of 4, 2,000 messages/s: {name}", "-n 4 -p 4 -r 2000", **shape)
        add(f"floor-pairs-{name}", f"50 rooms of 2, 50 messages/s: {name}", "-n 100 -p 100 --rooms 50 -r 50", path="/ws/{room}", **shape)
        add(f"floor-thousand-{name}", f"1,000 in a room, 100 messages/s: {name}", "-n 1000 -p 10 -r 100", **shape)
        add(f"floor-saturated-{name}", f"1,000 in a room, 32 in flight: {name}", "-n 1000 -p 10 --closed-loop --window 32", **shape)

    # Beside the workloads floor-*-starling.
    for handshake in ("full", "resumed"):
        add(f"tls-accept-{handshake}", f"10,000 connect over TLS, handshakes {handshake}",
            f"-n 10000 -r 0 -d 1 --connect-concurrency 4 --handshake {handshake}", kind="idle", tls=True)
    add("tls-four", "one room of 4, 2,000 messages/s: over TLS", "-n 4 -p 4 -r 2000", tls=True)
    add("tls-thousand", "1,000 in a room, 100 messages/s: over TLS", "-n 1000 -p 10 -r 100", tls=True)
    add("tls-saturated", "1,000 in a room, 32 in flight: over TLS", "-n 1000 -p 10 --closed-loop --window 32", tls=True)

    rooms = [(4 * rooms, f"-n {4 * rooms} -p {4 * rooms} --rooms {rooms} -r {4 * rooms}") for rooms in range(500, 2_001, 125)]
    for name, shape in (("bare", {"server": "bare"}), ("starling", {}), ("stored", normal)):
        add(f"quarter-{name}", f"a quarter of a core, rooms of 4, each client a message a second: {name}",
            "--connect-concurrency 16", path="/ws/{room}", kind="climb", rates=tuple(rooms), cpus=0.25, **shape)

    for connections in (1_000, 5_000, 10_000, 19_000):
        add(f"reach-{connections}", f"{connections:,} connected, one message a second to all",
            f"-n {connections} -p 1 -r 1 -d 30", kind="reach", settings={"CHAT_HEARTBEAT_SECONDS": "25"})

    for name, bots, rooms in (("swarm", 2_000, 20), ("swarm-room", 500, 1)):
        add(name, f"{bots:,} bots in {'a room' if rooms == 1 else f'{rooms} rooms'}, a message each every ten seconds",
            f"-n {bots} -p {bots} --rooms {rooms} -r {bots // 10}", path="/ws/{room}", kind="swarm",
            bots={"BOT_COUNT": str(bots), "BOT_ROOMS": str(rooms), "BOT_MESSAGES_PER_SECOND": "0.1"})
    return work
