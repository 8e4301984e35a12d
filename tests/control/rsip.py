"""RSIP messages in Python, written from RFC 3103 and 3104 and sharing nothing with src/wire,
so that a mistake there does not cancel itself out here.  Hosts over UDP and TCP, too.
"""
import ipaddress
import select
import socket
import struct
import time

# Message types.
ERROR, REGISTER, REGISTER_OK, DEREGISTER, DEREGISTER_OK = 1, 2, 3, 4, 5
ASSIGN_RSA, ASSIGN_RSA_OK, ASSIGN_RSAP, ASSIGN_RSAP_OK = 6, 7, 8, 9
EXTEND, EXTEND_OK, FREE, FREE_OK, QUERY, QUERY_OK, LISTEN, LISTEN_OK = 10, 11, 12, 13, 14, 15, 16, 17
ASSIGN_IPSEC, ASSIGN_IPSEC_OK = 22, 23
# Parameter types.
ADDRESS, PORTS, LEASE, CLIENT_ID, BIND_ID, TUNNEL, METHOD, ERROR_NO, FLOW = 1, 2, 3, 4, 5, 6, 7, 8, 9
INDICATOR, COUNTER, VENDOR, SPI = 10, 11, 12, 22


def param(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def u32(kind, n):
    return param(kind, struct.pack("!I", n))


def address(text=None):
    if text is None:
        return param(ADDRESS, b"\x01")
    return param(ADDRESS, b"\x01" + ipaddress.IPv4Address(text).packed)


def netmask(text):
    return param(ADDRESS, b"\x02" + ipaddress.IPv4Address(text).packed)


def ports(number, first=None):
    return param(PORTS, struct.pack("!B", number) + (struct.pack("!H", first) if first else b""))


def no_ports():
    return param(PORTS, b"")


def spis(number, first=None):
    return param(SPI, struct.pack("!H", number) + (struct.pack("!I", first) if first else b""))


def message(kind, *params, version=1):
    body = b"".join(params)
    return struct.pack("!BBH", version, kind, len(body) + 4) + body


class Message:
    """A decoded message: its type and its parameters in order."""

    def __init__(self, data):
        self.bytes = data
        self.version, self.type, length = struct.unpack("!BBH", data[:4])
        assert length == len(data), (length, data.hex())
        self.params, at = [], 4
        while at < length:
            kind, n = struct.unpack("!BH", data[at:at + 3])
            value = data[at + 3:at + 3 + n]
            assert len(value) == n, data.hex()
            self.params.append((kind, value))
            at += 3 + n

    def all(self, kind):
        return [v for k, v in self.params if k == kind]

    def u32(self, kind):
        found = self.all(kind)
        return struct.unpack("!I", found[0])[0] if found else None

    @property
    def error(self):
        found = self.all(ERROR_NO)
        return struct.unpack("!H", found[0])[0] if found else None

    @property
    def client(self):
        return self.u32(CLIENT_ID)

    @property
    def bind(self):
        return self.u32(BIND_ID)

    @property
    def counter(self):
        return self.u32(COUNTER)

    @property
    def lease(self):
        return self.u32(LEASE)

    def local(self):
        """The address granted."""
        return str(ipaddress.IPv4Address(self.all(ADDRESS)[0][1:]))

    def local_ports(self):
        """The set of ports granted."""
        value = self.all(PORTS)[0]
        if not value:
            return set()
        number, fields = value[0], [x for x, in struct.iter_unpack("!H", value[1:])]
        return set(fields) if len(fields) == number else set(range(fields[0], fields[0] + number))

    def local_spis(self):
        value = self.all(SPI)[0]
        number = struct.unpack("!H", value[:2])[0]
        fields = [x for x, in struct.iter_unpack("!I", value[2:])]
        return set(fields) if len(fields) == number else set(range(fields[0], fields[0] + number))

    def __repr__(self):
        return f"<{self.type} {self.bytes.hex()}>"


class Timeout(Exception):
    pass


class Requests:
    """The requests of a host; `call` is of the transport."""

    client = 0

    def register(self):
        answer = self.call(REGISTER)
        if answer.type == REGISTER_OK:
            self.client = answer.client
        return answer

    def me(self):
        return u32(CLIENT_ID, self.client)

    def assign(self, n=4, addr=None, first=None, lease=None):
        extra = [u32(LEASE, lease)] if lease is not None else []
        return self.call(ASSIGN_RSAP, self.me(), address(addr), ports(n, first), address(),
            ports(1), *extra)

    def assign_ipsec(self, n_ports=4, n_spis=4):
        wish = ports(n_ports) if n_ports else no_ports()
        return self.call(ASSIGN_IPSEC, self.me(), address(), wish, address(), ports(1), spis(n_spis))

    def assign_rsa(self, addr=None):
        return self.call(ASSIGN_RSA, self.me(), address(addr), address(), ports(1))

    def listen(self, n=1, first=None):
        return self.call(LISTEN, self.me(), address(), ports(n, first), address(), ports(1))

    def extend(self, bind, lease=None):
        extra = [u32(LEASE, lease)] if lease is not None else []
        return self.call(EXTEND, self.me(), u32(BIND_ID, bind), *extra)

    def free(self, bind):
        return self.call(FREE, self.me(), u32(BIND_ID, bind))

    def query(self, *tuples):
        return self.call(QUERY, self.me(), *tuples)

    def deregister(self):
        return self.call(DEREGISTER, self.me())


class Udp(Requests):
    """A host over UDP, with one socket and a Message Counter."""

    def __init__(self, gateway, addr, port=0):
        self.gateway = gateway
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((addr, port))
        self.counter = 0

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendto(data, self.gateway)

    def receive(self, timeout=5):
        if not select.select([self.sock], [], [], timeout)[0]:
            raise Timeout()
        data, self.answered_from = self.sock.recvfrom(65536)
        return Message(data)

    def silent(self, timeout=0.3):
        """Nothing comes.  For absence there is no condition to wait for, only a while."""
        return not select.select([self.sock], [], [], timeout)[0]

    def drain(self):
        """Forget what came already: second answers to what was sent twice."""
        while not self.silent(0):
            self.receive()

    def build(self, kind, *params):
        self.counter += 1
        return message(kind, *params, u32(COUNTER, self.counter))

    def call(self, kind, *params):
        """Send once and again as a host does, until the answer with our counter is there."""
        data = self.build(kind, *params)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            self.send(data)
            try:
                answer = self.receive(0.5)
                while answer.counter != self.counter:
                    answer = self.receive(0.5)
                return answer
            except Timeout:
                pass
        raise Timeout()


class Tcp(Requests):
    """A host over TCP."""

    def __init__(self, gateway, addr, counters=False):
        self.sock = socket.create_connection(gateway, timeout=10, source_address=(addr, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.counter = 0 if counters else None

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def receive(self, timeout=10):
        """The next whole message; None when the gateway closed the connection."""
        self.sock.settimeout(timeout)
        while True:
            if len(self.buffer) >= 4:
                n = struct.unpack("!H", self.buffer[2:4])[0]
                if len(self.buffer) >= n:
                    data, self.buffer = self.buffer[:n], self.buffer[n:]
                    return Message(data)
            try:
                more = self.sock.recv(65536)
            except ConnectionResetError:
                more = b""
            except socket.timeout:
                raise Timeout() from None
            if not more:
                return None
            self.buffer += more

    def build(self, kind, *params):
        if self.counter is None:
            return message(kind, *params)
        self.counter += 1
        return message(kind, *params, u32(COUNTER, self.counter))

    def call(self, kind, *params):
        self.send(self.build(kind, *params))
        answer = self.receive()
        if answer is None:
            raise ConnectionError("the gateway closed the connection")
        return answer
