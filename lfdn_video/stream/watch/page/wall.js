// The page of all cameras. It asks for each frame when it can show one, so it never falls behind. The
// messages are described in web_wall.py.
"use strict";

const TILE_WORDS = { ...STATE_WORDS, lost: "No answer" }; // short

const list = element("cameras");
const tiles = new Map(); // by the camera's name: its parts, and whether a frame is asked for

let socket = null;
let lastMessageAt = performance.now();
let lost = false;

// --- connection ---

function connect() {
  const opened = openSocket();
  socket = opened;
  opened.onopen = () => {
    lastMessageAt = performance.now();
    for (const tile of tiles.values()) tile.asked = false;
    askForFrames();
  };
  opened.onmessage = (event) => {
    lastMessageAt = performance.now();
    if (typeof event.data === "string") handleStatus(JSON.parse(event.data).status);
    else drawFrame(event.data).catch(console.error);
  };
  opened.onclose = () => {
    if (socket === opened) handleDisconnect();
  };
}

function handleDisconnect() {
  socket.onclose = socket.onmessage = null;
  socket.close();
  lost = true;
  for (const tile of tiles.values()) renderTile(tile, { ...tile.report, state: "lost", message: "" });
  renderState("lost", STATE_WORDS.lost);
  setTimeout(reconnect, RETRY_MS);
}

function askForFrames() {
  if (document.hidden || socket.readyState !== WebSocket.OPEN) return;
  for (const [name, tile] of tiles) {
    if (tile.asked) continue;
    tile.asked = true;
    socket.send(`${tile.drawn ? "next" : "again"} ${name}`);
    if (!tile.drawn) socket.send(`next ${name}`); // there may be none yet
  }
}

// --- frames ---

async function drawFrame(buffer) {
  const headerLength = new DataView(buffer).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, headerLength)));
  const tile = tiles.get(header.camera);
  if (!tile) return;
  const file = new Blob([new Uint8Array(buffer, 4 + headerLength)], { type: "image/jpeg" });
  const bitmap = await createImageBitmap(file);
  if (tile.canvas.width !== bitmap.width || tile.canvas.height !== bitmap.height) {
    tile.canvas.width = bitmap.width;
    tile.canvas.height = bitmap.height;
  }
  tile.canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
  tile.drawn = true;
  tile.link.dataset.number = header.number;
  tile.asked = false;
  askForFrames();
}

// --- status ---

function handleStatus(status) {
  if (!status) return;
  lost = false;
  for (const report of status.cameras) {
    if (!tiles.has(report.camera)) tiles.set(report.camera, addTile(report.camera));
    renderTile(tiles.get(report.camera), report);
  }
  askForFrames();
  const count = status.cameras.length;
  const all = status.live === count;
  const state = all ? "live" : status.live ? "reconnecting" : worst(status.cameras);
  renderState(state, `${status.live} of ${count} live`);
  setText(element("source"), count === 1 ? "1 camera" : `${count} cameras`);
  document.title = `${all ? "" : `${status.live} of ${count} live – `}Cameras – lfdn-video`;
}

function worst(cameras) {
  return cameras.some((each) => each.state === "failed") ? "failed" : "connecting";
}

function addTile(name) {
  const item = element("tile").content.cloneNode(true).firstElementChild;
  const part = (selector) => item.querySelector(selector);
  const link = part(".tile");
  link.href = `cameras/${name}/`;
  list.append(item);
  return {
    name, link, asked: false, drawn: false, report: {},
    canvas: part("canvas"), why: part(".why"), over: part(".note-over"), word: part(".state-word"),
    numbers: part(".numbers"), recording: part(".rec"), title: part(".name"),
  };
}

function renderTile(tile, report) {
  tile.report = report;
  tile.link.dataset.state = report.state;
  setText(tile.title, tile.name);
  tile.title.title = report.source;
  setText(tile.word, TILE_WORDS[report.state]);
  setText(tile.why, report.state === "live" ? "" : (report.message || "").replace(`${report.source}: `, ""));
  setText(tile.numbers, describe(report));
  const tooSmall = report.state === "live" && report.too_small && report.frames_out > 0;
  tile.over.hidden = !tooSmall;
  setText(tile.over, tooSmall ? tooSmallWords(report) : "");
  tile.recording.hidden = !(report.recording || report.recording_error);
  if (report.recording_error) setText(tile.recording.lastChild, "Recording failed");
  else setText(tile.recording.lastChild, "Recording");
  tile.recording.classList.toggle("bad", Boolean(report.recording_error));
  tile.recording.title = report.recording_error ?? report.recording ?? "";
  tile.canvas.setAttribute("aria-label", `${tile.name}, ${TILE_WORDS[report.state]}`);
}

function describe(report) {
  if (report.state !== "live" || !report.frames_out) {
    return report.state_for_s === null || report.state === "lost" ? "" : `for ${formatDuration(report.state_for_s)}`;
  }
  const scale = report.inference_scale < 1 ? ` · scale ${Math.round(100 * report.inference_scale)} %` : "";
  const fps = (value) => value.toFixed(value < 9.95 ? 1 : 0);
  return `${fps(report.fps_out)} of ${fps(report.fps_in)} fps · ${Math.round(1000 * report.latency_s)} ms${scale}`;
}

function formatDuration(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function renderState(state, words) {
  element("state").dataset.state = state;
  setText(element("state-word"), words);
}

// --- keys: the arrows move between cameras ---

function columns() {
  return getComputedStyle(list).gridTemplateColumns.split(" ").length;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !tiles.size) return;
  const links = [...tiles.values()].map((tile) => tile.link);
  const now = links.indexOf(document.activeElement);
  const moves = { ArrowLeft: now - 1, ArrowRight: now + 1, ArrowUp: now - columns(), ArrowDown: now + columns(), Home: 0, End: links.length - 1 };
  if (!(event.key in moves)) return;
  event.preventDefault();
  const next = now < 0 ? 0 : moves[event.key];
  if (next >= 0 && next < links.length) links[next].focus();
});

document.addEventListener("visibilitychange", askForFrames);
setInterval(() => {
  if (!lost && socket.readyState === WebSocket.OPEN && performance.now() - lastMessageAt > SERVER_TIMEOUT_MS) handleDisconnect();
}, 1000);
connect();
