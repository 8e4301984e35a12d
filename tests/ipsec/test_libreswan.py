#!/usr/bin/python3
"""libreswan, unmodified, on the hosts (spi-mode follow) and as the peer; strongSwan at the other end.

Prints TAP; status 77 with the reason where it cannot run.  As test_hybrid.py: rsipd with
sanitizers outside, the rest in a guest, into which the package is unpacked, since it conflicts
with strongSwan.  Writes its cells of docs/interop.md to build/interop/libreswan.json: half of
them, or all with the argument `long`.

Proves S-3-02, S-3-05, S-6.2-24, S-6.2-25 and S-E-02 with a daemon that knows nothing of leases.
"""
import sys

import cells
import hybrid
import pluto
from hybrid import ASAN, SANITIZERS, relay, sanitized
from topo import BUILD, Gateway


def scenario(run, tap, *parts):
    if pluto.why_not():
        return pluto.why_not()
    hybrid.topology(run.net)
    run.gateway = Gateway(run.net, program=ASAN / "bin" / "rsipd", env=SANITIZERS).start()
    run.settings["conf-few-spis"] = {"pool": 'spis = { "256-260" }'}
    run.settings["conf-all-spis"] = {}
    status = run.run(hybrid.HERE / "libreswan_guest.py", *parts, seconds=240)
    output = run.words()
    if status == hybrid.SKIP:
        return output.splitlines()[-1]
    relay(output, tap)
    tap.check("the guest ended by itself", status in (0, 1), output[-2000:])
    if (run.out / "cells.json").exists() and parts in ((), ("long",)):
        results = cells.Results()
        results.cells = cells.load(run.out / "cells.json")
        results.save(BUILD / "interop" / "libreswan.json")
    sanitized(tap, run.gateway)
    return None


if __name__ == "__main__":
    sys.exit(hybrid.play("libreswan", lambda run, tap: scenario(run, tap, *sys.argv[1:])))
