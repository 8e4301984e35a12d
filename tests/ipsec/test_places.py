#!/usr/bin/python3
"""Several addresses and peers, IKE that the peer begins, flow policies: with real kernels.

Prints TAP; status 77 with the reason where it cannot run.  As test_ike.py.

Proves S-6.1-14, S-D-03, S-F-01, S-F-02, S-F-03, S-G-01, S-G-02, S-G-03, S-G-05, S-G-06 and S-G-07 with real daemons and kernels.
"""
import sys

import hybrid
from hybrid import ASAN, SANITIZERS, relay, sanitized
import talk
from topo import BUILD, NA, NB, Y, Gateway

PLACES = {"addresses": (NB, "203.0.113.3"), "gateway": "listen-rsip-ike = true",
    "pool": 'dedicated = { "203.0.113.4" }\n    exclusive-500 = true'}
PLAIN, R_LAN = "10.0.0.50", "10.0.0.254"
SERVICE = 7777


def more_places(net):
    """A host without RSIP on the hosts' link, and a way to it from the Internet."""
    net.add("plain")
    net.batch(None, "link add eth0 netns @plain type veth peer name plain0 netns @r")
    net.batch("r", "link set plain0 master br0", "link set plain0 up",
        f"addr add {R_LAN}/24 dev br0", "addr add 192.0.2.1/24 dev br0")
    net.batch("plain", "link set eth0 up", f"addr add {PLAIN}/24 dev eth0",
        f"route add default via {NA}")
    net.batch("n", f"route add 192.0.2.0/24 via {R_LAN}")
    net.sysctl("n", "net.ipv4.ip_forward=1")


def plain_talk(net):
    """{kind: address and port that the peer saw} of the host without RSIP."""
    seen = {}
    for kind in ("udp", "tcp"):
        _, answer = talk.ask(net, "plain", kind, Y, SERVICE, "plain")
        words = answer.split()
        seen[kind] = (words[2], int(words[3].rstrip(":")))
    return seen


def scenario(run, tap, *parts):
    hybrid.topology(run.net)
    more_places(run.net)
    run.gateway = Gateway(run.net, program=ASAN / "bin" / "rsipd", env=SANITIZERS, **PLACES).start()
    for flow in ("macro", "micro"):
        run.settings[f"conf-{flow}"] = dict(PLACES, policy=f'remote-flow = "{flow}"')
    run.settings["conf-soho"] = {"dataplane": 'napt = { "10.0.0.0/24" }\n    napt-address = "203.0.113.1"',
        "pool": 'ports = { "1024-32767" }'}
    keys = run.out / "laptop.key"
    keys.touch(0o600)
    keys.write_text(run.net.run("n", BUILD / "bin" / "rsip", "genkey", "laptop"))
    run.settings["conf-road-warrior"] = {"policy": 'match = { "192.0.2.77" }',
        "more": f'security {{ require = {{ "tls", "hmac" }}\n key-file = "{keys}" }}'}
    run.actions["napt-host"] = lambda: plain_talk(run.net)
    status = run.run(hybrid.HERE / "places_guest.py", *parts, seconds=240)
    output = run.words()
    if status == hybrid.SKIP:
        return output.splitlines()[-1]
    relay(output, tap)
    tap.check("the guest ended by itself", status in (0, 1), output[-2000:])
    sanitized(tap, run.gateway)
    return None


if __name__ == "__main__":
    sys.exit(hybrid.play("places", lambda run, tap: scenario(run, tap, *sys.argv[1:])))
