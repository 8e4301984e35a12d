"""rsip kx through name servers, and names kept up to date in them by signed updates."""
import json
import os
import pathlib
import subprocess

import pytest

import servers
from servers import SIGNED, query, wait_for
from test_kx import CASES, RSIP, check

PUBLISH = pathlib.Path(os.environ.get("RSIP_BUILD", SIGNED.parents[2] / "build")) / "tests" / "kx" / "publish"
# What differs when a network is between: a dead server is asked, and does not answer.
OVER_NET = [c for c in CASES if c[0] not in ("many.evil.test", "loop.d-net.test")]


@pytest.fixture(params=["knot", "bind"])
def dynamic(request, tmp_path):
    server = servers.Server(request.param, tmp_path).start()
    yield server
    server.stop()


def site(tmp_path):
    """The resolver knows test. as empty unless told otherwise."""
    conf = tmp_path / "site.conf"
    conf.write_text('server:\n  local-zone: "test." nodefault\n')
    return conf


# K-3.1-02: the additional section (nsd and bind fill it, knot does not) makes no difference.
@pytest.mark.parametrize("kind", ["knot", "nsd", "bind"])
def test_through(kind, tmp_path):
    server = servers.Server(kind, tmp_path).start()
    try:
        for case in OVER_NET:
            check(case, "--forward", "%s@%d" % server.at, "--resolver-config", site(tmp_path))
    finally:
        server.stop()


def test_silent_server(tmp_path):
    """Nobody there: a failure, never an absence, and within our time."""
    run = subprocess.run([RSIP, "kx", "d.d-net.test", "--json", "--anchor", SIGNED / "anchor.key", "--forward",
        "127.0.0.1@%d" % servers.free_port(), "--resolver-config", site(tmp_path)], capture_output=True,
        text=True, timeout=10)
    assert run.returncode == 1
    assert json.loads(run.stdout)["reason"] == "error"


def publish(server, *words, key=None):
    run = subprocess.run([PUBLISH, "%s:%d" % server.at, key or server.keyfile, *words], capture_output=True,
        text=True, timeout=20)
    return run.returncode, run.stdout.strip()


# K-4-04, K-4-05
def test_published_and_withdrawn(dynamic, tmp_path):
    at = dynamic.at
    assert publish(dynamic, "x1.dyn.test", "203.0.113.50", "20481") == (0, "")
    assert query(at, "x1.dyn.test", "A") == ["203.0.113.50"]
    assert query(at, "x1.dyn.test", "KX") == ["10 x1.dyn.test."]
    assert query(at, "_isakmp._udp.x1.dyn.test", "SRV") == ["0 0 20481 x1.dyn.test."]
    # and a validator believes it
    case = ("x1.dyn.test", 0, "connect", "exchanger", ["x1.dyn.test."])
    wait_for(lambda: "RRSIG" in subprocess.run(["dig", "+dnssec", "+norec", f"@{at[0]}", "-p", str(at[1]),
        "x1.dyn.test", "KX"], capture_output=True, text=True).stdout, "the server signs it")
    check(case, "--forward", "%s@%d" % at, "--resolver-config", site(tmp_path))
    # Another port: one transaction, nothing of the old one stays.
    assert publish(dynamic, "x1.dyn.test", "203.0.113.51", "20999") == (0, "")
    assert query(at, "x1.dyn.test", "A") == ["203.0.113.51"]
    assert query(at, "_isakmp._udp.x1.dyn.test", "SRV") == ["0 0 20999 x1.dyn.test."]
    # Gone: the whole name, not only its KX record, which would mean "myself".
    assert publish(dynamic, "x1.dyn.test") == (0, "")
    for name, kind in [("x1.dyn.test", "A"), ("x1.dyn.test", "KX"), ("_isakmp._udp.x1.dyn.test", "SRV")]:
        assert query(at, name, kind) == []
    check(("x1.dyn.test", 0, "none", "name", []), "--forward", "%s@%d" % at, "--resolver-config", site(tmp_path))
    assert query(at, "base.dyn.test", "A") == ["203.0.113.60"]


def test_whole_address_has_a_reverse_name(dynamic):
    reverse = "77.113.0.203.in-addr.arpa"
    assert publish(dynamic, "x2.dyn.test", "203.0.113.77", "0", "ptr") == (0, "")
    assert query(dynamic.at, reverse, "PTR") == ["x2.dyn.test."]
    assert query(dynamic.at, "_isakmp._udp.x2.dyn.test", "SRV") == []
    assert publish(dynamic, "x2.dyn.test", "203.0.113.77", "0", "ptr", "gone") == (0, "")
    assert query(dynamic.at, reverse, "PTR") == []
    assert query(dynamic.at, "x2.dyn.test", "A") == []


def key(folder, name, secret):
    path = folder / f"key-{name}"
    path.write_text(f"hmac-sha256:{name}:{secret}\n")
    path.chmod(0o600)
    return path


# K-4-05: without the key nothing changes, and the reason is said.
def test_refusals(dynamic, tmp_path):
    good = servers.zones.TSIG
    rows = [(key(tmp_path, "other", good), "x.dyn.test", "NOTAUTH"),
        (key(tmp_path, "kxkey", "AAAA" + good[4:]), "x.dyn.test", "NOTAUTH"),
        (None, "x.d-net.test", "refuses the update of d-net.test.")]
    for path, name, why in rows:
        code, text = publish(dynamic, name, "203.0.113.52", key=path)
        assert code == 1 and why in text, text
        assert query(dynamic.at, name, "A") == []


def test_key_file_of_others(tmp_path):
    path = key(tmp_path, "kxkey", servers.zones.TSIG)
    path.chmod(0o644)
    run = subprocess.run([PUBLISH, "127.0.0.1:1", path, "x.dyn.test"], capture_output=True, text=True)
    assert run.returncode == 2 and "others may read it" in run.stdout


def test_nobody_there(tmp_path):
    path = key(tmp_path, "kxkey", servers.zones.TSIG)
    run = subprocess.run([PUBLISH, "127.0.0.1:%d" % servers.free_port(), path, "x.dyn.test", "203.0.113.1"],
        capture_output=True, text=True, timeout=20)
    assert run.returncode == 1 and "does not answer" in run.stdout
