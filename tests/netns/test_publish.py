"""rsip up --publish: a host's name in signed DNS is there as long as its lease, and no longer."""
import json
import os
import pathlib
import signal
import sys

import pytest

import topo
from topo import BUILD, NA, NB

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kx"))
import servers  # noqa: E402

NAME, SERVICE = "x1.dyn.test", "_isakmp._udp.x1.dyn.test"
KEY = "10 0 4 . xl45KdcNL2C/nWUbwfH+BhvBGA16btwCOunE/8z9aP8="


@pytest.fixture
def net(tmp_path):
    reason = topo.why_not()
    if reason:
        pytest.skip(reason)
    with topo.Net(tag="p") as n:
        topo.road(n)
        n.dns = servers.Server("knot", tmp_path, NA, 5300, n.words("n", [])).start()
        n.x1 = topo.Host(n, "x1")
        n.options = ("--publish", NAME, "--publish-server", f"{NA}:5300", "--publish-key", n.dns.keyfile)
        try:
            yield n
        finally:
            n.run("x1", BUILD / "bin" / "rsip", "down", check=False)
            n.dns.stop()


def records(net):
    return {k: net.dns.ask(SERVICE if k == "SRV" else NAME, k) for k in ("A", "KX", "SRV", "IPSECKEY")}


GONE = {"A": [], "KX": [], "SRV": [], "IPSECKEY": []}


def hostd(net):
    for pid in net.pids("x1"):
        if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "rsip-hostd":
            return pid
    raise topo.Failed("no rsip-hostd in x1")


# S-G-08, K-4-05: the port, too, since a shared address has one port 500 for all.
def test_up_and_down(net):
    topo.Gateway(net).start()
    lease = net.x1.up("--ports", "16", "--publish-ipseckey", KEY, *net.options)
    assert net.x1.status()["publish"] == {"name": NAME, "state": "published", "why": None}
    got = records(net)
    port = lease.ports[0][0] + 1  # where IKE speaks with the marker that ESP in UDP needs
    assert got["A"] == [NB] and got["KX"] == [f"10 {NAME}."]
    assert got["SRV"] == [f"0 0 {port} {NAME}."]
    assert got["IPSECKEY"][0].replace(" ", "") == KEY.replace(" ", "")
    net.x1.rsip("down")
    assert records(net) == GONE


def test_lease_lost(net):
    """The gateway takes the lease: the name follows the new one, and goes with the last."""
    g = topo.Gateway(net).start()
    lease = net.x1.up("--ports", "16", *net.options)
    port = lease.ports[0][0] + 1
    g.release(lease.bindings[0]["bind_id"])
    topo.wait_for(lambda: records(net)["SRV"] not in ([], [f"0 0 {port} {NAME}."]), "another port is published")
    assert records(net)["SRV"] == [f"0 0 {net.x1.lease().ports[0][0] + 1} {NAME}."]
    net.x1.rsip("down")
    assert records(net) == GONE


def test_killed(net):
    topo.Gateway(net).start()
    net.x1.up("--ports", "16", *net.options)
    os.kill(hostd(net), signal.SIGKILL)
    assert records(net)["A"] == [NB]
    net.x1.rsip("down")  # a new daemon finds what the killed one left
    assert records(net) == GONE


def test_whole_address(net):
    topo.Gateway(net, pool='dedicated = { "203.0.113.77" }').start()
    net.x1.up("--method", "rsa-ip", *net.options)
    got = records(net)
    assert got["A"] == ["203.0.113.77"] and got["SRV"] == []
    assert net.dns.ask("77.113.0.203.in-addr.arpa", "PTR") == [f"{NAME}."]
    net.x1.rsip("down")
    assert records(net) == GONE
    assert net.dns.ask("77.113.0.203.in-addr.arpa", "PTR") == []


def test_server_away(net):
    """Up without its name is up, and says so; the name comes when the server does."""
    topo.Gateway(net).start()
    net.dns.stop()
    net.x1.up("--ports", "16", *net.options)
    publish = net.x1.status()["publish"]
    assert publish["state"] == "failed" and "does not answer" in publish["why"]
    net.dns.start()
    topo.wait_for(lambda: net.x1.status()["publish"]["state"] == "published", "the name is published", 30)
    assert records(net)["A"] == [NB]


def test_mistakes(net):
    topo.Gateway(net).start()
    other = net.dir / "readable"
    other.write_text(net.dns.keyfile.read_text())
    other.chmod(0o644)
    for options, why in [(("--publish", NAME), "needs publish-server"),
            ((*net.options[:4], "--publish-key", other), "others may read it"),
            ((*net.options[:4], "--publish-key", "/proc/none"), "/proc/none"),
            ((*net.options, "--publish-ipseckey", "x"), "publish-ipseckey")]:
        with pytest.raises(topo.Failed, match=why):
            net.x1.up("--ports", "16", *options)
    assert records(net) == GONE
