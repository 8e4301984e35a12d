"""Hosts that do not speak RSIP, translated by the kernel, beside leases on the same address."""
import contextlib
import signal
import socket
import subprocess

import dpnet
import pytest
import topo
from bare import BareHost
from dpnet import NA, NB, WAN, X1, Y, hop
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.ipsec import ESP
from scapy.packet import Raw
from test_dataplane import pump

pytestmark = dpnet.needs_network

PLAIN, PORTS, SPI = "10.0.0.50", range(40000, 50000), 0xC0010000


class Case:
    """One network: the hosts' side has a plain host, and X1 with a lease on the address."""

    def __init__(self, kind, shared, tag="q", pins=None):
        own = shared == WAN
        self.net = n = dpnet.Net(tag, kind=kind, pools=shared, ports="20000-29999",
            pins=pins, napt="10.0.0.0/24 40000-49999" + ("" if own else f" {shared}"))
        self.shared, self.kind = shared, kind
        try:
            dpnet.sh("ip", "netns", "exec", n.n, "sysctl", "-qw", "net.ipv4.ip_forward=1")
            n.ip(n.x, "addr", "add", f"{PLAIN}/24", "dev", "eth0")
            n.ip(n.x, "route", "add", "198.51.100.0/24", "via", NA, "src", PLAIN)
            n.dp.lease(1, X1, address=shared, ports="20480-20495", spis="0xc0010000-0xc00100ff")
        except BaseException:
            n.close()
            raise

    def leases_work(self):
        """Both ways, by SPI and by port, byte for byte."""
        n = self.net
        n.hosts.drain()
        n.peer.drain()
        for packet in (IP(src=Y, dst=self.shared, id=7) / ESP(spi=SPI, seq=1, data=b"x" * 40),
                IP(src=Y, dst=self.shared, id=8) / UDP(sport=53, dport=20480) / Raw(b"answer")):
            n.from_peer(packet)
            assert bytes(n.at_host(lambda p, p0=packet: p.id == p0.id)) == hop(packet)
        out = IP(src=self.shared, dst=Y, id=9) / TCP(sport=20481, dport=80, flags="S")
        n.from_host(out)
        assert bytes(n.at_peer(lambda p: TCP in p and p[TCP].sport == 20481)) == hop(out)


@pytest.fixture(scope="module", params=dpnet.KINDS)
def kind(request):
    reason = dpnet.lacks(request.param)
    if reason:
        pytest.skip(reason)
    return request.param


# Nb that is no address of the gateway, and its only public address.
@pytest.fixture(scope="module", params=[NB, WAN], ids=["pool address", "own address"])
def case(request, kind):
    c = Case(kind, request.param)
    yield c
    c.net.close()


@pytest.fixture(autouse=True)
def quiet(request):
    if "case" in request.fixturenames:
        net = request.getfixturevalue("case").net
        net.hosts.drain()
        net.peer.drain()


def connected(n, port):
    """A plain host's connection to the peer, and from where the peer sees it."""
    server = n.socket(n.y, bind=(Y, port), listen=True)
    client = n.socket(n.x)
    client.connect((Y, port))
    far, where = server.accept()
    server.close()
    return client, far, where


# F-3.1-13, F-3.1-14, F-2-16, F-6.5-04: one address for the gateway's translation and for leases; the plain
# host's bulk transfer and the leases do not notice each other.
def test_tcp_beside_leases(case):
    n = case.net
    client, far, where = connected(n, 5001)
    assert where[0] == case.shared and where[1] in PORTS
    case.leases_work()
    pump(client, far, 4 << 20)
    client.close()
    far.close()
    client, far, where = connected(n, 5002)
    assert where[1] in PORTS
    pump(far, client, 4 << 20)
    client.close()
    far.close()
    case.leases_work()


# Also datagrams in fragments, whose later parts begin like a packet to a leased port, and errors
# of the peer's kernel.
def test_udp_and_errors(case):
    n = case.net
    far = n.socket(n.y, socket.SOCK_DGRAM, bind=(Y, 7000))
    host = n.socket(n.x, socket.SOCK_DGRAM)
    host.connect((Y, 7000))
    for text in (b"short", bytes.fromhex("000161a8") * 1000):
        host.send(text)
        got, where = far.recvfrom(8192)
        assert got == text and where[0] == case.shared and where[1] in PORTS
        far.sendto(text, where)
        assert host.recv(8192) == text
    far.close()
    host.send(b"nobody is there")
    with pytest.raises(ConnectionRefusedError):
        host.recv(10)
    host.close()


# A plain host's ping, and one of a host with a lease at the same time (A-C-05).
def test_ping_of_both(case):
    n = case.net
    query = IP(src=case.shared, dst=Y, id=1) / ICMP(type=8, id=0x7777, seq=1) / Raw(b"leased")
    n.from_host(query)
    reply = n.at_host(lambda p: ICMP in p and p[ICMP].type == 0)
    assert bytes(reply[ICMP].payload) == b"leased"
    n.hosts.send(IP(src=PLAIN, dst=Y) / ICMP(type=8, id=0x7777, seq=1) / Raw(b"plain"))
    seen = n.at_peer(lambda p: ICMP in p and p[ICMP].type == 8 and b"plain" in bytes(p))
    assert seen.src == case.shared and seen[ICMP].id in PORTS
    back = n.hosts.expect(lambda f: ICMP in f and f[ICMP].type == 0 and f[IP].dst == PLAIN)
    assert bytes(back[ICMP].payload) == b"plain" and back[ICMP].id == 0x7777


# F-6.5-05: what an RSIP host sends beside its tunnel is translated like anybody's; a leased
# source beside the tunnel goes nowhere.
def test_beside_the_tunnel(case):
    n = case.net
    n.hosts.send(IP(src=case.shared, dst=Y) / UDP(sport=20480, dport=9) / Raw(b"past"))
    n.hosts.send(IP(src=X1, dst=Y) / UDP(sport=20480, dport=9) / Raw(b"beside"))
    seen = n.at_peer(lambda p: UDP in p and p[UDP].dport == 9)
    assert bytes(seen[UDP].payload) == b"beside"
    assert seen.src == case.shared and seen[UDP].sport in PORTS


# S-5-04, A-C-05: ESP of a plain host has no field to come back by; it is told so.
def test_other_protocols(case):
    n = case.net
    n.hosts.send(IP(src=PLAIN, dst=Y) / ESP(spi=5, seq=1, data=b"x" * 20))
    told = n.hosts.expect(lambda f: ICMP in f and f[ICMP].type == 3 and f[IP].dst == PLAIN)
    assert told[ICMP].code == 13


# What is for no translated host: not answered, not sent back, and pool ports stay the pool's.
def test_strays(case):
    n = case.net
    before = n.dp.stats().get("in.no_bind", 0)
    if case.shared != WAN:  # on its own address the kernel answers for its own ports
        n.from_peer(IP(src=Y, dst=case.shared) / TCP(sport=1, dport=40001, flags="S"))
        n.from_peer(IP(src=Y, dst=case.shared) / UDP(sport=1, dport=40002))
    n.from_peer(IP(src=Y, dst=case.shared) / TCP(sport=1, dport=20002, flags="S"))
    n.dp.until("in.no_bind", before + 1)
    n.from_peer(IP(src=Y, dst=case.shared) / ICMP(type=8, id=3, seq=4) / Raw(b"last"))
    first = n.at_peer(lambda p: p.src == case.shared or p.dst == case.shared and p.src != Y)
    assert first[ICMP].type == 0


def ip_tables(n):
    out = subprocess.run(["ip", "netns", "exec", n.n, "nft", "list", "tables", "ip"], check=True,
        capture_output=True, text=True).stdout
    return [line.split()[2] for line in out.splitlines() if line]


# The rules go with the driver's end.
def test_rules_end(kind):
    c = Case(kind, NB, "r")
    try:
        assert ip_tables(c.net) == ["rsip_lan0_wan0"]
        c.net.dp.close()
        assert ip_tables(c.net) == []
    finally:
        c.net.close()


# And stay where the data plane stays, for the next process to replace.
def test_rules_stay(kind, pins):
    if kind == "packet":
        pytest.skip("driver packet ends with its process")
    c = Case(kind, NB, "s", pins=pins)
    n = c.net
    try:
        for s in connected(n, 5002)[:2]:  # the peer has its ARP answer
            s.close()
        for _ in range(2):  # and the programs know the ways
            c.leases_work()
        n.dp.close()
        client, far, where = connected(n, 5003)
        assert where[0] == NB and where[1] in PORTS
        c.leases_work()
        n.dp = dpnet.Driver(*n.driver, pins=pins, settle=False)
        n.dp.ask("settled")
        assert ip_tables(n) == []
        client.close()
        far.close()
    finally:
        n.close()


# --- by rsipd ---

@pytest.fixture
def road():
    reason = topo.why_not()
    if reason:
        pytest.skip(reason)
    net = topo.Net()
    try:
        yield topo.road(net)
    finally:
        net.close()


NAPT = f'napt = {{ "10.0.0.0/24" }}\n napt-address = "{topo.NB}"'
POOL = 'ports = { "1024-32767" }'


def plain_udp(net):
    """From where the peer sees a datagram of x2; None when it does not arrive."""
    with net.inside("y"):
        far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        far.bind((topo.Y, 7000))
    with net.inside("x2"):
        host = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with far, host:
        far.settimeout(0.3)
        host.settimeout(3)
        host.sendto(b"plain", (topo.Y, 7000))
        with contextlib.suppress(TimeoutError):
            _, where = far.recvfrom(100)
            if where[0] == topo.NB:
                far.sendto(b"back", where)
                assert host.recv(100) == b"back"
            return where
    return None


def refused(gateway):
    """What rsipd says when it does not start."""
    with pytest.raises(topo.Failed) as fault:
        gateway.start()
    gateway.process.wait(20)
    return str(fault.value)


def test_rsipd(road):
    """S-F-01, F-2-16: set up at the start, refused with the reason, changed by a reload, gone at the end."""
    road.sysctl("n", "net.ipv4.ip_forward=0")
    gateway = topo.Gateway(road, pool=POOL, dataplane=NAPT)
    assert "napt: the kernel does not forward packets of lan0" in refused(gateway)
    road.sysctl("n", "net.ipv4.ip_forward=1")
    gateway.start()
    where = plain_udp(road)
    assert where[0] == topo.NB and 32768 <= where[1] <= 60999
    host = BareHost(road, "x1").register()
    granted = host.lease()
    assert granted
    assert plain_udp(road)[0] == topo.NB
    # Without napt the plain host's packets leave as the kernel forwards them.
    text = gateway.conf.read_text()
    gateway.conf.write_text(text.replace(NAPT, ""))
    gateway.process.send_signal(signal.SIGHUP)
    topo.wait_for(lambda: "configuration taken" in gateway.log(), "the reload")
    assert (plain_udp(road) or ("", 0))[0] != topo.NB
    gateway.conf.write_text(text)
    gateway.process.send_signal(signal.SIGHUP)
    topo.wait_for(lambda: gateway.log().count("configuration taken") == 2, "the second reload")
    assert plain_udp(road)[0] == topo.NB
    assert gateway.end() == 0
    assert "rsip_" not in road.run("n", "nft", "list", "tables")
    host.close()


def test_rsipd_refuses_own_ports(road):
    """F-3.1-14: an own address, and ports that the pool leases as well."""
    road.batch("n", f"addr add {topo.NB}/32 dev wan0")
    road.sysctl("n", "net.ipv4.ip_forward=1")
    road.sysctl("n", "net.ipv4.ip_local_port_range=61000 65000")
    gateway = topo.Gateway(road, pool='ports = { "1024-40000" }',
        dataplane='napt = { "10.0.0.0/24" }')
    said = refused(gateway)
    assert f"pool address {topo.NB}" in said and "napt-ports" in said and "32768" in said
