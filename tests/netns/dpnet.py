"""The network of the data plane tests.

    hosts x (10.0.0.11, .12) --- lan0 n wan0 --- peer y (198.51.100.2)
                           10.0.0.1   198.51.100.1

n runs one driver (tests/packet/dp_harness, no rsipd).  x and y are namespaces in which the
test itself sends and reads frames by packet sockets.
"""
import ctypes
import os
import pathlib
import select
import shutil
import socket
import struct
import subprocess
import time

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP  # noqa: F401 (for tests)
from scapy.layers.l2 import ARP, GRE, Ether
from scapy.packet import Raw

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("RSIP_BUILD", ROOT / "build"))
HARNESS = BUILD / "tests" / "packet" / "dp_harness"
TUNNEL = BUILD / "tests" / "packet" / "dp_tunnel"
X1, X2, NA = "10.0.0.11", "10.0.0.12", "10.0.0.1"
WAN, Y = "198.51.100.1", "198.51.100.2"
NB, NB2, DEDICATED = "198.51.100.10", "198.51.100.11", "198.51.100.20"
CLONE_NEWNET = 0x40000000
DEADLINE = 5.0

libc = ctypes.CDLL(None, use_errno=True)


def missing():
    """What this machine lacks for these tests, or None."""
    if os.geteuid() != 0:
        return "needs root"
    for tool in ("ip", "nft"):
        if not shutil.which(tool):
            return f"needs {tool}"
    if not HARNESS.exists():
        return f"needs {HARNESS}"
    return None


# Driver, and how its programs are attached: a veth whose peer does not poll takes no frames
# from native XDP, so the driver is generic there.
KINDS = ("packet", "xdp generic", "xdp native")


def lacks(kind):
    """Why this kind of driver can't run here, or None."""
    if kind == "packet":
        return None
    attr = ctypes.create_string_buffer(struct.pack("=5I", 2, 4, 4, 1, 0).ljust(72, b"\0"))
    fd = libc.syscall(321 if os.uname().machine == "x86_64" else 280, 0, attr, 72)
    if fd < 0:
        return f"bpf() is refused: {os.strerror(ctypes.get_errno())}"
    os.close(fd)
    if kind == "xdp native" and not shutil.which("ethtool"):
        return "needs ethtool"
    return None


def has_tun():
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError:
        return False
    return True


def sh(*cmd):
    subprocess.run(cmd, check=True, capture_output=True, text=True)


def in_netns(name, fn):
    """Run fn with this thread in a network namespace: sockets made there stay there."""
    with open("/proc/self/ns/net") as here, open(f"/run/netns/{name}") as there:
        assert libc.setns(there.fileno(), CLONE_NEWNET) == 0
        try:
            return fn()
        finally:
            assert libc.setns(here.fileno(), CLONE_NEWNET) == 0


class Port:
    """One end of a link, as a packet socket in its namespace."""

    def __init__(self, netns, interface, peer_mac):
        def make():
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            s.bind((interface, 3))
            return s
        self.sock = in_netns(netns, make)
        self.mac = ":".join(f"{b:02x}" for b in self.sock.getsockname()[4])
        self.peer_mac = peer_mac

    def send(self, packet):
        self.sock.send(bytes(Ether(src=self.mac, dst=self.peer_mac) / packet))

    def send_frame(self, frame):
        self.sock.send(bytes(frame))

    def frames(self, deadline=DEADLINE):
        """Frames that come from the other end, until the deadline."""
        end = time.monotonic() + deadline
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.sock], [], [], left)[0]:
                return
            data, (_, _, kind, _, _) = self.sock.recvfrom(65536)
            if kind != socket.PACKET_OUTGOING:
                yield Ether(data)

    def expect(self, match, deadline=DEADLINE):
        """The first packet that matches; fails when none comes."""
        seen = []
        for f in self.frames(deadline):
            if match(f):
                return f
            seen.append(f.summary())
        raise AssertionError("no such packet; seen: " + "; ".join(seen[-10:]))

    def drain(self):
        while select.select([self.sock], [], [], 0)[0]:
            self.sock.recv(65536)

    def close(self):
        self.sock.close()


class Driver:
    """dp_harness as a child; lines of its own accord are kept in `misuse`."""

    def __init__(self, netns, *args, prefix=(), settle=True, pins=None, napt=None):
        self.misuse, self.have = [], b""
        self.child = subprocess.Popen([*prefix, "ip", "netns", "exec", netns, HARNESS, *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            env=dict(os.environ, **{k: v for k, v in (("DP_PINS", pins), ("DP_NAPT", napt)) if v}))
        if self.line() != "ready":
            raise RuntimeError("dp_harness did not start")
        if settle:
            assert self.ask("settled") == "settled ok"

    def line(self):
        while b"\n" not in self.have:
            ready = select.select([self.child.stdout], [], [], 20)[0]
            more = os.read(self.child.stdout.fileno(), 65536) if ready else b""
            if not more:
                return ""
            self.have += more
        line, self.have = self.have.split(b"\n", 1)
        return line.decode()

    def ask(self, command):
        self.child.stdin.write(command.encode() + b"\n")
        word = command.split()[0]
        while True:
            line = self.line()
            if not line:
                raise RuntimeError(f"dp_harness ended at: {command}")
            if line.startswith(word):
                return line
            self.misuse.append(tuple(line.split()[1:]))

    def lease(self, bind, host, address=NB, method="rsipsec", tunnel="ipip", ports="-",
            spis="-", remote="-", ends_ms=""):
        answer = self.ask(f"lease {bind} {host} {NA} {address} {method} {tunnel} {ports} {spis}"
            f" {remote} {ends_ms}".rstrip())
        assert answer == "lease success", answer

    def remove(self, bind):
        assert self.ask(f"remove {bind}") == "remove ok"

    def stats(self):
        return {k: int(v) for k, v in
            (w.split("=") for w in self.ask("stats").split()[1:])}

    def until(self, name, value):
        """Wait until a counter has at least this value."""
        end = time.monotonic() + DEADLINE
        while (s := self.stats()).get(name, 0) < value:
            assert time.monotonic() < end, f"{name} stays at {s.get(name, 0)}: {s}"
        return s

    def close(self):
        if self.child.poll() is None:
            try:
                self.child.stdin.write(b"quit\n")
                self.child.stdin.close()
                self.child.wait(20)
            except (OSError, subprocess.TimeoutExpired):
                self.child.kill()
                self.child.wait()
        self.child.stdout.close()


class Net:
    def __init__(self, tag, pools=f"{NB},{NB2},{DEDICATED}", ports="1024-65535",
            kind="packet", plain=False, pins=None, napt=None):
        self.n, self.x, self.y = (f"dp{tag}{k}{os.getpid()}" for k in "nxy")
        self.made, self.children = [], []
        try:
            self.build()
            if kind == "xdp native":
                self.poll()
            self.driver = (self.n, kind.split()[0], "lan0", "wan0", pools, ports)
            self.dp = Driver(*self.driver, pins=pins, napt=napt)
            if plain:  # no packet sockets of ours: only what the kernels send
                return
            self.hosts = Port(self.x, "eth0", self.mac(self.n, "lan0"))
            self.peer = Port(self.y, "eth0", self.mac(self.n, "wan0"))
        except BaseException:
            self.close()
            raise

    def ip(self, netns, *args):
        sh("ip", "-n", netns, *args)

    def build(self):
        for name in (self.n, self.x, self.y):
            sh("ip", "netns", "add", name)
            self.made.append(name)
            self.ip(name, "link", "set", "lo", "up")
        for near, far in (("lan0", self.x), ("wan0", self.y)):
            self.ip(self.n, "link", "add", near, "type", "veth", "peer", "name", "eth0",
                "netns", far)
            self.ip(self.n, "link", "set", near, "up")
            self.ip(far, "link", "set", "eth0", "up")
        self.ip(self.n, "addr", "add", f"{NA}/24", "dev", "lan0")
        self.ip(self.n, "addr", "add", f"{WAN}/24", "dev", "wan0")
        for host in (X1, X2):
            self.ip(self.x, "addr", "add", f"{host}/24", "dev", "eth0")
        self.ip(self.y, "addr", "add", f"{Y}/24", "dev", "eth0")

    def poll(self):
        """Ends of the hosts and the peer that take frames from XDP."""
        for name in (self.x, self.y):
            sh("ip", "netns", "exec", name, "ethtool", "-K", "eth0", "gro", "on")

    def tables(self):
        """The names of the tables that silence the kernel of n."""
        out = subprocess.run(["ip", "netns", "exec", self.n, "nft", "list", "tables"],
            check=True, capture_output=True, text=True).stdout
        return [line.split()[2] for line in out.splitlines() if line]

    def tunnel(self, host=X1, address=NB, kind="ipip"):
        """A host's end of the tunnel, for sockets bound to the leased address."""
        child = subprocess.Popen(["ip", "netns", "exec", self.x, TUNNEL, "tun0", host, NA, kind],
            stdout=subprocess.PIPE)
        self.children.append(child)
        assert child.stdout.readline() == b"ready\n"
        self.ip(self.x, "addr", "add", f"{address}/32", "dev", "tun0")
        self.ip(self.x, "link", "set", "tun0", "mtu",
            "1476" if kind == "gre" else "1480", "up")
        self.ip(self.x, "route", "add", "198.51.100.0/24", "dev", "tun0", "src", address)

    def socket(self, netns, kind=socket.SOCK_STREAM, bind=None, listen=False):
        def make():
            s = socket.socket(socket.AF_INET, kind)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.settimeout(20)
            if bind:
                s.bind(bind)
            if listen:
                s.listen()
            return s
        return in_netns(netns, make)

    @staticmethod
    def mac(netns, interface):
        out = subprocess.run(["ip", "-n", netns, "-br", "link", "show", interface], check=True,
            capture_output=True, text=True).stdout
        return out.split()[2]

    # Tunnel packets of a host, and what the gateway makes of public ones.
    def from_host(self, inner, host=X1, tunnel="ipip"):
        outer = IP(src=host, dst=NA, tos=inner.tos, id=7)
        self.hosts.send(outer / GRE() / inner if tunnel == "gre" else outer / inner)

    def from_peer(self, packet):
        self.peer.send(packet)

    def at_host(self, match, host=X1, tunnel="ipip", deadline=DEADLINE):
        proto = 47 if tunnel == "gre" else 4
        f = self.hosts.expect(lambda p: IP in p and p[IP].dst == host and p[IP].proto == proto
            and match(inner_of(p)), deadline)
        assert f[IP].src == NA
        return inner_of(f)

    def at_peer(self, match):
        return self.peer.expect(lambda p: IP in p and match(p[IP]))[IP]

    def close(self):
        for name in ("hosts", "peer", "dp"):
            if hasattr(self, name):
                getattr(self, name).close()
        for child in self.children:
            child.kill()
            child.wait()
            child.stdout.close()
        for name in self.made:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def inner_of(frame):
    payload = frame[IP].payload
    inner = payload.payload if isinstance(payload, GRE) else payload
    return inner if isinstance(inner, IP) else IP(bytes(inner)) if len(inner) >= 20 else IP()


def sent(packet):
    """As it goes on the wire: lengths and checksums filled in."""
    return IP(bytes(packet))


def hop(packet):
    """The same packet one hop on; nothing else may differ."""
    p = sent(packet)
    p.ttl -= 1
    del p[IP].chksum
    return bytes(p)


needs_network = pytest.mark.skipif(missing() is not None, reason=missing() or "")
