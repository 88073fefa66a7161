// Which part of the page is shown: `#/jobs`, `#/jobs/{id}`, `#/queues`, `#/workers`, `#/schedules`.

import { find } from "./api.js";

const VIEWS = ["jobs", "queues", "workers", "schedules"];
const ROUTE = /^#\/(\w+)(?:\/([\w-]+))?$/;

let shown = "jobs";
export const isShown = (view) => shown === view;

/** Follow the address from now on; `changed(view, subject)` is told of each view, the first one too. */
export function followAddress(changed) {
  const follow = () => {
    const [, view, subject] = ROUTE.exec(location.hash) ?? [];
    if (location.hash && !view) return; // an anchor within the page
    shown = VIEWS.includes(view) ? view : "jobs";
    for (const each of VIEWS) find(`view-${each}`).hidden = each !== shown;
    for (const link of find("views").children) {
      if (link.hash === `#/${shown}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    changed(shown, subject);
  };
  addEventListener("hashchange", follow);
  follow();
}
