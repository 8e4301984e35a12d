"""Networks of namespaces, and the programs in them, for the demo and the system tests.

    x1 10.0.0.11 --+                                                   +-- y 198.51.100.2
                   +-- lan -- 10.0.0.1 n 203.0.113.2 -- .254 r .254 ---+     198.51.100.3
    x2 10.0.0.12 --+              (gateway)

The gateway leases out 203.0.113.1, which no kernel in the picture owns.  Nothing touches the
machine's own interfaces, and what is made carries the maker's process ID in its name.

One process can have sockets in every namespace: see Net.inside().
"""
import contextlib
import ctypes
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("RSIP_BUILD", ROOT / "build"))

NA, X1, X2 = "10.0.0.1", "10.0.0.11", "10.0.0.12"
NB, N_OWN, R_PUBLIC = "203.0.113.1", "203.0.113.2", "203.0.113.254"
Y, Y2, R_PEER = "198.51.100.2", "198.51.100.3", "198.51.100.254"
HOSTS = {"x1": X1, "x2": X2}

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """Something did not come about; the text says what, and what was seen instead."""


def wait_for(condition, what, seconds=10.0):
    """The first true value of condition(), which is asked until time is up."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.02)


def why_not():
    """None, or the reason why there can be no namespaces here."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "sysctl"):
        if not shutil.which(tool):
            return f"no {tool}: run make deps"
    name = f"rsip{os.getpid()}-probe"
    p = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if p.returncode:
        return f"no network namespaces here: {p.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return None


def one_user():
    """In a user namespace (see alone) that knows one user only?"""
    return pathlib.Path("/proc/self/uid_map").read_text().split()[2] == "1"


class Net:
    """Namespaces, the processes in them and a folder for their files; close() ends all."""

    def __init__(self, folder=None, tag=""):
        self.prefix = f"rsip{os.getpid()}{tag}-"
        self.dir = pathlib.Path(folder or tempfile.mkdtemp(prefix="rsip-"))
        self.names, self.processes = [], []

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close(keep_files=kind is not None and bool(os.environ.get("RSIP_KEEP_LOGS")))

    def ns(self, name):
        return self.prefix + name

    def add(self, *names):
        self.batch(None, *[f"netns add {self.ns(n)}" for n in names])
        self.names += names
        for n in names:
            self.batch(n, "link set lo up")

    def batch(self, name, *lines):
        """Lines for ip(8); @NAME in them stands for the full name of a namespace."""
        where = ["-n", self.ns(name)] if name else []
        text = "\n".join(" ".join(self.ns(w[1:]) if w.startswith("@") else w
            for w in line.split()) for line in lines) + "\n"
        p = subprocess.run(["ip", *where, "-batch", "-"], input=text, text=True,
            capture_output=True)
        if p.returncode:
            raise Failed(f"ip in {name}: {p.stderr.strip()}; of\n{text}")

    def link(self, a, a_dev, b, b_dev):
        self.batch(None, f"link add {a_dev} netns @{a} type veth peer name {b_dev} netns @{b}")
        for name, dev in ((a, a_dev), (b, b_dev)):
            self.batch(name, f"link set {dev} up")

    def sysctl(self, name, *settings):
        self.run(name, "sysctl", "-qw", *settings)

    def words(self, name, cmd):
        return ["ip", "netns", "exec", self.ns(name), *map(str, cmd)]

    def run(self, name, *cmd, check=True, timeout=30, env=None):
        """Standard output of a command that ends."""
        p = subprocess.run(self.words(name, cmd), stdin=subprocess.DEVNULL, text=True,
            timeout=timeout, capture_output=True, env=dict(os.environ, **(env or {})))
        if check and p.returncode:
            raise Failed(f"{name}: {' '.join(map(str, cmd))}: status {p.returncode}: "
                f"{(p.stderr or p.stdout).strip()}")
        return p.stdout if check else p

    def start(self, name, *cmd, log, env=None, stdout=None):
        """A process that stays; its words go to the file log."""
        with open(self.dir / log, "ab") as f:
            p = subprocess.Popen(self.words(name, cmd), stdin=subprocess.DEVNULL,
                stdout=stdout or f, stderr=f, env=dict(os.environ, **(env or {})),
                start_new_session=True)
        self.processes.append(p)
        return p

    @contextlib.contextmanager
    def inside(self, name):
        """Sockets opened in this block belong to the namespace, and stay there."""
        with open("/proc/thread-self/ns/net", "rb") as home:
            with open(f"/run/netns/{self.ns(name)}", "rb") as there:
                enter(there)
            try:
                yield
            finally:
                enter(home)

    def pids(self, name):
        """What lives in a namespace, whoever started it (daemons of `rsip up`)."""
        p = subprocess.run(["ip", "netns", "pids", self.ns(name)], capture_output=True, text=True)
        return [int(w) for w in p.stdout.split()]

    def close(self, keep_files=False):
        # The hosts' before the gateway's, so that they need not wait for a dead one.
        for n in self.names:
            end_processes(self.pids(n))
        end_processes([p.pid for p in self.processes if p.poll() is None])
        for p in self.processes:
            p.wait()
        for n in self.names:
            subprocess.run(["ip", "netns", "del", self.ns(n)], check=False)
        self.names, self.processes = [], []
        if not keep_files:
            shutil.rmtree(self.dir, ignore_errors=True)


def enter(ns_file):
    if libc.setns(ns_file.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def end_processes(pids, seconds=3.0):
    for sig in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sig)
        end = time.monotonic() + seconds
        while any(map(runs, pids)) and time.monotonic() < end:
            time.sleep(0.02)


def runs(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def public_side(net, router):
    """The gateway's link to its router, by which the peer is reached."""
    net.link("n", "wan0", router, "n0")
    net.batch("n", f"addr add {N_OWN}/24 dev wan0", f"route add default via {R_PUBLIC}")
    net.batch(router, f"addr add {R_PUBLIC}/24 dev n0")
    net.sysctl(router, "net.ipv4.ip_forward=1")


def road(net):
    """The network of the picture, every node a namespace; `lan` is a switch."""
    net.add("x1", "x2", "lan", "n", "r", "y")
    net.link("n", "lan0", "lan", "n0")
    net.batch("lan", "link add br0 type bridge", "link set br0 up", "link set n0 master br0")
    net.batch("n", f"addr add {NA}/24 dev lan0")
    for name, address in HOSTS.items():
        net.link(name, "eth0", "lan", name)
        net.batch("lan", f"link set {name} master br0")
        net.batch(name, f"addr add {address}/24 dev eth0", f"route add default via {NA}")
    public_side(net, "r")
    net.link("y", "eth0", "r", "y0")
    net.batch("r", f"addr add {R_PEER}/24 dev y0")
    net.batch("y", f"addr add {Y}/24 dev eth0", f"addr add {Y2}/24 dev eth0",
        f"route add default via {R_PEER}")
    return net


CONF = """
gateway {{
    listen         = {{ "{na}:4555" }}
    local-networks = {{ "10.0.0.0/24" }}
    state-dir      = "{dir}/state"
    control-socket = "{dir}/rsipd.sock"
    {gateway}
}}
dataplane {{
    driver            = "packet"
    private-interface = "lan0"
    public-interface  = "wan0"
    {dataplane}
}}
pool public {{
    addresses = {{ {addresses} }}
    {pool}
}}
policy default {{
    {policy}
}}
metrics {{ listen = "127.0.0.1:9455" }}
{more}
"""


class Gateway:
    """rsipd in the namespace n."""

    def __init__(self, net, program=None, env=None, **settings):
        self.net, self.env = net, env
        self.program = program or BUILD / "bin" / "rsipd"
        self.conf = net.dir / "rsipd.conf"
        self.configure(**settings)
        self.process = None

    def configure(self, gateway="", dataplane="", pool="", policy="", addresses=(NB,), more=""):
        self.conf.write_text(CONF.format(na=NA, dir=self.net.dir, gateway=gateway,
            dataplane=dataplane, pool=pool, policy=policy, more=more,
            addresses=", ".join(f'"{a}"' for a in addresses)))

    def reconfigure(self, **settings):
        """Other settings from now on, without a restart."""
        self.configure(**settings)
        self.net.run("n", BUILD / "bin" / "rsip", "gateway", "reload", "--socket",
            self.net.dir / "rsipd.sock")
        return True

    def start(self):
        self.process = self.net.start("n", self.program, "-f", "-c", self.conf, log="rsipd.log",
            env=self.env, stdout=subprocess.PIPE)
        if not select.select([self.process.stdout], [], [], 20)[0] or \
                b"ready" not in self.process.stdout.readline():
            raise Failed(f"rsipd did not become ready:\n{self.log()[-2000:]}")
        return self

    def log(self):
        return (self.net.dir / "rsipd.log").read_text(errors="replace")

    def end(self, how=signal.SIGTERM):
        """Its exit status; negative when a signal ended it."""
        self.process.send_signal(how)
        status = self.process.wait(20)
        self.process.stdout.close()
        return status

    def show(self, what):
        return json.loads(self.net.run("n", BUILD / "bin" / "rsip", "gateway", "show", what,
            "--json", "--socket", self.net.dir / "rsipd.sock"))

    def release(self, bind_id):
        self.net.run("n", BUILD / "bin" / "rsip", "gateway", "release", bind_id, "--socket",
            self.net.dir / "rsipd.sock")
        return True

    def metrics(self):
        """{name with labels: value} of what /metrics says."""
        with self.net.inside("n"), socket.create_connection(("127.0.0.1", 9455), 5) as s:
            s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            text = b"".join(iter(lambda: s.recv(65536), b"")).decode()
        lines = text.split("\r\n\r\n", 1)[1].splitlines()
        return {k: float(v) for k, v in (l.rsplit(" ", 1) for l in lines if l and l[0] != "#")}


class Host:
    """`rsip` in the namespace of one host."""

    def __init__(self, net, name):
        self.net, self.name, self.address = net, name, HOSTS[name]

    def rsip(self, *words, **options):
        return self.net.run(self.name, BUILD / "bin" / "rsip", *words, **options)

    def up(self, *options):
        self.rsip("up", "-g", NA, *options)
        return self.lease()

    def status(self):
        return json.loads(self.rsip("status", "--json"))

    def lease(self):
        held = self.status()["bindings"]
        if not held:
            raise Failed(f"{self.name} holds nothing")
        return Lease(held)


class Lease:
    """What a host's bindings allow: address, port ranges and SPI ranges."""

    def __init__(self, bindings):
        self.bindings = bindings
        self.address = bindings[0]["address"]
        self.ports = [r for b in bindings for r in ranges(b["ports"])]
        self.spis = [r for b in bindings for r in ranges(b["spis"])]

    def has_port(self, port):
        return any(a <= port <= b for a, b in self.ports)

    def has_spi(self, spi):
        return any(a <= spi <= b for a, b in self.spis)


def spi(number):
    return f"0x{number:08x}"


def ranges(text):
    """'20480-20495, 7' as [(20480, 20495), (7, 7)]; null is nothing."""
    pairs = [part.strip().split("-") for part in (text or "").split(",") if part.strip()]
    return [(int(p[0], 0), int(p[-1], 0)) for p in pairs]


class Wire:
    """The IPv4 packets that cross a device, from the moment of the making."""

    def __init__(self, net, name, dev):
        with net.inside(name):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
            self.socket.bind((dev, 3))
        self.socket.setblocking(False)
        self.packets = []

    def read(self):
        """All packets so far: objects with src, dst, proto and payload."""
        # Once closed, what was read stays.
        with contextlib.suppress(BlockingIOError):
            while self.socket.fileno() >= 0:
                data, (_, ethertype, *_) = self.socket.recvfrom(65535)
                if ethertype == 0x0800 and len(data) >= 20:
                    self.packets.append(Packet(data))
        return self.packets

    def save(self, path):
        """As a capture file, of raw IP packets without times."""
        with open(path, "wb") as f:
            f.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
            for p in self.packets:
                f.write(struct.pack("=IIII", 0, 0, len(p.data), len(p.data)) + p.data)

    def close(self):
        self.socket.close()


class Packet:
    def __init__(self, data):
        header = (data[0] & 15) * 4
        length, = struct.unpack_from("!H", data, 2)
        self.data = data[:length]
        self.proto, self.payload = data[9], data[header:length]
        self.src, self.dst = socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20])

    @property
    def spi(self):
        return struct.unpack_from("!I", self.payload, 4 if self.proto == 51 else 0)[0]

    @property
    def ports(self):
        return struct.unpack_from("!HH", self.payload)

    def __repr__(self):
        return f"<{self.src} > {self.dst} proto {self.proto} {self.payload[:16].hex()}>"
