"""Watching packets: `rsip gateway monitor --pcap` on the road with driver packet."""
import contextlib
import shutil
import subprocess

import pytest
import topo
from topo import BUILD, NB, Y, Gateway, Net, road, wait_for

WHY_NOT = topo.why_not()
if WHY_NOT:
    pytest.skip(WHY_NOT, allow_module_level=True)
bare = pytest.importorskip("bare", reason="tests/control/rsip.py is missing")
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
        assert read() == [("in forward", Y, NB, "50"), ("in drop no_spi", Y, NB, "50"),
            ("out forward", NB, Y, "17"), ("out drop addrport_unallowed", NB, Y, "17")]
        assert "direction=in reason=no_spi packets=1" in lines.read_text()
        assert "direction=out reason=addrport_unallowed packets=1" in lines.read_text()
        assert " packet " not in lines.read_text()
