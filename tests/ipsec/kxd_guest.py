#!/usr/bin/python3
"""Inside the guest: gateways that have never met bring tunnels up from nothing but DNS.

    kxd_guest.py FOLDER

Real IKE by unmodified strongSwan, real ESP; every packet between the gateways is captured.
FOLDER/tree has the signed zones that kxnet.tree() made and FOLDER/ca the certificates.  r2
asks a name server that has FOLDER/live, short-lived records, and later FOLDER/withdrawn.
"""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "netns"))
import kxnet
from kxnet import D_NET, H, R1, R2, S_NET, X, X_PORT, Gateway, group, ping
from tap import Tap
from topo import Failed, Net, Wire, wait_for

OUT = pathlib.Path(os.environ["OUT"])
ESP, UDP, ICMP = 50, 17, 1
S, S4, LATE = f"{S_NET}.10", f"{S_NET}.13", f"{S_NET}.40"
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


def x509(folder, name):
    return f'certificate = "{folder}/ca/{name}.crt"\n    ca = "{folder}/ca/ca.crt"'


def gateways(net, folder):
    tree = Paths(f"{folder}/tree")
    private = group("private", f"{D_NET}.0/24", f"{H}/32", failure_ttl=2, names='{ "x.wan.test" }') + \
        group("private-or-clear", f"{D_NET}.30/32", f"{D_NET}.31/32", failure_ttl=2)
    back = group("private", f"{S_NET}.0/24")
    live = net.dir / "nsd"
    live.mkdir()
    shutil.copytree(f"{folder}/live/signed", live / "signed")
    # libunbound answers for test. itself, unless told otherwise.
    (live / "site.conf").write_text('server:\n  local-zone: "test." nodefault\n')
    server = kxnet.nsd(net, "r2", live, live / "signed")
    r1 = Gateway(net, "r1", tree, OUT, R1, [f"{S_NET}.0/24"], private, ike=x509(folder, "r1"))
    r2 = Gateway(net, "r2", tree, OUT, R2, [f"{D_NET}.0/24"], group("private-or-clear", f"{S_NET}.0/24"),
        dns=f'forward = "127.0.0.1@5300"\n    config = "{live}/site.conf"')
    h = Gateway(net, "h", tree, OUT, H, [f"{H}/32"], back, own=True, ike=x509(folder, "h"))
    x = Gateway(net, "x", tree, OUT, X, [f"{X}/32"], back, own=True)
    for g in (r1, r2, h, x):
        g.start_charon(natt=X_PORT if g is x else 4500)
    for g in (r1, r2, h, x):
        g.start()
    for g in (r1, r2, h, x):
        g.follows()
    return r1, r2, h, x, server, live


def strangers(net, wire, r1, r2):
    """K-2.1.1: subnet to subnet."""
    tap.does("s reaches d behind gateways that have never met", until_ping, net, "s", S, d(10))
    tap.check("both ways are in the tunnel: ten of ten pings", ping(net, "s", S, d(10), 10) == 10)
    tap.check("and d reaches s by the same SAs", ping(net, "d", d(10), S) == 1, r2.log()[-1500:])
    esp = {(p.src, p.dst) for p in wire.read() if p.proto == ESP}
    tap.check("ESP between the gateways, both ways", esp == {(R1, R2), (R2, R1)}, esp)
    tap.check("no packet of s or d in clear between them", not plain(wire, S, d(10)),
        plain(wire, S, d(10))[:5])
    sa = " ".join(r2.swanctl("--list-sas").split())
    tap.check("identities are the exchangers' names, selectors s and d alone",
        f"local 'r2.d-net.test' @ {R2}" in sa and f"remote 'r1.s-net.test' @ {R1}" in sa and
        f"local {d(10)}/32 remote {S}/32" in sa, sa)
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


def leased_port(net, wire, r1, x):
    """A host without a reverse name and with IKE on a port of its own, by policy of its name."""
    tap.check("a rule by name traps the address of x", f"dst {X}/32" in r1.policies(), r1.policies())
    tap.does("s reaches x, whose IKE is on port 5400", until_ping, net, "s", S, X)
    ports = {p.ports[1] for p in wire.read() if p.proto == UDP and p.dst == X}
    tap.check("IKE and ESP go to that port alone", ports == {X_PORT}, ports)
    tap.check("no packet between s and x in clear", not [p for p in plain(wire, S)], plain(wire, S)[:5])


def withdrawn(net, wire, r1, r2, server, live, folder):
    """The owner of `late` takes the authority back while the tunnel is up."""
    tap.does("late reaches d", until_ping, net, "s", LATE, d(10))
    for path in pathlib.Path(f"{folder}/withdrawn/signed").glob("*.zone"):
        shutil.copy(path, live / "signed" / path.name)
    server.terminate()
    server.wait()
    kxnet.nsd(net, "r2", live, live / "signed")
    tap.does("r2 ends the SA within the record's time", wait_for,
        lambda: "authority ended peer=r1.s-net.test. source=198.51.100.40" in r2.log(), "the end", 20)
    tap.check("and late does not get another", ping(net, "s", LATE, d(10), 3) == 0)
    tap.check("while s goes on", ping(net, "s", S, d(10)) == 1)
    tap.check("nothing of late in clear", not plain(wire, LATE), plain(wire, LATE)[:5])


def connect_ms(net, address, port=7000):
    """Milliseconds of a TCP connection from s, and how many SYNs that took."""
    with net.inside("d"):
        server = socket.create_server((address, port))
    wire = Wire(net, "s", "e0")
    with net.inside("s"):
        client = socket.socket()
    client.bind((S, 0))
    client.settimeout(20)
    took = 1000 * seconds(lambda: client.connect((address, port)))
    syns = [p for p in wire.read() if p.proto == 6 and p.dst == address and p.payload[13] & 0x12 == 2]
    wire.close(), client.close(), server.close()
    return took, len(syns)


def first_packet(net, wire, r1):
    """The first packet of a connection, held until its tunnel is up."""
    tools = net.dir / "tools"
    tools.mkdir()
    for name in ("iptables", "iptables-restore"):  # no nftables in this kernel
        (tools / name).symlink_to(f"/usr/sbin/{name.replace('iptables', 'iptables-legacy')}")
    until_ping(net, "s", S, d(10))  # the gateways have met, in both cases
    without, tries = connect_ms(net, d(12))
    tap.check(f"without hold a connection takes {without:.0f} ms, {tries} SYNs", tries > 1)
    r1.end()
    r1.conf.write_text(r1.conf.read_text().replace("protect-own", "hold = true\n    protect-own", 1))
    r1.start({"PATH": f"{tools}:{os.environ['PATH']}"}).follows()
    held, tries = connect_ms(net, d(11))
    tap.check(f"with hold {held:.0f} ms, one SYN", tries == 1, tries)
    tap.check("nothing of either in clear", not plain(wire, d(11), d(12)), plain(wire, d(11), d(12))[:5])


def peer_down(net, wire, r1, r2):
    """r2's charon is gone."""
    r2.charon.kill()
    r2.charon.wait()
    tap.check("private: dropped, when the peer does not answer", ping(net, "s", LATE, d(11), 3) == 0)
    tap.check("and nothing in clear", not plain(wire, LATE), plain(wire, LATE)[:5])
    tap.does("private-or-clear: in clear once IKE has failed", until_ping, net, "s", S, d(31), 30)
    shunt = [l for l in r1.policies().split("src ") if d(31) in l and "priority 1000000" in l]
    tap.check("as a shunt that the kernel ends", shunt, r1.policies())


def killed(net, wire, r1):
    r1.end(signal.SIGKILL)
    tap.check("rsip-kxd is killed: what is new is dropped", ping(net, "s", LATE, d(20), 3) == 0)
    tap.check("and nothing of it in clear", not plain(wire, LATE), plain(wire, LATE)[:5])


def main(folder, parts=()):
    with Net(OUT / "net") as net:
        net.dir.mkdir(exist_ok=True)
        kxnet.topology(net)
        tap.check("without rsip-kxd the road is open", ping(net, "s", S, d(10)) == 1)
        wire = Wire(net, "w", "to-r1")
        r1, r2, h, x, server, live = gateways(net, folder)
        wire.read()
        wire.packets.clear()
        every = {
            "strangers": lambda: strangers(net, wire, r1, r2),
            "refused": lambda: refused(net, wire, r1, r2),
            "failover": lambda: failover(net, wire, r1),
            "hosts": lambda: host_ends(net, wire, r1, h),
            "port": lambda: leased_port(net, wire, r1, x),
            "withdrawn": lambda: withdrawn(net, wire, r1, r2, server, live, folder),
            "hold": lambda: first_packet(net, wire, r1),
            "down": lambda: peer_down(net, wire, r1, r2),
            "killed": lambda: killed(net, wire, r1),
        }
        for name in parts or every:
            try:
                every[name]()
            except (Failed, OSError) as fault:
                tap.check(f"{name}: {str(fault).splitlines()[0]}", False, fault)
        for f in net.dir.glob("*.log"):
            (OUT / f.name).write_bytes(f.read_bytes())
        wire.save(OUT / "wan.pcap")
        (OUT / "r1-policies").write_text(r1.policies())
    return tap.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
