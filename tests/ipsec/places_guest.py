#!/usr/bin/python3
"""Inside the guest: where peers are, and who begins: RFC 3104 appendices D, F and G.

    places_guest.py [PART ...]      parts: addresses incoming policy soho road-warrior

The gateway, outside, has two shared addresses and a whole one.
"""
import contextlib
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "netns"))
import ike_guest
import road_guest
import swan
import talk
import variants
from ike_guest import SAME_COOKIE, SHARED, drops, fails, grows
from road_guest import ask_host, tap
from topo import HOSTS, NA, NB, Y, Y2, Failed, Lease, Net

NB2, WHOLE = "203.0.113.3", "203.0.113.4"
LAPTOP, LAPTOP_ROUTER = "192.0.2.77", "192.0.2.1"


class There(variants.Variant):
    """A variant with a name of its own, at another address of the peer."""

    def __init__(self, number, name, ike="IKEv2", protocol="ESP", mode="tunnel", peer=Y):
        super().__init__(number, ike, protocol, mode)
        self.name, self.peer = name, peer


class Begun(There):
    """One that the peer begins, towards an address and port of the host's."""

    def __init__(self, number, name, host, ike="IKEv2", port=500, own=None):
        super().__init__(number, name, ike)
        self.to, self.to_port, self.hosts = host, port, own or HOSTS[host]

    def at_peer(self, lease):
        ts = {"local_ts": self.inner, "remote_ts": self.hosts}
        return variants.CONNECTION.format(name=self.name, encap="no", local=self.peer,
            remote=f"remote_addrs = {lease.address}\n        remote_port = {self.to_port}",
            mode=self.mode, local_id=f"y.{self.name}.test",
            remote_id=f"{self.to}.{self.name}.test", **ts, **self.proposals())


class Places(ike_guest.Ways):
    def __init__(self, net):
        super().__init__(net)
        self.all, self.clash = [], variants.Clash(99)

    def peer_has(self, *new):
        """y has these variants, its services for them, and its daemon."""
        self.all = list(new)
        self.net.batch("y", *[f"addr add {v.inner}/32 dev lo" for v in new])
        self.services += [talk.Service(self.net, "y", port, address)
            for address, port in {v.service() for v in new}]
        if "y" not in self.charons:
            self.charons["y"] = swan.Charon(self.net, "y", road_guest.OUT).start()

    def lease_up(self, name, *options):
        self.road.leases[name] = tap.does(" ".join((f"{name}: rsip up", *map(str, options))),
            self.road.hosts[name].up, *options)
        if not self.road.leases[name]:
            raise Failed(f"{name} has no lease")

    def down(self, *names):
        for name in names:
            tap.does(f"{name}: rsip down", self.road.hosts[name].rsip, "down")

    def both_ways(self, names=tuple(HOSTS)):
        for v in self.all:
            for name in names:
                tap.does(f"{name} ({self.lease(name).address}) and {v.peer}: {v.words}",
                    self.try_one, name, v)
        self.still("all at once", names)


def addresses(p):
    """Two hosts on one address and on two, to one peer and to two; cookies are per address."""
    p.peer_has(There(41, "esp-y"), There(42, "ah-y", protocol="AH", mode="transport"),
        There(43, "esp-y2", peer=Y2), There(44, "ah-y2", protocol="AH", peer=Y2))
    p.charons["y"].load("".join(v.at_peer() for v in p.all))
    for first, second in ((NB, NB2), (NB, NB)):
        p.lease_up("x1", "--address", first)
        p.lease_up("x2", "--address", second)
        tap.check(f"x1 has {first}, x2 has {second}",
            (p.lease("x1").address, p.lease("x2").address) == (first, second))
        if first != second:
            p.hosts_start(**SAME_COOKIE)
            for name in HOSTS:
                tap.does(f"{name}: the cookie of the other one, on an address of its own",
                    p.try_one, name, p.all[0])
            p.hosts_stop()
        p.hosts_start()
        p.both_ways()
        p.hosts_stop()
        p.down(*HOSTS)


def begun(p, v, why):
    """The peer begins; the host's SPIs are leased, and both talk."""
    tap.does(f"y begins with {v.to}: {why}", p.charons["y"].up, v.name)
    own = p.charons[v.to].spis(v.name)
    tap.check(f"{v.to}: its inbound SPI is leased", own and all(map(p.lease(v.to).has_spi, own)),
        own)
    tap.does(f"{v.to} and y talk", p.talk, v.to, v)


def unheard(p, name, why):
    """The peer begins and nobody answers; it does not go on trying."""
    fails(why, p.charons["y"].swanctl, "--initiate", "--child", name, "--timeout", 1)
    with contextlib.suppress(Failed):  # it may have ended by itself
        p.charons["y"].swanctl("--terminate", "--ike", name, "--force", "--timeout", 2)


def refused(name, host, *words):
    """An rsip command that must fail, with what the gateway says in its words."""
    fails(f"{name}: rsip {' '.join(words)} is refused", host.rsip, *words)


def incoming(p):
    """RFC 3104 appendix G."""
    hosts = p.road.hosts
    p.lease_up("x1", "--address", NB)
    p.lease_up("x2", "--address", NB)
    port = {name: p.lease(name).ports[0][0] for name in HOSTS}
    by_port = [Begun(51, "port-1", "x1", port=port["x1"]),
        Begun(52, "port-2", "x2", "IKEv1 main", port=port["x2"])]
    excl = Begun(53, "excl", "x1")
    ids = [Begun(54, "id-1", "x1", "IKEv1 aggressive"), Begun(55, "id-2", "x2", "IKEv1 aggressive"),
        Begun(56, "any", "x1", "IKEv1 main")]
    p.peer_has(*by_port, excl, *ids)
    p.charons["y"].load("".join(v.at_peer(p.lease(v.to)) for v in p.all))

    p.hosts_start()
    for v in by_port:
        begun(p, v, f"{v.ike} to leased port {v.to_port}")
    p.hosts_stop()

    p.hosts_start(**SHARED)
    before = drops("no_cookie")
    unheard(p, "excl", "y begins towards port 500: nobody's")
    tap.does("and it is counted as no_cookie", grows, "no_cookie", before)
    own = tap.does("x1: rsip listen --port 500", hosts["x1"].rsip, "listen", "--port", 500,
        "--address", p.lease("x1").address, "--json")
    refused("x2", hosts["x2"], "listen", "--port", "500", "--address", p.lease("x1").address)
    begun(p, excl, "IKEv2 to port 500, which x1 has for itself")
    if own:
        hosts["x1"].rsip("free", json.loads(own)["bind_id"])

    for v in ids[:2]:
        tap.does(f"{v.to}: rsip listen --ike-id y.{v.name}.test", hosts[v.to].rsip, "listen",
            "--ike-id", f"Y.{v.name}.test", "--address", p.lease(v.to).address)
    refused("x2", hosts["x2"], "listen", "--ike-id", "y.id-1.test", "--address",
        p.lease("x1").address)
    for v in ids[:2]:
        begun(p, v, f"aggressive mode as y.{v.name}.test, for which {v.to} listens")
    unheard(p, "any", "y begins in main mode: its identity is not to be seen")
    tap.does("x1: rsip listen --ike-id any", hosts["x1"].rsip, "listen", "--ike-id", "any", "--address",
        p.lease("x1").address)
    begun(p, ids[2], "main mode, to x1, which listens for any peer")
    p.still("all that was begun with it", ["x1"], lambda v: v in (excl, ids[0], ids[2]))
    p.hosts_stop()
    p.down(*HOSTS)

    p.lease_up("x2", "--method", "rsa-ip")
    whole = Begun(57, "whole", "x2")
    p.peer_has(whole)
    p.charons["y"].load(whole.at_peer(p.lease("x2")))
    tap.check(f"x2 has {WHOLE} for itself", p.lease("x2").address == WHOLE)
    (road_guest.OUT / "rsip-none.conf").write_text("")
    p.charons["x2"] = swan.Charon(p.net, "x2", road_guest.OUT).start()
    p.charons["x2"].load(whole.host("x2", HOSTS["x2"], p.lease("x2")))
    tap.does("y begins with x2: IKEv2 to port 500 of its own address", p.charons["y"].up, "whole")
    tap.does("x2 and y talk", p.talk, "x2", whole)
    p.hosts_stop(["x2"])
    p.down("x2")


KEY = {"esp": "aead 'rfc4106(gcm(aes))' 0x" + "5a" * 20 + " 128",
    "ah": "auth-trunc 'hmac(sha256)' 0x" + "a5" * 32 + " 128 flag align4"}


class Manual:
    """SAs by hand between x1 and the peer: transport mode, SPIs of the lease."""

    def __init__(self, p, lease):
        self.p, self.lease, self.spi = p, lease, lease.spis[0][0]

    def add(self, proto, peer, port):
        spi, self.spi = self.spi, self.spi + 1
        own = self.lease.address
        lines = []
        for src, dst, number in ((own, peer, 0x1000 + spi % 256), (peer, own, spi)):
            lines.append(f"xfrm state add src {src} dst {dst} proto {proto} spi {number} "
                f"reqid {number} mode transport {KEY[proto]}")
        for name, to_peer in (("x1", "out"), ("y", "in")):
            ways = ((own, peer, 0x1000 + spi % 256, to_peer),
                (peer, own, spi, "in" if to_peer == "out" else "out"))
            for src, dst, number, way in ways:
                ports = f"dport {port}" if dst == peer else f"sport {port}"
                lines_here = f"xfrm policy add src {src} dst {dst} proto udp {ports} dir {way} " \
                    f"tmpl src {src} dst {dst} proto {proto} reqid {number} mode transport"
                self.p.net.run(name, "sh", "-c", "ip " + lines_here)
            for line in lines:
                self.p.net.run(name, "sh", "-c", "ip " + line)

    def ask(self, peer, port):
        low = self.lease.ports[0][0]
        self.p.expect("x1", peer, port, "y", (self.lease.address, low))


def policy(p):
    """RFC 3104 appendix D, with keys by hand: what the gateway can hold hosts to (S-D-03)."""
    host = p.road.hosts["x1"]
    p.services += [talk.Service(p.net, "y", port, address) for address in (Y, Y2)
        for port in (7301, 7302)]
    for flow in ("macro", "micro"):
        tap.check(f"the gateway takes remote-flow = {flow}", ask_host(f"conf-{flow}"))
        text = tap.does(f"x1: rsip lease for {Y}, port 7301, alone", host.rsip, "lease", "-g", NA,
            "--method", "rsipsec", "--ports", 4, "--spis", 16, "--remote", f"{Y}:7301", "--json")
        if not text:
            continue
        lease = Lease([json.loads(text)])
        p.net.batch("x1", "link add pol0 type ipip local 10.0.0.11 remote 10.0.0.1 ttl 64",
            f"addr add {lease.address}/32 dev pol0", "link set pol0 up",
            f"route add {Y}/32 dev pol0 src {lease.address}",
            f"route add {Y2}/32 dev pol0 src {lease.address}")
        sas = Manual(p, lease)
        for proto in ("esp", "ah"):
            sas.add(proto, Y, 7301)
            tap.does(f"{flow}, {proto}: the remote of the lease", sas.ask, Y, 7301)
            p.net.run("x1", "ip", "xfrm", "policy", "flush")
            p.net.run("y", "ip", "xfrm", "policy", "flush")
            sas.add(proto, Y, 7302)
            if (flow, proto) == ("micro", "ah"):
                before = drops("remoteport_unallowed")
                fails(f"{flow}, {proto}: another port of the remote is refused", sas.ask, Y, 7302)
                tap.does("and counted as remoteport_unallowed", grows, "remoteport_unallowed",
                    before)
            else:
                tap.does(f"{flow}, {proto}: another port of the remote", sas.ask, Y, 7302)
            sas.add(proto, Y2, 7301)
            before = drops("remote_unallowed")
            fails(f"{flow}, {proto}: another remote is refused", sas.ask, Y2, 7301)
            tap.does("and counted as remote_unallowed", grows, "remote_unallowed", before)
            before = drops("ingress_policy")
            p.net.run("y", "ping", "-c", 1, "-W", 1, "-I", Y2, lease.address, check=False)
            for name in ("x1", "y"):
                p.net.run(name, "ip", "xfrm", "policy", "flush")
                p.net.run(name, "ip", "xfrm", "state", "flush")
        p.net.batch("x1", "link del pol0")
        host.rsip("down")


def soho(p):
    """RFC 3104 appendix F: one public address for NAPT and for two hosts with IPsec (S-F-01)."""
    tap.check("the gateway takes one address for NAPT and leases", ask_host("conf-soho"))
    p.services.append(talk.Service(p.net, "y", swan.SERVICE, Y))
    p.peer_has(There(61, "soho-esp"), There(62, "soho-ah", protocol="AH", mode="transport"))
    p.charons["y"].load("".join(v.at_peer() for v in p.all))
    for name in HOSTS:
        p.lease_up(name)
    p.hosts_start()
    p.both_ways()
    for kind, (address, port) in ask_host("napt-host").items():
        tap.check(f"a host without RSIP: {kind} leaves as {address}:{port}, no leased port",
            address == NB and not any(a <= port <= b
                for l in p.road.leases.values() for a, b in l.ports))
    p.still("beside NAPT")
    p.hosts_stop()
    p.down(*HOSTS)


def road_warrior(p):
    """Appendix F: a laptop in the Internet, an address of the company, a desktop inside
    (S-F-02); and the desktop begins (S-F-03).  Who may, a key and an allow list say."""
    tap.check("the gateway serves the laptop alone", ask_host("conf-road-warrior"))
    p.net.batch("x1", f"addr del {HOSTS['x1']}/24 dev eth0", f"addr add {LAPTOP}/24 dev eth0",
        f"route add default via {LAPTOP_ROUTER}")
    p.own["x1"] = LAPTOP
    p.services.append(talk.Service(p.net, "x1", swan.SERVICE, LAPTOP))
    key = road_guest.OUT / "laptop.key"
    refused("x1 without its key", p.road.hosts["x1"], "up", "-g", NA)
    refused("x2, which nobody listed", p.road.hosts["x2"], "up", "-g", NA, "--key-file", str(key))
    p.lease_up("x1", "--key-file", key)
    out = There(63, "road-esp")
    out.hosts = LAPTOP
    back = Begun(64, "road-back", "x1", port=p.lease("x1").ports[0][0], own=LAPTOP)
    p.peer_has(out, back)
    p.charons["y"].load(out.at_peer() + back.at_peer(p.lease("x1")))
    p.hosts_start(["x1"])
    tap.does(f"the laptop, {LAPTOP}, as {p.lease('x1').address}, and the desktop: {out.words}",
        p.try_one, "x1", out)
    begun(p, back, f"the desktop to port {back.to_port} of {p.lease('x1').address}")
    p.still("both at once", ["x1"])
    p.hosts_stop(["x1"])
    p.down("x1")


def main():
    parts = {f.__name__.replace("_", "-"): f 
        for f in (addresses, incoming, policy, soho, road_warrior)}
    with Net("/run/road") as net:
        net.dir.mkdir(exist_ok=True)
        road_guest.links(net)
        p = Places(net)
        p.services += [talk.Service(net, name, swan.SERVICE, address)
            for name, address in HOSTS.items()]
        for name in sys.argv[1:] or parts:
            parts[name](p)
        for service in p.services:
            service.close()
    return tap.end()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as fault:
        tap.line(False, "the scenario runs to its end", fault)
        sys.exit(tap.end())
