"""libreswan, unmodified, in a namespace of the guest; its package is unpacked there."""
import pathlib
import re
import signal
import subprocess

from topo import Failed, wait_for

DEBS = pathlib.Path("/var/cache/rsipsec")
PROGRAMS = pathlib.Path("/usr/libexec/ipsec")
PACKAGES = ("libreswan", "libnss3-tools")
SECRET = ': PSK "not very secret"\n'

CONF = """
config setup
    logfile={log}
    logappend=yes
    plutodebug=none
    uniqueids=no
    ikev1-policy=accept
    virtual-private=

conn %default
    authby=secret
    auto=add
    mobike=no
    retransmit-interval=300
    rekeymargin=30s
{connections}
"""


def why_not():
    """None, or what is missing."""
    for name in PACKAGES:
        if not list(DEBS.glob(f"{name}_*.deb")):
            return f"no {DEBS}/{name}_*.deb: make deps fetches it"
    return None


def unpack():
    """Into the guest's root, whose /lib and /sbin are links."""
    for name in PACKAGES:
        deb = next(DEBS.glob(f"{name}_*.deb"))
        subprocess.run(f"dpkg-deb --fsys-tarfile '{deb}' | tar -x --keep-directory-symlink -C /",
            shell=True, check=True, capture_output=True)


def conn(name, **settings):
    """A section of ipsec.conf; underscores in names of settings are hyphens."""
    return "\n".join([f"\nconn {name}"] + [f"    {k.replace('_', '-')}={v}"
        for k, v in settings.items()]) + "\n"


class Pluto:
    """pluto in a namespace, with sockets and files of its own."""

    def __init__(self, net, name, logs):
        self.net, self.name, self.log = net, name, logs / f"pluto-{name}.log"
        self.dir = net.dir / f"pluto-{name}"
        self.dir.mkdir(exist_ok=True)
        self.control = self.dir / "pluto.ctl"
        self.process = None

    def start(self, connections):
        """connections: text of conn() sections; all are loaded."""
        conf, secrets = self.dir / "ipsec.conf", self.dir / "ipsec.secrets"
        conf.write_text(CONF.format(log=self.log, connections=connections))
        secrets.write_text(SECRET)
        if not (self.dir / "cert9.db").exists():
            self.program("/usr/bin/certutil", "-N", "-d", f"sql:{self.dir}", "--empty-password")
        self.process = self.net.start(self.name, PROGRAMS / "pluto", "--nofork", "--config", conf,
            "--secretsfile", secrets, "--nssdir", self.dir, "--rundir", self.dir,
            log=f"pluto-{self.name}.out")
        wait_for(self.answers, f"pluto in {self.name} does not answer", 20)
        self.whack("--listen")
        for name in re.findall(r"^conn (\S+)$", connections, re.M):
            self.net.run(self.name, PROGRAMS / "addconn", "--config", conf, "--ctlsocket",
                self.control, name)
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise Failed(f"pluto in {self.name} ended with {self.process.returncode}")
        return self.control.exists() and self.whack("--status", check=False).returncode == 0

    def program(self, *words, check=True, timeout=30):
        p = subprocess.run(list(map(str, words)), text=True, capture_output=True, timeout=timeout)
        if check and p.returncode:
            raise Failed(f"{' '.join(map(str, words))} ({self.name}): {p.returncode}: "
                f"{(p.stdout + p.stderr).strip()[-600:]}")
        return p

    def whack(self, *words, check=True):
        """whack talks to a socket in the file system, so it needs no namespace."""
        return self.program(PROGRAMS / "whack", "--ctlsocket", self.control, *words, check=check)

    def up(self, connection):
        self.whack("--initiate", "--name", connection)
        return wait_for(lambda: self.spis(connection), f"{connection} has no SA")

    def stop(self):
        self.farewell()
        self.process.wait(20)

    def farewell(self):
        """It deletes its SAs at its peers, and ends."""
        self.process.send_signal(signal.SIGTERM)

    def spis(self, *connections):
        """Inbound SPIs of the kernel SAs of these connections, or of all."""
        found = set()
        for line in self.whack("--showstates").stdout.splitlines():
            m = re.search(r'#\d+: "([^"]+)"', line)
            if m and (not connections or m[1] in connections):
                # "esp.PEERS@... esp.OURS@OUR-ADDRESS": the odd ones are the peer's.
                found |= {int(x, 16) for x in re.findall(r"(?:esp|ah)\.([0-9a-f]+)@", line)[1::2]}
        return found

    def ike(self, *connections):
        """Numbers of the established IKE SAs."""
        return {int(m[1]) for line in self.whack("--showstates").stdout.splitlines()
            if "ESTABLISHED_IKE_SA" in line or "_MAIN_" in line or "_AGGR_" in line
            if (m := re.search(r'#(\d+): "([^"]+)"', line)) and m[2] in connections}

    def rekey(self, kind, connection):
        self.whack("--rekey-ike" if kind == "ike" else "--rekey-ipsec", "--name", connection)
