"""Every field that packets are told apart by, in both tunnels, with each driver; packets by scapy, which
knows nothing of our code.  Each goes twice: the first may find something yet unknown (a neighbour, an
outbound SPI) and go the slow way, the second takes the way that the rest of a flow takes."""
import subprocess

import dpnet
import pytest
from dpnet import DEDICATED, NA, NB, WAN, X1, X2, Y, hop, sent
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.ipsec import AH, ESP
from scapy.packet import Raw

pytestmark = dpnet.needs_network

SPIS = {X1: 0xC0010000, X2: 0xC0020000}
PORTS = {X1: 20480, X2: 20736}
COOKIES = {X1: 0x1111111100000001, X2: 0x2222222200000002}
OVERHEAD = {"ipip": 20, "gre": 24}
ROUTER = "198.51.100.254"


@pytest.fixture(scope="module", params=dpnet.KINDS)
def kind(request):
    reason = dpnet.lacks(request.param)
    if reason:
        pytest.skip(reason)
    return request.param


@pytest.fixture(scope="module", params=["ipip", "gre"])
def tunnel(request):
    return request.param


@pytest.fixture(scope="module")
def net(kind, tunnel):
    n = dpnet.Net("f", kind=kind)
    try:
        for bind, host in enumerate((X1, X2), 1):
            n.dp.lease(bind, host, ports=f"{PORTS[host]}-{PORTS[host] + 15}", tunnel=tunnel,
                spis=f"{SPIS[host]:#x}-{SPIS[host] + 255:#x}")
        n.dp.lease(3, X2, address=DEDICATED, method="rsa-ip", tunnel=tunnel)
        yield n
    finally:
        n.close()


@pytest.fixture(autouse=True)
def quiet(request):
    if "way" in request.fixturenames:
        net = request.getfixturevalue("net")
        net.hosts.drain()
        net.peer.drain()


class Way:
    """Packets both ways; bytes must differ by the hop alone."""

    def __init__(self, net, tunnel):
        self.net, self.tunnel, self.id = net, tunnel, 100

    def mark(self, packet):
        self.id += 1
        packet[IP].id = self.id
        return packet

    def arrives(self, packet, host, back=Y):
        self.mark(packet)
        self.net.from_peer(packet)
        got = self.net.at_host(lambda p: p.id == self.id and p.src == packet.src, host=host,
            tunnel=self.tunnel)
        assert bytes(got) == hop(packet)

    def leaves(self, packet, host):
        self.mark(packet)
        self.net.from_host(packet, host=host, tunnel=self.tunnel)
        got = self.net.at_peer(lambda p: p.id == self.id and p.src == packet.src)
        assert bytes(got) == hop(packet)
        return got


@pytest.fixture
def way(net, tunnel):
    return Way(net, tunnel)


def esp(spi, src=Y, dst=NB, body=b"opaque" * 8, **kw):
    return IP(src=src, dst=dst, **kw) / ESP(spi=spi, seq=1, data=body)


def ah(spi, src=Y, dst=NB, **kw):
    return IP(src=src, dst=dst, **kw) / AH(nh=17, payloadlen=4, spi=spi, seq=1,
        icv=b"0123456789ab") / Raw(bytes(UDP(sport=1, dport=2)))


def ike(cookie, port, src=NB, dst=Y, responder=0):
    marker = bytes(4) if port == 4500 else b""
    header = cookie.to_bytes(8, "big") + responder.to_bytes(8, "big") + bytes(
        [33, 0x20, 34, 8]) + bytes(4) + (28 + 40).to_bytes(4, "big")
    return IP(src=src, dst=dst) / UDP(sport=port, dport=port) / Raw(marker + header + b"s" * 40)


def natt(spi, src=Y, dst=NB):
    return IP(src=src, dst=dst) / UDP(sport=4500, dport=4500) / Raw(
        spi.to_bytes(4, "big") + bytes(40))


def error(about, code=1, mtu=0):
    return IP(src=ROUTER, dst=NB) / ICMP(type=3, code=code, nexthopmtu=mtu) / Raw(
        bytes(about)[:40])


# F-3.1-06, S-5-02, S-5-05, S-5-10, S-5-07: in both tunnels, by SPI, of ESP and AH; the first, the last, one between.
@pytest.mark.parametrize("make", [esp, ah])
def test_spi(way, make):
    for _ in range(2):
        for host in (X1, X2):
            for spi in (0, 77, 255):
                way.arrives(make(SPIS[host] + spi), host)
            way.leaves(make(0xABCD0000, src=NB, dst=Y), host)


# F-3.2-02, F-2-14: TCP and UDP port.
@pytest.mark.parametrize("make", [TCP, UDP])
def test_port(way, make):
    for _ in range(2):
        for host in (X1, X2):
            for port in (0, 7, 15):
                way.arrives(IP(src=Y, dst=NB) / make(sport=80, dport=PORTS[host] + port) /
                    Raw(b"in"), host)
                way.leaves(IP(src=NB, dst=Y) / make(sport=PORTS[host] + port, dport=80) /
                    Raw(b"out"), host)


# S-4-02, S-6.1-03, S-6.1-13: initiator cookie, on 500 and behind the marker of 4500; UDP-ESP by SPI.
@pytest.mark.parametrize("port", [500, 4500])
def test_cookie(way, port, kind):
    for _ in range(2):
        for host in (X1, X2):
            way.leaves(ike(COOKIES[host] + port, port), host)
        for host in (X2, X1):
            way.arrives(ike(COOKIES[host] + port, port, Y, NB, 0x99), host)
    for host in (X1, X2):
        for _ in range(2):
            way.arrives(natt(SPIS[host] + 3), host)
            way.leaves(natt(0xC1 + PORTS[host], NB, Y), host)
        way.arrives(error(natt(0xC1 + PORTS[host], NB, Y)), host)
    # Answered cookies and known SPIs are the programs'.
    before = way.net.dp.stats()["fast"]
    for host in (X1, X2):
        way.leaves(ike(COOKIES[host] + port, port, responder=0x99), host)
        way.arrives(ike(COOKIES[host] + port, port, Y, NB, 0x99), host)
        way.arrives(ike(0x5050, port, Y, NB, COOKIES[host] + port), host)  # the peer rekeyed
        way.arrives(natt(SPIS[host] + 4), host)
        way.leaves(natt(0xC1 + PORTS[host], NB, Y), host)
    assert way.net.dp.stats()["fast"] == before + (0 if kind == "packet" else 10)
    # But not to one that the host does not talk with.
    before = way.net.dp.stats().get("in.no_cookie", 0)
    way.net.from_peer(ike(COOKIES[X1] + port, port, "198.51.100.77", NB, 0x99))
    way.net.dp.until("in.no_cookie", before + 1)


# F-6.2-01, F-6.2-02, S-5-12: ICMP identifier, and what an error quotes: port, SPI, cookie, identifier.
def test_icmp(way):
    for host in (X1, X2):
        query = way.leaves(IP(src=NB, dst=Y) / ICMP(type=8, id=PORTS[host], seq=5), host)
        way.net.at_host(lambda p, i=PORTS[host]: ICMP in p and p[ICMP].type == 0 and
            p[ICMP].id == i, host=host, tunnel=way.tunnel)
        about = [query, way.leaves(esp(0xA0 + PORTS[host], src=NB, dst=Y), host),
            way.leaves(ah(0xB0 + PORTS[host], src=NB, dst=Y), host),
            way.leaves(IP(src=NB, dst=Y) / UDP(sport=PORTS[host], dport=9), host),
            way.leaves(IP(src=NB, dst=Y) / TCP(sport=PORTS[host], dport=9), host),
            way.leaves(ike(COOKIES[host] + 9, 500), host)]
        for packet in about:
            way.arrives(error(packet), host)
        way.arrives(error(about[1], 4, 1400), host)


# F-2-05, F-2-07: the address alone.
def test_whole_address(way):
    for _ in range(2):
        for packet in (IP(src=Y, dst=DEDICATED, proto=132) / Raw(bytes(range(40))),
                IP(src=Y, dst=DEDICATED) / TCP(sport=1, dport=2),
                esp(5, dst=DEDICATED)):
            way.arrives(packet, X2)
        way.leaves(IP(src=DEDICATED, dst=Y, proto=132) / Raw(bytes(40)), X2)


# F-6.3-03, A-D-09, A-I-24: the largest that fits whole; one byte more with DF, named; without DF, cut
# outside.  ESP, AH and a port.
@pytest.mark.parametrize("make", ["esp", "ah", "udp"])
def test_size_in(way, make):
    n, most = way.net, 1500 - OVERHEAD[way.tunnel]

    def packet(size, **kw):
        if make == "esp":
            return esp(SPIS[X1], body=b"z" * (size - 28), **kw)
        head = ah(SPIS[X1], **kw) if make == "ah" else IP(src=Y, dst=NB, **kw) / UDP(sport=1,
            dport=PORTS[X1])
        return head / Raw(b"z" * (size - len(head)))

    for _ in range(2):
        way.arrives(packet(most, flags="DF"), X1)
        way.arrives(packet(most), X1)
    big = way.mark(packet(most + 1, flags="DF"))
    assert len(sent(big)) == most + 1
    n.from_peer(big)
    told = n.at_peer(lambda p: ICMP in p and p[ICMP].type == 3 and p[ICMP].code == 4)
    assert (told.src, told[ICMP].nexthopmtu) == (WAN, most)
    assert bytes(told[ICMP].payload)[:28] == bytes(sent(big))[:28]
    whole = way.mark(packet(1500))
    n.from_peer(whole)
    assert tunnelled(n, X1, way.tunnel) == hop(whole)


def tunnelled(n, host, tunnel):
    """The packet in a tunnel packet that came in fragments."""
    proto, parts = (47 if tunnel == "gre" else 4), []
    for f in n.hosts.frames():
        if IP in f and f[IP].dst == host and f[IP].src == NA and f[IP].proto == proto:
            assert f[IP].len <= 1500
            parts.append(f[IP])
            if not f[IP].flags.MF and f[IP].frag:
                break
    assert len({p.id for p in parts}) == 1
    outer = b"".join(bytes(p.payload) for p in sorted(parts, key=lambda p: p.frag))
    return outer[OVERHEAD[tunnel] - 20:]


# A-D-04, F-3.1-10, F-3.1-12: fragments, public ones in both orders, and of tunnel packets.
@pytest.mark.parametrize("order", [1, -1])
def test_fragments(way, order):
    n = way.net
    for host in (X1, X2):
        packet = way.mark(esp(SPIS[host] + 9, body=bytes(range(256)) * 5))
        for part in fragment(sent(packet), 600)[::order]:
            n.from_peer(part)
        got = n.at_host(lambda p: p.id == packet.id, host=host, tunnel=way.tunnel)
        assert bytes(got) == hop(packet)
        packet = way.mark(IP(src=NB, dst=Y) / UDP(sport=PORTS[host], dport=9) / Raw(b"q" * 1200))
        outer = IP(src=host, dst=NA, id=way.id)
        whole = outer / dpnet.GRE() / packet if way.tunnel == "gre" else outer / packet
        for part in fragment(IP(bytes(whole)), 600)[::order]:
            n.hosts.send(part)
        assert bytes(n.at_peer(lambda p: p.id == packet.id and UDP in p)) == hop(packet)


# F-6.3-03: a public link narrower than the tunnel, and afterwards a tunnel narrower than its link
# (A-D-17): the sender is told, or the packet is cut.
def test_narrow_links(way):
    n, host = way.net, X1
    n.ip(n.n, "link", "set", "wan0", "mtu", "1200")
    try:
        big = way.mark(IP(src=NB, dst=Y, flags="DF") / UDP(sport=PORTS[host], dport=9) /
            Raw(b"w" * 1200))
        # The driver hears of the link's new size by netlink: until then it passes the packet.
        for left in reversed(range(25)):
            n.from_host(big, host=host, tunnel=way.tunnel)
            try:
                told = n.at_host(lambda p: ICMP in p and p[ICMP].type == 3, host=host,
                    tunnel=way.tunnel, deadline=0.2)
                break
            except AssertionError:
                if not left:
                    raise
        assert (told[ICMP].code, told[ICMP].nexthopmtu) == (4, 1200)
        cut = way.mark(IP(src=NB, dst=Y) / UDP(sport=PORTS[host], dport=9) / Raw(b"w" * 1200))
        n.from_host(cut, host=host, tunnel=way.tunnel)
        parts = [n.at_peer(lambda p: p.id == cut.id) for _ in range(2)]
        assert b"".join(bytes(p.payload) for p in sorted(parts, key=lambda p: p.frag)) == \
            bytes(sent(cut).payload)
        fits = IP(src=NB, dst=Y, flags="DF") / UDP(sport=PORTS[host], dport=9) / Raw(b"w" * 1172)
        for _ in range(2):
            way.leaves(fits.copy(), host)
    finally:
        n.ip(n.n, "link", "set", "wan0", "mtu", "1500")
    outer = IP(src=NA, dst=host, proto=47 if way.tunnel == "gre" else 4, len=1500)
    n.hosts.send(IP(src="10.0.0.2", dst=NA) / ICMP(type=3, code=4, nexthopmtu=1300) /
        Raw(bytes(outer) + bytes(8)))
    most = 1300 - OVERHEAD[way.tunnel]
    big = esp(SPIS[host], body=b"n" * 1300, flags="DF")
    # The error and the packet come by two links: until the first is read.
    for _ in range(50):
        n.from_peer(big)
        if any(ICMP in f and f[ICMP].code == 4 and f[ICMP].nexthopmtu == most
                for f in n.peer.frames(0.1)):
            break
    else:
        raise AssertionError("the narrow tunnel is not told")
    for _ in range(2):
        way.arrives(esp(SPIS[host], body=b"n" * (most - 28), flags="DF"), host)


# F-6.8-01: hundreds of hosts behind one address, each with its own.
def test_hundreds_of_hosts(kind):
    n = dpnet.Net("h", kind=kind)
    hosts = [f"10.1.{i // 250}.{i % 250 + 1}" for i in range(300)]
    try:
        n.ip(n.n, "addr", "add", "10.1.255.254/16", "dev", "lan0")
        batch = "".join(f"addr add {h}/32 dev eth0\n" for h in hosts)
        subprocess.run(["ip", "-n", n.x, "-batch", "-"], input=batch, text=True, check=True)
        for i, host in enumerate(hosts):
            n.dp.lease(i + 1, host, ports=f"{20000 + i * 4}-{20003 + i * 4}",
                spis=f"{0x10000 + i * 16:#x}-{0x1000f + i * 16:#x}")
        for i, host in list(enumerate(hosts)) + list(enumerate(hosts))[::-1]:
            n.from_peer(esp(0x10000 + i * 16 + 7, id=i))
            got = n.at_host(lambda p, i=i: ESP in p and p.id == i, host=host)
            assert got[ESP].spi == 0x10000 + i * 16 + 7
            out = IP(src=NB, dst=Y, id=i) / UDP(sport=20000 + i * 4, dport=9)
            n.from_host(out, host=host)
            assert bytes(n.at_peer(lambda p, i=i: UDP in p and p[UDP].sport == 20000 + i * 4)) == \
                hop(out)
        s = n.dp.stats()
        assert s["out.forward"] == 600 and s["in.forward"] >= 600  # the peer's kernel says things, too
        assert kind == "packet" or s["fast"] >= 600  # each host's second packets, at least
    finally:
        n.close()


# S-5-04, F-3.2-04, P-10.2.2-05: what no field leads anywhere.
def test_nowhere(way):
    n = way.net
    for packet, reason in ((esp(0xDEADBEEF), "no_spi"), (ah(0xDEADBEEF), "no_spi"),
            (IP(src=Y, dst=NB) / TCP(sport=1, dport=1), "no_bind"),
            (IP(src=Y, dst=NB) / UDP(sport=1, dport=1), "no_bind"),
            (IP(src=Y, dst=NB, proto=132) / Raw(bytes(20)), "no_bind"),
            (ike(0x7777, 500, Y, NB, 5), "no_cookie"), (ike(0x7777, 4500, Y, NB, 5), "no_cookie"),
            (natt(0xDEADBEEF), "no_spi"), (error(esp(1, src=NB, dst="198.51.100.9")),
                "icmp_unmatched")):
        before = n.dp.stats().get(f"in.{reason}", 0)
        n.from_peer(packet)
        n.dp.until(f"in.{reason}", before + 1)
