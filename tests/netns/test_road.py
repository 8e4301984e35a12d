"""The whole road: rsipd with driver packet, `rsip up` on two hosts, a peer; every node a namespace.

ESP and AH are real packets, by scapy.  What a guest adds to this is in tests/ipsec.
"""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading

import pytest
import topo
from topo import HOSTS, NB, Y, Y2, Gateway, Host, Net, Wire, road, wait_for

WHY_NOT = topo.why_not()
if WHY_NOT:
    pytest.skip(WHY_NOT, allow_module_level=True)
bare = pytest.importorskip("bare", reason="tests/control/rsip.py is missing")
import esp
import talk


@pytest.fixture
def network(tmp_path):
    """The topology, and a place for whatever has to be closed."""
    with Net(tmp_path / "net") as net, contextlib.ExitStack() as stack:
        net.dir.mkdir()
        road(net)
        net.keep = lambda thing: stack.enter_context(contextlib.closing(thing))
        yield net


@pytest.fixture
def up(network):
    """A running gateway and two hosts with a lease each; also {name: Lease}."""
    gateway = Gateway(network).start()
    return gateway, {name: Host(network, name).up() for name in HOSTS}


def pairs_for(leases, kind, peers):
    """One pair of SAs a host; the host's inbound SPI is of its lease."""
    return {name: esp.Pair(kind, 0x1001 + i, leases[name].spis[0][0], peers[i])
        for i, name in enumerate(leases)}


def quiet(net, gateway):
    """Everything that rsipd has been sent is dealt with once this returns.

    A packet that is dropped says nothing; but packets are handled in order, so one that is
    counted means that those before it are done.
    """
    before = drops(gateway)["no_spi"]
    ends = esp.Ends(net, "y")
    ends.send(bare.raw(bare.esp(Y, NB, 300)))
    ends.close()
    wait_for(lambda: drops(gateway)["no_spi"] > before, "the gateway counts no drop")


def drops(gateway):
    """Drops by reason, and the same by the other way to them."""
    shown = gateway.show("counters")["rsip_drops_total"]
    scraped = {k.split('"')[1]: v for k, v in gateway.metrics().items()
        if k.startswith("rsip_drops_total{")}
    assert {r: n for r, n in shown.items() if r != "no_spi"} == \
        {r: n for r, n in scraped.items() if r != "no_spi"}
    return shown


# S-2-01, S-5-02, S-5-03, S-5-05, S-5-10: one address, ESP and AH, one peer or two; each answer
# finds its host, and opens there.
@pytest.mark.parametrize("kind", ["esp", "ah"])
@pytest.mark.parametrize("peers", [(Y, Y), (Y, Y2)], ids=["one-peer", "two-peers"])
def test_ipsec_of_two_hosts_at_once(network, up, kind, peers):
    _, leases = up
    pairs = pairs_for(leases, kind, peers)
    peer = network.keep(esp.Peer(network, pairs))
    talkers = {name: network.keep(esp.Talker(network, name, pairs[name])) for name in HOSTS}
    wire = network.keep(Wire(network, "r", "y0"))
    for n in range(3):
        for name in HOSTS:
            assert talkers[name].ask(f"{n} of {name}") == f"to {name}: {n} of {name}"
    assert {(name, src) for name, src, *_ in peer.seen} == {(name, NB) for name in HOSTS}
    there = [p for p in wire.read() if p.src == NB]
    assert {p.proto for p in there} == {esp.NUMBERS[kind]}
    assert {(p.dst, p.spi) for p in there} == {(p.peer, p.to_peer) for p in pairs.values()}


# F-2-11, F-3.1-03: TCP and UDP of ordinary sockets, both hosts at once, from leased ports only.
def test_ordinary_sockets_use_leased_ports(network, up):
    _, leases = up
    network.keep(talk.Service(network, "y", 7777))
    for kind in ("tcp", "udp"):
        held = {(name, n): network.keep(talk.connect(network, name, kind, Y, 7777))
            for n in range(4) for name in HOSTS}
        for (name, n), s in held.items():
            address, port = s.getsockname()
            assert address == NB and leases[name].has_port(port)
            assert talk.request(s, f"{n}") == f"y saw {NB} {port}: {n}"
            s.close()


# F-2-11, F-2-12: a peer reaches what listens on a leased port, and only there.
def test_peer_reaches_the_holder_of_a_port(network, up):
    _, leases = up
    for name in HOSTS:
        network.keep(talk.Service(network, name, leases[name].ports[0][0], NB))
    for kind in ("tcp", "udp"):
        for name in HOSTS:
            port = leases[name].ports[0][0]
            _, answer = talk.ask(network, "y", kind, NB, port, "who?")
            assert answer.startswith(f"{name} saw {Y} ")


# F-6.7-01: from one host to a port of another, by way of the gateway and not of the public link.
def test_hosts_reach_each_other(network):
    Gateway(network).start()
    one, two = (network.keep(bare.BareHost(network, name)).register() for name in HOSTS)
    ports = [min(h.lease().local_ports()) for h in (one, two)]
    wire = network.keep(Wire(network, "n", "wan0"))
    one.send(bare.udp(NB, ports[0], NB, ports[1], "over"))
    got = two.receive()
    assert (got.src, got.dst, got.ports) == (NB, NB, tuple(ports)) and got.payload[8:] == b"over"
    assert not wire.read()


# F-6.2-01: echo requests of both hosts, the answers sorted by identifier.
def test_ping_from_both_hosts(network, up):
    pings = [network.start(name, "ping", "-n", "-c", 5, "-i", 0.2, "-W", 2, Y, log=f"ping-{name}")
        for name in HOSTS]
    assert [p.wait(20) for p in pings] == [0, 0]


# F-2-05: a host with an address of its own uses any port and any SPI of it.
def test_whole_address(network):
    gateway = Gateway(network, pool='dedicated = { "203.0.113.9" }').start()
    lease = Host(network, "x1").up("--method", "rsa-ip")
    assert (lease.address, lease.ports, lease.spis) == ("203.0.113.9", [], [])
    assert gateway.show("bindings")[0]["method"] == "rsa-ip"
    network.keep(talk.Service(network, "y", 7777))
    network.keep(talk.Service(network, "x1", 80, lease.address))
    _, answer = talk.ask(network, "x1", "tcp", Y, 7777, "hi", source=(lease.address, 25))
    assert answer == f"y saw {lease.address} 25: hi"
    _, answer = talk.ask(network, "y", "tcp", lease.address, 80, "hi")
    assert answer.startswith(f"x1 saw {Y} ")
    for kind in ("esp", "ah"):
        pair = esp.Pair(kind, 0x2001, 0x99999999, own=lease.address)
        peer = network.keep(esp.Peer(network, {"x1": pair}))
        assert network.keep(esp.Talker(network, "x1", pair)).ask(kind) == f"to x1: {kind}"
        peer.close()


# S-5-08: without an IPsec lease no ESP leaves, though the ports of the host work.
def test_no_esp_without_an_ipsec_lease(network):
    gateway = Gateway(network).start()
    lease = Host(network, "x1").up("--method", "rsap-ip")
    assert lease.ports and not lease.spis
    wire = network.keep(Wire(network, "r", "y0"))
    with pytest.raises(topo.Failed):
        network.keep(esp.Talker(network, "x1", esp.Pair("esp", 0x2001, 0x2002))).ask("hi", 0.3)
    wait_for(lambda: drops(gateway)["ipsec_unallowed"] == 1, "no drop as ipsec_unallowed")
    network.keep(talk.Service(network, "y", 7777))
    talk.ask(network, "x1", "udp", Y, 7777, "hi")
    assert {p.proto for p in wire.read()} == {17}


# A segment larger than the tunnel takes; veth hands over unfinished checksums, too.
def test_bulk_over_tcp(network, up):
    text = os.urandom(300_000).hex()
    with network.inside("y"):
        server = network.keep(socket.create_server((Y, 7778)))
    client = network.keep(talk.connect(network, "x1", "tcp", Y, 7778, seconds=10))
    accepted = network.keep(server.accept()[0])
    accepted.settimeout(10)
    for sender, receiver in ((client, accepted), (accepted, client)):
        sending = network.keep(Sending(sender, text))
        got = b""
        while len(got) < len(text):
            part = receiver.recv(65536)
            assert part
            got += part
        assert got.decode() == text
        sending.join()


class Sending(threading.Thread):
    def __init__(self, s, text):
        super().__init__(target=s.sendall, args=(text.encode(),), daemon=True)
        self.start()

    def close(self):
        self.join(10)


# P-10.2.2-01: a gateway that dies in the middle of traffic comes back with every lease, the hosts
# do nothing, and while it is away the kernel answers nobody for the shared address.
def test_gateway_killed_during_traffic(network, up):
    gateway, leases = up
    pairs = pairs_for(leases, "esp", (Y, Y))
    network.keep(esp.Peer(network, pairs))
    talkers = {name: network.keep(esp.Talker(network, name, pairs[name])) for name in HOSTS}
    for name in HOSTS:
        talkers[name].ask("before")
    bindings = gateway.show("bindings")
    assert gateway.end(signal.SIGKILL) == -signal.SIGKILL
    wire = network.keep(Wire(network, "n", "wan0"))
    for name in HOSTS:
        with pytest.raises(topo.Failed):
            talkers[name].ask("while it is dead", 0.3)
    with pytest.raises(TimeoutError):
        talk.connect(network, "y", "tcp", NB, leases["x1"].ports[0][0], seconds=0.5)
    assert not [p for p in wire.read() if p.src == NB]
    gateway.start()
    for name in HOSTS:
        assert talkers[name].ask("after") == f"to {name}: after"
    strip = lambda bs: sorted((b["bind_id"], b["host"], b["ports"], b["spis"]) for b in bs)
    assert strip(gateway.show("bindings")) == strip(bindings)


# P-6-06: traffic stops when the lease runs out, both ways.
def test_expired_lease_carries_nothing(network):
    gateway = Gateway(network).start()
    host = network.keep(bare.BareHost(network, "x1")).register()
    answer = host.lease(seconds=2)
    spi, port = min(answer.local_spis()), min(answer.local_ports())
    ends = network.keep(esp.Ends(network, "y"))
    wire = network.keep(Wire(network, "r", "y0"))
    ends.send(bare.raw(bare.esp(Y, NB, spi)))
    assert host.receive().spi == spi
    host.send(bare.udp(NB, port))
    wait_for(lambda: [p for p in wire.read() if p.src == NB], "the leased port does not get through")
    wait_for(lambda: not gateway.show("bindings"), "the lease does not run out")
    while host.receive(0):  # the peer's ICMP
        pass
    wire.packets.clear()
    before = drops(gateway)
    ends.send(bare.raw(bare.esp(Y, NB, spi)))
    host.send(bare.udp(NB, port))
    quiet(network, gateway)
    assert host.receive(0) is None and not [p for p in wire.read() if p.src == NB]
    after = drops(gateway)
    assert after["no_spi"] >= before["no_spi"] + 2
    assert sum(after.values()) >= sum(before.values()) + 3


# F-6.1-01: what was freed rests before anybody gets it, and carries nothing meanwhile.
def test_freed_tuples_rest(network):
    gateway = Gateway(network, pool="hold-down = 3").start()
    one, two = (network.keep(bare.BareHost(network, name)).register() for name in HOSTS)
    answer = one.lease()
    port, spi = min(answer.local_ports()), min(answer.local_spis())
    assert one.requests.free(answer.bind).type == bare.rsip.FREE_OK
    pool = gateway.show("pools")[0]["addresses"][0]
    assert (pool["ports_held"], pool["ports_resting"]) == (0, 4)
    wish = lambda: two.requests.assign(1, NB, port)
    assert wish().error == 311
    ends = network.keep(esp.Ends(network, "y"))
    ends.send(bare.raw(bare.esp(Y, NB, spi)))
    quiet(network, gateway)
    assert one.receive(0) is None and two.receive(0) is None
    granted = wait_for(lambda: (lambda a: a.error is None and a)(wish()), "it rests for ever")
    assert granted.local_ports() == {port}


# What a host or a peer may not send: (who, what is sent, reason); H is the host's lease.
UNLEASED = [
    ("y", lambda H: bare.esp(Y, NB, 300), "no_spi"),
    ("y", lambda H: bare.ah(Y, NB, 300), "no_spi"),
    ("y", lambda H: bare.udp(Y, 7777, NB, 1100), "no_bind"),
    ("y", lambda H: bare.tcp(Y, 7777, NB, 1100), "no_bind"),
    ("y", lambda H: bare.udp(Y, 500, NB, 500, "x" * 28), "no_cookie"),
    ("y", lambda H: bare.udp(Y, 500, NB, 500, "x"), "ike_short"),
    ("x1", lambda H: bare.udp(NB, 1100), "addrport_unallowed"),
    ("x1", lambda H: bare.tcp(NB, 1100), "addrport_unallowed"),
    ("x1", lambda H: bare.udp("203.0.113.77", min(H.local_ports())), "addr_unallowed"),
    ("x1", lambda H: bare.udp("10.0.0.11", min(H.local_ports())), "addr_unallowed"),
    ("x2", lambda H: bare.udp(NB, min(H.local_ports())), "unregistered"),
]


# S-5-04, S-6.1-10, S-E-01, P-10.4-01, P-10.4-02, P-10.2.2-05: dropped, counted by reason, and
# no kernel says a word about it.
@pytest.mark.parametrize("reason", sorted({r for _, _, r in UNLEASED}))
def test_drops_are_counted_by_reason(network, reason):
    gateway = Gateway(network).start()
    host = network.keep(bare.BareHost(network, "x1")).register()
    other = network.keep(bare.BareHost(network, "x2"))
    lease = host.lease()
    ends = network.keep(esp.Ends(network, "y"))
    peer_side = network.keep(Wire(network, "n", "wan0"))
    mine = [(who, make(lease)) for who, make, why in UNLEASED if why == reason]
    before = drops(gateway)
    for who, packet in mine:
        if who == "y":
            ends.send(bare.raw(packet))
        else:
            {"x1": host, "x2": other}[who].send(packet)
    wait_for(lambda: drops(gateway)[reason] - before[reason] == len(mine), f"no drops as {reason}")
    quiet(network, gateway)
    after = drops(gateway)
    changed = {r: n - before[r] for r, n in after.items() if n != before[r]}
    changed["no_spi"] -= 1  # of quiet()
    assert {r: n for r, n in changed.items() if n} == {reason: len(mine)}
    assert host.receive(0) is None and other.receive(0) is None
    assert not [p for p in peer_side.read() if p.src == NB]


# F-6.2-04, F-6.2-05: a ping to the shared address is the gateway's to answer, never a host's.
def test_ping_from_outside_ends_at_the_gateway(network):
    gateway = Gateway(network).start()
    host = network.keep(bare.BareHost(network, "x1")).register()
    host.lease()
    network.run("y", "ping", "-n", "-c", 2, "-i", 0.2, "-W", 2, NB)
    quiet(network, gateway)
    assert host.receive(0) is None


# The driver needs no root: rsipd and bare hosts in a user namespace.
def test_unprivileged_user_namespace():
    here = os.path.dirname(os.path.abspath(__file__))
    words = [os.path.join(here, "alone")]
    if os.environ.get("RSIP_ALONE"):
        pytest.skip("is in a user namespace already")
    if not shutil.which("setpriv"):
        pytest.skip("no setpriv")
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    probe = subprocess.run([*nobody, *words, "test", "-x", topo.BUILD / "bin" / "rsipd"],
        capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"nobody cannot do this here: {probe.stdout.strip() or 'build is not readable'}")
    env = dict(os.environ, RSIP_ALONE="1", PYTHONDONTWRITEBYTECODE="1", HOME="/tmp")
    p = subprocess.run([*nobody, *words, "/usr/bin/python3", "-m", "pytest", "-q", "-p",
        "no:cacheprovider", __file__, "-k", "expired or counted"], env=env, text=True, capture_output=True,
        timeout=120)
    assert p.returncode == 0, p.stdout[-4000:] + p.stderr
    assert " skipped" not in p.stdout, p.stdout
