// What every part of the page uses: calls of the public API, how their errors are told, words for times.

export const find = (id) => document.getElementById(id);

export async function call(method, path, body) {
  const json = body !== undefined && !(body instanceof FormData);
  const response = await fetch(path, {
    method,
    headers: json ? { "content-type": "application/json" } : {},
    body: json ? JSON.stringify(body) : body,
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail || `${method} ${path} was answered ${response.status}`);
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

export function soon(work, wait) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      work().catch(() => {}); // the connection's own state says that the server is gone
    }, wait);
  };
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
