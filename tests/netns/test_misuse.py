"""What a host may not send: dropped, counted, and answered with the number of RFC 3103 10.4, from end
to end; and a flood of it."""
import contextlib
import time

import dpnet
import pytest
import topo
from topo import NB, Y, Y2, Gateway, Net, road, wait_for

WHY_NOT = topo.why_not()
if WHY_NOT:
    pytest.skip(WHY_NOT, allow_module_level=True)
bare = pytest.importorskip("bare", reason="tests/control/rsip.py is missing")
from bare import IP, TCP, UDP, Raw, rsip  # noqa: E402
from scapy.layers.l2 import GRE  # noqa: E402

FLOOD = 3000


@pytest.fixture(scope="module", params=["packet", "xdp"])
def place(request, tmp_path_factory):
    """A gateway whose leases name their remote and port, and a host with such a lease."""
    reason = dpnet.lacks("packet" if request.param == "packet" else "xdp generic")
    if reason:
        pytest.skip(reason)
    with Net(tmp_path_factory.mktemp("misuse") / "net") as net, contextlib.ExitStack() as stack:
        net.dir.mkdir()
        road(net)
        gateway = Gateway(net, policy='remote-flow = "micro"')
        gateway.conf.write_text(gateway.conf.read_text().replace('"packet"',
            f'"{request.param}"'))
        gateway.driver = request.param
        gateway.start()
        host = stack.enter_context(contextlib.closing(bare.BareHost(net, "x1"))).register()
        r = host.requests
        host.granted = r.call(rsip.ASSIGN_RSAP, r.me(), rsip.address(), rsip.ports(4),
            rsip.address(Y), rsip.ports(1, 80))
        assert host.granted.type == rsip.ASSIGN_RSAP_OK, host.granted
        host.port = min(host.granted.local_ports())
        yield gateway, host
        gateway.end()


def dropped(gateway, reason):
    return gateway.metrics()[f'rsip_drops_total{{reason="{reason}"}}']


def udp(port, dst=Y, dport=80, src=NB):
    return IP(src=src, dst=dst) / UDP(sport=port, dport=dport) / Raw(b"misuse")


# P-10.4-01, P-10.4-02, P-10.4-03, P-10.4-04, P-10.4-05, P-6-13: each with its number, the counter 0, and
# the lease where one is concerned.
@pytest.mark.parametrize("what,error,reason", [
    ("address", 312, "addr_unallowed"), ("port", 313, "addrport_unallowed"),
    ("protocol", 313, "addrport_unallowed"), ("remote", 314, "remote_unallowed"),
    ("remote port", 315, "remoteport_unallowed"), ("ipsec", 401, "ipsec_unallowed"),
    ("tunnel", 307, "tunnel_type")])
def test_each_is_told(place, what, error, reason):
    gateway, host = place
    packet = {"address": udp(host.port, src="203.0.113.9"), "port": udp(host.port + 4),
        "protocol": IP(src=NB, dst=Y, proto=132) / Raw(bytes(16)), "remote": udp(host.port, Y2),
        "remote port": udp(host.port, dport=81), "ipsec": bare.esp(NB, Y, 0x1001),
        "tunnel": udp(host.port)}[what]
    before = dropped(gateway, reason)
    if what == "tunnel":
        with host.net.inside("x1"), dpnet.socket.socket(dpnet.socket.AF_INET,
                dpnet.socket.SOCK_RAW, 47) as raw:
            raw.bind((host.address, 0))
            raw.sendto(bytes(GRE() / packet), (topo.NA, 0))
    else:
        host.send(packet)
    told = host.requests.receive()
    assert (told.type, told.error, told.counter) == (rsip.ERROR, error, 0)
    assert told.client == host.requests.client
    if error in (314, 315):
        assert told.bind == host.granted.bind
    assert dropped(gateway, reason) == before + 1


# P-10.2.2-06, P-6-12: who holds nothing is told 312 where it is registered, a stranger nothing.
def test_without_a_lease(place):
    gateway, host = place
    before = dropped(gateway, "unregistered")
    with contextlib.closing(bare.BareHost(host.net, "x2")) as other:
        other.send(udp(20480))
        wait_for(lambda: dropped(gateway, "unregistered") == before + 1, "the drop")
        assert other.register().requests.silent(0)
        other.send(udp(20480))
        told = other.requests.receive()
        assert (told.type, told.error, told.counter) == (rsip.ERROR, 312, 0)
        assert other.requests.deregister().type == rsip.DEREGISTER_OK


# P-10.4-07: the drop is not limited, the answers are; others are served meanwhile, and the host's own
# packets are carried.
def test_flood(place):
    gateway, host = place
    host.requests.drain()
    before, wrong = counted(gateway), bare.raw(udp(host.port + 4))
    begin = time.monotonic()
    with contextlib.closing(bare.BareHost(host.net, "x2")) as other:
        for i in range(FLOOD):
            host.tunnel.sendto(wrong, (topo.NA, 0))
            if i == FLOOD // 2:
                other.register()
                assert other.requests.deregister().type == rsip.DEREGISTER_OK
    wait_for(lambda: counted(gateway) >= before + FLOOD, "all of the flood counted")
    if gateway.driver == "xdp":  # most of it never came to rsipd
        assert dropped(gateway, "flood") > FLOOD / 2
    told = []
    while not host.requests.silent(0):
        told.append(host.requests.receive())
    assert {(m.type, m.error) for m in told} == {(rsip.ERROR, 313)}
    assert 1 <= len(told) <= 5 + time.monotonic() - begin + 1
    wire = topo.Wire(host.net, "y", "eth0")
    host.send(IP(src=NB, dst=Y) / TCP(sport=host.port, dport=80, flags="S"))
    wait_for(lambda: any(p.proto == 6 and p.src == NB for p in wire.read()), "the legal packet")
    wire.close()


def counted(gateway):
    """Refused, or more of it than a host may ask, or more than was looked at."""
    return dropped(gateway, "addrport_unallowed") + dropped(gateway, "flood") + \
        gateway.metrics()["rsip_frames_lost_total"]
