// The visit: who the shopper is to the service, what they told and chose, and how often each list had it.

const KEPT = "rezoo-guide-visit";

export const random = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(12)), (n) => n.toString(16).padStart(2, "0")).join("");
const fresh = () => ({ visitor: `guide-${random()}`, told: {}, chosen: [], left: [], asked: 0, hits: {} });

/** Outlives a reload of the page, in this tab. */
export let visit = restored();

function restored() {
  try {
    return { ...fresh(), ...JSON.parse(sessionStorage.getItem(KEPT)) };
  } catch {
    return fresh();
  }
}

export function keep() {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(visit));
  } catch {
    // then a reload begins a new visit
  }
}

export function restart() {
  visit = fresh();
  keep();
}

/** Note a choice. It is a hit of the lists that showed it; they leave out what was chosen before. */
export function note({ item, key, name, about }, columns) {
  if (!visit.chosen.some((one) => one.key === key)) {
    visit.asked++;
    for (const { id, shown } of columns)
      visit.hits[id] = (visit.hits[id] ?? 0) + shown.some((one) => one.key === key);
  }
  visit.chosen.push({ item, key, name, about });
  keep();
}
