#!/usr/bin/python3
"""Inside the guest: gateways that have never met bring tunnels up from nothing but DNS.

    kxd_guest.py FOLDER

Real IKE by unmodified strongSwan, real ESP; every packet between the gateways is captured.
FOLDER/tree has the signed zones that kxnet.tree() made, FOLDER/withdrawn the same without
what `late` had.
"""
import contextlib
import os
import pathlib
import signal
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "netns"))
import kxnet
from kxnet import D_NET, H, R1, R2, S_NET, Gateway, group, ping
from tap import Tap
from topo import Failed, Net, Wire, wait_for

OUT = pathlib.Path(os.environ["OUT"])
ESP, UDP, ICMP = 50, 17, 1
S, S4 = f"{S_NET}.10", f"{S_NET}.13"
tap = Tap()


class Paths:
    """What kxnet.Tree has, of zones that are there already."""

    def __init__(self, folder):
        self.signed, self.anchor = pathlib.Path(folder) / "signed", pathlib.Path(folder) / "ta.key"


def d(last):
    return f"{D_NET}.{last}"


def seconds(action):
    began = time.monotonic()
    action()
    return time.monotonic() - began


def until_ping(net, name, source, destination, limit=20):
    wait_for(lambda: ping(net, name, source, destination), f"ping {source} to {destination}", limit)
    return True


def plain(wire, *addresses):
    """Packets that show one of these addresses, but IKE and ESP of the gateways."""
    return [p for p in wire.read() if p.src in addresses or p.dst in addresses]


def gateways(net, tree):
    private = group("private", f"{D_NET}.0/24", f"{H}/32", failure_ttl=2) + \
        group("private-or-clear", f"{D_NET}.30/32", f"{D_NET}.31/32", failure_ttl=2)
    r1 = Gateway(net, "r1", tree, OUT, R1, [f"{S_NET}.0/24"], private)
    r2 = Gateway(net, "r2", tree, OUT, R2, [f"{D_NET}.0/24"], group("private-or-clear", f"{S_NET}.0/24"))
    h = Gateway(net, "h", tree, OUT, H, [f"{H}/32"], group("private", f"{S_NET}.0/24"), own=True)
    for g in (r1, r2, h):
        g.start_charon()
    for g in (r1, r2, h):
        g.start()
    for g in (r1, r2, h):
        g.follows()
    return r1, r2, h


def strangers(net, wire, r1, r2):
    """K-2.1.1: subnet to subnet."""
    tap.does("s reaches d behind gateways that have never met", until_ping, net, "s", S, d(10))
    tap.check("both ways are in the tunnel: ten of ten pings", ping(net, "s", S, d(10), 10) == 10)
    tap.check("and d reaches s by the same SAs", ping(net, "d", d(10), S) == 1, r2.log()[-1500:])
    esp = {(p.src, p.dst) for p in wire.read() if p.proto == ESP}
    tap.check("ESP between the gateways, both ways", esp == {(R1, R2), (R2, R1)}, esp)
    tap.check("no packet of s or d in clear between them", not plain(wire, S, d(10)),
        plain(wire, S, d(10))[:5])
    tap.check("r2 found out by itself who may speak for s",
        "peer authorised peer=r1.s-net.test. source=198.51.100.10" in r2.log(), r2.log()[-1500:])


def refused(net, wire, r1, r2):
    """s4 has delegated to somebody else than r1."""
    got = ping(net, "s", S4, d(10), 3)
    wait_for(lambda: "peer refused peer=r1.s-net.test. source=198.51.100.13" in r2.log(),
        "r2's refusal", 15)
    tap.check("r1 gets no SA on behalf of s4, whose KX names another", got == 0, got)
    tap.check("no policy of charon for s4 at either end",
        "198.51.100.13/32 dst 203.0.113.10/32 \n\tdir out priority 3" not in r1.policies() and
        "198.51.100.13" not in r2.policies(), r2.policies())
    tap.check("no packet of s4 in clear either", not plain(wire, S4), plain(wire, S4)[:5])


def failover(net, wire, r1):
    took = [0.0]
    tap.does("the first exchanger is dead: the next one is taken", lambda: took.__setitem__(0,
        seconds(lambda: until_ping(net, "s", S, d(20)))) or True)
    tap.check(f"after one exchanger's time ({took[0]:.1f} s)", 2 < took[0] < 12, took)
    tap.check("nothing of it in clear", not plain(wire, d(20)), plain(wire, d(20))[:5])


def host_ends(net, wire, r1, h):
    """K-2.1.2 and 2.1.3: one end is the host itself."""
    tap.does("subnet to host: s reaches h, which is its own exchanger", until_ping, net, "s", S, H)
    tap.check("r1 is known to h as an exchanger of s",
        "peer authorised peer=r1.s-net.test. source=198.51.100.10" in h.log(), h.log()[-1500:])
    r1.swanctl("--terminate", "--ike", "kx-h.wan.test", "--force")
    wait_for(lambda: (H, R1) not in r1.sas() and (R1, H) not in h.sas(), "the end of the SAs")
    net.batch("s", "route add unreachable 192.0.2.3/32")  # h speaks first
    with contextlib.suppress(Failed):
        ping(net, "h", H, S)
    tap.does("host to subnet: h brings its own tunnel up", wait_for,
        lambda: ping(net, "h", H, S) or (R1, H) in h.sas(), "an SA of h", 20)
    net.batch("s", "route del unreachable 192.0.2.3/32")
    tap.check("h reaches s", ping(net, "h", H, S, 3) >= 2, h.log()[-2000:])
    tap.check("nothing between s and h in clear", not [p for p in plain(wire, S)],
        plain(wire, S)[:5])


def peer_down(net, wire, r1, r2):
    """r2's charon is gone."""
    r2.charon.kill()
    r2.charon.wait()
    tap.check("private: dropped, when the peer does not answer", ping(net, "s", S, d(11), 3) == 0)
    tap.check("and nothing in clear", not plain(wire, d(11)), plain(wire, d(11))[:5])
    tap.does("private-or-clear: in clear once IKE has failed", until_ping, net, "s", S, d(31), 30)
    shunt = [l for l in r1.policies().split("src ") if d(31) in l and "priority 1000000" in l]
    tap.check("as a shunt that the kernel ends", shunt, r1.policies())


def killed(net, wire, r1):
    r1.end(signal.SIGKILL)
    tap.check("rsip-kxd is killed: what is new is dropped", ping(net, "s", S, d(12), 3) == 0)
    tap.check("and nothing of it in clear", not plain(wire, d(12)), plain(wire, d(12))[:5])


def main(folder):
    with Net(OUT / "net") as net:
        net.dir.mkdir(exist_ok=True)
        kxnet.topology(net)
        tap.check("without rsip-kxd the road is open", ping(net, "s", S, d(10)) == 1)
        wire = Wire(net, "w", "to-r1")
        r1, r2, h = gateways(net, Paths(f"{folder}/tree"))
        wire.read()
        wire.packets.clear()
        for part in (lambda: strangers(net, wire, r1, r2), lambda: refused(net, wire, r1, r2),
                lambda: failover(net, wire, r1), lambda: host_ends(net, wire, r1, h),
                lambda: peer_down(net, wire, r1, r2), lambda: killed(net, wire, r1)):
            try:
                part()
            except Failed as fault:
                tap.check(str(fault).splitlines()[0], False, fault)
        for f in net.dir.glob("*.log"):
            (OUT / f.name).write_bytes(f.read_bytes())
        wire.save(OUT / "wan.pcap")
        (OUT / "r1-policies").write_text(r1.policies())
    return tap.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
