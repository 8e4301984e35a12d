"""Our bytes by another reader: the rsip dissector of tshark over every valid vector.

The dissector is a second opinion, not the specification.  Where it departs from the RFCs a
row of FAULTS says how, what it shows instead is computed from the row, and one test a row
proves that the fault is still there: when tshark repairs it, the row goes.
"""
import ipaddress
import json
import os
import pathlib
import re
import shutil
import subprocess
import xml.etree.ElementTree as xml

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
VECTORS = json.loads((ROOT / "tests" / "vectors.json").read_text())
VALID = [v for v in VECTORS if v["kind"] == "valid"]
BY_NAME = {v["name"]: v for v in VECTORS}
RSIP_PORT = 4555

pytestmark = pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")


# --- What tshark reads ----------------------------------------------------------------------


class Param:
    """One parameter as tshark shows it: its title, its bytes, and the fields of its value."""

    def __init__(self, field):
        self.title = field.get("show")
        self.raw = bytes.fromhex(field.get("value", ""))
        self.start = int(field.get("pos"))
        self.fields = [f for f in field.iter() if f.get("name").startswith("rsip.")]

    def find(self, name):
        return [f for f in self.fields if f.get("name") == "rsip.parameter." + name]

    def all(self, name):
        return [f.get("show") for f in self.find(name)]

    def one(self, name):
        return next(iter(self.all(name)), None)

    def word(self, name):
        """"IP-IP Tunnel" of the field shown as "Tunnel type: IP-IP Tunnel (1)"."""
        return after_colon(self.find(name)[0].get("showname"))

    def place(self, name):
        """Offset in the parameter and size of a field."""
        field = self.find(name)[0]
        return int(field.get("pos")) - self.start, int(field.get("size"))


def after_colon(text):
    return re.fullmatch(r"[^:]*: (.*) \(\d+\)", text).group(1).strip()


class Message:
    def __init__(self, protos):
        self.malformed = any(p.get("name") == "_ws.malformed" for p in protos)
        self.params, self.name, self.len = [], None, None
        for field in (f for p in protos if p.get("name") == "rsip" for f in p):
            if field.get("name") == "rsip.message_type":
                self.name = after_colon(field.get("showname"))
            elif field.get("name") == "rsip.message_length":
                self.len = int(field.get("show"))
            elif field.get("name") == "":
                self.params.append(Param(field))


def tshark(payloads, tmp_path):
    """A Message for each (transport, bytes), each in a packet of its own."""
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.layers.l2 import Ether
    from scapy.utils import wrpcap

    packets, seq = [], 1
    for i, (transport, payload) in enumerate(payloads):
        if transport == "udp":
            layer = UDP(sport=40000, dport=RSIP_PORT)
        else: # another connection each, unless they belong together
            layer = TCP(sport=40000 + (i if transport == "tcp" else 0), dport=RSIP_PORT,
                flags="PA", seq=seq, ack=1)
            seq += len(payload)
        packets.append(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
            / IP(src="10.0.0.11", dst="10.0.0.1") / layer / payload)
    capture = tmp_path / "rsip.pcap"
    wrpcap(str(capture), packets)
    run = subprocess.run(["tshark", "-n", "-r", str(capture), "-T", "pdml"], check=True,
        capture_output=True, text=True, timeout=60)
    return [Message(list(packet)) for packet in xml.fromstring(run.stdout)]


@pytest.fixture(scope="module")
def readings(tmp_path_factory):
    messages = tshark([(v["transport"], bytes.fromhex(v["hex"])) for v in VALID],
        tmp_path_factory.mktemp("tshark"))
    assert len(messages) == len(VALID)
    return {v["name"]: m for v, m in zip(VALID, messages)}


# --- The same value twice: as the vector says it, and as tshark does ------------------------

TUNNELS = {1: "IP-IP Tunnel", 2: "GRE Tunnel", 3: "L2TP"}
METHODS = {1: "RSA-IP", 2: "RSAP-IP", 3: "RSIPSEC"}
FLOWS = {1: "Macro Flows", 2: "Micro Flows", 3: "No Policy"}


def error_numbers():
    """{"REGISTER_FIRST": 301} from the header."""
    text = (ROOT / "src" / "wire" / "proto.h").read_text()
    enum = re.search(r"enum rsip_error \{(.*?)\}", text, re.S).group(1)
    return {name: int(n) for name, n in re.findall(r"RSIP_(\w+) = (\d+)", enum)}


def as_words(name):
    """LOCAL_ADDRPORT_INUSE the way tshark writes it, in small letters."""
    long = {"ADDRPORT": "ADDRESS PORT", "ADDR": "ADDRESS", "PARAM": "PARAMETER"}
    return " ".join(long.get(w, w) for w in name.split("_")).lower()


ERROR_NUMBERS = error_numbers()
ERRORS = {n: as_words(name) for name, n in ERROR_NUMBERS.items()}


def ports_meant(value):
    if value["form"] == "dont_need":
        return "none"
    if value["form"] in ("dont_care", "all_zero"):
        return f"any {max(value['number'], 1)}"
    if value["form"] == "contiguous":
        return f"{value['first']} to {value['first'] + value['number'] - 1}"
    return " ".join(str(p) for p in value["ports"])


def ports_seen(p):
    title = p.title.replace("Port", "", 1).lstrip(": ")
    if not p.all("ports.number"):
        return "none"
    if title == "Any port":
        return "any 1"
    if title.startswith("Any "):
        return f"any {int(title.split()[1])}"
    if " - " in title:
        return " to ".join(title.split(" - "))
    return " ".join(p.all("ports.port_number"))


def spis_meant(value):
    listed = value.get("spis") or ([value["first"]] if "first" in value else [])
    return [value["number"]] + [int(s, 16) for s in listed]


def spis_seen(p):
    return [int(p.one("spi_number"))] + [int(s, 16) for s in p.all("spi")]


def address_meant(value):
    if value.get("dont_care") and "address" not in value:
        return "any"
    text = value.get("fqdn") or value["address"]
    return str(ipaddress.ip_address(text)) if "address" in value else text


def address_seen(p):
    if p.title.startswith("Address: Any"):
        return "any"
    return (p.one("address") or p.one("netmask")
        or p.one("address.ipv6") or p.one("fqdn"))


def vendor_meant(value):
    return value["vendor_id"], value["subtype"], (3 + 4, len(value["data"]) // 2)


def vendor_seen(p):
    return (int(p.one("vendor_specific.vendor_id")), int(p.one("vendor_specific.subtype")),
        p.place("vendor_specific.value"))


def same(value):
    return value


def title(p):
    return p.title.split(": ", 1)[1]


# Parameter type -> what a vector's value means, what tshark took it for.
VALUES = {
    1: (address_meant, address_seen),
    2: (ports_meant, ports_seen),
    3: (same, lambda p: int(p.one("lease_time"))),
    4: (same, lambda p: int(p.one("client_id"))),
    5: (same, lambda p: int(p.one("bind_id"))),
    6: (TUNNELS.get, title),
    7: (METHODS.get, title),
    8: (ERRORS.get, lambda p: title(p).lower()),
    9: (lambda value: (FLOWS[value["local"]], FLOWS[value["remote"]]),
        lambda p: (p.word("local_flow_policy"), p.word("remote_flow_policy"))),
    10: (same, lambda p: int(p.one("indicator"), 16)),
    11: (same, lambda p: int(title(p))),
    12: (vendor_meant, vendor_seen),
    22: (spis_meant, spis_seen),
}


# --- Where tshark is wrong ------------------------------------------------------------------


class Fault:
    """Where it applies: a parameter type, and a predicate of a vector's value and the
    parameter's bytes; what tshark shows then: a function of the value and the bytes behind.
    """

    def __init__(self, name, param, applies, shows):
        self.name, self.param, self.applies, self.shows = name, param, applies, shows


FAULTS = [
    Fault("IPsec errors numbered from 400, not 401 (RFC 3104 appendix B)", 8,
        lambda value, raw: value >= 401,
        lambda value, rest: {401: "ipsec spi unavailable", 402: "ipsec spi inuse",
            403: "undefined error (403)"}[value]),
    Fault("method RSIPSEC unknown (RFC 3104 section 6.1)", 7,
        lambda value, raw: value == 3,
        lambda value, rest: "Unknown RSIP Method (3)"),
    Fault("only the first SPI of a list (RFC 3104 section 6.2)", 22,
        lambda value, raw: value["form"] == "list",
        lambda value, rest: spis_meant(value)[:2]),
    Fault("don't-care SPI read from the four bytes behind the parameter", 22,
        lambda value, raw: value["form"] == "dont_care",
        lambda value, rest: [value["number"], int.from_bytes(rest[:4], "big")]),
    Fault("block of ports one too long (RFC 3103 section 8.2)", 2,
        lambda value, raw: value["form"] == "contiguous",
        lambda value, rest: f"{value['first']} to {value['first'] + value['number']}"),
    Fault("all-zero ports shown as a block, not as don't care", 2,
        lambda value, raw: value["form"] == "all_zero",
        lambda value, rest: f"0 to {value['number']}"),
    Fault("indicator of one byte read as two (RFC 3103 section 9.14.1)", 10,
        lambda value, raw: len(raw) == 3 + 1,
        lambda value, rest: value << 8 | rest[0]),
    Fault("title of a counter signed", 11,
        lambda value, raw: value >= 1 << 31,
        lambda value, rest: value - (1 << 32)),
    Fault("vendor data two bytes late (RFC 3103 section 8.12)", 12,
        lambda value, raw: True,
        lambda value, rest: (value["vendor_id"], value["subtype"],
            (3 + 6, len(value["data"]) // 2 - 2))),
]
TYPE_23 = "ASSIGN_RESPONSE_RSIPEC"


def fault_of(kind, value, raw):
    return next((f for f in FAULTS if f.param == kind and f.applies(value, raw)), None)


def cut(payload):
    """[(offset, type, bytes)] of the parameters of a message."""
    at, found = 4, []
    while at < len(payload):
        end = at + 3 + int.from_bytes(payload[at + 1:at + 3], "big")
        found.append((at, payload[at], payload[at:end]))
        at = end
    return found


def compare(name, payload, values, message):
    """Check one reading against a row of values; returns [(fault, meant, seen)] met."""
    params, met = cut(payload), []
    assert not message.malformed
    assert message.len == len(payload)
    assert message.name == (TYPE_23 if payload[1] == 23 else name)
    assert [p.raw for p in message.params] == [raw for _, _, raw in params]
    assert len(params) == len(values)
    for (at, kind, raw), seen, value in zip(params, message.params, values):
        meant, took = VALUES[kind]
        fault = fault_of(kind, value, raw)
        want = fault.shows(value, payload[at + len(raw):]) if fault else meant(value)
        assert took(seen) == want, (fault and fault.name, seen.title)
        if fault:
            met.append((fault, meant(value), took(seen)))
    return met


def compare_vector(vector, message):
    return compare(vector["message_name"], bytes.fromhex(vector["hex"]),
        [p["value"] for p in vector["fields"]["parameters"]], message)


# P-9-01, P-8-01, P-8.1-01, P-8.2-03, P-8.3-01, P-9.3-03: every message, read by another.
@pytest.mark.parametrize("vector", VALID, ids=lambda v: v["name"])
def test_vector(vector, readings):
    compare_vector(vector, readings[vector["name"]])


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_fault_is_still_there(fault, readings):
    met = [(meant, seen) for v in VALID
        for f, meant, seen in compare_vector(v, readings[v["name"]]) if f is fault]
    assert met, "no vector shows it"
    for meant, seen in met:
        assert meant != seen


def test_type_23_is_still_misspelt(readings):
    names = {readings[v["name"]].name for v in VALID if v["message_type"] == 23}
    assert names == {TYPE_23}


def test_error_names(tmp_path):
    """Every error number, its name from the header; the IPsec ones as in FAULTS."""
    messages = tshark([("udp", bytes.fromhex("0101 0009 080002") + n.to_bytes(2, "big"))
        for n in ERRORS], tmp_path)
    for n, message in zip(ERRORS, messages):
        fault = fault_of(8, n, b"")
        want = fault.shows(n, b"") if fault else ERRORS[n]
        assert VALUES[8][1](message.params[0]) == want


# --- Random messages of ours ----------------------------------------------------------------


def address_of(text):
    if text == "*":
        return {"dont_care": True}
    try:
        return {"address": str(ipaddress.ip_address(text))}
    except ValueError:
        return {"fqdn": text}


def numbers_of(text, items):
    """Ports or SPIs as wire_print() writes them, in the words of a vector."""
    if text == "-":
        return {"form": "dont_need"}
    if text.startswith("*"):
        return {"form": "dont_care", "number": int(text[1:])}
    if "-" in text:
        lo, hi = text.split("-")
        return {"form": "contiguous", "number": int(hi, 0) - int(lo, 0) + 1,
            "first": lo if items == "spis" else int(lo)}
    listed = text.split(",")
    return {"form": "list" if len(listed) > 1 else "single", "number": len(listed),
        items: listed}


def index(words, text):
    """Number of a word, or the number itself where tshark and we have no word."""
    return words.index(text) if text in words else int(text)


FLOW_WORDS = [None, "macro", "micro", "none"]
TUNNEL_WORDS = [None, "ipip", "gre", "l2tp"]
METHOD_WORDS = [None, "rsa-ip", "rsap-ip", "rsipsec"]
INDICATORS = {"address": 1, "network": 2, "local-address": 1, "local-network": 2,
    "remote-address": 3, "remote-network": 4}
LABELS = {
    "error": lambda t: [ERROR_NUMBERS[t]],
    "local": lambda t: [address_of(t)],
    "remote": lambda t: [address_of(t)],
    "endpoint": lambda t: [address_of(t)],
    "ports": lambda t: [numbers_of(t, "ports")],
    "remote-ports": lambda t: [numbers_of(t, "ports")],
    "spis": lambda t: [numbers_of(t, "spis")],
    "flow": lambda t: [dict(zip(("local", "remote"),
        (FLOW_WORDS.index(w) for w in t.split("/"))))],
    "tunnel": lambda t: [index(TUNNEL_WORDS, w) for w in t.split(",")],
    "method": lambda t: [index(METHOD_WORDS, w) for w in t.split(",")],
}


def values_of(label, text):
    """A word of wire_print(), as the values of the parameters that it stands for."""
    if label in LABELS:
        return LABELS[label](text)
    if label not in INDICATORS:
        return [int(text)]
    if not label.endswith("network"):
        return [INDICATORS[label], address_of(text)]
    address, bits = text.split("/")
    whole = 0xffffffff << (32 - int(bits)) & 0xffffffff
    if ":" in address:
        whole = (1 << 128) - (1 << (128 - int(bits)))
        mask = str(ipaddress.IPv6Address(whole))
    else:
        mask = str(ipaddress.IPv4Address(whole))
    return [INDICATORS[label], address_of(address), {"address": mask}]


# P-8.2-03, S-6.2-04, P-9-05, P-9-06: what encode writes and print says, read by another.
def test_random_messages(tmp_path):
    program = pathlib.Path(os.environ.get("RSIP_BUILD", ROOT / "build")) / "tests/unit/wire_random"
    if not program.exists():
        pytest.skip(f"{program} is not built")
    lines = [line.split(" ", 1) for line in subprocess.run([program, "500"], check=True,
        capture_output=True, text=True, timeout=60).stdout.splitlines()]
    assert len(lines) == 500
    payloads = [bytes.fromhex(line[0]) for line in lines]
    for (_, text), payload, message in zip(lines, payloads,
            tshark([("udp", p) for p in payloads], tmp_path)):
        if payload[-5:-2] == b"\x16\0\2": # a don't-care SPI, see below
            assert message.malformed
            continue
        name, *words = text.split()
        values = [v for w in words for v in values_of(*w.split("=", 1))]
        compare(name, payload, values, message)


# --- Faults that need a message of their own ------------------------------------------------

def vector_bytes(name):
    return bytes.fromhex(BY_NAME[name]["hex"])


def test_two_messages_in_a_segment_are_not_cut(tmp_path):
    """P-9-04: the header of the second is taken for a parameter of the first."""
    extend = vector_bytes("extend-request")
    one, two = tshark([("tcp", extend), ("tcp", extend + extend)], tmp_path)
    assert not one.malformed
    assert two.malformed


def test_split_message_is_not_put_together(tmp_path):
    extend = vector_bytes("extend-request")
    first, second = tshark([("stream", extend[:9]), ("stream", extend[9:])], tmp_path)
    assert first.malformed
    assert second.name != "EXTEND_REQUEST"


def test_overall_length_is_ignored(tmp_path):
    """P-9-03: the datagram goes on behind the message; tshark reads on."""
    payload = vector_bytes("bad-length-short")
    message, = tshark([("udp", payload)], tmp_path)
    assert message.len < len(payload)
    assert sum(len(p.raw) for p in message.params) == len(payload) - 4


def test_dont_care_spi_at_the_end_is_malformed(tmp_path):
    payload = vector_bytes("rsipsec-request-spi-any4-ports")
    # Without the Message Counter: a good message over TCP.
    payload = payload[:3] + bytes([len(payload) - 7]) + payload[4:-7]
    message, = tshark([("tcp", payload)], tmp_path)
    assert message.malformed


def test_nothing_is_validated(tmp_path):
    """Broken requests that tile are shown as they come."""
    broken = [vector_bytes(name) for name in ("order-swapped-params", "duplicate-lease",
        "extra-client-id-in-register")]
    for payload, message in zip(broken, tshark([("udp", b) for b in broken], tmp_path)):
        assert not message.malformed
        assert [p.raw for p in message.params] == [raw for _, _, raw in cut(payload)]


# P-8.12-02: what a seal (docs/protocol.md, "Protection") puts at the end is a parameter like any
# other to who does not know it; the message in front of it reads as before.
def test_sealed_messages(tmp_path):
    import sys
    sys.path.insert(0, str(ROOT / "tests" / "control"))
    from seal import SEAL_LEN, Key, seal
    key = Key("x1")
    for name in ("register-request-udp", "extend-request", "rsipsec-request-spi-block"):
        vector = BY_NAME[name]
        plain = bytes.fromhex(vector["hex"])
        sealed = seal(plain, key, key.to_gateway, "10.0.0.11", "10.0.0.1", 7)
        message, = tshark([("udp", sealed)], tmp_path)
        assert not message.malformed
        assert message.len == len(sealed) == len(plain) + SEAL_LEN
        last = message.params.pop()
        assert last.raw == sealed[-SEAL_LEN:] and "Vendor" in last.title
        message.len -= SEAL_LEN
        compare_vector(vector, message)
