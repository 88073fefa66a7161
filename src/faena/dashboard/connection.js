// The socket: it comes back by itself, and says truthfully whether what the page shows is live.

import { clock, find } from "./api.js";

const QUIET = 5_000; // milliseconds without a word after which the server is asked whether it is there
const SILENT = 10_000; // without an answer, after which it is held to be away, though nobody closed the socket

let socket = null;
let failures = 0;
let again = null;
let heardAt = Date.now();
let askedAt = null;
let listener = null;

export const isConnected = () => socket !== null;

/** Connect, and stay connected. `listener` has `live()`, `lagged()` and `hear(message)`. */
export function stayConnected(theListener) {
  listener = theListener;
  connect();
}

function connect() {
  clearTimeout(again);
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  askedAt = null;
  const mine = socket;
  mine.addEventListener("open", () => mine.send(JSON.stringify({ type: "subscribe", channel: "jobs" })));
  mine.addEventListener("message", ({ data }) => mine === socket && receive(JSON.parse(data)));
  mine.addEventListener("close", () => mine === socket && lose());
}

function receive(message) {
  heardAt = Date.now();
  askedAt = null;
  if (message.type === "event") listener.hear(message);
  else if (message.type === "lagged") listener.lagged();
  else if (message.type === "error") socket.close();
  else if (message.type === "subscribed") {
    failures = 0;
    show("live", "Live");
    listener.live();
  }
}

function lose() {
  socket = null;
  failures += 1;
  show("lost", "The server is away; trying again…");
  const wait = Math.min(8000, 300 * 2 ** Math.min(failures, 5)) * (0.75 + Math.random() / 2);
  again = setTimeout(connect, wait);
}

function show(state, told) {
  const connection = find("connection");
  if (state === "lost" && document.body.dataset.connection !== "lost") {
    find("away").firstElementChild.textContent = `The server is away. This is how things stood at ${clock(heardAt)}.`;
  }
  document.body.dataset.connection = connection.dataset.state = state;
  connection.textContent = told;
  find("away").hidden = state !== "lost";
}

function listenClosely() {
  if (!socket || Date.now() - heardAt < QUIET) return;
  if (askedAt === null) {
    askedAt = Date.now();
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "ping" }));
  } else if (Date.now() - askedAt > SILENT) {
    const silent = socket;
    lose(); // at once: a dead peer may take minutes to close
    silent.close();
  }
}

setInterval(listenClosely, 2500);
for (const sign of ["online", "focus"]) addEventListener(sign, () => socket ?? connect());
find("try-now").addEventListener("click", () => socket ?? connect());
