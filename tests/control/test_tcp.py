"""The control protocol over TCP: framing, bounds, and connections that misbehave."""
import select
import socket
import struct
import time

import pytest

import rsip
from conftest import wait_for


def is_closed(host, timeout=10):
    """The gateway has closed this connection (what it still sent is read)."""
    host.sock.settimeout(timeout)
    try:
        while host.sock.recv(65536):
            pass
        return True
    except ConnectionResetError:
        return True
    except socket.timeout:
        return False


# P-5-01, P-9-12: four bytes are a complete request.
def test_a_lease_from_registration_to_the_end(running):
    host = running.tcp("127.0.0.2")
    assert host.register().type == rsip.REGISTER_OK
    grant = host.assign(16)
    assert grant.type == rsip.ASSIGN_RSAP_OK and len(grant.local_ports()) == 16
    assert host.extend(grant.bind, 100).type == rsip.EXTEND_OK
    assert host.free(grant.bind).type == rsip.FREE_OK
    assert host.deregister().type == rsip.DEREGISTER_OK


# P-10.1-17: the counter is optional, echoed, and there is no duplicate suppression.
def test_counter_is_echoed(running):
    host = running.tcp("127.0.0.2", counters=True)
    assert host.register().counter == 1
    assert host.assign().counter == 2
    plain = running.tcp("127.0.0.3")
    assert plain.register().counter is None


# P-9-04: one byte a segment.
def test_one_byte_at_a_time(running):
    host = running.tcp("127.0.0.2")
    for byte in rsip.message(rsip.REGISTER):
        host.send(bytes([byte]))
    answer = host.receive()
    assert answer.type == rsip.REGISTER_OK
    host.client = answer.client
    for byte in rsip.message(rsip.ASSIGN_RSAP, host.me(), rsip.address(), rsip.ports(4),
            rsip.address(), rsip.ports(1)):
        host.send(bytes([byte]))
    assert host.receive().type == rsip.ASSIGN_RSAP_OK


# P-9-04, A-U-11: several in one segment, answered in order.
def test_coalesced_requests_are_answered_in_order(running):
    host = running.tcp("127.0.0.2", counters=True)
    host.register()
    host.send(b"".join(host.build(rsip.ASSIGN_RSAP, host.me(), rsip.address(), rsip.ports(1),
        rsip.address(), rsip.ports(1)) for _ in range(40)))
    answers = [host.receive() for _ in range(40)]
    assert [a.counter for a in answers] == list(range(2, 42))
    assert len({a.bind for a in answers}) == 40


def test_a_message_cut_anywhere(running):
    host = running.tcp("127.0.0.2")
    host.register()
    data = rsip.message(rsip.QUERY, host.me()) * 2
    for cut in range(1, len(data)):
        host.send(data[:cut])
        select.select([], [], [], 0.001)
        host.send(data[cut:])
        assert [host.receive().type for _ in range(2)] == [rsip.QUERY_OK] * 2


def test_more_pipelined_than_one_turn_takes(running):
    """More requests than the gateway reads in a turn, and more answers than it buffers."""
    host = running.tcp("127.0.0.2", counters=True)
    host.register()
    n = 5000
    data = b"".join(host.build(rsip.QUERY, host.me()) for _ in range(n))
    sent, got = 0, 0
    host.sock.setblocking(False)
    buffer, deadline = b"", time.monotonic() + 30
    while got < n:
        assert time.monotonic() < deadline, f"{got} of {n} answers"
        readable, writable, _ = select.select([host.sock], [host.sock] if sent < len(data) else [],
            [], 5)
        if writable:
            sent += host.sock.send(data[sent:sent + 65536])
        if readable:
            buffer += host.sock.recv(65536)
            while len(buffer) >= 4 and len(buffer) >= struct.unpack("!H", buffer[2:4])[0]:
                length = struct.unpack("!H", buffer[2:4])[0]
                assert rsip.Message(buffer[:length]).counter == got + 2
                buffer = buffer[length:]
                got += 1


# P-9-04: the stream's position is lost.
def test_length_under_four_is_answered_and_closed(running):
    host = running.tcp("127.0.0.2")
    host.register()
    host.send(struct.pack("!BBH", 1, rsip.QUERY, 3) + rsip.message(rsip.QUERY, host.me()))
    assert host.receive().error == 207
    assert host.receive() is None
    assert running.metric('rsip_connections_closed_total{reason="protocol"}') == 1
    # The registration is not the connection (P-6-14).
    again = running.tcp("127.0.0.2")
    again.client = host.client
    assert again.assign().type == rsip.ASSIGN_RSAP_OK


# A-W-18
def test_other_version_is_answered_and_closed(running):
    host = running.tcp("127.0.0.2")
    host.send(rsip.message(rsip.REGISTER, version=2) + rsip.message(rsip.REGISTER))
    answer = host.receive()
    assert (answer.error, answer.version) == (106, 1)
    assert host.receive() is None
    assert running.json("show", "clients") == []


# Other 2xx errors keep the connection (A-W-17).
def test_other_errors_keep_the_connection(running):
    host = running.tcp("127.0.0.2")
    host.register()
    assert host.call(99).error == 206
    assert host.call(rsip.EXTEND, host.me()).error == 201
    assert host.assign().type == rsip.ASSIGN_RSAP_OK


# P-6-14
def test_lost_connection_ends_nothing(running):
    host = running.tcp("127.0.0.2")
    host.register()
    grant = host.assign()
    host.close()
    wait_for(lambda: running.metric("rsip_connections") == 0, "the connection is gone")
    again = running.tcp("127.0.0.2")
    again.client = host.client
    assert again.extend(grant.bind).type == rsip.EXTEND_OK


# A-R-14: asynchronous messages go to the newest connection.
def test_asynchronous_message_on_the_newest_connection(running):
    old = running.tcp("127.0.0.2", counters=True)
    old.register()
    grant = old.assign()
    new = running.tcp("127.0.0.2", counters=True)
    new.client = old.client
    assert new.extend(grant.bind).type == rsip.EXTEND_OK
    running.cli("release", str(grant.bind))
    told = new.receive()
    assert (told.type, told.bind, told.counter) == (rsip.FREE_OK, grant.bind, 0)


def test_half_closed_connection_still_gets_its_answers(running):
    host = running.tcp("127.0.0.2")
    host.send(rsip.message(rsip.REGISTER) + rsip.message(rsip.REGISTER))
    host.sock.shutdown(socket.SHUT_WR)
    assert host.receive().type == rsip.REGISTER_OK
    assert host.receive().error == 302
    assert host.receive() is None


def test_half_a_message_and_the_end(running):
    host = running.tcp("127.0.0.2")
    host.send(rsip.message(rsip.REGISTER)[:3])
    host.sock.shutdown(socket.SHUT_WR)
    assert host.receive() is None


def test_unfinished_message_is_not_waited_for_forever(gateway):
    gateway.configure("tcp-stall = 1", metrics=True).start()
    host = gateway.tcp("127.0.0.2")
    host.register()
    host.send(rsip.message(rsip.QUERY, host.me())[:-1])
    assert is_closed(host)
    assert gateway.metric('rsip_connections_closed_total{reason="stall"}') == 1


def test_connection_without_a_request_is_closed(gateway):
    gateway.configure("tcp-stall = 1", metrics=True).start()
    assert is_closed(gateway.tcp("127.0.0.2"))
    assert gateway.metric('rsip_connections_closed_total{reason="idle"}') == 1


def test_idle_connection_is_closed(gateway):
    gateway.configure("tcp-idle = 1", metrics=True).start()
    host = gateway.tcp("127.0.0.2")
    host.register()
    assert is_closed(host)
    assert gateway.metric('rsip_connections_closed_total{reason="idle"}') == 1
    assert len(gateway.json("show", "clients")) == 1


def test_host_that_reads_nothing_is_closed(gateway):
    """It is not read from while its answers lie there, and closed when that lasts."""
    gateway.configure("tcp-stall = 1", metrics=True).start()
    host = gateway.tcp("127.0.0.2")
    host.register()
    host.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    data = rsip.message(rsip.QUERY, host.me()) * 1000
    host.sock.setblocking(False)

    def closed():
        try:
            host.sock.send(data)
        except BlockingIOError:
            pass
        except (ConnectionResetError, BrokenPipeError):
            return True
        return gateway.metric('rsip_connections_closed_total{reason="stall"}') == 1
    wait_for(closed, "the gateway gives up", 60)
    # Everybody else was served all the time.
    assert gateway.udp("127.0.0.3").register().type == rsip.REGISTER_OK


def test_connections_of_one_host_are_capped(gateway):
    gateway.configure("tcp-connections-per-host = 3", metrics=True).start()
    hosts = [gateway.tcp("127.0.0.2") for _ in range(3)]
    hosts[0].register()
    for host in hosts:
        assert host.call(rsip.REGISTER).error == 302
    hosts[0].call(rsip.REGISTER)  # the second is now the longest idle one
    newest = gateway.tcp("127.0.0.2")
    assert newest.call(rsip.REGISTER).error == 302
    assert is_closed(hosts[1])
    assert hosts[0].call(rsip.REGISTER).error == 302
    assert hosts[2].call(rsip.REGISTER).error == 302
    other = gateway.tcp("127.0.0.3")
    assert other.register().type == rsip.REGISTER_OK
    assert gateway.metric('rsip_connections_closed_total{reason="host"}') == 1


def test_connections_are_capped_in_total(gateway):
    gateway.configure("tcp-connections = 4\n tcp-connections-per-host = 4", metrics=True).start()
    hosts = [gateway.tcp(f"127.0.0.{n + 2}") for n in range(4)]
    for host in hosts:
        assert host.register().type == rsip.REGISTER_OK
    assert is_closed(gateway.tcp("127.0.0.9"))
    assert gateway.metric('rsip_connections_closed_total{reason="total"}') == 1
    hosts[0].close()
    wait_for(lambda: gateway.metric("rsip_connections") == 3, "one less")
    assert gateway.tcp("127.0.0.9").register().type == rsip.REGISTER_OK


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"\xff" * 70000,
    b"\x16\x03\x01\x02\x00"], ids=["http", "zeros", "ones", "tls"])
def test_garbage_is_answered_or_closed(running, garbage):
    host = running.tcp("127.0.0.2")
    try:
        host.send(garbage)
        host.sock.shutdown(socket.SHUT_WR)
    except (ConnectionResetError, BrokenPipeError, OSError):
        pass
    assert is_closed(host)
    assert running.tcp("127.0.0.2").register().type == rsip.REGISTER_OK
