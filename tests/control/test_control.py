"""`rsip gateway ...` against a running rsipd: text, --json and exit status."""
import datetime
import json
import re
import socket
import subprocess

import rsip
from conftest import ROOT, RSIP, wait_for

BINDING = {"client_id", "bind_id", "host", "method", "address", "ports", "spis", "remote_address",
    "remote_ports", "tunnel", "lease_remaining", "state"}


def range_text(numbers, hexadecimal=False):
    lo, hi = min(numbers), max(numbers)
    assert numbers == set(range(lo, hi + 1))
    return f"{lo:#010x}-{hi:#010x}" if hexadecimal else f"{lo}-{hi}"


def test_bindings(running):
    host = running.udp("127.0.0.2")
    host.register()
    plain = host.assign(16)
    ipsec = host.assign_ipsec(4, 256)
    by_id = {b["bind_id"]: b for b in running.json("show", "bindings")}
    assert set(by_id) == {plain.bind, ipsec.bind}
    b = by_id[ipsec.bind]
    assert set(b) >= BINDING
    assert 3590 <= b.pop("lease_remaining") <= 3600
    assert b == {"client_id": host.client, "bind_id": ipsec.bind, "host": "127.0.0.2",
        "method": "rsipsec", "address": "203.0.113.1", "ports": range_text(ipsec.local_ports()),
        "spis": range_text(ipsec.local_spis(), True), "remote_address": None,
        "remote_ports": None, "tunnel": "ipip", "state": "held"}
    assert by_id[plain.bind]["method"] == "rsap-ip" and by_id[plain.bind]["spis"] is None
    text = running.cli("show", "bindings")
    assert str(plain.bind) in text and range_text(plain.local_ports()) in text


def test_remote_policy_in_a_binding(gateway):
    gateway.configure(policy='remote-flow = "micro"').start()
    host = gateway.udp("127.0.0.2")
    host.register()
    grant = host.call(rsip.ASSIGN_RSAP, host.me(), rsip.address(), rsip.ports(1),
        rsip.address("192.0.2.9"), rsip.ports(1, 80))
    assert grant.type == rsip.ASSIGN_RSAP_OK
    b, = gateway.json("show", "bindings")
    assert (b["remote_address"], b["remote_ports"]) == ("192.0.2.9", "80")


def test_clients(running):
    one, two = running.udp("127.0.0.2"), running.tcp("127.0.0.3")
    one.register()
    one.assign()
    one.assign()
    two.register()
    clients = {c["host"]: c for c in running.json("show", "clients")}
    assert {c.pop("lease_remaining") in range(3590, 3601) for c in clients.values()} == {True}
    assert clients == {
        "127.0.0.2": {"client_id": one.client, "host": "127.0.0.2", "transport": "udp", "bindings": 2},
        "127.0.0.3": {"client_id": two.client, "host": "127.0.0.3", "transport": "tcp", "bindings": 0}}
    assert "127.0.0.3" in running.cli("show", "clients")


def test_pools(gateway):
    gateway.configure(pool='dedicated = { "203.0.113.64/30" }', addresses="203.0.113.0/30",
        more='pool second { addresses = { "198.51.100.1" } ports = { "2000-2099" } }').start()
    host = gateway.udp("127.0.0.2")
    host.register()
    held = host.assign(10, "203.0.113.1")
    rests = host.assign(5, "203.0.113.1")
    host.free(rests.bind)
    pools = {p["name"]: {a["address"]: a for a in p["addresses"]} for p in gateway.json("show", "pools")}
    assert set(pools) == {"public", "second"}
    first = pools["public"]["203.0.113.1"]
    assert (first["ports_held"], first["ports_resting"]) == (10, 5)
    assert first["ports_free"] == 64510 - 15 and first["spis_held"] == 0
    assert pools["second"]["198.51.100.1"]["ports_free"] == 100
    assert held.local() == "203.0.113.1"
    assert "second" in gateway.cli("show", "pools")


# interfaces: one address with 1024-65535 starts with 64510 free ports.
def test_reserved_ports_are_never_leased(running):
    address = running.json("show", "pools")[0]["addresses"][0]
    assert address["ports_free"] == 64510
    host = running.udp("127.0.0.2")
    host.register()
    for port in (500, 4500, 4555, 80):
        assert host.assign(1, first=port).error == 313


def test_status_and_counters(running):
    host = running.udp("127.0.0.2")
    host.register()
    host.assign()
    status = running.json("show", "status")
    assert isinstance(status, dict)
    assert (status["driver"], status["clients"], status["bindings"]) == ("none", 1, 1)
    assert status["healthy"] is True and status["transports"] == ["tcp", "udp"]
    counters = running.json("show", "counters")
    assert counters["rsip_requests_total"]["REGISTER_REQUEST"] == 1
    assert counters["rsip_bindings"]["rsap-ip"] == 1
    assert re.search(r"^rsip_requests_total\.REGISTER_REQUEST +1$", running.cli("show", "counters"), re.M)


def test_release_tells_the_host(running):
    for host in (running.udp("127.0.0.2"), running.tcp("127.0.0.3", counters=True)):
        host.register()
        grant = host.assign()
        running.cli("release", str(grant.bind))
        told = host.receive()
        assert (told.type, told.bind, told.client, told.counter) == (rsip.FREE_OK, grant.bind,
            host.client, 0)
        assert host.extend(grant.bind).error == 306
    assert running.json("show", "bindings") == []


def test_deregister_tells_the_host(running):
    for host in (running.udp("127.0.0.2"), running.tcp("127.0.0.3", counters=True)):
        host.register()
        host.assign()
        running.cli("deregister", str(host.client))
        told = host.receive()
        assert (told.type, told.client, told.counter) == (rsip.DEREGISTER_OK, host.client, 0)
        assert host.assign().error == 301
    assert running.json("show", "clients") == running.json("show", "bindings") == []


def test_what_is_not_there(running):
    assert "no binding 7" in running.cli("release", "7", status=1)
    assert "no client 7" in running.cli("deregister", "7", status=1)
    running.cli("release", "x", status=2)
    running.cli("release", "0", status=2)
    running.cli("release", status=2)
    running.cli("show", "nothing", status=2)


def test_no_daemon(gateway):
    gateway.configure()
    out = gateway.cli("show", "status", status=3)
    assert str(gateway.socket) in out


def test_whois(running):
    one, two = running.udp("127.0.0.2"), running.udp("127.0.0.3")
    one.register()
    two.register()
    a, b = one.assign(8), two.assign_ipsec(4, 8)
    port, spi = min(a.local_ports()), min(b.local_spis())
    found = running.json("whois", "203.0.113.1", "--port", str(port))
    assert [x["host"] for x in found] == ["127.0.0.2"] and set(found[0]) >= BINDING
    assert found[0]["until"] is None
    began = datetime.datetime.strptime(found[0]["from"], "%Y-%m-%dT%H:%M:%SZ")
    now = datetime.datetime.utcnow()
    assert abs((now - began).total_seconds()) < 60
    for text in (str(spi), hex(spi)):
        assert [x["host"] for x in running.json("whois", "203.0.113.1", "--spi", text)] == ["127.0.0.3"]
    assert len(running.json("whois", "203.0.113.1")) == 2
    assert "127.0.0.2" in running.cli("whois", "203.0.113.1", "--port", str(port))
    # Nobody: exit 1, and an empty array.
    assert running.json("whois", "203.0.113.2", status=1) == []
    free = next(p for p in range(1024, 65535) if p not in a.local_ports() | b.local_ports())
    assert running.json("whois", "203.0.113.1", "--port", str(free), status=1) == []


def test_whois_at(running):
    host = running.udp("127.0.0.2")
    host.register()
    grant = host.assign()
    port = str(min(grant.local_ports()))
    now = datetime.datetime.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")
    assert len(running.json("whois", "203.0.113.1", "--port", port, "--at", now)) == 1
    past = "2001-01-01T00:00:00+01:00"
    assert running.json("whois", "203.0.113.1", "--port", port, "--at", past, status=1) == []
    assert "RFC 3339" in running.cli("whois", "203.0.113.1", "--at", "yesterday", status=2)
    assert "future" in running.cli("whois", "203.0.113.1", "--at", "2999-01-01T00:00:00Z", status=2)
    running.cli("whois", "nobody", status=2)
    running.cli("whois", "203.0.113.1", "--port", "1", "--spi", "300", status=2)


def test_whois_of_leases_that_ended(running):
    host = running.udp("127.0.0.2")
    host.register()
    grants = [host.assign_ipsec(4, 8), host.assign_ipsec(4, 8)]
    port, spi = str(min(grants[0].local_ports())), str(min(grants[1].local_spis()))
    at = datetime.datetime.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")
    # One freed by the host, the other by the operator.
    assert host.free(grants[0].bind).type == rsip.FREE_OK
    running.cli("release", str(grants[1].bind))
    for what, grant in ((("--port", port), grants[0]), (("--spi", spi), grants[1])):
        assert running.json("whois", "203.0.113.1", *what, status=1) == []
        then, = running.json("whois", "203.0.113.1", *what, "--at", at)
        assert set(then) >= BINDING and then["host"] == "127.0.0.2"
        assert then["bind_id"] == grant.bind
        assert then["lease_remaining"] == 0
        assert re.fullmatch(r"[0-9-]{10}T[0-9:]{8}Z", then["until"])
        assert then["from"] <= at <= then["until"]
        later = datetime.datetime.utcnow().isoformat() + "Z"
        assert running.json("whois", "203.0.113.1", *what, "--at", later, status=1) == []


def test_thousands_of_bindings_come_in_pieces(gateway):
    gateway.configure(policy="max-bindings = 2000 max-ports = 4000").start()
    host = gateway.tcp("127.0.0.2", counters=True)
    host.register()
    for _ in range(20):
        host.send(b"".join(host.build(rsip.ASSIGN_RSAP, host.me(), rsip.address(), rsip.ports(1),
            rsip.address(), rsip.ports(1)) for _ in range(50)))
        for _ in range(50):
            assert host.receive().type == rsip.ASSIGN_RSAP_OK
    assert len({b["bind_id"] for b in gateway.json("show", "bindings")}) == 1000


def test_socket_is_for_owner_and_group(running):
    assert running.socket.stat().st_mode & 0o777 == 0o660


def test_several_operators_at_once(running):
    host = running.udp("127.0.0.2")
    host.register()
    many = [subprocess.Popen([RSIP, "gateway", "show", "status", "--json", "--socket",
        running.socket], stdout=subprocess.PIPE) for _ in range(20)]
    assert host.assign().type == rsip.ASSIGN_RSAP_OK
    for p in many:
        assert json.loads(p.communicate(timeout=30)[0])["healthy"] is True


def raw(gateway, *messages):
    """What the socket answers to calls sent at once, as the manual writes them."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(10)
        s.connect(str(gateway.socket))
        s.sendall(b"".join(json.dumps(m).encode() + b"\0" for m in messages))
        data = b""
        while data.count(b"\0") < len(messages):
            more = s.recv(65536)
            assert more, data
            data += more
        return [json.loads(part) for part in data.split(b"\0")[:-1]]


def test_the_socket_itself(running):
    """docs/control.md is enough to write another client."""
    manual = (ROOT / "docs" / "control.md").read_text()
    names = re.findall(r"^`(\w+)` \{", manual, re.M)
    assert set(names) == {"ListClients", "ListBindings", "ListPools", "Whois", "GetCounters",
        "GetStatus", "Monitor", "Release", "Deregister", "GetConfiguration", "TryConfiguration",
        "ConfirmConfiguration", "Reload"}
    prefix = "org.rsipsec.gateway."
    status, missing, bad, unknown = raw(running, {"method": prefix + "GetStatus"},
        {"method": prefix + "Release", "parameters": {"bind_id": 8}},
        {"method": prefix + "Release", "parameters": {"bind_id": "x"}},
        {"method": prefix + "Nothing"})
    for key in re.findall(r'"(\w+)":', manual[manual.index("`GetStatus`"):manual.index("`health` is")]):
        assert key in status["parameters"], key
    assert missing == {"error": "org.rsipsec.NotFound",
        "parameters": {"text": "there is no binding 8"}}
    assert bad["error"] == "org.varlink.service.InvalidParameter" and bad["parameters"]["text"]
    assert unknown["error"] == "org.varlink.service.MethodNotFound"


def test_rubbish_on_the_socket(running):
    for data in (b"\0", b"{}\0", b"[1]\0", b"\xff\xfe\0", b"x" * 1100000, b'{"method": 5}\0'):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(10)
            s.connect(str(running.socket))
            try:
                s.sendall(data)
                while s.recv(65536):
                    pass
            except (ConnectionResetError, BrokenPipeError):
                pass
    assert running.json("show", "status")["healthy"] is True


def test_socket_goes_with_the_daemon(running):
    assert running.stop() == 0
    assert not running.socket.exists()
    wait_for(lambda: not list(running.socket.parent.iterdir()), "nothing is left beside it")
