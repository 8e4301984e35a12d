"""The control protocol over UDP."""
import socket
import struct

import pytest

import rsip
from conftest import wait_for


# P-B-01, P-9.3-02, P-9.9-01, P-9.9-02, P-9.11-01, P-9.13-01, P-9.4-05: one exchange each.
def test_a_lease_from_registration_to_the_end(running):
    host = running.udp("127.0.0.2")
    answer = host.register()
    assert answer.type == rsip.REGISTER_OK and answer.client and answer.lease == 3600
    assert answer.all(rsip.FLOW) == [b"\x01\x03"]

    grant = host.assign(16)
    assert grant.type == rsip.ASSIGN_RSAP_OK
    assert grant.local() == "203.0.113.1" and len(grant.local_ports()) == 16
    assert grant.lease == 3600 and grant.bind

    again = host.extend(grant.bind, 7200)
    assert again.type == rsip.EXTEND_OK and again.bind == grant.bind and again.lease == 7200

    freed = host.free(grant.bind)
    assert freed.type == rsip.FREE_OK and freed.bind == grant.bind
    assert host.free(grant.bind).error == 306

    assert host.deregister().type == rsip.DEREGISTER_OK
    assert host.assign().error == 301


def test_ipsec_grant(running):
    host = running.udp("127.0.0.2")
    host.register()
    grant = host.assign_ipsec(4, 16)
    assert grant.type == rsip.ASSIGN_IPSEC_OK
    assert len(grant.local_ports()) == 4 and len(grant.local_spis()) == 16
    assert min(grant.local_spis()) >= 256


# F-2-08: no tuple is held twice.
def test_two_hosts_share_one_address_without_overlap(running):
    hosts = [running.udp(f"127.0.0.{n}") for n in range(2, 6)]
    seen = set()
    for host in hosts:
        host.register()
        for _ in range(4):
            grant = host.assign(32)
            assert grant.local() == "203.0.113.1"
            assert not seen & grant.local_ports()
            seen |= grant.local_ports()


# P-10.1-06: a duplicate is answered byte for byte and executed once.
def test_duplicate_gets_the_same_bytes(running):
    host = running.udp("127.0.0.2")
    host.register()
    data = host.build(rsip.ASSIGN_RSAP, host.me(), rsip.address(), rsip.ports(4), rsip.address(),
        rsip.ports(1))
    host.send(data)
    first = host.receive()
    host.send(data)
    assert host.receive().bytes == first.bytes
    assert len(running.json("show", "bindings")) == 1
    assert running.metric("rsip_udp_duplicates_total") == 1


# P-10.1-07
def test_stale_counter_is_dropped(running):
    host = running.udp("127.0.0.2")
    host.counter = 10
    host.register()
    host.send(rsip.message(rsip.QUERY, host.me(), rsip.u32(rsip.COUNTER, 5)))
    assert host.silent()
    assert running.metric("rsip_udp_stale_total") == 1


# P-9-03: under four bytes there is nothing to answer.
def test_short_datagrams_are_dropped(running):
    host = running.udp("127.0.0.2")
    for data in (b"", b"\x01", b"\x01\x02\x00"):
        host.send(data)
    assert host.silent()
    assert running.metric('rsip_dropped_requests_total{reason="short"}') == 3
    assert host.register().type == rsip.REGISTER_OK


# P-10.1-18: an answer leaves from the address and port that was asked.
def test_answers_leave_from_the_address_asked(gateway):
    gateway.configure(listen=f"0.0.0.0:{gateway.port}").start()
    for n, addr in enumerate(("127.0.0.1", "127.0.7.7", "127.0.0.9")):
        host = gateway.udp(f"127.0.1.{n + 1}")
        host.gateway = (addr, gateway.port)
        assert host.register().type == rsip.REGISTER_OK
        assert host.answered_from == (addr, gateway.port)


# P-10.1-10, P-10.1-18: what the operator takes is told from the socket that was spoken to.
def test_asynchronous_messages_leave_from_the_address_asked(gateway):
    gateway.configure(listen=f"0.0.0.0:{gateway.port}").start()
    host = gateway.udp("127.0.0.2")
    host.gateway = ("127.0.7.7", gateway.port)
    host.register()
    grant = host.assign()
    gateway.cli("release", str(grant.bind))
    told = host.receive()
    assert (told.type, told.bind, told.counter) == (rsip.FREE_OK, grant.bind, 0)
    assert host.answered_from == ("127.0.7.7", gateway.port)


# P-5-06, P-A-102: a gateway without UDP says so over UDP.
def test_use_tcp(gateway):
    gateway.configure('transports = { "tcp" }').start()
    host = gateway.udp("127.0.0.2")
    assert host.register().error == 102
    assert gateway.tcp("127.0.0.2").register().type == rsip.REGISTER_OK


# P-5-05: a host stays with its transport.
def test_transport_of_the_registration(running):
    host = running.udp("127.0.0.2")
    host.register()
    other = running.tcp("127.0.0.2")
    other.client = host.client
    assert other.assign().error == 101
    assert other.call(rsip.REGISTER).error == 302
    assert other.deregister().type == rsip.DEREGISTER_OK


def test_many_at_once(running):
    """More than one batch of datagrams waits when the gateway wakes up."""
    hosts = [running.udp(f"127.0.{n // 200 + 1}.{n % 200 + 1}") for n in range(300)]
    for host in hosts:
        host.send(host.build(rsip.REGISTER))
    for host in hosts:
        assert host.receive().type == rsip.REGISTER_OK


def test_longest_and_oversized_datagrams(running):
    host = running.udp("127.0.0.2")
    filler = rsip.param(rsip.VENDOR, b"\0\xf1\0\1" + bytes(65507 - 4 - 7 - 3 - 4))
    host.counter += 1
    data = rsip.message(rsip.REGISTER, rsip.u32(rsip.COUNTER, host.counter), filler)
    assert len(data) == 65507
    host.send(data)
    assert host.receive().type == rsip.REGISTER_OK
    # Overall length and datagram disagree.
    host.send(struct.pack("!BBH", 1, rsip.QUERY, 50) + host.me())
    assert host.receive().error == 207


def test_lease_expiry_is_told(running):
    host = running.udp("127.0.0.2")
    host.register()
    grant = host.assign(4, lease=1)
    assert grant.lease == 1
    told = host.receive(10)
    assert (told.type, told.bind, told.counter) == (rsip.FREE_OK, grant.bind, 0)
    assert running.json("show", "bindings") == []


def test_an_unreachable_host_disturbs_nobody(running):
    """An ICMP error for one host's answer must not end up at the next one's."""
    gone = running.udp("127.0.0.2")
    gone.register()
    grant = gone.assign()
    gone.sock.close()
    running.cli("release", str(grant.bind))
    host = running.udp("127.0.0.3")
    assert host.register().type == rsip.REGISTER_OK
    assert host.assign().type == rsip.ASSIGN_RSAP_OK


def test_listen_and_rsa_and_query(gateway):
    gateway.configure('local-networks = { "10.0.0.0/24" }',
        'dedicated = { "203.0.113.9" }').start()
    host = gateway.udp("127.0.0.2")
    methods = host.register().all(rsip.METHOD)
    assert set(methods) == {b"\x01", b"\x02", b"\x03"}
    assert host.assign_rsa().local() == "203.0.113.9"
    assert host.listen(1, 8080).local_ports() == {8080}
    answer = host.query(rsip.param(rsip.INDICATOR, b"\0\1"), rsip.address("10.0.0.9"))
    assert answer.type == rsip.QUERY_OK
    kinds = {b["method"] for b in gateway.json("show", "bindings")}
    assert kinds == {"rsa-ip", "listen"}


@pytest.mark.parametrize("rate", [400])
def test_a_flood_from_a_stranger_is_limited(running, rate):
    """P-11-02: error answers to one unregistered source are rate limited."""
    host = running.udp("127.0.0.2")
    host.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    for n in range(rate):
        host.send(rsip.message(rsip.QUERY, rsip.u32(rsip.CLIENT_ID, 7), rsip.u32(rsip.COUNTER, n + 1)))
    wait_for(lambda: running.metric('rsip_requests_total{type="QUERY_REQUEST"}') == rate, "all seen")
    answers = 0
    while not host.silent(0.2):
        host.receive()
        answers += 1
    assert 100 <= answers < rate
