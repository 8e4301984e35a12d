"""`rsip gateway monitor`, and the same events in the journal's own format."""
import json
import os
import queue
import re
import socket
import subprocess
import threading

import pytest

import rsip
from conftest import Gateway, RSIP, wait_for
from test_control import raw

FIELDS = {"time", "event"}


class Monitor:
    """The program, and the events that it printed."""

    def __init__(self, gateway, *options, wanted=True):
        self.process = subprocess.Popen([RSIP, "gateway", "monitor", "--json", *options, "--socket",
            gateway.socket], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.events = queue.Queue()
        self.thread = threading.Thread(target=self.read)
        self.thread.start()
        if wanted:  # it listens once rsipd says so
            wait_for(lambda: watchers(gateway) > 0, "the monitor is there")

    def read(self):
        for line in self.process.stdout:
            self.events.put(json.loads(line))

    def next(self, name=None):
        """The next event, or the next of that name."""
        while True:
            event = self.events.get(timeout=10)
            if name in (None, event["event"]):
                return event

    def close(self):
        self.process.kill()
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()


def watchers(gateway):
    return gateway.metric("rsip_watchers")


@pytest.fixture
def monitor(running):
    m = Monitor(running)
    yield m
    m.close()


def test_what_happens(running, monitor):
    host = running.udp("127.0.0.2")
    host.register()
    event = monitor.next()
    assert (event["event"], event["host"], event["client_id"]) == ("registered", "127.0.0.2",
        host.client)
    assert re.fullmatch(r"[0-9-]{10}T[0-9:]{8}\.[0-9]{3}Z", event["time"])
    a, b = host.assign(8), host.assign_ipsec(4, 8)
    held = {x["bind_id"]: x for x in running.json("show", "bindings")}
    for grant in (a, b):
        event = monitor.next()
        assert event["event"] == "granted"
        want = held[grant.bind]
        for key in set(want) - {"lease_remaining", "state"}:
            assert event[key] == want[key], key
    host.extend(a.bind)
    assert monitor.next()["event"] == "extended"
    host.free(a.bind)
    event = monitor.next()
    assert (event["event"], event["bind_id"], event["reason"]) == ("ended", a.bind, "freed")
    host.free(a.bind)
    event = monitor.next()
    assert (event["event"], event["host"], event["error"], event["name"]) == ("refused", "127.0.0.2",
        306, "BAD_BIND_ID")
    running.cli("deregister", str(host.client))
    assert [monitor.next()["event"] for _ in range(2)] == ["ended", "deregistered"]


def test_quota_is_not_exhaustion(gateway):
    """Both are 309 to the host; to the operator they are not the same."""
    gateway.configure(metrics=True, pool='ports = { "2000-2009" } hold-down = 0',
        policy="max-ports = 8").start()
    m = Monitor(gateway)
    try:
        one, two = gateway.udp("127.0.0.2"), gateway.udp("127.0.0.3")
        for host in (one, two):
            host.register()
        assert one.assign(8).error is None
        assert one.assign(1).error == 309
        assert m.next("quota")["host"] == "127.0.0.2"
        assert two.assign(4).error == 309
        assert m.next("exhausted")["host"] == "127.0.0.3"
    finally:
        m.close()


def test_lines_and_count(running):
    p = subprocess.Popen([RSIP, "gateway", "monitor", "-n", "2", "--socket", running.socket],
        stdout=subprocess.PIPE, text=True)
    wait_for(lambda: watchers(running) == 1, "the monitor is there")
    host = running.udp("127.0.0.2")
    host.register()
    host.assign(4)
    out, _ = p.communicate(timeout=10)
    assert p.returncode == 0
    first, second = out.splitlines()
    assert " registered " in first and " host=127.0.0.2" in first
    assert " granted " in second and " method=rsap-ip" in second and " ports=" in second
    wait_for(lambda: watchers(running) == 0, "its going is noticed")


def test_a_slow_reader_costs_nobody(running):
    """One that reads nothing: others are served, and what it missed is counted for it."""
    call = {"method": "org.rsipsec.gateway.Monitor", "more": True}
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(running.socket))
        s.sendall(json.dumps(call).encode() + b"\0")
        wait_for(lambda: watchers(running) == 1, "the monitor is there")
        host = running.tcp("127.0.0.2", counters=True)
        host.register()
        for _ in range(30):
            host.send(b"".join(host.build(rsip.FREE, host.me(), rsip.u32(rsip.BIND_ID, 7))
                for _ in range(200)))
            for _ in range(200):
                assert host.receive().error == 306
        data, events, missed = b"", 0, 0
        s.settimeout(10)
        while events + missed < 6001:
            data += s.recv(1 << 20)
            *whole, data = data.split(b"\0")
            for message in whole:
                answer = json.loads(message)
                assert answer["continues"]
                events += len(answer["parameters"]["events"])
                missed += answer["parameters"]["missed"]
    assert events + missed == 6001


def test_not_without_more(running):
    assert raw(running, {"method": "org.rsipsec.gateway.Monitor"})[0]["error"] == "org.rsipsec.Refused"
    assert Monitor(running, "-n", "0", wanted=False).process.wait(10) == 2


@pytest.fixture
def journal(tmp_path):
    """A gateway whose stderr is the journal's stream, and the journal's socket."""
    enter = ["unshare", "-rm" if os.geteuid() != 0 else "-m", "--propagation", "private"]
    probe = subprocess.run([*enter, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip(f"no mount namespace here: {probe.stderr.strip()}")
    run = tmp_path / "run-of-the-system"
    (run / "systemd" / "journal").mkdir(parents=True)
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(str(run / "systemd" / "journal" / "socket"))
    s.settimeout(10)
    script = f'mount --bind "{run}" /run && exec "$@"'
    g = Gateway(tmp_path, [*enter, "sh", "-c", script, "sh"])
    g.log.touch()
    st = g.log.stat()
    os.environ["JOURNAL_STREAM"] = f"{st.st_dev}:{st.st_ino}"
    yield g, s
    del os.environ["JOURNAL_STREAM"]
    g.close()
    s.close()


def test_journal_fields(journal):
    gateway, s = journal
    gateway.configure().start(options=["-v"])

    def entry(message):
        """The fields of the next one whose MESSAGE begins so."""
        while True:
            found = dict(line.split("=", 1) for line in s.recv(65536).decode().splitlines())
            assert found["SYSLOG_IDENTIFIER"] == "rsipd"
            if found["MESSAGE"].startswith(message):
                return found
    assert entry("ready")["PRIORITY"] == "6"
    host = gateway.udp("127.0.0.2")
    host.register()
    grant = host.assign_ipsec(4, 8)
    fields = entry("lease granted")
    held, = gateway.json("show", "bindings")
    assert fields["RSIP_HOST"] == "127.0.0.2" and fields["RSIP_CLIENT"] == str(host.client)
    assert fields["RSIP_BIND"] == str(grant.bind) and fields["RSIP_ADDRESS"] == "203.0.113.1"
    assert (fields["RSIP_PORTS"], fields["RSIP_SPI"]) == (held["ports"], held["spis"])
    assert re.fullmatch(r"[0-9a-f]{32}", fields["MESSAGE_ID"]) and fields["PRIORITY"] == "7"
    host.free(grant.bind)
    ended = entry("lease ended")
    assert ended["RSIP_REASON"] == "freed" and ended["MESSAGE_ID"] != fields["MESSAGE_ID"]
    # Not twice: nothing of this is on stderr.
    assert "lease granted" not in gateway.log.read_text()
