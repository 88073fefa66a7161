// What can be asked for from the page: a picture to process, a job to try, a command to copy.

import { attempt, call, find } from "./api.js";

export async function offer() {
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
