"""Name servers on loopback that serve the signed tree: knot, nsd, bind.

dyn.test, and the reverse zone of its whole address, take updates signed with the key of
make-zones, and are then signed by the server itself.
"""
import base64
import importlib.machinery
import importlib.util
import pathlib
import shutil
import socket
import subprocess
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
SIGNED = HERE / "signed"
_loader = importlib.machinery.SourceFileLoader("make_zones", str(HERE / "make-zones"))
zones = importlib.util.module_from_spec(importlib.util.spec_from_loader("make_zones", _loader))
_loader.exec_module(zones)
DYNAMIC = ["dyn.test", "113.0.203.in-addr.arpa"]


def wait_for(condition, what, seconds=10):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def query(at, name, kind, prefix=(), *options):
    """Records of an answer as text, by dig."""
    run = subprocess.run([*prefix, "dig", "+short", *options, "+time=1", "+tries=1", "+norec", f"@{at[0]}", "-p", str(at[1]),
        name, kind], capture_output=True, text=True)
    return [l for l in run.stdout.splitlines() if not l.startswith(";")]


class Server:
    """One of them, with its files in folder.  prefix: words before the command."""

    def __init__(self, kind, folder, addr="127.0.0.1", port=None, prefix=()):
        self.kind, self.folder, self.prefix = kind, pathlib.Path(folder), list(prefix)
        self.at = (addr, port or free_port())
        self.process = None
        self.keyfile = self.folder / "tsig"
        self.zones = sorted(p.stem for p in SIGNED.glob("*.zone"))
        if not shutil.which({"bind": "named", "knot": "knotd", "nsd": "nsd"}[kind], path=PATH):
            pytest.skip(f"{kind} is not there (tools/packages)")

    def write(self):
        (self.folder / "z").mkdir(parents=True, exist_ok=True)
        for zone in self.zones:
            shutil.copy(SIGNED / f"{zone}.zone", self.folder / "z")
        self.keyfile.write_text(f'key "kxkey" {{\n\talgorithm hmac-sha256;\n\tsecret "{zones.TSIG}";\n}};\n')
        self.keyfile.chmod(0o600)

    def unsigned(self, zone):
        """Its source, for a server that signs it itself with the key whose DS the parent has."""
        (self.folder / "z" / f"{zone}.zone").write_text(zones.Tree(self.folder).text(zone))

    def start(self):
        self.write()
        command = getattr(self, self.kind)()
        self.log = open(self.folder / "log", "w")
        self.process = subprocess.Popen([*self.prefix, *command], stdout=self.log,
            stderr=subprocess.STDOUT, cwd=self.folder, env={"PATH": PATH})
        wait_for(self.answers, f"{self.kind} answers: {(self.folder / 'log').read_text()[-2000:]}")
        return self

    def answers(self):
        if self.process.poll() is not None:
            pytest.fail(f"{self.kind} ended: {(self.folder / 'log').read_text()[-2000:]}")
        # The server signs these itself, after it has begun to answer.
        return self.ask(".", "SOA") and all(self.is_signed(z, "DNSKEY") for z in DYNAMIC) and \
            self.is_signed("10.113.0.203.in-addr.arpa", "PTR")

    def is_signed(self, name, kind):
        """The records and their signature: `KIND 15 ...`."""
        return any(l.startswith(f"{kind} ") for l in query(self.at, name, kind,
            self.prefix, "+dnssec"))

    def ask(self, name, kind):
        return query(self.at, name, kind, self.prefix)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(10)
            self.log.close()
            self.process = None

    def origin(self, zone):
        return "." if zone == "root" else zone + "."

    def nsd(self):
        conf = self.folder / "nsd.conf"
        conf.write_text(f"""server:
    ip-address: {self.at[0]}@{self.at[1]}
    username: ""
    pidfile: ""
    zonesdir: {self.folder}/z
    database: ""
    xfrdfile: {self.folder}/xfrd.state
    xfrdir: {self.folder}
    zonelistfile: {self.folder}/zone.list
    server-count: 1
remote-control:
    control-enable: no
""" + "".join(f"zone:\n    name: {self.origin(z)}\n    zonefile: {z}.zone\n" for z in self.zones))
        return ["nsd", "-d", "-c", str(conf)]

    def knot(self):
        conf, db = self.folder / "knot.conf", self.folder / "db"
        db.mkdir(exist_ok=True)
        text = f"""server:
    listen: {self.at[0]}@{self.at[1]}
    rundir: {self.folder}
    pidfile: {self.folder}/pid
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: {db}
key:
  - id: kxkey
    algorithm: hmac-sha256
    secret: {zones.TSIG}
acl:
  - id: update
    key: kxkey
    action: update
policy:
  - id: self
    algorithm: ed25519
    single-type-signing: on
template:
  - id: default
    storage: {self.folder}/z
zone:
"""
        for z in self.zones:
            text += f"  - domain: {self.origin(z)}\n    file: {z}.zone\n"
            if z in DYNAMIC:
                text += "    acl: update\n    dnssec-signing: on\n    dnssec-policy: self\n"
        conf.write_text(text)
        for z in DYNAMIC:
            self.unsigned(z)
            # PKCS#8 of an Ed25519 seed (RFC 8410)
            der = bytes.fromhex("302e020100300506032b657004220420") + zones.public("zone " + z)[1]
            pem = self.folder / f"{z}.pem"
            pem.write_text("-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(der).decode()
                + "\n-----END PRIVATE KEY-----\n")
            subprocess.run(["keymgr", "-c", conf, z + ".", "import-pem", pem, "algorithm=ed25519", "ksk=yes",
                "zsk=yes", "active=+0", "ready=+0", "publish=+0", "created=+0"], check=True,
                capture_output=True, env={"PATH": PATH})
        return ["knotd", "-c", str(conf)]

    def bind(self):
        text = f"""options {{ directory "{self.folder}"; listen-on port {self.at[1]} {{ {self.at[0]}; }};
    listen-on-v6 {{ none; }}; recursion no; pid-file none; session-keyfile "{self.folder}/session.key";
    dnssec-validation no; }};
controls {{ }};
include "{self.keyfile}";
"""
        for z in self.zones:
            more = ""
            if z in DYNAMIC:
                self.unsigned(z)
                base, _ = zones.Tree(self.folder).key(z)
                private = base.with_name(base.name + ".private")
                private.write_text(private.read_text().replace("v1.2", "v1.3")
                    + "".join(f"{w}: 20200101000000\n" for w in ("Created", "Publish", "Activate")))
                more = "update-policy { grant kxkey zonesub ANY; }; auto-dnssec maintain;"
            text += f'zone "{self.origin(z)}" {{ type primary; file "z/{z}.zone"; {more} }};\n'
        conf = self.folder / "named.conf"
        conf.write_text(text)
        return ["named", "-g", "-n", "1", "-c", str(conf)]


PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def free_port():
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u, \
                socket.socket(socket.AF_INET, socket.SOCK_STREAM) as t:
            u.bind(("127.0.0.1", 0))
            try:
                t.bind(("127.0.0.1", u.getsockname()[1]))
            except OSError:
                continue
            return u.getsockname()[1]
