"""NAT events over IPFIX (RFC 7011, RFC 8158), read by two decoders that are not ours."""
import json
import re
import shutil
import socket
import struct
import subprocess
import time
import types

import pytest

from conftest import free_port, wait_for

IPFIX_PORT = 4739


class Collector:
    """A UDP socket that keeps what came."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(10)
        self.port = self.sock.getsockname()[1]
        self.messages = []

    def take(self):
        self.messages.append(self.sock.recv(65536))
        return self.messages[-1]

    def until(self, records):
        """Read until so many data records have come, by the sequence numbers of what follows."""
        while sum(map(data_records, self.messages)) < records:
            self.take()

    def close(self):
        self.sock.close()


# Sizes of a record, by template.
SIZES = {256: 25, 257: 38, 258: 37, 259: 17, 260: 25, 261: 41}


def sets(message):
    """(ID, bytes) of each."""
    version, length, _, _, domain = struct.unpack("!HHIII", message[:16])
    assert (version, length, domain) == (10, len(message), 7)
    at = 16
    while at < length:
        kind, size = struct.unpack("!HH", message[at:at + 4])
        yield kind, message[at + 4:at + size]
        at += size


def data_records(message):
    count = 0
    for kind, body in sets(message):
        if kind in SIZES:
            assert len(body) % SIZES[kind] == 0
            count += len(body) // SIZES[kind]
    return count


@pytest.fixture
def collector():
    c = Collector()
    yield c
    c.close()


def start(gateway, collector, more="", **kw):
    gateway.configure(metrics=True, more=f'ipfix {{ collector = "127.0.0.1:{collector.port}" '
        f"domain = 7 enterprise = 54321 {more} }}", **kw)
    return gateway.start()


def capture(messages, path):
    """A pcap file of them, as UDP datagrams to the port of IPFIX; link type RAW."""
    out = struct.pack("!IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101)
    for m in messages:
        udp = struct.pack("!HHHH", 40000, IPFIX_PORT, 8 + len(m), 0) + m
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0,
            bytes([127, 0, 0, 1]), bytes([127, 0, 0, 1])) + udp
        out += struct.pack("!IIII", 0, 0, len(ip), len(ip)) + ip
    path.write_bytes(out)


def flows(packet):
    """The records of one packet as tshark has them: {field: value} each."""
    found = []

    def walk(node):
        if isinstance(node, dict):
            for key, value in node.items():
                if re.fullmatch(r"Flow \d+", key):
                    flat = {}
                    flatten(value, flat)
                    found.append(flat)
                else:
                    walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    def flatten(node, flat):
        for key, value in node.items():
            if isinstance(value, dict):
                flatten(value, flat)
            else:
                flat.setdefault(key, []).append(value)
    walk(packet["_source"]["layers"]["cflow"])
    return found


def decode(messages, tmp_path):
    """Every record, in order, by tshark."""
    if not shutil.which("tshark"):
        pytest.skip("tshark is not installed")
    capture(messages, tmp_path / "ipfix.pcap")
    out = subprocess.run(["tshark", "-r", tmp_path / "ipfix.pcap", "-d",
        f"udp.port=={IPFIX_PORT},cflow", "-T", "json", "--no-duplicate-keys"], capture_output=True,
        text=True, check=True).stdout
    assert "Malformed" not in out
    return [f for packet in json.loads(out) for f in flows(packet)]


def one(record, field):
    values = record[field]
    value = values[0] if len(values) == 1 else values
    return value[0] if isinstance(value, list) and len(value) == 1 else value




def test_events_by_tshark(gateway, collector, tmp_path):
    start(gateway, collector, pool='ports = { "2000-2019" } hold-down = 0', policy="max-ports = 12")
    one_, two = gateway.udp("127.0.0.2"), gateway.udp("127.0.0.3")
    for host in (one_, two):
        host.register()
    before = time.time()
    a = one_.assign(8, first=2000, addr="203.0.113.1")
    b = one_.assign_ipsec(4, 16)
    one_.assign(1)  # the quota
    two.assign(12)  # more than is left
    one_.free(a.bind)
    one_.free(b.bind)
    collector.until(10)
    after = time.time()
    records = decode(collector.messages, tmp_path)
    events = [int(one(r, "cflow.nat_event")) for r in records]
    # binding, ports; ports, SPIs; quota; exhausted; ports; ports, SPIs, binding
    assert events == [14, 16, 16, 16, 13, 12, 17, 17, 17, 15], records
    for r, event in zip(records, events):
        assert one(r, "cflow.nat_instanceid") == "0"
        assert "cflow.observation_time_milliseconds" in r
        if event in (14, 15, 16, 17):
            assert one(r, "cflow.srcaddr") == "127.0.0.2"
            assert one(r, "cflow.post_natsource_ipv4_address") == "203.0.113.1"
    block = records[1]
    assert one(block, "cflow.port_range_start") == "2000" and one(block, "cflow.port_range_end") == "2007"
    assert one(block, "cflow.port_range_step_size") == "1" and one(block, "cflow.port_range_num_ports") == "8"
    ports = sorted(b.local_ports())
    assert int(one(records[2], "cflow.port_range_start")) == ports[0]
    assert "cflow.port_range_start" not in records[3]
    assert one(records[4], "cflow.srcaddr") == "127.0.0.2"
    assert one(records[4], "cflow.nat_quota_exceeded_event") == "3"
    assert one(records[4], "cflow.max_entries_per_user") == "12"
    # Our own elements, and the times, by the bytes: tshark does not know them.
    spis = sorted(b.local_spis())
    found = [body for m in collector.messages for kind, body in sets(m) if kind == 258]
    time_ms, instance, event, host, address, first, last, bind, client = struct.unpack(
        "!QIB4s4sIIII", found[0][:37])
    assert before - 0.01 <= time_ms / 1000 <= after and (instance, event) == (0, 16)
    assert (host, address) == (bytes([127, 0, 0, 2]), bytes([203, 0, 113, 1]))
    assert (first, last, bind, client) == (spis[0], spis[-1], b.bind, one_.client)
    assert gateway.metric("rsip_ipfix_records_total") == 10
    assert gateway.metric("rsip_ipfix_errors_total") == 0


def test_templates_come_again(gateway, collector):
    """At the start and after the interval; data records count in the sequence, templates do not."""
    start(gateway, collector, more="template-interval = 1")
    first = collector.take()
    assert [k for k, _ in sets(first)] == [2]
    host = gateway.udp("127.0.0.2")
    host.register()
    host.assign(4)
    collector.until(2)
    count = len(collector.messages)
    while [k for k, _ in sets(collector.take())] != [2]:
        pass
    again = collector.messages[-1]
    assert again[16:] == first[16:] and len(collector.messages) > count
    assert struct.unpack("!I", again[8:12])[0] == 2 and struct.unpack("!I", first[8:12])[0] == 0


def test_bindings_over_a_restart(gateway, collector):
    """An address binding ends with the last lease, also one that is older than rsipd."""
    start(gateway, collector)
    host = gateway.udp("127.0.0.2")
    host.register()
    a, b = host.assign(4), host.assign(4)
    collector.until(3)
    gateway.kill()
    gateway.start()
    collector.messages.clear()
    host.free(a.bind)
    host.free(b.bind)
    collector.until(3)
    kinds = [k for m in collector.messages for k, body in sets(m) if k != 2
        for _ in range(len(body) // SIZES[k])]
    assert kinds == [257, 257, 256]


def queued(port):
    """Bytes that wait in the socket at this port; None without one."""
    for line in open("/proc/net/udp"):
        words = line.split()
        if words[1].endswith(f":{port:04X}"):
            return int(words[4].split(":")[1], 16)
    return None


def test_by_nfdump(gateway, tmp_path):
    """A collector of others' takes and keeps them (it has no element for port blocks)."""
    if not shutil.which("nfcapd") or not shutil.which("nfdump"):
        pytest.skip("nfdump is not installed")
    port, folder = free_port(), tmp_path / "flows"
    folder.mkdir()
    nfcapd = subprocess.Popen(["nfcapd", "-b", "127.0.0.1", "-p", str(port), "-w", folder, "-t",
        "3600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: queued(port) is not None, "nfcapd listens")
        start(gateway, types.SimpleNamespace(port=port))
        host = gateway.udp("127.0.0.2")
        host.register()
        grant = host.assign(8)
        host.free(grant.bind)
        wait_for(lambda: gateway.metric("rsip_ipfix_records_total") == 4, "four records")
        wait_for(lambda: queued(port) == 0, "nfcapd has read them")
    finally:
        nfcapd.terminate()
        nfcapd.wait(10)
    file, = folder.glob("nfcapd.2*")
    out = subprocess.run(["nfdump", "-r", file, "-o", "raw"], capture_output=True, text=True,
        check=True).stdout
    records = [dict(re.findall(r"^ *([a-zA-Z ]+?) += +(\S+)", r, re.M))
        for r in out.split("Flow Record:")[1:]]
    assert [r["nat event"] for r in records] == ["14:", "16:", "17:", "15:"]
    for r in records:
        assert (r["src addr"], r["src xlt ip"]) == ("127.0.0.2", "203.0.113.1")
        assert abs(int(r["Event time"]) / 1000 - time.time()) < 60
