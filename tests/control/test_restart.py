"""Leases over restarts, by SIGTERM and by SIGKILL at any moment."""
import os
import random
import time

import pytest

import rsip
from busy import Busy
from conftest import wait_for


def held(gateway):
    """Bind ID -> binding without its remaining time."""
    found = {}
    for b in gateway.json("show", "bindings"):
        b.pop("lease_remaining")
        found[b["bind_id"]] = b
    return found


# P-10.2.2-01: with its state kept the gateway goes on as before, and contacts no host.
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_hosts_notice_nothing(running, end):
    host, stream = running.udp("127.0.0.2"), running.tcp("127.0.0.3", counters=True)
    for h in (host, stream):
        h.register()
    grants = [host.assign(16), host.assign_ipsec(4, 64), stream.assign(8)]
    freed = host.assign(32)
    host.free(freed.bind)
    before = held(running)
    getattr(running, end)()
    running.start()
    assert held(running) == before and len(before) == 3
    assert host.silent()
    assert host.extend(grants[0].bind, 7200).lease == 7200
    again = running.tcp("127.0.0.3", counters=True)
    again.client = stream.client
    assert again.extend(grants[2].bind).type == rsip.EXTEND_OK
    assert host.extend(freed.bind).error == 306
    # What was released rests still, and nothing held is granted twice.
    assert running.json("show", "pools")[0]["addresses"][0]["ports_resting"] == 32
    more = host.assign(64)
    assert not more.local_ports() & (freed.local_ports() | grants[0].local_ports())
    assert running.udp("127.0.0.2").register().error == 302


def test_asynchronous_message_after_a_restart(running):
    """The host's address and port are kept, and the address that it spoke to."""
    host = running.udp("127.0.0.2")
    host.register()
    grant = host.assign()
    running.kill()
    running.start()
    running.cli("release", str(grant.bind))
    told = host.receive()
    assert (told.type, told.bind, told.counter) == (rsip.FREE_OK, grant.bind, 0)


def test_leases_run_on_while_the_gateway_is_down(running):
    host = running.udp("127.0.0.2")
    host.register()
    short, long = host.assign(4, lease=1), host.assign(4, lease=1000)
    running.stop()
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > 1.2, "the short lease is over")
    running.start()
    assert set(held(running)) == {long.bind}
    left, = [b["lease_remaining"] for b in running.json("show", "bindings")]
    assert 900 < left < 1000
    assert host.extend(short.bind).error == 306


@pytest.mark.parametrize("seed", range(6))
def test_kill_under_load_loses_and_revives_nothing(gateway, seed):
    """Every acknowledged grant is there after kill -9, and no acknowledged end is undone."""
    if seed % 2:  # then the loop commits itself
        gateway.wrapper = ("taskset", "-c", str(min(os.sched_getaffinity(0))))
    running = gateway.configure().start()
    rng = random.Random(seed)
    hosts = [Busy(running, f"127.0.0.{n + 2}", seed * 100 + n) for n in range(4)]
    for h in hosts:
        h.host.register()
    for h in hosts:
        h.start()
    enough = rng.randrange(50, 400)
    wait_for(lambda: sum(len(h.freed) for h in hosts) > enough, "some traffic", 60)
    running.kill()
    for h in hosts:
        h.stopping = True
    for h in hosts:
        h.join()
    running.start()
    now = held(running)
    ports = {}
    for b in now.values():
        for part in b["ports"].split(","):
            lo, _, hi = part.partition("-")
            for p in range(int(lo), int(hi or lo) + 1):
                assert p not in ports, "a port is held twice"
                ports[p] = b["bind_id"]
    for h in hosts:
        assert h.failed is None
        for bind, want in h.held.items():
            if bind not in h.unsure:
                assert bind in now, "an acknowledged lease is lost"
                assert {p for p in ports if ports[p] == bind} == want
        assert not h.freed & set(now), "a freed lease is back"
        host = h.host
        bind = next((b for b in h.held if b not in h.unsure), None)
        if bind is not None:
            assert host.extend(bind).type == rsip.EXTEND_OK


def test_many_leases_load(gateway):
    gateway.configure(policy="max-bindings = 5000 max-ports = 20000").start()
    host = gateway.tcp("127.0.0.2", counters=True)
    host.register()
    binds = set()
    for _ in range(40):
        host.send(b"".join(host.build(rsip.ASSIGN_RSAP, host.me(), rsip.address(), rsip.ports(2),
            rsip.address(), rsip.ports(1)) for _ in range(50)))
        binds |= {host.receive().bind for _ in range(50)}
    gateway.kill()
    gateway.start()
    assert set(held(gateway)) == binds and len(binds) == 2000
