"""Packages: built, clean to lintian, installed into a copy of this system, and used there."""
import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = {"rsip", "rsipd", "rsip-kxd", "librsip-dev"}


def run(*words, **options):
    return subprocess.run(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, **options)


@pytest.fixture(scope="module")
def debs(tmp_path_factory):
    out = tmp_path_factory.mktemp("deb")
    built = run(str(ROOT / "tools" / "deb"), str(out))
    assert built.returncode == 0, built.stdout
    return out


def package(debs, name):
    path, = debs.glob(f"{name}_*.deb")
    return path


def test_all_are_built(debs):
    names = {p.name.split("_")[0] for p in debs.glob("*.deb")}
    assert {n for n in names if not n.endswith("-dbgsym")} == PACKAGES


def test_lintian_finds_nothing(debs):
    changes, = debs.glob("*.changes")
    told = run("lintian", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0",
        str(changes))
    assert told.returncode == 0 and "skip" not in told.stdout.lower(), told.stdout


def test_every_program_and_page_is_in_a_package(debs):
    have = ""
    for name in PACKAGES:
        have += run("dpkg-deb", "-c", str(package(debs, name))).stdout
    for page in (ROOT / "man").glob("*.[1-8]"):
        assert f"/{page.name}.gz" in have, page.name
    for program in ("bin/rsip", "sbin/rsipd", "sbin/rsip-hostd", "sbin/rsip-kxd"):
        assert f"./usr/{program}\n" in have, program


INSTALL = """
set -eu
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay none -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" "$1/root"
for special in proc sys dev; do mount --rbind /$special "$1/root/$special"; done
mount -t tmpfs none "$1/root/run"
cp "$2"/*.deb "$1/root/root/"
exec chroot "$1/root" sh -c '
set -eu
rm -rf /etc/rsip /var/lib/rsip
dpkg -i /root/rsip_*.deb /root/rsipd_*.deb /root/rsip-kxd_*.deb /root/librsip-dev_*.deb
id rsip
mkdir -p /root/there/bin
ln -s /usr/bin/rsip /usr/sbin/rsipd /usr/sbin/rsip-hostd /usr/sbin/rsip-kxd /root/there/bin/
cd "$0"
RSIP_BUILD=/root/there demo/run --no-guest
cc -o /root/lease /usr/share/doc/librsip-dev/examples/lease.c $(pkg-config --cflags --libs rsip)
dpkg -P rsip rsipd rsip-kxd librsip-dev
! test -e /usr/sbin/rsipd
echo all of it' "$3"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="installing packages takes root")
def test_installed_packages_play_the_demo(debs, tmp_path):
    if "overlay" not in pathlib.Path("/proc/filesystems").read_text():
        pytest.skip("the kernel has no overlay file system to install into")
    done = run("unshare", "-m", "sh", "-c", INSTALL, "install", str(tmp_path), str(debs), str(ROOT),
        timeout=300)
    assert done.returncode == 0 and done.stdout.rstrip().endswith("all of it"), done.stdout


@pytest.mark.skipif(not shutil.which("apparmor_parser"), reason="apparmor_parser is missing")
@pytest.mark.parametrize("profile", sorted((ROOT / "packaging/apparmor").iterdir()),
    ids=lambda p: p.name)
def test_apparmor_profile_compiles(profile):
    told = run("apparmor_parser", "-Q", "-K", str(profile))
    assert told.returncode == 0, told.stdout


@pytest.mark.parametrize("example", sorted((ROOT / "packaging/examples").glob("rsipd*.conf")),
    ids=lambda p: p.name)
def test_example_configuration_is_right(example):
    build = pathlib.Path(os.environ.get("RSIP_BUILD", ROOT / "build"))
    told = run(str(build / "bin" / "rsipd"), "--check", "-c", str(example))
    assert told.returncode == 0, told.stdout
