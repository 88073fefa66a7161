// Who runs the jobs: each worker process with its queues, what it runs now, and how it is.

import { find } from "./api.js";
import { drawer, made, moment, plural } from "./elements.js";

const LATE = 15_000; // milliseconds since the last heartbeat after which a worker is looked at with doubt

const draw = drawer(find("workers"));

export function drawWorkers(workers) {
  find("badge-workers").textContent = workers.length.toLocaleString();
  find("badge-workers").classList.toggle("trouble", workers.length === 0);
  find("no-workers").hidden = workers.length > 0;
  draw([...workers].sort((a, b) => (a.id < b.id ? -1 : 1)), workerItem);
}

function workerItem(worker) {
  const item = made("li", "worker");
  item.dataset.key = worker.id;
  item.append(
    made("div", "head", made("h3", "", `${worker.host} · ${worker.pid}`), made("span", "soft", worker.id), busy(worker)),
    facts(worker),
  );
  return item;
}

function busy({ running, slots }) {
  const meter = Object.assign(made("meter", ""), { max: slots, value: running.length });
  meter.setAttribute("aria-label", "Slots that are busy");
  return made("span", "busy", meter, `${running.length} of ${slots} slots busy`);
}

function facts(worker) {
  const beat = made("span", "", moment(worker.beat_at));
  if (Date.now() - new Date(worker.beat_at) > LATE) beat.className = "late";
  const told = {
    "Runs now": running(worker.running),
    Queues: tags(worker.queues),
    Engine: worker.engine,
    Memory: `${(worker.memory / 2 ** 20).toFixed(0)} MiB`,
    Version: worker.version,
    Tasks: plural(worker.tasks.length, "task", "tasks"),
    Started: moment(worker.started_at),
    Heartbeat: beat,
  };
  const list = made("dl", "facts");
  for (const [name, value] of Object.entries(told)) {
    list.append(made("div", "", made("dt", "", name), made("dd", "", value)));
  }
  return list;
}

const tags = (names) => made("span", "tags", ...names.map((name) => made("span", "tag", name)));

function running(ids) {
  if (ids.length === 0) return made("span", "soft", "nothing");
  const links = ids.map((id) => {
    const link = made("a", "tag", `…${id.slice(-6)}`);
    link.href = `#/jobs/${id}`;
    link.title = id;
    link.setAttribute("aria-label", `Job ${id.slice(-6)}`);
    return link;
  });
  return made("span", "tags", ...links);
}
