#!/usr/bin/python3
"""Inside the guest: two hosts and their peer with real IKE and ESP; the gateway is outside.

    road_guest.py            everything, as TAP
    road_guest.py brief      what the demo shows: tunnel mode from both hosts at once

vec0, vec1 and vec2 are the links of x1, x2 and y.
"""
import json
import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "netns"))
import swan
import talk
from tap import Tap
from topo import HOSTS, NA, NB, R_PEER, Y, Y2, Failed, Host, Net, spi, wait_for

OUT = pathlib.Path(os.environ["OUT"])
tap = Tap()


def ask_host(what):
    """Have the other side of the guest do something now; its answer."""
    answer = OUT / f"answer-{what}"
    answer.unlink(missing_ok=True)
    (OUT / f"ask-{what}").touch()
    wait_for(answer.exists, f"the host's side did not answer {what}", 20)
    return json.loads(answer.read_text())


def links(net):
    for i, name in enumerate(("x1", "x2", "y")):
        net.add(name)
        net.batch(None, f"link set vec{i} netns @{name} name eth0")
        net.batch(name, "link set eth0 up")
    for name, address in HOSTS.items():
        net.batch(name, f"addr add {address}/24 dev eth0", f"route add default via {NA}")
    net.batch("y", f"addr add {Y}/24 dev eth0", f"addr add {Y2}/24 dev eth0",
        f"route add default via {R_PEER}")


def traces(net, name):
    """What `rsip up` changes on a host, and `rsip down` must put back."""
    return [net.run(name, "ip", "-4", "-br", "addr"), net.run(name, "ip", "route"),
        net.run(name, "ip", "rule"), net.run(name, "sysctl", "net.ipv4.ip_local_port_range",
            "net.ipv4.ip_local_reserved_ports", "net.ipv4.conf.all.arp_ignore")]


class Road:
    def __init__(self, net):
        self.net = net
        self.hosts = {name: Host(net, name) for name in HOSTS}
        self.leases, self.charons = {}, {}

    # --- leases and daemons ---

    def up(self, *options):
        for name, host in self.hosts.items():
            self.leases[name] = tap.does(" ".join((f"{name}: rsip up", *options)),
                host.up, *options)
            if not self.leases[name]:
                raise Failed(f"{name} has no lease")
        (OUT / "leases").write_text(json.dumps({n: l.bindings for n, l in self.leases.items()}))

    def port_block(self, name):
        low, high = self.leases[name].ports[0]
        return f"{low}-{high}"

    def drop_in(self, name):
        path = self.net.dir / f"rsip-{name}.conf"
        self.hosts[name].rsip("ike", "strongswan", "-o", path)
        (OUT / path.name).write_text(path.read_text())
        return path

    def ike_port(self, name):
        text = (OUT / f"rsip-{name}.conf").read_text()
        port = re.search(r"^\s*port\s*=\s*(\d+)", text, re.M)
        return int(port[1]) if port else 500

    def start_charons(self):
        connections = {"y": swan.peer_connections()}
        for name, address in HOSTS.items():
            ports = self.port_block(name) if self.leases[name].ports else ""
            connections[name] = swan.host_connections(name, address, ports)
        for name in connections:
            include = self.drop_in(name) if name in HOSTS else ""
            self.charons[name] = swan.Charon(self.net, name, OUT, include).start()
        for name, charon in self.charons.items():
            charon.load(connections[name])

    def stop_charons(self):
        # Farewells while both ends still listen: who has gone refuses them by ICMP.
        for name in HOSTS:
            self.charons[name].swanctl("--terminate", "--ike", "y")
        for name in sorted(self.charons):
            self.charons[name].stop()

    # --- traffic ---

    def plain(self):
        """Before there is any IPsec: whom does the peer see?"""
        for name in HOSTS:
            for kind in ("udp", "tcp"):
                (_, port), answer = talk.ask(self.net, name, kind, Y, swan.SERVICE, name)
                tap.check(f"{name}: plain {kind} leaves as {NB}:{port}, a leased port",
                    answer == f"y saw {NB} {port}: {name}" and self.leases[name].has_port(port),
                    answer)

    def ping(self, name, peer=Y, size=56):
        self.net.run(name, "ping", "-n", "-c", 2, "-i", 0.2, "-W", 2, "-s", size,
            "-I", HOSTS[name], peer)

    def tunnel_talk(self, when, what="ESP", peer=Y):
        """Both ways through the tunnel mode SAs; each answer has to name the right machine."""
        for name, address in HOSTS.items():
            tap.does(f"{name}: ping through {what} {when}", self.ping, name, peer)
            for kind in ("udp", "tcp"):
                tap.does(f"{name}: {kind} through {what} {when}, y answers {name}", self.expect,
                    name, kind, peer, f"y saw {address} ", source=(address, 0))
                tap.does(f"y: {kind} through {what} {when} reaches {name}", self.expect,
                    "y", kind, address, f"{name} saw {peer} ", source=(peer, 0))

    def transport_talk(self, when):
        for name in HOSTS:
            for kind in ("udp", "tcp"):
                tap.does(f"{name}: {kind} under ESP transport {when}, y answers {name}",
                    self.expect, name, kind, Y, f"y saw {NB} ", source=(NB, 0))

    def expect(self, name, kind, address, start, source=("", 0)):
        text = f"{name} to {address}"
        (_, port), answer = talk.ask(self.net, name, kind, address, swan.SERVICE, text,
            source=source)
        if answer != f"{start}{port}: {text}":
            raise Failed(f"got {answer!r}")

    # --- SAs ---

    def establish(self, *children):
        for child in children:
            for name in HOSTS:
                tap.does(f"{name}: IKEv2, {child}", self.charons[name].up, child)

    def rekeyed(self, by, words, what):
        """Run swanctl --rekey by `by` and wait until `what` has something new."""
        old = what()
        self.charons[by].swanctl("--rekey", *words)
        return wait_for(lambda: what() - old, f"nothing new after {by} rekeyed {' '.join(words)}")

    def rekey_children(self, *children):
        """Once from each side; the SPI that counts is the host's inbound one."""
        for child in children:
            for name in HOSTS:
                own = self.charons[name]
                new = tap.does(f"{name}: rekeys its CHILD_SA ({child})", self.rekeyed, name,
                    ("--child", child), lambda: own.spis(child))
                self.spis_leased(name, new, f"{child}, rekeyed by {name}")
            before = {name: self.charons[name].spis(child) for name in HOSTS}
            tap.does(f"y: rekeys its CHILD_SAs ({child})", self.charons["y"].swanctl,
                "--rekey", "--child", child)
            for name in HOSTS:
                own = self.charons[name]
                new = tap.does(f"{name}: has the CHILD_SA that y made ({child})", wait_for,
                    lambda: own.spis(child) - before[name], "no new CHILD_SA")
                self.spis_leased(name, new, f"{child}, rekeyed by y")

    def rekey_ike(self):
        """Once from each side."""
        for name in HOSTS:
            tap.does(f"{name}: rekeys its IKE_SA", self.rekeyed, name, ("--ike", "y"),
                lambda: self.charons[name].ike("y"))
        before = {name: self.charons[name].ike("y") for name in HOSTS}
        tap.does("y: rekeys its IKE_SAs", self.charons["y"].swanctl, "--rekey", "--ike", "x")
        for name in HOSTS:
            tap.does(f"{name}: has the IKE_SA that y made", wait_for,
                lambda: self.charons[name].ike("y") - before[name], "no new IKE_SA")

    def spis_leased(self, name, spis, when):
        shown = " ".join(map(spi, sorted(spis or [])))
        tap.check(f"{name}: inbound SPI {shown} is leased ({when})",
            spis and all(map(self.leases[name].has_spi, spis)), self.leases[name].spis)

    def all_spis_leased(self):
        for name in HOSTS:
            self.spis_leased(name, self.charons[name].spis(), "every SA of now")

    def no_nat(self):
        for name, charon in self.charons.items():
            text = charon.log.read_text()
            tap.check(f"{name}: IKE saw no NAT",
                "behind NAT" not in text and "faking NAT" not in text, "see its log")


def leased_ports(net):
    """IKE from a leased port: both modes, rekeyed from each side, both hosts at once."""
    road = Road(net)
    road.up()
    tap.check("hosts use their kernel's IP-in-IP device",
        all("ipip" in net.run(n, "ip", "-d", "link", "show", "rsip0") for n in HOSTS))
    road.plain()
    road.start_charons()
    ask_host("capture")
    road.establish("tunnel", "transport")
    tap.check("the gateway shows the same bindings as the hosts",
        same_bindings(ask_host("bindings"), road.leases))
    road.tunnel_talk("at first")
    road.transport_talk("at first")
    tap.does("x1: ping of 2800 octets through ESP", road.ping, "x1", size=2800)
    road.all_spis_leased()
    road.rekey_children("tunnel", "transport")
    road.rekey_ike()
    road.tunnel_talk("after rekeying")
    road.transport_talk("after rekeying")
    road.all_spis_leased()
    tap.check("rsipd is killed and started again", ask_host("kill-gateway"))
    road.tunnel_talk("after rsipd was killed")
    road.transport_talk("after rsipd was killed")
    road.no_nat()
    ask_host("capture-end")
    road.stop_charons()
    return road


def cookies(net):
    """No ports at all: IKE of both hosts from UDP 500, told apart by cookie."""
    road = Road(net)
    road.up("--ports", "0")
    road.start_charons()
    ask_host("cookie-capture")
    road.establish("tunnel", "ah")
    road.tunnel_talk("with IKE on port 500")
    road.tunnel_talk("with IKE on port 500", "AH", Y2)
    road.rekey_children("tunnel", "ah")
    road.rekey_ike()
    road.tunnel_talk("with IKE on port 500, rekeyed")
    road.tunnel_talk("with IKE on port 500, rekeyed", "AH", Y2)
    road.all_spis_leased()
    ask_host("cookie-capture-end")
    road.stop_charons()
    return road


def brief(net):
    """A selection for the demo; its lines are shown as they are."""
    road = Road(net)
    road.up()
    road.start_charons()
    ask_host("capture")
    for name, address in HOSTS.items():
        charon = road.charons[name]
        for child in ("tunnel", "transport"):
            charon.up(child)
        tap.check(f"{name}: IKEv2 from port {road.ike_port(name)}, tunnel and transport mode",
            charon.spis("tunnel") and charon.spis("transport"))
        road.spis_leased(name, charon.spis(), "both modes")
    for name, address in HOSTS.items():
        tap.does(f"{name}: ping through ESP, 2 of 2 answers", road.ping, name)
        tap.does(f"y: TCP to {address} through ESP reaches {name}", road.expect,
            "y", "tcp", address, f"{name} saw {Y} ")
        tap.does(f"{name}: TCP from {NB} under ESP transport, y answers {name}", road.expect,
            name, "tcp", Y, f"y saw {NB} ", source=(NB, 0))
    for name in HOSTS:
        own = road.charons[name]
        new = tap.does(f"{name}: rekeys", road.rekeyed, name, ("--child", "tunnel"),
            lambda: own.spis("tunnel"))
        road.spis_leased(name, new, "rekeyed")
        tap.does(f"{name}: ping with the new keys, 2 of 2 answers", road.ping, name)
    ask_host("capture-end")
    road.stop_charons()
    return road


def same_bindings(gateway, leases):
    def essence(bindings):
        return sorted([b[k] for k in ("bind_id", "address", "ports", "spis")] for b in bindings)
    return essence(gateway) == essence(b for l in leases.values() for b in l.bindings)


def down(net, road, before):
    for name, host in road.hosts.items():
        tap.does(f"{name}: rsip down", host.rsip, "down")
        tap.does(f"{name}: no daemon is left", wait_for,
            lambda: host.rsip("status", check=False).returncode == 3, "rsip-hostd still answers")
        after = traces(net, name)
        tap.check(f"{name}: addresses, routes and sysctls are as before", after == before[name],
            f"{before[name]}\n{after}")
    tap.check("the gateway holds no binding any more",
        ask_host(f"bindings-after-{tap.count}") == [])


def main():
    parts = [brief] if sys.argv[1:] == ["brief"] else [leased_ports, cookies]
    with Net("/run/road") as net:
        net.dir.mkdir(exist_ok=True)
        links(net)
        before = {name: traces(net, name) for name in HOSTS}
        # A UDP service on every address would answer from the leased one.
        services = [talk.Service(net, name, swan.SERVICE, address)
            for name, address in (*HOSTS.items(), ("y", Y), ("y", Y2))]
        for part in parts:
            down(net, part(net), before)
        for service in services:
            service.close()
    return tap.end()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as fault:
        tap.line(False, "the scenario runs to its end", fault)
        sys.exit(tap.end())
