// A product on the page: its picture, name, price and category, why it is there, and what can be done.

import { categoryOf } from "./catalogue.js";
import { make } from "./dom.js";
import { picture } from "./pictures.js";
import { named, number, text, word } from "./text.js";

let numbers = 0;

/**
 * A product that can be chosen. Tells the page by the events `choose` and, if it can be asked for products
 * like this one, `similar`; their `detail` is the product.
 */
export function card(product, { why = "", entered = false, similar = false } = {}) {
  const category = categoryOf(product);
  const { price } = product.about;
  const facts = make("p", { className: "facts" });
  if (typeof price === "number")
    facts.append(make("span", { className: "price", textContent: number(price) }));
  if (category !== undefined) facts.append(make("span", { textContent: word(category) }));
  if (entered) facts.append(make("span", { className: "badge", textContent: text("entered") }));
  const more = make(
    "div",
    { id: `product-${++numbers}` },
    facts,
    why && make("p", { className: "why", textContent: why }),
  );
  const choice = make("button", { type: "button", className: "choose", textContent: named(product.name) });
  choice.setAttribute("aria-describedby", more.id);
  const node = make("li", { className: "product", "data-key": product.key });
  node.append(sketch(product), make("div", { className: "text" }, choice, more));
  if (similar) {
    const like = make("button", { type: "button", className: "similar", textContent: text("similar") });
    like.setAttribute("aria-label", text("like", named(product.name)));
    node.append(like);
  }
  for (const button of node.querySelectorAll("button"))
    button.onclick = () =>
      button.dispatchEvent(new CustomEvent(button.className, { detail: product, bubbles: true }));
  return node;
}

/** A product that was chosen. */
export function chosen(product) {
  const name = make("span", { textContent: named(product.name) });
  return make("li", { "data-key": product.key }, sketch(product, false), name);
}

function sketch(product, spoken = true) {
  const category = categoryOf(product);
  return picture(String(category ?? product.name), spoken && category !== undefined ? word(category) : "");
}
