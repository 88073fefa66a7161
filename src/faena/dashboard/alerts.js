// What needs a look, above everything else: jobs that nobody takes, queues and tasks that are paused.

import { clock, find } from "./api.js";
import { drawer, made, plural } from "./elements.js";
import { steerButton } from "./steering.js";

const draw = drawer(find("alerts"));

export function drawAlerts(queues, paused, workers) {
  const alerts = [...unserved(queues, workers), ...paused.map(pausedAlert)];
  find("alerts").hidden = alerts.length === 0;
  draw(alerts, alertItem);
}

function unserved(queues, workers) {
  const taken = new Set(workers.flatMap((worker) => worker.queues));
  const waits = (queue) => `${plural(queue.count, "job waits", "jobs wait")}`;
  if (workers.length === 0) {
    const count = queues.reduce((sum, queue) => sum + queue.count, 0);
    return count ? [{ key: "workers", text: `No worker takes jobs: ${waits({ count })}. Start one with “faena worker”.` }] : [];
  }
  return queues
    .filter((queue) => queue.count && !taken.has(queue.name))
    .map((queue) => ({ key: `queue ${queue.name}`, text: `No worker takes the queue ${queue.name}: ${waits(queue)}.` }));
}

function pausedAlert({ queue, task, since, waiting }) {
  const [what, name] = queue === null ? ["task", task] : ["queue", queue];
  const behind = waiting ? plural(waiting, "job waits behind it", "jobs wait behind it") : "no job waits behind it";
  return { key: `paused ${what} ${name}`, text: `The ${what} ${name} is paused since ${clock(since)}; ${behind}.`, what, name };
}

function alertItem({ key, text, what, name }) {
  const item = made("li", what ? "paused" : "trouble", made("span", "", text));
  item.dataset.key = key;
  if (what) item.append(steerButton("resume", what, name));
  return item;
}
