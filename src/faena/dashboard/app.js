// The page at `/`: a client of the public API only. It listens to the channel `jobs` of `WS /ws`, then reads `GET /jobs`,
// and joins the two by each job's `seq`, so that nothing is missed and nothing goes backwards.
// Text comes from strangers: it is only ever set as `textContent`.

import { ago, attempt, call, find, soon } from "./api.js";
import { drawResult, mayShowPictures } from "./pictures.js";
import { drawQueues, lookAtSteering, whyOf } from "./steering.js";

const PAGE = 50;
const MOST = 200; // rows kept; older ones are a click away
const FINAL = ["completed", "failed", "cancelled"];
const FILTERS = [
  { name: "All", statuses: [] },
  { name: "Waiting", statuses: ["scheduled", "pending"] },
  { name: "Processing", statuses: ["processing"] },
  { name: "Completed", statuses: ["completed"] },
  { name: "Failed", statuses: ["failed"] },
  { name: "Cancelled", statuses: ["cancelled"] },
];

const list = find("jobs");
const template = find("job");

const jobs = new Map(); // id → what is known of the job
const rows = new Map(); // id → its <li>
const changed = new Set(); // ids to draw at the next frame
let early = null; // while a list is being read: the events that came meanwhile
let filter = FILTERS[0];
let search = "";
let cursor = null;
let reading = 0; // the number of the last reading: an older answer is not wanted any more

// ---- the list -----------------------------------------------------------------------------------------------

function listPath(after) {
  const query = new URLSearchParams({ limit: PAGE });
  for (const status of filter.statuses) query.append("status", status);
  if (search) query.set("q", search);
  if (after) query.set("cursor", after);
  return `/jobs?${query}`;
}

async function readList() {
  const mine = ++reading;
  early ??= [];
  try {
    const page = await call("GET", listPath());
    if (mine !== reading) return;
    const found = new Set(page.jobs.map((job) => job.task_id));
    for (const id of [...jobs.keys()]) if (!found.has(id)) forget(id);
    for (const job of page.jobs) learn(job);
    cursor = page.cursor;
  } finally {
    if (mine === reading) {
      const missed = early;
      early = null;
      missed.forEach(hear);
      drawSoon();
      askWhySoon();
      lookAt([...jobs.values()].filter(mayShowPictures).map((job) => job.task_id)).catch(() => {});
    }
  }
}

async function readOlder() {
  const page = await call("GET", listPath(cursor));
  page.jobs.forEach(learn);
  cursor = page.cursor;
  drawSoon();
}

function learn(job) {
  const known = jobs.get(job.task_id);
  if (known && known.seq > job.seq) return;
  jobs.set(job.task_id, { ...known, ...job });
  changed.add(job.task_id);
}

function forget(id) {
  jobs.delete(id);
  whys.delete(id);
  rows.get(id)?.remove();
  rows.delete(id);
  changed.delete(id);
}

// ---- what is heard ------------------------------------------------------------------------------------------

function hear(message) {
  if (early) {
    early.push(message);
    return;
  }
  const { event } = message;
  if (event.type === "status") {
    countSoon();
    askWhySoon();
  }
  const job = jobs.get(message.task_id);
  if (!job) {
    if (event.type === "status") listSoon();
    return;
  }
  if (event.seq <= job.seq) return;
  Object.assign(job, { seq: event.seq, status: event.status, progress: event.progress });
  if (event.message !== null && event.type !== "log") job.message = event.message;
  if (event.type === "status") {
    if (filter.statuses.length && !filter.statuses.includes(event.status)) forget(job.task_id);
    else lookSoon(job.task_id); // its times, error and actions changed too
  }
  changed.add(job.task_id);
  drawSoon();
}

const listSoon = soon(readList, 250);
const countSoon = soon(readCounts, 400);

const toLook = new Set();
const lookAtThem = soon(async () => {
  const ids = [...toLook].slice(0, PAGE);
  toLook.clear();
  if (ids.length > 10) await readList(); // many at once: one question is cheaper
  else await lookAt(ids);
}, 60);

async function lookAt(ids) {
  for (let at = 0; at < ids.length; at += 5) {
    await Promise.all(ids.slice(at, at + 5).map((id) => call("GET", `/jobs/${id}`).then(learn)));
    drawSoon();
  }
}

function lookSoon(id) {
  toLook.add(id);
  lookAtThem();
}

async function readCounts() {
  const { queues } = await call("GET", "/queues");
  for (const each of FILTERS) {
    const wanted = each.statuses.length ? each.statuses : FILTERS.flatMap((other) => other.statuses);
    const count = queues.reduce((sum, queue) => sum + wanted.reduce((all, status) => all + queue[status], 0), 0);
    each.count.textContent = count.toLocaleString();
  }
  drawQueues(queues);
}

// ---- drawing ------------------------------------------------------------------------------------------------

let frame = null;
function drawSoon() {
  frame ??= requestAnimationFrame(() => {
    frame = null;
    draw();
  });
}

function draw() {
  for (const id of changed) if (jobs.has(id)) drawJob(jobs.get(id));
  if ([...changed].some((id) => jobs.has(id) && !rows.get(id).isConnected)) place();
  changed.clear();
  const none = jobs.size === 0;
  const narrowed = filter.statuses.length > 0 || search !== "";
  find("empty").hidden = !none || early !== null;
  find("empty").querySelector("h2").textContent = narrowed ? "No job is like that" : "No jobs yet";
  for (const hint of find("empty").querySelectorAll("p, pre")) hint.hidden = narrowed;
  find("more").hidden = cursor === null || jobs.size >= MOST;
}

function place() {
  const newestFirst = [...jobs.values()].sort(
    (a, b) => (a.created_at < b.created_at) - (a.created_at > b.created_at) || (a.task_id < b.task_id ? 1 : -1),
  );
  for (const job of newestFirst.slice(MOST)) forget(job.task_id);
  let before = null;
  for (const job of newestFirst.slice(0, MOST)) {
    const row = rows.get(job.task_id);
    const there = before ? before.nextSibling : list.firstChild;
    if (there !== row) list.insertBefore(row, there);
    before = row;
  }
}

function drawJob(job) {
  const row = rows.get(job.task_id) ?? makeRow(job);
  const part = (name) => row.querySelector(`.${name}`);
  const ended = FINAL.includes(job.status);
  const percent = Math.round(job.progress);
  row.dataset.status = job.status;
  part("status").textContent = job.cancel_requested && !ended ? "stopping" : job.status;
  part("fill").style.setProperty("--progress", job.progress);
  part("track").setAttribute("aria-valuenow", percent);
  part("track").setAttribute("aria-valuetext", `${job.status}, ${percent} %`);
  part("percent").textContent = job.status === "processing" || percent > 0 ? `${percent} %` : "";
  if (!isWaiting(job)) whys.delete(job.task_id);
  part("message").textContent = whys.get(job.task_id) ?? messageOf(job);
  part("cancel").hidden = ended;
  part("cancel").disabled = job.cancel_requested;
  part("retry").hidden = !ended;
  const when = part("when");
  when.dateTime = job.finished_at ?? job.started_at ?? job.created_at;
  when.textContent = ago(when.dateTime);
  when.title = new Date(when.dateTime).toLocaleString();
  drawResult(job, part("result"));
}

function makeRow(job) {
  const row = template.content.firstElementChild.cloneNode(true);
  const short = job.task_id.slice(-6);
  row.dataset.id = job.task_id;
  row.querySelector(".task").textContent = job.task;
  row.querySelector(".queue").textContent = job.queue;
  const link = row.querySelector(".id");
  link.textContent = `…${short}`;
  link.title = job.task_id;
  link.href = `/jobs/${job.task_id}`;
  row.querySelector(".track").setAttribute("aria-label", `Progress of ${job.task} ${short}`);
  const cancel = row.querySelector(".cancel");
  cancel.setAttribute("aria-label", `Cancel ${job.task} ${short}`);
  cancel.addEventListener("click", () => attempt(() => cancelJob(job.task_id)));
  const retry = row.querySelector(".retry");
  retry.setAttribute("aria-label", `Run ${job.task} ${short} again`);
  retry.addEventListener("click", () => attempt(() => call("POST", `/jobs/${job.task_id}/retry`)));
  rows.set(job.task_id, row);
  return row;
}

async function cancelJob(id) {
  const answer = await call("DELETE", `/jobs/${id}`);
  const job = jobs.get(id);
  if (job && !FINAL.includes(job.status)) job.cancel_requested = answer.cancel_requested;
  changed.add(id);
  drawSoon();
}

function messageOf(job) {
  const attempts = job.attempt > 1 ? `attempt ${job.attempt} of ${job.max_attempts}` : "";
  const waits = job.status === "scheduled" ? `due ${new Date(job.due_at).toLocaleTimeString()}` : "";
  const told = job.error?.message ? `${job.error.type}: ${job.error.message}` : job.error?.type;
  const error = job.status === "completed" ? "" : told;
  const message = error || job.message || "";
  return [message, waits, attempts].filter(Boolean).join(" · ");
}

// ---- why it waits -------------------------------------------------------------------------------------------

const ASKED = 10; // rows that say why they wait: the first ones that can be seen
const whys = new Map(); // id → the sentence

function isWaiting(job) {
  return job.status === "pending" || job.status === "scheduled";
}

function canBeSeen(row) {
  const { top, bottom } = row.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

async function askWhy() {
  if (document.hidden || !socket) return;
  const waiting = [...jobs.values()].filter((job) => isWaiting(job) && rows.get(job.task_id)?.isConnected);
  const seen = waiting.filter((job) => canBeSeen(rows.get(job.task_id))).slice(0, ASKED);
  for (const { task_id: id } of seen) {
    const told = await whyOf(id).catch(() => null);
    if (!told || !jobs.has(id) || !isWaiting(jobs.get(id))) continue;
    whys.set(id, told.text[0].toUpperCase() + told.text.slice(1));
    changed.add(id);
  }
  drawSoon();
}

const askWhySoon = soon(askWhy, 1200); // most jobs have begun by then
document.addEventListener("steered", askWhySoon);

function lookAround() {
  if (document.hidden || !socket) return;
  askWhySoon();
  readCounts().catch(() => {});
}
setInterval(lookAround, 5000);
document.addEventListener("visibilitychange", lookAround);

setInterval(() => {
  for (const time of list.querySelectorAll("time")) time.textContent = ago(time.dateTime);
}, 5000);

// ---- the connection -----------------------------------------------------------------------------------------

let socket = null;
let failures = 0;
let again = null;

function connect() {
  clearTimeout(again);
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  const mine = socket;
  mine.addEventListener("open", () => mine.send(JSON.stringify({ type: "subscribe", channel: "jobs" })));
  mine.addEventListener("message", ({ data }) => receive(JSON.parse(data)));
  mine.addEventListener("close", () => {
    if (mine === socket) reconnect();
  });
}

function receive(message) {
  if (message.type === "event") hear(message);
  else if (message.type === "lagged") readList().catch(() => {});
  else if (message.type === "subscribed") {
    failures = 0;
    show("live", "Live");
    Promise.all([readList(), readCounts(), lookAtSteering()]).catch(() => {});
    offer().catch(() => {});
  }
}

function reconnect() {
  socket = null;
  failures += 1;
  show("lost", "The server is away; trying again…");
  const wait = Math.min(8000, 300 * 2 ** Math.min(failures, 5)) * (0.75 + Math.random() / 2);
  again = setTimeout(connect, wait);
}

function show(state, told) {
  const connection = find("connection");
  connection.dataset.state = state;
  connection.textContent = told;
}

for (const sign of ["online", "focus"]) addEventListener(sign, () => socket ?? connect());

// ---- what can be asked --------------------------------------------------------------------------------------

async function offer() {
  const { tasks } = await call("GET", "/tasks");
  const names = new Set(tasks.map((task) => task.name));
  find("upload").hidden = !names.has("process_media");
  find("demo").hidden = !names.has("long_task");
  find("start").hidden = find("upload").hidden && find("demo").hidden;
  const order = names.has("long_task") || !tasks.length ? { task: "long_task", args: { duration: 10 } } : orderOf(tasks[0]);
  find("example").textContent =
    `curl -X POST ${location.origin}/jobs -H 'content-type: application/json' \\\n  -d '${JSON.stringify(order)}'`;
}

function orderOf(task) {
  return { task: task.name, args: Object.fromEntries((task.arguments.required ?? []).map((name) => [name, "…"])) };
}

find("demo").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  const duration = Number(new FormData(submitted.target).get("duration"));
  attempt(() => call("POST", "/jobs", { task: "long_task", args: { duration } }));
});

const upload = find("upload");
async function send(file) {
  if (!file) return;
  const form = new FormData();
  form.set("file", file);
  upload.classList.add("busy");
  await attempt(() => call("POST", "/media/upload", form));
  upload.classList.remove("busy");
  upload.reset();
}
find("file").addEventListener("change", ({ target }) => send(target.files[0]));
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  upload.addEventListener(name, (dragged) => {
    dragged.preventDefault();
    upload.classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop") send(dragged.dataTransfer.files[0]);
  });
}

for (const each of FILTERS) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-pressed", each === filter);
  each.count = Object.assign(document.createElement("span"), { className: "count" });
  button.append(each.name, " ", each.count);
  button.addEventListener("click", () => {
    filter = each;
    for (const other of find("filters").children) other.setAttribute("aria-pressed", other === button);
    attempt(readList);
  });
  find("filters").append(button);
}

let typed = null;
find("search").addEventListener("input", ({ target }) => {
  clearTimeout(typed);
  typed = setTimeout(() => {
    search = target.value.trim();
    attempt(readList);
  }, 200);
});

find("more").addEventListener("click", () => attempt(readOlder));

connect();
