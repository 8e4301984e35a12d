"""What a whole file of tests needs."""
import os

import pytest

# Their hosts run `rsip up` or `rsip exec`, whose tunnel is a TUN device where the kernel has no other.
WITH_TUN = {"test_host.py", "test_road.py"}


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
        if reason and item.path.name in WITH_TUN:
            item.add_marker(pytest.mark.skip(reason=reason))
