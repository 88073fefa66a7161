// What every part of the page uses: calls of the public API, how their errors are told, words for times and sizes.

export const find = (id) => document.getElementById(id);

export async function call(method, path, body) {
  const json = body !== undefined && !(body instanceof FormData);
  const response = await fetch(path, {
    method,
    headers: json ? { "content-type": "application/json" } : {},
    body: json ? JSON.stringify(body) : body,
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const error = new Error(answer.detail || `${method} ${path} was answered ${response.status}`);
    throw Object.assign(error, { status: response.status });
  }
  return answer;
}

export async function attempt(work) {
  try {
    await work();
    find("notice").hidden = true;
  } catch (error) {
    tell(error instanceof TypeError ? "The server does not answer." : error.message);
  }
}

function tell(words) {
  const notice = find("notice");
  notice.textContent = words;
  notice.hidden = false;
}

/** Return a function that has the work done once, soon, however often it is called; never twice at a time. */
export function soon(work, wait) {
  let timer = null;
  let busy = false;
  let wanted = false;
  const plan = () => {
    if (busy) wanted = true;
    else timer ??= setTimeout(run, wait);
  };
  const run = async () => {
    timer = null;
    busy = true;
    await work().catch(() => {}); // the connection's own state says that the server is gone
    busy = false;
    if (wanted) plan();
    wanted = false;
  };
  return plan;
}

const words = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "narrow" });
export function ago(time) {
  const seconds = (new Date(time) - Date.now()) / 1000;
  if (Math.abs(seconds) < 5) return "now";
  if (Math.abs(seconds) < 60) return words.format(Math.round(seconds), "second");
  if (Math.abs(seconds) < 3600) return words.format(Math.round(seconds / 60), "minute");
  if (Math.abs(seconds) < 86400) return words.format(Math.round(seconds / 3600), "hour");
  return words.format(Math.round(seconds / 86400), "day");
}

/** Return how long it was between two times, such as `40 ms`, `2.5 s`, `12 s`, `3 min`, `2.5 h`. */
export function span(from, to) {
  const seconds = Math.max(0, (new Date(to) - new Date(from)) / 1000);
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** Return a time of today as the clock shows it, any other with its date. */
export function clock(time) {
  const at = new Date(time);
  const today = at.toDateString() === new Date().toDateString();
  return today ? at.toLocaleTimeString() : at.toLocaleString();
}
