"""The status page, as a browser shows it."""
import json
import re
import urllib.request

import pytest

import browser
import rsip
from conftest import free_port, wait_for


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if browser.PROGRAM is None:
        pytest.skip("there is no Chromium here")
    b = browser.Browser(tmp_path_factory.mktemp("browser"))
    yield b
    b.close()


def url(gateway, path=""):
    return f"http://127.0.0.1:{gateway.http_port}/{path}"


def show(chromium, gateway, width=1200, height=900, scheme="light"):
    chromium.faults.clear()
    chromium.size(width, height)
    chromium.scheme(scheme)
    chromium.open(url(gateway))
    chromium.until("document.body && document.body.dataset.samples > 0")
    return chromium


def text(chromium, css):
    return chromium.eval(f"document.querySelector({json.dumps(css)}).innerText")


def test_it_shows_what_there_is(running, chromium):
    hosts = [running.udp(f"127.0.0.{n}") for n in (2, 3)]
    for host in hosts:
        host.register()
    grants = [hosts[0].assign(64, addr="203.0.113.1", first=32768), hosts[1].assign_ipsec(4, 16)]
    page = show(chromium, running)
    assert text(page, "#health") == "healthy"
    assert text(page, "#hosts-count") == "2" and text(page, "#leases") == "2"
    assert text(page, "#driver") == "none" and str(running.port) in text(page, "#listen")
    assert set(text(page, "#hosts-chips").split("\n")) == {"127.0.0.2 · 1", "127.0.0.3 · 1"}
    assert text(page, "#pool-chips") == "203.0.113.1" and text(page, "#peers-count") == "any"
    rows = page.eval("[...document.querySelectorAll('#bindings tbody tr')].map("
        "r => [...r.cells].map(c => c.innerText))")
    held = {b["host"]: b for b in running.json("show", "bindings")}
    assert len(rows) == 2
    for host, address, method, ports, spis, tunnel, _ in rows:
        b = held[host]
        assert [address, method, ports, spis, tunnel] == [b["address"], b["method"], b["ports"],
            b["spis"] or "–", b["tunnel"]]
    # The map: the cell of ports 32768 to 33023 is a quarter full, the first one empty.
    shades = page.eval("""(() => { const c = document.querySelector('#map canvas');
        const x = c.getContext('2d'), at = i => x.getImageData((i + .5) * c.width / 256, 5, 1, 1).data.join();
        return [at(128), at(0)]; })()""")
    assert shades[0] != shades[1]
    assert page.eval("document.querySelector('#map canvas').getAttribute('aria-label')") == \
        "203.0.113.1: 68 of 64510 ports held"
    assert "got a lease on 203.0.113.1" in text(page, "#events")
    assert page.faults == []
    assert grants


def test_it_is_live(running, chromium):
    """Without a reload: a lease comes and goes, and a fault of the gateway is shown."""
    page = show(chromium, running)
    assert text(page, "#leases") == "0"
    host = running.udp("127.0.0.2")
    host.register()
    grant = host.assign(4)
    page.until("document.querySelector('#leases').innerText === '1'")
    host.free(grant.bind)
    page.until("document.querySelector('#leases').innerText === '0'")
    page.until("document.querySelector('#events').innerText.includes('ended: freed')")
    assert page.faults == []
    running.kill()
    page.until("document.querySelector('#health').innerText === 'no answer from rsipd'")
    running.start()
    page.until("document.querySelector('#health').innerText === 'healthy'")


# Nothing is wider than the smallest telephone, and both schemes are readable.
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1600])
def test_every_size(running, chromium, width, scheme):
    host = running.udp("127.0.0.2")
    host.register()
    for _ in range(3):
        host.assign_ipsec(3, 8)
    page = show(chromium, running, width, 700, scheme)
    assert page.eval("document.documentElement.scrollWidth") <= width
    contrast = page.eval("""(() => {
        const rgb = c => c.match(/[\\d.]+/g).slice(0, 3).map(Number);
        const light = c => rgb(c).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
            .reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
        const back = e => { while (e && getComputedStyle(e).backgroundColor === 'rgba(0, 0, 0, 0)') e = e.parentElement;
            return e ? getComputedStyle(e).backgroundColor : 'rgb(255, 255, 255)'; };
        return Math.min(...[...document.querySelectorAll('p, h1, h2, h3, td, th, li, a, span.name')]
            .filter(e => e.innerText && e.offsetParent).map(e => {
                const a = light(getComputedStyle(e).color), b = light(back(e));
                return (Math.max(a, b) + .05) / (Math.min(a, b) + .05); })); })()""")
    assert contrast >= 4.5, "text too pale (WCAG 2.1, 1.4.3)"
    assert page.faults == []


def test_accessible(running, chromium):
    """Landmarks, headings in order, names for what is drawn, a language."""
    page = show(chromium, running)
    assert page.eval("document.documentElement.lang") == "en" and page.eval("document.title") == "rsipd"
    levels = page.eval("[...document.querySelectorAll('h1, h2, h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(levels, levels[1:])), levels
    assert page.eval("[...document.querySelectorAll('canvas')].every("
        "c => c.getAttribute('aria-label') || c.getAttribute('aria-hidden'))")
    assert page.eval("[...document.querySelectorAll('section')].every("
        "s => s.getAttribute('aria-label') || s.getAttribute('aria-labelledby'))")
    assert page.eval("document.querySelectorAll('main, header, footer').length") == 3


def test_nothing_from_elsewhere(running, chromium):
    """No outside asset, and no name of a pool that becomes a part of the page."""
    running.stop()
    running.configure(metrics=True, addresses="", more='pool "<img src=x onerror=alert(1)>" '
        '{ addresses = { "203.0.113.9" } }')
    running.start()
    page = show(chromium, running)
    assert "<img" in page.eval("document.querySelector('#map .row').title")
    assert page.eval("document.images.length") == 0
    seen = page.eval("performance.getEntriesByType('resource').map(e => e.name)")
    assert seen and all(s.startswith((url(running), "data:")) for s in seen)
    assert page.faults == []


def test_read_only_and_guarded(running):
    def get(path, method="GET", **headers):
        request = urllib.request.Request(url(running, path), method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as r:
                return r.status, dict(r.headers), r.read()
        except urllib.error.HTTPError as e:
            return e.code, dict(e.headers), e.read()
    status, headers, body = get("")
    assert status == 200 and headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert not re.search(rb"https?://", body + get("page.js")[2] + get("page.css")[2])
    assert get("", method="POST")[0] == 405
    assert get("../etc/passwd")[0] == 404 and get("page.txt")[0] == 404
    # A name that somebody else chose leads nowhere (DNS rebinding); an address does.
    assert get("status.json", Host="evil.example")[0] == 404
    assert get("status.json", Host="localhost:1")[0] == 200
    answer = json.loads(get("status.json")[2])
    assert answer["healthy"] is True and "config" not in answer


def test_many_leases_cost_little(gateway):
    """The lists are cut and say so."""
    gateway.configure(metrics=True, policy="max-bindings = 1000 max-ports = 4000",
        addresses='203.0.113.0/25').start()
    host = gateway.tcp("127.0.0.2", counters=True)
    host.register()
    host.send(b"".join(host.build(rsip.ASSIGN_RSAP, host.me(), rsip.address(), rsip.ports(1),
        rsip.address(), rsip.ports(1)) for _ in range(300)))
    for _ in range(300):
        assert host.receive().type == rsip.ASSIGN_RSAP_OK
    answer = wait_for(lambda: (lambda a: a["bindings_total"] == 300 and a)(
        json.loads(gateway.http("/status.json")[1])), "300 leases")
    assert len(answer["bindings"]) == 100
    assert sum(len(p["addresses"]) for p in answer["pools"]) == 64
    assert answer["addresses_total"] == 126 and "64 of 126" in answer["map_note"]
