// Schedules: when each goes next, with a switch, and a button that runs it now.

import { call, clock, find } from "./api.js";
import { button, capital, drawer, made } from "./elements.js";

const draw = drawer(find("schedules"));

export function drawSchedules(schedules) {
  find("badge-schedules").textContent = schedules.length ? schedules.length.toLocaleString() : "";
  find("no-schedules").hidden = schedules.length > 0;
  draw(schedules, scheduleItem);
}

function scheduleItem(schedule) {
  const item = made("li", schedule.paused ? "paused" : "");
  item.dataset.key = schedule.name;
  const rhythm = schedule.every ? `every ${period(schedule.every)}` : `${schedule.cron} ${schedule.timezone}`;
  item.append(
    made("div", "what", made("strong", "", schedule.name), made("span", "soft", `${schedule.task} · ${rhythm}`)),
    made("div", "next soft", nextRun(schedule), lastRun(schedule)),
    made("span", "actions", scheduleSwitch(schedule), scheduleRun(schedule)),
  );
  return item;
}

function period(seconds) {
  if (seconds % 3600 === 0) return seconds === 3600 ? "hour" : `${seconds / 3600} h`;
  if (seconds % 60 === 0) return seconds === 60 ? "minute" : `${seconds / 60} min`;
  return `${seconds} s`;
}

function nextRun(schedule) {
  if (schedule.paused) return made("span", "state", "paused");
  if (!schedule.next_at) return made("span", "", "no next run");
  return made("span", "", `next ${clock(schedule.next_at)}`);
}

function lastRun(schedule) {
  if (!schedule.last_at) return made("span", "", "has not run yet");
  const last = made("span", "", `last ${clock(schedule.last_at)}`);
  if (!schedule.last_job) return last;
  const link = made("a", "", `last ${clock(schedule.last_at)}`);
  link.href = `#/jobs/${schedule.last_job}`;
  return link;
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
  document.dispatchEvent(new Event("steered"));
}
