"""Names as remotes and in QUERY, from an /etc/hosts of the test's own."""
import os
import random
import socket
import struct
import subprocess

import pytest

import rsip
from conftest import wait_for

MOUNTS = """
mount --bind "$0/hosts" /etc/hosts || exit 1
[ ! -e "$0/resolv.conf" ] || mount --bind "$0/resolv.conf" /etc/resolv.conf || exit 1
[ ! -e /etc/nsswitch.conf ] || mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf || exit 1
exec "$@"
"""


@pytest.fixture
def named(gateway):
    """rsipd in a mount namespace that knows these names, and no other: no name server is asked."""
    folder = gateway.folder / "etc"
    folder.mkdir()
    (folder / "hosts").write_text("198.51.100.7 www.example.net\n198.51.100.9 www.example.net\n"
        "10.0.0.9 inside.example\n")
    (folder / "nsswitch.conf").write_text("hosts: files\n")
    gateway.wrapper = ["unshare", "-m", "sh", "-c", MOUNTS, str(folder)]
    if os.geteuid() != 0:
        pytest.skip("only root may mount an /etc/hosts of its own")
    if subprocess.run([*gateway.wrapper, "true"], capture_output=True).returncode != 0:
        pytest.skip("no mount namespace with an /etc/hosts of its own here")
    return gateway


def name(text):
    return rsip.param(rsip.ADDRESS, b"\x04" + text.encode())


def assign(host, text, port=None):
    return host.call(rsip.ASSIGN_RSAP, host.me(), rsip.address(), rsip.ports(2), name(text),
        rsip.ports(1, port))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_macro(named, transport):
    """P-9.7-04, P-7.2-05, A-B-11: resolved when it is asked for, echoed as it came, kept."""
    named.configure(policy='remote-flow = "macro"').start()
    host = getattr(named, transport)("127.0.0.2")
    host.register()
    answer = assign(host, "www.example.net")
    assert answer.type == rsip.ASSIGN_RSAP_OK
    assert answer.all(rsip.ADDRESS)[1] == b"\x04www.example.net"
    assert assign(host, "nobody.example").error == 314
    bindings = named.json("show", "bindings")
    assert [b["remote_address"] for b in bindings] == ["198.51.100.7"]
    named.kill()
    named.start()
    after = named.json("show", "bindings")
    assert [(b["bind_id"], b["remote_address"]) for b in after] == [(answer.bind, "198.51.100.7")]


def test_micro_and_deny(named):
    """P-9.7-04, A-B-11: 315; a denied address does not count, another one of the name does."""
    named.configure(
        policy='remote-flow = "micro"\nremote-deny = { "198.51.100.7" "10.0.0.0/8" }'.replace(
            '" "', '", "')).start()
    host = named.udp("127.0.0.2")
    host.register()
    answer = assign(host, "www.example.net", 443)
    assert answer.type == rsip.ASSIGN_RSAP_OK
    shown, = named.json("show", "bindings")
    assert (shown["remote_address"], shown["remote_ports"]) == ("198.51.100.9", "443")
    assert assign(host, "inside.example", 443).error == 315
    assert assign(host, "nobody.example", 443).error == 315


def test_pipelined(named):
    """P-10.1-19: over TCP what comes after a name is answered after it."""
    named.configure(policy='remote-flow = "macro"').start()
    host = named.tcp("127.0.0.2")
    host.register()
    ask = rsip.message(rsip.ASSIGN_RSAP, host.me(), rsip.address(), rsip.ports(1),
        name("www.example.net"), rsip.ports(1))
    host.send(ask + rsip.message(rsip.QUERY, host.me()) + ask)
    assert [host.receive().type for _ in range(3)] == [rsip.ASSIGN_RSAP_OK, rsip.QUERY_OK,
        rsip.ASSIGN_RSAP_OK]


@pytest.mark.parametrize("authoritative", [False, True])
def test_query(named, authoritative):
    """P-9.14-02, P-9.15-01, P-9.15-02, A-Q-03: local, remote or left out."""
    named.configure(f'''local-networks = {{ "10.0.0.0/24" }}
        query-authoritative = {str(authoritative).lower()}''').start()
    host = named.udp("127.0.0.2")
    host.register()
    tuples = [rsip.param(rsip.INDICATOR, b"\0\1") + name(n)
        for n in ("inside.example", "www.example.net", "nobody.example")]
    answer = host.query(*tuples)
    assert answer.type == rsip.QUERY_OK
    assert answer.all(rsip.INDICATOR) == [b"\0\1"] + ([b"\0\3"] if authoritative else [])
    assert answer.all(rsip.ADDRESS)[0] == b"\x04inside.example"


class NameServer:
    """On an address of 127/8 that nobody else has; it answers when a test wants it to."""

    def __init__(self, folder):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addr = f"127.{random.randint(20, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
        self.sock.bind((self.addr, 53))
        self.sock.settimeout(10)
        (folder / "resolv.conf").write_text(f"nameserver {self.addr}\n")
        (folder / "nsswitch.conf").write_text("hosts: dns\n")

    def answer(self, *addresses):
        """The next question, with these addresses."""
        question, whom = self.sock.recvfrom(512)
        end = question.index(b"\0", 12) + 5
        records = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(a)
            for a in addresses)
        self.sock.sendto(question[:2] + b"\x81\x80" + struct.pack("!HHHH", 1, len(addresses), 0, 0)
            + question[12:end] + records, whom)


@pytest.fixture
def server(named):
    try:
        s = NameServer(named.folder / "etc")
    except PermissionError:
        pytest.skip("no port 53 on loopback for this user")
    if subprocess.run([*named.wrapper, "true"], capture_output=True).returncode != 0:
        pytest.skip("no /etc/resolv.conf of its own here")
    yield s
    s.sock.close()


def request(host, text):
    return host.build(rsip.ASSIGN_RSAP, host.me(), rsip.address(), rsip.ports(2), name(text),
        rsip.ports(1))


def test_duplicates_while_waiting(named, server):
    """P-10.1-19, A-U-14: repetitions are dropped while the name is asked for; one lease, one answer.
    P-7.2-05: others are served meanwhile."""
    named.configure(policy='remote-flow = "macro"', metrics=True).start()
    host, other = named.udp("127.0.0.2"), named.udp("127.0.0.3")
    host.register()
    data = request(host, "slow.example")
    for _ in range(3):
        host.send(data)
    wait_for(lambda: named.metric("rsip_udp_waiting_total") == 2, "two repetitions")
    assert named.metric("rsip_names_waiting") == 1
    assert other.register().type == rsip.REGISTER_OK
    assert host.silent()
    server.answer("198.51.100.8", "198.51.100.7")
    answer = host.receive()
    assert (answer.type, answer.counter) == (rsip.ASSIGN_RSAP_OK, host.counter)
    assert host.silent()
    shown, = named.json("show", "bindings")
    assert (shown["bind_id"], shown["remote_address"]) == (answer.bind, "198.51.100.7")
    host.send(data)
    assert host.receive().bind == answer.bind


def test_a_silent_name_server(named, server):
    """A-B-11: 314 when the name is not to be had in time; and rsipd ends soon all the same."""
    named.configure(policy='remote-flow = "macro"').start()
    host = named.udp("127.0.0.2")
    host.register()
    host.send(request(host, "silent.example"))
    assert host.receive(timeout=6).error == 314
    host.send(request(host, "silent.example"))
    server.sock.recvfrom(512)
    assert named.stop() == 0
    assert named.process is None
