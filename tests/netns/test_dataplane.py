"""Driver `packet` between real links: what leaves, byte for byte, and what is counted."""
import dpnet
import pytest
from dpnet import DEDICATED, NA, NB, NB2, WAN, X1, X2, Y, hop, inner_of, sent
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

pytestmark = dpnet.needs_network

SPI1, SPI2 = 0xC0010000, 0xC0020000


@pytest.fixture(scope="module")
def net():
    n = dpnet.Net("d")
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
