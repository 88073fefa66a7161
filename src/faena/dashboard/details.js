// What is below a job's row when it is opened: its facts, arguments, result or error, and its events as they come.

import { call, clock, soon, span } from "./api.js";
import { made } from "./elements.js";

const SHOWN = 100; // events; the newest ones

const open = new Map(); // id → { place, job, events, gap, freshen }

export const isOpen = (id) => open.has(id);

export function toggleDetails(id, row) {
  const place = row.querySelector(".details");
  const opens = !open.has(id);
  place.hidden = !opens;
  row.querySelector(".task").setAttribute("aria-expanded", opens);
  if (!opens) {
    open.delete(id);
    return;
  }
  place.replaceChildren(made("p", "soft", "Reading…"));
  const opened = { place, job: null, events: [], gap: false };
  opened.freshen = soon(() => read(id, opened), 300);
  open.set(id, opened);
  read(id, opened).catch((error) => place.replaceChildren(made("p", "soft", error.message)));
}

export function forgetDetails(id) {
  open.delete(id);
}

/** There is news of a job up to `seq`: if it is open, read what is missing. */
export function freshenDetails(id, seq) {
  const opened = open.get(id);
  if (opened && (opened.job === null || seq > opened.job.seq)) opened.freshen();
}

async function read(id, opened) {
  const last = opened.events.at(-1)?.seq ?? 0;
  const [job, story] = await Promise.all([call("GET", `/jobs/${id}`), call("GET", `/jobs/${id}/events?after=${last}`)]);
  opened.job = job;
  opened.gap ||= story.gap;
  const later = story.events.filter((event) => event.seq > (opened.events.at(-1)?.seq ?? 0));
  opened.events = [...opened.events, ...later];
  if (open.get(id) === opened) draw(opened);
}

function draw({ place, job, events, gap }) {
  const parts = [facts(job), block("Arguments", json(job.args))];
  if (job.error) parts.push(block("Error", job.error.traceback || `${job.error.type}: ${job.error.message}`));
  if (job.status === "completed") parts.push(block("Result", json(job.result)));
  parts.push(eventList(events, gap));
  const scrolled = [...place.querySelectorAll("pre, ol")].map((element) => element.scrollTop);
  place.replaceChildren(...parts);
  [...place.querySelectorAll("pre, ol")].forEach((element, nth) => (element.scrollTop = scrolled[nth] ?? 0));
}

function facts(job) {
  const told = {
    Id: job.task_id,
    Key: job.key,
    User: job.user,
    "Runs again": job.origin,
    Priority: job.priority || null,
    Attempt: job.attempt ? `${job.attempt} of ${job.max_attempts}` : null,
    Crashes: job.crashes || null,
    Worker: job.worker,
    Enqueued: clock(job.created_at),
    Due: job.status === "scheduled" ? clock(job.due_at) : null,
    Waited: job.started_at && job.attempt === 1 && !job.crashes ? span(job.created_at, job.started_at) : null,
    Started: job.started_at && clock(job.started_at),
    Ended: job.finished_at && clock(job.finished_at),
    Took: job.started_at && job.finished_at ? span(job.started_at, job.finished_at) : null,
  };
  const list = made("dl", "facts");
  for (const [name, value] of Object.entries(told)) {
    if (value === null || value === undefined) continue;
    list.append(made("div", "", made("dt", "", name), made("dd", "", String(value))));
  }
  return list;
}

function block(title, words) {
  const shown = made("pre", "", words);
  shown.tabIndex = 0; // who has no mouse scrolls it too
  shown.setAttribute("aria-label", title);
  return made("div", "block", made("h4", "", title), shown);
}

const json = (value) => JSON.stringify(value, null, 2);

function eventList(events, gap) {
  const told = events.filter((event, nth) => !isOutdated(event, events[nth + 1]));
  const list = made("ol", "events", ...told.slice(-SHOWN).reverse().map(eventItem));
  list.tabIndex = 0;
  list.setAttribute("aria-label", "Events, newest first");
  const earlier = gap || told.length > SHOWN ? " (the newest)" : "";
  return made("div", "block", made("h4", "", `Events${earlier}`), list);
}

/** Whether an event only tells less of the progress than the next one. */
function isOutdated(event, next) {
  return event.type === "progress" && next?.type === "progress" && event.message === next.message;
}

function eventItem(event) {
  const what = { status: event.status, progress: `${Math.round(event.progress)} %` }[event.type] ?? event.event;
  const data = event.data === null || event.data === undefined ? "" : JSON.stringify(event.data);
  const time = made("time", "", new Date(event.at).toLocaleTimeString());
  time.dateTime = event.at;
  const told = [event.message, data].filter(Boolean).join(" ");
  const item = made("li", "", time, made("strong", "", what ?? event.type), made("span", "", told));
  item.dataset.type = event.type;
  return item;
}
