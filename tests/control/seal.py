"""Seals of UDP messages, written from docs/protocol.md and sharing nothing with src/auth."""
import base64
import hashlib
import hmac
import os
import struct
import socket

import rsip

VENDOR_ID, MESSAGE, CHALLENGE = 241, 1, 2
SEAL_LEN = 51


class Key:
    def __init__(self, name, secret=None):
        self.name, self.secret = name, secret or os.urandom(32)
        self.id = hmac.new(b"rsip key id", self.secret, hashlib.sha256).digest()[:4]
        self.to_gateway = self.derive(b"rsip udp to gateway")
        self.to_host = self.derive(b"rsip udp to host")

    def derive(self, label):
        return hmac.new(self.secret, label + b"\x01", hashlib.sha256).digest()

    def line(self):
        return f"{self.name} {base64.b64encode(self.secret).decode()}\n"


def key_file(path, *keys):
    path.write_text("# made by a test\n" + "".join(k.line() for k in keys))
    path.chmod(0o600)
    return path


def seal(data, key, secret, host, gateway, number, epoch=0, about=0, subtype=MESSAGE):
    data = data[:2] + struct.pack("!H", len(data) + SEAL_LEN) + data[4:]
    data += struct.pack("!BHHH4sQQQ", rsip.VENDOR, SEAL_LEN - 3, VENDOR_ID, subtype, key.id,
        number, epoch, about)
    covered = socket.inet_aton(host) + socket.inet_aton(gateway) + data
    return data + hmac.new(secret, covered, hashlib.sha256).digest()[:16]


class Seal:
    """The seal at the end of a message of the gateway, checked."""

    def __init__(self, data, key, host, gateway):
        body = data[-SEAL_LEN:]
        kind, n, vendor, self.subtype, key_id, self.number, self.epoch, self.about = \
            struct.unpack("!BHHH4sQQQ", body[:-16])
        assert (kind, n, vendor, key_id) == (rsip.VENDOR, SEAL_LEN - 3, VENDOR_ID, key.id), body
        covered = socket.inet_aton(host) + socket.inet_aton(gateway) + data[:-16]
        assert body[-16:] == hmac.new(key.to_host, covered, hashlib.sha256).digest()[:16]


def plain(data):
    """Without its seal."""
    n = len(data) - SEAL_LEN
    return data[:2] + struct.pack("!H", n) + data[4:n]


class SealedUdp(rsip.Udp):
    """A host that seals; `seen` are the seals of the answers, `sent` the bytes."""

    def __init__(self, gateway, addr, key, port=0, number=1000):
        super().__init__(gateway, addr, port)
        self.addr, self.key, self.number, self.epoch = addr, key, number, 0
        self.seen, self.sent, self.challenges = [], [], 0

    def sealed(self, data):
        self.number += 1
        return seal(data, self.key, self.key.to_gateway, self.addr, self.gateway[0], self.number,
            self.epoch)

    def send(self, data):
        self.last = data
        self.sent.append(self.sealed(data))
        super().send(self.sent[-1])

    def receive(self, timeout=5):
        while True:
            data = super().receive(timeout).bytes
            s = Seal(data, self.key, self.addr, self.gateway[0])
            self.seen.append(s)
            self.number = max(self.number, s.number)
            self.epoch = s.epoch
            if s.subtype == MESSAGE:
                return rsip.Message(plain(data))
            self.challenges += 1
            self.send(self.last)
