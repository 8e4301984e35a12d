#!/usr/bin/python3
"""Several addresses and peers, IKE that the peer begins, flow policies: with real kernels.

Prints TAP; status 77 with the reason where it cannot run.  As test_ike.py.

Proves S-6.1-14, S-D-03, S-G-01, S-G-02, S-G-03, S-G-05, S-G-06 and S-G-07 with real daemons and kernels.
"""
import sys

import hybrid
from hybrid import ASAN, SANITIZERS, relay, sanitized
from topo import NB, Gateway

PLACES = {"addresses": (NB, "203.0.113.3"), "gateway": "listen-rsip-ike = true",
    "pool": 'dedicated = { "203.0.113.4" }\n    exclusive-500 = true'}


def scenario(run, tap, *parts):
    hybrid.topology(run.net)
    run.gateway = Gateway(run.net, program=ASAN / "bin" / "rsipd", env=SANITIZERS, **PLACES).start()
    for flow in ("macro", "micro"):
        run.settings[f"conf-{flow}"] = dict(PLACES, policy=f'remote-flow = "{flow}"')
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
