"""The life of a configuration: check, difference, trial, confirmation, and the way back."""
import json
import subprocess

import pytest

import rsip
from conftest import RSIP, RSIPD, wait_for


def config(gateway, *words, status=0):
    p = subprocess.run([RSIP, "config", *map(str, words), "--socket", gateway.socket],
        capture_output=True, text=True, timeout=30)
    assert p.returncode == status, p
    return p.stdout if status == 0 or p.stdout else p.stderr


def variant(g, **more):
    """A file of its own that says something else."""
    running = g.file.read_text()
    g.configure(**more)
    other = g.folder / "other.conf"
    other.write_text(g.file.read_text())
    g.file.write_text(running)
    return other


def lease_of(gateway, addr):
    host = gateway.udp(addr)
    answer = host.register()
    host.deregister()
    return answer.lease


def test_check(running):
    assert config(running, "check", running.file) == ""
    other = running.folder / "bad.conf"
    other.write_text('gateway {\n lisen = { "1.2.3.4:1" }\n}')
    said = config(running, "check", other, status=2)
    assert f"{other}:2: no such option 'lisen'; did you mean listen?" in said


# Errors name the line and what was probably meant; both programs say the same.
@pytest.mark.parametrize("text,said", [
    ('gateway {\n transport = { "tcp" }\n}', ":2: no such option 'transport'; did you mean transports?"),
    ('gatewya { }', ":1: no such option 'gatewya'; did you mean gateway?"),
    ('gateway {\n hold-down = 3\n}', ":2: no such option 'hold-down'; it belongs into section pool"),
    ('dataplane { driver = "packett" }', ':1: driver = "packett": expected one of'),
    ('dataplane { driver = "packett" }', "did you mean packet?"),
    ('pool p { addressesx = "1.2.3.4" }', "did you mean addresses?"),
    ('policy p { max-port = 3 }', "did you mean max-ports?"),
    ('gateway { zebra = 1 }', "it knows listen"),
])
def test_suggestions(tmp_path, text, said):
    file = tmp_path / "x.conf"
    file.write_text(text)
    for words in ([RSIP, "config", "check", file], [RSIPD, "--check", "-c", file]):
        p = subprocess.run(words, capture_output=True, text=True)
        assert p.returncode == 2 and p.stdout == "" and said in p.stderr, p


def test_diff(running):
    assert config(running, "diff", running.file) == ""
    other = variant(running, metrics=True, gateway="registration-lease = 600",
        addresses='203.0.113.1", "203.0.113.2', policy='max-ports = 16')
    lines = config(running, "diff", other, status=1).splitlines()
    assert "  gateway registration-lease: 3600 -> 600" in lines
    assert "  pool public addresses: 203.0.113.1 -> 203.0.113.1, 203.0.113.2" in lines
    assert "+ policy test" in lines and "  policy test max-ports: 1024 -> 16" in lines
    p = subprocess.run([RSIP, "config", "diff", other, "--json", "--socket", running.socket],
        capture_output=True, text=True)
    rows = json.loads(p.stdout)
    assert p.returncode == 1 and len(rows) == len(lines)
    assert {"section": "gateway", "title": None, "key": "registration-lease", "before": "3600",
        "after": "600"} in rows
    # What runs counts, not what the file says meanwhile.
    running.file.write_text(other.read_text())
    assert config(running, "diff", other, status=1)


def test_apply_and_confirm(running):
    before = running.file.read_text()
    other = variant(running, metrics=True, gateway="registration-lease = 601")
    assert "rsip config confirm" in config(running, "apply", other, "--confirm", "60s")
    assert lease_of(running, "127.0.0.2") == 601
    assert running.file.read_text() == before
    assert config(running, "diff", other) == ""
    config(running, "confirm")
    assert running.file.read_text() == other.read_text()
    assert "no configuration is on trial" in config(running, "confirm", status=1)
    running.kill()
    running.start()
    assert lease_of(running, "127.0.0.2") == 601


def test_nobody_confirms(running):
    host = running.udp("127.0.0.9")
    host.register()
    bind = host.assign(4).bind
    other = variant(running, metrics=True, gateway="registration-lease = 602",
        addresses="203.0.113.2")
    config(running, "apply", other, "--confirm", "1s")
    assert lease_of(running, "127.0.0.2") == 602
    wait_for(lambda: "back to the former one" in running.log.read_text(), "it goes back")
    assert lease_of(running, "127.0.0.2") == 3600
    assert [p["name"] for p in running.json("show", "pools")] == ["public"]
    # The host that held something all the while was told, or has it still.
    assert running.json("show", "bindings") == [] or \
        running.json("show", "bindings")[0]["bind_id"] == bind


def test_a_second_trial_goes_back_to_the_first_start(running):
    one = variant(running, metrics=True, gateway="registration-lease = 603")
    config(running, "apply", one, "--confirm", "1m")
    two = variant(running, metrics=True, gateway="registration-lease = 604")
    config(running, "apply", two, "--confirm", "1s")
    assert lease_of(running, "127.0.0.2") == 604
    wait_for(lambda: "back to the former one" in running.log.read_text(), "it goes back")
    assert lease_of(running, "127.0.0.2") == 3600


def test_a_reload_ends_a_trial(running):
    other = variant(running, metrics=True, gateway="registration-lease = 605")
    config(running, "apply", other, "--confirm", "60")
    running.cli("reload")
    assert lease_of(running, "127.0.0.2") == 3600
    config(running, "confirm", status=1)


def test_apply_without_trial(running):
    other = variant(running, metrics=True, gateway="registration-lease = 606")
    config(running, "apply", other)
    assert lease_of(running, "127.0.0.2") == 606
    assert running.file.read_text() == other.read_text()


def test_what_cannot_be_applied(running):
    before = running.file.read_text()
    other = running.folder / "bad.conf"
    other.write_text(before + "\npool public { }\n")
    said = config(running, "apply", other, "--confirm", "9s", status=2)
    assert "bad.conf:" in said
    assert "--confirm" in config(running, "apply", running.file, "--confirm", "soon", status=2)
    # Good by itself, but not here: the daemon says no, and goes on.
    other.write_text(before + '\nsecurity { key-file = "/not/there" }\n')
    assert "/not/there" in config(running, "apply", other, "--confirm", "9s", status=2)
    assert lease_of(running, "127.0.0.2") == 3600
    assert running.file.read_text() == before


# A pool that becomes smaller drains: who holds something keeps it, nobody new gets it.
def test_a_shrinking_pool_drains(gateway):
    gateway.configure(metrics=True, addresses='203.0.113.1", "203.0.113.2').start()
    host = gateway.udp("127.0.0.2")
    host.register()
    stays, goes = (host.assign(2, addr=f"203.0.113.{n}").bind for n in (1, 2))
    gateway.configure(metrics=True, addresses="203.0.113.1")
    gateway.cli("reload")
    pools = {p["name"]: [a["address"] for a in p["addresses"]] for p in gateway.json("show", "pools")}
    assert pools == {"public": ["203.0.113.1"], "draining": ["203.0.113.2"]}
    assert {b["bind_id"] for b in gateway.json("show", "bindings")} == {stays, goes}
    assert host.assign(2, addr="203.0.113.2").error == 312
    host.free(goes)
    assert [p["name"] for p in gateway.json("show", "pools")] == ["public"]
    assert host.extend(stays).type == rsip.EXTEND_OK
