/* The status page: asks for /status.json every two seconds and shows what came. */
"use strict";

const PERIOD_MS = 2000, SAMPLES = 60, CHIPS = 8, EVENTS = 8;
const $ = (id) => document.getElementById(id);
const series = { leases: [], in: [], out: [], drop: [] };
let before = null;

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

function rate(bits) {
  const units = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"];
  let i = 0;
  for (; bits >= 1000 && i < units.length - 1; i++) bits /= 1000;
  return `${bits.toFixed(bits < 10 && i ? 1 : 0)} ${units[i]}`;
}

function span(seconds) {
  if (seconds < 90) return `${seconds} s`;
  const m = Math.floor(seconds / 60);
  if (m < 90) return `${m} min`;
  const h = Math.floor(m / 60);
  return h < 48 ? `${h} h ${m % 60} min` : `${Math.floor(h / 24)} d ${h % 24} h`;
}

function element(tag, text, name) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (name) e.className = name;
  return e;
}

function chips(id, words, more) {
  const items = words.slice(0, CHIPS).map((w) => element("li", w));
  if (more > items.length) items.push(element("li", `and ${whole.format(more - items.length)} more`));
  $(id).replaceChildren(...items);
}

/* A canvas in the pixels of this screen. */
function surface(canvas) {
  const scale = window.devicePixelRatio || 1;
  const w = Math.max(1, canvas.clientWidth), h = Math.max(1, canvas.clientHeight);
  canvas.width = Math.round(w * scale);
  canvas.height = Math.round(h * scale);
  const c = canvas.getContext("2d");
  c.scale(scale, scale);
  return { c, w, h };
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function spark(id, values) {
  const { c, w, h } = surface($(id));
  const most = Math.max(1, ...values);
  c.strokeStyle = colour("--accent");
  c.lineWidth = 1.5;
  c.beginPath();
  values.forEach((v, i) => {
    const x = w - (values.length - 1 - i) * w / (SAMPLES - 1), y = h - 2 - v / most * (h - 5);
    if (i) c.lineTo(x, y); else c.moveTo(x, y);
  });
  c.stroke();
}

/* How full a cell of 256 ports is, in five steps. */
function step(n) {
  if (n === 0) return 0;
  return n < 32 ? 1 : n < 96 ? 2 : n < 192 ? 3 : 4;
}

function strip(canvas, map) {
  const { c, w, h } = surface(canvas);
  const colours = ["--s0", "--s1", "--s2", "--s3", "--s4"].map(colour);
  for (let i = 0; i < 256; i++) {
    c.fillStyle = colours[step(map[i])];
    const x = Math.floor(i * w / 256);
    c.fillRect(x, 0, Math.max(1, Math.floor((i + 1) * w / 256) - x), h);
  }
}

function cells(text) {
  const map = new Array(256).fill(0);
  for (let i = 0; i < 256 && text; i++) map[i] = parseInt(text.substr(i * 2, 2), 16);
  return map;
}

function showMap(s) {
  const rows = [], paint = [];
  for (const pool of s.pools)
    for (const a of pool.addresses) {
      const used = a.ports_held + a.ports_resting, all = used + a.ports_free;
      const row = element("div", undefined, "row"), canvas = document.createElement("canvas");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${a.address}: ${a.ports_held} of ${all} ports held`);
      row.append(element("span", a.address, "name"), canvas, element("span",
        a.dedicated ? (used || a.leases ? "whole, leased" : "whole, free")
          : `${whole.format(a.ports_held)} held`, "count quiet"));
      row.title = `pool ${pool.name}: ${a.ports_held} held, ${a.ports_resting} resting, ${a.ports_free} free, ${a.spis_held} SPIs`;
      rows.push(row);
      paint.push(() => strip(canvas, cells(a.map)));
    }
  $("map").replaceChildren(...rows);
  paint.forEach((f) => f());
  $("map-note").textContent = s.map_note || "";
}

function showDrops(s, per) {
  const rows = Object.entries(s.drops).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
  $("drops").tBodies[0].replaceChildren(...rows.map(([reason, n]) => {
    const tr = document.createElement("tr");
    tr.append(element("td", reason), element("td", whole.format(n), "number"),
      element("td", before ? short.format(per(n - (before.drops[reason] || 0))) : "–", "number"));
    return tr;
  }));
  $("drops").hidden = rows.length === 0;
  $("drops-none").hidden = rows.length > 0;
}

function showBindings(s) {
  $("bindings").tBodies[0].replaceChildren(...s.bindings.map((b) => {
    const tr = document.createElement("tr");
    for (const [key, name] of [["host"], ["address"], ["method"], ["ports", "ranges"], ["spis", "ranges"], ["tunnel"]])
      tr.append(element("td", b[key] === null ? "–" : b[key], name));
    tr.append(element("td", span(b.lease_remaining), "number"));
    return tr;
  }));
  const n = s.bindings.length;
  $("table-note").textContent = n === s.bindings_total ? `${whole.format(n)} held.`
    : `The first ${n} of ${whole.format(s.bindings_total)}; rsip gateway show bindings has all.`;
}

function showEvents(s) {
  $("events").replaceChildren(...s.events.slice(0, EVENTS).map((e) => {
    const li = document.createElement("li"), t = element("time", e.time.slice(11, 19));
    t.dateTime = e.time;
    li.append(t, e.text);
    return li;
  }));
  $("events-none").hidden = s.events.length > 0;
}

function sample(name, value) {
  series[name].push(value);
  if (series[name].length > SAMPLES) series[name].shift();
}

function showRates(s, per) {
  const d = (key, dir) => before ? per(s.packets[dir][key] - before.packets[dir][key]) : 0;
  const drop = d("drop", "in") + d("drop", "out");
  for (const dir of ["in", "out"]) {
    sample(dir, d("forward", dir));
    $("rate-" + dir).textContent = `${short.format(d("forward", dir))} pkt/s`;
    $("bits-" + dir).textContent = rate(d("bytes", dir) * 8);
  }
  sample("drop", drop);
  sample("leases", s.bindings_total);
  $("rate-drop").textContent = `${short.format(drop)} pkt/s`;
  $("drop-total").textContent = `${whole.format(s.packets.in.drop + s.packets.out.drop)} since the start`;
  for (const link of document.querySelectorAll(".link"))
    link.classList.toggle("busy", d("forward", "in") + d("forward", "out") > 0);
}

function showRoad(s) {
  const addresses = s.pools.flatMap((p) => p.addresses);
  const sum = (key) => addresses.reduce((n, a) => n + a[key], 0);
  const used = sum("ports_held") + sum("ports_resting"), all = used + sum("ports_free");
  $("hosts-count").textContent = whole.format(s.hosts_total);
  chips("hosts-chips", s.hosts.map((h) => `${h.host} · ${h.bindings}`), s.hosts_total);
  $("driver").textContent = s.driver;
  $("listen").textContent = s.listen.join(", ");
  $("requests").textContent = `${whole.format(s.requests)} requests, ${whole.format(s.errors)} refused`;
  $("ports-used").textContent = `${all ? (100 * used / all).toFixed(used && used / all < 0.1 ? 2 : 0) : 0} %`;
  chips("pool-chips", addresses.map((a) => a.address), s.addresses_total);
  $("peers-count").textContent = s.peers.length ? whole.format(s.peers.length) : "any";
  $("peers-note").textContent = s.peers.length ? "named by leases" : "may be talked to";
  chips("peers-chips", s.peers, s.peers.length);
}

function show(s) {
  const seconds = before ? Math.max(0.001, (s.now_ms - before.now_ms) / 1000) : 1;
  const again = before && s.now_ms === before.now_ms;
  if (before && s.started_ms !== before.started_ms) before = null; /* rsipd began anew */
  const per = (n) => Math.max(0, n) / seconds;

  const warning = s.reasons.find((r) => !r.fault);
  $("health").textContent = !s.healthy ? s.health : warning ? `healthy; ${warning.text}` : "healthy";
  $("health").className = s.healthy ? "pill good" : "pill bad";
  $("about").textContent = `version ${s.version}, up ${span(s.uptime)}`;
  $("updated").textContent = `${s.time.slice(0, 10)} ${s.time.slice(11, 19)} UTC`;
  if (again) return;
  showRoad(s);
  $("leases").textContent = whole.format(s.bindings_total);
  showRates(s, per);
  showMap(s);
  showDrops(s, per);
  showEvents(s);
  showBindings(s);
  paint();
  before = s;
  document.body.dataset.samples = String(series.leases.length);
}

function paint() {
  for (const name of Object.keys(series)) spark("spark-" + name, series[name]);
}

async function tick() {
  if (!document.hidden || !before) {
    try {
      const answer = await fetch("/status.json", { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      show(await answer.json());
    } catch (e) {
      $("health").textContent = "no answer from rsipd";
      $("health").className = "pill bad";
    }
  }
  setTimeout(tick, PERIOD_MS);
}

addEventListener("resize", () => { if (before) { paint(); showMap(before); } });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (before) { paint(); showMap(before); } });
tick();
