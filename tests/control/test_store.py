"""A store that fails: nothing that was acknowledged is lost, and everybody is told."""
import os
import shutil
import subprocess

import pytest

import rsip
from conftest import Gateway, RSIPD, wait_for


@pytest.fixture
def small_disk(tmp_path):
    """A gateway in a mount namespace of its own, whose state lies on a tmpfs of 1 MiB."""
    # Without root in a user namespace, where the kernel allows one.
    enter = ["unshare", "-rm" if os.geteuid() != 0 else "-m", "--propagation", "private"]
    probe = subprocess.run([*enter, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip(f"no mount namespace here: {probe.stderr.strip()}")
    disk = tmp_path / "state"
    disk.mkdir()
    script = f'mount -t tmpfs -o size=1m none "{disk}" && exec "$@"'
    g = Gateway(tmp_path, [*enter, "sh", "-c", script, "sh"])
    yield g
    g.close()


def disk_of(gateway):
    """The tmpfs as the daemon sees it."""
    return f"/proc/{gateway.process.pid}/root{gateway.state}"


def fill(gateway):
    path = disk_of(gateway) + "/filler"
    with open(path, "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError:
            pass
    return path


def until_refused(host, seconds=20):
    """Lease until the disk is full; what was acknowledged before."""
    acknowledged = []

    def full():
        answer = host.assign(1)
        if answer.type == rsip.ASSIGN_RSAP_OK:
            acknowledged.append(answer.bind)
            return False
        assert answer.error == 104 and answer.client == host.client
        return True
    wait_for(full, "the store fails", seconds)
    return acknowledged


# P-10.4-06, P-A-104
def test_full_disk(small_disk):
    g = small_disk.configure(policy="max-bindings = 60000 max-ports = 60000", metrics=True).start()
    host, other, stream = g.udp("127.0.0.2"), g.udp("127.0.0.3"), g.tcp("127.0.0.4")
    grants = []
    for h in (host, other, stream):
        h.register()
        grants.append(h.assign(8).bind)
    filler = fill(g)
    acknowledged = until_refused(host)
    # Pages that an earlier commit freed let one or the other commit succeed in between, so
    # each of these is asked for until it is seen, never longer than it takes to see it.
    wait_for(lambda: other.extend(grants[1]).error == 104, "the second host is told")
    wait_for(lambda: stream.extend(grants[2]).error == 104, "over TCP, too")
    assert host.query().type == rsip.QUERY_OK

    def unhealthy():
        host.extend(grants[0])
        status, text = g.http("/healthz")
        return status == 503 and "leases.mdb" in text
    wait_for(unhealthy, "/healthz says so")
    assert g.metric('rsip_errors_total{code="104"}') >= 3
    assert g.metric("rsip_store_commit_errors_total") >= 1
    os.unlink(filler)
    wait_for(lambda: g.http("/healthz")[0] == 200, "it works again")
    assert host.assign(1).type == rsip.ASSIGN_RSAP_OK
    for h, bind in zip((host, other, stream), grants):
        assert h.extend(bind).type == rsip.EXTEND_OK
    held = {b["bind_id"] for b in g.json("show", "bindings")}
    assert set(acknowledged) | set(grants) <= held


# P-10.4-06: registered hosts are told, without asking, by an asynchronous 104.
def test_hosts_are_told_that_the_store_fails(small_disk):
    g = small_disk.configure(policy="max-bindings = 60000 max-ports = 60000").start()
    busy, quiet, stream = g.udp("127.0.0.2"), g.udp("127.0.0.3"), g.tcp("127.0.0.4", counters=True)
    for h in (busy, quiet, stream):
        h.register()
    quiet.drain()
    fill(g)
    until_refused(busy)
    for h in (quiet, stream):
        told = h.receive()
        assert (told.error, told.client, told.counter) == (104, h.client, 0)


def test_full_disk_and_kill(small_disk):
    """Killed while the disk is full: what was acknowledged is on it."""
    g = small_disk.configure(policy="max-bindings = 60000 max-ports = 60000").start()
    host = g.udp("127.0.0.2")
    host.register()
    fill(g)
    acknowledged = until_refused(host)
    keep = g.folder / "kept.mdb"
    shutil.copy(disk_of(g) + "/leases.mdb", keep)
    g.kill()
    after = Gateway(g.folder / "after")
    after.folder.mkdir()
    after.state.mkdir()
    shutil.copy(keep, after.state / "leases.mdb")
    after.port, after.at = g.port, g.at
    try:
        after.configure(policy="max-bindings = 60000 max-ports = 60000").start()
        assert {b["bind_id"] for b in after.json("show", "bindings")} >= set(acknowledged)
        host.counter += 10
        if acknowledged:
            assert host.extend(acknowledged[-1]).type == rsip.EXTEND_OK
    finally:
        after.close()


def refused(gateway):
    p = subprocess.run([RSIPD, "-c", gateway.file, "-f"], capture_output=True, text=True, timeout=30)
    assert (p.returncode, p.stdout) == (1, ""), p
    return p.stderr


@pytest.mark.parametrize("damage", ["empty", "short", "noise", "text"])
def test_damaged_file_stops_the_start_and_stays(gateway, damage):
    gateway.configure().start()
    host = gateway.udp("127.0.0.2")
    host.register()
    host.assign()
    gateway.stop()
    file = gateway.state / "leases.mdb"
    good = file.read_bytes()
    bad = {"empty": b"", "short": good[:5000], "noise": os.urandom(len(good)),
        "text": b"not a database\n" * 500}[damage]
    file.write_bytes(bad)
    assert str(file) in refused(gateway)
    assert file.read_bytes() == bad
    file.write_bytes(good)
    gateway.start()
    assert len(gateway.json("show", "bindings")) == 1


def test_read_only_disk(small_disk):
    g = small_disk.configure()
    g.wrapper[-2] = f'mount -t tmpfs -o size=1m,ro none "{g.state}" && exec "$@"'
    p = subprocess.run([*g.wrapper, RSIPD, "-c", g.file, "-f"], capture_output=True, text=True,
        timeout=30)
    assert p.returncode == 1 and "leases.mdb" in p.stderr and "Read-only" in p.stderr


def test_state_dir_that_cannot_be_made(gateway):
    blocker = gateway.folder / "blocker"
    blocker.write_text("")
    gateway.state = blocker / "state"
    gateway.configure()
    assert str(gateway.state) in refused(gateway)
