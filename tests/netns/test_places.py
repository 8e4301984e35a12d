"""A host at its interface and its MAC: the kernel drops requests from anywhere else."""
import pathlib
import sys

import pytest

import topo
from topo import NA, X1, X2

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "control"))
import rsip

MAC1, MAC2 = "02:00:00:00:00:11", "02:00:00:00:00:12"


@pytest.fixture
def net():
    reason = topo.why_not()
    if reason:
        pytest.skip(reason)
    with topo.Net(tag="m") as n:
        topo.road(n)
        n.batch("x1", f"link set eth0 address {MAC1}")
        n.batch("x2", f"link set eth0 address {MAC2}")
        yield n


def host(net, name, address, transport=rsip.Udp):
    with net.inside(name):
        return transport((NA, 4555), address)


def gateway(net, section):
    g = topo.Gateway(net)
    g.conf.write_text(g.conf.read_text() + section)
    return g.start()


def dropped(g, transport):
    return g.metrics()[f'rsip_kernel_dropped_total{{transport="{transport}"}}']


# F-3.3-03: allow lists by address and MAC.
def test_another_machine_with_the_address_of_a_host(net):
    g = gateway(net, f'host one {{ address = "{X1}" \n mac = "{MAC1}" \n interface = "lan0" }}')
    one, two = host(net, "x1", X1), host(net, "x2", X2)
    assert one.register().type == two.register().type == rsip.REGISTER_OK
    # x2 takes the address of x1, and all that it knows of it.
    net.batch("x2", f"addr add {X1}/32 dev eth0")
    thief = host(net, "x2", X1)
    thief.client = one.client
    before = dropped(g, "udp")
    thief.send(rsip.message(rsip.DEREGISTER, thief.me(), rsip.u32(rsip.COUNTER, 50)))
    topo.wait_for(lambda: dropped(g, "udp") == before + 1, "the kernel drops it")
    assert {c["host"] for c in g.show("clients")} == {X1, X2}
    with pytest.raises(OSError):
        with net.inside("x2"):
            import socket
            socket.create_connection((NA, 4555), 0.5, (X1, 0))
    assert dropped(g, "tcp") >= 1
    net.batch("x2", f"addr del {X1}/32 dev eth0")
    assert host(net, "x1", X1, rsip.Tcp).call(rsip.DEREGISTER, one.me()).type == \
        rsip.DEREGISTER_OK
    assert g.end() == 0


def test_another_interface(net):
    g = gateway(net, f'host one {{ address = "{X1}" \n interface = "wan0" }}')
    one, two = host(net, "x1", X1), host(net, "x2", X2)
    assert two.register().type == rsip.REGISTER_OK
    one.send(rsip.message(rsip.REGISTER, rsip.u32(rsip.COUNTER, 1)))
    topo.wait_for(lambda: dropped(g, "udp") == 1, "the kernel drops it")
    # Without the section it is served: a reload takes the filter away.
    text = g.conf.read_text()
    g.conf.write_text(text[:text.index("host one")])
    net.run("n", topo.BUILD / "bin" / "rsip", "gateway", "reload", "--socket",
        net.dir / "rsipd.sock")
    assert one.register().type == rsip.REGISTER_OK
    assert g.end() == 0
