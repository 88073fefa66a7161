// The list of jobs: what `GET /jobs` says, joined with what is heard by each job's `seq`, so that nothing is missed and
// nothing goes backwards.

import { attempt, call, find, soon } from "./api.js";
import { isConnected } from "./connection.js";
import { forgetDetails, freshenDetails, isOpen, toggleDetails } from "./details.js";
import { mayShowPictures } from "./pictures.js";
import { drawRow, FINAL, isWaiting, makeRow } from "./row.js";

const PAGE = 50;
const MOST = 200; // rows kept; a status or a search shows older ones
export const FILTERS = [
  { name: "All", statuses: [] },
  { name: "Waiting", statuses: ["scheduled", "pending"] },
  { name: "Processing", statuses: ["processing"] },
  { name: "Completed", statuses: ["completed"] },
  { name: "Failed", statuses: ["failed"] },
  { name: "Cancelled", statuses: ["cancelled"] },
];

const list = find("jobs");
const jobs = new Map(); // id → what is known of the job
const rows = new Map(); // id → its <li>
const changed = new Set(); // ids to draw at the next frame
let early = null; // while a list is being read: the events that came meanwhile
let filter = FILTERS[0];
let search = "";
let wanted = PAGE; // how many jobs the reader has asked for
let cursor = null;
let reading = 0; // the number of the last reading: an older answer is not wanted any more

// ---- the list -----------------------------------------------------------------------------------------------

function listPath(limit, after) {
  const query = new URLSearchParams({ limit });
  for (const status of filter.statuses) query.append("status", status);
  if (search) query.set("q", search);
  if (after) query.set("cursor", after);
  return `/jobs?${query}`;
}

/** Read the list again. What the reader has opened stays, unless the list is to be another one. */
export async function readList({ another = false } = {}) {
  const mine = ++reading;
  early ??= [];
  if (another) wanted = PAGE;
  try {
    const page = await call("GET", listPath(wanted));
    if (mine !== reading) return;
    const found = new Set(page.jobs.map((job) => job.task_id));
    for (const id of [...jobs.keys()]) if (!found.has(id) && (another || !isOpen(id))) forget(id);
    for (const job of page.jobs) learn(job);
    cursor = page.cursor;
    const unseen = [...jobs.values()].filter((job) => !found.has(job.task_id) || mayShowPictures(job));
    lookAt(unseen.map((job) => job.task_id)).catch(() => {});
  } finally {
    if (mine === reading) {
      const missed = early;
      early = null;
      missed.forEach(hear);
      for (const id of jobs.keys()) freshenDetails(id, jobs.get(id).seq);
      drawSoon();
      askWhySoon();
    }
  }
}

async function readOlder() {
  const page = await call("GET", listPath(PAGE, cursor));
  wanted = Math.min(MOST, wanted + PAGE);
  page.jobs.forEach(learn);
  cursor = page.cursor;
  drawSoon();
}

function learn(job) {
  const known = jobs.get(job.task_id);
  if (known && known.seq > job.seq) return;
  if (known?.seq !== job.seq) heardOf.set(job.task_id, Date.now());
  jobs.set(job.task_id, { ...known, ...job });
  changed.add(job.task_id);
}

function forget(id) {
  for (const known of [jobs, rows, whys, heardOf]) {
    if (known === rows) rows.get(id)?.remove();
    known.delete(id);
  }
  changed.delete(id);
  forgetDetails(id);
}

/** Show one job with its details, whatever the list showed before. */
export async function showJob(id) {
  find("search").value = search = id;
  choose(FILTERS[0]);
  await readList({ another: true });
  draw();
  if (rows.has(id) && !isOpen(id)) toggleDetails(id, rows.get(id));
}

// ---- what is heard ------------------------------------------------------------------------------------------

export function hear(message) {
  if (early) {
    early.push(message);
    return;
  }
  const { event } = message;
  if (event.type === "status") askWhySoon();
  const job = jobs.get(message.task_id);
  if (!job) {
    if (event.type === "status") listSoon();
    return;
  }
  if (event.seq <= job.seq) return;
  heardOf.set(job.task_id, Date.now());
  if (!isWaiting(event)) whys.delete(job.task_id);
  Object.assign(job, { seq: event.seq, status: event.status, progress: event.progress });
  if (event.message !== null && event.type !== "log") job.message = event.message;
  freshenDetails(job.task_id, job.seq);
  if (event.type === "status") {
    const leaves = filter.statuses.length > 0 && !filter.statuses.includes(event.status);
    if (leaves && !isOpen(job.task_id)) forget(job.task_id);
    else lookSoon(job.task_id); // its times, error and actions changed too
  }
  changed.add(job.task_id);
  drawSoon();
}

const listSoon = soon(readList, 250);

const toLook = new Set();
const lookAtThem = soon(async () => {
  const ids = [...toLook];
  toLook.clear();
  if (ids.length > 10) listSoon(); // many at once: one question is cheaper
  else await lookAt(ids);
}, 60);

async function lookAt(ids) {
  for (let at = 0; at < ids.length; at += 5) {
    await Promise.all(ids.slice(at, at + 5).map((id) => call("GET", `/jobs/${id}`).then(learn, gone(id))));
    drawSoon();
  }
}

function gone(id) {
  return (error) => {
    if (error.status === 404) forget(id);
  };
}

function lookSoon(id) {
  toLook.add(id);
  lookAtThem();
}

// ---- drawing ------------------------------------------------------------------------------------------------

let frame = null;
function drawSoon() {
  frame ??= requestAnimationFrame(draw);
}

function draw() {
  cancelAnimationFrame(frame);
  frame = null;
  for (const id of changed) if (jobs.has(id)) drawRow(rowOf(id), jobs.get(id), whys.get(id));
  if ([...changed].some((id) => jobs.has(id) && !rows.get(id).isConnected)) place();
  changed.clear();
  const narrowed = filter.statuses.length > 0 || search !== "";
  find("empty").hidden = jobs.size > 0 || early !== null;
  find("empty").querySelector("h2").textContent = narrowed ? "No job is like that" : "No jobs yet";
  for (const hint of find("empty").querySelectorAll("p, pre")) hint.hidden = narrowed;
  find("more").hidden = cursor === null || jobs.size >= MOST;
  find("most").hidden = cursor === null || jobs.size < MOST;
}

function place() {
  const newestFirst = [...jobs.values()].sort(
    (a, b) => (a.created_at < b.created_at) - (a.created_at > b.created_at) || (a.task_id < b.task_id ? 1 : -1),
  );
  for (const job of newestFirst.slice(MOST)) forget(job.task_id);
  let before = null;
  for (const job of newestFirst.slice(0, MOST)) {
    const row = rowOf(job.task_id);
    const there = before ? before.nextSibling : list.firstChild;
    if (there !== row) list.insertBefore(row, there);
    before = row;
  }
}

function rowOf(id) {
  if (!rows.has(id)) {
    const row = makeRow(jobs.get(id), {
      open: () => toggleDetails(id, row),
      cancel: () => attempt(() => cancelJob(id)),
      retry: () => attempt(() => call("POST", `/jobs/${id}/retry`)),
    });
    rows.set(id, row);
  }
  return rows.get(id);
}

async function cancelJob(id) {
  const answer = await call("DELETE", `/jobs/${id}`);
  const job = jobs.get(id);
  if (job && !FINAL.includes(job.status)) job.cancel_requested = answer.cancel_requested;
  changed.add(id);
  drawSoon();
}

// ---- why it waits, or stands still --------------------------------------------------------------------------

const ASKED = 10; // rows that say why: the first ones that can be seen
const STILL = 4_000; // milliseconds without a word after which a running job's worker is looked for
const whys = new Map(); // id → the sentence
const heardOf = new Map(); // id → when there was last news of the job

function isInQuestion(job) {
  const still = job.status === "processing" && Date.now() - heardOf.get(job.task_id) > STILL;
  return (isWaiting(job) || still) && rows.get(job.task_id)?.isConnected;
}

function canBeSeen(row) {
  const { top, bottom } = row.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

async function askWhy() {
  if (document.hidden || !isConnected() || find("view-jobs").hidden) return;
  const asked = [...rows.values()].filter(canBeSeen).map((row) => jobs.get(row.dataset.id));
  for (const { task_id: id, seq } of asked.filter((job) => job && isInQuestion(job)).slice(0, ASKED)) {
    const told = await call("GET", `/jobs/${id}/why`).catch(() => null);
    if (told && jobs.get(id)?.seq === seq && isInQuestion(jobs.get(id))) learnWhy(id, told);
  }
  drawSoon();
}

function learnWhy(id, told) {
  if (told.reason === "running" && told.facts.worker_alive) whys.delete(id);
  else if (told.reason !== "ended") whys.set(id, told.text[0].toUpperCase() + told.text.slice(1));
  changed.add(id);
}

export const askWhyNow = soon(askWhy, 50); // once the rows are drawn
const askWhySoon = soon(askWhy, 1200); // after an event: most jobs have begun by then

// ---- filters, search, older ones ----------------------------------------------------------------------------

function choose(chosen) {
  filter = chosen;
  for (const each of FILTERS) each.button.setAttribute("aria-pressed", each === chosen);
}

for (const each of FILTERS) {
  each.button = document.createElement("button");
  each.button.type = "button";
  each.count = Object.assign(document.createElement("span"), { className: "count" });
  each.button.append(each.name, " ", each.count);
  each.button.addEventListener("click", () => {
    choose(each);
    attempt(() => readList({ another: true }));
  });
  find("filters").append(each.button);
}
choose(filter);

export function drawFilterCounts(queues) {
  const everything = FILTERS.flatMap((each) => each.statuses);
  for (const each of FILTERS) {
    const statuses = each.statuses.length ? each.statuses : everything;
    const count = queues.reduce((sum, queue) => sum + statuses.reduce((all, status) => all + queue[status], 0), 0);
    each.count.textContent = count.toLocaleString();
  }
}

let typed = null;
find("search").addEventListener("input", ({ target }) => {
  clearTimeout(typed);
  typed = setTimeout(() => {
    search = target.value.trim();
    attempt(() => readList({ another: true }));
  }, 200);
});

find("more").addEventListener("click", () => attempt(readOlder));
