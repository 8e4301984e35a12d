"""Driver `xdp` with pinned tables: the process is killed and started again under traffic."""
import pathlib
import socket
import struct
import threading
import time

import dpnet
import pytest
from dpnet import NB, X1, X2, Y
from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import ESP
from scapy.packet import Raw

pytestmark = dpnet.needs_network
SPI1, SPI2, OUT = 0xC0010000, 0xC0020000, 0xABCD0001


@pytest.fixture(params=[k for k in dpnet.KINDS if k != "packet"])
def kind(request):
    reason = dpnet.lacks(request.param)
    if reason:
        pytest.skip(reason)
    return request.param


@pytest.fixture
def net(kind, pins):
    n = dpnet.Net("p", kind=kind, pins=pins)
    try:
        leases(n.dp)
        # The first may wait for ARP, the second tells the programs where to.
        for seq in range(2):
            for host, spi in ((X1, SPI1), (X2, SPI2)):
                n.from_peer(esp(spi, seq))
                n.at_host(lambda p, s=seq: ESP in p and p[ESP].seq == s, host=host)
            n.from_host(esp(OUT, seq, NB, Y))
            n.at_peer(lambda p, s=seq: ESP in p and p[ESP].seq == s)
        yield n
    finally:
        n.close()


def leases(dp):
    dp.lease(1, X1, ports="20480-20495", spis="0xc0010000-0xc00100ff")
    dp.lease(2, X2, ports="20736-20751", spis="0xc0020000-0xc00200ff")


def esp(spi, seq, src=Y, dst=NB):
    return IP(src=src, dst=dst, id=seq & 0xffff) / ESP(spi=spi, seq=seq, data=b"opaque" * 6)


def again(n, pins, settle=True):
    """The next process; a predecessor's leases are not yet its own."""
    n.dp.close()
    n.dp = dpnet.Driver(*n.driver, pins=pins, settle=False)
    leases(n.dp)
    if settle:
        assert n.dp.ask("settled") == "settled ok"


class Flow(threading.Thread):
    """Packets with numbers, one way, until stopped."""

    def __init__(self, port, frame):
        super().__init__()
        self.port, self.frame, self.sent, self.ends = port, bytearray(frame), 0, False
        self.at = self.frame.rindex(struct.pack(">I", 0x7fffffff))

    def run(self):
        while not self.ends:
            struct.pack_into(">I", self.frame, self.at, 0x10000 + self.sent)
            self.port.sock.send(self.frame)
            self.sent += 1
            time.sleep(0.0005)

    def stop(self):
        self.ends = True
        self.join()


def frame(port, packet):
    return bytes(dpnet.Ether(src=port.mac, dst=port.peer_mac) / packet)


class Sink(threading.Thread):
    """The numbers that arrive, from a socket of its own with room for all."""

    def __init__(self, netns, spi):
        super().__init__()
        self.spi, self.seen, self.ends = struct.pack(">I", spi), set(), False

        def make():
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
            s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
            s.bind(("eth0", 0x0800))
            s.settimeout(0.2)
            return s
        self.sock = dpnet.in_netns(netns, make)

    def run(self):
        while not self.ends:
            try:
                data, (_, _, kind, _, _) = self.sock.recvfrom(2048)
            except TimeoutError:
                continue
            at = data.find(self.spi)
            if kind != socket.PACKET_OUTGOING and at > 0:
                self.seen.add(struct.unpack_from(">I", data, at + 4)[0])

    def until(self, numbers):
        end = time.monotonic() + dpnet.DEADLINE
        while not numbers <= self.seen and time.monotonic() < end:
            time.sleep(0.01)
        self.ends = True
        self.join()
        self.sock.close()
        return sorted(numbers - self.seen)


def test_killed_under_traffic(net, pins):
    """kill -9 and a new process, three times: not one packet is lost, either way."""
    tunnel = IP(src=X1, dst=dpnet.NA) / esp(OUT, 0x7fffffff, NB, Y)
    flows = [Flow(net.peer, frame(net.peer, esp(SPI1 + 7, 0x7fffffff))),
        Flow(net.hosts, frame(net.hosts, tunnel))]
    sinks = [Sink(net.x, SPI1 + 7), Sink(net.y, OUT)]
    for t in (*sinks, *flows):
        t.start()
    for _ in range(3):
        before = [f.sent for f in flows]
        net.dp.child.kill()
        net.dp.child.wait()
        while any(f.sent < b + 100 for f, b in zip(flows, before)):
            time.sleep(0.01)
        again(net, pins)
    before = [f.sent for f in flows]
    while any(f.sent < b + 100 for f, b in zip(flows, before)):
        time.sleep(0.01)
    for f in flows:
        f.stop()
    lost = [s.until(set(range(0x10000, 0x10000 + f.sent))) for s, f in zip(sinks, flows)]
    assert all(f.sent > 500 for f in flows)
    assert lost == [[], []]


def test_stopped_and_started(net, pins):
    """The same of an orderly end: the programs stay."""
    net.dp.close()
    net.from_peer(esp(SPI1, 5))
    net.at_host(lambda p: ESP in p and p[ESP].seq == 5)
    again(net, pins)
    net.from_peer(esp(SPI1, 6))
    net.at_host(lambda p: ESP in p and p[ESP].seq == 6)
    assert net.dp.stats()["fast"] >= 1


def test_what_is_not_installed_again_goes(net, pins):
    net.dp.child.kill()
    net.dp.child.wait()
    net.from_peer(esp(SPI2, 1))  # the predecessor's lease still stands
    net.at_host(lambda p: ESP in p and p[ESP].seq == 1, host=X2)
    net.dp.close()
    net.dp = dpnet.Driver(*net.driver, pins=pins, settle=False)
    net.dp.lease(1, X1, ports="20480-20495", spis="0xc0010000-0xc00100ff")
    assert net.dp.ask("settled") == "settled ok"
    net.from_peer(esp(SPI2, 2))
    net.dp.until("in.no_spi", 1)
    net.from_peer(esp(SPI1, 3))
    net.at_host(lambda p: ESP in p and p[ESP].seq == 3)


def test_nothing_outlives_its_lease(net):
    """The process is dead when the lease ends: the programs know the time themselves."""
    net.dp.lease(3, X1, spis="0xc0030000-0xc00300ff", ends_ms="1500")
    net.from_peer(esp(0xC0030000, 1))
    net.at_host(lambda p: ESP in p and p[ESP].seq == 1)
    net.dp.child.kill()
    net.dp.child.wait()
    end = time.monotonic() + dpnet.DEADLINE
    number = 1
    while time.monotonic() < end:
        number += 1
        net.from_peer(esp(0xC0030000, number))
        net.from_peer(esp(SPI1, number))
        seen = {f[ESP].spi for f in fetch(net, number)}
        assert SPI1 in seen
        if 0xC0030000 not in seen:
            break
    else:
        raise AssertionError("an ended lease is still carried")


def fetch(n, number):
    """The tunnelled packets up to the one of lease 1 with this number."""
    for f in n.hosts.frames():
        if IP in f and f[IP].proto == 4 and ESP in f:
            inner = dpnet.inner_of(f)
            yield inner
            if inner[ESP].spi == SPI1 and inner[ESP].seq == number:
                return


def ike(n, cookie, host, seq):
    """An IKE packet of a host and its answer; the numbers are in both."""
    head = cookie.to_bytes(8, "big")
    text = struct.pack(">QBBBBII", 7, 33, 0x20, 34, 8, seq, 28)
    n.from_host(IP(src=NB, dst=Y) / UDP(sport=500, dport=500) / Raw(head + text), host=host)
    n.at_peer(lambda p: UDP in p and bytes(p[UDP].payload) == head + text)
    n.from_peer(IP(src=Y, dst=NB) / UDP(sport=500, dport=500) / Raw(head + text))
    n.at_host(lambda p: UDP in p and bytes(p[UDP].payload) == head + text, host=host)


def test_cookies_are_kept(net, pins):
    """S-6.1-03: IKE on the shared port goes on while nobody runs, and is known to the next process."""
    for host, cookie in ((X1, 0x1111), (X2, 0x2222)):
        for seq in range(2):
            ike(net, cookie, host, seq)
    net.dp.child.kill()
    net.dp.child.wait()
    for host, cookie in ((X1, 0x1111), (X2, 0x2222)):
        ike(net, cookie, host, 2)
    again(net, pins)
    # Answers first: the next process has not yet seen these cookies itself.
    for host, cookie in ((X2, 0x2222), (X1, 0x1111)):
        text = cookie.to_bytes(8, "big") + struct.pack(">QBBBBII", 7, 33, 0x20, 34, 8, 3, 28)
        net.from_peer(IP(src=Y, dst=NB) / UDP(sport=500, dport=500) / Raw(text))
        net.at_host(lambda p, t=text: UDP in p and bytes(p[UDP].payload) == t, host=host)
    assert net.dp.stats()["answered"] == 2
    net.from_host(IP(src=NB, dst=Y) / UDP(sport=500, dport=500) / Raw((0x1111).to_bytes(8, "big") +
        bytes(20)), host=X2)
    net.dp.until("out.cookie_inuse", 1)


def test_cookies_go_with_their_lease(net):
    for seq in range(2):
        ike(net, 0x1111, X1, seq)
    net.dp.remove(1)
    text = (0x1111).to_bytes(8, "big") + struct.pack(">QBBBBII", 7, 33, 0x20, 34, 8, 3, 28)
    net.from_peer(IP(src=Y, dst=NB) / UDP(sport=500, dport=500) / Raw(text))
    net.dp.until("in.no_cookie", 1)
    assert net.dp.stats()["answered"] == 0


def test_other_pools(net, pins):
    """Tables of another layout are made anew, and the leases carried as before."""
    net.dp.child.kill()
    net.dp.child.wait()
    net.dp.close()
    net.driver = (*net.driver[:4], f"{NB},198.51.100.128/25", net.driver[5])
    again(net, pins)
    net.from_peer(esp(SPI1, 9))
    net.at_host(lambda p: ESP in p and p[ESP].seq == 9)
    net.from_peer(esp(SPI1, 10))
    net.at_host(lambda p: ESP in p and p[ESP].seq == 10)
    assert net.dp.stats()["fast"] >= 1


def test_no_bpf_file_system(kind, tmp_path):
    """Said, and then without."""
    n = dpnet.Net("b", kind=kind, pins=str(tmp_path / "rsip" / "x"))
    try:
        leases(n.dp)
        n.from_peer(esp(SPI1, 1))
        n.at_host(lambda p: ESP in p)
        assert not pathlib.Path(tmp_path / "rsip").exists()
    finally:
        n.close()


def test_driver_packet_after_it(net, pins):
    """Another driver takes the programs away: nothing goes past it."""
    net.dp.close()
    net.dp = dpnet.Driver(net.driver[0], "packet", *net.driver[2:], pins=pins)
    net.dp.lease(2, X2, spis="0xc0020000-0xc00200ff")
    net.from_peer(esp(SPI1, 1))
    net.dp.until("in.no_spi", 1)
    net.from_peer(esp(SPI2, 2))
    net.at_host(lambda p: ESP in p and p[ESP].seq == 2, host=X2)
    assert not pathlib.Path(pins).exists()
