// Small makers of elements. Text comes from strangers: it is only ever set as `textContent`.

import { ago, attempt } from "./api.js";

/** Return an element; `parts` are strings and elements. */
export function made(kind, className, ...parts) {
  const element = document.createElement(kind);
  if (className) element.className = className;
  element.append(...parts);
  return element;
}

/** Return a `<time>` that shows how long ago it was, or how soon it is. */
export function moment(time) {
  const element = made("time", "", ago(time));
  element.dateTime = time;
  element.title = new Date(time).toLocaleString();
  element.dataset.ago = "";
  return element;
}

/** Return a button; while its work goes on it takes no further click, and keeps the focus. */
export function button(words, label, work) {
  const element = made("button", "", words);
  element.type = "button";
  element.setAttribute("aria-label", label);
  element.addEventListener("click", async () => {
    if (element.ariaDisabled === "true") return;
    element.ariaDisabled = "true";
    await attempt(work);
    element.ariaDisabled = "false";
  });
  return element;
}

/** Return a function that draws a container's children anew when what they show has changed: nothing flickers, and the
 * focus stays where it was (children name themselves by `data-key`). */
export function drawer(container) {
  let shown = null;
  return (things, draw) => {
    const now = JSON.stringify(things);
    if (now === shown) return;
    shown = now;
    const focused = container.contains(document.activeElement) ? document.activeElement : null;
    const key = focused?.closest("[data-key]")?.dataset.key;
    const nth = focused ? switches(focused.closest("[data-key]")).indexOf(focused) : -1;
    container.replaceChildren(...things.map(draw));
    if (!focused) return;
    const again = [...container.children].find((child) => child.dataset.key === key);
    (switches(again)[nth] ?? document.getElementById("main")).focus({ preventScroll: true });
  };
}

function switches(element) {
  return element ? [...element.querySelectorAll("button, a")] : [];
}

export function capital(word) {
  return word[0].toUpperCase() + word.slice(1);
}

export function plural(number, one, many) {
  return `${number.toLocaleString()} ${number === 1 ? one : many}`;
}

setInterval(() => {
  for (const time of document.querySelectorAll("time[data-ago]")) time.textContent = ago(time.dateTime);
}, 5000);
