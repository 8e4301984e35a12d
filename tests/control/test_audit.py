"""The audit: who held what, also before the last restart, and whatever ended the gateway."""
import datetime
import json
import os
import random
import re
import time

import pytest

import rsip
from busy import Busy
from conftest import wait_for

FIELDS = {"until", "from", "reason", "client_id", "bind_id", "host", "method", "address", "ports",
    "spis", "remote_address", "remote_ports", "tunnel"}


def files(gateway):
    return sorted(gateway.state.glob("audit.*.log"))


def records(gateway):
    """Every record there is; each line must be a whole one."""
    found = []
    for f in files(gateway):
        text = f.read_text()
        assert text == "" or text.endswith("\n"), f
        found += [json.loads(line) for line in text.splitlines()]
    return found


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def ranges(text, base=10):
    """"20480-20483,20500" as a set."""
    found = set()
    for part in (text or "").split(","):
        lo, _, hi = part.partition("-")
        found |= set(range(int(lo, base), int(hi or lo, base) + 1)) if lo else set()
    return found


def test_one_record_a_lease(running):
    host = running.udp("127.0.0.2")
    host.register()
    before = now()
    a, b, c, d = host.assign(8), host.assign_ipsec(4, 8), host.assign(2, lease=1), host.listen()
    assert records(running) == []
    host.free(a.bind)
    running.cli("release", str(b.bind))
    wait_for(lambda: len(records(running)) == 3, "the third is over")
    host.deregister()
    found = {r["bind_id"]: r for r in records(running)}
    assert set(found) == {a.bind, b.bind, c.bind, d.bind} and len(records(running)) == 4
    assert {k: found[k]["reason"] for k in found} == {a.bind: "freed", b.bind: "operator",
        c.bind: "expired", d.bind: "deregistered"}
    for r in found.values():
        assert set(r) == FIELDS
        assert (r["host"], r["client_id"], r["address"]) == ("127.0.0.2", host.client, "203.0.113.1")
        began, ended = (datetime.datetime.fromisoformat(r[k].replace("Z", "+00:00"))
            for k in ("from", "until"))
        assert before - datetime.timedelta(milliseconds=2) <= began <= ended <= now()
    assert ranges(found[a.bind]["ports"]) == a.local_ports() and found[a.bind]["spis"] is None
    assert ranges(found[b.bind]["ports"]) == b.local_ports()
    assert ranges(found[b.bind]["spis"], 16) == b.local_spis()
    assert [found[x.bind]["method"] for x in (a, b, d)] == ["rsap-ip", "rsipsec", "listen"]
    # Nobody else's business.
    assert all(f.stat().st_mode & 0o777 == 0o600 for f in files(running))
    assert running.metric("rsip_audit_records_total") == 4
    assert running.metric("rsip_audit_bytes") == sum(f.stat().st_size for f in files(running))


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_whois_of_what_ended_before_a_restart(running, end):
    host = running.udp("127.0.0.2")
    host.register()
    a, b, kept = host.assign(4), host.assign_ipsec(4, 8), host.assign(4)
    at = now().strftime("%Y-%m-%dT%H:%M:%SZ")
    host.free(a.bind)
    host.free(b.bind)
    getattr(running, end)()
    running.start()
    for what, grant in ((("--port", str(min(a.local_ports()))), a),
            (("--spi", hex(min(b.local_spis()))), b)):
        then, = running.json("whois", "203.0.113.1", *what, "--at", at)
        assert (then["bind_id"], then["reason"], then["host"]) == (grant.bind, "freed", "127.0.0.2")
        assert re.fullmatch(r"[0-9-]{10}T[0-9:]{8}Z", then["until"])
        assert running.json("whois", "203.0.113.1", *what, status=1) == []
    held, = running.json("whois", "203.0.113.1", "--port", str(min(kept.local_ports())), "--at", at)
    assert held["bind_id"] == kept.bind and held["until"] is None
    assert len(running.json("whois", "203.0.113.1", "--at", at)) == 3
    assert running.json("whois", "203.0.113.2", "--at", at, status=1) == []
    assert "127.0.0.2" in running.cli("whois", "203.0.113.1", "--at", at)


def test_what_ends_while_nobody_runs_has_its_end(running):
    host = running.udp("127.0.0.2")
    host.register()
    short = host.assign(4, lease=1)
    running.kill()
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > 1.2, "the lease is over")
    running.start()
    r, = records(running)
    assert (r["bind_id"], r["reason"]) == (short.bind, "expired")
    began, ended = (datetime.datetime.fromisoformat(r[k].replace("Z", "+00:00"))
        for k in ("from", "until"))
    assert abs((ended - began).total_seconds() - 1) < 0.01
    running.kill()
    running.start()
    assert len(records(running)) == 1


@pytest.mark.parametrize("seed", range(4))
def test_kill_leaves_no_end_out(running, seed):
    """After kill -9 under load every lease is held or has its end."""
    rng = random.Random(seed)
    hosts = [Busy(running, f"127.0.0.{n + 2}", seed * 100 + n) for n in range(3)]
    for h in hosts:
        h.host.register()
        h.start()
    enough = rng.randrange(50, 300)
    wait_for(lambda: sum(len(h.freed) for h in hosts) > enough, "some traffic", 60)
    running.kill()
    for h in hosts:
        h.stopping = True
    for h in hosts:
        h.join()
    running.start()
    held = {b["bind_id"] for b in running.json("show", "bindings")}
    found = [r["bind_id"] for r in records(running)]
    ended = set(found)
    for h in hosts:
        assert h.failed is None
        assert h.freed <= ended, "an end is missing"
        # Only what was being ended may be held, too: its removal was not committed.
        assert not (set(h.held) - h.unsure) & ended, "a lease that is held has ended"
        assert set(h.held) | h.freed <= held | ended
    assert len(found) == len(ended)


def test_a_torn_line_is_cut(running):
    host = running.udp("127.0.0.2")
    host.register()
    a, b = host.assign(), host.assign()
    host.free(a.bind)
    running.kill()
    f, = files(running)
    with open(f, "ab") as end:
        end.write(b'{"until":"2026-11')
    running.start()
    host.free(b.bind)
    assert [r["bind_id"] for r in records(running)] == [a.bind, b.bind]


def test_files_stay_within_their_bounds(gateway):
    """The oldest records go when there is no room, and when they are too old."""
    gateway.configure(policy="max-ports = 4000", more="audit { max-size = 8 retention = 30 }")
    gateway.state.mkdir()
    part = 8 * 1024 * 1024 // 16
    for n in range(1, 20):
        (gateway.state / f"audit.{n:08d}.log").write_bytes(b"x" * (part - 1) + b"\n")
    old = time.time() - 31 * 86400
    for n in (1, 2, 3, 4, 5):
        os.utime(gateway.state / f"audit.{n:08d}.log", (old, old))
    gateway.start()
    assert sum(f.stat().st_size for f in files(gateway)) <= 8 * 1024 * 1024
    assert files(gateway)[0].name == "audit.00000006.log"
    host = gateway.udp("127.0.0.2")
    host.register()
    host.free(host.assign().bind)
    # The last one was full: a new file.
    assert files(gateway)[-1].name == "audit.00000020.log"
    assert len(files(gateway)[-1].read_text().splitlines()) == 1
    # And other files are none of ours.
    (gateway.state / "audit.log").write_text("mine")
    gateway.stop()
    gateway.configure(more="audit { max-size = 8 retention = 1 }")
    for f in files(gateway)[:-1]:
        os.utime(f, (old, old))
    gateway.start()
    assert [f.name for f in files(gateway)] == ["audit.00000020.log"]
    assert (gateway.state / "audit.log").read_text() == "mine"


def test_a_disk_that_fails_loses_no_record(running):
    """What cannot be written waits, is seen in the health, and is written later."""
    host = running.udp("127.0.0.2")
    host.register()
    grants = [host.assign() for _ in range(3)]
    host.free(grants[0].bind)
    f, = files(running)
    # The file for the next record cannot be made: its name is a directory.
    with open(f, "ab") as end:
        end.truncate(64 * 1024 * 1024)
    running.kill()
    with open(f, "ab") as end:
        end.write(b"\n")
    blocker = running.state / "audit.00000002.log"
    running.start()
    blocker.mkdir()
    assert host.free(grants[1].bind).type == rsip.FREE_OK
    status, why = running.http("/healthz")
    assert status == 503 and "audit" in why
    assert running.metric("rsip_audit_errors_total") >= 1
    blocker.rmdir()
    assert host.free(grants[2].bind).type == rsip.FREE_OK
    assert running.http("/healthz")[0] == 200
    assert [json.loads(l)["bind_id"] for l in blocker.read_text().splitlines()] == [
        grants[1].bind, grants[2].bind]
