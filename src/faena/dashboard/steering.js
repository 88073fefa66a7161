// Queues with their switches, and schedules. What is paused is told by `GET /queues` and `GET /schedules`.

import { ago, attempt, call, find } from "./api.js";

const LOOK_AGAIN = 15_000;

export const whyOf = (id) => call("GET", `/jobs/${id}/why`);

// ---- queues -------------------------------------------------------------------------------------------------

let queuesShown = "";

export function drawQueues(queues) {
  const now = JSON.stringify(queues.map(({ name, count, processing, paused }) => [name, count, processing, paused]));
  if (now === queuesShown) return; // nothing flickers, and no focus is lost
  queuesShown = now;
  const list = find("queues");
  const focused = document.activeElement?.closest("#queues li")?.dataset.queue;
  list.replaceChildren(...queues.map(queueItem));
  list.hidden = queues.length === 0;
  if (focused !== undefined) [...list.children].find((item) => item.dataset.queue === focused)?.lastChild.focus();
}

function queueItem(queue) {
  const item = document.createElement("li");
  item.dataset.queue = queue.name;
  item.classList.toggle("paused", queue.paused);
  const waits = queue.paused ? `paused, ${count(queue)}` : count(queue);
  item.append(text("strong", queue.name), text("span", waits), queueSwitch(queue));
  return item;
}

function count(queue) {
  return queue.count ? `${queue.count.toLocaleString()} waiting` : "none waiting";
}

function queueSwitch(queue) {
  const verb = queue.paused ? "resume" : "pause";
  const path = `/queues/${encodeURIComponent(queue.name)}/${verb}`;
  return button(capital(verb), `${capital(verb)} the queue ${queue.name}`, async () => {
    await call("POST", path);
    document.dispatchEvent(new Event("steered")); // the reasons of waiting jobs change with it
    drawQueues((await call("GET", "/queues")).queues);
  });
}

// ---- schedules ----------------------------------------------------------------------------------------------

let schedulesShown = "";

export async function lookAtSteering() {
  drawSchedules((await call("GET", "/schedules")).schedules);
}

function drawSchedules(schedules) {
  find("schedules").hidden = schedules.length === 0;
  find("schedule-count").textContent = schedules.length.toLocaleString();
  const next = schedules.filter((one) => one.next_at && !one.paused).sort((a, b) => (a.next_at < b.next_at ? -1 : 1))[0];
  find("schedule-next").textContent = next ? `· next: ${next.name} ${ago(next.next_at)}` : "";
  const now = JSON.stringify(schedules);
  if (now === schedulesShown) return;
  schedulesShown = now;
  find("schedule-list").replaceChildren(...schedules.map(scheduleItem));
}

function scheduleItem(schedule) {
  const item = document.createElement("li");
  item.dataset.schedule = schedule.name;
  item.classList.toggle("paused", schedule.paused);
  const rhythm = schedule.every ? `every ${schedule.every} s` : `${schedule.cron} ${schedule.timezone}`;
  const actions = text("span", "");
  actions.className = "actions";
  actions.append(scheduleSwitch(schedule), scheduleRun(schedule));
  item.append(text("strong", schedule.name), text("span", `${schedule.task} · ${rhythm}`), nextRun(schedule), actions);
  return item;
}

function nextRun(schedule) {
  if (schedule.paused) return text("span", "paused");
  if (!schedule.next_at) return text("span", "no next run");
  const time = text("time", new Date(schedule.next_at).toLocaleString());
  time.dateTime = schedule.next_at;
  return time;
}

function scheduleSwitch({ name, paused }) {
  const verb = paused ? "resume" : "pause";
  return button(capital(verb), `${capital(verb)} the schedule ${name}`, () => steer(name, verb));
}

function scheduleRun({ name }) {
  return button("Run now", `Run the schedule ${name} now`, () => steer(name, "run"));
}

async function steer(name, verb) {
  await call("POST", `/schedules/${encodeURIComponent(name)}/${verb}`);
  await lookAtSteering();
}

setInterval(() => {
  if (!document.hidden) lookAtSteering().catch(() => {});
}, LOOK_AGAIN);

// ---- elements -----------------------------------------------------------------------------------------------

function text(kind, words) {
  return Object.assign(document.createElement(kind), { textContent: words });
}

function button(words, label, work) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: words });
  made.setAttribute("aria-label", label);
  made.addEventListener("click", async () => {
    made.disabled = true;
    await attempt(work);
    made.disabled = false;
  });
  return made;
}

function capital(word) {
  return word[0].toUpperCase() + word.slice(1);
}
