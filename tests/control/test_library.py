"""librsip and rsipd: the example program against the real gateway."""
import os
import subprocess

from conftest import BUILD, wait_for

LEASE = BUILD / "examples" / "lease"


def start(gateway):
    """The example knows the well-known port only, so each run has an address of its own."""
    addr = f"127.{os.getpid() >> 8 & 255}.{os.getpid() & 255}.9"
    gateway.configure(listen=f"{addr}:4555").start()
    return addr


# P-12-01, P-B-02
def test_example_leases_and_gives_back(gateway):
    addr = start(gateway)
    with subprocess.Popen([LEASE, addr, "8", "1"], stdout=subprocess.PIPE, text=True) as p:
        binding, = wait_for(lambda: gateway.json("show", "bindings"), "a lease")
        out = p.communicate(timeout=20)[0]
    assert p.returncode == 0
    assert out == (f"bind {binding['bind_id']}: {binding['address']} ports {binding['ports']} "
        f"for 3600 s, tunnel {binding['tunnel']}\n")
    assert gateway.json("show", "bindings") == gateway.json("show", "clients") == []


def test_example_says_why_not(gateway):
    addr = start(gateway)
    for ports, status, says in (("300", 2, "PORTS is 1 to 255"),
            ("255", 0, ""), ("8", 1, "LOCAL_ADDRPORT_UNAVAILABLE")):
        if status == 1:
            gateway.configure(listen=f"{addr}:4555", policy="max-ports = 7").reload()
        p = subprocess.run([LEASE, addr, ports], capture_output=True, text=True, timeout=20)
        assert p.returncode == status and says in p.stderr, p
    gateway.stop()
    p = subprocess.run([LEASE, addr], capture_output=True, text=True, timeout=20)
    assert p.returncode == 1 and "no answer from the gateway" in p.stderr


# P-10.2.1-05: a host that died comes back at the same address and clears what it left.
def test_example_after_its_own_crash(gateway):
    addr = start(gateway)
    with subprocess.Popen([LEASE, addr, "4", "60"], stdout=subprocess.PIPE) as p:
        old, = wait_for(lambda: gateway.json("show", "bindings"), "a lease")
        p.kill()
    p = subprocess.run([LEASE, addr, "4"], capture_output=True, text=True, timeout=20)
    assert p.returncode == 0, p
    assert str(old["bind_id"]) not in p.stdout
    assert gateway.json("show", "bindings") == []
