// The live page. It asks for each frame when it can show one, so it never falls behind. The messages
// are described in web_viewer.py.
"use strict";

const MAX_PENDING = 2; // frames asked for and not drawn yet: one in transit, one being drawn
const PING_MS = 2000;
const STEP = 2; // of the divider for one key press, in percent
const BIG_STEP = 10;
const GRAPH_POINTS = 120;

const stage = element("stage");
const divider = element("divider");
const canvases = { raw: element("raw"), restored: element("restored") };

let socket = null;
let mode = "split";
let pending = 0; // frames asked for and not drawn yet
let drawing = Promise.resolve(); // ends when the last frame that arrived is drawn
let roundTrip_ms = 0; // smoothed
let lastMessageAt = performance.now();
let report = null; // the newest from the server, see health_report in health.py
let reportAt = 0;
let latency_ms = null; // from capture to this screen, smoothed
let lostAt = null; // when the server stopped answering; null while it answers
const history = { latency: [], fps: [] };

// --- connection ---

function connect() {
  const opened = openSocket();
  socket = opened;
  pending = 0;
  opened.onopen = () => {
    lastMessageAt = performance.now();
    sendPing();
    requestFrames();
  };
  opened.onmessage = (event) => {
    lastMessageAt = performance.now();
    if (typeof event.data === "string") handleMessage(JSON.parse(event.data));
    else drawing = drawing.then(() => drawFrame(event.data, lastMessageAt)).catch(console.error).then(frameDone);
  };
  opened.onclose = () => {
    if (socket === opened) handleDisconnect();
  };
}

function handleDisconnect() {
  socket.onclose = socket.onmessage = null;
  socket.close();
  lostAt ??= Date.now();
  render();
  setTimeout(reconnect, RETRY_MS);
}

function send(text) {
  if (socket.readyState === WebSocket.OPEN) socket.send(text);
}

function wantedSide() {
  return mode === "raw" || mode === "restored" ? mode : "both";
}

function requestFrames() {
  if (document.hidden || socket.readyState !== WebSocket.OPEN) return;
  for (; pending < MAX_PENDING; pending += 1) send(`next ${wantedSide()}`);
}

function frameDone() {
  pending = Math.max(0, pending - 1);
  requestFrames();
}

function sendPing() {
  send(`ping ${performance.now()}`);
}

function handleMessage(message) {
  if (message.pong !== undefined) {
    const took_ms = performance.now() - Number(message.pong);
    roundTrip_ms = roundTrip_ms ? Math.min(took_ms, roundTrip_ms * 0.8 + took_ms * 0.2) : took_ms;
  } else if (message.status) {
    report = message.status;
    reportAt = Date.now();
    lostAt = null;
    recordHistory();
    render();
  }
}

// --- frames ---

async function drawFrame(buffer, arrivedAt) {
  const headerLength = new DataView(buffer).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, headerLength)));
  let start = 4 + headerLength;
  const decoding = Object.entries(header.sizes).map(([side, size]) => {
    const file = new Blob([new Uint8Array(buffer, start, size)], { type: "image/jpeg" });
    start += size;
    return createImageBitmap(file).then((bitmap) => [side, bitmap]);
  });
  for (const [side, bitmap] of await Promise.all(decoding)) {
    const canvas = canvases[side];
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      stage.style.setProperty("--aspect", String(bitmap.width / bitmap.height));
    }
    canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
  }
  stage.dataset.number = header.number;
  if (stage.hasAttribute("data-empty")) {
    stage.removeAttribute("data-empty");
    render();
  }
  // Half the round trip stands for the way here; the clocks of server and viewer may differ.
  const now_ms = header.age_s * 1000 + roundTrip_ms / 2 + performance.now() - arrivedAt;
  latency_ms = latency_ms === null ? now_ms : latency_ms * 0.7 + now_ms * 0.3;
}

// --- view and divider ---

function setMode(chosen) {
  mode = chosen;
  stage.dataset.mode = mode;
  document.querySelector(`input[name=mode][value=${mode}]`).checked = true;
  element("snapshot").href = `snapshot.png?show=${wantedSide()}`;
  if (stage.hasAttribute("data-empty")) return;
  send(`again ${wantedSide()}`); // a dead source has no newer frame
  pending += 1;
}

function setDivider(percent) {
  const clamped = Math.min(100, Math.max(0, percent));
  stage.style.setProperty("--divider", `${clamped}%`);
  divider.setAttribute("aria-valuenow", String(Math.round(clamped)));
  divider.setAttribute("aria-valuetext", `${Math.round(clamped)} % raw`);
}

function setDividerAt(event) {
  const box = stage.getBoundingClientRect();
  setDivider(((event.clientX - box.left) / box.width) * 100);
}

stage.addEventListener("pointerdown", (event) => {
  if (mode !== "split" || event.button !== 0) return;
  stage.setPointerCapture(event.pointerId);
  divider.focus({ preventScroll: true, focusVisible: false });
  event.preventDefault();
  setDividerAt(event);
});
stage.addEventListener("pointermove", (event) => {
  if (mode === "split" && stage.hasPointerCapture(event.pointerId)) setDividerAt(event);
});

function moveDividerByKey(key) {
  const position = Number(divider.getAttribute("aria-valuenow"));
  const moves = {
    ArrowLeft: position - STEP,
    ArrowDown: position - STEP,
    ArrowRight: position + STEP,
    ArrowUp: position + STEP,
    PageDown: position - BIG_STEP,
    PageUp: position + BIG_STEP,
    Home: 0,
    End: 100,
  };
  if (!(key in moves)) return false;
  setDivider(moves[key]);
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const onDivider = document.activeElement === divider;
  const onNothing = document.activeElement === document.body;
  if (mode === "split" && (onDivider || (onNothing && /^Arrow(Left|Right)$/.test(event.key)))) {
    if (moveDividerByKey(event.key)) return event.preventDefault();
  }
  const keys = {
    r: () => setMode("raw"),
    d: () => setMode("restored"),
    s: () => setMode(mode === "split" ? "side" : "split"),
    p: () => element("snapshot").click(),
    f: toggleFullScreen,
  };
  keys[event.key.toLowerCase()]?.();
});

for (const input of document.querySelectorAll("input[name=mode]")) {
  input.addEventListener("change", () => setMode(input.value));
}

for (const input of document.querySelectorAll("input[name=prefer]")) {
  input.addEventListener("change", () => send(`prefer ${input.value}`));
}

function toggleFullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (document.fullscreenEnabled) element("viewer").requestFullscreen();
}
element("full").hidden = !document.fullscreenEnabled;
element("full").addEventListener("click", toggleFullScreen);
document.addEventListener("visibilitychange", requestFrames);

// --- status ---

const formatCount = new Intl.NumberFormat("en").format;

function formatDuration(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

function formatTime(time_ms) {
  const date = new Date(time_ms);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? date.toLocaleTimeString() : date.toLocaleString();
}

function setText(id, text) {
  const target = element(id);
  if (target.textContent !== text) target.textContent = text;
}

function recordHistory() {
  const live = report.state === "live";
  history.latency.push(live && latency_ms !== null ? latency_ms : null);
  history.fps.push(live ? report.fps_out : null);
  for (const values of Object.values(history)) if (values.length > GRAPH_POINTS) values.shift();
}

function plotGraph(id, values, minTop) {
  const top = Math.max(minTop, ...values);
  const points = values.map((value, index) => {
    const y = 30 - (27 * (value ?? 0)) / top;
    return `${(120 - values.length + index + 1).toFixed(1)},${y.toFixed(1)}`;
  });
  element(id).querySelector("polyline").setAttribute("points", points.join(" "));
}

function render() {
  const state = lostAt ? "lost" : report ? report.state : "connecting";
  document.body.classList.toggle("lost", state === "lost");
  renderState(state);
  if (!report) return;
  const name = report.camera ?? report.source;
  document.title = `${state === "live" ? "" : `${STATE_WORDS[state]} – `}${name} – lfdn-video`;
  element("all").hidden = report.camera === null;
  setText("source", report.camera === null ? report.source : `${report.camera} · ${report.source}`);
  element("source").title = report.source;
  element("recording").hidden = !(report.recording || report.recording_error);
  const file = (report.recording ?? "").split(/[\\/]/).pop();
  setText("recording-file", report.recording_error ? `failed: ${report.recording_error}` : file);
  element("recording").title = report.recording_error ?? report.recording ?? "";
  setText("fps-out", report.frames_in ? report.fps_out.toFixed(1) : "–");
  setText("fps-note", report.frames_in ? `of ${report.fps_in.toFixed(1)} from the source` : "");
  setText("frames-in", formatCount(report.frames_in));
  setText("frames-out", formatCount(report.frames_out));
  setText("dropped", formatCount(report.frames_dropped));
  setText("dropped-note", `${((100 * report.frames_dropped) / Math.max(1, report.frames_in)).toFixed(1)} % of all`);
  setText("reconnects", formatCount(report.reconnects));
  setText("running", report.running_for_s === null ? "" : `in ${formatDuration(report.running_for_s)}`);
  setText("size", report.size ? `${report.size[0]}×${report.size[1]}` : "–");
  renderScale();
  renderLoad();
  renderLatency();
}

function renderScale() {
  const known = report.frames_out > 0; // before, no scale was chosen
  const percent = `${Math.round(100 * report.inference_scale)} %`;
  const tooSmall = known && report.too_small;
  const words = tooSmallWords(report);
  setText("scale", known ? percent : "–");
  const pixels = report.size ? report.size.map((side) => Math.round(side * report.inference_scale)).join("×") : "";
  setText("scale-note", tooSmall ? "too small to remove rain" : known ? pixels : "");
  element("scale").closest("div").classList.toggle("over", tooSmall);
  element("too-small").hidden = !tooSmall;
  setText("too-small", tooSmall ? words : "");
  canvases.restored.setAttribute("aria-label", tooSmall ? words : "Restored");
  setText("fps-word", tooSmall ? "Shown" : "Restored");
  const choices = report.task === "derain" && report.prefer !== null; // the floor is for rain
  element("prefer").hidden = !choices;
  if (choices) document.querySelector(`input[name=prefer][value=${report.prefer}]`).checked = true;
}

function renderLoad() {
  element("load-tile").hidden = report.cpu_load === null && report.gpu_load === null;
  const percent = (share) => `${Math.round(100 * share)} %`;
  const [main, other] = report.gpu_load === null ? [report.cpu_load, null] : [report.gpu_load, report.cpu_load];
  setText("load", main === null ? "–" : percent(main));
  setText("load-note", report.gpu_load === null ? "of its CPU" : `of its GPU${other === null ? "" : `; CPU ${percent(other)}`}`);
}

function renderLatency() {
  const bound_ms = report.max_latency_s * 1000;
  const live = report.state === "live" && !lostAt && latency_ms !== null;
  setText("latency", live ? String(Math.round(latency_ms)) : "–");
  setText("latency-note", bound_ms ? `bound ${Math.round(bound_ms)} ms` : "");
  element("latency").closest("div").classList.toggle("over", live && bound_ms > 0 && latency_ms > bound_ms);
  plotGraph("latency-graph", history.latency, bound_ms || 100);
  plotGraph("fps-graph", history.fps, report.fps_in || 1);
}

function renderState(state) {
  element("state").dataset.state = state;
  setText("state-word", STATE_WORDS[state]);
  const dead = state !== "live" || stage.hasAttribute("data-empty");
  stage.classList.toggle("dead", dead);
  if (!dead) return;
  setText("dead-word", state === "live" ? "Waiting for the first frame" : STATE_WORDS[state]);
  const since = state === "lost" ? lostAt : deadSince(state);
  setText("dead-since", since ? `since ${formatTime(since)}, ${formatDuration((Date.now() - since) / 1000)}` : "");
  setText("dead-message", state === "lost" ? "Trying again." : (report?.message ?? ""));
}

function deadSince(state) {
  const ago_s = state === "stalled" ? report.silent_s : report?.state_for_s;
  return ago_s === null || ago_s === undefined ? null : reportAt - ago_s * 1000;
}

setInterval(() => {
  if (socket.readyState === WebSocket.OPEN && performance.now() - lastMessageAt > SERVER_TIMEOUT_MS) handleDisconnect();
  render();
}, 1000);
setInterval(sendPing, PING_MS);
connect();
