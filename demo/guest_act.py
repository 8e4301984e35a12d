"""The last act: IKE and ESP of real machines.  The hosts and the peer are in a guest."""
import collections
import json

import hybrid
from topo import NB, Y, Gateway, Lease, Net, spi

TITLE = "5. Real IPsec: strongSwan, unmodified, and the kernel's ESP on x1, x2 and y in a guest\n"


class Lines:
    """The guest's checks, shown as they come."""

    def __init__(self, path):
        self.path, self.at, self.good, self.bad = path, 0, 0, 0

    def show(self):
        text = self.path.read_text() if self.path.exists() else ""
        complete = text[self.at:text.rfind("\n") + 1]
        self.at += len(complete)
        for line in complete.splitlines():
            if line.startswith("ok "):
                self.good += 1
                print("   " + line.split(" - ", 1)[1], flush=True)
            elif line.startswith("not ok "):
                self.bad += 1
                print("   NOT SEEN: " + line.split(" - ", 1)[1], flush=True)
            elif not line.startswith("1.."):
                print("   " + line, flush=True)


def play(stage):
    print(TITLE)
    with Net(tag="g") as net:
        hybrid.topology(net)
        run = hybrid.Hybrid(net, Gateway(net).start())
        lines = Lines(run.out / "output")
        status = run.run(hybrid.HERE / "road_guest.py", "brief", watch=lines.show)
        lines.show()
        if status == hybrid.SKIP:
            print(f"   left out: {run.words().splitlines()[-1]}\n")
            return
        if status not in (0, 1):
            print(run.words()[-2000:])
        stage.note("IKEv2 and kernel ESP of both hosts at once",
            status == 0 and lines.good and not lines.bad,
            f"{lines.good} of {lines.good + lines.bad} checks")
        show_wire(stage, run)


def show_wire(stage, run):
    packets = run.packets("capture")
    kinds = collections.Counter(map(kind, packets))
    shown = ", ".join(f"{name} {kinds[name]}" for name in ("ESP", "IKE", "other"))
    print(f"\n   What the link before y carried: {shown}")
    leases = {n: Lease(b) for n, b in json.loads((run.out / "leases").read_text()).items()}
    to_hosts = collections.Counter(p.spi for p in packets if p.proto == 50 and p.src == Y)
    for number, count in sorted(to_hosts.items()):
        owner = " ".join(n for n, l in leases.items() if l.has_spi(number)) or "nobody"
        print(f"   {Y:>13} > {NB:13}  ESP  SPI {spi(number)}  {count:2} packets, leased by {owner}")
    print()
    stage.note("that link carried native ESP and IKE only",
        kinds["ESP"] and kinds["IKE"] and not kinds["other"], shown)


def kind(packet):
    if packet.proto == 50:
        return "ESP"
    return "IKE" if packet.proto == 17 and 500 in packet.ports else "other"
