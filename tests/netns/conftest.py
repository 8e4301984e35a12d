"""What a whole file of tests needs."""
import ctypes
import os

import pytest

# Their hosts run `rsip up` or `rsip exec`, whose tunnel is a TUN device where the kernel has no other.
WITH_TUN = {"test_host.py", "test_road.py"}
# But those of them whose hosts are sockets of the test: words in their names.
BARE = ("expired", "counted")


def closed_tun():
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
        return None
    except PermissionError:
        return "/dev/net/tun is not open to this user"
    except OSError:
        return None  # each test says what it lacks


def pytest_collection_modifyitems(items):
    reason = closed_tun()
    for item in items:
        bare = any(word in item.name for word in BARE)
        if reason and item.path.name in WITH_TUN and not bare:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def pins(tmp_path):
    """A BPF file system of our own; what is pinned goes with it."""
    place = tmp_path / "bpf"
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bpf", str(place).encode(), b"bpf", 0, None):
        pytest.skip("can't mount a BPF file system")
    try:
        yield str(place / "rsip" / "lan0_wan0")
    finally:
        assert libc.umount2(str(place).encode(), 2) == 0
