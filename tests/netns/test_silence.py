"""The slow path's promises, at their worst: a gateway whose kernel forwards, with every packet that belongs
to nobody.  The kernel says nothing, sends nothing on, and each packet is counted once; between fast
and slow path nothing is lost."""
import time

import dpnet
import pytest
from dpnet import NB, WAN, X1, Y
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

pytestmark = dpnet.needs_network

EACH, SPI = 100, 0xC0010000


@pytest.fixture(scope="module", params=dpnet.KINDS)
def kind(request):
    reason = dpnet.lacks(request.param)
    if reason:
        pytest.skip(reason)
    return request.param


@pytest.fixture(scope="module", params=[NB, WAN], ids=["pool address", "own address"])
def net(request, kind):
    n = dpnet.Net("z", kind=kind, pools=request.param, ports="20000-29999")
    n.shared = request.param
    try:
        # Nothing that slows the kernel's answers down, everything that lets it send on.
        dpnet.sh("ip", "netns", "exec", n.n, "sysctl", "-qw", "net.ipv4.ip_forward=1",
            "net.ipv4.icmp_ratelimit=0", "net.ipv4.icmp_msgs_per_sec=1000000")
        n.dp.lease(1, X1, address=n.shared, ports="20480-20495", spis="0xc0010000-0xc00100ff")
        yield n
    finally:
        n.close()


def kernel(n):
    """What the gateway's kernel sent or sent on, by its own counters."""
    def read():
        with open("/proc/thread-self/net/snmp", encoding="ascii") as f:
            lines = [line.split() for line in f]
        return {f"{a[0]}{name}": int(value) for a, b in zip(lines[::2], lines[1::2])
            for name, value in zip(a[1:], b[1:])}
    have = dpnet.in_netns(n.n, read)
    return {k: have[k] for k in ("Ip:ForwDatagrams", "Ip:OutRequests", "Ip:OutNoRoutes",
        "Icmp:OutMsgs", "Tcp:OutRsts")}


def nobodys(shared):
    """Packets that match no lease, and the reason that each is counted by."""
    head = IP(src=Y, dst=shared)
    cut = fragment(IP(bytes(IP(src=Y, dst=shared) / ESP(spi=9, seq=1, data=bytes(60)))), 32)
    assert len(cut) == 3
    return [
        (head / TCP(sport=1, dport=20001, flags="S"), "no_bind"),
        (head / TCP(sport=1, dport=20001, flags="A"), "no_bind"),
        (head / UDP(sport=1, dport=20001) / Raw(b"x"), "no_bind"),
        (head / UDP(sport=1, dport=500) / Raw(bytes([1]) * 40), "no_cookie"),
        (head / UDP(sport=1, dport=4500) / Raw(bytes([1]) * 40), "no_spi"),
        (head / ESP(spi=9, seq=1, data=bytes(20)), "no_spi"),
        (head / AH(nh=17, payloadlen=4, spi=9, seq=1, icv=bytes(12)) / Raw(bytes(8)), "no_spi"),
        (IP(src=Y, dst=shared, options=b"\x94\x04\x00\x00") / ESP(spi=9, seq=1, data=bytes(8)),
            "no_spi"),
        (IP(src="127.0.0.1", dst=shared) / ESP(spi=9, seq=1, data=bytes(8)), "martian"),
    ]


# P-10.2.2-05, S-5-04: no RST, no ICMP, nothing sent on; each counted once, by its reason.
def test_storm(net):
    n = net
    n.peer.drain()
    said, before = kernel(n), n.dp.stats()
    want = {}
    for packet, reason in nobodys(n.shared):
        frame = bytes(Ether(src=n.peer.mac, dst=n.peer.peer_mac) / packet)
        for _ in range(EACH):
            n.peer.sock.send(frame)
        want[reason] = want.get(reason, 0) + EACH
    for reason, count in want.items():
        n.dp.until(f"in.{reason}", before.get(f"in.{reason}", 0) + count)
    after = n.dp.stats()
    assert {r: after[f"in.{r}"] - before.get(f"in.{r}", 0) for r in want} == want
    assert after["lost"] == before["lost"]
    # The last word: what the kernel had to say would have come before it.
    if n.shared == NB:
        n.from_peer(IP(src=Y, dst=n.shared) / ICMP(type=8, id=3, seq=4))
        assert n.at_peer(lambda p: p.src in (NB, WAN))[ICMP].type == 0
    assert kernel(n) == said


# A flood of hosts that hold nothing, and of one that holds something else: each packet counted, and in
# driver xdp few of them wake user space; meanwhile the holder's are carried.
@pytest.mark.parametrize("host,reasons", [("10.0.0.99", ["unregistered"]),
    (X1, ["addrport_unallowed", "flood"])])
def test_flood_from_inside(net, kind, host, reasons):
    n, many = net, 2000
    n.dp.misuse.clear()
    before = n.dp.stats()
    wrong = bytes(Ether(src=n.hosts.mac, dst=n.hosts.peer_mac) / IP(src=host, dst=dpnet.NA) /
        IP(src=n.shared, dst=Y) / UDP(sport=29999, dport=9) / Raw(b"flood"))
    for _ in range(many):
        n.hosts.sock.send(wrong)
    n.peer.drain()
    n.from_host(IP(src=n.shared, dst=Y, id=77) / UDP(sport=20480, dport=9) / Raw(b"legal"))
    n.at_peer(lambda p: UDP in p and bytes(p[UDP].payload) == b"legal")

    def dropped():
        after = n.dp.stats()
        return sum(after.get(f"out.{r}", 0) - before.get(f"out.{r}", 0) for r in reasons) + \
            after["lost"] - before["lost"]
    end = time.monotonic() + dpnet.DEADLINE
    while dropped() < many:
        assert time.monotonic() < end, n.dp.stats()
    assert dropped() == many
    assert len(n.dp.misuse) == many if kind == "packet" else 0 < len(n.dp.misuse) < many / 2


# What the driver took and could not end (fragments that never get their first part) leaves the
# kernel as silent.
def test_fragments_without_their_first(net):
    n = net
    said, before = kernel(n), n.dp.stats()
    packet = IP(src=Y, dst=n.shared, proto=17, frag=5) / Raw(bytes(range(64)) * 2)
    for i in range(EACH):
        packet.id = i
        n.from_peer(packet)
    n.from_peer(IP(src=Y, dst=n.shared) / ESP(spi=9, seq=1, data=bytes(20)))
    n.dp.until("in.no_spi", before.get("in.no_spi", 0) + 1)
    assert kernel(n) == said


# Fast and slow packets of one lease by turns: all arrive.
def test_nothing_is_lost_between(net):
    n = net
    n.from_peer(IP(src=Y, dst=n.shared) / ESP(spi=SPI, seq=1, data=b"first"))
    n.at_host(lambda p: ESP in p)
    before = n.dp.stats()
    whole = IP(src=Y, dst=n.shared) / ESP(spi=SPI, seq=1, data=bytes(400))
    with_options = IP(src=Y, dst=n.shared, options=b"\x94\x04\x00\x00") / ESP(spi=SPI, seq=1,
        data=bytes(40))
    ether = Ether(src=n.peer.mac, dst=n.peer.peer_mac)
    fast, slow = bytes(ether / whole), bytes(ether / with_options)
    for i in range(EACH * 10):
        whole.id = i
        n.peer.sock.send(fast)
        if i % 4 == 0:
            for part in fragment(IP(bytes(whole)), 200):
                n.peer.sock.send(bytes(ether / part))
        n.peer.sock.send(slow)
    after = n.dp.until("in.forward", before["in.forward"] + EACH * 10 * 2 + EACH * 10 // 4)
    assert after["lost"] == before["lost"]
    assert after["in.forward"] == before["in.forward"] + EACH * 10 * 2 + EACH * 10 // 4
