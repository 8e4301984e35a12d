"""rsip ike: the drop-in for charon follows the lease, charon is told, and what runs is compared with it.

charon is this test, by its control socket; the real one is in tests/ipsec.
"""
import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import threading

import pytest
import topo
from topo import NA, NB, Gateway, Net, ranges, road, wait_for

WHY_NOT = topo.why_not()
if WHY_NOT:
    pytest.skip(WHY_NOT, allow_module_level=True)
from test_host import Client

REQUEST, RESPONSE, REGISTER, CONFIRM, EVENT = 0, 1, 3, 5, 7


class Charon:
    """The socket of a charon: answers, and remembers what it was asked."""

    def __init__(self, path):
        self.path, self.asked, self.sas, self.connections = path, [], [], []
        self.start()

    def start(self):
        path = str(self.path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        threading.Thread(target=self.serve, args=(self.listener,), daemon=True).start()

    def serve(self, listener):
        with contextlib.suppress(OSError):
            while True:
                c, _ = listener.accept()
                self.connections.append(c)
                threading.Thread(target=self.talk, args=(c,), daemon=True).start()

    def talk(self, c):
        with contextlib.suppress(OSError, struct.error):
            while True:
                size, = struct.unpack("!I", c.recv(4, socket.MSG_WAITALL))
                packet = c.recv(size, socket.MSG_WAITALL)
                name = packet[2:2 + packet[1]].decode()
                if packet[0] == REGISTER:
                    self.send(c, bytes([CONFIRM]))
                    continue
                self.asked.append(name)
                if name == "list-sas":
                    for sa in self.sas:
                        self.send(c, bytes([EVENT, 7]) + b"list-sa" + sa)
                self.send(c, bytes([RESPONSE]) + key("success", "yes"))

    @staticmethod
    def send(c, packet):
        c.sendall(struct.pack("!I", len(packet)) + packet)

    def stop(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for c in self.connections:
            with contextlib.suppress(OSError):
                c.shutdown(socket.SHUT_RDWR)
            c.close()
        self.connections.clear()

    close = stop


def key(name, value):
    return bytes([3, len(name)]) + name.encode() + struct.pack("!H", len(value)) + value.encode()


def section(name, *inside):
    return bytes([1, len(name)]) + name.encode() + b"".join(inside) + bytes([2])


@pytest.fixture
def network(tmp_path):
    with Net(tmp_path / "net") as net, contextlib.ExitStack() as stack:
        net.dir.mkdir()
        road(net)
        net.keep = lambda thing: stack.enter_context(contextlib.closing(thing))
        yield net


@pytest.fixture
def gateway(network):
    return Gateway(network, pool="hold-down = 2").start()


@pytest.fixture
def x1(network, gateway):
    return Client(network, "x1")


@pytest.fixture
def charon(network, tmp_path):
    return network.keep(Charon(tmp_path / "vici"))


@pytest.fixture
def drop_in(x1, charon, tmp_path):
    """The file, in step from now on."""
    target = tmp_path / "rsip.conf"
    x1.up()
    x1.rsip("ike", "strongswan", "-o", target, "--vici", charon.path)
    return target


def settings(path):
    return {k: int(v, 0) for k, v in re.findall(r"^    (\w+) = (\S+)$", path.read_text(), re.M)}


def of_lease(binding):
    (low, high), = ranges(binding["spis"])
    return {"spi_min": low, "spi_max": high, "spi_label": low << 32,
        "spi_mask": 0xFFFFFFFF << 32, "port": ranges(binding["ports"])[0][0],
        "port_nat_t": ranges(binding["ports"])[0][0] + 1}


def first(x1):
    return next(iter(x1.status()["bindings"]), None)


def matches(drop_in, x1):
    binding = first(x1)
    return binding and settings(drop_in) == of_lease(binding)


# S-3-05: another lease, the file follows, charon reads its SPIs; ports and cookies need a restart, which is said.
def test_follows_the_lease(network, gateway, x1, charon, drop_in):
    assert settings(drop_in) == of_lease(first(x1))
    wait_for(lambda: charon.asked == ["reload-settings"], "charon is not told")
    assert x1.status()["charon"]["restart"] is False
    old = first(x1)
    gateway.release(old["bind_id"])
    wait_for(lambda: matches(drop_in, x1), "the file does not follow")
    assert of_lease(first(x1))["spi_min"] != of_lease(old)["spi_min"]
    wait_for(lambda: charon.asked == 2 * ["reload-settings"], "charon is not told again")
    assert x1.status()["charon"]["restart"] is True and "restart charon" in x1.rsip("status")
    port = first(x1)["ports"].split("-")[0]
    reserved = ranges(x1.sysctl("net.ipv4.ip_local_reserved_ports")[0])
    assert any(a <= int(port) <= z for a, z in reserved)
    charon.stop()
    wait_for(lambda: not x1.status()["charon"]["answers"], "its end is not noticed")
    charon.start()
    wait_for(lambda: x1.status()["charon"]["restart"] is False, "its start is not noticed")


# A gateway without memory is asked for the same numbers: charon goes on as it is.
def test_same_numbers_again(network, gateway, x1, charon, drop_in):
    before, old = settings(drop_in), first(x1)["bind_id"]
    wait_for(lambda: charon.asked == ["reload-settings"], "charon is not told")
    gateway.end(signal.SIGKILL)
    shutil.rmtree(network.dir / "state")
    gateway.start()
    wait_for(lambda: (held := first(x1)) and held["bind_id"] != old, "not leased again", 20)
    wait_for(lambda: f"binding {first(x1)['bind_id']} " in drop_in.read_text(), "file of before")
    assert settings(drop_in) == before
    assert charon.asked == ["reload-settings"] and not x1.status()["charon"]["restart"]


def test_successor_goes_on(gateway, x1, charon, drop_in):
    old = settings(drop_in)
    x1.kill()
    x1.up()
    gateway.release(first(x1)["bind_id"])
    wait_for(lambda: settings(drop_in) != old and matches(drop_in, x1),
        "the successor does not know the file")
    assert x1.status()["charon"]["restart"] is True


def test_down_forgets(x1, charon, drop_in):
    text = drop_in.read_text()
    x1.rsip("down")
    wait_for(lambda: x1.daemon() is None, "rsip-hostd stays")
    assert drop_in.read_text() == text


# --- rsip ike strongswan --check --------------------------------------------------------------


def check(x1, charon, drop_in, swanctl):
    p = x1.rsip("ike", "strongswan", "--check", "-o", drop_in, "--vici", charon.path, "--swanctl",
        swanctl, check=False)
    return p.returncode, p.stdout.splitlines()


def ike_sa(settings, spi_in, cookie=None):
    return section("y", key("local-host", NB), key("initiator", "yes"),
        key("initiator-spi", cookie or f"{settings['spi_min']:08x}00112233"),
        key("responder-spi", "8899aabbccddeeff"),
        section("child-sas", section("tunnel-1", key("spi-in", f"{spi_in:08x}"))))


def test_check(network, x1, charon, drop_in, tmp_path):
    swanctl = tmp_path / "swanctl.conf"
    swanctl.write_text("connections {\n  a { # first\n    version = 2\n    mobike = no\n"
        "    local { auth = psk\n mobike = yes }\n  }\n  b { version = 1 }\n  c { }\n}\n"
        "secrets { mobike { } }\n")
    said = settings(drop_in)
    with network.inside("x1"):
        ike = network.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    # The file is right, charon runs with another port.
    status, lines = check(x1, charon, drop_in, swanctl)
    assert status == 1
    assert [l for l in lines if l.startswith("wrong")] == \
        [f"wrong: charon's IKE port is {said['port']}, but nobody has it open; restart charon"]
    ike.bind(("0.0.0.0", said["port"]))
    charon.sas = [ike_sa(said, said["spi_min"])]
    status, lines = check(x1, charon, drop_in, swanctl)
    assert status == 0, lines
    assert [l for l in lines if "connection" in l] == ["ok: connection a: no MOBIKE",
        "ok: connection b: no MOBIKE", f"ok: connection c: MOBIKE goes by port "
        f"{said['port_nat_t']}, which is leased, and tells the peer the private address; "
        "mobike = no is better"]
    assert "ok: 1 IKE SAs are up from the leased address" in lines
    # An SA of before, and a file of another lease.
    charon.sas = [ike_sa(said, said["spi_max"] + 1)]
    drop_in.write_text(drop_in.read_text().replace("spi_min", "spi_mix"))
    status, lines = check(x1, charon, drop_in, swanctl)
    assert status == 1
    assert [l.split(" ")[1] for l in lines if l.startswith("wrong")] == [str(drop_in), "SA"]


# Cookies count where port 500 is shared; MOBIKE where there is one port only.
def test_check_shared_port(network, gateway, x1, charon, tmp_path):
    target, swanctl = tmp_path / "rsip.conf", tmp_path / "swanctl.conf"
    swanctl.write_text("connections {\n  c {\n version = 2\n}\n}\n")
    x1.up("--ports", "0")
    x1.rsip("ike", "strongswan", "-o", target, "--vici", charon.path)
    said = settings(target)
    assert (said["port"], said["port_nat_t"]) == (500, 4500)
    charon.sas = [ike_sa(said, said["spi_min"], "0011223344556677")]
    status, lines = check(x1, charon, target, swanctl)
    assert status == 1 and any("its cookie 0011223344556677" in l for l in lines)
    x1.rsip("down")
    wait_for(lambda: x1.daemon() is None, "rsip-hostd stays")
    x1.up("--ports", "1")
    x1.rsip("ike", "strongswan", "-o", target, "--vici", charon.path)
    status, lines = check(x1, charon, target, swanctl)
    assert status == 1 and any("which is not leased" in l for l in lines)
    charon.stop()
    status, lines = check(x1, charon, target, tmp_path / "none")
    assert status == 0 and len([l for l in lines if l.startswith("not checked")]) == 2


# --- rsip ike libreswan -----------------------------------------------------------------------


def test_libreswan(x1, tmp_path):
    x1.up()
    p = x1.rsip("ike", "libreswan", check=False)
    assert p.returncode == 1 and "--spi-mode follow" in p.stderr
    x1.rsip("down")
    wait_for(lambda: x1.daemon() is None, "rsip-hostd stays")
    x1.up("--spi-mode", "follow")
    port = ranges(first(x1)["ports"])[0][0]
    lines = x1.rsip("ike", "libreswan").splitlines()[1:]
    assert lines == ["conn rsip", f"    left={NB}", f"    leftikeport={port}",
        "    rightikeport=4500", "    mobike=no", "    encapsulation=no"]
    assert ranges(x1.sysctl("net.ipv4.ip_local_reserved_ports")[0]) == [(port, port)]
    x1.rsip("ike", "libreswan", "-o", tmp_path / "rsip.conf")
    assert (tmp_path / "rsip.conf").read_text().splitlines()[1:] == lines


# S-G-03: port 500 of the address for one host, where the gateway leases it at all.
def test_port_500_for_one(network):
    Gateway(network, pool="exclusive-500 = true").start()
    x1, x2 = Client(network, "x1"), Client(network, "x2")
    for c in (x1, x2):
        c.up("--ports", "8")
    held = x1.one("listen", "--port", "500")
    assert held["ports"] == "500" and held["address"] == NB
    status, text = x2.failing("listen", "--port", "500")
    assert status == 1 and "311" in text
    with network.inside("x1"):
        own = network.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    own.bind((NB, 500))
    own.settimeout(5)
    with network.inside("y"):
        peer = network.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    first_message = os.urandom(8) + bytes(8) + bytes([33, 0x20, 34, 8]) + struct.pack("!II", 0, 28)
    peer.sendto(first_message, (NB, 500))
    assert own.recv(2048) == first_message
    assert f"{NA}" in x1.rsip("status")
