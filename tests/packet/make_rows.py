#!/usr/bin/python3
"""Writes the *.rows of this folder: packets as scapy builds them, so that a second
implementation says what right bytes are.  Run it after a change and read the difference.

    tests/packet/make_rows.py [--check]    --check: fail if a file is not what would be written
"""
import pathlib
import sys

try:
    from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
    from scapy.layers.ipsec import AH, ESP
    from scapy.layers.l2 import GRE
    from scapy.packet import Raw
except ImportError:
    print("needs python3-scapy")
    sys.exit(77)

HERE = pathlib.Path(__file__).resolve().parent
X1, X2, NA = "10.0.0.11", "10.0.0.12", "10.0.0.1"
NB, NB2, WHOLE = "203.0.113.1", "203.0.113.32", "203.0.113.33"
Y, Z, ROUTER = "198.51.100.2", "198.51.100.3", "198.51.100.254"
PORTS1, PORTS2 = "20480-20495", "20736-20751"
SPIS1, SPIS2 = "0xc0010000-0xc00100ff", "0xc0020000-0xc00200ff"
SPI1, SPI2 = 0xC0010000, 0xC0020000

files, lines = {}, []


def file(name, text):
    global lines
    lines = files.setdefault(name, [f"# {text}", "# Written by make_rows.py; edit that."])


def case(name, comment):
    lines.append("")
    lines.extend("# " + c for c in comment.strip().split("\n"))
    lines.append(f"case {name}")


def say(line):
    lines.append(line)


def lease(bind, host, address=NB, method="rsipsec", tunnel="ipip", ports="-", spis="-",
        remote="-"):
    say(f"lease {bind} {host} {NA} {address} {method} {tunnel} {ports} {spis} {remote}")


def two_hosts(**kw):
    lease(1, X1, ports=PORTS1, spis=SPIS1, **kw)
    lease(2, X2, ports=PORTS2, spis=SPIS2, **kw)


def hexed(packet):
    return bytes(packet).hex()


def show(packet):
    say("# " + IP(bytes(packet)).summary())


def private(packet):
    show(packet)
    say("private " + hexed(packet))


def public(packet):
    show(packet)
    say("public " + hexed(packet))


def at_public(packet):
    say("expect public " + hexed(packet))


def at_private(packet):
    say("expect private " + hexed(packet))


def tunnel(inner, host=X1, kind="ipip", tos=None, **kw):
    outer = IP(src=host, dst=NA, id=77, ttl=64, tos=inner.tos if tos is None else tos, **kw)
    return outer / GRE() / inner if kind == "gre" else outer / inner


def hop(packet, **kw):
    """One hop on: TTL less one, the fields given, a new header checksum."""
    p = IP(bytes(packet))
    p.ttl -= 1
    for k, v in kw.items():
        setattr(p, k, v)
    del p.chksum
    return p


def outer(inner, ident, host=X1, kind="ipip", df=None):
    """What the gateway puts around a packet for a host."""
    inner = IP(bytes(inner))
    flags = "DF" if (inner.flags.DF if df is None else df) else 0
    o = IP(src=NA, dst=host, id=ident, ttl=64, tos=inner.tos, flags=flags)
    return o / GRE() / inner if kind == "gre" else o / inner


def refused(inner, reason, error, bind=0, host=X1, kind="ipip"):
    private(tunnel(inner, host, kind))
    say(f"misuse {host} {error} {bind}")
    say(f"count out.{reason} 1")
    say("count out.forward 0")


def lost(packet, reason, direction="in"):
    public(packet)
    say(f"count {direction}.{reason} 1")


def esp(spi, src=Y, dst=NB, seq=1, body=b"opaque bytes....", **kw):
    return IP(src=src, dst=dst, id=0x4711, **kw) / ESP(spi=spi, seq=seq, data=body)


def ah(spi, src=Y, dst=NB, inner=None, **kw):
    inner = bytes(UDP(sport=1000, dport=2000) / b"x") if inner is None else inner
    return IP(src=src, dst=dst, id=0x4712, **kw) / AH(nh=17, payloadlen=4, spi=spi, seq=1,
        icv=b"0123456789ab") / Raw(inner)


def ike(initiator, src=NB, dst=Y, sport=500, dport=500, responder=0, marker=b"", body=b"sa" * 8):
    header = initiator.to_bytes(8, "big") + responder.to_bytes(8, "big") + bytes(
        [33, 0x20, 34, 8]) + bytes(4) + (28 + len(body)).to_bytes(4, "big")
    return IP(src=src, dst=dst, id=9) / UDP(sport=sport, dport=dport) / Raw(
        marker + header + body)


def udp(src, sport, dst, dport, body=b"data", **kw):
    return IP(src=src, dst=dst, id=0x55, **kw) / UDP(sport=sport, dport=dport) / Raw(body)


def icmp_error(packet, kind=3, code=1, src=ROUTER, keep=None, mtu=0):
    quote = bytes(packet)[:keep]
    return IP(src=src, dst=IP(bytes(packet)).src, id=3) / ICMP(type=kind, code=code,
        nexthopmtu=mtu) / Raw(quote)


def gateways_error(packet, kind, code, src, mtu=0):
    """An ICMP error as the gateway makes it."""
    quote = bytes(packet)[:548]
    return IP(src=src, dst=IP(bytes(packet)).src, id=0, tos=0xC0, ttl=64) / ICMP(type=kind,
        code=code, nexthopmtu=mtu) / Raw(quote)


def demultiplexing():
    file("demux", "Whose packet is it: by SPI, by port, by address.")
    case("esp-in", "S-5-02, S-5-03, S-5-10: by SPI to one of two hosts behind one address.")
    two_hosts()
    for i, (host, spi) in enumerate(((X1, SPI1), (X2, SPI2 + 255), (X1, SPI1 + 17)), 1):
        public(esp(spi))
        at_private(outer(hop(esp(spi)), i, host))
    say("count in.forward 3")
    say(f"count in.bytes {3 * len(bytes(esp(SPI1)))}")

    case("ah-in", "S-5-05, S-5-09: the same grant serves AH; only the outermost SPI counts.")
    two_hosts()
    nested = ah(SPI2, inner=bytes(ESP(spi=SPI1, seq=1, data=b"nested")))
    nested[AH].nh = 50
    public(nested)
    at_private(outer(hop(nested), 1, X2))
    public(ah(SPI1 + 1))
    at_private(outer(hop(ah(SPI1 + 1)), 2, X1))

    case("esp-body-is-not-read", "F-3.2-01: what is behind the ESP header changes nothing.")
    two_hosts()
    for i, body in enumerate((b"", b"\0" * 40, b"\xff" * 40), 1):
        public(esp(SPI1, body=body))
        at_private(outer(hop(esp(SPI1, body=body)), i))

    case("esp-unknown", "S-5-04: no match is discarded, without ICMP or RSIP message.")
    two_hosts()
    lost(esp(SPI1 + 256), "no_spi")
    public(ah(SPI1 - 1))
    public(esp(SPI1, dst=NB2))
    say("count in.no_spi 3")

    case("esp-short", "An ESP packet of four bytes has no whole header.")
    two_hosts()
    lost(IP(src=Y, dst=NB, proto=50) / Raw(SPI1.to_bytes(4, "big")), "no_bind")

    case("spi-ranges", "Ranges of any place and length, single ones among them.")
    lease(1, X1, spis="0x100-0x1ff,0x777,0x1001-0x2006,0xfffffff0-0xffffffff")
    n = 0
    for spi in (0x100, 0x1FF, 0x777, 0x1001, 0x1002, 0x1FFF, 0x2000, 0x2006, 0xFFFFFFF0, 0xFFFFFFFF):
        n += 1
        public(esp(spi))
        at_private(outer(hop(esp(spi)), n))
    for spi in (0xFF, 0x200, 0x776, 0x778, 0x1000, 0x2007, 0xFFFFFFEF):
        public(esp(spi))
    say("count in.no_spi 7")

    case("ports-in", "F-2-15, P-6-04, P-8.6-02, P-8.2-07: by port, UDP and TCP alike, in the bind's tunnel type.")
    lease(1, X1, method="rsap-ip", ports=PORTS1)
    lease(2, X2, method="rsap-ip", ports=PORTS2, tunnel="gre")
    one, two = udp(Y, 53, NB, 20495), IP(src=Y, dst=NB, id=4, flags="DF") / TCP(sport=80,
        dport=20736, flags="SA")
    public(one)
    at_private(outer(hop(one), 1))
    public(two)
    at_private(outer(hop(two), 2, X2, "gre"))

    case("fields-do-not-mix", "F-3.2-03: equal numbers in port and SPI do not interfere.")
    lease(1, X1, ports="20480")
    lease(2, X2, spis="20480")
    public(udp(Y, 1, NB, 20480))
    at_private(outer(hop(udp(Y, 1, NB, 20480)), 1, X1))
    public(esp(20480))
    at_private(outer(hop(esp(20480)), 2, X2))

    case("no-bind", "P-10.2.2-05, F-3.2-04: nobody's port, no field to demultiplex by.")
    two_hosts()
    lost(udp(Y, 53, NB, 20496), "no_bind")
    public(IP(src=Y, dst=NB) / TCP(sport=1, dport=22))
    public(IP(src=Y, dst=NB, proto=132) / Raw(bytes(20)))
    public(IP(src=Y, dst=NB) / IP(src=Y, dst=X1) / UDP())
    say("count in.no_bind 4")

    case("whole-address", "F-2-05, F-2-07: RSA-IP carries any protocol, except requests that the gateway answers.")
    lease(4, X2, WHOLE, "rsa-ip")
    sctp = IP(src=Y, dst=WHOLE, proto=132, id=5) / Raw(bytes(range(20)))
    public(sctp)
    at_private(outer(hop(sctp), 1, X2))
    private(tunnel(IP(src=WHOLE, dst=Y, proto=132, id=6) / Raw(bytes(20)), X2))
    at_public(hop(IP(src=WHOLE, dst=Y, proto=132, id=6) / Raw(bytes(20))))
    public(esp(5, dst=WHOLE))
    at_private(outer(hop(esp(5, dst=WHOLE)), 2, X2))

    case("removed", "S-6.2-24, P-6-06, P-9.12-01, P-9.4-01: nothing is carried for a lease that ended.")
    two_hosts()
    say("remove 1")
    lost(esp(SPI1), "no_spi")
    lost(udp(Y, 1, NB, 20480), "no_bind")
    public(esp(SPI2))
    at_private(outer(hop(esp(SPI2)), 1, X2))
    private(tunnel(esp(1, src=NB, dst=Y)))
    say(f"misuse {X1} 312 0")
    say("count out.unregistered 1")

    case("not-ours", "What is no pool address, or no tunnel packet to us, is the kernel's.")
    two_hosts()
    for packet in (udp(Y, 1, Z, 20480), udp(Y, 1, "203.0.113.16", 20480)):
        public(packet)
        say("kernel")
    for packet in (udp(X1, 4555, NA, 4555), IP(src=X1, dst="10.0.0.2") / udp(NB, 20480, Y, 1)):
        private(packet)
        say("kernel")

    case("own-address", "F-2-16: on an address that is also the gateway's own its sockets stay.")
    say(f"local {NB}")
    two_hosts()
    for packet in (udp(Y, 53, NB, 53), IP(src=Y, dst=NB) / ICMP(type=8), icmp_error(udp(NB, 53, Y, 53)),
            IP(src=Y, dst=NB) / ICMP(type=0, id=1), IP(src=Y, dst=NB, proto=132) / Raw(bytes(9))):
        public(packet)
        say("kernel")
    lost(udp(Y, 1, NB, 30000), "no_bind")
    lost(esp(3), "no_spi")
    lost(ike(5, src=Y, dst=NB), "no_cookie")
    public(esp(SPI1))
    at_private(outer(hop(esp(SPI1)), 1))

    case("napt", "F-3.1-13, F-3.1-14: ports of translated hosts are the kernel's, on an address with leases.")
    say(f"napt {NB} 40000-49999")
    two_hosts()
    for packet in (udp(Y, 53, NB, 40000), IP(src=Y, dst=NB) / TCP(sport=80, dport=49999, flags="SA"),
            icmp_error(udp(NB, 41000, Y, 53)), IP(src=Y, dst=NB) / ICMP(type=0, id=1)):
        public(packet)
        say("kernel")
    lost(udp(Y, 1, NB, 39999), "no_bind")
    lost(esp(3), "no_spi")
    lost(ike(5, src=Y, dst=NB), "no_cookie")
    public(udp(Y, 1, NB, 50000))
    public(udp(Y, 1, "203.0.113.2", 40000))
    say("count in.no_bind 3")
    public(esp(SPI1))
    at_private(outer(hop(esp(SPI1)), 1))
    public(udp(Y, 1, NB, 20480))
    at_private(outer(hop(udp(Y, 1, NB, 20480)), 2))
    e = icmp_error(udp(NB, 20480, Y, 9))
    public(e)
    at_private(outer(hop(e), 3))
    q = IP(src=Y, dst=NB, id=1) / ICMP(type=8, id=5, seq=6) / Raw(b"abc")
    public(q)
    at_public(IP(src=NB, dst=Y, id=4, ttl=64) / ICMP(type=0, id=5, seq=6) / Raw(b"abc"))
    say("count icmp 1")

    case("martians", "Malformed packets and sources that can't be are dropped and counted.")
    two_hosts()
    bad = bytearray(bytes(esp(SPI1)))
    bad[10] ^= 1
    say("# a wrong header checksum")
    say("public " + bad.hex())
    say("# cut")
    say("public " + bytes(esp(SPI1))[:30].hex())
    for src in ("127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"):
        public(esp(SPI1, src=src))
    say("# a source route")
    say("public " + hexed(IP(src=Y, dst=NB, options=b"\x83\x07\x04\x0a\x00\x00\x01\x00") /
        ESP(spi=SPI1, seq=1, data=b"x" * 8)))
    say("count in.martian 7")

    case("options-stay", "A-I-21: other options pass as they are.")
    two_hosts()
    opt = IP(src=Y, dst=NB, options=b"\x94\x04\x00\x00") / ESP(spi=SPI1, seq=1, data=b"x" * 8)
    public(opt)
    at_private(outer(hop(opt), 1))


def outbound():
    file("outbound", "What a host may send, and the error that each misuse earns.")
    case("ports-out", "F-2-13, F-2-14, P-6-04: the inner packet leaves with one hop less, no more.")
    two_hosts()
    for host, port in ((X1, 20480), (X2, 20751)):
        packet = IP(src=NB, dst=Y, id=5, flags="DF") / TCP(sport=port, dport=80, flags="S")
        private(tunnel(packet, host))
        at_public(hop(packet))
    say("count out.forward 2")

    case("esp-out", "S-5-07, A-I-05: the SPI is the peer's choice and is not checked.")
    two_hosts()
    for host, spi in ((X1, 1), (X2, SPI1), (X2, 0xFFFFFFFF)):
        private(tunnel(esp(spi, src=NB, dst=Y), host))
        at_public(hop(esp(spi, src=NB, dst=Y)))
    private(tunnel(ah(7, src=NB, dst=Y), X1))
    at_public(hop(ah(7, src=NB, dst=Y)))

    case("gre-out", "P-8.6-02: GRE version 0 without options.")
    two_hosts(tunnel="gre")
    private(tunnel(udp(NB, 20480, Y, 1), X1, "gre"))
    at_public(hop(udp(NB, 20480, Y, 1)))
    for k, flags in enumerate((dict(key_present=1, key=5), dict(chksum_present=1),
            dict(seqnum_present=1), dict(version=1), dict(proto=0x86DD)), 1):
        private(IP(src=X1, dst=NA) / GRE(**flags) / udp(NB, 20480, Y, 1))
        say(f"misuse {X1} 307 0")
        say(f"count out.tunnel_type {k}")

    case("unregistered", "P-6-02, P-6-03, P-6-12, P-10.2.2-06: tunnelled data of a stranger is never forwarded.")
    lease(1, X1, ports=PORTS1)
    private(tunnel(udp(NB, 20480, Y, 1), "10.0.0.99"))
    say("misuse 10.0.0.99 312 0")
    say("count out.unregistered 1")

    case("tunnel-type", "P-10.4-05: another tunnel type than granted, seen before the address.")
    two_hosts()
    refused(udp("9.9.9.9", 1, Y, 1), "tunnel_type", 307, kind="gre")

    case("tunnel-type-of-bind", "P-10.4-05: granted for another bind of the same host.")
    lease(1, X1, ports=PORTS1)
    lease(3, X1, NB2, tunnel="gre", ports=PORTS1)
    refused(udp(NB2, 20480, Y, 1), "tunnel_type", 307, bind=3)

    case("address", "P-10.4-01: a local address that nobody or somebody else holds.")
    two_hosts()
    lease(3, X2, NB2, ports=PORTS1)
    refused(udp("9.9.9.9", 1, Y, 1), "addr_unallowed", 312)
    refused(udp(NB2, 20480, Y, 1), "outer_src", 312)

    case("port", "P-10.4-02, P-6-13: a port not held, a port of another host.")
    two_hosts()
    refused(udp(NB, 20496, Y, 1), "addrport_unallowed", 313)
    private(tunnel(udp(NB, 20736, Y, 1)))
    say(f"misuse {X1} 313 0")
    private(tunnel(IP(src=NB, dst=Y) / TCP(sport=22, dport=1)))
    say(f"misuse {X1} 313 0")
    say("count out.addrport_unallowed 3")

    case("other-protocol", "A-D-03, A-I-26: protocols without a field on a shared address.")
    two_hosts()
    refused(IP(src=NB, dst=Y, proto=132) / Raw(bytes(20)), "addrport_unallowed", 313)

    case("ipsec-without-bind", "S-5-08: ESP and AH need an RSIPSEC bind on that address.")
    lease(1, X1, method="rsap-ip", ports=PORTS1)
    refused(esp(5, src=NB, dst=Y), "ipsec_unallowed", 401)
    private(tunnel(ah(5, src=NB, dst=Y)))
    say(f"misuse {X1} 401 0")

    case("macro", "P-7-01, P-7.3.3-01, P-10.4-03, P-10.6-02, S-D-01: remote macro policy, out and in, ESP as well.")
    lease(1, X1, ports=PORTS1, spis=SPIS1, remote=Y)
    private(tunnel(udp(NB, 20480, Y, 99)))
    at_public(hop(udp(NB, 20480, Y, 99)))
    private(tunnel(esp(5, src=NB, dst=Y)))
    at_public(hop(esp(5, src=NB, dst=Y)))
    private(tunnel(udp(NB, 20480, Z, 99)))
    say(f"misuse {X1} 314 1")
    private(tunnel(esp(5, src=NB, dst=Z)))
    say(f"misuse {X1} 314 1")
    say("count out.remote_unallowed 2")
    public(udp(Y, 1, NB, 20480))
    at_private(outer(hop(udp(Y, 1, NB, 20480)), 1))
    public(udp(Z, 99, NB, 20480))
    public(esp(SPI1, src=Z))
    say("count in.ingress_policy 2")

    case("micro", "P-7-01, P-7.3.3-01, P-10.4-04, P-7.2-03, S-D-02, S-D-03: ports where they show, not under ESP.")
    lease(1, X1, ports=PORTS1, spis=SPIS1, remote=Y + ":80")
    private(tunnel(udp(NB, 20480, Y, 80)))
    at_public(hop(udp(NB, 20480, Y, 80)))
    private(tunnel(udp(NB, 20480, Y, 81)))
    say(f"misuse {X1} 315 1")
    private(tunnel(udp(NB, 20480, Z, 80)))
    say(f"misuse {X1} 314 1")
    private(tunnel(esp(5, src=NB, dst=Y)))
    at_public(hop(esp(5, src=NB, dst=Y)))
    good = ah(5, src=NB, dst=Y, inner=bytes(UDP(sport=20480, dport=80) / b"x"))
    bad = ah(6, src=NB, dst=Y, inner=bytes(UDP(sport=20480, dport=81) / b"x"))
    private(tunnel(good))
    at_public(hop(good))
    private(tunnel(bad))
    say(f"misuse {X1} 315 1")
    say("count out.remoteport_unallowed 2")
    public(udp(Y, 81, NB, 20480))
    public(ah(SPI1, inner=bytes(UDP(sport=81, dport=1) / b"x")))
    say("count in.ingress_policy 2")
    for i, p in enumerate((udp(Y, 80, NB, 20480), esp(SPI1),
            ah(SPI1, inner=bytes(UDP(sport=80, dport=1) / b"x"))), 1):
        public(p)
        at_private(outer(hop(p), i))

    case("no-policy", "P-7.2-04: without a remote policy any remote is allowed, both ways.")
    two_hosts()
    n = 0
    for remote in (Y, Z, ROUTER):
        for packet in (udp(NB, 20480, remote, 99), esp(5, src=NB, dst=remote)):
            private(tunnel(packet))
            at_public(hop(packet))
        for packet in (udp(remote, 99, NB, 20480), esp(SPI1, src=remote)):
            n += 1
            public(packet)
            at_private(outer(hop(packet), n))

    case("name", "P-7.2-05: a name with several addresses under macro and micro policy, out and in.")
    lease(1, X1, ports=PORTS1, spis=SPIS1, remote=f"{Y},{Z}")
    for dst in (Y, Z):
        private(tunnel(udp(NB, 20480, dst, 99)))
        at_public(hop(udp(NB, 20480, dst, 99)))
        private(tunnel(esp(5, src=NB, dst=dst)))
        at_public(hop(esp(5, src=NB, dst=dst)))
    private(tunnel(udp(NB, 20480, ROUTER, 99)))
    say(f"misuse {X1} 314 1")
    for i, src in enumerate((Y, Z), 1):
        public(udp(src, 1, NB, 20480))
        at_private(outer(hop(udp(src, 1, NB, 20480)), i))
    public(udp(ROUTER, 1, NB, 20480))
    say("count in.ingress_policy 1")
    lease(1, X1, ports=PORTS1, spis=SPIS1, remote=f"{Y}:80,{Z}")
    private(tunnel(udp(NB, 20480, Z, 80)))
    at_public(hop(udp(NB, 20480, Z, 80)))
    private(tunnel(udp(NB, 20480, Z, 81)))
    say(f"misuse {X1} 315 1")

    case("several-binds", "A-D-03: allowed if any bind allows it.")
    lease(1, X1, spis=SPIS1, remote=Y)
    lease(2, X1, spis=SPIS2, remote=Z)
    for dst in (Y, Z):
        private(tunnel(esp(5, src=NB, dst=dst)))
        at_public(hop(esp(5, src=NB, dst=dst)))
    private(tunnel(esp(5, src=NB, dst=ROUTER)))
    say(f"misuse {X1} 314 1")

    case("shared-port", "A-D-03: LISTEN shares a port with the host's own lease; one that allows suffices.")
    lease(1, X1, method="rsap-ip", ports=PORTS1, remote=Y)
    lease(2, X1, method="listen", ports="20480", remote=Z, tunnel="gre")
    private(tunnel(udp(NB, 20480, Y, 1)))
    at_public(hop(udp(NB, 20480, Y, 1)))
    private(tunnel(udp(NB, 20480, Z, 1), kind="gre"))
    at_public(hop(udp(NB, 20480, Z, 1)))
    private(tunnel(udp(NB, 20480, Z, 1)))
    say(f"misuse {X1} 314 1")
    private(tunnel(udp(NB, 20481, Z, 1), kind="gre"))
    say(f"misuse {X1} 307 1")
    public(udp(Y, 1, NB, 20480))
    at_private(outer(hop(udp(Y, 1, NB, 20480)), 1))
    public(udp(Z, 1, NB, 20480))
    at_private(outer(hop(udp(Z, 1, NB, 20480)), 2, kind="gre"))
    public(udp(ROUTER, 1, NB, 20480))
    say("count in.ingress_policy 1")

    case("hairpin-echo", "A host that asks a pool address is answered through its tunnel.")
    two_hosts()
    q = IP(src=NB, dst=NB2, id=1) / ICMP(type=8, id=5, seq=6) / Raw(b"abc")
    private(tunnel(q))
    at_private(outer(IP(src=NB2, dst=NB, id=1, ttl=64) / ICMP(type=0, id=5, seq=6) / Raw(b"abc"), 2, df=False))
    say("count in.icmp_request 1")

    case("inner-martian", "An inner packet that is none.")
    two_hosts()
    private(IP(src=X1, dst=NA, proto=4) / Raw(b"not an IP packet at all.."))
    private(tunnel(udp(NB, 20480, "224.0.0.5", 1)))
    say("count out.martian 2")

    case("hairpin", "F-6.7-01: to a tuple of another host, looped with all checks.")
    two_hosts()
    packet = udp(NB, 20480, NB, 20736)
    private(tunnel(packet))
    at_private(outer(hop(hop(packet)), 1, X2))
    say("count out.forward 1")
    say("count in.forward 1")
    private(tunnel(udp(NB, 20480, NB, 9999)))
    say("count in.no_bind 1")

    case("ds-field", "F-5.3.1-05, F-5.3.1-07: DSCP copied in and out, ECN as RFC 6040 says.")
    two_hosts()
    table = [(0x28, 0x28, 0x28), (0xB8, 0x00, 0xB8), (0x00, 0x28, 0x00), (0x02, 0x02, 0x02),
        (0x01, 0x02, 0x01), (0x03, 0x02, 0x03), (0x03, 0x01, 0x03), (0x02, 0x01, 0x01),
        (0x02, 0x03, 0x03), (0x00, 0x02, 0x02), (0x02, 0x00, 0x00)]
    for out_tos, in_tos, result in table:
        packet = udp(NB, 20480, Y, 1, tos=in_tos)
        private(tunnel(packet, tos=out_tos))
        at_public(hop(packet, tos=result))
    say("# a congestion mark on what can't carry it")
    private(tunnel(udp(NB, 20480, Y, 1), tos=3))
    say("count out.martian 1")
    public(udp(Y, 1, NB, 20480, tos=0xBB))
    at_private(outer(hop(udp(Y, 1, NB, 20480, tos=0xBB)), 1))


def ike_rows():
    file("ike", "IKE on the shared ports 500 and 4500.")
    one, two, new = 0x1111111100000001, 0x2222222200000002, 0x3333333300000003

    def claim(cookie, host, **kw):
        private(tunnel(ike(cookie, **kw), host))
        at_public(hop(ike(cookie, **kw)))

    case("two-hosts", "S-4-02, S-4-03, S-6.1-03, S-6.1-04: both on port 500, told apart by cookie.")
    two_hosts()
    claim(one, X1)
    claim(two, X2)
    say("count halfopen 2")
    for i, (cookie, host) in enumerate(((two, X2), (one, X1)), 1):
        p = ike(cookie, src=Y, dst=NB, responder=0x9900000000000000)
        public(p)
        at_private(outer(hop(p), i, host))
    say("count halfopen 0")
    say("count answered 2")
    say("# any source port of the peer will do (A-I-13)")
    p = ike(one, src=Y, dst=NB, sport=1024)
    public(p)
    at_private(outer(hop(p), 3))

    case("in-use", "S-6.1-05, S-6.1-07, F-5.1-02: a cookie belongs to the first; it may repeat.")
    two_hosts()
    claim(one, X1)
    private(tunnel(ike(one), X2))
    private(tunnel(ike(one, dst=Z), X2))
    say("count out.cookie_inuse 2")
    claim(one, X1)
    p = ike(one, src=Y, dst=NB)
    public(p)
    at_private(outer(hop(p), 1, X1))

    case("per-address", "S-6.1-14: each public address has its own cookies.")
    lease(1, X1, NB, spis=SPIS1)
    lease(2, X2, NB2, spis=SPIS1)
    claim(one, X1)
    claim(one, X2, src=NB2)

    case("stranger", "S-6.1-04, S-E-01: unknown cookies and other peers get nothing in.")
    two_hosts()
    claim(one, X1)
    lost(ike(one, src=Z, dst=NB), "no_cookie")
    public(ike(two, src=Y, dst=NB))
    say("count in.no_cookie 2")
    say("count halfopen 1")

    case("second-peer", "A-I-13: the same cookie to another peer adds that peer.")
    two_hosts()
    claim(one, X1)
    claim(one, X1, dst=Z)
    for i, src in enumerate((Y, Z), 1):
        public(ike(one, src=src, dst=NB))
        at_private(outer(hop(ike(one, src=src, dst=NB)), i))

    case("aging", "S-6.1-08: half-open 120 s after the last packet, answered as long as the bind.")
    two_hosts()
    claim(one, X1)
    claim(two, X2)
    public(ike(two, src=Y, dst=NB))
    at_private(outer(hop(ike(two, src=Y, dst=NB)), 1, X2))
    say("time 119000")
    claim(one, X1)
    say("time 119000")
    public(ike(one, src=Y, dst=NB, dport=500))
    at_private(outer(hop(ike(one, src=Y, dst=NB)), 2, X1))
    claim(new, X1)
    say("count halfopen 1")
    say("time 121000")
    say("count halfopen 0")
    say("count answered 2")
    lost(ike(new, src=Y, dst=NB), "no_cookie")
    say("remove 1")
    say("count answered 1")
    public(ike(one, src=Y, dst=NB))
    say("count in.no_cookie 2")

    case("free-again", "S-6.1-08: what aged away another host may have.")
    two_hosts()
    claim(one, X1)
    say("time 121000")
    claim(one, X2)
    public(ike(one, src=Y, dst=NB))
    at_private(outer(hop(ike(one, src=Y, dst=NB)), 1, X2))

    case("at-most-64", "S-6.1-08: 64 cookies a bind, the oldest half-open one goes.")
    two_hosts()
    claim(one, X1)
    public(ike(one, src=Y, dst=NB))
    at_private(outer(hop(ike(one, src=Y, dst=NB)), 1, X1))
    for i in range(64):
        claim(0x4000000000000000 + i, X1)
    say("count answered 1")
    say("count halfopen 63")
    public(ike(0x4000000000000000, src=Y, dst=NB))
    say("count in.no_cookie 1")
    public(ike(0x4000000000000001, src=Y, dst=NB))
    at_private(outer(hop(ike(0x4000000000000001, src=Y, dst=NB)), 2, X1))

    case("short", "S-6.1-10: under 28 bytes or cookie zero, both ways.")
    two_hosts()
    for body in (b"", b"x", bytes([1]) * 27, bytes(28)):
        p = IP(src=NB, dst=Y) / UDP(sport=500, dport=500) / Raw(body)
        private(tunnel(p))
        public(IP(src=Y, dst=NB) / UDP(sport=500, dport=500) / Raw(body))
    say("count out.ike_short 4")
    say("count in.ike_short 4")

    case("needs-rsipsec", "S-6.1-09: source port 500 needs an RSIPSEC bind.")
    lease(1, X1, method="rsap-ip", ports=PORTS1)
    refused(ike(one), "addrport_unallowed", 313)

    case("macro", "S-6.1-09: remote policy holds for IKE, by address.")
    lease(1, X1, spis=SPIS1, remote=Y + ":80")
    claim(one, X1)
    private(tunnel(ike(two, dst=Z)))
    say(f"misuse {X1} 314 1")
    public(ike(one, src=Y, dst=NB))
    at_private(outer(hop(ike(one, src=Y, dst=NB)), 1))

    case("ephemeral", "S-6.1-01, S-E-02: IKE on a leased port goes by the port alone.")
    two_hosts()
    p = ike(one, sport=20480)
    private(tunnel(p))
    at_public(hop(p))
    p = ike(new, src=Y, dst=NB, dport=20480)
    public(p)
    at_private(outer(hop(p), 1))
    say("count halfopen 0")

    case("rekeyed-by-host", "S-E-04: the new cookie is learnt while the old one stays.")
    two_hosts()
    claim(one, X1)
    claim(new, X1)
    for i, c in enumerate((one, new), 1):
        public(ike(c, src=Y, dst=NB))
        at_private(outer(hop(ike(c, src=Y, dst=NB)), i))

    case("rekeyed-by-host-peer-first", """S-E-04: the peer speaks first under an IKE SA that the host rekeyed; the new cookie
begins with an SPI of the host and was never seen in the clear.""")
    two_hosts()
    claim(one, X1)
    p = ike((SPI1 + 3) << 32 | 0xABCD, src=Y, dst=NB, responder=new)
    public(p)
    at_private(outer(hop(p), 1))
    say("# not a new session, not from another peer, not for a host without IKE")
    public(ike((SPI1 + 3) << 32 | 0xABCD, src=Y, dst=NB, responder=0))
    public(ike((SPI1 + 3) << 32 | 0xABCD, src=Z, dst=NB, responder=new))
    public(ike(SPI2 << 32, src=Y, dst=NB, responder=new))
    say("count in.no_cookie 3")

    case("rekeyed-by-peer", """S-6.1-12: the peer's cookie stands first after it rekeyed; the host's own is then
the responder's: one it used, or one that begins with an SPI it holds.""")
    two_hosts()
    claim(one, X1)
    p = ike(new, src=Y, dst=NB, responder=one)
    public(p)
    at_private(outer(hop(p), 1))
    p = ike(new, src=Y, dst=NB, responder=(SPI1 + 3) << 32 | 0xABCD)
    public(p)
    at_private(outer(hop(p), 2))
    say("# not from a peer that this host has no IKE with, and not for a host without")
    public(ike(new, src=Z, dst=NB, responder=(SPI1 + 3) << 32))
    public(ike(new, src=Z, dst=NB, responder=one))
    public(ike(new, src=Y, dst=NB, responder=SPI2 << 32))
    public(ike(new, src=Y, dst=NB, responder=0))
    say("count in.no_cookie 4")
    say("# and never learned from outside: only the host's own packet makes it known")
    public(ike(new, src=Y, dst=NB))
    say("count in.no_cookie 5")
    claim(new, X1, responder=(SPI1 + 3) << 32)
    public(ike(new, src=Y, dst=NB))
    at_private(outer(hop(ike(new, src=Y, dst=NB)), 3))

    case("begun-by-peer", "S-E-01: phase 1 anew by the peer, a cookie that nobody knows: dropped.")
    two_hosts()
    claim(one, X1)
    public(ike(new, src=Y, dst=NB))
    say("count in.no_cookie 1")

    case("begun-by-peer-only-host", """S-E-01: with ike-from-peer = only-host it goes to the host that talks with the peer,
if one does; that host's answer makes the cookie known.""")
    say("only-host")
    two_hosts()
    claim(one, X1)
    say("# from the peer, and not from another; of every later message only by its cookie")
    public(ike(new, src=Y, dst=NB))
    at_private(outer(hop(ike(new, src=Y, dst=NB)), 1))
    public(ike(new, src=Z, dst=NB))
    public(ike(new, src=Y, dst=NB, responder=0x77))
    say("count in.no_cookie 2")
    claim(new, X1, responder=0x77)
    p = ike(new, src=Y, dst=NB, responder=0x77)
    public(p)
    at_private(outer(hop(p), 2))
    say("# two hosts: nobody's, until one of them ends")
    claim(two, X2)
    public(ike(0x99, src=Y, dst=NB))
    say("count in.no_cookie 3")
    say("remove 1")
    public(ike(0x99, src=Y, dst=NB))
    at_private(outer(hop(ike(0x99, src=Y, dst=NB)), 3, X2))

    case("begun-by-peer-macro", "S-E-01, S-D-01: nor to a host whose policy does not allow the peer any more.")
    say("only-host")
    lease(1, X1, spis=SPIS1, remote=Y)
    claim(one, X1)
    lease(1, X1, spis=SPIS1, remote=Z)
    public(ike(new, src=Y, dst=NB))
    say("count in.ingress_policy 1")

    def opening(cookie, names=(), exchange=4, version=0x10, flags=0, src=Y, **kw):
        """A first message of IKEv1, with ID payloads (type, data) behind SA."""
        chain, body = [1] + [5] * len(names) + [0], b""
        parts = [b"sasa"] + [bytes([kind, 17, 1, 244]) + data for kind, data in names]
        for after, part in zip(chain[1:], parts):
            body += bytes([after, 0]) + (4 + len(part)).to_bytes(2, "big") + part
        head = cookie.to_bytes(8, "big") + bytes(8) + bytes([chain[0], version, exchange, flags])
        head += bytes(4) + (28 + len(body)).to_bytes(4, "big")
        return udp(src, 500, NB, 500, body=head + body, **kw)

    def opened(packet, number, host):
        public(packet)
        at_private(outer(hop(packet), number, host))

    def listeners():
        lease(3, X1, method="listen-ike", remote=(b"\2" + b"Peer.example").hex())
        lease(4, X2, method="listen-ike", remote=(b"\1" + bytes([198, 51, 100, 2])).hex())

    case("listen-ike", """S-G-05, S-G-06: aggressive mode with the identity in the clear goes to the host that
listens for it, wherever the peer is; the cookie is known from then on.""")
    listeners()
    opened(opening(0x51, [(2, b"pEER.example")]), 1, X1)
    opened(opening(0x52, [(1, bytes([198, 51, 100, 2]))]), 2, X2)
    opened(opening(0x53, [(2, b"peer.example")], src=Z), 3, X1)
    say("count halfopen 3")
    say("# what the peer repeats makes nothing last; the host's answer does")
    opened(opening(0x51, [(2, b"peer.example")]), 4, X1)
    say("count answered 0")
    claim(0x51, X1, responder=0x77)
    opened(ike(0x51, src=Y, dst=NB, responder=0x77), 5, X1)
    say("count answered 1")
    say("remove 3")
    say("count answered 0")
    public(opening(0x55, [(2, b"peer.example")]))
    say("count in.no_cookie 1")

    case("listen-ike-not", """S-G-05: main mode, encrypted payloads, other identities, other versions and broken
payloads match no listener but one for any peer.""")
    listeners()
    odd = [opening(0x61, exchange=2), opening(0x62, [(2, b"peer.example")], flags=1),
        opening(0x63, [(3, b"peer.example")]), opening(0x64, [(2, b"peer.exampl")]),
        opening(0x65, [(2, b"peer.example2")]), opening(0x66, [(2, b"")]), opening(0x67),
        opening(0x68, [(2, b"peer.example")], version=0x20, exchange=34), ike(0x69, src=Y, dst=NB),
        udp(Y, 500, NB, 500, body=bytes(opening(0x6a, [(2, b"peer.example")]))[28:-1]),
        udp(Y, 500, NB, 500, body=bytes(opening(0x6b, [(2, b"x")] * 90))[28:58] + b"\0\3" * 90)]
    for packet in odd:
        public(packet)
    say(f"count in.no_cookie {len(odd)}")
    lease(5, X2, method="listen-ike", remote="00")
    for i, packet in enumerate(odd):
        opened(packet, i + 1, X2)

    case("listen-ike-longest", "S-G-04: identities as long as they can be, and one byte longer.")
    lease(3, X1, method="listen-ike", remote=(b"\x0b" + bytes(255)).hex())
    opened(opening(0x71, [(11, bytes(255))]), 1, X1)
    public(opening(0x72, [(11, bytes(256))]))
    say("count in.no_cookie 1")

    case("exclusive-500", """S-G-03: who leases port 500 gets the IKE that is nobody's; cookies of others still work,
and a listener for the peer comes first.""")
    two_hosts()
    lease(3, X2, method="rsap-ip", ports="500")
    claim(one, X1)
    opened(ike(one, src=Y, dst=NB), 1, X1)
    opened(ike(new, src=Y, dst=NB), 2, X2)
    opened(ike(new, src=Z, dst=NB, responder=0x99), 3, X2)
    out = ike(new, responder=0x99)
    private(tunnel(out, X2))
    at_public(hop(out))
    lease(4, X1, method="listen-ike", remote=(b"\2" + b"peer.example").hex())
    lease(5, X1, method="listen-ike", remote="00")
    opened(opening(0x81, [(2, b"peer.example")]), 4, X1)
    opened(opening(0x82, [(2, b"other.example")]), 5, X2)
    say("# port 500 is IKE's, that is UDP's")
    lost(IP(src=Y, dst=NB, id=7) / TCP(sport=7777, dport=500), "no_bind")
    private(tunnel(IP(src=NB, dst=Y, id=7) / TCP(sport=500, dport=7777), X2))
    say(f"misuse {X2} 313 0")
    say("count out.addrport_unallowed 1")

    case("listen-ike-answers", "S-G-07: its own IKE from port 500 needs no other bind; ESP does.")
    lease(3, X1, method="listen-ike", remote="00")
    claim(0x91, X1)
    private(tunnel(esp(0x1234, NB, Y)))
    say(f"misuse {X1} 401 0")
    say("count out.ipsec_unallowed 1")

    case("full", """S-6.1-08: a full table refuses new cookies, of whoever, and forgets none that lives;
what is past its time makes room.""")
    say("ike-mappings 2")
    two_hosts()
    claim(one, X1)
    claim(two, X2)
    private(tunnel(ike(new), X1))
    private(tunnel(ike(new), X2))
    say("count out.cookie_full 2")
    for i, (cookie, host) in enumerate(((one, X1), (two, X2))):
        public(ike(cookie, src=Y, dst=NB))
        at_private(outer(hop(ike(cookie, src=Y, dst=NB)), i + 1, host))
    say("remove 2")
    claim(new, X1)

    case("moves-with-bind", "A-I-13: through another bind of the same host the entry moves.")
    lease(1, X1, spis=SPIS1, remote=Y)
    lease(2, X1, spis=SPIS2, remote=Z)
    claim(one, X1)
    claim(one, X1, dst=Z)
    say("remove 1")
    public(ike(one, src=Z, dst=NB))
    at_private(outer(hop(ike(one, src=Z, dst=NB)), 1))

    case("natt", "S-6.1-13: port 4500: marker and cookie, else ESP by SPI, keepalives dropped.")
    two_hosts()
    marker = bytes(4)
    claim(one, X1, sport=4500, dport=4500, marker=marker)
    p = ike(one, src=Y, dst=NB, sport=4500, dport=4500, marker=marker)
    public(p)
    at_private(outer(hop(p), 1))
    say("# one table for both ports")
    public(ike(one, src=Y, dst=NB))
    at_private(outer(hop(ike(one, src=Y, dst=NB)), 2))
    p = udp(Y, 4500, NB, 4500, body=(SPI2 + 9).to_bytes(4, "big") + bytes(20))
    public(p)
    at_private(outer(hop(p), 3, X2))
    out = udp(NB, 4500, Y, 4500, body=b"\0\0\0\7" + bytes(20))
    private(tunnel(out, X2))
    at_public(hop(out))
    lost(udp(Y, 4500, NB, 4500, body=b"\xff"), "ike_short")
    lost(udp(Y, 4500, NB, 4500, body=b"\0\0\0\x2a" + bytes(20)), "no_spi")
    private(tunnel(out, X1))
    at_public(hop(out))

    case("natt-needs-rsipsec", "S-6.1-13: source port 4500 needs an RSIPSEC bind.")
    lease(1, X1, method="rsap-ip", ports=PORTS1)
    refused(udp(NB, 4500, Y, 4500, body=bytes(40)), "addrport_unallowed", 313)

    case("fragmented", "S-6.1-11: the cookie is read from the whole message.")
    two_hosts()
    claim(one, X1)
    p = ike(one, src=Y, dst=NB, body=b"certificate" * 40)
    parts = fragment(IP(bytes(p)), 200)
    for part in reversed(parts):
        public(part)
    whole = hop(p)
    say("count reassembled 1")
    at_private(outer(whole, 1, df=False))


def icmp_rows():
    file("icmp", "ICMP: answered, routed by what it quotes, made by the gateway itself.")
    case("request-in", "F-6.2-04, F-6.2-05: the gateway answers echo and forwards no request.")
    two_hosts()
    lease(4, X2, WHOLE, "rsa-ip")
    n = 0
    for address in (NB, WHOLE):
        n += 1
        public(IP(src=Y, dst=address, id=8) / ICMP(type=8, id=7, seq=1) / Raw(b"payload"))
        at_public(IP(src=address, dst=Y, id=n, ttl=64) / ICMP(type=0, id=7, seq=1) /
            Raw(b"payload"))
    public(IP(src=Y, dst=NB) / ICMP(type=13, id=7, seq=1, ts_ori=1, ts_rx=0, ts_tx=0) / Raw(bytes(12)))
    public(IP(src=Y, dst=NB) / ICMP(type=17, id=7, seq=1) / Raw(bytes(4)))
    say("count in.icmp_request 4")
    say("count icmp 2")

    case("query-out", "F-6.2-01: the reply goes to the host that asked.")
    two_hosts()
    for host, ident in ((X1, 11), (X2, 12)):
        q = IP(src=NB, dst=Y, id=1) / ICMP(type=8, id=ident, seq=3) / Raw(b"abc")
        private(tunnel(q, host))
        at_public(hop(q))
    for i, (host, ident) in enumerate(((X2, 12), (X1, 11)), 1):
        r = IP(src=Y, dst=NB, id=2) / ICMP(type=0, id=ident, seq=3) / Raw(b"abc")
        public(r)
        at_private(outer(hop(r), i, host))
    say("# another peer, another sequence, a reply to nothing")
    public(IP(src=Z, dst=NB) / ICMP(type=0, id=11, seq=3))
    public(IP(src=Y, dst=NB) / ICMP(type=0, id=11, seq=4))
    public(IP(src=Y, dst=NB) / ICMP(type=14, id=11, seq=3, ts_ori=1, ts_rx=2, ts_tx=3) / Raw(bytes(12)))
    say("count in.icmp_unmatched 3")

    case("query-taken", "A-D-06: the same query of another host is dropped while the first is live.")
    two_hosts()
    q = IP(src=NB, dst=Y, id=1) / ICMP(type=8, id=11, seq=3)
    private(tunnel(q, X1))
    at_public(hop(q))
    private(tunnel(q, X2))
    say("count out.icmp_unmatched 1")
    say("time 61000")
    private(tunnel(q, X2))
    at_public(hop(q))
    r = IP(src=Y, dst=NB, id=2) / ICMP(type=0, id=11, seq=3)
    public(r)
    at_private(outer(hop(r), 1, X2))

    case("query-policy", "Remote policy holds for queries.")
    lease(1, X1, ports=PORTS1, remote=Y)
    private(tunnel(IP(src=NB, dst=Z) / ICMP(type=8, id=1, seq=1)))
    say(f"misuse {X1} 314 1")

    case("no-reply-out", "A host answers no request, it gets none.")
    two_hosts()
    refused(IP(src=NB, dst=Y) / ICMP(type=0, id=1, seq=1), "addrport_unallowed", 313)

    case("error-ports", "F-6.2-02: by the quoted port; eight quoted bytes suffice.")
    two_hosts()
    for i, (host, port, keep) in enumerate(((X1, 20480, 28), (X2, 20736, None)), 1):
        e = icmp_error(udp(NB, port, Y, 9), keep=keep)
        public(e)
        at_private(outer(hop(e), i, host))

    case("error-esp", "S-5-12, S-5-13: by the peer's SPI, learned from what the host sent.")
    two_hosts()
    for host, spi in ((X1, 0xA1), (X2, 0xA2)):
        private(tunnel(esp(spi, src=NB, dst=Y), host))
        at_public(hop(esp(spi, src=NB, dst=Y)))
    private(tunnel(ah(0xA1, src=NB, dst=Y), X2))
    at_public(hop(ah(0xA1, src=NB, dst=Y)))
    n = 0
    for host, packet in ((X2, esp(0xA2, src=NB, dst=Y)), (X1, esp(0xA1, src=NB, dst=Y)),
            (X2, ah(0xA1, src=NB, dst=Y))):
        n += 1
        e = icmp_error(packet, 3, 4, mtu=1400, keep=28)
        public(e)
        at_private(outer(hop(e), n, host))
    say("# an SPI never seen, and two hosts that talk with this peer: nobody's")
    public(icmp_error(esp(0xA3, src=NB, dst=Y), keep=28))
    say("# an assigned SPI is not what it quotes")
    public(icmp_error(esp(SPI1, src=NB, dst=Y), keep=28))
    say("count in.icmp_unmatched 2")

    case("error-esp-only-host", "A-I-22: an unknown SPI goes to the only host with that peer.")
    two_hosts()
    private(tunnel(esp(0xA1, src=NB, dst=Y), X1))
    at_public(hop(esp(0xA1, src=NB, dst=Y)))
    e = icmp_error(esp(0xA9, src=NB, dst=Y), keep=28)
    public(e)
    at_private(outer(hop(e), 1, X1))
    public(icmp_error(esp(0xA9, src=NB, dst=Z), keep=28))
    say("count in.icmp_unmatched 1")
    private(tunnel(esp(0xA2, src=NB, dst=Y), X2))
    at_public(hop(esp(0xA2, src=NB, dst=Y)))
    public(e)
    say("count in.icmp_unmatched 2")
    say("remove 2")
    public(e)
    at_private(outer(hop(e), 2, X1))

    case("error-ike", "A-I-23: by the quoted cookie, else the only host with that peer.")
    two_hosts()
    one, two = 0x1111111100000001, 0x2222222200000002
    for host, cookie, dst in ((X1, one, Y), (X2, two, Y), (X2, two, Z)):
        private(tunnel(ike(cookie, dst=dst), host))
        at_public(hop(ike(cookie, dst=dst)))
    e = icmp_error(ike(two), keep=36)
    public(e)
    at_private(outer(hop(e), 1, X2))
    e = icmp_error(ike(two, dst=Z), keep=28)
    public(e)
    at_private(outer(hop(e), 2, X2))
    public(icmp_error(ike(two), keep=28))
    say("count in.icmp_unmatched 1")

    case("error-natt", "ESP in UDP on the shared port 4500: by the peer's SPI, learned on the way out.")
    two_hosts()

    def natt(spi, src=NB, dst=Y):
        return udp(src, 4500, dst, 4500, body=spi.to_bytes(4, "big") + b"opaque bytes....")

    for host, spi in ((X1, 0xA1), (X2, 0xA2)):
        for _ in range(2):
            private(tunnel(natt(spi), host))
            at_public(hop(natt(spi)))
    n = 0
    for host, spi in ((X2, 0xA2), (X1, 0xA1)):
        n += 1
        e = icmp_error(natt(spi), keep=40)
        public(e)
        at_private(outer(hop(e), n, host))
    public(icmp_error(natt(0xA3), keep=40))
    say("count in.icmp_unmatched 1")

    case("error-query", "F-6.2-02: by the quoted identifier.")
    two_hosts()
    q = IP(src=NB, dst=Y, id=1) / ICMP(type=8, id=11, seq=3)
    private(tunnel(q, X2))
    at_public(hop(q))
    e = icmp_error(hop(q), 11, 0)
    public(e)
    at_private(outer(hop(e), 1, X2))

    case("error-whole", "F-6.2-02: RSA-IP by the quoted source.")
    lease(4, X2, WHOLE, "rsa-ip")
    e = icmp_error(IP(src=WHOLE, dst=Y, proto=132) / Raw(bytes(20)), 3, 2)
    public(e)
    at_private(outer(hop(e), 1, X2))

    case("error-unmatched", "F-6.2-03: quoted fields absent, foreign or cut are discarded.")
    two_hosts()
    lease(4, X2, WHOLE, "rsa-ip")
    public(icmp_error(udp(NB, 9, Y, 9)))
    public(icmp_error(udp(NB, 20480, Y, 9), keep=20))
    public(icmp_error(udp(NB, 20480, Y, 9), keep=27))
    e = icmp_error(udp(Z, 20480, Y, 9))
    e.dst = NB
    public(e)
    e.dst = WHOLE
    public(e)
    public(IP(src=ROUTER, dst=NB) / ICMP(type=5, code=1) / Raw(bytes(udp(NB, 20480, Y, 9))))
    say("count in.icmp_unmatched 6")

    case("error-passes-policy", "An error comes from any router: remote policy does not stop it.")
    lease(1, X1, ports=PORTS1, remote=Y)
    e = icmp_error(udp(NB, 20480, Y, 9))
    public(e)
    at_private(outer(hop(e), 1))

    case("error-out", "F-6.2-06: a host's own errors, about packets to what it holds.")
    two_hosts()
    good = icmp_error(udp(Y, 9, NB, 20480), 3, 3, src=NB)
    private(tunnel(good))
    at_public(hop(good))
    good = icmp_error(esp(SPI1 + 1), 3, 2, src=NB, keep=28)
    private(tunnel(good))
    at_public(hop(good))
    private(tunnel(icmp_error(udp(Y, 9, NB, 20736), 3, 3, src=NB)))
    say(f"misuse {X1} 313 0")
    e = icmp_error(udp(Y, 9, NB, 20480), 3, 3, src=NB)
    e.dst = Z
    private(tunnel(e))
    say(f"misuse {X1} 313 0")
    say("count out.addrport_unallowed 2")

    case("ttl-in", "F-2-14: the last hop is answered by time exceeded.")
    two_hosts()
    p = esp(SPI1, ttl=1)
    public(p)
    at_public(gateways_error(p, 11, 0, NB))
    say("count in.ttl 1")
    p = udp(Y, 1, NB, 20480, ttl=2)
    public(p)
    at_private(outer(hop(p), 1))

    case("ttl-out", "A traceroute of a host: the answer comes through its tunnel.")
    two_hosts()
    p = udp(NB, 20480, Y, 33434, ttl=1)
    private(tunnel(p))
    at_private(outer(gateways_error(p, 11, 0, NA), 1, df=False))
    say("count out.ttl 1")

    case("no-error-about-error", "RFC 1812 4.3.2.7: no ICMP error about an ICMP error.")
    two_hosts()
    e = icmp_error(udp(NB, 20480, Y, 9))
    e.ttl = 1
    public(e)
    say("count in.ttl 1")
    say("count icmp 0")


def size_rows():
    file("mtu", "Packets that do not fit, and fragments.")
    big = b"0123456789abcdef" * 90

    case("df-in", "F-6.3-03: DF and too large: fragmentation needed with the inner MTU.")
    two_hosts()
    lease(3, X1, NB2, tunnel="gre", spis=SPIS1)
    p = esp(SPI1, body=big + b"x" * 24, flags="DF")
    public(p)
    at_public(gateways_error(p, 3, 4, NB, mtu=1480))
    p = esp(SPI1, dst=NB2, body=big + b"x" * 9, flags="DF")
    public(p)
    at_public(gateways_error(p, 3, 4, NB2, mtu=1476))
    say("count in.too_big 2")
    say("# exactly fitting")
    p = esp(SPI1, body=big + b"x" * 12, flags="DF")
    assert len(p) == 1480
    public(p)
    at_private(outer(hop(p), 1))
    p = esp(SPI1, dst=NB2, body=big + b"x" * 8, flags="DF")
    assert len(p) == 1476
    public(p)
    at_private(outer(hop(p), 2, kind="gre"))

    case("split-in", "F-6.3-03, A-D-04: without DF the outer packet is fragmented, the inner is whole.")
    two_hosts()
    p = esp(SPI1, body=big + b"x" * 24)
    public(p)
    whole = bytes(outer(hop(p), 1))
    head = IP(whole)
    a, b = IP(src=NA, dst=X1, id=1, ttl=64, proto=4, flags="MF"), IP(src=NA, dst=X1, id=1,
        ttl=64, proto=4, frag=1480 // 8)
    assert head.len == 1512
    at_private(a / Raw(whole[20:1500]))
    at_private(b / Raw(whole[1500:]))
    say("count in.forward 1")

    case("split-out", "A host's packet larger than the public link: fragments, or told by ICMP.")
    two_hosts()
    say("mtu public 1000")
    p = udp(NB, 20480, Y, 9, body=big)
    private(tunnel(p))
    for part in fragment(hop(p), 976):
        del part.chksum
        at_public(part)
    p = udp(NB, 20480, Y, 9, body=big, flags="DF")
    private(tunnel(p))
    at_private(outer(gateways_error(p, 3, 4, NA, mtu=1000), 1, df=False))
    say("count out.too_big 1")

    def whole_esp():
        return esp(SPI1, body=bytes(range(256)) * 8)

    def parts(size=600):
        return fragment(IP(bytes(whole_esp())), size)

    def at_host_in_two(whole, ident):
        raw = bytes(outer(hop(whole), ident, df=False))
        at_private(IP(src=NA, dst=X1, id=ident, ttl=64, proto=4, flags="MF") / Raw(raw[20:1500]))
        at_private(IP(src=NA, dst=X1, id=ident, ttl=64, proto=4, frag=1480 // 8) / Raw(raw[1500:]))

    order = {"in-order": lambda f: f, "reversed": lambda f: f[::-1],
        "last-first": lambda f: f[-1:] + f[:-1], "middle-first": lambda f: f[1:2] + f[:1] + f[2:]}
    for name, arrange in order.items():
        case("fragments-" + name, "F-3.1-10, S-5-11: fragments in any order are joined before the SPI is read.")
        two_hosts()
        for part in arrange(parts()):
            public(part)
        at_host_in_two(whole_esp(), 1)
        say("count reassembled 1")
        say("count in.forward 1")

    case("fragments-of-eight", "F-3.1-10: a first fragment of 8 bytes.")
    two_hosts()
    p = IP(src=Y, dst=NB, id=0x99) / UDP(sport=1, dport=20480) / Raw(b"abcdefghijkl")
    for part in fragment(IP(bytes(p)), 8)[::-1]:
        public(part)
    at_private(outer(hop(p), 1))

    case("fragments-mixed", "Datagrams of two sources and two identifications do not mix.")
    two_hosts()
    packets = [esp(SPI1, body=b"A" * 40), esp(SPI1 + 1, src=Z, body=b"B" * 40), esp(SPI2, body=b"C" * 40)]
    packets[2].id = 0x5555
    cut = [fragment(IP(bytes(p)), 24) for p in packets]
    for piece in range(len(cut[0])):
        for c in cut:
            public(c[piece])
    for i, (p, host) in enumerate(zip(packets, (X1, X1, X2)), 1):
        at_private(outer(hop(p), i, host))

    case("fragments-overlap", "F-3.1-11: an overlap kills the whole datagram, later parts too.")
    two_hosts()
    f = parts()
    evil = IP(bytes(f[1]))
    evil.frag -= 1
    del evil.chksum
    for part in (f[0], evil, f[1], f[2], f[3]):
        public(part)
    say("count in.frag_overlap 1")
    say("count reassembled 0")

    case("fragments-twice", "F-3.1-11: the same fragment again is an overlap.")
    two_hosts()
    for part in (f[0], f[0], f[1], f[2], f[3]):
        public(part)
    say("count in.frag_overlap 1")

    case("fragments-beyond-end", "A fragment behind the last one is an overlap as well.")
    two_hosts()
    late = IP(bytes(f[-1]))
    late.frag += 200
    late.flags = "MF"
    late = late.__class__(bytes(late)[:late.ihl * 4] + bytes(64))
    late.len = 84
    del late.chksum
    for part in (f[0], f[-1], late):
        public(part)
    say("count in.frag_overlap 1")

    case("fragments-timeout", "F-3.1-11: dropped after 30 s; the sender is told if the first part came.")
    two_hosts()
    public(f[0])
    public(f[1])
    other = fragment(IP(bytes(esp(SPI1, src=Z, body=b"D" * 64))), 32)
    public(other[1])
    say("time 29000")
    say("count in.frag_timeout 0")
    say("time 2000")
    head = IP(bytes(f[0])[:28])
    at_public(IP(src=NB, dst=Y, id=0, tos=0xC0, ttl=64) / ICMP(type=11, code=1) / Raw(bytes(f[0])[:28]))
    say("count in.frag_timeout 2")
    public(f[2])
    public(f[3])
    say("count reassembled 0")

    case("fragments-bad", "Lengths that no datagram can have.")
    two_hosts()
    public(IP(src=Y, dst=NB, proto=50, flags="MF") / Raw(bytes(31)))
    public(IP(src=Y, dst=NB, proto=50, flags="MF", frag=8189) / Raw(bytes(64)))
    public(IP(src=Y, dst=NB, proto=50, frag=3))
    say("count in.martian 3")

    case("fragments-inner", "F-3.1-12: fragments inside the tunnel are joined before ports are judged.")
    two_hosts()
    p = udp(NB, 20480, Y, 9, body=b"z" * 900)
    for part in fragment(IP(bytes(p)), 400)[::-1]:
        private(tunnel(part))
    at_public(hop(p))
    for part in fragment(IP(bytes(udp(NB, 20736, Y, 9, body=b"z" * 900))), 400):
        private(tunnel(part))
    say(f"misuse {X1} 313 0")
    say("count reassembled 2")

    case("fragments-inner-of-two", "Two hosts with the same identification do not mix.")
    two_hosts()
    a = fragment(IP(bytes(udp(NB, 20480, Y, 9, body=b"a" * 60))), 40)
    b = fragment(IP(bytes(udp(NB, 20736, Y, 9, body=b"b" * 60))), 40)
    for x, y in zip(a, b):
        private(tunnel(x, X1))
        private(tunnel(y, X2))
    at_public(hop(udp(NB, 20480, Y, 9, body=b"a" * 60)))
    at_public(hop(udp(NB, 20736, Y, 9, body=b"b" * 60)))

    case("fragments-outer", "O1: a tunnel packet in fragments.")
    two_hosts()
    p = udp(NB, 20480, Y, 9, body=b"q" * 1200)
    for part in fragment(IP(bytes(tunnel(p))), 600)[::-1]:
        private(part)
    at_public(hop(p))
    say("# of a stranger: not even kept")
    for part in fragment(IP(bytes(tunnel(p, "10.0.0.99"))), 600):
        private(part)
        say("misuse 10.0.0.99 312 0")
    say(f"count out.unregistered {len(fragment(IP(bytes(tunnel(p))), 600))}")

    case("fragments-with-df", "Fragments that forbid fragmenting (as some stacks send) pass when joined.")
    two_hosts()
    p = esp(SPI1, body=b"m" * 1800, flags="DF")
    cut = fragment(IP(bytes(esp(SPI1, body=b"m" * 1800))), 1400)
    for part in cut:
        part.flags |= 2
        del part.chksum
        public(part)
    at_host_in_two(p, 1)

    case("private-error", "A-D-17: other errors about our tunnel packets reach the sender as host unreachable.")
    two_hosts()
    lease(3, X1, NB2, tunnel="gre", spis=SPIS1)
    inside = "10.0.0.2"

    def inner_error(packet, kind, code, keep, host=X1, tunnelled="ipip"):
        quote = bytes(outer(hop(packet), 1, host, tunnelled))[:keep]
        private(IP(src=inside, dst=NA) / ICMP(type=kind, code=code) / Raw(quote))
        say("kernel")

    def told(packet, keep):
        quote = bytes(hop(packet))[:keep]
        at_public(IP(src=NB if IP(quote).dst == NB else NB2, dst=Y, id=0, tos=0xC0, ttl=64) /
            ICMP(type=3, code=1) / Raw(quote))

    p = esp(SPI1, body=b"e" * 60)
    for kind, code in ((3, 0), (3, 1), (3, 2), (3, 13), (11, 0)):
        inner_error(p, kind, code, 20 + 28)
        told(p, 28)
    inner_error(udp(Y, 1, NB, 20480), 3, 1, 200)
    told(udp(Y, 1, NB, 20480), 200)
    p = esp(SPI1, dst=NB2, body=b"e" * 60)
    inner_error(p, 3, 1, 20 + 4 + 40, tunnelled="gre")
    told(p, 40)
    say("count icmp 7")
    say("# what does not say that, quotes too little, or is not of this host")
    p = esp(SPI1, body=b"e" * 60)
    for kind, code in ((3, 3), (3, 5), (11, 1), (12, 0), (5, 1)):
        inner_error(p, kind, code, 20 + 28)
    inner_error(p, 3, 1, 28)
    inner_error(p, 3, 1, 20 + 27)
    inner_error(esp(SPI2), 3, 1, 20 + 28)
    inner_error(udp(Y, 1, NB, 20736), 3, 1, 20 + 28)
    inner_error(icmp_error(udp(NB, 20480, Y, 9)), 3, 1, 200)
    inner_error(p, 3, 1, 20 + 28, host="10.0.0.99")
    say("count icmp 7")

    case("private-mtu", "A-D-17: a router inside that can't carry our tunnel packet lowers the MTU.")
    two_hosts()
    o = outer(hop(esp(SPI1, body=big[:1400])), 1)
    private(IP(src="10.0.0.2", dst=NA) / ICMP(type=3, code=4, nexthopmtu=1300) / Raw(bytes(o)[:28]))
    say("kernel")
    p = esp(SPI1, body=big[:1300], flags="DF")
    public(p)
    at_public(gateways_error(p, 3, 4, NB, mtu=1280))
    say("# only for that host, and not for ever")
    p2 = esp(SPI2, body=big[:1300], flags="DF")
    public(p2)
    at_private(outer(hop(p2), 1, X2))
    say("time 600001")
    public(p)
    at_private(outer(hop(p), 2, X1))


def main():
    for build in (demultiplexing, outbound, ike_rows, icmp_rows, size_rows):
        build()
    stale = []
    for name, text in files.items():
        path, text = HERE / f"{name}.rows", "\n".join(text) + "\n"
        if not path.exists() or path.read_text() != text:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(text)
    if stale and "--check" in sys.argv:
        print("not as make_rows.py writes them:", *stale)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
