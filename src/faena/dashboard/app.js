// The page at `/`: a client of the public API only. It listens to the channel `jobs` of `WS /ws`, then reads what there
// is, and joins the two.

import { attempt } from "./api.js";
import { stayConnected } from "./connection.js";
import { askWhyNow, hear, readList, showJob } from "./jobs.js";
import { countSoon, lookAgain, lookAround } from "./overview.js";
import { offer } from "./start.js";
import { followAddress } from "./views.js";

followAddress((view, subject) => {
  if (view === "jobs" && subject) attempt(() => showJob(subject));
  else lookAgain();
});

stayConnected({
  live() {
    readList().then(askWhyNow, () => {});
    lookAround().catch(() => {});
    offer().catch(() => {});
  },
  lagged() {
    readList().catch(() => {});
  },
  hear(message) {
    hear(message);
    if (message.event.type === "status") countSoon();
  },
});
