#!/usr/bin/python3
"""Two gateways with unmodified strongSwan that have never met, and a host; only DNS tells.

Prints TAP; status 77 with the reason where it cannot run.  Everything is in the guest
(kxd_guest.py), whose kernel has ESP; the signed zones are made here and read from files.
When something fails the logs and the capture stay in build/logs/kxd.

Proves K-3-02, K-3-03, K-2.1-01, K-2.1-02, K-2.1-03, K-2.1-04, K-2.1-05, K-2.1-06 and K-2.1-07 with
real daemons and kernels.
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "netns"))
import kxnet
import zones
from topo import BUILD

SKIP, SECONDS = 77, 170
LOGS = BUILD / "logs" / "kxd"
ENFY = "/usr/lib/ipsec/plugins/libstrongswan-error-notify.so"


def why_not():
    if not (BUILD / "bin" / "rsip-kxd").exists():
        return "rsip-kxd is not built"
    if not pathlib.Path(ENFY).exists():
        return "no error-notify plugin of strongSwan: run make deps"
    return zones.why_not()


def main(parts):
    reason = why_not()
    if reason:
        print(reason)
        return SKIP
    with tempfile.TemporaryDirectory(prefix="rsip-kxd-") as out:
        kxnet.tree(f"{out}/tree")
        kxnet.tree(f"{out}/live", ttl=6)
        kxnet.tree(f"{out}/withdrawn", ttl=6, serial=2, withdrawn=True)
        kxnet.certificates(f"{out}/ca", "r1", "h")
        p = subprocess.run([HERE / "guest", "-o", out, "-t", str(SECONDS), "env", f"RSIP_BUILD={BUILD}",
            HERE / "kxd_guest.py", out, *parts], text=True, capture_output=True)
        print(p.stdout + p.stderr, end="")
        if p.returncode not in (0, SKIP):
            shutil.rmtree(LOGS, ignore_errors=True)
            shutil.copytree(out, LOGS, ignore=shutil.ignore_patterns("*.sock", "vici", "enfy", "net"))
            print(f"# logs and capture: {LOGS}")
    return p.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
