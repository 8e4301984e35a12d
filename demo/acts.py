"""The acts of the demo: each does something real and says what was seen of it."""
import collections
import time

import esp
import guest_act
import talk
from topo import HOSTS, NB, Y, Failed, Gateway, Host, Wire, road, spi, wait_for

ROUNDS = 2
PICTURE = f"""\
   x1 10.0.0.11 --+
                  +-- 10.0.0.1 n 203.0.113.2 -- the Internet (r) -- y {Y}
   x2 10.0.0.12 --+      rsipd
"""


def spans(ranges, form=str):
    return ",".join(f"{form(a)}-{form(b)}" if a != b else form(a) for a, b in ranges) or "none"


class Stage:
    def __init__(self, net):
        self.net, self.started = net, time.monotonic()
        self.seen = []  # (what, whether, measured)
        self.open = []  # things with close()

    def note(self, what, whether, measured):
        self.seen.append((what, bool(whether), measured))

    def play(self, guest):
        self.network()
        self.leases()
        self.at_once()
        self.counters()
        if guest:
            guest_act.play(self)

    def end(self):
        while self.open:
            self.open.pop().close()

    def last_words(self):
        """The gateway's last lines, for when something went wrong."""
        log = self.net.dir / "rsipd.log"
        lines = log.read_text().splitlines()[-5:] if log.exists() else []
        return "".join(f"   rsipd: {line}\n" for line in lines)

    # --- act 1 ---

    def network(self):
        print("1. A network of namespaces: two hosts, their gateway n, a router, a peer y\n")
        road(self.net)
        print(PICTURE)
        self.gateway = Gateway(self.net).start()
        driver = self.gateway.show("status")["driver"]
        print(f"   rsipd runs on n (driver {driver}) and leases out {NB}, one address for all.\n")

    # --- act 2 ---

    def leases(self):
        print("2. Each host leases its share of that address: rsip up -g 10.0.0.1\n")
        print(f"   {'host':5}{'address':14}{'ports':15}{'SPIs':25}{'lease':>7}")
        self.hosts = {name: Host(self.net, name) for name in HOSTS}
        self.lease = {name: host.up() for name, host in self.hosts.items()}
        for name, lease in self.lease.items():
            print(f"   {name:5}{lease.address:14}{spans(lease.ports):15}{spans(lease.spis, spi):25}"
                f"{lease.bindings[0]['lease_remaining']:>5} s")
        one, two = self.lease.values()
        self.note("both hosts lease one address", one.address == two.address == NB, NB)
        self.note("nothing is leased twice", not any(two.has_port(p) for r in one.ports for p in r)
            and not any(two.has_spi(s) for r in one.spis for s in r),
            f"{spans(one.ports)} / {spans(two.ports)}")
        print()

    # --- act 3 ---

    def at_once(self):
        print("3. Both hosts talk to y at the same time: native ESP, and TCP by ordinary sockets")
        print("   (ESP is made and opened by scapy here, since a kernel without ESP has to do)\n")
        wire = self.keep(Wire(self.net, "r", "y0"))
        self.keep(talk.Service(self.net, "y", 7777))
        self.pairs = {name: esp.Pair("esp", 0x1001 + i, self.lease[name].spis[0][0] + i)
            for i, name in enumerate(HOSTS)}
        peer = self.keep(esp.Peer(self.net, self.pairs))
        talkers = {name: self.keep(esp.Talker(self.net, name, self.pairs[name])) for name in HOSTS}
        tcp = {name: self.keep(talk.connect(self.net, name, "tcp", Y, 7777)) for name in HOSTS}
        told = [self.round(n, talkers, tcp) for n in range(ROUNDS)]
        self.show_wire(wire, tcp)
        for name in HOSTS:
            answers = [t[name] for t in told]
            self.show_answers(name, answers, tcp[name].getsockname()[1], peer)
        print()
        self.end()

    def keep(self, thing):
        self.open.append(thing)
        return thing

    @staticmethod
    def round(number, talkers, tcp):
        """{host: (text, answer under ESP, answer over TCP)}; no answer is the text why."""
        told = {}
        for name in HOSTS:
            text = f"hello {number + 1} from {name}"
            try:
                under_esp = talkers[name].ask(text)
            except (Failed, ValueError) as fault:
                under_esp = str(fault)
            try:
                over_tcp = talk.request(tcp[name], text)
            except OSError as fault:
                over_tcp = str(fault)
            told[name] = text, under_esp, over_tcp
        return told

    def show_wire(self, wire, tcp):
        """What passed y's link, in order; TCP as one line a connection."""
        print("   What the link before y carried:\n")
        first, tcp_packets, strange = None, collections.Counter(), 0
        for p in wire.read():
            if p.proto == 50:
                print(f"   {p.src:>13} > {p.dst:13}  ESP  SPI {spi(p.spi)}  {self.whose(p)}")
            elif p.proto == 6:
                tcp_packets[p.ports[0] if p.src == NB else p.ports[1]] += 1
            strange += not {p.src, p.dst} == {NB, Y}
        for name, s in tcp.items():
            port = s.getsockname()[1]
            print(f"   {NB:>13} = {Y:13}  TCP  port {port}, {tcp_packets[port]} packets, "
                f"leased by {name}")
        print()
        sources = {p.src for p in wire.packets if p.proto == 50 and p.dst == Y}
        counts = collections.Counter(p.spi for p in wire.packets if p.proto == 50 and p.src == NB)
        self.note("y saw both hosts' ESP from one address", sources == {NB} and len(counts) == 2,
            f"{sum(counts.values())} packets from {' '.join(sources) or 'nobody'}")
        self.note("nothing else, and nobody's private address", not strange,
            f"{strange} other packets")

    def whose(self, packet):
        if packet.src == NB:
            return "".join(f"from {n}" for n, p in self.pairs.items() if p.to_peer == packet.spi)
        return "".join(f"leased by {n}" for n, l in self.lease.items() if l.has_spi(packet.spi))

    def show_answers(self, name, told, port, peer):
        right = sum(answer == f"to {name}: {text}" for text, answer, _ in told)
        served = sum(answer == f"y saw {NB} {port}: {text}" for text, _, answer in told)
        opened = sum(who == name for who, *_ in peer.seen)
        print(f"   {name} sent {len(told)} under ESP, y opened {opened} and answered; "
            f"{name} opened {right}: {told[-1][1]!r}")
        self.note(f"y's ESP answers reached {name}", right == len(told), f"{right} of {len(told)}")
        self.note(f"TCP of {name} at the same time",
            served == len(told) and self.lease[name].has_port(port),
            f"{served} of {len(told)} answers, port {port}")

    # --- act 4 ---

    def counters(self):
        print("4. What is not leased stays out: y sends to an SPI and a port that nobody holds\n")
        held = self.lease.values()
        free = next(s for s in range(0x7000, 0x8000) if not any(l.has_spi(s) for l in held))
        drops = self.drops()
        wire = self.keep(Wire(self.net, "n", "wan0"))
        ends = self.keep(esp.Ends(self.net, "y"))
        ends.send(esp.Pair("esp", 1, free).seal(free, "not for anybody"))
        try:
            talk.connect(self.net, "y", "tcp", NB, 1023, seconds=0.3).close()
            refused = "a connection"
        except TimeoutError:
            refused = "silence"
        except OSError as fault:
            refused = str(fault)
        wait_for(lambda: sum((self.drops() - drops).values()) >= 2, "the gateway counted no drops")
        counted = self.drops() - drops
        said = [p for p in wire.read() if p.src == NB]
        shown = ", ".join(f"{reason} {n}" for reason, n in sorted(counted.items()))
        print(f"   dropped by reason: {shown}; y got {refused}\n")
        self.note("what is not leased is dropped, silently", counted["no_spi"] and not said and
            refused == "silence", shown)
        self.end()

    def drops(self):
        return collections.Counter(self.gateway.show("counters")["rsip_drops_total"])

    # --- the end ---

    def summary(self):
        """Print the table; the demo's status."""
        print(f"   {'what':46}{'seen':6}measured")
        for what, whether, measured in self.seen:
            print(f"   {what:46}{'yes' if whether else 'NO':6}{measured}")
        bad = [what for what, whether, _ in self.seen if not whether]
        print(f"\n   {len(self.seen) - len(bad)} of {len(self.seen)} seen in "
            f"{time.monotonic() - self.started:.0f} s")
        return 1 if bad else 0
