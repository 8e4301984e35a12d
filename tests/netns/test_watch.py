"""Watching packets: `rsip gateway monitor --pcap` on the road with driver packet."""
import contextlib
import os
import pathlib
import shutil
import subprocess

import pytest
import topo
from topo import BUILD, NB, Y, Gateway, Net, road, wait_for

WHY_NOT = topo.why_not()
if WHY_NOT:
    pytest.skip(WHY_NOT, allow_module_level=True)
bare = pytest.importorskip("bare", reason="tests/control/rsip.py is missing")
import browser  # of tests/control, as bare is
import esp


@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")
def test_packets_with_their_verdict(tmp_path):
    with Net(tmp_path / "net") as net, contextlib.ExitStack() as stack:
        net.dir.mkdir()
        road(net)
        gateway = Gateway(net).start()
        host = stack.enter_context(contextlib.closing(bare.BareHost(net, "x1"))).register()
        answer = host.lease()
        spi, port = min(answer.local_spis()), min(answer.local_ports())
        ends = stack.enter_context(contextlib.closing(esp.Ends(net, "y")))
        file, lines = net.dir / "seen.pcapng", net.dir / "lines"
        monitor = net.start("n", BUILD / "bin" / "rsip", "gateway", "monitor", "--pcap", file,
            "--socket", net.dir / "rsipd.sock", log="lines")
        wait_for(lambda: gateway.metrics()["rsip_watchers"] == 1, "the monitor is there")
        ends.send(bare.raw(bare.esp(Y, NB, spi)))
        assert host.receive().spi == spi
        ends.send(bare.raw(bare.esp(Y, NB, 300)))
        host.send(bare.udp(NB, port))
        host.send(bare.udp(NB, 1))

        def read():
            """(comment, source, destination, protocol) of each packet in the file."""
            out = subprocess.run(["tshark", "-r", file, "-T", "fields", "-e", "frame.comment", "-e",
                "ip.src", "-e", "ip.dst", "-e", "ip.proto", "-Y", "ip.proto != 1"],
                capture_output=True, text=True).stdout
            return [tuple(line.split("\t")) for line in out.splitlines()]
        wait_for(lambda: len(read()) >= 4, "four packets in the file")
        # A line a second for the drops, beside the packets of the file.
        wait_for(lambda: lines.read_text().count(" drops ") >= 2, "the drops as events")
        monitor.terminate()
        monitor.wait(10)
        # In order on each link, not between them.
        assert sorted(read()) == [("in drop no_spi", Y, NB, "50"), ("in forward", Y, NB, "50"),
            ("out drop addrport_unallowed", NB, Y, "17"), ("out forward", NB, Y, "17")]
        assert "direction=in reason=no_spi packets=1" in lines.read_text()
        assert "direction=out reason=addrport_unallowed packets=1" in lines.read_text()
        assert " packet " not in lines.read_text()


@pytest.mark.skipif(browser.PROGRAM is None, reason="there is no Chromium here")
def test_page_of_a_busy_gateway(tmp_path):
    """Rates and drops on the status page; RSIP_SCREENSHOT=FILE keeps a picture of it."""
    with Net(tmp_path / "net") as net, contextlib.ExitStack() as stack:
        net.dir.mkdir()
        road(net)
        gateway = Gateway(net, policy="max-bindings = 200 max-ports = 20000").start()
        hosts = [stack.enter_context(contextlib.closing(bare.BareHost(net, name))).register()
            for name in topo.HOSTS]
        answers = [host.lease(n, 16) for host, n in zip(hosts, (64, 32))]
        ends = stack.enter_context(contextlib.closing(esp.Ends(net, "y")))
        for _ in range(30):
            for host in hosts:
                host.requests.assign(200)
        page = stack.enter_context(contextlib.closing(browser.Browser(tmp_path,
            ["ip", "netns", "exec", net.ns("n")])))
        page.size(1200, 900)
        page.open("http://127.0.0.1:9455/")

        def traffic(n):
            for i in range(n):
                for host, answer in zip(hosts, answers):
                    ends.send(bare.raw(bare.esp(Y, NB, min(answer.local_spis()))))
                    host.send(bare.udp(NB, min(answer.local_ports())))
                    host.receive(0)
                if i % 5 == 0:
                    ends.send(bare.raw(bare.esp(Y, NB, 300)))
                if i % 9 == 0:
                    hosts[0].send(bare.udp(NB, 1))
        picture = os.environ.get("RSIP_SCREENSHOT")
        for i in range(12 if picture else 2):
            traffic(20 + 7 * (i % 4))
            page.until(f"document.body && document.body.dataset.samples > {i}")
        traffic(30)
        page.until("document.querySelector('#rate-in').innerText !== '0 pkt/s'")
        assert int(page.eval("document.querySelector('#hosts-count').innerText")) == 2
        drops = page.eval("document.querySelector('#drops').innerText")
        assert "no_spi" in drops and "addrport_unallowed" in drops
        assert page.eval("document.querySelectorAll('.link.busy').length") == 3
        assert page.faults == []
        if picture:
            page.picture(pathlib.Path(picture), whole=False)
        assert gateway.process.poll() is None


def test_health_of_the_links(tmp_path):
    """An interface that goes away is a reason, and its return is seen without a restart."""
    with Net(tmp_path / "net") as net, contextlib.ExitStack() as stack:
        net.dir.mkdir()
        road(net)
        gateway = Gateway(net).start()

        def reason():
            status = gateway.show("status")
            faults = [r["text"] for r in status["reasons"] if r["reason"] == "link"]
            assert status["healthy"] == (not faults) == (gateway.metrics()["rsip_healthy"] == 1)
            return faults
        wait_for(lambda: not reason(), "all is well")
        net.batch("n", "link set wan0 down")
        assert "wan0 is down" in wait_for(reason, "the link's end is noticed")[0]
        net.batch("n", "link set wan0 up")
        wait_for(lambda: not reason(), "it is well again")
        net.batch("lan", "link set n0 down")
        assert "lan0 has no carrier" in wait_for(reason, "no carrier")[0]
        net.batch("lan", "link set n0 up")
        wait_for(lambda: not reason(), "it is well again")
        # And it carries again.
        net.batch("n", f"route replace default via {topo.R_PUBLIC}")
        host = stack.enter_context(contextlib.closing(bare.BareHost(net, "x1"))).register()
        spi = min(host.lease().local_spis())
        ends = stack.enter_context(contextlib.closing(esp.Ends(net, "y")))

        def carried():
            ends.send(bare.raw(bare.esp(Y, NB, spi)))
            return host.receive(0.2)
        assert wait_for(carried, "a packet").spi == spi
