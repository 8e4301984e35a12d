#!/usr/bin/python3
"""Two hosts with strongSwan, one public address, one peer: real IKEv2 and native ESP through rsipd.

Prints TAP; status 77 with the reason where it cannot run.  rsipd is the one of build-asan
(RSIP_ASAN_BUILD), rsip and rsip-hostd are those of build.  When something fails the logs and
captures stay in build/logs/hybrid.

Proves S-2-01, S-3-02, S-3-03, S-3-05, S-4-01, S-4-02, S-5-06, S-6.1-01, S-6.1-12, S-6.2-25,
S-A-01, S-A-02, S-E-02, S-E-04, S-E-05 with kernels and an IKE daemon that know nothing of RSIP.
"""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "netns"))
import hybrid
from hybrid import ASAN, SANITIZERS, relay, sanitized
from topo import NB, Y, Gateway, Lease

ESP, AH, UDP = 50, 51, 17


def ike_port(packet, port):
    """IKE with the peer's port 500 and the host's port that `port` accepts."""
    if packet.proto != UDP:
        return False
    ports = packet.ports if packet.src == NB else packet.ports[::-1]
    return ports[1] == 500 and port(ports[0])


def wire(tap, packets, leases, port, what, protocols):
    """Native IPsec and IKE, nothing else, and every SPI towards a host is leased."""
    ipsec = [p for p in packets if p.proto in protocols]
    for proto, name in protocols.items():
        ways = [(p.src, p.dst) for p in ipsec if p.proto == proto]
        tap.check(f"{what}: {name} from {NB} to {Y} and back ({len(ways)} packets)",
            set(ways) == {(NB, Y), (Y, NB)}, packets[:5])
    others = [p for p in packets if p not in ipsec and not ike_port(p, port) and not fragment(p)]
    tap.check(f"{what}: nothing but {', '.join(protocols.values())} and IKE before the peer; "
        "no UDP 4500", not others, others[:5])
    private = [p for p in packets if p.src.startswith("10.") or p.dst.startswith("10.")]
    tap.check(f"{what}: no private address before the peer", not private, private[:5])
    for name, lease in leases.items():
        own = {p.spi for p in ipsec if p.src == Y and not fragment(p) and lease.has_spi(p.spi)}
        tap.check(f"{what}: {name} is reached by {len(own)} SPIs of its block", own)
    stray = {hex(p.spi) for p in ipsec if p.src == Y and not fragment(p)
        and not any(l.has_spi(p.spi) for l in leases.values())}
    tap.check(f"{what}: no SPI towards {NB} outside the leased blocks", not stray, stray)


def fragment(p):
    """A fragment but the first carries no header of its protocol."""
    return int.from_bytes(p.data[6:8], "big") & 0x1FFF


def scenario(run, tap):
    hybrid.topology(run.net)
    run.gateway = Gateway(run.net, program=ASAN / "bin" / "rsipd", env=SANITIZERS).start()
    leases = {}

    def watch():
        # The leases of each part, as they are when its capture begins.
        for name in run.wires.keys() - leases.keys():
            text = (run.out / "leases").read_text()
            leases[name] = {n: Lease(b) for n, b in json.loads(text).items()}

    status = run.run(hybrid.HERE / "road_guest.py", watch=watch)
    output = run.words()
    if status == hybrid.SKIP:
        return output.splitlines()[-1]
    relay(output, tap)
    tap.check("the guest ended by itself", status in (0, 1), output[-2000:])
    any_port = lambda p: any(l.has_port(p) for l in leases["capture"].values())
    for name, port, what, protocols in (
            ("capture", any_port, "IKE on leased ports", {ESP: "ESP"}),
            ("cookie-capture", lambda p: p == 500, "IKE by cookie", {ESP: "ESP", AH: "AH"})):
        if tap.check(f"{what}: was captured", name in leases):
            wire(tap, run.packets(name), leases[name], port, what, protocols)
    sanitized(tap, run.gateway)
    return None


if __name__ == "__main__":
    sys.exit(hybrid.play("hybrid", scenario))
