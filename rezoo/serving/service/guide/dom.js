// Elements of the page.

export const byId = (id) => document.getElementById(id);
export const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** An element with properties or attributes, and children; texts are never read as HTML. */
export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties))
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  node.append(...children.filter(Boolean));
  return node;
}

/** Let a screen reader say something. */
export const say = (told) => (byId("said").textContent = told);

/** Put cards into a list: what stays moves to its new place, and the focus stays where it was. */
export function fill(list, cards) {
  const active = list.contains(document.activeElement) ? document.activeElement : null;
  const from = active?.closest("li");
  const place = [...list.children].indexOf(from);
  const before = new Map([...list.children].map((one) => [one.dataset.key, one.offsetTop]));
  list.replaceChildren(...cards);
  if (active) {
    const same =
      cards.find((one) => one.dataset.key === from.dataset.key) ?? cards[Math.min(place, cards.length - 1)];
    const target = same?.querySelector(`.${active.className}`) ?? byId("lists");
    target.focus({ preventScroll: true });
  }
  if (before.size && !calm.matches) cards.forEach((one) => move(one, before.get(one.dataset.key)));
}

function move(node, was) {
  const from =
    was === undefined
      ? { opacity: 0, transform: "translateY(.5rem)" }
      : { transform: `translateY(${was - node.offsetTop}px)` };
  node.animate([from, {}], { duration: 300, easing: "cubic-bezier(.2, .8, .2, 1)" });
}
