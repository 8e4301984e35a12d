#!/usr/bin/python3
"""IKEv1 and IKEv2 in all that strongSwan does, two hosts at once, by port and by cookie.

Prints TAP; status 77 with the reason where it cannot run.  As test_hybrid.py: rsipd with
sanitizers outside, the rest in a guest.  Writes its cells of docs/interop.md to
build/interop/strongswan.json.

Proves S-6.1-01, S-4-02, S-6.1-05, S-6.1-12, S-6.1-13, S-5-05, S-A-01, S-A-03, S-E-01, S-E-02, S-E-04
and S-E-05 with real daemons.
"""
import sys

import cells
import hybrid
from hybrid import ASAN, SANITIZERS, relay, sanitized
from topo import BUILD, Gateway


def scenario(run, tap, *parts):
    hybrid.topology(run.net)
    run.gateway = Gateway(run.net, program=ASAN / "bin" / "rsipd", env=SANITIZERS).start()
    run.settings["conf-only-host"] = {"dataplane": 'ike-from-peer = "only-host"'}
    status = run.run(hybrid.HERE / "ike_guest.py", *parts, seconds=240)
    output = run.words()
    if status == hybrid.SKIP:
        return output.splitlines()[-1]
    relay(output, tap)
    tap.check("the guest ended by itself", status in (0, 1), output[-2000:])
    if (run.out / "cells.json").exists() and not parts:
        results = cells.Results()
        results.cells = cells.load(run.out / "cells.json")
        results.save(BUILD / "interop" / "strongswan.json")
    sanitized(tap, run.gateway)
    return None


if __name__ == "__main__":
    sys.exit(hybrid.play("ike", lambda run, tap: scenario(run, tap, *sys.argv[1:])))
