"""The gateway on this machine's kernel, hosts and peer with real IPsec in a guest.

    x1 --tap-x1--+                                   guest: x1, x2, y
                 +-- br0 (r) -- lan0 n wan0 -- r --tap-y-- y
    x2 --tap-x2--+

So rsipd may be built with sanitizers, which a guest can't run, and the hosts have a kernel
with ESP and IP-in-IP, which this machine may lack.  The guest's script asks for what must
happen out here by files in the shared folder (ask-WHAT, answered by answer-WHAT).
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "netns"))
from tap import Tap
from topo import BUILD, R_PEER, ROOT, Failed, Net, Wire, public_side, why_not

ASAN = pathlib.Path(os.environ.get("RSIP_ASAN_BUILD", ROOT / "build-asan"))
SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}
GUEST = HERE / "guest"
SKIP = 77
TAPS = ("tap-x1", "tap-x2", "tap-y")  # the guest's vec0, vec1, vec2


def topology(net):
    """Everything that is not in the guest; a guest opens its TAPs in one namespace."""
    net.add("n", "r")
    net.link("n", "lan0", "r", "lan0")
    net.batch("n", "addr add 10.0.0.1/24 dev lan0")
    net.batch("r", *[f"tuntap add {tap} mode tap" for tap in TAPS],
        "link add br0 type bridge",
        *[f"link set {dev} master br0" for dev in ("tap-x1", "tap-x2", "lan0")],
        *[f"link set {dev} up" for dev in (*TAPS, "br0")],
        f"addr add {R_PEER}/24 dev tap-y")
    public_side(net, "r")


class Hybrid:
    """One guest run: out is the shared folder; captures are of what is in front of y."""

    def __init__(self, net, gateway=None):
        self.net, self.gateway, self.out = net, gateway, net.dir / "guest"
        self.out.mkdir()
        self.wires = {}  # captures by name
        self.actions = {}  # what else the guest may ask for, by name
        self.settings = {}  # of the gateway, by what the guest calls them (conf...)

    def run(self, script, *args, seconds=200, watch=None):
        """Status of the script in the guest; watch is called again and again meanwhile."""
        taps = [word for tap in TAPS for word in ("--tap", tap)]
        words = [GUEST, "-o", self.out, "-t", seconds, *taps, "env", f"RSIP_BUILD={BUILD}", script,
            *args]
        guest = self.net.start("r", *words, log="guest.log")
        while guest.poll() is None:
            for ask in self.out.glob("ask-*"):
                ask.unlink()
                self.answer(ask.name[4:])
            for name in self.wires:
                self.packets(name)
            if watch:
                watch()
            time.sleep(0.02)
        return guest.returncode

    def words(self):
        """What the runner of the guest said, the guest's output included."""
        return (self.net.dir / "guest.log").read_text(errors="replace").strip()

    def answer(self, what):
        if what.endswith("capture"):
            value = self.capture(what)
        elif what.endswith("capture-end"):
            value = self.capture_end(what[:-4])
        elif what.startswith("bindings"):
            value = self.gateway.show("bindings")
        elif what.startswith("metrics"):
            value = self.gateway.metrics()
        elif what.startswith("conf"):
            value = self.gateway.reconfigure(**self.settings[what])
        elif what.startswith("release-"):
            value = self.gateway.release(what.split("-")[1])
        elif what in self.actions:
            value = self.actions[what]()
        elif what == "kill-gateway":
            value = self.gateway.end(signal.SIGKILL) == -signal.SIGKILL
            self.gateway.start()
        else:
            raise Failed(f"the guest asks for {what}, which is not known here")
        new = self.out / "answer"
        new.write_text(json.dumps(value))
        new.rename(self.out / f"answer-{what}")

    def capture(self, name):
        self.wires[name] = Wire(self.net, "r", "tap-y")
        return True

    def capture_end(self, name):
        self.packets(name)
        self.wires[name].close()
        return True

    def packets(self, name):
        """What a capture of that name holds; [] if it never began."""
        return self.wires[name].read() if name in self.wires else []


def keep(run, target):
    """Copy logs and captures to where a failure is looked at."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name, wire in run.wires.items():
        wire.save(target / f"{name}.pcap")
    for folder in (run.net.dir, run.out):
        for f in folder.iterdir():
            if f.is_file() and f.suffix != ".sock":
                shutil.copy(f, target / f.name)


def relay(text, tap):
    """The guest's TAP lines become ours."""
    for line in text.splitlines():
        ok, _, what = line.partition(" - ")
        if line.startswith(("ok ", "not ok ")):
            tap.check(what, not ok.startswith("not"), "")
        elif not line.startswith("1.."):
            print(line)


def sanitized(tap, gateway):
    status = gateway.end()
    tap.check("rsipd ends with status 0 at SIGTERM", status == 0, f"status {status}")
    faults = [l for l in gateway.log().splitlines() if "Sanitizer" in l or "runtime error" in l]
    tap.check("the sanitizers found nothing in rsipd", not faults, "\n".join(faults[:20]))


def play(name, scenario):
    """Run scenario(Hybrid, Tap), which may return a reason to skip; the exit status."""
    tap, reason = Tap(), why_not()
    if not (ASAN / "bin" / "rsipd").exists():
        reason = f"no {ASAN}/bin/rsipd: tools/check sanitizers builds it"
    if reason:
        print(reason)
        return SKIP
    with Net() as net:
        run = Hybrid(net)
        try:
            reason = scenario(run, tap)
        except (Failed, OSError, subprocess.SubprocessError) as fault:
            tap.check("the scenario runs to its end", False, fault)
        if tap.failed:
            logs = BUILD / "logs" / name
            try:
                keep(run, logs)
                print(f"# logs and captures: {logs}")
            except OSError as fault:
                print(f"# logs and captures are lost: {fault}")
    if reason:
        print(reason)
        return SKIP
    return tap.end()
