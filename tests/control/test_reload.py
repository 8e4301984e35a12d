"""SIGHUP and `rsip gateway reload`: all or nothing, and leases stay."""
import socket

import pytest

import rsip
from busy import Busy
from conftest import free_port


def test_good_file_is_taken(running):
    host = running.udp("127.0.0.2")
    host.register()
    grant = host.assign(4)
    running.configure(policy="lease-max = 100", addresses="203.0.113.0/30", metrics=True)
    assert "configuration taken" in running.reload()
    assert host.extend(grant.bind, 5000).type == rsip.EXTEND_OK
    assert host.assign(4, lease=5000).lease == 100
    addresses = {a["address"] for p in running.json("show", "pools") for a in p["addresses"]}
    assert "203.0.113.2" in addresses
    assert len(running.json("show", "bindings")) == 2


def test_bad_file_changes_nothing_and_says_so(running):
    host = running.udp("127.0.0.2")
    host.register()
    grant = host.assign(4)
    before = running.json("show", "pools")
    running.file.write_text(running.file.read_text().replace("203.0.113.1", "203.0.113.300"))
    said = running.reload()
    assert "nothing changed" in said and f"{running.file}:" in said and "203.0.113.300" in said
    assert running.json("show", "pools") == before
    assert host.extend(grant.bind).type == rsip.EXTEND_OK
    assert host.assign(4).type == rsip.ASSIGN_RSAP_OK


def test_reload_by_the_operator(running):
    running.configure(policy="lease-max = 77", metrics=True)
    running.cli("reload")
    host = running.udp("127.0.0.2")
    host.register()
    assert host.assign(1).lease == 77
    running.file.write_text("gateway {\n nonsense = 1 }")
    text = running.cli("reload", status=2)
    assert f"{running.file}:2: " in text and "nonsense" in text
    running.file.unlink()
    assert str(running.file) in running.cli("reload", status=2)
    assert host.assign(1).lease == 77


def test_what_needs_a_start_is_named(running):
    other = running.folder / "elsewhere"
    running.file.write_text(running.file.read_text().replace(str(running.state), str(other)))
    assert "state-dir" in running.reload()
    assert not other.exists()
    assert running.udp("127.0.0.2").register().type == rsip.REGISTER_OK


def test_a_hundred_reloads(running):
    host = running.udp("127.0.0.2")
    host.register()
    grant = host.assign(4)
    for n in range(50):
        running.configure(policy=f"lease-max = {1000 + n}", metrics=True)
        running.cli("reload")
        running.file.write_text("oops")
        running.cli("reload", status=2)
    assert host.extend(grant.bind, 5000).type == rsip.EXTEND_OK
    assert host.assign(1, lease=5000).lease == 1049


def test_hosts_outside_every_policy_are_refused(running):
    assert running.udp("127.0.0.2").register().type == rsip.REGISTER_OK
    running.configure(policy='match = { "127.0.0.2" }', metrics=True)
    running.reload()
    assert running.udp("127.0.0.3").register().error == 304


# P-9.5-03: a host that cannot be served any more is told so.
def test_pool_taken_away(running):
    host = running.udp("127.0.0.2")
    host.register()
    host.assign(4)
    running.configure(addresses="198.51.100.1", metrics=True)
    running.reload()
    told = host.receive()
    assert (told.type, told.client, told.counter) == (rsip.DEREGISTER_OK, host.client, 0)
    host.register()
    assert host.assign(4).local() == "198.51.100.1"


def test_other_limits_apply(gateway):
    gateway.configure(metrics=True).start()
    hosts = [gateway.tcp("127.0.0.2") for _ in range(3)]
    for h in hosts:
        h.call(rsip.REGISTER)
    gateway.configure("tcp-connections-per-host = 2", metrics=True)
    gateway.reload()
    gateway.tcp("127.0.0.2").call(rsip.REGISTER)
    assert hosts[0].receive() is None


def test_other_endpoints(running):
    """New ones are opened, old ones closed; a connection that is open stays."""
    stream = running.tcp("127.0.0.2", counters=True)
    stream.register()
    old, both = running.at, free_port()
    text = running.file.read_text()
    running.file.write_text(text.replace(f'"127.0.0.1:{old[1]}"',
        f'"127.0.0.1:{old[1]}", "127.0.0.1:{both}"'))
    assert "configuration taken" in running.reload()
    for port in (old[1], both):
        host = running.udp(f"127.0.0.{3 + (port == both)}")
        host.gateway = ("127.0.0.1", port)
        assert host.register().type == rsip.REGISTER_OK
    running.file.write_text(text.replace(f'"127.0.0.1:{old[1]}"', f'"127.0.0.1:{both}"'))
    assert "configuration taken" in running.reload()
    assert running.json("show", "status")["listen"] == [f"127.0.0.1:{both}"]
    with pytest.raises(ConnectionRefusedError):
        running.tcp("127.0.0.9")
    running.at = ("127.0.0.1", both)
    assert running.tcp("127.0.0.9").register().type == rsip.REGISTER_OK
    assert stream.assign().type == rsip.ASSIGN_RSAP_OK


def test_endpoint_in_use_changes_nothing(running):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        taken = s.getsockname()[1]
        text = running.file.read_text()
        running.file.write_text(text.replace(f'"127.0.0.1:{running.port}"',
            f'"127.0.0.1:{free_port()}", "127.0.0.1:{taken}"').replace("203.0.113.1", "198.51.100.1"))
        said = running.reload()
    assert "nothing changed" in said and f"127.0.0.1:{taken} (TCP)" in said
    host = running.udp("127.0.0.2")
    host.register()
    assert host.assign().local() == "203.0.113.1"
    assert running.tcp("127.0.0.3").register().type == rsip.REGISTER_OK
    assert running.json("show", "status")["listen"] == [f"127.0.0.1:{running.port}"]


def test_reload_under_load(running):
    """Good and bad files while hosts lease and free: no answer fails and no promise is lost."""
    hosts = [Busy(running, f"127.0.0.{n + 2}", n) for n in range(4)]
    for h in hosts:
        h.host.register()
    for h in hosts:
        h.start()
    for n in range(40):
        running.configure(policy=f"lease-max = {5000 + n}", metrics=True,
            more=f'pool more {{ addresses = {{ "198.51.100.0/{30 - n // 10}" }} }}')
        running.cli("reload")
        running.file.write_text("pool broken {")
        running.cli("reload", status=2)
    for h in hosts:
        h.stopping = True
    for h in hosts:
        h.join()
    assert sum(len(h.freed) for h in hosts) > 0
    now = {b["bind_id"] for b in running.json("show", "bindings")}
    assert running.json("show", "status")["healthy"] is True
    for h in hosts:
        assert h.failed is None
        assert set(h.held) - h.unsure <= now and not h.freed & now
