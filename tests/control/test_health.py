"""What needs the operator, or soon will: water marks, reasons, alerts that are about something."""
import json
import re
import shutil
import subprocess

import pytest

from conftest import ROOT, wait_for
from test_monitor import Monitor


def test_water_marks(gateway):
    """Each mark is told once when it is crossed, for the address and for the pool."""
    gateway.configure(metrics=True, addresses="203.0.113.1",
        pool='ports = { "2000-2019" } hold-down = 0 high-water = 50 low-water = 20').start()
    m = Monitor(gateway)
    try:
        host = gateway.udp("127.0.0.2")
        host.register()
        small, large = host.assign(4), host.assign(7)
        marks = [m.next("water"), m.next("water")]
        assert [(e["pool"], e["address"], e["level"], e["percent"]) for e in marks] == [
            ("public", "203.0.113.1", "high", 55), ("public", None, "high", 55)]
        assert gateway.metric('rsip_pool_high{pool="public"}') == 1
        assert gateway.metric('rsip_pool_addresses_high{pool="public"}') == 1
        assert gateway.metric('rsip_pool_used_percent{pool="public"}') == 55
        status = gateway.json("show", "status")
        assert status["healthy"] is True and gateway.http("/healthz") == (200, "ok\n")
        assert [(r["reason"], r["fault"]) for r in status["reasons"]] == [("pool", False)]
        assert "55 %" in status["reasons"][0]["text"]
        assert "55 %" in gateway.cli("show", "status")
        # Between the marks nothing changes; below the low one both are told.
        host.free(small.bind)
        wait_for(lambda: gateway.metric('rsip_pool_used_percent{pool="public"}') == 35, "another look")
        assert gateway.metric('rsip_pool_high{pool="public"}') == 1
        host.free(large.bind)
        marks = [m.next("water"), m.next("water")]
        assert [(e["address"], e["level"]) for e in marks] == [("203.0.113.1", "low"), (None, "low")]
        assert gateway.json("show", "status")["reasons"] == []
    finally:
        m.close()


def test_health_as_an_event(running):
    m = Monitor(running)
    try:
        f, = running.state.glob("audit.*.log")
        host = running.udp("127.0.0.2")
        host.register()
        a, b = host.assign(), host.assign()
        with open(f, "ab") as end:  # full: the next record needs another file, which cannot be made
            end.truncate(64 * 1024 * 1024)
        running.kill()
        m.close()
        with open(f, "ab") as end:
            end.write(b"\n")
        running.start()
        m = Monitor(running)
        blocker = running.state / "audit.00000002.log"
        blocker.mkdir()
        host.free(a.bind)
        event = m.next("health")
        assert event["healthy"] is False and "audit" in event["health"]
        reason, = running.json("show", "status")["reasons"]
        assert (reason["reason"], reason["fault"]) == ("audit", True)
        blocker.rmdir()
        host.free(b.bind)
        assert m.next("health")["healthy"] is True
    finally:
        m.close()


@pytest.mark.parametrize("marks,wrong", [("high-water = 50", None), ("high-water = 50 low-water = 20", None),
    ("low-water = 95", "low-water"), ("high-water = 30 low-water = 30", "low-water"),
    ("high-water = 0", "high-water"), ("high-water = 101", "high-water")])
def test_marks_that_cannot_be(gateway, marks, wrong):
    gateway.configure(pool=marks)
    if wrong is None:
        gateway.start()
        return
    gateway.start(expect_ready=False)
    assert gateway.process.wait(20) == 2
    assert wrong in gateway.log.read_text()
    gateway.process.stdout.close()
    gateway.process = None


# --- what is shipped for Prometheus and Grafana ---------------------------------------------

RULES = ROOT / "packaging" / "prometheus" / "rsipd.rules.yaml"
TESTS = ROOT / "packaging" / "prometheus" / "rsipd.rules.test.yaml"
DASHBOARD = ROOT / "packaging" / "grafana" / "rsipd.json"


def exported(gateway):
    """Every name that a query may use."""
    names = set()
    for line in gateway.http("/metrics")[1].splitlines():
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split()
            names |= {name} if kind != "histogram" else {name + s for s in ("_bucket", "_sum", "_count")}
    return names


def test_queries_name_what_is_exported(running):
    names = exported(running)
    rules = re.findall(r"\brsip_\w+", RULES.read_text())
    board = json.loads(DASHBOARD.read_text())
    queries = [t["expr"] for p in board["panels"] for t in p.get("targets", [])]
    assert len(queries) > 15 and len(rules) > 10
    used = set(rules) | {n for q in queries for n in re.findall(r"\brsip_\w+", q)}
    assert used <= names, used - names
    # Labels, too: each that a query names stands in some series of its metric.
    text = running.http("/metrics")[1]
    for q in queries + RULES.read_text().split("\n"):
        for name, labels in re.findall(r"\b(rsip_\w+)\{([^}]*)\}", q):
            for label in re.findall(r"(\w+) *(?:=|!=|=~|!~)", labels):
                assert label in ("instance", "job") or re.search(rf"^{name}\{{[^}}]*{label}=", text, re.M), q
    ids = [p["id"] for p in board["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_by_promtool(running):
    """The rules are right and fire when they should; what is exported has the right form."""
    for words in (["check", "rules", RULES], ["test", "rules", TESTS]):
        p = subprocess.run(["promtool", *words], capture_output=True, text=True)
        assert p.returncode == 0, p.stdout + p.stderr
    p = subprocess.run(["promtool", "check", "metrics"], input=running.http("/metrics")[1],
        capture_output=True, text=True)
    assert p.returncode in (0, 3), p.stderr  # 3: matters of taste below
    # "Message Counter" is the protocol's word; rsip_reassembly has no _total.
    said = [l for l in p.stderr.splitlines() if "counter metrics should have" not in l and
        "rsip_udp_counter_gap_total" not in l]
    assert said == [], said
    # As promtool reads them, every query of the dashboard is one.
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for t in panel.get("targets", []):
            expr = t["expr"].replace("$__rate_interval", "5m").replace("$instance", "x")
            rule = f"groups: [{{name: a, rules: [{{record: 'a:b', expr: {json.dumps(expr)}}}]}}]"
            p = subprocess.run(["promtool", "check", "rules", "/dev/stdin"], input=rule,
                capture_output=True, text=True)
            assert p.returncode == 0, (expr, p.stdout + p.stderr)
