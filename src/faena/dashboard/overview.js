// What the processes and the queues are up to: read again while somebody looks, and told to each part that shows it.

import { call, soon } from "./api.js";
import { drawAlerts } from "./alerts.js";
import { isConnected } from "./connection.js";
import { askWhyNow, drawFilterCounts } from "./jobs.js";
import { drawSchedules } from "./schedules.js";
import { drawPausedBadge, drawQueues, drawTasks } from "./steering.js";
import { isShown } from "./views.js";
import { drawWorkers } from "./workers.js";

const LOOK_AGAIN = 5_000;

const lookAtTasks = () => (isShown("queues") ? call("GET", "/tasks") : { tasks: [] });

/** Read and show everything. */
export async function lookAround() {
  const [{ queues }, { tasks }, { paused }, { workers }, { schedules }] = await Promise.all([
    call("GET", "/queues"),
    lookAtTasks(),
    call("GET", "/paused"),
    call("GET", "/workers"),
    call("GET", "/schedules"),
  ]);
  drawFilterCounts(queues);
  drawPausedBadge(paused);
  drawQueues(queues, paused);
  drawTasks(tasks, paused);
  drawWorkers(workers);
  drawSchedules(schedules);
  drawAlerts(queues, paused, workers);
}

/** What changes with every job is all that is read while many come; pauses, workers and schedules seldom change. */
async function lookAtCounts() {
  drawFilterCounts((await call("GET", "/queues")).queues);
}

export const countSoon = soon(() => (isShown("jobs") ? lookAtCounts() : lookAround()), 400);

/** Look around, if somebody looks and there is a server to ask. */
export function lookAgain() {
  if (document.hidden || !isConnected()) return;
  askWhyNow();
  lookAround().catch(() => {});
}

setInterval(lookAgain, LOOK_AGAIN);
document.addEventListener("visibilitychange", lookAgain);

/** Something was paused, resumed or run from here: show it, and what it changed for the jobs that wait. */
document.addEventListener("steered", () => {
  askWhyNow();
  lookAround().catch(() => {});
});
