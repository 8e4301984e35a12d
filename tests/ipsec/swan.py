"""strongSwan, unmodified, in a namespace: its configuration, its start, what it holds."""
import os
import re
import subprocess

from topo import NB, Y, Y2, Failed, wait_for

# Without a list both programs load every plugin on disk, which takes a guest many seconds.
PLUGINS = ("random nonce aes sha1 sha2 hmac kdf openssl gcm pem pkcs1 x509 pubkey "
    "kernel-netlink socket-default vici updown")

DAEMON = """
{include}
charon-systemd {{
    load = {plugins}
    install_routes = no
    retransmit_base = 1.4
    retransmit_timeout = 0.5
    i_dont_care_about_security_and_use_aggressive_mode_psk = yes
    plugins {{ vici {{ socket = unix://{vici} }} }}
    filelog {{ log {{
        path = {log}
        default = 1
        ike = 2
        flush_line = yes
    }} }}
}}
swanctl {{ load = pem random }}
"""

# The peer finds a connection by identities and its child by selectors, so what differs in
# protocol or mode differs in those, too.
CONNECTION = """
    {name} {{
        version = 2
        mobike = no
        local_addrs = {local}
        remote_addrs = {remote}
        proposals = aes128-sha256-x25519
        local {{
            auth = psk
            id = {id}
        }}
        remote {{
            auth = psk
            {remote_id}
        }}
        children {{
            {children}
        }}
    }}
"""
CHILD = """
            {name} {{
                mode = {mode}
                local_ts = {local_ts}
                remote_ts = {remote_ts}
                {proposals}
            }}
"""
ESP = "esp_proposals = aes128gcm16-x25519"
AH = "ah_proposals = sha256-x25519"
SECRETS = 'secrets {{\n    ike-any {{\n        secret = "{}"\n    }}\n}}\n'
SERVICE = 7777  # what the peer serves under transport mode, TCP and UDP


def both(ports=""):
    """Selectors for UDP and TCP with these ports of one's own address."""
    ports = f"/{ports}" if ports else ""
    return f"dynamic[udp{ports}],dynamic[tcp{ports}]"


def child(name, mode, proposals, local_ts, remote_ts):
    return CHILD.format(name=name, mode=mode, proposals=proposals, local_ts=local_ts,
        remote_ts=remote_ts)


def host_connections(name, private, ports):
    """Of a host behind the gateway; ports is the leased block, as 'LOW-HIGH', or empty."""
    esp = child("tunnel", "tunnel", ESP, private, Y)
    if ports:
        esp += child("transport", "transport", ESP, both(ports), both(SERVICE))
    ah = child("ah", "tunnel", AH, private, Y2)
    ends = {"local": NB, "remote": Y}
    return CONNECTION.format(name="y", id=f"{name}.test", remote_id="id = y.test", children=esp,
        **ends) + CONNECTION.format(name="y-ah", id=f"{name}-ah.test", remote_id="id = y-ah.test",
        children=ah, **ends)


def peer_connections():
    esp = child("tunnel", "tunnel", ESP, Y, "10.0.0.0/24")
    esp += child("transport", "transport", ESP, both(SERVICE), both())
    ah = child("ah", "tunnel", AH, Y2, "10.0.0.0/24")
    ends = {"local": Y, "remote": "%any", "remote_id": ""}
    return CONNECTION.format(name="x", id="y.test", children=esp, **ends) + \
        CONNECTION.format(name="x-ah", id="y-ah.test", children=ah, **ends)


class Charon:
    """charon-systemd in a namespace, with a control socket of its own."""

    def __init__(self, net, name, logs, include=""):
        self.net, self.name, self.log = net, name, logs / f"charon-{name}.log"
        self.dir = net.dir / f"swan-{name}"
        self.dir.mkdir(exist_ok=True)
        self.vici, self.conf = self.dir / "vici", self.dir / "strongswan.conf"
        self.conf.write_text(DAEMON.format(plugins=PLUGINS, vici=self.vici, log=self.log,
            include=f"include {include}" if include else ""))
        self.env = {"STRONGSWAN_CONF": str(self.conf), "SWANCTL_DIR": str(self.dir)}

    def start(self):
        self.process = self.net.start(self.name, "charon-systemd", log=f"charon-{self.name}.out",
            env=self.env)
        return self

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.vici.unlink(missing_ok=True)

    def load(self, connections):
        """Wait for the daemon and give it its connections."""
        wait_for(self.vici.exists, f"charon in {self.name} did not open its socket")
        conf = self.dir / "swanctl.conf"
        conf.write_text(f"connections {{{connections}}}\n" + SECRETS.format("not very secret"))
        self.swanctl("--load-all", "--file", conf)

    def swanctl(self, *words, timeout=20):
        """swanctl talks to a socket in the file system, so it needs no namespace."""
        p = subprocess.run(["swanctl", *map(str, words), "--uri", f"unix://{self.vici}"], text=True,
            capture_output=True, timeout=timeout, env=dict(os.environ, **self.env))
        if p.returncode or "failed" in p.stdout.splitlines()[-1:]:
            raise Failed(f"swanctl {' '.join(map(str, words))} in {self.name}: "
                f"{(p.stderr + p.stdout).strip()[-600:]}")
        return p.stdout

    def swanctl_async(self, *words):
        """Begin it, and do not wait."""
        self.net.processes.append(subprocess.Popen(["swanctl", *map(str, words), "--uri",
            f"unix://{self.vici}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=dict(os.environ, **self.env)))

    def up(self, child):
        self.swanctl("--initiate", "--child", child, "--timeout", 8)

    def sas(self):
        """[(connection, IKE_SA number, {child: set of inbound SPIs})] of all that is up."""
        found, skip, name = [], True, None
        for line in self.swanctl("--list-sas").splitlines():
            head = re.match(r"(\S+): #(\d+), ESTABLISHED", line)
            sub = re.match(r"  (\S+): #\d+, reqid \d+, (\w+)", line)
            if re.match(r"\S", line):
                found += [(head[1], int(head[2]), {})] if head else []
                skip, name = not head, None
            elif sub:
                name = sub[1] if sub[2] == "INSTALLED" and not skip else None
            elif name and (spi := re.match(r"    in  ([0-9a-f]+)", line)):
                found[-1][2].setdefault(name, set()).add(int(spi[1], 16))
        return found

    def spis(self, *children):
        """Inbound SPIs of these children, or of all."""
        return set().union(*(spis for _, _, subs in self.sas() for name, spis in subs.items()
            if name in children or not children))

    def outbound(self):
        """SPIs of all CHILD_SAs towards others."""
        return {int(s, 16) for s in re.findall(r"^    out ([0-9a-f]+)", self.swanctl("--list-sas"),
            re.M)}

    def numbers(self, identity):
        """(IKE_SA numbers, CHILD_SA numbers) of what is up with the peer of this identity."""
        ikes, children, number = set(), set(), None
        for line in self.swanctl("--list-sas").splitlines():
            if re.match(r"\S", line):
                head = re.match(r"\S+: #(\d+), ESTABLISHED", line)
                number = int(head[1]) if head else None
                mine = False
            elif f"remote '{identity}'" in line:
                mine = number is not None
                ikes |= {number} if mine else set()
            elif mine and (sub := re.match(r"  \S+: #(\d+), reqid \d+, INSTALLED", line)):
                children.add(int(sub[1]))
        return ikes, children

    def ike(self, connection):
        """Numbers of the established IKE_SAs of a connection."""
        return {number for name, number, _ in self.sas() if name == connection}
