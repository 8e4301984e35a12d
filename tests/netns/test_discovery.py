"""How a host finds its gateway: DHCP, SLP, DNS, the default route (F-3.5-04, RFC 3105)."""
import contextlib
import json
import shutil
import socket
import struct
import subprocess
import threading

import pytest
import topo
from topo import NA, Gateway, Host, Net, Wire, road, wait_for

WHY_NOT = topo.why_not()
if WHY_NOT:
    pytest.skip(WHY_NOT, allow_module_level=True)

GROUP, PORT = "239.255.255.253", 427


@pytest.fixture
def network(tmp_path):
    with Net(tmp_path / "net") as net, contextlib.ExitStack() as stack:
        net.dir.mkdir()
        road(net)
        net.keep = lambda thing: stack.enter_context(contextlib.closing(thing))
        yield net


def advertised(network, **more):
    g = Gateway(network)
    g.conf.write_text(g.conf.read_text() + "slp { advertise = true "
        + " ".join(f'{k.replace("_", "-")} = "{v}"' for k, v in more.items()) + " }\n")
    return g.start()


class Daemon:
    """rsip-hostd in the foreground, so that its log can be read."""

    def __init__(self, net, name, conf="", resolver=None):
        file = net.dir / f"{name}.conf"
        file.write_text(f"host {{ {conf} }}\n")
        self.net, self.name = net, name
        words = [topo.BUILD / "bin" / "rsip-hostd", "-f", "-c", file]
        if resolver:
            (net.dir / "resolv.conf").write_text(f"nameserver {resolver}\nsearch site.test\n")
            words = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"',
                net.dir / "resolv.conf", *words]
        self.process = net.start(name, *words, log=f"{name}.log")
        wait_for(lambda: self.rsip("status", check=False).returncode == 0, "rsip-hostd serves")

    def rsip(self, *words, **options):
        return Host(self.net, self.name).rsip(*words, **options)

    def lease(self, *words):
        return json.loads(self.rsip("lease", "--ports", "1", *words, "--json"))

    def log(self):
        return (self.net.dir / f"{self.name}.log").read_text(errors="replace")

    def ways(self):
        return [line.split("found_by=")[1].split()[0] for line in self.log().splitlines()
            if "found_by=" in line]

    def close(self):
        self.process.terminate()
        self.process.wait(20)


def daemon(network, name="x1", conf="", resolver=None):
    return network.keep(Daemon(network, name, conf, resolver))


# --- SLP ------------------------------------------------------------------------------------


def slp(function, body, flags=0, xid=77):
    length = 16 + len(body)
    return struct.pack(">BB", 2, function) + struct.pack(">I", length)[1:] \
        + struct.pack(">HBHHH", flags, 0, 0, xid, 2) + b"en" + body


def text(s):
    return struct.pack(">H", len(s)) + s.encode()


def slp_ask(network, name, message, to=GROUP):
    """Answers to a message from a host, decoded no further than (function, body)."""
    answers = []
    with network.inside(name), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(topo.HOSTS[name]))
        s.sendto(message, (to, PORT))
        with contextlib.suppress(socket.timeout):
            while True:
                data, _ = s.recvfrom(2000)
                answers.append((data[1], data[14 + struct.unpack(">H", data[12:14])[0]:]))
                s.settimeout(0.2)
    return answers


# L-4-01, L-7-01, L-7-02
def test_gateway_answers(network):
    advertised(network)
    find = slp(1, text("") + text("service:rsip") + text("DEFAULT")
        + text("(&(ipsec-support=true)(tunnel-type=IP-IP))") + text(""), 0x2000)
    (function, body), = slp_ask(network, "x1", find)
    assert function == 2 and f"service:rsip://{NA}".encode() in body
    attributes = slp(6, text("") + text("service:rsip") + text("DEFAULT") + text("") + text(""))
    (function, body), = slp_ask(network, "x1", attributes, NA)
    assert function == 7
    assert (b"(ipsec-support=true),(ike-support=true),(tunnel-type=IP-IP,GRE),(transport=TCP,UDP),"
        b"(load=0)") in body
    # in another scope there is nobody
    assert not slp_ask(network, "x1", slp(1, text("") + text("service:rsip") + text("other")
        + text("") + text(""), 0x2000))


# F-3.5-03, L-4-02, L-4-04, L-4-06
def test_host_finds_gateway_by_slp(network):
    gateway = advertised(network, scopes="rsip")
    network.run("x1", "ip", "route", "del", "default", check=False)
    host = daemon(network, conf='slp-scopes = "rsip"')
    assert host.lease()["state"] == "held"
    assert host.ways() == ["slp"]
    assert gateway.metrics()['rsip_slp_messages_total{result="answered"}'] >= 1


# L-5-01, L-5-03: scopes say who finds it, not who is served.
def test_other_scope_is_not_found(network):
    advertised(network, scopes="rsip")
    network.run("x1", "ip", "route", "del", "default", check=False)
    host = daemon(network)
    done = host.rsip("lease", "--ports", "1", check=False)
    assert done.returncode == 2 and "no gateway was found" in done.stderr
    assert "slp: no SLP agent of scope DEFAULT names one" in done.stderr
    assert host.lease("-g", NA)["state"] == "held"


class Agent(threading.Thread):
    """A directory agent or gateway at a host, in few lines: `answers` maps functions."""

    def __init__(self, network, name, answers):
        super().__init__(daemon=True)
        self.seen, self.answers = [], answers
        with network.inside(name):
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(("", PORT))
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                socket.inet_aton(GROUP) + socket.inet_aton(topo.HOSTS[name]))
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                data, who = self.socket.recvfrom(2000)
                self.seen.append(data)
                answer = self.answers(data)
                if answer is not None:
                    function, body = answer
                    self.socket.sendto(slp(function, body, xid=struct.unpack(">H", data[10:12])[0]),
                        who)

    def close(self):
        self.socket.close()


def url(address):
    return b"\0" + struct.pack(">H", 600) + text(f"service:rsip://{address}") + b"\0"


# L-4-03, L-4-05, L-6-01, L-7-03: the gateway registers with a directory agent, and the host asks that one.
def test_directory_agent(network):
    here = topo.HOSTS["x2"]

    def answers(data):
        if data[1] == 1 and b"service:directory-agent" in data:
            return 8, struct.pack(">HI", 0, 1000) + text(f"service:directory-agent://{here}") \
                + text("DEFAULT") + text("") + text("") + b"\0"
        if data[1] == 3:
            return 5, struct.pack(">H", 0)
        if data[1] == 1 and b"service:rsip" in data and not data[5] & 0x20:
            return 2, struct.pack(">HH", 0, 1) + url(NA)
        return None

    agent = network.keep(Agent(network, "x2", answers))
    gateway = advertised(network)
    wait_for(lambda: gateway.metrics()['rsip_slp_registrations_total{result="acknowledged"}'] == 1,
        "the directory agent acknowledges")
    registration = next(d for d in agent.seen if d[1] == 3)
    assert f"service:rsip://{NA}".encode() in registration and b"(load=0)" in registration
    host = daemon(network)
    host.lease()
    assert host.ways() == ["slp"]
    asked = [d for d in agent.seen if d[1] == 1 and b"service:rsip" in d]
    assert asked and not asked[-1][5] & 0x20, "by unicast"
    assert b"(&(tunnel-type=IP-IP)(transport=TCP)" in asked[-1]
    gateway.end()
    wait_for(lambda: any(d[1] == 4 for d in agent.seen), "it withdraws")


# F-3.5-04, L-6-02, A-L-10: the least loaded first; one that is not there is passed over.
def test_load_and_next_gateway(network):
    advertised(network)
    gone = topo.HOSTS["x2"]

    def answers(data):
        if data[1] == 1 and b"service:rsip" in data:
            return 2, struct.pack(">HH", 0, 1) + url(gone)
        if data[1] == 6:
            return 7, struct.pack(">H", 0) + text("(load=0)") + b"\0"
        return None

    agent = network.keep(Agent(network, "x2", answers))
    host = daemon(network, conf='discover = "slp"')
    host.lease()
    assert host.ways() == ["slp"]
    assert any(d[1] == 6 and b"load" in d for d in agent.seen), "asked for its load"


def test_bytes_are_read_by_another_program(network, tmp_path):
    """tshark's srvloc dissector reads what gateway and host send."""
    if not shutil.which("tshark"):
        pytest.skip("tshark is missing")
    wire = network.keep(Wire(network, "n", "lan0"))
    advertised(network)
    host = daemon(network, conf='discover = "slp"')
    host.lease()
    file = tmp_path / "slp.pcap"
    wire.read()
    wire.save(file)
    read = subprocess.run(["tshark", "-r", str(file), "-Y", "srvloc", "-T", "fields", "-e",
        "srvloc.function", "-e", "srvloc.url.url", "-e", "_ws.malformed"], text=True,
        capture_output=True, check=True).stdout.splitlines()
    rows = [line.split("\t") for line in read]
    assert {"1", "2"} <= {r[0] for r in rows}
    assert any(f"service:rsip://{NA}" in r[1] for r in rows if len(r) > 1)
    assert not any("alformed" in line for line in read)


# --- DHCP, DNS, default route ---------------------------------------------------------------


class Dnsmasq:
    """The packaged server for DHCP and DNS, at x2."""

    def __init__(self, network, *options):
        if not shutil.which("dnsmasq"):
            pytest.skip("dnsmasq is missing")
        self.process = network.start("x2", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
            "--no-resolv", "--no-hosts", "--no-daemon", "--log-dhcp", "--log-queries",
            f"--dhcp-leasefile={network.dir}/leases", "--pid-file=", "--interface=eth0",
            "--bind-interfaces", "--user=root", *options, log="dnsmasq.log")
        self.path = network.dir / "dnsmasq.log"
        wait_for(lambda: "started" in self.log(), "dnsmasq has started")

    def log(self):
        return self.path.read_text(errors="replace")

    def close(self):
        self.process.terminate()
        self.process.wait(20)


def dhcp(network, *options):
    return network.keep(Dnsmasq(network, "--port=0", "--dhcp-range=10.0.0.0,static", *options))


# F-3.5-02, A-L-08
def test_gateway_by_dhcp(network):
    Gateway(network).start()
    server = dhcp(network, f"--dhcp-option=224,{NA}")
    network.run("x1", "ip", "route", "del", "default", check=False)
    host = daemon(network)
    host.lease()
    assert host.ways() == ["dhcp"]
    assert "DHCPINFORM" in server.log() and "DHCPACK" in server.log()


# F-3.5-02: another option, and the second address where the first does not answer.
def test_other_option_and_second_address(network):
    Gateway(network).start()
    dhcp(network, f"--dhcp-option=230,{topo.HOSTS['x2']},{NA}")
    host = daemon(network, conf="dhcp-option = 230")
    host.lease()
    assert host.ways() == ["dhcp"]


# L-5-01: options 78 and 79
def test_scopes_by_dhcp(network):
    advertised(network, scopes="floor3")
    dhcp(network, "--dhcp-option=79,00:66:6c:6f:6f:72:33")
    network.run("x1", "ip", "route", "del", "default", check=False)
    host = daemon(network)
    host.lease()
    assert host.ways() == ["slp"]


def test_gateway_by_dns(network):
    Gateway(network).start()
    network.keep(Dnsmasq(network, "--srv-host=_rsip._tcp.site.test,gw.site.test,4555,1,1",
        "--srv-host=_rsip._tcp.site.test,none.site.test,4555,0,1", f"--host-record=gw.site.test,{NA}"))
    host = daemon(network, conf='discover = "slp,dns"', resolver=topo.HOSTS["x2"])
    host.lease()
    assert host.ways() == ["dns"]


# A-L-09: the last resort, probed by a registration
def test_default_route_last(network):
    Gateway(network).start()
    host = daemon(network)
    host.lease()
    assert host.ways() == ["route"]


# F-3.5-01
def test_named_gateway_is_not_looked_for(network):
    Gateway(network).start()
    wire = network.keep(Wire(network, "n", "lan0"))
    host = daemon(network)
    host.lease("-g", NA)
    assert host.ways() == []
    assert not [p for p in wire.read() if b"service:" in bytes(p.data)]


def test_nothing_is_found(network):
    host = daemon(network, conf='discover = "dhcp,slp,route"')
    done = host.rsip("lease", "--ports", "1", check=False)
    assert done.returncode == 2
    for said in ("dhcp: no DHCP server answers", "slp: no SLP agent", "route: gateway", "-g"):
        assert said in done.stderr
    assert host.rsip("status", check=False).returncode == 0
