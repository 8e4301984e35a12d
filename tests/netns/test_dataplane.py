"""Each driver between real links: what leaves, byte for byte, and what is counted."""
import hashlib
import os
import socket
import subprocess
import threading

import dpnet
import pytest
from dpnet import DEDICATED, NB, NB2, WAN, X1, X2, Y, hop, sent
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

pytestmark = dpnet.needs_network

SPI1, SPI2 = 0xC0010000, 0xC0020000


@pytest.fixture(scope="module", params=dpnet.KINDS)
def kind(request):
    reason = dpnet.lacks(request.param)
    if reason:
        pytest.skip(reason)
    return request.param


@pytest.fixture(scope="module")
def net(kind):
    n = dpnet.Net("d", kind=kind)
    try:
        n.dp.lease(1, X1, ports="20480-20495", spis="0xc0010000-0xc00100ff")
        n.dp.lease(2, X2, ports="20736-20751", spis="0xc0020000-0xc00200ff")
        n.dp.lease(3, X1, address=NB2, tunnel="gre", ports="30000-30015", spis="0x12345")
        n.dp.lease(4, X2, address=DEDICATED, method="rsa-ip")
        yield n
    finally:
        n.close()


@pytest.fixture(autouse=True)
def quiet(net):
    net.hosts.drain()
    net.peer.drain()


def esp(spi, n, src=Y, dst=NB, body=b"opaque" * 8, **kw):
    return IP(src=src, dst=dst, id=0x4711, **kw) / ESP(spi=spi, seq=n, data=body)


def ike(cookie, src=NB, dst=Y, sport=500, dport=500, responder=0, body=b"sa" * 20):
    header = cookie.to_bytes(8, "big") + responder.to_bytes(8, "big") + bytes(
        [33, 0x20, 34, 8]) + bytes(4) + (28 + len(body)).to_bytes(4, "big")
    return IP(src=src, dst=dst, id=9) / UDP(sport=sport, dport=dport) / Raw(header + body)


# S-5-02, S-5-03, S-5-10: by SPI, to the right one of two hosts, nothing but the hop changed.
def test_inbound_esp(net):
    for host, spi in ((X1, SPI1), (X2, SPI2), (X1, SPI1 + 255)):
        packet = esp(spi, 1)
        net.from_peer(packet)
        got = net.at_host(lambda p, spi=spi: ESP in p and p[ESP].spi == spi, host=host)
        assert bytes(got) == hop(packet)


# S-5-05: the same grant serves AH.
def test_inbound_ah(net):
    packet = IP(src=Y, dst=NB, id=0x4712) / AH(nh=17, payloadlen=4, spi=SPI2 + 3, seq=1,
        icv=b"0123456789ab") / Raw(bytes(UDP(sport=1, dport=2)))
    net.from_peer(packet)
    got = net.at_host(lambda p: p.proto == 51, host=X2)
    assert bytes(got) == hop(packet)


# S-5-04: no match is discarded without a word.
def test_inbound_esp_unknown(net):
    before = net.dp.stats().get("in.no_spi", 0)
    net.from_peer(esp(0xDEADBEEF, 1))
    net.dp.until("in.no_spi", before + 1)


# F-3.2-02, P-8.6-02: by port, in GRE as granted.
def test_inbound_port(net):
    packet = IP(src=Y, dst=NB2) / UDP(sport=53, dport=30001) / Raw(b"answer")
    net.from_peer(packet)
    got = net.at_host(lambda p: UDP in p and p[UDP].dport == 30001, tunnel="gre")
    assert bytes(got) == hop(packet)


# F-2-14: outbound, two hosts to the same peer.
def test_outbound_ports(net):
    for host, port in ((X1, 20480), (X2, 20736)):
        packet = IP(src=NB, dst=Y, id=5) / TCP(sport=port, dport=80, flags="S")
        net.from_host(packet, host=host)
        got = net.at_peer(lambda p, port=port: TCP in p and p[TCP].sport == port)
        assert bytes(got) == hop(packet)


# S-5-07: outbound ESP carries the peer's SPI and is not judged by it.
def test_outbound_esp(net):
    packet = esp(0xABCD0001, 1, src=NB, dst=Y)
    net.from_host(packet, host=X2)
    assert bytes(net.at_peer(lambda p: p.proto == 50)) == hop(packet)


# P-10.4-01, P-10.4-02, P-6-13: what a host does not hold is dropped and reported.
@pytest.mark.parametrize("inner,host,reason,error", [
    (IP(src="198.51.100.77", dst=Y) / UDP(sport=20480, dport=9), X1, "addr_unallowed", "312"),
    (IP(src=NB2, dst=Y) / UDP(sport=30000, dport=9), X2, "tunnel_type", "307"),
    (IP(src=DEDICATED, dst=Y) / UDP(sport=30000, dport=9), X1, "outer_src", "312"),
    (IP(src=NB, dst=Y) / UDP(sport=20736, dport=9), X1, "addrport_unallowed", "313"),
    (IP(src=NB, dst=Y, proto=132) / Raw(bytes(16)), X1, "addrport_unallowed", "313"),
])
def test_outbound_refused(net, inner, host, reason, error):
    tunnel = "gre" if reason == "tunnel_type" else "ipip"
    before = net.dp.stats().get(f"out.{reason}", 0)
    net.dp.misuse.clear()
    net.from_host(inner, host=host, tunnel=tunnel)
    net.dp.until(f"out.{reason}", before + 1)
    assert (host, error) in [m[:2] for m in net.dp.misuse]


# S-4-02, S-6.1-03, S-6.1-05: two hosts on port 500, told apart by cookie; the first owns it.
def test_ike_cookies(net):
    one, two = 0x1111111100000001, 0x2222222200000002
    for host, cookie in ((X1, one), (X2, two)):
        packet = ike(cookie)
        net.from_host(packet, host=host)
        got = net.at_peer(lambda p, c=cookie: UDP in p and c.to_bytes(8, "big") in bytes(p))
        assert bytes(got) == hop(packet)
    for host, cookie in ((X2, two), (X1, one)):
        packet = ike(cookie, src=Y, dst=NB, responder=0x99)
        net.from_peer(packet)
        got = net.at_host(lambda p: UDP in p and p[UDP].dport == 500, host=host)
        assert bytes(got) == hop(packet)
    before = net.dp.stats().get("out.cookie_inuse", 0)
    net.from_host(ike(one), host=X2)
    net.dp.until("out.cookie_inuse", before + 1)


# P-10.2.2-05: an address that nobody leased a port of; the kernel stays silent as well.
def test_kernel_is_silent(net):
    before = net.dp.stats().get("in.no_bind", 0)
    net.from_peer(IP(src=Y, dst=NB) / TCP(sport=1, dport=22, flags="S"))
    net.from_peer(IP(src=Y, dst=NB) / UDP(sport=1, dport=7))
    net.dp.until("in.no_bind", before + 2)
    # An echo that is answered after them shows that nothing else came before it.
    net.from_peer(IP(src=Y, dst=NB) / ICMP(type=8, id=3, seq=4) / Raw(b"ping"))
    first = net.at_peer(lambda p: p.src in (NB, WAN))
    assert first[ICMP].type == 0 and first.src == NB


# The driver answers ARP for a pool address on the public link.
def test_arp(net):
    net.peer.send_frame(Ether(src=net.peer.mac, dst="ff:ff:ff:ff:ff:ff") /
        ARP(op=1, hwsrc=net.peer.mac, psrc=Y, pdst=NB))
    got = net.peer.expect(lambda f: ARP in f and f[ARP].op == 2)
    assert got[ARP].psrc == NB and got[ARP].hwsrc == net.peer.peer_mac


# RSA-IP: everything to its host.
def test_whole_address(net):
    packet = IP(src=Y, dst=DEDICATED, proto=132) / Raw(bytes(range(40)))
    net.from_peer(packet)
    got = net.at_host(lambda p: p.proto == 132, host=X2)
    assert bytes(got) == hop(packet)


# F-3.1-10: fragments last first, through the kernel's own ingress.
def test_fragments(net):
    packet = esp(SPI1 + 5, 1, body=bytes(range(256)) * 8)
    for part in reversed(fragment(sent(packet), 800)):
        net.from_peer(part)
    parts = []
    for f in net.hosts.frames():
        if IP in f and f[IP].dst == X1 and f[IP].proto == 4:
            parts.append(f[IP])
            if not f[IP].flags.MF:
                break
    whole = b"".join(bytes(p.payload) for p in parts)
    assert len({p.id for p in parts}) == 1 and [p.frag for p in parts] == [0, 185]
    assert whole == hop(packet)


# F-6.3-03: DF and too large for the tunnel; the gateway names the inner MTU.
def test_path_mtu(net):
    packet = esp(SPI1 + 5, 1, body=b"x" * 1472, flags="DF")
    assert len(packet) == 1500
    net.from_peer(packet)
    got = net.at_peer(lambda p: ICMP in p and p[ICMP].type == 3)
    assert (got.src, got[ICMP].code, got[ICMP].nexthopmtu) == (WAN, 4, 1480)
    assert bytes(got[ICMP].payload)[:28] == bytes(sent(packet))[:28]


# F-6.2-01: a host's ping, and a router's error about its ESP (S-5-12).
def test_icmp(net):
    query = IP(src=NB, dst=Y, id=1) / ICMP(type=8, id=77, seq=1) / Raw(b"abc")
    net.from_host(query, host=X2)
    reply = net.at_host(lambda p: ICMP in p and p[ICMP].type == 0, host=X2)
    assert bytes(reply[ICMP].payload) == b"abc" and reply.src == Y
    out = esp(0xAA55, 1, src=NB, dst=Y)
    net.from_host(out, host=X2)
    net.at_peer(lambda p: p.proto == 50)
    error = IP(src="198.51.100.254", dst=NB, id=2) / ICMP(type=3, code=4,
        nexthopmtu=1400) / Raw(bytes(sent(out))[:28])
    net.from_peer(error)
    # The peer's kernel may have said by itself that it has no ESP.
    got = net.at_host(lambda p: ICMP in p and p[ICMP].code == 4, host=X2)
    assert bytes(got) == hop(error)


# The first packets to a peer whose link address is not known wait for it.
def test_neighbour(net):
    net.ip(net.y, "addr", "add", "198.51.100.33/24", "dev", "eth0")
    packets = [esp(0x33, n, src=NB, dst="198.51.100.33") for n in range(3)]
    for p in packets:
        net.from_host(p)
    for p in packets:
        got = net.at_peer(lambda q, p=p: ESP in q and q[ESP].seq == p[ESP].seq)
        assert bytes(got) == hop(p)


# F-6.5-04: what a host sends beside the tunnel goes nowhere (napt translates it, where configured).
def test_beside_the_tunnel(net):
    for src in (X1, NB):
        net.hosts.send(IP(src=src, dst=Y) / UDP(sport=20480, dport=9) / Raw(b"beside"))
    net.from_host(IP(src=NB, dst=Y) / UDP(sport=20480, dport=9) / Raw(b"tunnelled"))
    seen = net.at_peer(lambda p: UDP in p and p[UDP].dport == 9)
    assert bytes(seen[UDP].payload) == b"tunnelled"


# No route, and a neighbour that does not answer: dropped and counted.
def test_no_route(net):
    before = net.dp.stats().get("out.no_route", 0)
    net.from_host(esp(0x34, 1, src=NB, dst="192.0.2.1"))
    net.dp.until("out.no_route", before + 1)
    net.from_host(esp(0x34, 1, src=NB, dst="198.51.100.99"))
    net.dp.until("out.no_route", before + 2)
    net.ip(net.n, "route", "add", "192.0.2.0/24", "via", Y)
    net.from_host(esp(0x34, 2, src=NB, dst="192.0.2.1"))
    net.at_peer(lambda p: p.dst == "192.0.2.1" and ESP in p and p[ESP].seq == 2)


# A link that goes down and comes back.
def test_link_down_and_up(net):
    for link in ("wan0", "lan0"):
        net.ip(net.n, "link", "set", link, "down")
        net.dp.stats()
        net.ip(net.n, "link", "set", link, "up")
    out = esp(0x36, 1, src=NB, dst=Y)
    # A link that comes up takes its time to carry.
    for _ in range(50):
        net.from_host(out)
        if any(IP in f and f[IP].proto == 50 for f in net.peer.frames(0.1)):
            break
    else:
        raise AssertionError("nothing is carried after the link came back")
    net.from_peer(esp(SPI1, 7))
    net.at_host(lambda p: ESP in p and p[ESP].seq == 7)


def served_again(n):
    """A host's packet gets out, once the driver has heard of the new link."""
    for _ in range(20):
        n.from_host(esp(0x35, 1, src=NB, dst=Y))
        try:
            return n.peer.expect(lambda f: ESP in f, 0.5)
        except AssertionError as fault:
            last = fault
    raise last


# A link that is deleted and made anew under its name is served again.
def test_link_made_anew(kind):
    n = dpnet.Net("a", kind=kind)
    try:
        n.dp.lease(1, X1, spis="0x1000-0x1fff")
        n.peer.close()
        n.ip(n.n, "link", "del", "wan0")
        n.ip(n.n, "link", "add", "wan0", "type", "veth", "peer", "name", "eth0", "netns", n.y)
        n.ip(n.y, "link", "set", "eth0", "up")
        n.ip(n.y, "addr", "add", f"{Y}/24", "dev", "eth0")
        n.ip(n.n, "link", "set", "wan0", "up")
        n.ip(n.n, "addr", "add", f"{WAN}/24", "dev", "wan0")
        n.peer = dpnet.Port(n.y, "eth0", n.mac(n.n, "wan0"))
        served_again(n)
        n.from_peer(esp(0x1001, 1))
        n.at_host(lambda p: ESP in p)
        n.from_peer(IP(src=Y, dst=NB) / TCP(sport=1, dport=22, flags="S"))
        n.from_peer(IP(src=Y, dst=NB) / ICMP(type=8, id=3))
        assert ICMP in n.at_peer(lambda p: p.src in (NB, WAN) and p.proto != 50)
    finally:
        n.close()


# F-2-16: the pool is the gateway's own address; its other ports keep their sockets, and the
# kernel answers nothing on those that are leased.
def test_own_address(kind):
    n = dpnet.Net("o", kind=kind, pools=WAN, ports="20000-29999")
    try:
        n.dp.lease(1, X1, address=WAN, ports="20480", spis="0x1000-0x1fff")
        server = n.socket(n.n, bind=(WAN, 22), listen=True)
        client = n.socket(n.y)
        client.connect((WAN, 22))
        server.close()
        client.close()
        n.peer.drain()
        n.from_peer(IP(src=Y, dst=WAN) / TCP(sport=1, dport=20000, flags="S"))
        n.from_peer(esp(0x77, 1, dst=WAN))
        n.dp.until("in.no_spi", 1)
        n.from_peer(IP(src=Y, dst=WAN) / TCP(sport=1, dport=19999, flags="S"))
        first = n.at_peer(lambda p: p.src == WAN and (TCP in p or ICMP in p))
        assert first[TCP].sport == 19999 and "R" in first[TCP].flags
        packet = esp(0x1001, 1, dst=WAN)
        n.from_peer(packet)
        assert bytes(n.at_host(lambda p: ESP in p)) == hop(packet)
    finally:
        n.close()


# An address that becomes the gateway's own while the driver runs.
def test_address_added(kind):
    n = dpnet.Net("g", kind=kind, ports="20000-29999")
    try:
        n.ip(n.n, "addr", "add", f"{NB}/32", "dev", "wan0")
        server = n.socket(n.n, bind=(NB, 22), listen=True)
        client = n.socket(n.y)
        client.connect((NB, 22))
        server.close()
        client.close()
    finally:
        n.close()


# The rules go with the driver; those of one that was killed are replaced by the next.
def test_rules_of_a_predecessor(kind):
    n = dpnet.Net("k", kind=kind)
    try:
        mine = n.tables()
        assert mine == ["rsip_lan0_wan0"]
        n.dp.child.kill()
        n.dp.child.wait()
        assert n.tables() == mine
        n.dp.close()
        n.dp = dpnet.Driver(*n.driver)
        assert n.tables() == mine
        n.dp.lease(1, X1, spis="0x1000")
        n.from_peer(esp(0x1000, 1))
        n.at_host(lambda p: ESP in p)
        n.dp.close()
        assert n.tables() == []
    finally:
        n.close()


def pump(source, sink, size):
    """Send size bytes one way and close; what arrived must be the same."""
    text = hashlib.sha256()
    block = os.urandom(1 << 16) * 4

    def send():
        for at in range(0, size, len(block)):
            source.sendall(block[:size - at])
        source.shutdown(socket.SHUT_WR)
    sender = threading.Thread(target=send)
    sender.start()
    count = 0
    while data := sink.recv(1 << 18):
        count += len(data)
        text.update(data)
    sender.join()
    whole = (block * (size // len(block) + 1))[:size]
    assert count == size and text.digest() == hashlib.sha256(whole).digest()


# Unfinished checksums and 64 kB segments of a veth with its offloads on, both ways.
@pytest.mark.skipif(not dpnet.has_tun(), reason="needs /dev/net/tun")
@pytest.mark.parametrize("tunnel", ["ipip", "gre"])
def test_tcp_bulk(kind, tunnel):
    n = dpnet.Net("t", kind=kind, plain=True)
    try:
        n.dp.lease(1, X1, ports="20480-20495", tunnel=tunnel)
        n.tunnel(kind=tunnel)
        server = n.socket(n.y, bind=(Y, 5001), listen=True)
        client = n.socket(n.x, bind=(NB, 20480))
        client.connect((Y, 5001))
        far, where = server.accept()
        assert where == (NB, 20480)
        pump(client, far, 16 << 20)
        server.close()
        # And a connection that the peer opens.
        listener = n.socket(n.x, bind=(NB, 20481), listen=True)
        caller = n.socket(n.y)
        caller.connect((NB, 20481))
        near, _ = listener.accept()
        near.settimeout(20)
        pump(caller, near, 16 << 20)
        s = n.dp.stats()
        if kind == "xdp native":
            # The veth cuts for native XDP; what the hosts tunnel is whole and goes fast, what
            # the peer's kernel sends has unfinished checksums and goes the slow way.
            assert s["fast"] > 1000 and s["in.forward"] > 1000, s
        else:
            # Large segments came, else this would have tested nothing.
            assert s["segments"] > 100, s
        for s in (client, far, listener, caller, near):
            s.close()
    finally:
        n.close()


# One send of five datagrams (UDP_SEGMENT) reaches the driver as one packet and leaves as five.
# Before Linux 6.2 packet sockets could not say so and such a packet is lost.
@pytest.mark.skipif(tuple(int(n) for n in os.uname().release.split(".")[:2]) < (6, 2),
    reason="needs Linux 6.2")
def test_udp_segments(net, kind):
    before = net.dp.stats()["segments"]
    sender = net.socket(net.y, socket.SOCK_DGRAM, bind=(Y, 7000))
    sender.setsockopt(socket.IPPROTO_UDP, 103, 1000)
    sender.sendto(bytes(range(250)) * 20, (NB, 20481))
    parts = []
    while len(parts) < 5:
        parts.append(net.at_host(lambda p: UDP in p and p[UDP].dport == 20481))
    sender.close()
    assert b"".join(bytes(p[UDP].payload) for p in parts) == bytes(range(250)) * 20
    for p in parts:
        right = IP(bytes(p))
        del right[UDP].chksum
        assert IP(bytes(right))[UDP].chksum == p[UDP].chksum
    # A veth with native XDP lets its peer cut.
    assert net.dp.stats()["segments"] == before + (0 if kind == "xdp native" else 5)


# Nothing here needs root: the same tests in a user namespace of somebody else.
@pytest.mark.skipif(os.environ.get("DP_ALONE") is not None, reason="runs alone already")
def test_unprivileged():
    here = os.path.dirname(os.path.abspath(__file__))
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]
    if subprocess.run([*user, f"{here}/alone", "true"], check=False).returncode:
        pytest.skip("no unprivileged user namespaces here")
    run = subprocess.run([*user, f"{here}/alone", "/usr/bin/python3", "-m", "pytest", "-q",
        "-p", "no:cacheprovider", __file__], env=dict(os.environ, DP_ALONE="1"), text=True,
        capture_output=True, check=False)
    assert run.returncode == 0, run.stdout[-4000:]
