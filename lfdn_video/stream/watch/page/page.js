// The page of a live stream. It asks for each picture when it can show one, so it is never behind;
// what travels is described at _Viewer in web_app.py.
"use strict";

const AHEAD = 2; // pictures asked for before they are drawn: one on its way, one in work
const RETRY_MS = 1500;
const SILENCE_MS = 5000; // numbers come twice a second; without them the server is gone
const PING_MS = 2000;
const STEP = 2; // of the divider by a key, in percent
const BIG_STEP = 10;
const GRAPH_POINTS = 120;
const WORDS = {
  connecting: "Connecting",
  live: "Live",
  stalled: "No picture",
  reconnecting: "Reconnecting",
  ended: "Ended",
  failed: "Failed",
  lost: "Server does not answer",
};

const element = (id) => document.getElementById(id);
const stage = element("stage");
const divider = element("divider");
const canvases = { raw: element("raw"), restored: element("restored") };

let socket = null;
let mode = "split";
let asked = 0; // pictures asked for and not drawn yet
let drawing = Promise.resolve();
let roundTrip_ms = 0;
let heardAt = performance.now();
let told = null; // the newest numbers
let toldAt = 0;
let shown_ms = null; // latency of the newest picture on this screen, smoothed
let lostAt = null;
const history = { latency: [], fps: [] };

// --- what travels ---

function connect() {
  const address = new URL("live", document.baseURI);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const mine = new WebSocket(address);
  socket = mine;
  mine.binaryType = "arraybuffer";
  asked = 0;
  mine.onopen = () => {
    heardAt = performance.now();
    ping();
    ask();
  };
  mine.onmessage = (event) => {
    heardAt = performance.now();
    if (typeof event.data === "string") hear(JSON.parse(event.data));
    else drawing = drawing.then(() => draw(event.data, heardAt)).catch(console.error).then(drawn);
  };
  mine.onclose = () => {
    if (socket === mine) lose();
  };
}

function lose() {
  socket.onclose = socket.onmessage = null;
  socket.close();
  lostAt ??= Date.now();
  show();
  setTimeout(retry, RETRY_MS);
}

async function retry() {
  try {
    const answer = await fetch("healthz", { cache: "no-store" });
    if (answer.status === 401 || answer.status === 403) return location.reload(); // another token
  } catch {
    return setTimeout(retry, RETRY_MS);
  }
  connect();
}

function send(text) {
  if (socket.readyState === WebSocket.OPEN) socket.send(text);
}

function side() {
  return mode === "raw" || mode === "restored" ? mode : "both";
}

function ask() {
  if (document.hidden || socket.readyState !== WebSocket.OPEN) return;
  for (; asked < AHEAD; asked += 1) send(`next ${side()}`);
}

function drawn() {
  asked = Math.max(0, asked - 1);
  ask();
}

function ping() {
  send(`ping ${performance.now()}`);
}

function hear(message) {
  if (message.pong !== undefined) {
    const took_ms = performance.now() - Number(message.pong);
    roundTrip_ms = roundTrip_ms ? Math.min(took_ms, roundTrip_ms * 0.8 + took_ms * 0.2) : took_ms;
  } else if (message.status) {
    told = message.status;
    toldAt = Date.now();
    lostAt = null;
    remember();
    show();
  }
}

// --- the picture ---

async function draw(buffer, arrivedAt) {
  const headLength = new DataView(buffer).getUint32(0);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, headLength)));
  let start = 4 + headLength;
  const coming = Object.entries(head.sizes).map(([side, size]) => {
    const file = new Blob([new Uint8Array(buffer, start, size)], { type: "image/jpeg" });
    start += size;
    return createImageBitmap(file).then((bitmap) => [side, bitmap]);
  });
  for (const [side, bitmap] of await Promise.all(coming)) {
    const canvas = canvases[side];
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      stage.style.setProperty("--aspect", String(bitmap.width / bitmap.height));
    }
    canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
  }
  stage.dataset.number = head.number;
  if (stage.hasAttribute("data-empty")) {
    stage.removeAttribute("data-empty");
    show();
  }
  const now_ms = head.age_s * 1000 + roundTrip_ms / 2 + performance.now() - arrivedAt;
  shown_ms = shown_ms === null ? now_ms : shown_ms * 0.7 + now_ms * 0.3;
}

// --- what is shown of it ---

function choose(chosen) {
  mode = chosen;
  stage.dataset.mode = mode;
  document.querySelector(`input[name=mode][value=${mode}]`).checked = true;
  element("snapshot").href = `snapshot.png?show=${side()}`;
  if (stage.hasAttribute("data-empty")) return;
  send(`again ${side()}`); // a dead source has no newer picture
  asked += 1;
}

function divide(percent) {
  const kept = Math.min(100, Math.max(0, percent));
  stage.style.setProperty("--divider", `${kept}%`);
  divider.setAttribute("aria-valuenow", String(Math.round(kept)));
  divider.setAttribute("aria-valuetext", `${Math.round(kept)} % raw`);
}

function divideAt(event) {
  const box = stage.getBoundingClientRect();
  divide(((event.clientX - box.left) / box.width) * 100);
}

stage.addEventListener("pointerdown", (event) => {
  if (mode !== "split" || event.button !== 0) return;
  stage.setPointerCapture(event.pointerId);
  divider.focus({ preventScroll: true, focusVisible: false });
  event.preventDefault();
  divideAt(event);
});
stage.addEventListener("pointermove", (event) => {
  if (mode === "split" && stage.hasPointerCapture(event.pointerId)) divideAt(event);
});

function moveDivider(key) {
  const at = Number(divider.getAttribute("aria-valuenow"));
  const moves = {
    ArrowLeft: at - STEP,
    ArrowDown: at - STEP,
    ArrowRight: at + STEP,
    ArrowUp: at + STEP,
    PageDown: at - BIG_STEP,
    PageUp: at + BIG_STEP,
    Home: 0,
    End: 100,
  };
  if (!(key in moves)) return false;
  divide(moves[key]);
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const onDivider = document.activeElement === divider;
  const free = document.activeElement === document.body;
  if (mode === "split" && (onDivider || (free && /^Arrow(Left|Right)$/.test(event.key)))) {
    if (moveDivider(event.key)) return event.preventDefault();
  }
  const keys = {
    r: () => choose("raw"),
    d: () => choose("restored"),
    s: () => choose(mode === "split" ? "side" : "split"),
    p: () => element("snapshot").click(),
    f: fullScreen,
  };
  keys[event.key.toLowerCase()]?.();
});

for (const input of document.querySelectorAll("input[name=mode]")) {
  input.addEventListener("change", () => choose(input.value));
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (document.fullscreenEnabled) element("viewer").requestFullscreen();
}
element("full").hidden = !document.fullscreenEnabled;
element("full").addEventListener("click", fullScreen);
document.addEventListener("visibilitychange", ask);

// --- the numbers ---

const count = new Intl.NumberFormat("en").format;

function since(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

function clock(time_ms) {
  const at = new Date(time_ms);
  const today = at.toDateString() === new Date().toDateString();
  return today ? at.toLocaleTimeString() : at.toLocaleString();
}

function write(id, text) {
  const target = element(id);
  if (target.textContent !== text) target.textContent = text;
}

function remember() {
  const live = told.state === "live";
  history.latency.push(live && shown_ms !== null ? shown_ms : null);
  history.fps.push(live ? told.fps_out : null);
  for (const values of Object.values(history)) if (values.length > GRAPH_POINTS) values.shift();
}

function plot(id, values, atLeast) {
  const top = Math.max(atLeast, ...values);
  const points = values.map((value, at) => {
    const y = 30 - (27 * (value ?? 0)) / top;
    return `${(120 - values.length + at + 1).toFixed(1)},${y.toFixed(1)}`;
  });
  element(id).querySelector("polyline").setAttribute("points", points.join(" "));
}

function show() {
  const state = lostAt ? "lost" : told ? told.state : "connecting";
  document.body.classList.toggle("lost", state === "lost");
  showState(state);
  if (!told) return;
  document.title = `${state === "live" ? "" : `${WORDS[state]} – `}${told.source} – lfdn-video`;
  write("source", told.source);
  element("source").title = told.source;
  element("recording").hidden = !told.recording;
  write("recording-file", (told.recording ?? "").split(/[\\/]/).pop());
  element("recording").title = told.recording ?? "";
  write("fps-out", told.fps_out.toFixed(1));
  write("fps-note", `of ${told.fps_in.toFixed(1)} from the source`);
  write("frames-in", count(told.frames_in));
  write("frames-out", count(told.frames_out));
  write("dropped", count(told.frames_dropped));
  write("dropped-note", `${((100 * told.frames_dropped) / Math.max(1, told.frames_in)).toFixed(1)} % of all`);
  write("reconnects", count(told.reconnects));
  write("running", told.running_for_s === null ? "" : `in ${since(told.running_for_s)}`);
  write("size", told.size ? `${told.size[0]}×${told.size[1]}` : "–");
  write("scale", `${Math.round(100 * told.inference_scale)} %`);
  write("scale-note", told.size ? told.size.map((side) => Math.round(side * told.inference_scale)).join("×") : "");
  showLatency();
}

function showLatency() {
  const bound_ms = told.max_latency_s * 1000;
  const live = told.state === "live" && !lostAt && shown_ms !== null;
  write("latency", live ? String(Math.round(shown_ms)) : "–");
  write("latency-note", bound_ms ? `bound ${Math.round(bound_ms)} ms` : "without a bound");
  element("latency").closest("div").classList.toggle("over", live && bound_ms > 0 && shown_ms > bound_ms);
  plot("latency-graph", history.latency, bound_ms || 100);
  plot("fps-graph", history.fps, told.fps_in || 1);
}

function showState(state) {
  element("state").dataset.state = state;
  write("state-word", WORDS[state]);
  const dead = state !== "live" || stage.hasAttribute("data-empty");
  stage.classList.toggle("dead", dead);
  if (!dead) return;
  write("dead-word", state === "live" ? "Waiting for a picture" : WORDS[state]);
  const begun = state === "lost" ? lostAt : deadSince(state);
  write("dead-since", begun ? `since ${clock(begun)}, ${since((Date.now() - begun) / 1000)}` : "");
  write("dead-message", state === "lost" ? "Trying again." : (told?.message ?? ""));
}

function deadSince(state) {
  const ago_s = state === "stalled" ? told.silent_s : told?.state_for_s;
  return ago_s === null || ago_s === undefined ? null : toldAt - ago_s * 1000;
}

setInterval(() => {
  if (socket.readyState === WebSocket.OPEN && performance.now() - heardAt > SILENCE_MS) lose();
  show();
}, 1000);
setInterval(ping, PING_MS);
connect();
