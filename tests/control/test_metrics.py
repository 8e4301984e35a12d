"""/metrics and /healthz."""
import re

import rsip
from conftest import ROOT

NAMES = ["rsip_requests_total", "rsip_errors_total", "rsip_clients", "rsip_bindings",
    "rsip_pool_ports_free", "rsip_packets_total", "rsip_drops_total", "rsip_request_seconds",
    "rsip_udp_duplicates_total", "rsip_udp_stale_total", "rsip_udp_counter_gap_total", "rsip_hold",
    "rsip_ike_cookies", "rsip_reassembly"]


def test_the_promised_metrics(running):
    host = running.udp("127.0.0.2")
    host.register()
    host.assign(16)
    host.assign_ipsec()
    assert host.free(7).error == 306
    m = running.metric
    assert m('rsip_requests_total{type="REGISTER_REQUEST"}') == 1
    assert m('rsip_requests_total{type="ASSIGN_REQUEST_RSAP-IP"}') == 1
    assert m('rsip_errors_total{code="306"}') == 1
    assert m("rsip_clients") == 1
    assert m('rsip_bindings{method="rsap-ip"}') == 1 and m('rsip_bindings{method="rsipsec"}') == 1
    assert m('rsip_pool_ports_free{address="203.0.113.1"}') == 64510 - 20
    assert m("rsip_request_seconds_count") == 4
    assert m('rsip_request_seconds_bucket{le="+Inf"}') == 4
    status, text = running.http("/metrics")
    assert status == 200
    for name in NAMES:
        assert f"# TYPE {name} " in text, name


def test_docs_name_every_metric_and_no_other(running):
    text = running.http("/metrics")[1]
    have = set(re.findall(r"^# TYPE (\S+) ", text, re.M))
    # Those of rsip-kxd are its own (tests/netns/test_kxd.py).
    said = set(re.findall(r"^\| `(rsip_(?!kx_)\w+)", (ROOT / "docs" / "metrics.md").read_text(), re.M))
    assert have == said


def test_health(running):
    assert running.http("/healthz") == (200, "ok\n")
    assert running.http("/nothing")[0] == 404


def test_every_sample_is_a_number_with_a_family(running):
    families = set()
    for line in running.http("/metrics")[1].splitlines():
        if line.startswith("# TYPE"):
            families.add(line.split()[2])
        elif not line.startswith("#"):
            name, value = re.fullmatch(r'(\w+)(?:\{[^{}]*\})? (\S+)', line).groups()
            float(value)
            assert re.sub(r"_(bucket|sum|count)$", "", name) in families or name in families


