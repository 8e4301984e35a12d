"""Gateways that find each other by signed DNS alone: nodes, zones, strongSwan and rsip-kxd.

    s  198.51.100.10 ... -- r1 192.0.2.1 --+
                                           +-- w (a switch) -- h 192.0.2.3, x 192.0.2.5
    d  203.0.113.10 ...  -- r2 192.0.2.2 --+

r1 and r2 speak for those behind them, h and x for themselves.  They know nothing of each
other but what the zones say; the IKE addresses are those inside (198.51.100.1,
203.0.113.1).  h has a certificate in place of an IPSECKEY record; x has no reverse name and
does IKE on port 5400, as a host that shares its address by RSIP.
"""
import json
import os
import pathlib
import select
import subprocess

from topo import BUILD, Failed, wait_for
import zones
from zones import Tree, ike_key

S_NET, D_NET = "198.51.100", "203.0.113"
R1, R2, H, X = f"{S_NET}.1", f"{D_NET}.1", "192.0.2.3", "192.0.2.5"
X_PORT = 5400
NAMES = {"r1": "r1.s-net.test", "r2": "r2.d-net.test", "h": "h.wan.test", "x": "x.wan.test"}
# Hosts by the last byte of their address, with the KX records of each.
SOURCES = {10: ("s", ["10 r1"]), 13: ("s4", ["10 r9"]), 40: ("late", ["10 r1"])}
DESTINATIONS = {10: ("d", ["10 r2"]), 11: ("d2", ["10 r2"]), 12: ("stray", ["10 r2"]),
    20: ("over", ["10 dead", "20 r2"]), 30: ("clear", ["10 r2"]), 31: ("plain", ["10 dead"]),
    40: ("late", ["10 r2"])}


def zone(own, prefix, hosts, more):
    """(records of the names, records of the addresses)"""
    forward, reverse = more, ""
    for last, (name, kx) in hosts.items():
        forward += f"{name} IN A {prefix}.{last}\n" + "".join(f"{name} IN KX {k}\n" for k in kx)
        reverse += f"{last} IN PTR {name}.{own}.\n"
    return forward, reverse


def reversed_name(prefix):
    return ".".join(reversed(prefix.split("."))) + ".in-addr.arpa"


def tree(folder, withdrawn=False, **options):
    """The zones of the picture; withdrawn: r1 does not speak for `late` any more."""
    sources = dict(SOURCES)
    if withdrawn:
        sources[40] = ("late", ["10 r9"])
    keys = {n: ike_key(n).ipseckey() for n in ("r1", "r2", "x", "dead", "r9")}
    s, s_reverse = zone("s-net.test", S_NET, sources, f"r1 IN A {R1}\nr1 IN {keys['r1']}\n"
        f"r9 IN A {S_NET}.9\nr9 IN {keys['r9']}\n")
    d, d_reverse = zone("d-net.test", D_NET, DESTINATIONS, f"r2 IN A {R2}\nr2 IN {keys['r2']}\n"
        f"dead IN A 192.0.2.99\ndead IN {keys['dead']}\n")
    wan = f"h IN A {H}\nx IN A {X}\nx IN {keys['x']}\n_isakmp._udp.x IN SRV 0 0 {X_PORT} x\n"
    return Tree(folder, {
        "s-net.test": s, "d-net.test": d, "wan.test": wan,
        reversed_name(S_NET): s_reverse + "1 IN PTR r1.s-net.test.\n",
        reversed_name(D_NET): d_reverse + "1 IN PTR r2.d-net.test.\n",
        reversed_name("192.0.2"): "3 IN PTR h.wan.test.\n"}, **options).make()


def certificates(folder, *names):
    """A CA of its own (ca.crt) and a certificate for each node's key (NAME.crt)."""
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    (folder / "ca.pem").write_bytes(ike_key("the CA").pem())
    zones.run("openssl", "req", "-x509", "-new", "-key", folder / "ca.pem", "-subj", "/CN=kxd test CA",
        "-days", "3650", "-out", folder / "ca.crt")
    for name in names:
        (folder / f"{name}.pem").write_bytes(ike_key(name).pem())
        (folder / "ext").write_text(f"subjectAltName = DNS:{NAMES[name]}\n")
        zones.run("openssl", "req", "-new", "-key", folder / f"{name}.pem", "-subj", f"/CN={NAMES[name]}",
            "-out", folder / "csr")
        zones.run("openssl", "x509", "-req", "-in", folder / "csr", "-CA", folder / "ca.crt", "-CAkey",
            folder / "ca.pem", "-days", "3650", "-extfile", folder / "ext", "-out",
            folder / f"{name}.crt")
    return folder


def topology(net):
    net.add("s", "r1", "w", "r2", "d", "h", "x")
    net.batch("w", "link add br0 type bridge", "link set br0 up")
    for name in ("r1", "r2", "h", "x"):
        net.link(name, "w0", "w", f"to-{name}")
        net.batch("w", f"link set to-{name} master br0")
    for host, router, prefix, hosts in (("s", "r1", S_NET, SOURCES), ("d", "r2", D_NET, DESTINATIONS)):
        net.link(host, "e0", router, "i0")
        net.batch(router, f"addr add {prefix}.1/24 dev i0")
        net.batch(host, *[f"addr add {prefix}.{n}/24 dev e0" for n in hosts],
            f"route add default via {prefix}.1 src {prefix}.10")
    net.batch("r1", "addr add 192.0.2.1/24 dev w0", f"route add {D_NET}.0/24 via 192.0.2.2 src {R1}")
    net.batch("r2", "addr add 192.0.2.2/24 dev w0", f"route add {S_NET}.0/24 via 192.0.2.1 src {R2}")
    net.batch("h", f"addr add {H}/24 dev w0", f"route add {S_NET}.0/24 via 192.0.2.1",
        f"route add {D_NET}.0/24 via 192.0.2.2")
    net.batch("x", f"addr add {X}/24 dev w0", f"route add {S_NET}.0/24 via 192.0.2.1")
    for router in ("r1", "r2"):
        net.sysctl(router, "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.conf.default.rp_filter=0", "net.ipv4.conf.all.send_redirects=0",
            "net.ipv4.conf.w0.send_redirects=0")


NSD = """
server:
    ip-address: 127.0.0.1@5300
    username: ""
    pidfile: "{dir}/nsd.pid"
    zonelistfile: "{dir}/nsd.list"
    xfrdfile: "{dir}/nsd.xfrd"
    xfrdir: "{dir}"
    database: ""
    server-count: 1
remote-control:
    control-enable: no
"""


def nsd(net, name, folder, signed):
    """A name server of that node with the zones of a folder."""
    conf = NSD.format(dir=folder)
    for path in signed.glob("*.zone"):
        conf += f'zone:\n    name: "{zones.origin(path.stem)}"\n    zonefile: "{path}"\n'
    (folder / "nsd.conf").write_text(conf)
    return net.start(name, "nsd", "-d", "-c", folder / "nsd.conf", log=f"nsd-{name}.log")


CHARON = """
charon-systemd {{
    load = {plugins}
    install_routes = {routes}
    port_nat_t = {natt}
    plugins {{
        vici {{ socket = unix://{dir}/vici }}
        error-notify {{ socket = unix://{dir}/enfy }}
    }}
    filelog {{ log {{
        path = {log}
        default = 1
        ike = 2
        cfg = 2
        flush_line = yes
    }} }}
}}
"""
PLUGINS = ("random nonce aes sha1 sha2 hmac kdf openssl gcm pem pkcs1 pkcs8 x509 pubkey "
    "constraints kernel-netlink socket-default vici updown error-notify")

CONF = """
kxd {{
    identity = {{ "{identity}" }}
    protect = {{ {protect} }}
    protect-own = {own}
    control-socket = "{dir}/kxd.sock"
    {kxd}
}}
ike {{
    key = "{dir}/key.pem"
    address = "{address}"
    vici = "{dir}/vici"
    error-notify = "{dir}/enfy"
    {ike}
}}
dns {{
    anchor = "{anchor}"
    {dns}
}}
{groups}
"""


class Gateway:
    """A node with strongSwan and rsip-kxd; both know this node alone."""

    def __init__(self, net, name, tree, logs, address, protect, groups, own=False, kxd="", ike="",
            dns=None, program=None, certificate=None):
        self.net, self.name, self.logs = net, name, logs
        self.dir = net.dir / f"kxd-{name}"
        self.dir.mkdir(exist_ok=True)
        self.program = program or BUILD / "bin" / "rsip-kxd"
        self.process = self.charon = None
        (self.dir / "key.pem").write_bytes(ike_key(name).pem())
        self.conf = self.dir / "kxd.conf"
        self.conf.write_text(CONF.format(identity=NAMES[name], dir=self.dir, address=address,
            protect=", ".join(f'"{p}"' for p in protect), own=str(own).lower(), kxd=kxd, ike=ike,
            dns=dns or f'zones = "{tree.signed}"', anchor=tree.anchor, groups=groups))

    def start_charon(self, natt=4500, routes="no"):
        """Here, not in a guest, only IKE_SAs come up."""
        (self.dir / "strongswan.conf").write_text(CHARON.format(plugins=PLUGINS, dir=self.dir,
            log=self.logs / f"charon-{self.name}.log", natt=natt, routes=routes))
        self.charon = self.net.start(self.name, "charon-systemd", log=f"charon-{self.name}.out",
            env={"STRONGSWAN_CONF": str(self.dir / "strongswan.conf")})
        return self

    def start(self, env=None):
        self.before = len(self.log())
        self.process = self.net.start(self.name, self.program, "-f", "-v", "-c", self.conf,
            log=f"kxd-{self.name}.log", env=env, stdout=subprocess.PIPE)
        if not select.select([self.process.stdout], [], [], 20)[0] or \
                b"ready" not in self.process.stdout.readline():
            raise Failed(f"rsip-kxd of {self.name} did not become ready:\n{self.log()[-2000:]}")
        return self

    def follows(self):
        """charon answers, and tells what it refuses."""
        wait_for(lambda: all(w in self.log()[self.before:] for w in ("charon follows", "charon tells what")),
            f"rsip-kxd of {self.name} and its charon", 30)
        return self

    def log(self):
        path = self.net.dir / f"kxd-{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def end(self, how=15):
        self.process.send_signal(how)
        status = self.process.wait(20)
        self.process.stdout.close()
        return status

    def show(self):
        return json.loads(self.net.run(self.name, BUILD / "bin" / "rsip", "kx", "show", "--json",
            "--socket", self.dir / "kxd.sock"))

    def policies(self):
        return self.net.run(self.name, "ip", "xfrm", "policy")

    def sas(self):
        """(source, destination) of the SAs that carry traffic."""
        lines = self.net.run(self.name, "ip", "xfrm", "state").splitlines()
        return {tuple(l.split()[1::2]) for l, below in zip(lines, lines[1:])
            if l.startswith("src") and "mode tunnel" in below}

    def swanctl(self, *words):
        p = subprocess.run(["swanctl", *map(str, words), "--uri", f"unix://{self.dir}/vici"], text=True,
            capture_output=True, timeout=20,
            env=dict(os.environ, STRONGSWAN_CONF=str(self.dir / "strongswan.conf")))
        return p.stdout + p.stderr


def group(name, *prefixes, **more):
    keys = "".join(f"\n    {k.replace('_', '-')} = {v}" for k, v in more.items())
    return f"group {name} {{\n    prefixes = {{ {', '.join(repr(p).replace(chr(39), chr(34)) for p in prefixes)} }}{keys}\n}}\n"


def ping(net, name, source, destination, count=1, wait=1):
    """How many of them came back."""
    p = net.run(name, "ping", "-n", "-c", count, "-i", "0.2", "-W", wait, "-I", source, destination,
        check=False)
    return next((int(l.split()[3]) for l in p.stdout.splitlines() if "received" in l), 0)
