"""strongSwan, unmodified, in a namespace: its configuration, its start, what it holds."""
import os
import re
import subprocess

from topo import Failed, NB, Y, wait_for

# Without a list both programs load every plugin on disk, which takes a guest many seconds.
PLUGINS = ("random nonce aes sha1 sha2 hmac kdf openssl gcm pem pkcs1 x509 pubkey "
    "kernel-netlink socket-default vici updown")

DAEMON = """
{include}
charon-systemd {{
    load = {plugins}
    install_routes = no
    retransmit_base = 1.4
    retransmit_timeout = 1.0
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

# A connection is found by identities, its child by selectors; so the two modes differ in both.
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
            tunnel {{
                mode = tunnel
                local_ts = {tunnel_local}
                remote_ts = {tunnel_remote}
                esp_proposals = aes128gcm16-x25519
            }}
            transport {{
                mode = transport
                local_ts = {transport_local}
                remote_ts = {transport_remote}
                esp_proposals = aes128gcm16-x25519
            }}
        }}
    }}
"""
SECRETS = 'secrets {{\n    ike-any {{\n        secret = "{}"\n    }}\n}}\n'
SERVICE = 7777  # what the peer serves under transport mode, TCP and UDP


def both(ports=""):
    """Selectors for UDP and TCP with these ports of one's own address."""
    ports = f"/{ports}" if ports else ""
    return f"dynamic[udp{ports}],dynamic[tcp{ports}]"


def host_connection(name, private, ports):
    """Of a host behind the gateway: ports is the leased block, as 'LOW-HIGH'."""
    return CONNECTION.format(name="y", local=NB, remote=Y, id=f"{name}.test",
        remote_id="id = y.test", tunnel_local=f"{private}/32",
        tunnel_remote=f"{Y}/32",
        transport_local=both(ports), transport_remote=both(SERVICE))


def peer_connection():
    return CONNECTION.format(name="x", local=Y, remote="%any", id="y.test", remote_id="",
        tunnel_local=f"{Y}/32", tunnel_remote="10.0.0.0/24",
        transport_local=both(SERVICE), transport_remote=both())


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

    def load(self, connection):
        """Wait for the daemon and give it the connection."""
        wait_for(self.vici.exists, f"charon in {self.name} did not open its socket")
        conf = self.dir / "swanctl.conf"
        conf.write_text(f"connections {{{connection}}}\n" + SECRETS.format("not very secret"))
        self.swanctl("--load-all", "--file", conf)

    def swanctl(self, *words, timeout=20):
        """swanctl talks to a socket in the file system, so it needs no namespace."""
        p = subprocess.run(["swanctl", *map(str, words), "--uri", f"unix://{self.vici}"], text=True,
            capture_output=True, timeout=timeout, env=dict(os.environ, **self.env))
        if p.returncode or "failed" in p.stdout.splitlines()[-1:]:
            raise Failed(f"swanctl {' '.join(map(str, words))} in {self.name}: "
                f"{(p.stderr + p.stdout).strip()[-600:]}")
        return p.stdout

    def up(self, child):
        self.swanctl("--initiate", "--child", child, "--timeout", 8)

    def sas(self):
        """[(IKE_SA number, {child: set of inbound SPIs}, remote identity)]"""
        found, skip, name = [], True, None
        for line in self.swanctl("--list-sas").splitlines():
            head = re.match(r"\S+: #(\d+), ESTABLISHED", line)
            child = re.match(r"  (\S+): #\d+, reqid \d+, (\w+)", line)
            if re.match(r"\S", line):
                found += [[int(head[1]), {}, None]] if head else []
                skip = not head
            elif skip:
                continue
            elif child:
                name = child[1] if child[2] == "INSTALLED" else None
            elif "remote '" in line:
                found[-1][2] = line.split("'")[1]
            elif name and (spi := re.match(r"    in  ([0-9a-f]+)", line)):
                found[-1][1].setdefault(name, set()).add(int(spi[1], 16))
        return found

    def spis(self, child, remote=None):
        """Inbound SPIs of a child; of the connection with one remote identity, or of all."""
        return set().union(*(kids.get(child, set()) for _, kids, who in self.sas()
            if remote in (None, who)))

    def ike(self, remote=None):
        """Numbers of the established IKE_SAs."""
        return {number for number, _, who in self.sas() if remote in (None, who)}
