"""A host without our host program: requests by tests/control/rsip.py, tunnel packets by hand."""
import contextlib
import pathlib
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "control"))
import rsip
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Raw, raw

from topo import HOSTS, NA, NB, Y, Packet


class BareHost:
    def __init__(self, net, name):
        self.net, self.address = net, HOSTS[name]
        with net.inside(name):
            self.requests = rsip.Udp((NA, 4555), self.address)
            self.tunnel = socket.socket(socket.AF_INET, socket.SOCK_RAW, 4)
        self.tunnel.bind((self.address, 0))

    def register(self):
        answer = self.requests.register()
        assert answer.type == rsip.REGISTER_OK, answer
        return self

    def lease(self, ports=4, spis=4, seconds=None):
        """The answer to a wish for ports and SPIs of any number."""
        wish = [rsip.u32(rsip.LEASE, seconds)] if seconds else []
        answer = self.requests.call(rsip.ASSIGN_IPSEC, self.requests.me(), rsip.address(),
            rsip.ports(ports), rsip.address(), rsip.ports(1), rsip.spis(spis), *wish)
        assert answer.type == rsip.ASSIGN_IPSEC_OK, answer
        return answer

    def send(self, inner, outer_to=NA):
        self.tunnel.sendto(raw(inner), (outer_to, 0))

    def receive(self, seconds=3.0):
        """The next packet out of the tunnel, or None."""
        self.tunnel.settimeout(seconds)
        with contextlib.suppress(TimeoutError, BlockingIOError):
            outer = Packet(self.tunnel.recv(65535))
            assert (outer.src, outer.dst) == (NA, self.address), outer
            return Packet(outer.payload)
        return None

    def close(self):
        self.requests.close()
        self.tunnel.close()


def udp(src, sport, dst=Y, dport=7777, text="bare"):
    return IP(src=src, dst=dst) / UDP(sport=sport, dport=dport) / Raw(text.encode())


def tcp(src, sport, dst=Y, dport=7777):
    return IP(src=src, dst=dst) / TCP(sport=sport, dport=dport, flags="S")


def ping(src, dst=Y):
    return IP(src=src, dst=dst) / ICMP(id=7) / Raw(b"bare")


def esp(src, dst, spi):
    return IP(src=src, dst=dst, proto=50) / Raw(spi.to_bytes(4, "big") + bytes(28))


def ah(src, dst, spi):
    header = bytes([17, 4, 0, 0]) + spi.to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes(12)
    return IP(src=src, dst=dst, proto=51) / Raw(header + bytes(8))


__all__ = ["BareHost", "NB", "ah", "esp", "ping", "rsip", "tcp", "udp"]
