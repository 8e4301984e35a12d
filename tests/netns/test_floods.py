"""Floods from one machine of the private link: another host's requests are all answered, and
rsipd's memory stays what it was.  Each test prints its figures (pytest -rP)."""
import contextlib
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time

import pytest

import topo
from topo import NA, X1, X2

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "control"))
import rsip

FLOOD = topo.BUILD / "tests" / "netns" / "flood"
MEMORY_MAX = 96 * 1024  # KiB that rsipd may grow by: sockets, buffers, a thousand connections


@pytest.fixture
def net():
    reason = topo.why_not()
    if reason:
        pytest.skip(reason)
    with topo.Net(tag="f") as n:
        topo.road(n)
        # Spoofed sources count as neighbours: the kernel takes them in, and asks for each of
        # them by ARP when rsipd answers.
        n.batch("n", "route add 10.128.0.0/9 dev lan0")
        yield n


@pytest.fixture
def gateway(net):
    g = topo.Gateway(net, policy='match = { "10.0.0.0/24" }').start()
    yield g
    if g.process.poll() is None:
        assert g.end() == 0


def memory(g):
    text = pathlib.Path(f"/proc/{g.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text).group(1))


def mac(net, name, dev):
    return net.run(name, "cat", f"/sys/class/net/{dev}/address").strip()


class Good(threading.Thread):
    """The host x1: one request after the other, repeated as RFC 3103 10.1 says until answered."""

    def __init__(self, net, transport):
        super().__init__()
        with net.inside("x1"):
            self.host = transport((NA, 4555), X1)
        assert self.host.register().type == rsip.REGISTER_OK
        self.ends, self.asked, self.answered, self.worst, self.error = False, 0, 0, 0.0, None

    def run(self):
        try:
            while not self.ends or self.asked < 20:
                self.asked += 1
                start = time.monotonic()
                bind = self.host.assign(2)
                assert bind.type == rsip.ASSIGN_RSAP_OK, bind
                assert self.host.free(bind.bind).type == rsip.FREE_OK
                self.answered += 1
                self.worst = max(self.worst, time.monotonic() - start)
        except Exception as e:  # said by the one who joins
            self.error = e

    def end(self):
        self.ends = True
        self.join(60)
        self.host.close()
        assert not self.is_alive() and self.error is None, self.error


@contextlib.contextmanager
def served(net, g, transport=rsip.Udp):
    """While the block runs, x1 is; afterwards its figures are printed."""
    before = memory(g)
    good = Good(net, transport)
    good.start()
    start = time.monotonic()
    figures = []
    try:
        yield figures
    finally:
        good.end()
    grown = memory(g) - before
    print(f"{time.monotonic() - start:.1f} s, {', '.join(figures)}; x1: {good.answered} of "
        f"{good.asked} answered, slowest {1000 * good.worst:.0f} ms; memory +{grown} KiB")
    assert good.answered == good.asked >= 20
    assert grown < MEMORY_MAX
    assert "Sanitizer" not in g.log()


def flood(net, kind, count):
    """(frames sent, a second)"""
    out = net.run("x2", FLOOD, kind, "eth0", mac(net, "n", "lan0"), NA, "4555", count, timeout=120)
    sent, rate = out.split()
    return f"{sent} {kind} frames at {rate}/s"


# P-11-02
def test_a_million_spoofed_sources(net, gateway):
    with served(net, gateway) as figures:
        figures.append(flood(net, "register", 1000000))
    assert len(gateway.show("clients")) == 1


def test_junk(net, gateway):
    with served(net, gateway) as figures:
        figures.append(flood(net, "junk", 150000))


def test_syn(net, gateway):
    with served(net, gateway, rsip.Tcp) as figures:
        figures.append(flood(net, "syn", 100000))
        # Also who comes anew: the kernel's SYN cookies see to it.
        with net.inside("x1"):
            late = rsip.Tcp((NA, 4555), X1)
        late.close()


def test_idle_connections(net, gateway):
    """Of one host it keeps 32, and closes the longest idle one."""
    with served(net, gateway, rsip.Tcp) as figures, contextlib.ExitStack() as stack:
        for _ in range(1500):
            with net.inside("x2"):
                stack.enter_context(socket.create_connection((NA, 4555), 10, (X2, 0)))
        open_now = gateway.metrics()["rsip_connections"]
        figures.append(f"1500 connections of x2, {open_now:.0f} left open")
        assert open_now <= 33


# P-11-01
def test_a_storm_of_assigns(net, gateway):
    """One host asks for all that there is, over 8 connections: it gets what a host may have."""
    with served(net, gateway) as figures:
        with net.inside("x2"):
            first = rsip.Tcp((NA, 4555), X2)
            others = [socket.create_connection((NA, 4555), 10, (X2, 0)) for _ in range(7)]
        first.register()
        ask = rsip.message(rsip.ASSIGN_RSAP, first.me(), rsip.address(), rsip.ports(64),
            rsip.address(), rsip.ports(1))
        end, sent = time.monotonic() + 2, 0
        for s in (first.sock, *others):
            s.settimeout(0)
        while time.monotonic() < end:
            for s in (first.sock, *others):
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    sent += s.send(ask * 16) // len(ask)
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    s.recv(1 << 20)
        held = [b for b in gateway.show("bindings") if b["host"] == X2]
        figures.append(f"{sent} requests of x2, {len(held)} granted")
        for s in (first.sock, *others):
            s.close()
        assert 0 < len(held) <= 16  # max-ports is 1024
