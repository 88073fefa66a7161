// Queues and tasks with their counts and switches, and since when what is paused is paused.

import { call, clock, find } from "./api.js";
import { button, capital, drawer, made } from "./elements.js";

const drawQueueRows = drawer(find("queues"));
const drawTaskRows = drawer(find("tasks"));

export function drawQueues(queues, paused) {
  drawQueueRows(queues.map((queue) => shown("queue", queue, paused)), steeredRow);
}

export function drawTasks(tasks, paused) {
  drawTaskRows(tasks.map((task) => shown("task", task, paused)), steeredRow);
}

export function drawPausedBadge(paused) {
  find("badge-queues").textContent = paused.length ? `${paused.length} paused` : "";
}

function shown(what, { name, count, processing, completed, failed }, pauses) {
  const since = pauses.find((one) => one[what] === name)?.since ?? null;
  return { what, name, since, counts: [count, processing, completed, failed] };
}

function steeredRow({ what, name, since, counts }) {
  const row = made("tr", since ? "paused" : "");
  row.dataset.key = name;
  const head = made("th", "", made("span", "name", name));
  head.scope = "row";
  if (since) head.append(" ", made("span", "state", `paused since ${clock(since)}`));
  row.append(head, ...counts.map(numberCell), made("td", "switch", steerButton(since ? "resume" : "pause", what, name)));
  row.role = "row"; // also where a narrow screen shows it as a block
  for (const cell of row.children) cell.role = cell === head ? "rowheader" : "cell";
  return row;
}

function numberCell(count, nth) {
  const cell = made("td", numberClass(nth, count), count.toLocaleString());
  cell.dataset.label = ["waiting", "running", "completed", "failed"][nth];
  return cell;
}

function numberClass(nth, count) {
  return ["number", nth === 2 ? "wider" : "", count ? ["", "running", "", "failing"][nth] : "none"].filter(Boolean).join(" ");
}

/** Return the switch of a queue or a task; `verb` is pause or resume. */
export function steerButton(verb, what, name) {
  return button(capital(verb), `${capital(verb)} the ${what} ${name}`, async () => {
    await call("POST", `/${verb}`, { [what]: name });
    document.dispatchEvent(new Event("steered"));
  });
}
