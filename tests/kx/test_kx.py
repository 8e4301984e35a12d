"""rsip kx over the signed tree of tests/kx/signed: from files, and from three name servers."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("RSIP_BUILD", ROOT / "build"))
RSIP = BUILD / "bin" / "rsip"
HERE = pathlib.Path(__file__).resolve().parent
SIGNED = HERE / "signed"


def rsip_kx(target, *options):
    """(exit status, explanation) of rsip kx --json."""
    run = subprocess.run([RSIP, "kx", target, "--json", "--anchor", SIGNED / "anchor.key", *options],
        capture_output=True, text=True, timeout=60)
    assert run.stderr == "", run.stderr
    return run.returncode, json.loads(run.stdout)


# target, exit status, decision, reason, exchangers in order (None: any order)
CASES = [
    ("d.d-net.test", 0, "connect", "exchanger", ["r2.d-net.test.", "r2b.d-net.test.", "r2c.d-net.test."]),
    ("203.0.113.10", 0, "connect", "exchanger", ["r2.d-net.test.", "r2b.d-net.test.", "r2c.d-net.test."]),
    ("2001:db8:2::10", 0, "connect", "exchanger", ["r2.d-net.test.", "r2b.d-net.test.", "r2c.d-net.test."]),
    ("203.0.113.11", 0, "connect", "exchanger", None),
    ("203.0.113.12", 0, "connect", "exchanger", ["self.d-net.test."]),
    ("203.0.113.13", 0, "direct", "self", ["nokx.d-net.test."]),
    ("203.0.113.14", 0, "connect", "exchanger", ["r2.d-net.test."]),
    ("203.0.113.15", 0, "connect", "exchanger", ["r2.d-net.test."]),
    ("203.0.113.16", 0, "connect", "exchanger", ["r2b.d-net.test."]),
    ("203.0.113.17", 4, "none", "insecure", []),
    ("203.0.113.22", 0, "none", "null", []),
    ("203.0.113.23", 0, "connect", "exchanger", ["r2.d-net.test."]),
    ("203.0.113.30", 0, "connect", "exchanger", ["r.nsec3.test."]),
    ("203.0.113.40", 4, "none", "insecure", []),
    ("203.0.113.41", 5, "none", "bogus", []),
    ("203.0.113.42", 5, "none", "bogus", []),
    ("203.0.113.99", 0, "none", "reverse", []),
    ("203.0.113.201", 0, "direct", "self", ["host.wild.d-net.test."]),
    ("198.51.100.15", 0, "none", "forward", []),
    ("192.0.2.10", 4, "none", "insecure", []),
    ("10.0.0.5", 0, "none", "forward", []),
    ("nosuch.d-net.test", 0, "none", "name", []),
    ("aliasun.d-net.test", 4, "none", "insecure", []),
    ("d.bogus.test", 5, "none", "bogus", []),
    ("d.expired.test", 5, "none", "bogus", []),
    ("d.wrongds.test", 5, "none", "bogus", []),
    ("d.unsigned.test", 4, "none", "insecure", []),
    ("loop.d-net.test", 1, "none", "error", []),
    ("many.evil.test", 0, "connect", "exchanger", [f"r{i}.evil.test." for i in (1, 2, 3, 4)]),
    ("rsip.d-net.test", 0, "connect", "exchanger", ["rsip.d-net.test."]),
]


def check(case, *options):
    target, status, decision, reason, names = case
    code, got = rsip_kx(target, *options)
    assert (code, got["decision"], got["reason"]) == (status, decision, reason), got
    if names is not None:
        assert [x["name"] for x in got["exchangers"]] == names


# K-2.1-01, K-2.1-02, K-3-02, K-3-03, K-3-04, K-3-08, K-4-01, K-4-02
@pytest.mark.parametrize("case", CASES, ids=[c[0] for c in CASES])
def test_from_files(case):
    check(case, "--zones", SIGNED)


def test_another_owner_does_not_matter():
    """d.evil.test points at D's address; D's own tree says who exchanges keys for it."""
    _, got = rsip_kx("203.0.113.10", "--zones", SIGNED)
    assert "evil" not in json.dumps(got)


def test_port_and_key_are_shown():
    _, got = rsip_kx("rsip.d-net.test", "--zones", SIGNED)
    x = got["exchangers"][0]
    assert x["port"] == 20480 and x["addresses"] == ["203.0.113.50"]
    assert x["keys"][0]["algorithm"] == "EdDSA" and len(x["keys"][0]["key"]) == 44


def test_time_of_validation():
    assert rsip_kx("d.expired.test", "--zones", SIGNED, "--at", "20200115000000")[0] == 0
    assert rsip_kx("d.d-net.test", "--zones", SIGNED, "--at", "20380101000000")[0] == 5


def plain(*words):
    return subprocess.run([RSIP, "kx", *words], capture_output=True, text=True, timeout=60)


def test_text():
    run = plain("203.0.113.13", "--zones", str(SIGNED), "--anchor", str(SIGNED / "anchor.key"))
    assert run.returncode == 0
    assert "nokx.d-net.test. KX: NODATA" in run.stdout
    assert "itself: it is proved that there is no KX record" in run.stdout
    assert run.stdout.endswith("secure\n")


@pytest.mark.parametrize("words", [[], ["a..b"], ["explain"], ["d.test", "x"], ["d.test", "--zones", "/proc/none"],
    ["d.test", "--anchor", "/proc/none"], ["d.test", "--at", "soon"]])
def test_usage(words):
    run = plain(*words)
    assert run.returncode == 2 and run.stderr.startswith("rsip: "), run.stderr


@pytest.mark.parametrize("words", [["show"], ["explain", "d.test"], ["flush"], ["open"]])
def test_daemon_not_there(words, tmp_path):
    run = plain(*words, "--socket", str(tmp_path / "none"))
    assert run.returncode == 3 and "none" in run.stderr


def test_tree_is_reproducible(tmp_path):
    """What is committed is what the generator makes, to the byte."""
    if not shutil.which("ldns-signzone"):
        pytest.skip("ldns-signzone is not there (package ldnsutils)")
    subprocess.run([HERE / "make-zones", tmp_path], check=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in SIGNED.iterdir())
    for p in SIGNED.iterdir():
        assert (tmp_path / p.name).read_bytes() == p.read_bytes(), p.name
