"""The cells of docs/interop.md: each is one way to do IPsec through the gateway.

A test that tried a cell says what came of it with Results; tools/interop makes the page
of what the tests wrote.  A cell is tried with two hosts at once where `tunnel` allows it:
the one has an IP-in-IP tunnel, the other a GRE one.
"""
import collections
import json
import pathlib

# Daemon of the host and of the peer, IKE version and mode, protocol, mode of the SA, how
# the gateway finds the host for IKE, and the tunnel between host and gateway.
Cell = collections.namedtuple("Cell", "x y ike protocol mode demux tunnel")

STRONGSWAN = "strongSwan"
IKES = ("IKEv2", "IKEv1 main", "IKEv1 aggressive")
PROTOCOLS, MODES, TUNNELS = ("ESP", "AH"), ("tunnel", "transport"), ("ipip", "gre")
PORT, PORT_NATT = "leased port", "leased port, UDP 4500"
COOKIE, COOKIE_NATT = "port 500, by cookie", "port 4500, by cookie and SPI"
DEMUXES = (PORT, PORT_NATT, COOKIE, COOKIE_NATT)


class Results:
    """{cell: True or a reason}; several words about one cell: a failure stays."""

    def __init__(self):
        self.cells = {}

    def note(self, cell, ok, reason="failed"):
        if self.cells.get(cell, True) is True:
            self.cells[cell] = True if ok else reason

    def skip(self, cell, reason):
        """A cell that cannot be, or that is not tried here."""
        self.cells.setdefault(cell, reason)

    def save(self, path):
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [dict(cell._asdict(), result=result) for cell, result in self.cells.items()]
        path.write_text(json.dumps(rows, indent=1) + "\n")


def load(path):
    """{cell: True or a reason} of a file that save() wrote."""
    found = {}
    for row in json.loads(pathlib.Path(path).read_text()):
        result = row.pop("result")
        found[Cell(**row)] = result
    return found
