"""rsipd as another user, with driver packet and xdp: packets, reloads, capabilities."""
import os
import pathlib
import pwd
import signal

import pytest

import topo
from bare import BareHost, esp
from topo import NB, Y

SPI = 0xABCD0001
CAPS = {"packet": 1 << 12 | 1 << 13, "xdp": 1 << 12 | 1 << 13 | 1 << 38 | 1 << 39}


@pytest.fixture(params=["packet", "xdp"])
def gateway(request):
    reason = topo.why_not() or ("another user needs a whole system" if topo.one_user() else None)
    if reason:
        pytest.skip(reason)
    with topo.Net(tag="c") as net:
        topo.road(net)
        os.chmod(net.dir, 0o755)
        program = net.dir / "rsipd.sh"
        # As on a system: a BPF file system that only root can walk into, for the pins.
        program.write_text("#!/bin/sh\nmount -t bpf bpf /sys/fs/bpf -o mode=700 2>&-\n"
            f'exec {topo.BUILD}/bin/rsipd "$@"\n')
        program.chmod(0o755)
        g = topo.Gateway(net, gateway='user = "nobody"', program=program)
        g.driver = request.param
        g.conf.write_text(g.conf.read_text().replace('"packet"', f'"{g.driver}"'))
        try:
            g.start()
        except topo.Failed as e:
            if g.driver == "xdp":
                pytest.skip(f"no driver xdp here: {str(e)[-200:]}")
            raise
        yield g
        if g.process.poll() is None:
            g.end()


def program(gateway):
    """The process itself: ip netns exec has become it."""
    return pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text()


def crosses(gateway, host):
    """An ESP packet out, seen by the peer."""
    wire = topo.Wire(gateway.net, "y", "eth0")
    host.send(esp(NB, Y, SPI))
    topo.wait_for(lambda: [p for p in wire.read() if p.proto == 50], "ESP at the peer")
    wire.close()


def test_another_user_serves_and_reloads(gateway):
    host = BareHost(gateway.net, "x1").register()
    host.lease()
    status = dict(line.split(":", 1) for line in program(gateway).splitlines())
    assert status["Uid"].split()[0] == str(pwd.getpwnam("nobody").pw_uid)
    assert int(status["CapEff"], 16) == CAPS[gateway.driver]
    assert int(status["CapBnd"], 16) == CAPS[gateway.driver]
    crosses(gateway, host)
    # More addresses: the data plane is opened anew, with its kernel rules and its pins.
    text = gateway.conf.read_text()
    gateway.conf.write_text(text.replace(f'"{NB}"', f'"{NB}", "203.0.113.9"'))
    gateway.net.run("n", topo.BUILD / "bin" / "rsip", "gateway", "reload", "--socket",
        gateway.net.dir / "rsipd.sock")
    assert len(gateway.show("pools")[0]["addresses"]) == 2, gateway.log()
    crosses(gateway, host)
    gateway.end(signal.SIGKILL)
    gateway.start()
    crosses(gateway, host)
    assert gateway.end() == 0, gateway.log()[-3000:]
    host.close()


def daemon_of(net, name):
    """Its status, of the rsip-hostd in that namespace."""
    for pid in net.run(name, "ip", "netns", "pids", net.ns(name)).split():
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue  # it has ended
        if status.startswith("Name:\trsip-hostd\n"):
            return pid, dict(line.split(":", 1) for line in status.splitlines())
    raise topo.Failed(f"no rsip-hostd in {name}")


def test_the_daemon_of_a_host():
    reason = topo.why_not() or ("another set of rights in here" if topo.one_user() else None)
    if reason:
        pytest.skip(reason)
    with topo.Net(tag="h") as net:
        topo.road(net)
        g = topo.Gateway(net).start()
        topo.Host(net, "x1").rsip("lease", "-g", topo.NA)
        pid, status = daemon_of(net, "x1")
        # NET_BIND_SERVICE, NET_ADMIN, NET_RAW, SYS_PTRACE, SYS_ADMIN, DAC_READ_SEARCH
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == \
            1 << 10 | 1 << 12 | 1 << 13 | 1 << 19 | 1 << 21 | 1 << 2
        assert status["NoNewPrivs"].strip() == "1"
        if b"__asan_init" not in pathlib.Path(f"/proc/{pid}/exe").read_bytes():
            assert status["Seccomp"].strip() == "2"
        topo.Host(net, "x1").rsip("down")
        assert g.end() == 0
