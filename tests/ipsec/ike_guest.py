#!/usr/bin/python3
"""Inside the guest: every way that two strongSwans have, through the gateway outside.

    ike_guest.py [PART ...]      parts: leased shared same-cookie hasty peer-first

x1 has an IP-in-IP tunnel to the gateway, x2 a GRE one; both have SAs with y at once.
What came of each cell of the matrix goes to $OUT/cells.json.
"""
import itertools
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "netns"))
import cells
import road_guest
import swan
import talk
import variants
from road_guest import OUT, ask_host, tap
from topo import HOSTS, Failed, Net, wait_for

TUNNEL = {"x1": "ipip", "x2": "gre"}
SHARED = {"port": "500", "port_nat_t": "4500"}
# A cookie for all IKE_SAs of a daemon, and the same one for two daemons.
SAME_COOKIE = dict(SHARED, spi_label="0x1234567890abcdef", spi_mask="0xffffffffffffffff")


class Ways:
    """The two hosts, their peer, and what both tried."""

    def __init__(self, net):
        self.net, self.road = net, road_guest.Road(net)
        self.results, self.all = cells.Results(), variants.every()
        self.clash = variants.Clash(len(self.all) + 1)
        self.charons, self.services = {}, []
        self.own = dict(HOSTS)  # where hosts are on their side of the gateway

    def up(self):
        for name, host in self.road.hosts.items():
            self.road.leases[name] = tap.does(f"{name}: rsip up --tunnel {TUNNEL[name]}", host.up,
                "--tunnel", TUNNEL[name])
            if not self.road.leases[name]:
                raise Failed(f"{name} has no lease")
        (OUT / "leases").write_text(road_guest.json.dumps({n: l.bindings
            for n, l in self.road.leases.items()}))

    def peer(self):
        """y: its networks, its services and its daemon, which stay."""
        self.net.batch("y", *[f"addr add {v.inner}/32 dev lo" for v in self.all])
        places = {v.service() for v in (*self.all, self.clash)}
        self.services += [talk.Service(self.net, "y", port, address) for address, port in places]
        self.services += [talk.Service(self.net, name, swan.SERVICE, address)
            for name, address in HOSTS.items()]
        self.charons["y"] = swan.Charon(self.net, "y", OUT).start()
        self.peer_load()

    def peer_load(self, *more):
        """The peer's connections, all of them: it forgets what is not among them."""
        self.charons["y"].load("".join(v.at_peer() for v in (*self.all, self.clash, *more)))

    def lease(self, name):
        return self.road.leases[name]

    def hosts_start(self, names=tuple(HOSTS), **settings):
        """The hosts' daemons, with the drop-in of `rsip ike strongswan` or parts of it changed."""
        for name in names:
            path = self.road.drop_in(name)
            text = path.read_text()
            for key, value in settings.items():
                text = re.sub(rf"^(\s*{key} = ).*$", rf"\g<1>{value}", text, flags=re.M)
            path.write_text(text)
            self.charons[name] = swan.Charon(self.net, name, OUT, path).start()
        for name in names:
            self.charons[name].load("".join(v.host(name, self.own[name], self.lease(name))
                for v in (*self.all, self.clash)))

    def hosts_stop(self, names=tuple(HOSTS)):
        for name in names:
            self.charons[name].stop()

    # --- one variant ---

    def talk(self, name, v):
        """Through its SAs: the peer answers whom it should, and in tunnel mode asks, too."""
        lease, own = self.lease(name), self.own[name]
        source = (own, 0) if v.mode == "tunnel" else (lease.address, v.local_port(lease))
        self.expect(name, *v.service(), "y", source)
        if v.mode == "tunnel":
            self.expect("y", own, swan.SERVICE, name, (v.inner, 0))

    def expect(self, name, address, port, who, source):
        """As UDP does: again after a second, for an IKEv1 responder may have its SA later."""
        text = f"from {name}"
        for last in (False, False, True):
            try:
                _, answer = talk.ask(self.net, name, "udp", address, port, text, source=source,
                    seconds=1)
                break
            except TimeoutError:
                if last:
                    raise
        if not answer.startswith(f"{who} saw {source[0]} ") or not answer.endswith(text):
            raise Failed(f"got {answer!r}")

    def try_one(self, name, v):
        self.charons[name].up(v.name)
        own = self.charons[name].spis(v.name)
        if not v.natt and not (own and all(map(self.lease(name).has_spi, own))):
            raise Failed(f"inbound SPIs {own} are not leased")
        self.talk(name, v)
        return True

    def try_all(self, demux, demux_natt):
        for v in self.all:
            for name in HOSTS:
                where = demux_natt if v.natt else demux
                good = tap.does(f"{name}: {where}, {TUNNEL[name]}: {v.words}", self.try_one, name,
                    v)
                self.results.note(v.cell(where, TUNNEL[name]), good)

    def still(self, when, names=tuple(HOSTS), only=lambda v: True):
        """All of them at once, again."""
        for name in names:
            for v in filter(only, self.all):
                tap.does(f"{name}: {v.words}, {when}", self.talk, name, v)

    # --- rekeying ---

    def rekeyed(self, by, name, v, kind, seconds=10):
        """The newest SA of this host is keyed anew by it or by y; what the host has new."""
        own, what = self.charons[name], 0 if kind == "ike" else 1
        sas = lambda: (own.ike if kind == "ike" else own.spis)(v.name)
        other = f"y.{v.name}.test" if by == name else f"{name}.{v.name}.test"
        old, numbers = sas(), self.charons[by].numbers(other)[what]
        if not numbers:
            raise Failed(f"{by} has no SA with {other}")
        self.charons[by].swanctl("--rekey", f"--{kind}-id", max(numbers))
        return wait_for(lambda: sas() - old, f"{name} has nothing new", seconds)

    def rekey(self, v, by_peer=True):
        """Quick mode or CHILD_SA, then phase 1, from each side."""
        for name in HOSTS:
            for by in (name, "y"):
                new = tap.does(f"{name}: {v.words}, keys anew by {by}", self.rekeyed, by, name, v,
                    "child")
                tap.check(f"{name}: its new inbound SPI is leased",
                    new and all(map(self.lease(name).has_spi, new)), new)
                if by == name or by_peer:
                    tap.does(f"{name}: {v.words}, phase 1 anew by {by}", self.rekeyed, by, name, v,
                        "ike")
            tap.does(f"{name}: {v.words}, rekeyed", self.talk, name, v)


def fails(tap_line, action, *args):
    """It must not work; that it does not is the test."""
    try:
        action(*args)
    except (Failed, OSError):
        tap.check(tap_line, True)
    else:
        tap.check(tap_line, False, "it did")


def drops(reason):
    return ask_host("metrics").get(f'rsip_drops_total{{reason="{reason}"}}', 0)


def grows(reason, before):
    return wait_for(lambda: drops(reason) > before, f"no drop for {reason}")


def one_port(ways):
    """RFC 3104 appendix A: two hosts in transport mode with one selector, then with their own.

    The ports are in the dark for the gateway (S-A-03); leased ones are each one host's.
    """
    v = ways.clash
    tap.does("x1: transport mode from a port that is not leased", ways.try_one, "x1", v)
    tap.does("x2: transport mode from the same port", ways.try_one, "x2", v)
    fails("x1 is not answered any more: the peer has one selector for two hosts",
        ways.talk, "x1", v)
    ways.still("at the same time, by leased ports", only=lambda v: v.name == "v2-esp-transport")


def leased(ways):
    """IKE from leased ports; the peer may do phase 1 anew (S-E-02)."""
    ways.hosts_start()
    ways.try_all(cells.PORT, cells.PORT_NATT)
    ways.still("all at once")
    for v in ways.all:
        if v.ike != "IKEv2" and (v.protocol, v.mode, v.natt) == ("ESP", "tunnel", False):
            ways.rekey(v)
    one_port(ways)
    ways.hosts_stop()


def shared(ways):
    """IKE from port 500 and 4500, told apart by cookie."""
    ways.hosts_start(**SHARED)
    ways.try_all(cells.COOKIE, cells.COOKIE_NATT)
    ways.still("all at once")
    for v in ways.all:
        if (v.protocol, v.mode) == ("ESP", "tunnel"):
            ways.rekey(v, by_peer=v.ike == "IKEv2")
    ways.hosts_stop()


def same_cookie(ways):
    """Two hosts, one initiator cookie: the second one's packets go nowhere (S-6.1-05)."""
    v = ways.all[0]
    ways.hosts_start(**SAME_COOKIE)
    before = drops("cookie_inuse")
    tap.does(f"x1: {v.words}, with a cookie that x2 will take, too", ways.try_one, "x1", v)
    fails("x2: the same cookie gets no answer", ways.charons["x2"].swanctl, "--initiate",
        "--child", v.name, "--timeout", 2)
    tap.does("x2's packets are counted as cookie_inuse", grows, "cookie_inuse", before)
    tap.check("y never heard of x2",
        ways.charons["y"].numbers(f"x2.{v.name}.test") == (set(), set()))
    tap.does("x1: its SAs are as before", ways.talk, "x1", v)
    ways.hosts_stop()
    ways.hosts_start(["x2"], **SHARED)
    tap.does("x2: with a cookie of its own", ways.try_one, "x2", v)
    ways.hosts_stop(["x2"])


def hasty(ways, seconds=12):
    """Many lifetimes in a few seconds, a packet in fifteen lost each way, rsipd killed in between."""
    v = variants.Hasty(ways.clash.number + 1, "IKEv2", "ESP", "tunnel")
    v.name = "hasty"
    ways.net.batch("y", f"addr add {v.inner}/32 dev lo")
    ways.services.append(talk.Service(ways.net, "y", swan.SERVICE, v.inner))
    ways.peer_load(v)
    for name in HOSTS:
        path = ways.road.drop_in(name)
        ways.charons[name] = swan.Charon(ways.net, name, OUT, path).start()
        ways.charons[name].load(v.host(name, HOSTS[name], ways.lease(name)))
        tap.does(f"{name}: {v.words}, keys anew every few seconds from both ends", ways.try_one,
            name, v)
    for name in (*HOSTS, "y"):
        ways.net.run(name, "tc", "qdisc", "add", "dev", "eth0", "root", "netem", "loss", "6%")
    start, asked, answered, killed, never = time.monotonic(), 0, 0, 0, set()
    while time.monotonic() < start + seconds:
        for name in HOSTS:
            asked += 1
            try:
                ways.talk(name, v)
                answered += 1
            except (Failed, OSError):
                pass
            if not ways.net.run(name, "ip", "xfrm", "state", "list", "dst",
                    ways.lease(name).address):
                never.add(name)
        if killed < 2 and time.monotonic() > start + seconds * (killed + 1) / 3:
            for name in HOSTS:
                ways.charons[name].swanctl_async("--rekey", "--child", v.name)
            killed += ask_host("kill-gateway")
    for name in (*HOSTS, "y"):
        ways.net.run(name, "tc", "qdisc", "del", "dev", "eth0", "root")
    tap.check(f"{answered} of {asked} were answered", answered > asked * 0.6)
    tap.check("rsipd was killed and started again twice meanwhile", killed == 2)
    tap.check("at no time had a host no SA", not never, never)
    for name in HOSTS:
        text = ways.charons[name].log.read_text()
        text = text[text.rindex("loaded plugins"):]
        children = len(re.findall(r"CHILD_SA hasty\{\d+\} established", text))
        ikes = len(re.findall(r"IKE_SA hasty\[\d+\] rekeyed between", text))
        tap.check(f"{name}: {children} CHILD_SAs one after another, phase 1 {ikes} times anew",
            children >= 5 and ikes >= 2, text[-1500:])
        tap.check(f"{name}: no retransmission gave up", "giving up after" not in text)
        tap.does(f"{name}: talks on", ways.talk, name, v)
        tap.check(f"{name}: one IKE_SA is left of all",
            len(ways.charons[name].ike(v.name)) == 1, ways.charons[name].sas())
    ways.hosts_stop()


def peer_first(ways):
    """RFC 3104 appendix E: the peer does phase 1 anew, towards port 500 (S-E-01)."""
    v = next(v for v in ways.all if v.ike == "IKEv1 main")
    conf = "conf-only-host"
    for setting in ("drop", "only-host"):
        ways.hosts_start(**SHARED)
        for name in HOSTS:
            tap.does(f"{name}: {v.words}, ike-from-peer = {setting}", ways.try_one, name, v)
        before = drops("no_cookie")
        fails(f"y: phase 1 anew with x1 while x2 has IKE with y, {setting}: it is not told",
            ways.rekeyed, "y", "x1", v, "ike", 2)
        tap.check("y's packets are counted as no_cookie", drops("no_cookie") > before)
        if setting == "drop":
            ways.hosts_stop()
            tap.check("the gateway takes ike-from-peer = only-host", ask_host(conf))
    ways.hosts_stop(["x2"])
    old = ways.charons["x1"].ike(v.name)
    tap.does("x2: rsip down", ways.road.hosts["x2"].rsip, "down")
    tap.does("y: phase 1 anew with x1, which now is the only one", wait_for,
        lambda: ways.charons["x1"].ike(v.name) - old, "x1 has no new IKE_SA", 15)
    tap.does("x1: talks on", ways.talk, "x1", v)
    ways.hosts_stop(["x1"])


def main():
    parts = {f.__name__.replace("_", "-"): f
        for f in (leased, shared, same_cookie, hasty, peer_first)}
    with Net("/run/road") as net:
        net.dir.mkdir(exist_ok=True)
        road_guest.links(net)
        ways = Ways(net)
        ways.peer()
        ways.up()
        for name in sys.argv[1:] or parts:
            parts[name](ways)
        for ike, mode, demux, tunnel in itertools.product(cells.IKES, cells.MODES,
                (cells.PORT_NATT, cells.COOKIE_NATT), cells.TUNNELS):
            ways.results.skip(cells.Cell(cells.STRONGSWAN, cells.STRONGSWAN, ike, "AH", mode, demux,
                tunnel), "AH has no UDP encapsulation (RFC 3948)")
        ways.results.save(OUT / "cells.json")
        for service in ways.services:
            service.close()
    return tap.end()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as fault:
        tap.line(False, "the scenario runs to its end", fault)
        sys.exit(tap.end())
