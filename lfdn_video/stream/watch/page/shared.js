// What the live page and the page of all cameras share; loaded before page.js and wall.js.
"use strict";

const RETRY_MS = 1500;
const SERVER_TIMEOUT_MS = 5000; // the status comes twice a second; without it the server is gone
const STATE_WORDS = {
  connecting: "Connecting",
  live: "Live",
  stalled: "No frames",
  reconnecting: "Reconnecting",
  ended: "Ended",
  failed: "Failed",
  lost: "Server does not answer",
};

const element = (id) => document.getElementById(id);
const tooSmallWords = (report) => `Too small to remove rain: ${Math.round(100 * report.inference_scale)} %`;

function openSocket() {
  const address = new URL("live", document.baseURI);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const opened = new WebSocket(address);
  opened.binaryType = "arraybuffer";
  return opened;
}

// Connect again once the server answers.
async function reconnect() {
  try {
    const answer = await fetch("healthz", { cache: "no-store" });
    if (answer.status === 401 || answer.status === 403) return location.reload(); // another token
  } catch {
    return setTimeout(reconnect, RETRY_MS);
  }
  connect(); // of the page
}
