// One job's row in the list.

import { ago, clock, find, span } from "./api.js";
import { drawResult } from "./pictures.js";

export const FINAL = ["completed", "failed", "cancelled"];

export const isWaiting = ({ status }) => status === "pending" || status === "scheduled";

export function makeRow(job, actions) {
  const row = find("job").content.firstElementChild.cloneNode(true);
  const part = (name) => row.querySelector(`.${name}`);
  const short = job.task_id.slice(-6);
  row.dataset.id = job.task_id;
  part("task").textContent = job.task;
  part("task").title = `Details of ${job.task}`;
  part("queue").textContent = job.queue;
  part("id").textContent = `…${short}`;
  part("id").title = job.task_id;
  part("id").setAttribute("aria-label", `Link to ${job.task} ${short}`);
  part("id").href = `#/jobs/${job.task_id}`;
  part("details").id = `details-${job.task_id}`;
  part("task").setAttribute("aria-controls", part("details").id);
  part("track").setAttribute("aria-label", `Progress of ${job.task} ${short}`);
  part("cancel").setAttribute("aria-label", `Cancel ${job.task} ${short}`);
  part("retry").setAttribute("aria-label", `Run ${job.task} ${short} again`);
  part("task").addEventListener("click", actions.open);
  part("cancel").addEventListener("click", actions.cancel);
  part("retry").addEventListener("click", actions.retry);
  return row;
}

/** Draw what is known of a job; `why` is the sentence that says what holds it, if there is one. */
export function drawRow(row, job, why) {
  const part = (name) => row.querySelector(`.${name}`);
  const ended = FINAL.includes(job.status);
  const percent = Math.round(job.progress);
  const still = job.status === "processing" && why !== undefined;
  row.dataset.status = job.status;
  row.toggleAttribute("data-still", still);
  part("status").textContent = job.cancel_requested && !ended ? "stopping" : still ? "no news" : job.status;
  part("fill").style.setProperty("--progress", job.progress);
  part("track").classList.toggle("nothing", ended && percent === 0);
  part("track").setAttribute("aria-valuenow", percent);
  part("track").setAttribute("aria-valuetext", `${job.status}, ${percent} %`);
  part("percent").textContent = job.status === "processing" || (percent > 0 && !ended) ? `${percent} %` : "";
  part("message").textContent = why ?? messageOf(job);
  part("cancel").hidden = ended;
  part("cancel").disabled = job.cancel_requested;
  part("retry").hidden = !ended;
  drawWhen(part("when"), job);
  drawResult(job, part("result"));
}

function drawWhen(when, job) {
  const due = job.status === "scheduled" ? job.due_at : null;
  when.dateTime = due ?? job.finished_at ?? job.started_at ?? job.created_at;
  when.dataset.ago = "";
  when.textContent = ago(when.dateTime);
  const what = due ? "due" : job.finished_at ? "ended" : job.started_at ? "started" : "enqueued";
  when.title = `${what} ${new Date(when.dateTime).toLocaleString()}`;
}

function messageOf(job) {
  const attempts = job.attempt > 1 ? `attempt ${job.attempt} of ${job.max_attempts}` : "";
  const waits = job.status === "scheduled" ? `due ${clock(job.due_at)}` : "";
  const took = job.finished_at && job.started_at ? `took ${span(job.started_at, job.finished_at)}` : "";
  const told = job.error?.message ? `${job.error.type}: ${job.error.message}` : job.error?.type;
  const message = (job.status === "completed" ? "" : told) || job.message || "";
  return [message, waits, attempts, job.status === "failed" ? "" : took].filter(Boolean).join(" · ");
}
