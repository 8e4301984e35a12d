"""ESP and AH by scapy, an implementation that shares nothing with the kernel's or ours.

A pair of SAs is known to a host and to the peer as if IKE had made it: the host's inbound
SPI is a leased one, the peer's is the peer's own affair.
"""
import contextlib
import logging
import os
import socket
import threading
import time

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import AH, ESP, SecurityAssociation
from scapy.packet import Raw, raw

from topo import NB, Y, Failed, Packet

NUMBERS = {"esp": 50, "ah": 51}
CLASSES = {"esp": ESP, "ah": AH}
PORT = 7777


class Pair:
    """Two SAs between the leased address and a peer, in transport mode."""

    def __init__(self, kind, to_peer, to_host, peer=Y, own=NB):
        self.kind, self.to_peer, self.to_host = kind, to_peer, to_host
        self.peer, self.own = peer, own
        if kind == "esp":
            how = {"crypt_algo": "AES-GCM", "crypt_key": os.urandom(20)}
        else:
            how = {"auth_algo": "SHA2-256-128", "auth_key": os.urandom(32)}
        self.sas = {spi: SecurityAssociation(CLASSES[kind], spi=spi, **how)
            for spi in (to_peer, to_host)}

    def seal(self, spi, text):
        src, dst = self.own, self.peer
        if spi == self.to_host:
            src, dst = dst, src
        packet = IP(src=src, dst=dst) / UDP(sport=PORT, dport=PORT) / Raw(text.encode())
        return raw(self.sas[spi].encrypt(packet))

    def open(self, packet):
        """The text of a topo.Packet; ValueError when it is not from the other end."""
        try:
            clear = self.sas[packet.spi].decrypt(IP(packet.data))
            return raw(IP(raw(clear))[UDP].payload).decode()
        except Exception as fault:  # scapy raises what its layers and libraries raise
            raise ValueError(f"{packet} does not open: {fault!r}") from fault


class Ends:
    """Raw sockets of one namespace for ESP and AH."""

    def __init__(self, net, name, seconds=3.0):
        self.sockets = {}
        with net.inside(name):
            self.out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
            for kind, number in NUMBERS.items():
                self.sockets[kind] = socket.socket(socket.AF_INET, socket.SOCK_RAW, number)
                self.sockets[kind].settimeout(seconds)

    def send(self, data):
        self.out.sendto(data, (socket.inet_ntoa(data[16:20]), 0))

    def receive(self, kind):
        return Packet(self.sockets[kind].recv(65535))

    def close(self):
        for s in (self.out, *self.sockets.values()):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()


class Peer:
    """Opens what comes to the peer and answers 'to NAME: TEXT' by the SA back.

    pairs is {name: Pair}; seen collects (name, source, SPI, text).
    """

    def __init__(self, net, pairs, name="y"):
        self.pairs, self.seen = pairs, []
        self.ends = Ends(net, name, None)
        self.open = True
        for kind in NUMBERS:
            threading.Thread(target=self.serve, args=(kind,), daemon=True).start()

    def serve(self, kind):
        while self.open:
            try:
                packet = self.ends.receive(kind)
            except (OSError, IndexError):
                return
            for name, pair in list(self.pairs.items()):
                if pair.kind == kind and packet.spi == pair.to_peer and packet.dst == pair.peer:
                    with contextlib.suppress(ValueError):
                        text = pair.open(packet)
                        self.seen.append((name, packet.src, packet.spi, text))
                        self.ends.send(pair.seal(pair.to_host, f"to {name}: {text}"))

    def close(self):
        self.open = False
        self.ends.close()


class Talker:
    """One host's end of a Pair."""

    def __init__(self, net, name, pair):
        self.pair, self.ends = pair, Ends(net, name, 0.2)

    def ask(self, text, seconds=3.0):
        """The peer's answer to this text; other packets of the SA are passed over."""
        self.ends.send(self.pair.seal(self.pair.to_peer, text))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                packet = self.ends.receive(self.pair.kind)
                if packet.spi == self.pair.to_host:
                    answer = self.pair.open(packet)
                    if answer.endswith(f": {text}"):
                        return answer
        raise Failed(f"no answer to {text!r} under {self.pair.kind} within {seconds} s")

    def close(self):
        self.ends.close()
