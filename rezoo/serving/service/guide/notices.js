// What goes wrong, said at the top of the page, and tried again.

import { byId, make } from "./dom.js";
import { Refused, Unreachable } from "./service.js";
import { text } from "./text.js";

const AGAIN = 5; // seconds until what failed is tried again

const notices = new Map(); // by what is in trouble
const timers = new Map();

/**
 * Do `work`; where it fails, say so and do `again`: after some seconds, and when the shopper asks for it.
 * Tells whether it went well.
 */
export async function attempt(source, work, again) {
  clearTimeout(timers.get(source));
  try {
    await work();
    notices.delete(source);
  } catch (error) {
    const gone = error instanceof Unreachable;
    if (!gone && !(error instanceof Refused)) console.error(error);
    notices.set(source, { said: () => (gone ? text("down") : text("refused", error.message)), again });
    if (gone || error.status >= 500) timers.set(source, setTimeout(again, 1000 * AGAIN));
  }
  drawNotice();
  return !notices.has(source);
}

/** What says that the service is asked again in some seconds. */
export const waits = (source) => (seconds) => {
  notices.set(source, { said: () => text(source === "start" ? "starting" : "busy", Math.ceil(seconds)) });
  drawNotice();
};

export function tryAgain() {
  for (const { again } of [...notices.values()]) again?.();
}

export function drawNotice() {
  const place = byId("notice");
  const [first] = notices.values();
  const can = [...notices.values()].some(({ again }) => again);
  const told = first?.said() ?? "";
  place.hidden = !first;
  if (place.dataset.told === told + can) return; // so that it is not read out twice
  const inside = place.contains(document.activeElement);
  place.dataset.told = told + can;
  const button = make("button", { type: "button", textContent: text("retry"), onclick: tryAgain });
  place.replaceChildren(make("p", { textContent: told }), ...(can ? [button] : []));
  if (inside) (can ? button : byId("lists")).focus();
}
