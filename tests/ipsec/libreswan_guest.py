#!/usr/bin/python3
"""Inside the guest: libreswan as the hosts, whose SPIs rsip-hostd follows, then as the peer.

    libreswan_guest.py [long] [PART ...]      parts: manual hosts charon peer

The other side is strongSwan each time.  x1 has an IP-in-IP tunnel to the gateway and its IKE
comes from a leased port, x2 has a GRE one and is told apart by cookie; `long` does that once
more the other way round.  What came of each cell of the matrix goes to $OUT/cells.json.
"""
import itertools
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "netns"))
import cells
import ike_guest
import pluto
import road_guest
import swan
import variants
from ike_guest import TUNNEL, Ways
from road_guest import OUT, ask_host, tap
from topo import HOSTS, NB, Y, Failed, Net, ranges, wait_for

LIBRESWAN = "libreswan"
DEMUX = {"x1": cells.PORT, "x2": cells.COOKIE}
SWAPPED = {"x1": cells.COOKIE, "x2": cells.PORT}
NO_UDP = "not tried with libreswan: neither end asks for UDP encapsulation where there is no NAT"
NO_UDP_AH = "AH has no UDP encapsulation (RFC 3948)"


class Variant(variants.Variant):
    """One way between libreswan and strongSwan."""

    x, y = LIBRESWAN, cells.STRONGSWAN

    def cell(self, demux, tunnel):
        return cells.Cell(self.x, self.y, self.ike, self.protocol, self.mode, demux, tunnel)

    def settings(self):
        two = self.ike == "IKEv2"
        own = {"ikev2": "insist" if two else "never",
            "ike": "aes128-sha2_256;dh31" if two else "aes128-sha2_256;dh19",
            "aggressive": "yes" if "aggr" in self.ike else "no", "pfs": "no",
            "type": self.mode, "encapsulation": "no"}
        if self.protocol == "AH":
            return dict(own, phase2="ah", phase2alg="sha2_256")
        return dict(own, phase2="esp", phase2alg="aes_gcm128")

    def at_pluto(self, name, lease, ikeport=None):
        """A section for the host; ikeport: a leased one instead of 500."""
        own = self.settings()
        own.update(left=NB, leftid=f"@{name}.{self.name}.test", right=Y,
            rightid=f"@y.{self.name}.test")
        if ikeport:
            # On any port but 500 libreswan expects the non-ESP marker.
            own.update(leftikeport=ikeport, rightikeport=4500)
        if self.mode == "tunnel":
            own.update(leftsubnet=f"{HOSTS[name]}/32", rightsubnet=f"{self.inner}/32")
        else:
            own.update(leftprotoport=f"udp/{self.local_port(lease)}",
                rightprotoport=f"udp/{self.port}")
        return pluto.conn(self.name, **own)


class PeerVariant(Variant):
    x, y = cells.STRONGSWAN, LIBRESWAN

    def at_pluto_peer(self, name, lease):
        own = self.settings()
        own.update(left=Y, leftid=f"@y.{self.name}.test", right=NB,
            rightid=f"@{name}.{self.name}.test")
        if self.mode == "tunnel":
            own.update(leftsubnet=f"{self.inner}/32", rightsubnet=f"{HOSTS[name]}/32")
        else:
            own.update(leftprotoport=f"udp/{self.port}",
                rightprotoport=f"udp/{self.local_port(lease)}")
        return pluto.conn(f"{name}-{self.name}", **own)


def every(kind):
    return [kind(v.number, v.ike, v.protocol, v.mode) for v in variants.every() if not v.natt]


class Hosts(Ways):
    """What can be seen of the hosts."""

    def lease(self, name):
        return self.road.hosts[name].lease()

    def xfrm(self, name):
        return self.net.run(name, "ip", "xfrm", "state")

    def try_every(self, demux):
        for v in self.all:
            for name in HOSTS:
                good = tap.does(f"{name}: {demux[name]}, {TUNNEL[name]}: {v.words}", self.try_one,
                    name, v)
                self.results.note(v.cell(demux[name], TUNNEL[name]), good)
        self.still("all at once")


class Follow(Hosts):
    """libreswan on the hosts."""

    def __init__(self, net):
        super().__init__(net)
        self.all = every(Variant)

    def up(self):
        for name, host in self.road.hosts.items():
            self.road.leases[name] = tap.does(f"{name}: rsip up --spi-mode follow", host.up,
                "--spi-mode", "follow", "--tunnel", TUNNEL[name])
            if not self.road.leases[name]:
                raise Failed(f"{name} has no lease")

    def pings(self, name, v):
        return self.net.run(name, "ping", "-n", "-c", 1, "-W", 1, "-I", HOSTS[name], v.inner,
            check=False).returncode == 0

    def follow(self, name):
        return self.road.hosts[name].status()["follow"]

    def hosts_start(self, demux):
        for name in HOSTS:
            lease = self.lease(name)
            port = lease.ports[0][0] + 1 if demux[name] == cells.PORT else None
            self.charons[name] = pluto.Pluto(self.net, name, OUT).start("".join(
                v.at_pluto(name, lease, port) for v in self.all))

    def hosts_stop(self, names=tuple(HOSTS)):
        for name in names:
            self.charons[name].farewell()
        for name in names:
            self.charons[name].process.wait(20)
            tap.does(f"{name}: no SPI is leased any more when its SAs are gone", wait_for,
                lambda: self.follow(name)["spis"] == 0, "leases stay behind")

    def rekeyed(self, by, name, v, kind, seconds=10):
        own, host = self.charons[name], by == name
        sas = lambda: (own.ike if kind == "ike" else own.spis)(v.name)
        old = sas()
        if host:
            own.rekey(kind, v.name)
        else:
            numbers = self.charons["y"].numbers(f"{name}.{v.name}.test")[kind != "ike"]
            self.charons["y"].swanctl("--rekey", f"--{kind}-id", max(numbers))
        return wait_for(lambda: sas() - old, f"{name} has nothing new", seconds)

    def rekey_all(self, v):
        for name in HOSTS:
            for by, kind in ((name, "child"), ("y", "child"), ("y", "ike"), (name, "ike"),
                    (name, "child")):
                new = tap.does(f"{name}: {v.words}, {kind} keyed anew by {by}", self.rekeyed, by,
                    name, v, kind)
                if kind == "child":
                    tap.check(f"{name}: its new inbound SPI is leased",
                        new and all(map(self.lease(name).has_spi, new)), new)
            tap.does(f"{name}: {v.words}, keyed anew", self.talk, name, v)


def hosts(ways, demux):
    """Both hosts at once; each SPI was leased when the peer learnt it."""
    ways.hosts_start(demux)
    ways.try_every(demux)
    ways.rekey_all(ways.all[0])
    for name in HOSTS:
        f = ways.follow(name)
        tap.check(f"{name}: every SPI was leased before the message with it left",
            f["refused"] == f["lost"] == f["unanswered"] == 0 < f["leased"], f)
    ends(ways)
    ways.hosts_stop()


# --- the end of a lease ---


def binding_of(ways, name, spi):
    return next(b["bind_id"] for b in ways.road.hosts[name].status()["bindings"]
        if any(a <= spi <= z for a, z in ranges(b["spis"])))


def another(ways, name, v, old):
    """The SAs of `old` are gone at both ends, and there are new ones, with leases."""
    new = wait_for(lambda: ways.charons[name].spis(v.name) - old, "no new SA", 15)
    if ways.charons[name].spis(v.name) & old or not all(map(ways.lease(name).has_spi, new)):
        raise Failed(f"it has {ways.charons[name].spis(v.name)}, of old {old}")
    wait_for(lambda: not old & ways.charons["y"].outbound(), "the peer keeps the old SA")
    return True


def ends(ways):
    """A lease that ends takes its SA down at both ends, and libreswan makes another one."""
    v, name = ways.all[0], "x1"
    pl = ways.charons[name]
    old = pl.spis(v.name)
    ask_host(f"release-{binding_of(ways, name, min(old))}")
    tap.does(f"{name}: the gateway takes the SPI: its SA ends in the kernel", wait_for,
        lambda: not any(f"{s:#010x}" in ways.xfrm(name) for s in old), "it stays")
    tap.does(f"{name}: what is sent next makes libreswan negotiate again", wait_for,
        lambda: ways.pings(name, v), "no answer", 15)
    tap.does(f"{name}: the old SA is gone at both ends", another, ways, name, v, old)
    # What the gateway refuses: nothing but these few may be leased.
    ask_host("conf-few-spis")
    before = ways.follow(name)["refused"]
    old = pl.spis(v.name)
    tap.does(f"{name}: an SPI that is refused", pl.rekey, "child", v.name)
    tap.does(f"{name}: it was refused", wait_for,
        lambda: ways.follow(name)["refused"] > before, "it was not")
    ask_host("conf-all-spis")
    tap.does(f"{name}: libreswan negotiates again, with another SPI", wait_for,
        lambda: ways.pings(name, v) and pl.spis(v.name) - old, "it does not", 30)
    tap.does(f"{name}: {v.words}, after the refusal", ways.talk, name, v)


# --- strongSwan, followed ---


def charon(ways):
    """A charon that was told nothing: SPIs of its own, IKE from port 500."""
    v, name = ways.all[0], "x1"
    own = ways.charons[name] = swan.Charon(ways.net, name, OUT).start()
    own.load(v.host(name, HOSTS[name], ways.lease(name)))
    tap.does(f"{name}: strongSwan, followed: {v.words}", ways.try_one, name, v)
    for by in (name, "y"):
        old = own.spis(v.name)
        what = ("--child", v.name) if by == name else \
            ("--child-id", max(ways.charons["y"].numbers(f"{name}.{v.name}.test")[1]))
        ways.charons[by].swanctl("--rekey", *what)
        new = tap.does(f"{name}: strongSwan, followed: keyed anew by {by}", wait_for,
            lambda: own.spis(v.name) - old, "nothing new")
        tap.check(f"{name}: its new inbound SPI is leased",
            new and all(map(ways.lease(name).has_spi, new)), new)
    ask_host("conf-few-spis")
    old = own.spis(v.name)
    own.swanctl("--rekey", "--child", v.name)
    tap.does(f"{name}: strongSwan, followed: an SPI that is refused", wait_for,
        lambda: ways.follow(name)["refused"] > 0, "it is not")
    ask_host("conf-all-spis")
    tap.does(f"{name}: strongSwan, followed: it makes another one when SPIs are to be had",
        wait_for, lambda: {s for s in own.spis(v.name) if ways.lease(name).has_spi(s)} - old,
        "it does not", 20)
    tap.does(f"{name}: strongSwan, followed: {v.words}, at last", ways.talk, name, v)
    own.stop()


# --- libreswan as the peer ---


class Peer(Hosts):
    """strongSwan with a block of SPIs on the hosts, libreswan as y."""

    def __init__(self, net):
        super().__init__(net)
        self.all = every(PeerVariant)

    def peer(self):
        self.charons["y"] = pluto.Pluto(self.net, "y", OUT).start("".join(
            v.at_pluto_peer(name, self.lease(name)) for v in self.all for name in HOSTS))

    def between(self):
        """One selector of libreswan's belongs to one connection until that is deleted."""
        for name in HOSTS:
            for v in self.all:
                self.charons["y"].whack("--terminate", "--name", f"{name}-{v.name}", check=False)


def peer(net, rounds):
    ways = Peer(net)
    ways.up()
    ways.peer()
    for demux in rounds:
        for name in HOSTS:
            ways.hosts_start([name], **(ike_guest.SHARED if demux[name] == cells.COOKIE else {}))
        ways.try_every(demux)
        v = ways.all[0]
        fits(ways, v)
        for name in HOSTS:
            old = ways.charons[name].spis(v.name)
            ways.charons["y"].rekey("child", f"{name}-{v.name}")
            tap.does(f"{name}: {v.words}, keyed anew by libreswan", wait_for,
                lambda: ways.charons[name].spis(v.name) - old, "nothing new")
            tap.does(f"{name}: {v.words}, keyed anew", ways.talk, name, v)
        if demux == rounds[-1]:
            in_step(ways)
        ways.hosts_stop()
        ways.between()
    ways.charons["y"].stop()
    return ways


def fits(ways, v):
    """The largest packet that needs no fragments, as docs/ike-hosts.md says it."""
    for name, mtu in (("x1", 1426), ("x2", 1422)):
        for size in (mtu, mtu + 1):
            p = ways.net.run(name, "ping", "-n", "-c", 1, "-W", 3, "-M", "do", "-s", size - 28,
                "-I", HOSTS[name], v.inner, check=False)
            tap.check(f"{name}: {size} bytes in ESP tunnel mode within {TUNNEL[name]} do"
                f"{'' if size == mtu else ' not'} fit", (p.returncode == 0) == (size == mtu),
                p.stdout + p.stderr)


# --- strongSwan's block and the lease ---


def drop_in(ways, name, *words):
    """rsip ike strongswan about the charon that runs: (status, its words)."""
    own = ways.charons[name]
    p = ways.road.hosts[name].rsip("ike", "strongswan", "-o", ways.net.dir / f"rsip-{name}.conf",
        "--vici", own.vici, *words, check=False)
    return p.returncode, p.stdout + p.stderr


def checked(ways, name):
    status, text = drop_in(ways, name, "--check", "--swanctl",
        ways.charons[name].dir / "swanctl.conf")
    if status != 0 or "not checked" in text:
        raise Failed(text)
    return True


def charon_of(ways, name):
    return ways.road.hosts[name].status()["charon"]


def in_step(ways):
    """The gateway takes the block: charon is told of another one, and keeps to it."""
    v = ways.all[0]
    tap.does("x1: rsip ike strongswan --check finds nothing wrong", checked, ways, "x1")
    for name in HOSTS:
        drop_in(ways, name)
        tap.does(f"{name}: charon was told to read its settings", wait_for,
            lambda: charon_of(ways, name)["reloads"] == 1, "it was not")
        old, block = ways.charons[name].spis(v.name), ways.lease(name).spis
        ask_host(f"release-{binding_of(ways, name, min(old))}")
        tap.does(f"{name}: the gateway takes the block: its SAs end in the kernel", wait_for,
            lambda: not any(f"{s:#010x}" in ways.xfrm(name) for s in old), "they stay")
        tap.does(f"{name}: charon has read the next block", wait_for,
            lambda: charon_of(ways, name)["reloads"] == 2, "it has not")
        tap.check(f"{name}: that is another one", not set(ways.lease(name).spis) & set(block))
        tap.check(f"{name}: rsip status says to restart charon", charon_of(ways, name)["restart"])
    # IKE on port 500 goes on; on a port that is not leased any more it has to begin anew.
    tap.does("x2: its charon makes an SA of the new block by itself", wait_for,
        lambda: any(map(ways.lease("x2").has_spi, ways.charons["x2"].spis(v.name))), "none", 20)
    tap.does(f"x2: {v.words}, with the new block", ways.talk, "x2", v)
    tap.check("x1: --check says to restart charon", drop_in(ways, "x1", "--check")[0] == 1)
    ways.charons["x1"].stop()
    ways.charons["x1"].start().load(v.host("x1", HOSTS["x1"], ways.lease("x1")))
    tap.does("x1: charon was started again, which is seen", wait_for,
        lambda: not charon_of(ways, "x1")["restart"], "it is not")
    tap.does(f"x1: {v.words}, from the new port and block", ways.try_one, "x1", v)
    tap.does("x1: rsip ike strongswan --check finds nothing wrong any more", checked, ways, "x1")


# --- manual keys ---


KEY, AUTH = "0x" + "11" * 20, "0x" + "22" * 32


def manual(ways):
    """RFC 3104 section 5: keys by hand, inbound on a leased SPI (A-I-31); ESP and AH."""
    algorithms = {"esp": ["aead", "rfc4106(gcm(aes))", KEY, "128"],
        "ah": ["auth-trunc", "hmac(sha256)", AUTH, "128"]}
    for (name, own), (proto, words) in zip(HOSTS.items(), algorithms.items()):
        inside = f"192.168.{200 + int(own[-1])}.1"
        ways.net.batch("y", f"addr add {inside}/32 dev lo")
        leased = {b["bind_id"] for b in ways.road.hosts[name].status()["bindings"]}
        spi = 0xABC000 + int(own[-1])
        tap.does(f"{name}: rsip lease --spi {spi:#x}", ways.road.hosts[name].rsip, "lease", "--spi",
            hex(spi), "--ports", "0")
        back = 0xDEF000 + int(own[-1])
        for where, local, mine, other, theirs in ((name, own, spi, inside, back),
                ("y", inside, back, own, spi)):
            ends_ = (NB, Y) if where == name else (Y, NB)
            flag = ["flag", "align4"] if proto == "ah" else []
            for src, dst, number in ((*ends_, theirs), (*ends_[::-1], mine)):
                ways.net.run(where, "ip", "xfrm", "state", "add", "src", src, "dst", dst, "proto",
                    proto, "spi", hex(number), "mode", "tunnel", "reqid", 99, *flag, *words)
            for way, src, dst, outer in (("out", local, other, ends_), ("in", other, local,
                    ends_[::-1])):
                ways.net.run(where, "ip", "xfrm", "policy", "add", "src", src, "dst", dst, "dir",
                    way, "tmpl", "src", outer[0], "dst", outer[1], "proto", proto, "reqid", 99,
                    "mode", "tunnel")
        tap.does(f"{name}: ping through {proto.upper()} with keys set by hand", ways.net.run, name,
            "ping", "-n", "-c", 1, "-W", 3, "-I", own, inside)
        new = [b for b in ways.road.hosts[name].status()["bindings"] if b["bind_id"] not in leased]
        tap.check(f"{name}: that is one lease, in follow mode, too", len(new) == 1, new)
        tap.does(f"{name}: rsip free", ways.road.hosts[name].rsip, "free", new[0]["bind_id"])
        tap.check(f"{name}: with the lease its inbound SA has gone",
            f"{spi:#010x}" not in ways.xfrm(name) and f"{back:#010x}" in ways.xfrm(name))
        for where in (name, "y"):
            ways.net.run(where, "ip", "xfrm", "policy", "flush")
            ways.net.run(where, "ip", "xfrm", "state", "flush")


# --- all ---


def down(ways):
    for name, host in ways.road.hosts.items():
        tap.does(f"{name}: rsip down", host.rsip, "down")
        tap.check(f"{name}: no SA towards {NB} is left", f"dst {NB}" not in ways.xfrm(name))


def main():
    subprocess.run(["modprobe", "tun"], check=True)
    pluto.unpack()
    results = cells.Results()
    rounds = [DEMUX, SWAPPED] if "long" in sys.argv else [DEMUX]
    parts = [w for w in sys.argv[1:] if w != "long"] or ["manual", "hosts", "charon", "peer"]
    with Net("/run/road") as net:
        net.dir.mkdir(exist_ok=True)
        road_guest.links(net)
        ways = Follow(net)
        ways.peer()
        ways.up()
        if "manual" in parts:
            manual(ways)
        for demux in rounds if "hosts" in parts else []:
            hosts(ways, demux)
        if "charon" in parts:
            charon(ways)
        results.cells.update(ways.results.cells)
        ways.charons["y"].stop()
        down(ways)
        if "peer" in parts:
            last = peer(net, rounds)
            results.cells.update(last.results.cells)
            down(last)
        for kind, demux, tunnel in itertools.product((Variant, PeerVariant),
                (cells.PORT_NATT, cells.COOKIE_NATT), cells.TUNNELS):
            for v in every(kind):
                results.skip(v.cell(demux, tunnel), NO_UDP if v.protocol == "ESP" else NO_UDP_AH)
        results.save(OUT / "cells.json")
        for service in ways.services:
            service.close()
    return tap.end()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as fault:
        tap.line(False, "the scenario runs to its end", fault)
        sys.exit(tap.end())
