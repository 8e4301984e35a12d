"""rsip listen --ike-id: identities as IKE daemons write them, on both ends (S-G-04)."""
import json
import subprocess

import pytest

import topo
from topo import NA, NB

IDENTITIES = {"198.51.100.2": "1:c6336402", "peer.example": "2:" + b"peer.example".hex(),
    "@198.51.100.2": "2:" + b"198.51.100.2".hex(), "me@peer.example": "3:" + b"me@peer.example".hex(),
    "keyid:0aFF": "11:0aff", "any": "0:"}


@pytest.fixture
def net():
    reason = topo.why_not()
    if reason:
        pytest.skip(reason)
    with topo.Net(tag="i") as n:
        topo.road(n)
        yield n
        topo.Host(n, "x1").rsip("down", check=False)


def listen(host, *words):
    return subprocess.run(host.net.words("x1", [topo.BUILD / "bin" / "rsip", "listen", *words]),
        capture_output=True, text=True, timeout=60)


def test_identities(net):
    """S-G-04: each goes out in the type that it has, and both ends show it."""
    gateway = topo.Gateway(net, gateway="listen-rsip-ike = true").start()
    host = topo.Host(net, "x1")
    host.up()
    for written, wanted in IDENTITIES.items():
        binding = json.loads(host.rsip("listen", "--ike-id", written, "--json"))
        assert (binding["method"], binding["address"], binding["ports"]) == ("listen-ike", NB, None)
        assert binding["ike_identity"] == wanted
    shown = {b["ike_identity"] for b in gateway.show("bindings") if "ike_identity" in b}
    assert shown == set(IDENTITIES.values())
    taken = listen(host, "--ike-id", "PEER.example")
    assert taken.returncode == 1 and "311" in taken.stderr
    for bad in ("keyid:0", "keyid:xy", "keyid:", "", "x" * 256):
        p = listen(host, "--ike-id", bad)
        assert p.returncode != 0 and "is no identity" in p.stderr, (bad, p.stderr)


def test_off(net):
    """S-G-04, P-8-03: a gateway that does not have it says so."""
    topo.Gateway(net).start()
    host = topo.Host(net, "x1")
    host.up()
    p = listen(host, "--ike-id", "any")
    assert p.returncode == 1 and "206 ILLEGAL_MESSAGE" in p.stderr
    assert NA in json.dumps(host.status())
