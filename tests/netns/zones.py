"""A signed DNS tree of a test's making, from its own root: no server, no network.

Keys come from names and times are fixed, so that a tree is the same on every run.  Good
zones run from 2020 to 2037 (ldns 1.8 does not compare times across 2038-01-19).
"""
import base64
import hashlib
import pathlib
import shutil
import subprocess

from topo import Failed

PKCS8 = bytes.fromhex("302e020100300506032b657004220420")
GOOD = ("20200101000000", "20370101000000")
SOA = "@ {ttl} IN SOA ns.test. hostmaster.test. {serial} 3600 600 86400 {ttl}\n@ {ttl} IN NS ns.test.\n"


def why_not():
    missing = [t for t in ("ldns-signzone", "ldns-key2ds", "openssl") if not shutil.which(t)]
    return f"no {', '.join(missing)}: run make deps" if missing else None


def run(*cmd, data=None, cwd=None):
    p = subprocess.run([str(c) for c in cmd], input=data, capture_output=True, cwd=cwd)
    if p.returncode:
        raise Failed(f"{cmd[0]}: {p.stderr.decode(errors='replace').strip()}")
    return p.stdout


class Key:
    """An Ed25519 key whose seed is the hash of a label."""

    def __init__(self, label):
        self.seed = hashlib.sha256(label.encode()).digest()
        self.der = PKCS8 + self.seed
        public = run("openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER", data=self.der)
        self.public = public[-32:]

    def pem(self):
        return run("openssl", "pkey", "-inform", "DER", data=self.der)

    def ipseckey(self, precedence=10):
        """The record's data (RFC 4025, algorithm 4 of RFC 9373)."""
        return f"IPSECKEY {precedence} 0 4 . {base64.b64encode(self.public).decode()}"


def origin(zone):
    return "." if zone == "root" else zone + "."


def ike_key(name):
    return Key(f"rsip kxd test: IKE of {name}")


class Tree:
    """Zones as {name: text of records}; make() signs them below a root of its own."""

    def __init__(self, folder, zones, ttl=300, serial=1):
        self.dir = pathlib.Path(folder)
        self.signed, self.keys = self.dir / "signed", self.dir / "keys"
        for d in (self.signed, self.keys):
            d.mkdir(parents=True, exist_ok=True)
        self.anchor = self.dir / "ta.key"
        self.ttl, self.serial = ttl, serial
        self.zones = dict(zones)

    def make(self, unsigned=(), bogus=()):
        parents = ["test", "in-addr.arpa"]
        ds = {p: "" for p in [*parents, "root"]}
        for zone in self.zones:
            if zone in unsigned:
                (self.signed / f"{zone}.zone").write_text(self.text(zone, self.zones[zone]))
                continue
            ds["test" if zone.endswith(".test") else "in-addr.arpa"] += self.sign(zone, self.zones[zone])
        for zone in parents:
            names = "".join(f"{z}. {self.ttl} IN NS ns.test.\n" for z in self.zones
                if z.endswith("." + zone))
            more = f"ns.test. {self.ttl} IN A 127.0.0.1\n" if zone == "test" else ""
            ds["root"] += self.sign(zone, names + more + ds[zone])
        roots = "".join(f"{z}. {self.ttl} IN NS ns.test.\n" for z in parents)
        self.sign("root", roots + ds["root"])
        shutil.copy(next(self.keys.glob("K.+*.key")), self.anchor)
        for zone, (old, new) in dict(bogus).items():
            path = self.signed / f"{zone}.zone"
            text = path.read_text()
            if old not in text:
                raise Failed(f"{zone} has no {old} to forge")
            path.write_text(text.replace(old, new))
        return self

    def text(self, zone, records):
        return f"$ORIGIN {origin(zone)}\n$TTL {self.ttl}\n" + \
            SOA.format(ttl=self.ttl, serial=self.serial) + records

    def sign(self, zone, records):
        """Writes the signed zone; returns its DS record."""
        name, o = f"K{origin(zone)}fixed", origin(zone)
        key = Key(f"rsip kxd test: zone {zone}")
        (self.keys / f"{name}.private").write_text("Private-key-format: v1.2\nAlgorithm: 15 (ED25519)\n"
            f"PrivateKey: {base64.b64encode(key.seed).decode()}\n")
        (self.keys / f"{name}.key").write_text(
            f"{o} IN DNSKEY 257 3 15 {base64.b64encode(key.public).decode()}\n")
        ds = run("ldns-key2ds", "-n", "-2", f"{name}.key", cwd=self.keys).decode()
        base = f"K{o}+015+{int(ds.split()[-4]):05d}"
        for end in (".key", ".private"):
            (self.keys / f"{name}{end}").rename(self.keys / f"{base}{end}")
        (self.keys / f"{zone}.in").write_text(self.text(zone, records))
        run("ldns-signzone", "-i", GOOD[0], "-e", GOOD[1], "-o", o, "-f", self.signed / f"{zone}.zone",
            f"{zone}.in", base, cwd=self.keys)
        return ds
