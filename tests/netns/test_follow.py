"""spi-mode follow: SPIs that an IKE daemon chose are leased before its messages leave.

The daemon is this test: larval SAs by `ip xfrm state allocspi`, which kernels without ESP have, too.
What real daemons and whole SAs do is tested in tests/ipsec.
"""
import contextlib
import os
import shutil
import signal
import socket
import struct

import pytest
import topo
from topo import BUILD, NA, NB, Y, Gateway, Net, ranges, road, wait_for

WHY_NOT = topo.why_not()
if WHY_NOT:
    pytest.skip(WHY_NOT, allow_module_level=True)
from test_host import Client

INIT, AUTH, CREATE = 34, 35, 36


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
    return Ike(network, "x1")


class Ike(Client):
    """A host with what an IKE daemon does: it makes SAs and sends messages."""

    def begin(self, *options):
        self.up("--spi-mode", "follow", *options)
        with self.net.inside(self.name):
            self.socket = self.net.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.socket.bind((NB, 500))
        with self.net.inside("y"):
            self.peer = self.net.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.peer.bind((Y, 500))
        return self

    def xfrm(self, *words, check=True):
        return self.net.run(self.name, "ip", "xfrm", "state", *words, check=check)

    def larval(self, spi, src=Y, dst=NB, proto="esp"):
        text = hex(spi)
        p = self.xfrm("allocspi", "src", src, "dst", dst, "proto", proto, "min", text, "max", text,
            check=False)
        if "not supported" in p.stderr:
            pytest.skip(f"no XFRM in this kernel: {p.stderr.strip()}")
        assert p.returncode == 0, p.stderr

    def delete(self, spi):
        self.xfrm("delete", "src", Y, "dst", NB, "proto", "esp", "spi", hex(spi))

    def sas(self):
        return self.xfrm("list")

    def send(self, exchange, text=b"", version=2):
        cookie = os.urandom(8)
        data = cookie + bytes(8) + bytes([46, version << 4, exchange, 8]) + \
            struct.pack("!II", 1, 28 + len(text)) + text
        self.socket.sendto(data, (Y, 500))
        return data

    def arrives(self, data, seconds=8):
        self.peer.settimeout(seconds)
        got, source = self.peer.recvfrom(4096)
        return got == data and source == (NB, 500)

    def nothing_arrives(self):
        self.peer.settimeout(0)
        with pytest.raises(BlockingIOError):
            self.peer.recv(4096)
        return True

    def follow(self):
        return self.status()["follow"]

    def leased(self):
        return {s for b in self.status()["bindings"] for a, z in ranges(b["spis"])
            for s in range(a, z + 1)}


def held(gateway):
    return {a for b in gateway.show("bindings") for a, z in ranges(b["spis"]) if a == z}


# S-3-05, S-6.2-16: who sees the message finds the SPI leased; the SA's end gives it back.
def test_leased_before_it_leaves(gateway, x1):
    x1.begin()
    assert x1.arrives(x1.send(INIT))
    x1.larval(0x12345678)
    assert x1.arrives(x1.send(INIT))
    assert 0x12345678 not in held(gateway), "a first message carries no SPI"
    assert x1.arrives(x1.send(AUTH))
    assert 0x12345678 in held(gateway)
    binding = next(b for b in x1.status()["bindings"] if b["spis"] == "0x12345678")
    assert binding["address"] == NB and binding["ports"] is None
    x1.larval(0x22345678, proto="ah")
    assert x1.arrives(x1.send(32, version=1))
    assert 0x22345678 in held(gateway)
    follow = x1.follow()
    assert (follow["spis"], follow["leased"], follow["kept"], follow["sent"]) == (2, 2, 2, 2)
    assert follow["refused"] == follow["lost"] == follow["waiting"] == 0
    x1.delete(0x12345678)
    wait_for(lambda: held(gateway) & {0x12345678, 0x22345678} == {0x22345678},
        "a lease stays behind its SA")
    assert x1.follow()["freed"] == 1 and "1 leased now" in x1.rsip("status")


# Neither other addresses' SAs nor those on SPIs that are leased already are touched.
def test_what_is_not_followed(gateway, x1):
    x1.begin("--spis", "64")
    before = held(gateway), x1.leased()
    x1.larval(min(x1.leased()))
    x1.larval(0x33333333, dst="10.0.0.11")
    assert x1.arrives(x1.send(CREATE))
    assert (held(gateway), x1.leased()) == before
    assert x1.follow()["kept"] == 0 and x1.follow()["messages"] == 1


# S-6.2-19: another host's SPI; the SA ends at once and the daemon takes another one.
def test_refused(network, gateway, x1):
    x2 = Client(network, "x2")
    x2.rsip("lease", "-g", NA, "--spi", "0x12345678", "--ports", "0")
    x1.begin()
    x1.larval(0x12345678)
    x1.larval(0x12345679)
    assert x1.arrives(x1.send(AUTH))
    assert "0x12345678" not in x1.sas() and "0x12345679" in x1.sas()
    follow = x1.follow()
    assert (follow["refused"], follow["spis"]) == (1, 1)
    assert x1.status()["sas_ended"] == 1


# A daemon that is refused again and again, and tries again at once, is slowed down.
def test_refused_again_and_again(network):
    Gateway(network, pool='spis = { "256-300" }').start()
    c = Ike(network, "x1").begin()
    for n in range(8):
        c.larval(0x10000000 + n)
        c.send(AUTH)
        wait_for(lambda: c.follow()["refused"] == n + 1, "it is not refused")
    assert 1 <= c.follow()["waiting"] <= 3
    wait_for(lambda: c.follow()["waiting"] == 0, "it waits for ever")
    assert c.follow()["lost"] >= 1 and c.status()["sas_ended"] == 8


# The message waits for the gateway, but not for ever.
def test_waits_for_the_gateway(gateway, x1):
    x1.begin()
    os.kill(gateway.process.pid, signal.SIGSTOP)
    try:
        x1.larval(0x12345678)
        data = x1.send(AUTH)
        wait_for(lambda: x1.follow()["waiting"] == 1, "the message does not wait")
        assert x1.nothing_arrives()
    finally:
        os.kill(gateway.process.pid, signal.SIGCONT)
    while not x1.arrives(data):
        pass
    assert 0x12345678 in held(gateway)
    os.kill(gateway.process.pid, signal.SIGSTOP)
    try:
        x1.larval(0x12345679)
        x1.send(AUTH)
        wait_for(lambda: x1.follow()["lost"] == 1, "the message waits for ever")
        assert x1.follow()["waiting"] == 0
    finally:
        os.kill(gateway.process.pid, signal.SIGCONT)



# The daemon is killed: its successor knows whose SPIs are whose.
def test_successor(gateway, x1):
    x1.begin()
    for spi in (0x12345678, 0x12345679):
        x1.larval(spi)
    assert x1.arrives(x1.send(AUTH))
    x1.kill()
    x1.delete(0x12345679)
    x1.up()
    wait_for(lambda: held(gateway) & {0x12345678, 0x12345679} == {0x12345678},
        "the lease of what has gone meanwhile is not given back")
    x1.larval(0x12345677)
    assert x1.arrives(x1.send(AUTH))
    assert {0x12345677, 0x12345678} <= held(gateway)


# A gateway that lost its memory leases the same SPI again, and its SA stays.
def test_asked_for_again(network, gateway, x1):
    x1.begin()
    x1.larval(0x12345678)
    assert x1.arrives(x1.send(AUTH))
    gateway.end(signal.SIGKILL)
    shutil.rmtree(network.dir / "state")
    gateway.start()
    wait_for(lambda: 0x12345678 in held(gateway), "the SPI is not leased again", 20)
    assert "0x12345678" in x1.sas() and x1.status()["sas_ended"] == 0


# A lease that the gateway takes ends its SA: in follow mode, of a script, of `up`.
def test_released(network, gateway, x1):
    x1.begin("--spis", "16")
    block = min(x1.leased())
    other = x1.one("lease", "--spi", "0x55555555", "--ports", "0")
    x1.larval(0x12345678)
    x1.larval(0x55555555)
    x1.larval(block)
    assert x1.arrives(x1.send(AUTH))
    assert x1.follow()["spis"] == 1
    for spi in (0x12345678, 0x55555555, block):
        bind = next(b["bind_id"] for b in gateway.show("bindings")
            if any(a <= spi <= z for a, z in ranges(b["spis"])))
        network.run("n", BUILD / "bin" / "rsip", "gateway", "release", bind, "--socket",
            network.dir / "rsipd.sock")
        wait_for(lambda: f"{spi:#010x}" not in x1.sas(), f"{spi:#x}: the SA stays")
    assert other["bind_id"] not in x1.bind_ids()


# What one gives back oneself, too; `rsip down` leaves no SA to an address that is not ours any more.
def test_given_back(x1):
    x1.begin()
    other = x1.one("lease", "--spi", "0x55555555", "--ports", "0")
    for spi in (0x12345678, 0x55555555):
        x1.larval(spi)
    x1.larval(0x66666666, dst="10.0.0.11")
    assert x1.arrives(x1.send(AUTH))
    x1.rsip("free", other["bind_id"])
    assert "0x55555555" not in x1.sas() and "0x12345678" in x1.sas()
    x1.rsip("down")
    assert "0x12345678" not in x1.sas() and "0x66666666" in x1.sas()


# A gateway that does not answer: with the lease's time its SA is over.
def test_expired(gateway, x1):
    x1.begin("--lease", "3")
    x1.larval(0x12345678)
    assert x1.arrives(x1.send(AUTH))
    os.kill(gateway.process.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: "0x12345678" not in x1.sas(), "the SA outlives its lease")
        assert x1.follow()["spis"] == 0 and x1.status()["sas_ended"] == 1
    finally:
        os.kill(gateway.process.pid, signal.SIGCONT)


# More SPIs than bindings: what is over is ended and said, the rest stays.
def test_too_many(network):
    Gateway(network, policy="max-bindings = 3").start()
    c = Ike(network, "x1").begin()
    for spi in range(0x1000, 0x1004):
        c.larval(spi)
    assert c.arrives(c.send(AUTH))
    assert (c.follow()["spis"], c.follow()["refused"]) == (2, 2)
    assert len([l for l in c.sas().splitlines() if "proto esp" in l]) == 2


# P-9.8-02: where policy demands a remote, it is the SA's peer.
def test_remote_policy(network):
    gateway = Gateway(network, policy='remote-flow = "macro"').start()
    c = Ike(network, "x1")
    p = c.rsip("up", "-g", NA, "--spi-mode", "follow", check=False)
    assert p.returncode == 1 and "103" in p.stderr
    assert gateway.show("bindings") == []


def test_needs_rsipsec(network, gateway, x1):
    p = x1.rsip("up", "-g", NA, "--spi-mode", "follow", "--method", "rsap-ip", check=False)
    assert p.returncode != 0 and "needs method rsipsec" in p.stderr
    assert gateway.show("bindings") == []
