"""`rsip doctor` in namespaces where something is wrong: it says what, and what to do."""
import json
import subprocess

import pytest
import topo
from topo import BUILD, N_OWN, Gateway, Net, road

WHY_NOT = topo.why_not()
if WHY_NOT:
    pytest.skip(WHY_NOT, allow_module_level=True)


@pytest.fixture
def network(tmp_path):
    with Net(tmp_path / "net") as net:
        net.dir.mkdir()
        yield road(net)


def doctor(net, name="n", *words):
    """(status, {check: [finding]}) of the program in that namespace."""
    p = net.run(name, BUILD / "bin" / "rsip", "doctor", "--json", *words, check=False)
    found = {}
    for f in json.loads(p.stdout):
        assert set(f) == {"check", "level", "text", "todo"}
        # Whatever is not as it should be comes with what to do.
        assert (f["level"] == "ok") == (f["todo"] is None), f
        found.setdefault(f["check"], []).append(f)
    problems = [f for l in found.values() for f in l if f["level"] == "problem"]
    assert p.returncode == (1 if problems else 0), p
    return p.returncode, found


def levels(found, check):
    return [f["level"] for f in found[check]]


def test_a_gateway_that_is_well(network):
    gateway = Gateway(network).start()
    status, found = doctor(network, "n", "-c", gateway.conf)
    assert status == 0, found
    assert levels(found, "interface") == ["ok", "ok"] and levels(found, "rsipd") == ["ok"]
    assert "driver packet" in found["rsipd"][0]["text"]
    # 1500 bytes of the public side do not fit into a tunnel over 1500.
    assert levels(found, "mtu") == ["warning"] and "1524" in found["mtu"][0]["todo"]
    network.batch("n", "link set lan0 mtu 1524")
    assert levels(doctor(network, "n", "-c", gateway.conf)[1], "mtu") == ["ok"]


def test_what_is_wrong_with_a_gateway(network):
    gateway = Gateway(network)
    network.batch("n", "link set wan0 down")
    network.sysctl("n", "net.ipv4.conf.lan0.rp_filter=1")
    status, found = doctor(network, "n", "-c", gateway.conf)
    assert status == 1
    assert levels(found, "interface") == ["ok", "problem"]
    assert "wan0 is down" in found["interface"][1]["text"]
    assert found["interface"][1]["todo"] == "ip link set wan0 up"
    assert levels(found, "rp_filter") == ["warning"]
    assert levels(found, "rsipd") == ["problem"] and "start it" in found["rsipd"][0]["todo"]
    network.batch("n", "link set wan0 up", "link del lan0")
    _, found = doctor(network, "n", "-c", gateway.conf)
    assert levels(found, "interface") == ["problem", "ok"]


def test_ports_that_two_want(network):
    """The complaint that address sharing hears most: the pool has the gateway's own ports."""
    gateway = Gateway(network)
    gateway.conf.write_text(gateway.conf.read_text().replace(f'"{topo.NB}"', f'"{N_OWN}"'))
    _, found = doctor(network, "n", "-c", gateway.conf)
    assert levels(found, "local ports") == ["problem"] and N_OWN in found["local ports"][0]["text"]
    network.sysctl("n", "net.ipv4.ip_local_reserved_ports=1024-65535")
    assert levels(doctor(network, "n", "-c", gateway.conf)[1], "local ports") == ["ok"]


def test_nat_beside_it(network):
    gateway = Gateway(network)
    rules = ("add table ip t; add chain ip t c { type nat hook postrouting priority 100; }; "
        "add rule ip t c oifname wan0 masquerade")
    p = network.run("n", "nft", rules, check=False)
    if p.returncode:
        pytest.skip(f"this kernel translates no addresses: {p.stderr.strip()[:80]}")
    assert levels(doctor(network, "n", "-c", gateway.conf)[1], "conntrack") == ["warning"]


def test_a_fault_of_the_gateway_is_passed_on(network):
    gateway = Gateway(network, pool='ports = { "2000-2009" } high-water = 10 low-water = 5').start()
    import bare
    host = bare.BareHost(network, "x1").register()
    host.lease(4)
    host.close()
    topo.wait_for(lambda: gateway.show("status")["reasons"], "the water mark")
    _, found = doctor(network, "n", "-c", gateway.conf)
    assert levels(found, "rsipd") == ["ok", "warning"] and "40 %" in found["rsipd"][1]["text"]


def test_a_configuration_with_an_error(network):
    file = network.dir / "bad.conf"
    file.write_text("gateway { nonsense = 1 }")
    status, found = doctor(network, "n", "-c", file)
    assert status == 1 and levels(found, "configuration") == ["problem"]
    assert "bad.conf:1" in found["configuration"][0]["text"]


def test_a_host(network):
    status, found = doctor(network, "x1")
    if "configuration" in found:
        pytest.skip("this machine is a gateway: it has an rsipd.conf")
    assert status == 0 and levels(found, "route") == ["ok"]
    network.batch("x1", "route del default")
    assert levels(doctor(network, "x1")[1], "route") == ["warning"]
    text = network.run("x1", BUILD / "bin" / "rsip", "doctor")
    assert "-> ip route add default" in text and "0 problems" in text
    assert subprocess.run([BUILD / "bin" / "rsip", "doctor", "x"], capture_output=True).returncode == 2
