// The page of df2redis-monitor: asks /api/v1/tasks every two seconds and shows the task that was chosen. Everything
// that comes from there is put into the page as text.
"use strict";

const EVERY = 2000;
const HOUR = 3600;
const $ = (id) => document.getElementById(id);
let chosen = decodeURIComponent(location.hash.slice(1));
let before = new Map(); // process -> its counters of the last answer
let history_ = null;
let charts = null;
let failures = 0;
let token = ""; // nowhere but here
let control = false; // tasks can be controlled here
let closed = false; // nothing is told without the token

// ---- words ----

const number = new Intl.NumberFormat("en");
const known = (x) => x !== null && x !== undefined;

function size(n) {
  for (const [unit, one] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]])
    if (n >= one) return (n / one).toFixed(1) + " " + unit;
  return number.format(Math.round(n)) + " B";
}

function span(s) {
  if (s < 120) return Math.round(s) + " s";
  if (s < 7200) return Math.floor(s / 60) + " min";
  if (s < 172800) return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
  return Math.floor(s / 86400) + " d " + Math.floor((s % 86400) / 3600) + " h";
}

const percent = (x) => Math.round(100 * x) + "\u00a0%";

// An element with text or children; attributes as an object.
function el(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

const replace = (where, ...children) => where.replaceChildren(...children);

// ---- the list of tasks ----

function word_of(task) {
  if (task.problems.length > 0) return "problem";
  if (task.phase === "created") return "not started yet";
  if (task.phase === "failed") return "look at its log";
  return task.running ? "healthy" : "not running";
}

function show_list(tasks) {
  const list = $("tasks");
  const names = tasks.map((t) => t.task).join("\n");
  if (list.dataset.names !== names) { // the focus stays where it is unless the list has changed
    replace(list, ...tasks.map((t) => {
      const b = el("button", { type: "button" });
      b.addEventListener("click", () => choose(t.task));
      return el("li", {}, b);
    }));
    list.dataset.names = names;
  }
  tasks.forEach((t, i) => {
    const b = list.children[i].firstChild;
    b.textContent = t.task + ": " + t.phase + ", " + word_of(t);
    b.setAttribute("aria-current", String(t.task === chosen));
  });
}

function choose(name) {
  chosen = name;
  location.hash = encodeURIComponent(name);
  history_ = null;
  before = new Map();
  $("task").focus();
  tick();
}

// ---- one task ----

function summary_of(t) {
  const s = t.session;
  if (t.phase === "created") return "created: it has not run yet";
  const words = [t.phase + " for " + span(t.since_seconds || 0), (t.source || "?") + " to " + (t.target || "?")];
  if (s && s.keys > 0) words.push(number.format(s.keys) + " keys moved" + (s.total_keys >= s.keys ? " of " + number.format(s.total_keys) : ""));
  if (s) words.push(size(s.bytes) + " read");
  if (known(t.bytes_per_second)) words.push("now " + size(t.bytes_per_second) + "/s");
  if (known(t.eta_seconds) && t.phase === "full-sync") words.push("about " + span(t.eta_seconds) + " left");
  if (known(t.lag_seconds) && /streaming|catching-up/.test(t.phase)) words.push("behind by " + span(t.lag_seconds));
  if (t.last_error && !t.running && t.phase !== "failed") words.push("last error: " + t.last_error);
  return words.join(" · ");
}

function show_problems(t) {
  const all = [...t.explained];
  if (t.last_error && (t.phase === "failed" || t.phase === "restarting"))
    all.unshift({ problem: t.phase === "failed" ? "failed" : "last error", text: t.last_error,
      next: t.phase === "failed" ? "the log below says more; it goes on from the saved positions when it is started again" : null });
  replace($("problems"), ...all.map((p) => {
    const li = el("li", {}, el("strong", { class: "critical" }, p.problem), ": " + p.text);
    if (p.next) li.append(el("span", { class: "next" }, " — " + p.next));
    return li;
  }));
}

const key_of = (s) => s.stage + ":" + (known(s.flow) ? s.flow : "") + ":" + s.pid;

// Part of a second that a process spent, by two counters, since the last answer; null: not known.
function share(s, now, ...fields) {
  const b = before.get(key_of(s));
  if (!b || now <= b.now) return null;
  const us = fields.reduce((sum, f) => sum + (s[f] || 0) - (b.stage[f] || 0), 0);
  return us < 0 ? null : Math.min(1, us / 1e6 / (now - b.now));
}

const processor = (s, now) => share(s, now, "cpu_user_us", "cpu_system_us");
const fill_of = (s) => (s.pipe_size_bytes > 0 ? Math.min(1, s.pipe_bytes / s.pipe_size_bytes) : null);
const most = (list) => list.reduce((a, x) => (known(x) && (a === null || x > a) ? x : a), null);
const or_dash = (x) => (x === null ? "–" : percent(x));

function meter(x, label) {
  if (x === null) return "–";
  const m = el("meter", { min: 0, max: 1, low: 0.5, high: 0.8, optimum: 0, value: x.toFixed(3), "aria-label": label });
  return el("span", {}, m, " " + percent(x));
}

function show_strip(t, now) {
  const of = (name) => t.stages.filter((s) => s.stage === name);
  const box = (name, words, slow, pipe) => {
    const li = el("li", { class: (pipe ? "pipe " : "") + (slow ? "slow" : "") }, el("b", {}, name), el("span", {}, words));
    if (slow) li.append(el("strong", { class: "critical" }, " bottleneck"));
    return li;
  };
  const writer = of("rediswriter")[0];
  const cpu = (name) => "processor " + or_dash(most(of(name).map((s) => processor(s, now))));
  const pipe = (name) => (of(name).length > 1 ? "fullest " : "") + or_dash(most(of(name).map(fill_of))) + " full";
  const window_ = writer && writer.window_size_bytes > 0 ? percent(writer.window_bytes / writer.window_size_bytes) + " of the window" : "–";
  replace($("strip"),
    box("source", t.source || "", t.bottleneck === "source"),
    box("dfreader", cpu("dfreader"), t.bottleneck === "dfreader"),
    box("pipe", pipe("dfreader"), false, true),
    box("dfparse", cpu("dfparse"), t.bottleneck === "dfparse"),
    box("pipe", pipe("dfparse"), false, true),
    box("rediswriter", cpu("rediswriter"), t.bottleneck === "rediswriter"),
    box("in flight", window_, false, true),
    box("target", t.target || "", t.bottleneck === "target"));
}

function show_flows(t, now) {
  const find = (name, flow) => t.stages.find((s) => s.stage === name && (s.flow === flow || !known(s.flow)) && known(s.pipe_size_bytes));
  replace($("flows").tBodies[0], ...t.flows.map((f) => {
    const r = find("dfreader", f.flow), p = find("dfparse", f.flow);
    const cells = [
      f.synced ? "synced" : f.cut ? "cut" : f.state,
      size(f.bytes || 0),
      r ? or_dash(processor(r, now)) : "–",
      r ? meter(fill_of(r), "pipe behind dfreader of flow " + f.flow) : "–",
      p ? or_dash(processor(p, now)) : "–",
      p ? meter(fill_of(p), "pipe behind dfparse of flow " + f.flow) : "–",
      known(f.lag) ? number.format(f.lag) : "–",
    ];
    return el("tr", {}, el("th", { scope: "row" }, String(f.flow)), ...cells.map((c) => el("td", {}, c)));
  }));
}

function show_checks(t) {
  const mark = { healthy: "✓ ", warning: "▲ ", critical: "✕ " };
  replace($("checks").tBodies[0], ...t.checks.map((c) => el("tr", {}, el("th", { scope: "row" }, c.name),
    el("td", { class: c.level }, (mark[c.level] || "") + c.level), el("td", {}, c.text))));
}

function show_errors(t) {
  const rows = [];
  for (const s of t.stages)
    for (const [name, text] of Object.entries(s)) {
      const parts = /^(error|report)\.\d+$/.test(name) && /^(\d+) (\S+) (.*)$/.exec(text);
      if (parts) rows.push(el("tr", {}, el("td", {}, number.format(parts[1])), el("td", {}, parts[3]), el("td", {}, parts[2])));
    }
  if (rows.length === 0) rows.push(el("tr", {}, el("td", { colspan: 3 }, "none")));
  replace($("errors").tBodies[0], ...rows);
}

function show_task(t, now) {
  $("name").textContent = t.task;
  $("summary").textContent = summary_of(t);
  $("details").hidden = t.phase === "created"; // there is nothing to show yet
  const done = $("done");
  done.hidden = !(known(t.percent) && t.phase === "full-sync");
  if (!done.hidden) done.value = t.percent;
  show_problems(t);
  for (const id of ["now", "pipeline", "health"]) $(id).hidden = !t.running;
  $("bottleneck").textContent = t.bottleneck_text || "not known yet";
  show_strip(t, now);
  show_flows(t, now);
  show_checks(t);
  show_errors(t);
  for (const s of t.stages) {
    const b = before.get(key_of(s));
    if (!b || now > b.now) before.set(key_of(s), { now, stage: s });
  }
}

// ---- history ----

const COLUMNS = ["keys_per_second", "entries_per_second", "bytes_per_second", "latency_p50", "latency_p99", "lag_seconds"];

function merge(h) {
  if (!history_ || h.begin > history_.begin + history_.phase.length) history_ = h;
  else {
    const from = h.begin - history_.begin;
    for (const name of ["phase", ...COLUMNS]) history_[name] = (history_[name] || []).slice(0, from).concat(h[name] || []);
  }
  const over = history_.phase.length - HOUR;
  if (over > 0) {
    history_.begin += over;
    for (const name of ["phase", ...COLUMNS]) history_[name] = history_[name].slice(over);
  }
}

function show_phases(h) {
  const runs = [];
  for (const p of h.phase)
    if (runs.length > 0 && runs[runs.length - 1].p === p) runs[runs.length - 1].n++;
    else runs.push({ p, n: 1 });
  replace($("phases"), ...runs.map((r) => {
    const i = el("i", { class: "ph" + r.p, title: h.phases[r.p] + ", " + span(r.n) });
    i.style.flex = r.n + " 1 0";
    return i;
  }));
  const said = runs.filter((r) => r.p > 0).map((r) => h.phases[r.p] + " " + span(r.n));
  $("phases").setAttribute("aria-label", said.length > 0 ? "In order: " + said.join(", ") : "No phases are known yet");
  const seen = [...new Set(h.phase)].filter((p) => p > 0).sort();
  replace($("legend"), ...seen.map((p) => el("li", {}, el("i", { class: "ph" + p }), h.phases[p])));
}

function rows(h, names, factor) {
  return h.phase.map((_, i) => [new Date((h.begin + i) * 1000),
    ...names.map((n) => (h[n] && known(h[n][i]) ? h[n][i] * factor : null))]);
}

const CHARTS = [
  ["chart-keys", ["keys_per_second", "entries_per_second"], ["keys/s", "entries/s"], 1],
  ["chart-bytes", ["bytes_per_second"], ["MB/s"], 1e-6],
  ["chart-latency", ["latency_p50", "latency_p99"], ["half below", "99 % below"], 1e3],
  ["chart-lag", ["lag_seconds"], ["lag"], 1],
];

function show_charts(h) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  charts = charts || {};
  for (const [id, names, labels, factor] of CHARTS) {
    const data = rows(h, names, factor);
    const last = data.length > 0 ? data[data.length - 1] : [];
    replace($("t-" + id.slice(6)), ...labels.flatMap((l, i) => [el("i", { class: "line p" + (i + 1) }),
      l + ": " + (known(last[i + 1]) ? number.format(+last[i + 1].toPrecision(3)) : "–") + (i + 1 < labels.length ? ", " : "")]));
    if (data.length < 2) continue;
    const options = { file: data, labels: ["time", ...labels], colors: [color("--p1"), color("--p2")], gridLineColor: color("--grid"),
      axisLineColor: color("--line"), strokeWidth: 1.5, series: { [labels[1] || "-"]: { strokePattern: [6, 3] } }, drawGapEdgePoints: true, pointSize: 2, xAxisHeight: 24, axes: { x: { axisLabelWidth: 70, pixelsPerLabel: 90 }, y: { axisLabelWidth: 62 } }, includeZero: true, legend: "follow", animatedZooms: false };
    if (charts[id]) charts[id].updateOptions(options);
    else charts[id] = new Dygraph($(id), data, { ...options, file: undefined });
  }
}

// ---- control ----

let ordered = false; // a command is under way

function show_control(t) {
  $("control").hidden = !(control || closed);
  $("login").hidden = token !== "";
  $("actions").hidden = token === "" || !t;
  if (!t) return;
  const name = t.task, may_start = Boolean(t.kept) && !t.running;
  $("start").disabled = ordered || !may_start;
  $("stop").disabled = ordered || !t.running;
  $("start").setAttribute("aria-label", "Start " + name);
  $("stop").setAttribute("aria-label", "Stop " + name);
  $("why").textContent = t.running || may_start ? "" : name + " is not kept under a name (df2redis create), so it is started elsewhere.";
}

function outcome(words) {
  $("outcome").textContent = words;
}

function forget(words) {
  token = "";
  outcome(words);
  tick();
}

async function order(name, word) {
  ordered = true;
  outcome(word + " " + name + " …");
  $("start").disabled = $("stop").disabled = true;
  try {
    const reply = await fetch("/api/v1/tasks/" + encodeURIComponent(name) + "/" + word,
      { method: "POST", headers: { Authorization: "Bearer " + token }, credentials: "omit" });
    const said = await reply.json();
    if (reply.status === 401) token = "";
    outcome(reply.ok ? name + ": " + word + " is done" : name + ": " + word + " failed: " + (said.error || said.output || "status " + said.status));
  } catch (error) {
    outcome("The monitor does not answer.");
  }
  ordered = false;
  tick();
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("token").value = "";
  outcome("");
  tick().then(() => { if (!$("actions").hidden) ($("stop").disabled ? $("forget") : $("stop")).focus(); });
});
$("forget").addEventListener("click", () => forget("The token is forgotten."));
$("start").addEventListener("click", () => order(chosen, "start"));
$("stop").addEventListener("click", () => {
  $("question").textContent = "Stop " + chosen + "? What was read is applied first, and the positions are saved.";
  $("confirm").dataset.task = chosen;
  $("confirm").showModal();
});
$("yes").addEventListener("click", () => {
  $("confirm").close();
  order($("confirm").dataset.task, "stop");
});
$("no").addEventListener("click", () => $("confirm").close());

// ---- asking ----

// Where reading needs no token it is not sent.
async function ask(path) {
  const headers = closed && token ? { Authorization: "Bearer " + token } : {};
  const reply = await fetch(path, { cache: "no-store", credentials: "omit", headers });
  if (reply.status === 401) {
    if (closed && token) outcome("The token is wrong.");
    if (closed || !token) token = "";
    closed = true;
  }
  if (!reply.ok) throw new Error(path + ": " + reply.status);
  return reply;
}

let busy = false;

async function tick() {
  if (busy) return;
  busy = true;
  try {
    const all = await (await ask("/api/v1/tasks")).json();
    control = all.control;
    let t = all.tasks.find((x) => x.task === chosen);
    if (!t && all.tasks.length > 0) {
      t = all.tasks[0];
      chosen = t.task;
      history_ = null;
    }
    show_list(all.tasks);
    show_control(t);
    if (t) {
      show_task(t, all.time);
      const path = "/api/v1/tasks/" + encodeURIComponent(t.task);
      const since = history_ ? history_.begin + history_.phase.length - 1 : 0;
      merge(await (await ask(path + "/history?since=" + since)).json());
      show_phases(history_);
      show_charts(history_);
      const log = $("log"), at_end = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
      log.textContent = (await (await ask(path + "/log")).text()) || "No messages are kept: they go to a terminal.";
      if (at_end) log.scrollTop = log.scrollHeight;
    } else {
      $("details").hidden = true;
      $("name").textContent = "No task";
    }
    const bad = all.tasks.filter((x) => x.problems.length > 0 || x.phase === "failed").map((x) => x.task);
    say(all.tasks.length + (all.tasks.length === 1 ? " task" : " tasks") + (bad.length > 0 ? ", with problems: " + bad.join(", ") : ", no problems"));
    failures = 0;
  } catch (error) {
    if (closed && !token) {
      show_control(null);
      say("The token is needed.");
    } else if (++failures > 1) say("The monitor does not answer; what is shown is old.");
  } finally {
    busy = false;
  }
}

// Only news, so that a screen reader does not repeat itself.
function say(words) {
  if ($("news").textContent !== words) $("news").textContent = words;
}

window.addEventListener("hashchange", () => {
  const name = decodeURIComponent(location.hash.slice(1));
  if (name !== chosen) choose(name);
});
tick();
setInterval(() => { if (!document.hidden) tick(); }, EVERY);
