"""rsip-kxd in front of a host: what its traps let pass, and what they never do.

    s 198.51.100.10 -- r1 (rsip-kxd, no IKE daemon) -- d 203.0.113.10 ...

Every packet that reaches d's side is captured.  IKE and ESP are tests/ipsec/test_kxd.py.
"""
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest

import kxnet
import topo
import zones
from kxnet import D_NET, R1, S_NET, Gateway, group, ping
from topo import BUILD, Net, Wire, wait_for

S = f"{S_NET}.10"
PROGRAM = pathlib.Path(os.environ.get("RSIP_KXD", BUILD / "bin" / "rsip-kxd"))
ICMP, TCP = 1, 6
REASON = topo.why_not() or zones.why_not() or \
    (None if PROGRAM.exists() else "rsip-kxd is not built")
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")


def d(last):
    return f"{D_NET}.{last}"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return kxnet.tree(tmp_path_factory.mktemp("zones"))


@pytest.fixture
def net(tmp_path):
    with Net(tmp_path / "net", tag="k") as n:
        n.dir.mkdir()
        n.add("s", "r1", "d")
        n.link("s", "e0", "r1", "i0")
        n.link("r1", "w0", "d", "e0")
        n.batch("s", f"addr add {S}/24 dev e0", f"route add default via {R1}")
        n.batch("r1", f"addr add {R1}/24 dev i0", f"addr add {D_NET}.1/24 dev w0")
        n.batch("d", *[f"addr add {d(i)}/24 dev e0" for i in (10, 20, 30, 66, 77, 99)],
            f"route add default via {D_NET}.1")
        n.sysctl("r1", "net.ipv4.ip_forward=1")
        yield n


@pytest.fixture
def start(net, tree):
    made = []

    def go(groups, **options):
        g = Gateway(net, "r1", tree, net.dir, R1, [f"{S_NET}.0/24"], groups, program=PROGRAM, **options)
        made.append(g)
        return g.start()

    yield go
    for g in made:
        if g.process.poll() is None:
            assert g.end() == 0, g.log()
        assert "runtime error" not in g.log() and "Sanitizer" not in g.log(), g.log()


GROUPS = group("private", f"{D_NET}.0/24", failure_ttl=2) + \
    group("private-or-clear", f"{d(30)}/32", failure_ttl=2) + \
    group("clear", f"{d(66)}/32") + group("clear-or-private", f"{d(77)}/32") + \
    group("block", f"{d(99)}/32")


def seen(wire, last):
    """Packets from or to that destination that the wire carried."""
    return [p for p in wire.read() if d(last) in (p.src, p.dst)]


def test_groups(net, start):
    """What each group lets pass, with no IKE daemon to agree with: private nothing at all."""
    wire = Wire(net, "d", "e0")
    r1 = start(GROUPS)
    assert ping(net, "s", S, d(10), 3) == 0
    assert ping(net, "s", S, d(20), 2) == 0  # two exchangers, neither usable
    assert not seen(wire, 10) and not seen(wire, 20), wire.packets
    wait_for(lambda: ping(net, "s", S, d(30)), "private-or-clear passes when IKE has failed")
    assert ping(net, "s", S, d(66)) == 1 and ping(net, "s", S, d(77)) == 1
    assert ping(net, "s", S, d(99)) == 0 and not seen(wire, 99)
    # The gateway's own packets are nobody's to hold.
    assert ping(net, "r1", f"{D_NET}.1", d(10)) == 1 and ping(net, "r1", R1, d(10)) == 1
    assert f"pair passes in clear peer= source={S} destination={d(30)} reason=ike" in r1.log()
    assert f"pair dropped peer= source={S} destination={d(10)} reason=ike" in r1.log()


def test_plaintext_from_private(net, start):
    """What comes from a private network in clear does not pass either."""
    start(GROUPS)
    wire = Wire(net, "s", "e0")
    assert ping(net, "d", d(10), S, 2) == 0
    assert not [p for p in wire.read() if p.src == d(10)]
    assert ping(net, "d", d(66), S) == 1


def test_killed(net, start):
    """kill -9: traps stay, openings end by themselves, and private never leaks."""
    wire = Wire(net, "d", "e0")
    r1 = start(GROUPS)
    wait_for(lambda: ping(net, "s", S, d(30)), "the pass shunt")
    assert "priority 1000000" in r1.policies()
    r1.end(signal.SIGKILL)
    assert ping(net, "s", S, d(10), 2) == 0 and not seen(wire, 10)
    wait_for(lambda: "priority 1000000" not in r1.policies(), "the kernel ends the shunt", 6)
    assert ping(net, "s", S, d(30)) == 0, "an opening outlived the daemon"
    assert ping(net, "s", S, d(66)) == 1
    # The next one takes the traps over.
    r1.start()
    wait_for(lambda: ping(net, "s", S, d(30)), "the next daemon decides again")
    assert ping(net, "s", S, d(10)) == 0 and not seen(wire, 10)


def test_term_keeps_the_traps(net, start):
    r1 = start(GROUPS)
    before = r1.policies()
    assert r1.end() == 0
    assert r1.policies() == before
    assert ping(net, "s", S, d(10)) == 0


def test_reload(net, start):
    """SIGHUP: a bad file changes nothing; a good one opens no gap on its way."""
    r1 = start(GROUPS)
    before, text = r1.policies(), r1.conf.read_text()
    r1.conf.write_text(text + "group purple { }")
    r1.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "configuration unchanged" in r1.log(), "the complaint")
    assert re.search(r"kxd\.conf:\d+: .*purple", r1.log())
    assert r1.policies() == before
    r1.conf.write_text(text.replace(f'"{d(66)}/32"', f'"{d(10)}/32"'))
    r1.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "configuration read again" in r1.log(), "the reload")
    assert ping(net, "s", S, d(10)) == 1
    assert ping(net, "s", S, d(66)) == 0


def test_new_address(net, start):
    """An address that the gateway gets is its own from then on."""
    r1 = start(GROUPS)
    net.batch("r1", f"addr add {S_NET}.77/24 dev i0")
    wait_for(lambda: f"src {S_NET}.77/32 dst 0.0.0.0/0" in r1.policies(), "the exemption")
    assert ping(net, "r1", f"{S_NET}.77", d(10)) == 1
    net.batch("r1", f"addr del {S_NET}.77/24 dev i0")
    wait_for(lambda: f"{S_NET}.77" not in r1.policies(), "its end")


def test_one_question_a_pair(net, start):
    """While a pair is undecided the kernel tells of it once, and then again."""
    r1 = start(GROUPS + "metrics { listen = \"127.0.0.1:9466\" }\n")
    ping(net, "s", S, d(10), 5)
    numbers = metrics(net, r1)
    assert 1 <= numbers["rsip_kx_acquires_total"] <= 3, numbers
    assert numbers["rsip_kx_dropped_total"] >= 1
    assert numbers["rsip_kx_charon_up"] == 0
    # After the failure's time the next packet asks anew.
    before = numbers["rsip_kx_acquires_total"]
    wait_for(lambda: ping(net, "s", S, d(10)) or
        metrics(net, r1)["rsip_kx_acquires_total"] > before, "another ACQUIRE")


def metrics(net, gateway):
    with net.inside("r1"), socket.create_connection(("127.0.0.1", 9466), 5) as s:
        s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: s.recv(65536), b"")).decode()
    lines = text.split("\r\n\r\n", 1)[1].splitlines()
    return {k: float(v) for k, v in (l.rsplit(" ", 1) for l in lines if l and l[0] != "#")}


def syns(net, wire, last, port):
    return [p for p in wire.read() if p.proto == TCP and p.dst == d(last) and
        p.ports[1] == port and p.payload[13] & 0x12 == 2]


def can_hold(net):
    p = net.run("r1", "iptables", "-t", "mangle", "-A", "PREROUTING", "-s", "192.0.2.1", "-m",
        "conntrack", "--ctstate", "NEW", "-j", "NFQUEUE", "--queue-num", "1", "--queue-bypass",
        check=False)
    net.run("r1", "iptables", "-t", "mangle", "-F", "PREROUTING", check=False)
    return p.returncode == 0


@pytest.mark.parametrize("hold", [False, True])
def test_first_packet(net, start, hold):
    """Held until the decision, the first packet of a connection is not lost.

    d(66) here has no name: a secure denial, so private-or-clear passes after one look-up.
    """
    if hold and not can_hold(net):
        pytest.skip("this kernel or iptables has no NFQUEUE or conntrack")
    start(group("private-or-clear", f"{D_NET}.0/24"), kxd=f"hold = {str(hold).lower()}")
    with net.inside("d"):
        server = socket.create_server((d(66), 5000))
    wire = Wire(net, "s", "e0")
    with net.inside("s"):
        s = socket.socket()
        s.settimeout(10)
        s.connect((d(66), 5000))
    assert len(syns(net, wire, 66, 5000)) == (1 if hold else 2)
    s.close(), server.close()


def test_hold_never_leaks(net, start):
    """A held packet of a private pair is dropped when the decision is no."""
    if not can_hold(net):
        pytest.skip("this kernel or iptables has no NFQUEUE or conntrack")
    wire = Wire(net, "d", "e0")
    r1 = start(GROUPS, kxd="hold = true")
    assert ping(net, "s", S, d(10), 3) == 0 and not seen(wire, 10)
    r1.end(signal.SIGKILL)
    assert ping(net, "s", S, d(10), 2) == 0 and not seen(wire, 10)
    assert ping(net, "s", S, d(66)) == 1


def test_flood(net, start):
    """Random destinations from one host: bounded, and the daemon still answers."""
    r1 = start(group("private", f"{D_NET}.0/24", "10.0.0.0/8"))
    net.batch("r1", f"route add 10.0.0.0/8 via {d(10)}")
    status = pathlib.Path(f"/proc/{daemon_pid(net)}/status")

    def memory():
        return int(re.search(r"VmRSS:\s+(\d+)", status.read_text())[1])

    with net.inside("s"):
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    before = None
    for round_ in range(4):
        for i in range(2000):
            out.sendto(b"x", (f"10.{round_}.{i // 250}.{i % 250 + 1}", 9))
        assert r1.show()["pairs"] is not None
        before = before or memory()
    if "asan" not in pathlib.Path(f"/proc/{daemon_pid(net)}/maps").read_text():  # it keeps what is freed
        assert memory() < before + 8192, (before, memory())
    assert ping(net, "s", S, d(10)) == 0


def daemon_pid(net):
    for pid in net.pids("r1"):
        if "kxd" in pathlib.Path(f"/proc/{pid}/comm").read_text():
            return pid
    raise AssertionError("no rsip-kxd in r1")


def test_open(net, start):
    """rsip kx open: the operator's way out."""
    r1 = start(GROUPS)
    assert ping(net, "s", S, d(10)) == 0
    net.run("r1", BUILD / "bin" / "rsip", "kx", "open", "--socket", r1.dir / "kxd.sock")
    assert not r1.policies().strip()
    assert ping(net, "s", S, d(10)) == 1


def test_command_line(net, tree, tmp_path):
    def run(*words):
        return subprocess.run([PROGRAM, *words], capture_output=True, text=True)

    assert "rsip-kxd" in run("--version").stdout and "--check" in run("--help").stdout
    assert run("--what").returncode == 2 and run("x").returncode == 2
    bad = tmp_path / "kxd.conf"
    bad.write_text("kxd {\n    identity = { \"a..b\" }\n}\n")
    p = run("--check", "-c", str(bad))
    assert p.returncode == 2 and f"{bad}:2: identity" in p.stderr
    g = Gateway(net, "r1", tree, net.dir, R1, [f"{S_NET}.0/24"], GROUPS, program=PROGRAM)
    p = run("--check", "-c", str(g.conf))
    assert (p.returncode, p.stdout, p.stderr) == (0, "", "")


def test_second_daemon(net, start, tree):
    r1 = start(GROUPS)
    p = net.run("r1", PROGRAM, "-f", "-c", r1.conf, check=False)
    assert p.returncode == 1 and "kxd.sock" in p.stderr, p.stderr
    assert ping(net, "s", S, d(10)) == 0
