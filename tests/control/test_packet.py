"""rsipd with the packet driver in a network namespace of its own: what the program does around
the driver.  What packets do is tests/netns's.

        hosts -- lanp | lan0 [rsipd] wan0 | wanp -- peers          (all in one namespace)
"""
import os
import signal
import subprocess

import pytest

from conftest import Gateway, wait_for

NET_ADMIN, NET_RAW, PERFMON, BPF = 1 << 12, 1 << 13, 1 << 38, 1 << 39


class Namespace:
    """Held by a process, so that it outlives the daemon."""

    def __init__(self):
        setup = ("ip link set lo up && ip link add lan0 type veth peer name lanp && "
            "ip link add wan0 type veth peer name wanp && ip addr add 10.0.0.1/24 dev lan0 && "
            "ip addr add 198.51.100.1/24 dev wan0 && "
            "for i in lan0 lanp wan0 wanp; do ip link set $i up || exit 1; done && "
            "echo up && exec cat")
        # Without root in a user namespace, where the kernel allows one.
        user = os.geteuid() != 0
        self.holder = subprocess.Popen(["unshare", "-rn" if user else "-n", "sh", "-c", setup],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.works = self.holder.stdout.readline() == b"up\n"
        self.enter = ["nsenter", "-t", str(self.holder.pid), "-n",
            *(["-U", "--preserve-credentials"] if user else [])]

    def run(self, *args):
        return subprocess.run([*self.enter, *args], capture_output=True, text=True, timeout=30,
            check=True).stdout

    def close(self):
        self.holder.stdin.close()
        self.holder.wait(10)
        self.holder.stdout.close()
        self.holder.stderr.close()


@pytest.fixture
def namespace():
    n = Namespace()
    if not n.works:
        text = n.holder.stderr.read().decode()
        n.close()
        pytest.skip(f"no namespace with veth here: {text.strip()}")
    yield n
    n.close()


@pytest.fixture
def carrying(tmp_path, namespace):
    g = Gateway(tmp_path, namespace.enter)
    yield g
    g.close()


def configure(g, driver="packet", addresses="203.0.113.1", pool="", more=""):
    g.configure(addresses=addresses, pool=pool, more=more, listen="10.0.0.1:4555")
    text = g.file.read_text().replace('driver = "none"',
        f'driver = "{driver}"\n private-interface = "lan0"\n public-interface = "wan0"')
    g.file.write_text(text)
    return g


def status_of(g):
    with open(f"/proc/{g.process.pid}/status") as f:
        return dict(line.split(":\t") for line in f.read().splitlines() if ":\t" in line)


def refused(g):
    g.start(expect_ready=False)
    status = g.process.wait(20)
    g.process.stdout.close()
    g.process = None
    return status, g.log.read_text()


@pytest.fixture(params=["packet", "xdp"])
def driver(request, tmp_path, namespace):
    """Each driver that runs here."""
    if request.param == "packet":
        return "packet"
    (tmp_path / "probe").mkdir()
    probe = configure(Gateway(tmp_path / "probe", namespace.enter), "xdp")
    probe.start(expect_ready=False)
    ready = "ready" in probe.read_line()
    status = probe.stop() if ready else probe.process.wait(20)
    probe.close()
    if not ready:
        pytest.skip("driver xdp does not run here: " + probe.log.read_text().strip()[-200:])
    assert status == 0
    return "xdp"


def test_rights_that_the_driver_needs_and_no_others(carrying, driver):
    g = configure(carrying, driver).start()
    status = status_of(g)
    rights = NET_ADMIN | NET_RAW | (BPF | PERFMON if driver == "xdp" else 0)
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status[name], 16) == rights, name
    assert status["NoNewPrivs"].strip() == "1"
    assert g.json("show", "status")["driver"] == driver


def test_nothing_is_left_behind(carrying, namespace, driver):
    before = namespace.run("nft", "list", "ruleset")
    links = namespace.run("ip", "-o", "link")
    g = configure(carrying, driver).start()
    assert namespace.run("nft", "list", "ruleset") != before
    assert g.stop() == 0
    assert namespace.run("nft", "list", "ruleset") == before
    assert namespace.run("ip", "-o", "link") == links


def test_killed_and_started_again(carrying, namespace, driver):
    g = configure(carrying, driver).start()
    first = namespace.run("nft", "list", "ruleset")
    g.stop(signal.SIGKILL)
    g.start()
    assert namespace.run("nft", "list", "ruleset") == first
    assert g.stop() == 0
    assert namespace.run("nft", "list", "ruleset") == ""


# interfaces: auto is xdp where BPF loads, else packet, and says which.
def test_auto_says_which_driver_it_is(carrying, driver):
    g = configure(carrying, "auto").start()
    chosen = g.json("show", "status")["driver"]
    assert f"data plane driver chosen driver={chosen}" in g.log.read_text()
    assert driver == "packet" or chosen == "xdp"


def test_auto_without_bpf_is_packet(carrying, namespace):
    """The rights for BPF are what is missing; the log has the reason."""
    carrying.wrapper = [*namespace.enter, "setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin",
        "--inh-caps", "-bpf,-perfmon,-sys_admin"]
    g = configure(carrying, "auto").start()
    assert g.json("show", "status")["driver"] == "packet"
    assert 'driver chosen driver=packet reason="xdp: ' in g.log.read_text()


def test_interface_that_is_not_there(carrying):
    configure(carrying)
    carrying.file.write_text(carrying.file.read_text().replace("wan0", "wan7"))
    status, text = refused(carrying)
    assert status == 1 and "wan7" in text


def test_pool_changed_by_a_reload(carrying, namespace, driver):
    """The data plane is opened anew, with the rights that are left."""
    g = configure(carrying, driver).start()
    before = namespace.run("nft", "list", "ruleset")
    configure(g, driver, addresses="203.0.113.0/29")
    assert "configuration taken" in g.reload()
    after = namespace.run("nft", "list", "ruleset")
    assert "203.0.113.0/29" in after and after != before
    assert g.json("show", "status")["healthy"] is True
    assert g.stop() == 0
    assert namespace.run("nft", "list", "ruleset") == ""


# interfaces: a pool address that is the gateway's own.
def test_own_address_shares_no_port(carrying, namespace):
    configure(carrying, addresses="198.51.100.1")
    status, text = refused(carrying)
    assert status == 2
    assert "198.51.100.1" in text and "ip_local_port_range" in text and "reserve" in text
    namespace.run("sysctl", "-q", "net.ipv4.ip_local_port_range=1024 1999")
    configure(carrying, addresses="198.51.100.1", pool='ports = { "2000-65535" }')
    g = carrying.start()
    assert g.stop() == 0


def test_own_address_with_reserved_ports(carrying, namespace):
    namespace.run("sysctl", "-q", "net.ipv4.ip_local_reserved_ports=1024-65535")
    configure(carrying, addresses="198.51.100.1").start()


def test_own_address_with_a_socket(carrying, namespace):
    namespace.run("sysctl", "-q", "net.ipv4.ip_local_port_range=1024 1999")
    server = subprocess.Popen([*namespace.enter, "/usr/bin/python3", "-c",
        "import socket; s = socket.create_server(('198.51.100.1', 8080)); print('up', flush=True); "
        "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"up\n"
    configure(carrying, addresses="198.51.100.1", pool='ports = { "2000-65535" }')
    status, text = refused(carrying)
    assert status == 2 and "8080" in text and "198.51.100.1" in text
    server.communicate(b"\n", timeout=10)
    g = carrying.start()
    # The check at a reload sees the daemon's own sockets and finds them in order.
    configure(g, addresses="198.51.100.1", pool='ports = { "3000-65535" }')
    assert "configuration taken" in g.reload()
    configure(g, addresses="198.51.100.1", pool='ports = { "1500-65535" }')
    assert "nothing changed" in g.reload()
    wait_for(lambda: g.json("show", "status")["healthy"], "it is still healthy")
