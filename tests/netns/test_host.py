"""rsip-hostd and the host's commands, each host a namespace: what they change, keep and restore."""
import contextlib
import json
import os
import pathlib
import signal
import socket
import stat
import struct
import time

import pytest
import topo
from topo import BUILD, HOSTS, NA, NB, X1, Y, Gateway, Host, Net, Wire, ranges, road, wait_for

WHY_NOT = topo.why_not()
if WHY_NOT:
    pytest.skip(WHY_NOT, allow_module_level=True)
bare = pytest.importorskip("bare", reason="tests/control/rsip.py is missing")
import esp
import talk

RSIP = BUILD / "bin" / "rsip"
SYSCTLS = ("net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.conf.all.arp_ignore", "net.ipv4.ip_unprivileged_port_start")


@pytest.fixture
def network(tmp_path):
    with Net(tmp_path / "net") as net, contextlib.ExitStack() as stack:
        net.dir.mkdir()
        road(net)
        net.keep = lambda thing: stack.enter_context(contextlib.closing(thing))
        yield net


@pytest.fixture
def gateway(network):
    return Gateway(network, pool="hold-down = 2").start()


@pytest.fixture
def x1(network, gateway):
    return Client(network, "x1")


@pytest.fixture
def x2(network, gateway):
    return Client(network, "x2")


@pytest.fixture
def service(network):
    return network.keep(talk.Service(network, "y", 7777))


class Client(Host):
    """A host, and what can be seen of it."""

    def trace(self):
        """All that `rsip down` must restore."""
        links = [[l["ifname"], l["mtu"], [a["local"] for a in l["addr_info"]]]
            for l in json.loads(self.net.run(self.name, "ip", "-4", "-j", "addr"))]
        return [links, self.net.run(self.name, "ip", "-4", "route", "show", "table", "all"),
            self.net.run(self.name, "ip", "rule"), self.net.run(self.name, "sysctl", *SYSCTLS)]

    def sysctl(self, name):
        return self.net.run(self.name, "sysctl", "-n", name).split()

    def way_to(self, address):
        return json.loads(self.net.run(self.name, "ip", "-j", "route", "get", address))[0]

    def failing(self, *words):
        """(exit status, standard error)"""
        p = self.rsip(*words, check=False)
        return p.returncode, p.stderr

    def one(self, *words):
        return json.loads(self.rsip(*words, "--json"))

    def daemon(self):
        """The process ID of rsip-hostd here, or None."""
        pids = self.net.run(self.name, "ip", "netns", "pids", self.net.ns(self.name)).split()
        return next((int(p) for p in pids if comm(p) == "rsip-hostd"), None)

    def kill(self, how=signal.SIGKILL):
        pid = self.daemon()
        os.kill(pid, how)
        wait_for(lambda: not topo.runs(pid), "rsip-hostd does not end")

    def bind_ids(self):
        return [b["bind_id"] for b in self.status()["bindings"]]

    def asks(self, kind="tcp", text="hello"):
        """(own address and port, answer) of a program that knows nothing of RSIP."""
        return talk.ask(self.net, self.name, kind, Y, 7777, text)


def comm(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None


# --- up and down ------------------------------------------------------------------------------


# F-2-13, F-3.1-03, F-3.1-07, F-1-01, F-2-04, P-9.9-07: both behind one address at once, by leased ports only.
@pytest.mark.parametrize("options", [(), ("--transport", "udp"), ("--tunnel", "gre"),
    ("--method", "rsap-ip")], ids=["default", "udp", "gre", "rsap-ip"])
def test_two_hosts_up(network, x1, x2, service, options):
    leases = {c.name: c.up(*options) for c in (x1, x2)}
    link = network.keep(Wire(network, "n", "lan0"))
    for c in (x1, x2):
        for kind in ("tcp", "udp"):
            own, answer = c.asks(kind)
            assert own[0] == NB and leases[c.name].has_port(own[1])
            assert answer == f"y saw {NB} {own[1]}: hello"
        network.run(c.name, "ping", "-c", 1, "-W", 3, Y)
        status = c.status()
        assert status["interface"] == "rsip0" and status["gateway"] == NA
        assert {b["host"] for b in status["bindings"]} == {HOSTS[c.name]}
        assert {b["client_id"] for b in status["bindings"]} == {status["client_id"]}
    proto = 47 if "gre" in options else 4
    assert {(p.src, p.dst) for p in link.read() if p.proto == proto} == \
        {(HOSTS[c], NA) for c in HOSTS} | {(NA, HOSTS[c]) for c in HOSTS}


# F-6.3-02: the device tells programs how much fits.
@pytest.mark.parametrize("tunnel, mtu", [("ipip", 1480), ("gre", 1476)])
def test_mtu(network, x1, tunnel, mtu):
    x1.up("--tunnel", tunnel)
    link = json.loads(network.run("x1", "ip", "-j", "link", "show", "rsip0"))[0]
    assert link["mtu"] == mtu
    # It follows the link's.
    network.batch("x1", "link set eth0 mtu 1400")
    wait_for(lambda: json.loads(network.run("x1", "ip", "-j", "link", "show", "rsip0"))[0]["mtu"]
        == mtu - 100, "the MTU does not follow")


# F-6.3-02: a path to the gateway that is narrower than the link is found out and obeyed.
def test_narrow_path_to_the_gateway(network, x1):
    network.batch("x1", f"route add {NA}/32 dev eth0 mtu 1300")
    x1.up()
    with network.inside("y"):
        server = network.keep(socket.create_server((Y, 7778)))
    client = network.keep(talk.connect(network, "x1", "tcp", Y, 7778, seconds=10))
    accepted = network.keep(server.accept()[0])
    accepted.settimeout(10)
    if x1.status()["gateways"][0]["tunnel_end"] == "kernel":
        pytest.skip("the kernel's own device, whose packets are cut later than can be seen")
    link = network.keep(Wire(network, "n", "lan0"))
    client.sendall(b"x" * 100_000)
    got = 0
    while got < 100_000:
        got += len(accepted.recv(65536))
    assert max(len(p.data) for p in link.read() if p.proto == 4 and p.src == X1) <= 1300


def by_down(c):
    c.rsip("down")


def by_signal(c):
    c.kill(signal.SIGTERM)


def by_down_after_a_kill(c):
    c.kill()
    c.rsip("down")


def by_up_and_down_after_a_kill(c):
    c.kill()
    c.up()
    c.rsip("down")


@pytest.mark.parametrize("end",
    [by_down, by_signal, by_down_after_a_kill, by_up_and_down_after_a_kill])
def test_no_trace(network, gateway, x1, end):
    network.batch("x1", "route add default via 10.0.0.77 dev eth0 metric 300",
        "route add 192.168.7.0/24 via 10.0.0.77", "route add blackhole 192.168.8.0/24")
    network.sysctl("x1", "net.ipv4.ip_local_reserved_ports=8080,9000-9010",
        "net.ipv4.ip_local_port_range=30000 40000")
    before = x1.trace()
    x1.up("--ports", "300")
    x1.rsip("lease", "--method", "rsap-ip", "--ports", "3")
    assert x1.trace() != before
    end(x1)
    assert x1.trace() == before
    wait_for(lambda: x1.daemon() is None, "rsip-hostd does not end")
    assert gateway.show("clients") == [] and gateway.show("bindings") == []
    place = [p for p in os.listdir("/run/rsip") if f"-{cookie(network, 'x1')}." in p]
    assert not place


def cookie(net, name):
    """The number in the names of a namespace's files."""
    with net.inside(name), socket.socket() as s:
        return struct.unpack("Q", s.getsockopt(socket.SOL_SOCKET, 71, 8))[0]


# F-6.5-01: the link to the gateway, connected networks and what the gateway calls local.
def test_what_stays_off_the_tunnel(network):
    gateway = Gateway(network)
    gateway.conf.write_text(gateway.conf.read_text().replace('{ "10.0.0.0/24" }',
        '{ "10.0.0.0/24", "172.16.0.0/12" }'))
    gateway.start()
    c = Client(network, "x1")
    c.up()
    assert c.way_to(Y)["dev"] == "rsip0" and c.way_to(Y)["prefsrc"] == NB
    for address in (NA, "10.0.0.12", "172.16.5.5"):
        assert c.way_to(address)["dev"] == "eth0" and c.way_to(address)["prefsrc"] == X1
    assert c.way_to("172.16.5.5")["gateway"] == NA
    assert c.way_to("172.32.0.1")["dev"] == "rsip0"
    defaults = [r for r in json.loads(network.run("x1", "ip", "-j", "route"))
        if r["dst"] == "default"]
    assert [r["dev"] for r in defaults] == ["rsip0", "eth0"]


# The gateway behind a router: it keeps the way that the default route was.
def test_gateway_behind_a_router(network, gateway):
    network.batch("x1", "addr del 10.0.0.11/24 dev eth0", "addr add 10.0.0.11/32 dev eth0",
        "route add 10.0.0.12 dev eth0", "route add default via 10.0.0.12 dev eth0")
    network.sysctl("x2", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0",
        "net.ipv4.conf.eth0.send_redirects=0")
    network.batch("n", "route add 10.0.0.11/32 via 10.0.0.12")
    c = Client(network, "x1")
    before = c.trace()
    c.up()
    assert c.way_to(NA)["gateway"] == "10.0.0.12" and c.way_to(NA)["prefsrc"] == X1
    network.keep(talk.Service(network, "y", 7777))
    assert c.asks()[1].startswith(f"y saw {NB} ")
    c.rsip("down")
    assert c.trace() == before


# F-3.1-08
def test_no_arp_for_the_leased_address(network, x1):
    x1.up()
    with network.inside("lan"):
        s = network.keep(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003)))
        s.bind(("x1", 0x0003))
    s.settimeout(5)

    def ask(address):
        mac = b"\x02\0\0\0\0\x77"
        s.send(b"\xff" * 6 + mac + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + mac +
            socket.inet_aton("10.0.0.77") + bytes(6) + socket.inet_aton(address))

    ask(NB)
    ask(X1)
    # The second question is answered, and answers come in order.
    while True:
        packet = s.recv(2048)
        if packet[12:14] == b"\x08\x06" and packet[20:22] == b"\0\2":
            break
    assert socket.inet_ntoa(packet[28:32]) == X1


# Number is one byte: more ports are several bindings of one address.
def test_many_ports(network, gateway, x1):
    lease = x1.up("--ports", "300")
    assert len(lease.bindings) > 1 and len({b["address"] for b in lease.bindings}) == 1
    ports = {p for a, b in lease.ports for p in range(a, b + 1)}
    assert len(ports) == 300
    low, high = map(int, x1.sysctl("net.ipv4.ip_local_port_range"))
    assert (low, high) == (min(ports), max(ports))
    reserved = {p for r in x1.sysctl("net.ipv4.ip_local_reserved_ports")
        for a, b in ranges(r) for p in range(a, b + 1)}
    assert set(range(low, high + 1)) - reserved == ports
    assert len([b for b in lease.bindings if b["spis"]]) == 1


# F-2-09: every leased range is drawn from, none of the others.
def test_every_leased_port_is_used(network, x1, service):
    x1.up("--ports", "4", "--method", "rsap-ip", "--ports-max", "0")
    joined = x1.one("lease", "--ports", "3", "--method", "rsap-ip")
    assert joined["address"] == NB
    leased = {p for b in x1.status()["bindings"] for a, z in ranges(b["ports"])
        for p in range(a, z + 1)}
    held = [network.keep(talk.connect(network, "x1", "udp", Y, 7777)) for _ in range(7)]
    assert {s.getsockname()[1] for s in held} == leased
    for s in held:
        assert talk.request(s, "7") == f"y saw {NB} {s.getsockname()[1]}: 7"
    with pytest.raises(OSError):
        talk.connect(network, "x1", "udp", Y, 7777)
    x1.rsip("free", str(joined["bind_id"]))
    left = {p for b in x1.status()["bindings"] for a, z in ranges(b["ports"])
        for p in range(a, z + 1)}
    wait_for(lambda: list(map(int, x1.sysctl("net.ipv4.ip_local_port_range"))) ==
        [min(left), max(left)], "the freed ports stay in the range")


# F-3.1-04: more ports before they run out, and back when they are not needed.
def test_ports_grow_and_shrink(network, gateway, x1, service, tmp_path):
    conf = tmp_path / "rsip.conf"
    conf.write_text(f'host {{\n gateway = "{NA}"\n ports = 8\n ports-quiet = 1\n}}\n')
    x1.rsip("up", "-c", conf)
    def leased():
        return sum(z - a + 1 for b in x1.status()["bindings"] for a, z in ranges(b["ports"]))
    held = [talk.connect(network, "x1", "udp", Y, 7777) for _ in range(6)]
    wait_for(lambda: leased() > 8, "no more ports")
    assert {b["address"] for b in x1.status()["bindings"]} == {NB}
    more = leased()
    low_high = lambda: list(map(int, x1.sysctl("net.ipv4.ip_local_port_range")))
    wait_for(lambda: low_high()[1] - low_high()[0] >= more - 1, "the range does not follow")
    held += [talk.connect(network, "x1", "udp", Y, 7777) for _ in range(6)]
    for s in held:
        assert talk.request(s, "x") == f"y saw {NB} {s.getsockname()[1]}: x"
        s.close()
    wait_for(lambda: leased() == 8, "ports are not given back")
    assert len(gateway.show("bindings")) == 1


# RSIPSEC without ports: nothing to confine.
def test_no_ports(network, x1):
    before = x1.sysctl("net.ipv4.ip_local_port_range")
    lease = x1.up("--ports", "0")
    assert lease.bindings[0]["ports"] is None and lease.spis
    assert x1.sysctl("net.ipv4.ip_local_port_range") == before


def test_up_again_changes_nothing(network, x1):
    x1.up()
    before, ids = x1.trace(), x1.bind_ids()
    x1.up()
    assert x1.trace() == before and x1.bind_ids() == ids


# F-3.1-05: a second gateway has its own interface; the first keeps the default route.
def test_two_gateways(network, gateway, x1, service):
    network.add("n2")
    network.link("n2", "lan0", "lan", "n2")
    network.batch("lan", "link set n2 master br0")
    network.link("n2", "wan0", "r", "n2")
    network.batch("n2", "addr add 10.0.0.2/24 dev lan0", "addr add 192.0.2.2/24 dev wan0",
        "route add default via 192.0.2.254")
    network.batch("r", "addr add 192.0.2.254/24 dev n2")
    (network.dir / "second").mkdir()
    conf = network.dir / "second.conf"
    conf.write_text(gateway.conf.read_text().replace(NA, "10.0.0.2").replace(NB, "192.0.2.1")
        .replace(str(network.dir), str(network.dir / "second")))
    network.start("n2", BUILD / "bin" / "rsipd", "-f", "-c", conf, log="second.log")
    wait_for(lambda: "ready" in (network.dir / "second.log").read_text(), "no second gateway")
    before = x1.trace()
    x1.up()
    x1.rsip("up", "-g", "10.0.0.2", "--ports", "8")
    assert [(g["gateway"], g["interface"]) for g in x1.status()["gateways"]] == \
        [(NA, "rsip0"), ("10.0.0.2", "rsip1")]
    own, answer = x1.asks()
    assert own[0] == NB and answer.startswith(f"y saw {NB} ")
    second = next(b for b in x1.status()["bindings"] if b["address"] == "192.0.2.1")
    port = ranges(second["ports"])[0][0]
    for kind in ("udp", "tcp"):
        _, answer = talk.ask(network, "x1", kind, Y, 7777, "2", source=("192.0.2.1", port))
        assert answer == f"y saw 192.0.2.1 {port}: 2"
    x1.kill()
    x1.up()
    _, answer = talk.ask(network, "x1", "udp", Y, 7777, "3", source=("192.0.2.1", port))
    assert answer == f"y saw 192.0.2.1 {port}: 3"
    x1.rsip("down")
    assert x1.trace() == before


# RSA-IP: the whole address, any port; nothing to confine.
def test_whole_address(network):
    Gateway(network, pool='dedicated = { "203.0.113.9" }').start()
    network.keep(talk.Service(network, "y", 7777))
    c = Client(network, "x1")
    before, ports = c.trace(), c.sysctl("net.ipv4.ip_local_port_range")
    lease = c.up("--method", "rsa-ip")
    assert lease.address == "203.0.113.9" and lease.bindings[0]["ports"] is None
    assert c.sysctl("net.ipv4.ip_local_port_range") == ports
    for kind in ("tcp", "udp"):
        _, answer = talk.ask(network, "x1", kind, Y, 7777, "a", source=("203.0.113.9", 600))
        assert answer == "y saw 203.0.113.9 600: a"
    out = c.rsip("exec", "--method", "rsap-ip", "--ports", "2", "--",
        *talker("ask", "tcp", Y, 7777, "b"))
    assert f"y saw {NB} " in out
    c.rsip("down")
    assert c.trace() == before


# P-9.8-02: a remote is named where the policy demands one; without, nothing is even sent.
def test_remote_policy(network):
    gateway = Gateway(network, policy='remote-flow = "macro"').start()
    network.keep(talk.Service(network, "y", 7777))
    c = Client(network, "x1")
    assert c.one("lease", "-g", NA, "--remote", Y)["remote_address"] == Y
    for words in (["lease"], ["up", "-g", NA], ["exec", "--", "true"], ["listen", "--port", "7000"]):
        status, text = c.failing(*words)
        assert status == 1 and "103" in text
    out = c.rsip("exec", "--remote", Y, "--", *talker("ask", "tcp", Y, 7777, "b"))
    assert f"y saw {NB} " in out
    assert len(gateway.show("bindings")) == 1


# Whoever comes second waits for the first; and who says down is obeyed.
def test_up_at_the_same_time(network, x1):
    both = [network.start("x1", RSIP, "up", "-g", NA, log=f"up{i}.log") for i in range(2)]
    assert [p.wait(20) for p in both] == [0, 0]
    assert len(x1.bind_ids()) == 1


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_down_while_going_up(network, x1, transport):
    before = x1.trace()
    network.batch("x1", "route add blackhole 10.0.0.99/32")
    p = network.start("x1", RSIP, "up", "-g", "10.0.0.99", "--transport", transport, log="up.log")
    q = network.start("x1", RSIP, "up", "-g", NA, log="up2.log")
    wait_for(lambda: x1.daemon(), "no daemon")
    wait_for(lambda: x1.failing("down")[0] != 1, "down is refused")
    assert p.wait(20) == 1 and q.wait(20) in (0, 1)
    x1.rsip("down", check=False)
    network.batch("x1", "route del blackhole 10.0.0.99/32")
    wait_for(lambda: x1.daemon() is None, "rsip-hostd stays")
    assert x1.trace() == before


# --- commands ---------------------------------------------------------------------------------


def test_without_daemon(network, x1):
    for words in (["status"], ["down"], ["free", "1"], ["extend", "1"], ["query"], ["listen"],
            ["ike", "strongswan", "-o", "-"]):
        assert x1.failing(*words)[0] == 3
    assert x1.daemon() is None


def test_refusals(network, x1):
    assert x1.failing("up", "-g", "10.0.0.12")[0] == 1  # nothing listens there
    wait_for(lambda: x1.daemon() is None, "a daemon without anything to do stays")
    assert x1.failing("up", "-g", "10.0.0.400")[0] == 2
    assert x1.failing("up", "-g", NA, "--method", "nat")[0] == 2
    assert x1.failing("up", "-g", NA, "--ports", "many")[0] == 2
    assert x1.failing("lease", "-g", NA, "--ports", "256")[0] == 2
    assert x1.failing("lease", "-g", NA, "--method", "rsa-ip")[0] == 1
    status, text = x1.failing("lease", "-g", NA, "--port", "500")
    assert status == 1 and "313" in text
    x1.up()
    assert x1.failing("free", "1")[0] == 1
    assert x1.failing("free", "none")[0] == 2


def test_configuration(network, x1, tmp_path):
    conf = tmp_path / "rsip.conf"
    conf.write_text(f'host {{\n gateway = "{NA}"\n ports = 12\n spis = 20\n}}\n')
    x1.rsip("up", "-c", conf, "--spis", "17")
    binding, = x1.status()["bindings"]
    assert sum(b - a + 1 for a, b in ranges(binding["ports"])) == 12
    assert sum(b - a + 1 for a, b in ranges(binding["spis"])) == 17
    x1.rsip("down")
    conf.write_text("host {\n ports = 12\n prots = 12\n}\n")
    status, text = x1.failing("up", "-c", conf)
    assert status == 2 and f"{conf}:3: no such option 'prots'" in text


# The default route's next hop, asked whether it is a gateway (F-3.5-04).
def test_gateway_by_default_route(network, x1):
    x1.rsip("up")
    assert x1.status()["gateway"] == NA


# S-6.2-16, S-6.2-19, P-9.8-07: a lease of named numbers, once.
def test_lease_by_name(network, gateway, x1, x2):
    first = x1.one("lease", "-g", NA, "--spi", "0xc0010000", "--port", "7000")
    assert first["spis"] == "0xc0010000" and first["ports"] == "7000"
    assert set(first) == {"client_id", "bind_id", "host", "method", "address", "ports", "spis",
        "remote_address", "remote_ports", "tunnel", "lease_remaining", "state"}
    assert first["method"] == "rsipsec" and first["host"] == X1 and first["state"] == "held"
    shown, = gateway.show("bindings")
    assert {k: v for k, v in shown.items() if k != "lease_remaining"} == \
        {k: v for k, v in first.items() if k != "lease_remaining"}
    assert "403" in x2.failing("lease", "-g", NA, "--spi", "0xc0010000")[1]
    assert "311" in x2.failing("lease", "-g", NA, "--port", "7000", "--method", "rsap-ip")[1]
    block = x2.one("lease", "-g", NA, "--spi", "0xc0020000", "--spis", "16")
    assert block["spis"] == "0xc0020000-0xc002000f"
    several = x2.one("lease", "-g", NA, "--spi", "0xc0030000,0xc0030007", "--ports", "0")
    assert several["spis"] == "0xc0030000,0xc0030007" and several["ports"] is None
    # None of it changed an interface.
    assert x1.status()["interface"] is None


def test_extend_and_free(network, gateway, x1):
    lease = x1.one("lease", "-g", NA, "--lease", "100")
    assert 90 <= lease["lease_remaining"] <= 100
    bind = str(lease["bind_id"])
    assert 590 <= x1.one("extend", bind, "600")["lease_remaining"] <= 600
    assert 590 <= gateway.show("bindings")[0]["lease_remaining"] <= 600
    x1.rsip("free", bind)
    assert x1.status()["bindings"] == [] and gateway.show("bindings") == []
    assert x1.failing("extend", bind)[0] == 1


# P-9.16-05, P-9.17-03: a peer that was never contacted reaches the listener.
def test_listen_and_query(network, gateway, x1):
    x1.up()
    listener = x1.one("listen", "--port", "7070")
    assert listener["method"] == "listen" and listener["ports"] == "7070"
    assert x1.one("query") == [{"network": "10.0.0.0/24", "local": True}]
    answers = x1.one("query", "10.0.0.7", Y, "10.0.0.0/25")
    assert {"address": "10.0.0.7", "local": True} in answers
    assert {"address": Y, "local": False} in answers
    assert {"network": "10.0.0.0/25", "local": True} in answers
    # The port belongs to the interface: a server on it is reached.
    network.keep(talk.Service(network, "x1", 7070, NB))
    assert talk.ask(network, "y", "tcp", NB, 7070, "who?")[1].startswith(f"x1 saw {Y} ")


# S-3-05, F-5.1-01
def test_drop_in(network, x1, tmp_path):
    x1.up("--spis", "16")
    binding, = x1.status()["bindings"]
    (low, high), = ranges(binding["spis"])
    port = ranges(binding["ports"])[0][0]
    target = tmp_path / "rsip.conf"
    p = x1.rsip("ike", "strongswan", "-o", target, check=False)
    assert p.returncode == 0 and "mobike = no" in p.stderr and p.stdout == ""
    lines = [l.strip() for l in target.read_text().splitlines() if not l.startswith("#")]
    assert lines == ["charon {", f"port = {port}", f"port_nat_t = {port + 1}",
        f"spi_min = 0x{low:08x}", f"spi_max = 0x{high:08x}", f"spi_label = 0x{low:08x}00000000",
        "spi_mask = 0xffffffff00000000", "}"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert os.listdir(tmp_path) == [target.name] or "net" in os.listdir(tmp_path)
    p = x1.rsip("ike", "strongswan", "-o", "-", check=False)
    assert p.stdout == target.read_text() and "includes this" in p.stderr
    # Nobody else is given these ports.
    assert ranges(x1.sysctl("net.ipv4.ip_local_reserved_ports")[0]) == [(port, port + 1)]
    assert x1.failing("ike", "strongswan", "-o", "/no/such/x")[0] == 1
    x1.rsip("down")
    x1.up("--spis", "15")
    status, text = x1.failing("ike", "strongswan", "-o", "-")
    assert status == 1 and "16 SPIs" in text


# --- exec -------------------------------------------------------------------------------------

def talker(*words):
    return ["python3", pathlib.Path(__file__).parent / "talk.py", *map(str, words)]


# Decision 7: an unmodified program by a lease of its own; its status is passed on.
def test_exec(network, gateway, x1, service):
    out = x1.rsip("exec", "-g", NA, "--ports", "4", "--", "sh", "-c",
        "cat /proc/sys/net/ipv4/ip_local_port_range; ip -o -4 addr; ip route; "
        "python3 {1} ask udp {2} 7777 hello; ping -c 1 -W 3 {2} >&2; "
        "ping -c 1 -W 1 10.0.0.12 >/dev/null && echo leak; true".replace("{1}",
            str(talker()[1])).replace("{2}", Y))
    first, *rest = out.splitlines()
    low, high = map(int, first.split())
    assert high - low == 3
    assert [l.split()[1] for l in rest if " inet " in l] == ["lo", "rsip0"]
    assert [l for l in rest if l.startswith("default")] == [f"default dev rsip0 proto 155 "
        f"scope link src {NB} "]
    assert f"y saw {NB} " in rest[-1] and low <= int(rest[-1].split()[2].strip(":")) <= high
    assert x1.failing("exec", "-g", NA, "--", "sh", "-c", "exit 7")[0] == 7
    assert x1.failing("exec", "-g", NA, "--", "sh", "-c", "kill -9 $$")[0] == 137
    assert x1.failing("exec", "-g", NA, "--", "/no/such/program")[0] == 127
    wait_for(lambda: x1.daemon() is None, "rsip-hostd stays after the last namespace")
    assert gateway.show("clients") == []


# Two consumers of one address on one host: packets go where the port belongs.
def test_exec_beside_up(network, gateway, x1, service):
    before = x1.trace()
    lease = x1.up()
    held = network.keep(talk.connect(network, "x1", "tcp", Y, 7777))
    p = network.start("x1", RSIP, "exec", "--", *talker("serve", "inside", 9000), log="exec.log")
    inside = wait_for(lambda: next((b for b in x1.status()["bindings"]
        if b["bind_id"] not in [o["bind_id"] for o in lease.bindings]), None), "no lease for exec")
    own = held.getsockname()[1]
    assert talk.request(held, "a") == f"y saw {NB} {own}: a"
    _, answer = x1.asks("udp")
    assert answer.startswith(f"y saw {NB} ")
    network.run("x1", "ping", "-c", 1, "-W", 3, Y)
    # A namespace in which two programs run by one lease: the peer reaches the one inside.
    port = ranges(inside["ports"])[0][0]
    q = network.start("x1", RSIP, "exec", "--method", "rsap-ip", "--port", 9100, "--",
        *talker("serve", "second", 9100), log="exec2.log")

    def asked():
        with contextlib.suppress(OSError):
            return talk.ask(network, "y", "tcp", NB, 9100, "who?", seconds=0.3)[1]

    assert wait_for(asked, "the server inside is not reached").startswith(f"second saw {Y} ")
    assert port != 9100 and talk.request(held, "b") == f"y saw {NB} {own}: b"
    for process in (p, q):
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM
    wait_for(lambda: len(x1.bind_ids()) == 1, "the leases of ended namespaces stay")
    assert talk.request(held, "c") == f"y saw {NB} {own}: c"
    x1.rsip("down")
    assert x1.trace() == before


# S-5-02: ESP and AH go by SPI to the namespace whose lease it is.
def test_exec_ipsec(network, gateway, x1):
    lease = x1.up()
    p = network.start("x1", RSIP, "exec", "--", "sleep", "600", log="exec.log")
    inside = wait_for(lambda: next((b for b in x1.status()["bindings"]
        if b["bind_id"] not in [o["bind_id"] for o in lease.bindings]), None), "no lease for exec")
    command = wait_for(lambda: [c for c in children(p.pid) if comm(c) == "sleep"], "no command")[0]
    sockets = {}
    for kind, number in (("esp", 50), ("ah", 51)):
        with network.inside("x1"):
            sockets[kind, "host"] = network.keep(raw_socket(number))
            with open(f"/proc/{command}/ns/net", "rb") as there:
                topo.enter(there)
            sockets[kind, "exec"] = network.keep(raw_socket(number))
    peer = network.keep(esp.Ends(network, "y"))
    spis = {"host": lease.spis[0][0], "exec": ranges(inside["spis"])[0][0]}
    for kind, make in (("esp", bare.esp), ("ah", bare.ah)):
        for where in ("exec", "host", "exec"):
            peer.send(bare.raw(make(Y, NB, spis[where])))
            packet = topo.Packet(sockets[kind, where].recv(2048))
            assert packet.spi == spis[where] and packet.src == Y
    for s in sockets.values():
        s.setblocking(False)
        with pytest.raises(BlockingIOError):
            s.recv(2048)


def raw_socket(number):
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, number)
    s.settimeout(5)
    return s


def test_exec_killed(network, gateway, x1):
    p = network.start("x1", RSIP, "exec", "-g", NA, "--", "sleep", "600", log="exec.log")
    wait_for(lambda: gateway.show("bindings"), "no lease for exec")
    inside = wait_for(lambda: [q for q in children(p.pid) if comm(q) == "sleep"],
        "the command does not run")
    p.kill()
    p.wait()
    wait_for(lambda: not any(map(topo.runs, inside)), "the command outlives rsip")
    wait_for(lambda: not gateway.show("clients"), "the lease stays")


def children(pid):
    with contextlib.suppress(OSError):
        return [int(c) for c in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


@pytest.mark.skipif(topo.one_user(), reason="the user namespace has one user only")
def test_exec_as_another_user(network, x1):
    out = x1.rsip("exec", "-g", NA, "--user", "nobody", "--", "sh", "-c", "id -un; id -G")
    assert out.split()[0] == "nobody"
    assert "0" not in out.split()[1:]
    assert x1.failing("exec", "--user", "no such", "--", "true")[0] == 2


# --- failures ---------------------------------------------------------------------------------


# P-10.2.2-01: a gateway that was killed and came back has lost nothing, and no host noticed.
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_gateway_restart(network, gateway, x1, service, transport):
    x1.up("--transport", transport)
    ids = x1.bind_ids()
    held = network.keep(talk.connect(network, "x1", "tcp", Y, 7777, seconds=10))
    own = held.getsockname()[1]
    gateway.end(signal.SIGKILL)
    gateway.start()
    assert talk.request(held, "still there") == f"y saw {NB} {own}: still there"
    assert x1.bind_ids() == ids
    wait_for(lambda: x1.one("extend", str(ids[0])), "no extension")


# A gateway without memory: the same numbers again, and connections go on.
def test_gateway_without_memory(network, gateway, x1, service):
    x1.up()
    before = x1.status()["bindings"][0]
    held = network.keep(talk.connect(network, "x1", "tcp", Y, 7777, seconds=20))
    own = held.getsockname()[1]
    gateway.end(signal.SIGKILL)
    for f in (network.dir / "state").iterdir():
        f.unlink()
    gateway.start()
    after = wait_for(lambda: next((b for b in x1.status()["bindings"]
        if b["bind_id"] != before["bind_id"]), None), "no new lease", 20)
    assert (after["address"], after["ports"], after["spis"]) == \
        (before["address"], before["ports"], before["spis"])
    assert talk.request(held, "again") == f"y saw {NB} {own}: again"


# P-10.2.1-02: Nb kept, client ID and bind IDs kept, connection kept.
def test_daemon_killed(network, gateway, x1, service):
    x1.up()
    x1.rsip("lease", "--spi", "0xc0010000", "--ports", "0")
    before = x1.status()
    held = network.keep(talk.connect(network, "x1", "tcp", Y, 7777, seconds=10))
    own = held.getsockname()[1]
    x1.kill()
    assert x1.failing("status")[0] == 3
    # What goes to the public side meanwhile goes nowhere, not out in the clear.
    assert x1.way_to(Y)["dev"] == "rsip0"
    x1.up()
    after = x1.status()
    assert after["client_id"] == before["client_id"]
    assert [b["bind_id"] for b in after["bindings"]] == [b["bind_id"] for b in before["bindings"]]
    assert talk.request(held, "again") == f"y saw {NB} {own}: again"
    assert len(gateway.show("clients")) == 1


# Killed at any moment of going up, the next command finds its way back.
def test_daemon_killed_at_any_moment(network, gateway, x1):
    before = x1.trace()
    for n in range(24):
        p = network.start("x1", RSIP, "up", "-g", NA, log="up.log")
        pid = wait_for(lambda: x1.daemon() or p.poll() is not None, "no daemon")
        time.sleep(n * 0.002)  # not waiting for anything: the moment is what is tested
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid if pid is not True else x1.daemon(), signal.SIGKILL)
        p.wait(20)
        if n % 2:
            x1.up()
            assert len(x1.bind_ids()) == 1
        x1.rsip("down", check=False)
        wait_for(lambda: x1.daemon() is None, "rsip-hostd stays")
        assert x1.trace() == before, f"killed at moment {n}"
    wait_for(lambda: not gateway.show("bindings"), "leases stay")


# F-3.1-07, P-10.2.1: all is asked for again; the interface follows.
@pytest.mark.parametrize("what", ["deregister", "release"])
def test_lost_lease(network, gateway, x1, service, what):
    before = x1.trace()
    x1.up()
    status = x1.status()
    binding, = status["bindings"]
    number = status["client_id"] if what == "deregister" else binding["bind_id"]
    network.run("n", RSIP, "gateway", what, number, "--socket", network.dir / "rsipd.sock")
    again = wait_for(lambda: next((b for b in x1.status()["bindings"]
        if b["bind_id"] != binding["bind_id"]), None), "no new lease", 20)
    low, high = ranges(again["ports"])[0]
    wait_for(lambda: x1.sysctl("net.ipv4.ip_local_port_range") == [str(low), str(high)],
        "the range does not follow")
    own, answer = x1.asks()
    assert low <= own[1] <= high and answer == f"y saw {NB} {own[1]}: hello"
    assert x1.way_to(Y)["prefsrc"] == NB
    x1.rsip("down")
    assert x1.trace() == before


# A link that goes down and up again: what the kernel forgot is there again.
def test_link_flaps(network, x1, service):
    again = f"route add default via {NA} metric 100"
    network.batch("x1", f"route del default via {NA}", again)
    x1.up()
    before = x1.trace()
    network.batch("x1", "link set eth0 down")
    network.batch("x1", "link set eth0 up", again)
    wait_for(lambda: x1.trace() == before, "the routes do not come back")
    own, answer = x1.asks()
    assert answer == f"y saw {NB} {own[1]}: hello"


# A default route that nobody could put back meanwhile is there again after `down`.
def test_default_route_after_a_flap(network, x1):
    before = x1.trace()
    x1.up()
    network.batch("x1", "link set eth0 down", "link set eth0 up")
    wait_for(lambda: x1.way_to(NA)["dev"] == "eth0", "no link")
    x1.rsip("down")
    assert x1.trace() == before


# Somebody deletes the interface: it is made again.
def test_interface_deleted(network, x1, service):
    x1.up()
    before = x1.trace()
    network.batch("x1", "link del rsip0")
    wait_for(lambda: x1.trace() == before, "the interface does not come back")
    own, answer = x1.asks()
    assert answer == f"y saw {NB} {own[1]}: hello"


# The host's own address changes: another host to the gateway, so all is leased anew.
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_own_address_changes(network, gateway, x1, service, transport):
    x1.up("--transport", transport)
    network.batch("x1", "addr del 10.0.0.11/24 dev eth0", "addr add 10.0.0.21/24 dev eth0")
    wait_for(lambda: "10.0.0.21" in [b["host"] for b in gateway.show("bindings")],
        "no lease for the new address", 30)
    wait_for(lambda: x1.way_to(Y)["dev"] == "rsip0", "no way through the tunnel")

    def asked():
        with contextlib.suppress(OSError):
            return x1.asks()[1]

    assert wait_for(asked, "no answer").startswith(f"y saw {NB} ")


# P-10.4-02, P-10.4-08: what the gateway complains of is shown, and changes no lease.
def test_notice(network, gateway, x1):
    lease = x1.up()
    ids = x1.bind_ids()
    port = next(p for p in range(2000, 60000) if not lease.has_port(p))
    with network.inside("x1"):
        s = network.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    s.bind((NB, port))
    s.sendto(b"not mine", (Y, 7777))
    first = lambda: x1.status()["gateways"][0]
    wait_for(lambda: first()["notices"], "no notice")
    assert first()["last_notice"].startswith("313") and x1.bind_ids() == ids


# While nothing is leased nothing leaves in the clear.
def test_lost_lease_fails_closed(network, gateway, x1):
    lease = x1.up()
    gateway.end(signal.SIGTERM)
    gateway.conf.write_text(gateway.conf.read_text().replace("policy default {",
        'policy default {\n    match = { "10.0.0.99/32" }'))
    for f in (network.dir / "state").iterdir():
        f.unlink()
    gateway.start()
    wait_for(lambda: not x1.status()["bindings"], "the loss is not noticed", 20)
    addresses = wait_for(lambda: "203.0.113" not in network.run("x1", "ip", "-4", "addr"),
        "the address stays")
    assert addresses and x1.way_to(Y)["dev"] == "rsip0"
    assert lease.address == NB and x1.status()["gateways"][0]["trouble"]
