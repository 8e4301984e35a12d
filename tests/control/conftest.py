"""A gateway for each test: rsipd with driver none on loopback, hosts at 127.0.0.x."""
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

import rsip

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("RSIP_BUILD", ROOT / "build"))
RSIPD, RSIP = BUILD / "bin" / "rsipd", BUILD / "bin" / "rsip"


def wait_for(condition, what, seconds=10):
    """Until condition() gives something true, which is returned."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.01)


def free_port(addr="127.0.0.1"):
    """A port that neither UDP nor TCP uses now."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u, \
                socket.socket(socket.AF_INET, socket.SOCK_STREAM) as t:
            u.bind((addr, 0))
            try:
                t.bind((addr, u.getsockname()[1]))
            except OSError:
                continue
            return u.getsockname()[1]


class Gateway:
    """rsipd and what a test does to it."""

    def __init__(self, folder, wrapper=()):
        self.folder = pathlib.Path(folder)
        self.wrapper = list(wrapper)
        self.port = free_port()
        self.at = ("127.0.0.1", self.port)
        self.state = self.folder / "state"
        self.socket = self.folder / "run" / "rsipd.sock"
        self.file = self.folder / "rsipd.conf"
        self.log = self.folder / "log"
        self.process = None
        self.hosts = []
        self.http_port = None

    def configure(self, gateway="", pool="", policy="", more="", listen=None, metrics=False,
            addresses="203.0.113.1"):
        """Write the file: the sections with some keys of the test's own."""
        text = f"""
gateway {{
    listen = {{ "{listen or '127.0.0.1:%d' % self.port}" }}
    state-dir = "{self.state}"
    control-socket = "{self.socket}"
    {gateway}
}}
dataplane {{ driver = "none" }}
"""
        if addresses:
            text += f'pool public {{ addresses = {{ "{addresses}" }}\n {pool} }}\n'
        if policy:
            text += f"policy test {{ {policy} }}\n"
        if metrics:
            self.http_port = self.http_port or free_port()
            text += f'metrics {{ listen = "127.0.0.1:{self.http_port}" }}\n'
        self.file.write_text(text + more)
        return self

    def start(self, expect_ready=True, options=()):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*self.wrapper, RSIPD, "-c", self.file, "-f", *options],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        if expect_ready:
            line = self.read_line()
            assert "ready" in line, (line, self.log.read_text())
        return self

    def read_line(self, timeout=20):
        out = self.process.stdout
        if not select.select([out], [], [], timeout)[0]:
            pytest.fail("rsipd said nothing on stdout")
        return out.readline().decode()

    def stop(self, number=signal.SIGTERM):
        """Ends it; the exit status."""
        if self.process is None:
            return None
        self.process.send_signal(number)
        status = self.process.wait(20)
        self.process.stdout.close()
        self.process = None
        return status

    def kill(self):
        return self.stop(signal.SIGKILL)

    def reload(self):
        """SIGHUP, and wait until the log says what came of it; the new lines."""
        before = len(self.log.read_text())
        self.process.send_signal(signal.SIGHUP)
        return wait_for(lambda: (lambda t: t if "configuration" in t else None)(
            self.log.read_text()[before:]), "an answer to SIGHUP in the log")

    def udp(self, addr, port=0):
        host = rsip.Udp(self.at, addr, port)
        self.hosts.append(host)
        return host

    def tcp(self, addr, counters=False):
        host = rsip.Tcp(self.at, addr, counters)
        self.hosts.append(host)
        return host

    def cli(self, *args, status=0):
        """`rsip gateway ...`; its stdout."""
        p = subprocess.run([RSIP, "gateway", *args, "--socket", self.socket],
            capture_output=True, text=True, timeout=30)
        assert p.returncode == status, (args, p)
        return p.stdout if status == 0 else p.stdout + p.stderr

    def json(self, *args, status=0):
        return json.loads(self.cli(*args, "--json", status=status))

    def http(self, path):
        """Status and text."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}",
                    timeout=10) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def metric(self, name):
        """The value of `name{label="x"}`; 0 where there is no such series."""
        for line in self.http("/metrics")[1].splitlines():
            if line.rsplit(" ", 1)[0] == name:
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def close(self):
        for host in self.hosts:
            host.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)
            self.process.stdout.close()


@pytest.fixture
def gateway(tmp_path):
    """Not configured and not started yet."""
    g = Gateway(tmp_path)
    yield g
    g.close()
    # Sanitizer reports end up in the log; a test that passed must not have one.
    text = g.log.read_text(errors="replace") if g.log.exists() else ""
    assert "Sanitizer" not in text and "runtime error" not in text, text


@pytest.fixture
def running(gateway):
    """Started with the defaults, metrics served."""
    return gateway.configure(metrics=True).start()
