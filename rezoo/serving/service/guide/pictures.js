// A picture for each product, drawn from its category: a shape and a colour.

const SVG = "http://www.w3.org/2000/svg";

/** Shapes on 48 × 48: `f` is filled, `s` is a line, `h` a light line on what is filled. */
const SHAPES = {
  scarf: [
    ["f", "M13 13c0-5 22-5 22 0v4c0 5-22 5-22 0z"],
    ["f", "M17 21l-3 17h7l3-16zM24 22l4 14h7l-5-15z"],
    ["h", "M16 15c3 2.5 13 2.5 16 0"],
  ],
  lamp: [
    ["f", "M17 9h14l6 16H11z"],
    ["s", "M24 25v12"],
    ["f", "M16 36h16a2 2 0 0 1 2 3H14a2 2 0 0 1 2-3z"],
  ],
  kettle: [
    ["f", "M13 39c-3-6-2-17 5-20h10c7 3 8 14 5 20z"],
    ["f", "M33 27l6-5 3 2-7 10zM21 16h4v3h-4z"],
    ["s", "M14 20c-1-15 19-15 18 0"],
  ],
  notebook: [
    ["f", "M14 8h19a2 2 0 0 1 2 2v28a2 2 0 0 1-2 2H14a2 2 0 0 1-2-2V10a2 2 0 0 1 2-2z"],
    ["h", "M18 8v32M23 17h8M23 23h8M23 29h5"],
  ],
  backpack: [
    ["s", "M19 12c0-7 10-7 10 0"],
    ["f", "M13 22c0-7 4-11 11-11s11 4 11 11v15a3 3 0 0 1-3 3H16a3 3 0 0 1-3-3z"],
    ["h", "M17 29h14v7H17zM20 20h8"],
  ],
  headphones: [
    ["s", "M11 30v-5a13 13 0 0 1 26 0v5"],
    ["f", "M9 28h6a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-2a4 4 0 0 1-4-4z"],
    ["f", "M39 28h-6a2 2 0 0 0-2 2v8a2 2 0 0 0 2 2h2a4 4 0 0 0 4-4z"],
  ],
  novel: [
    ["f", "M23 14c-4-4-9-4-14-3v25c5-1 10-1 14 2zM25 14c4-4 9-4 14-3v25c-5-1-10-1-14 2z"],
    ["h", "M13 17c2 0 4 0 6 1M13 23c2 0 4 0 6 1M35 17c-2 0-4 0-6 1M35 23c-2 0-4 0-6 1"],
  ],
  puzzle: [["f", "M11 17h8c-3-8 11-8 8 0h9v8c8-3 8 11 0 8v7H11v-8c8 3 8-11 0-8z"]],
  "running shoe": [
    ["f", "M8 31c0-7 1-12 3-16l7 3c2 6 8 10 15 11 5 1 8 3 8 7z"],
    ["f", "M8 36h33v2a2 2 0 0 1-2 2H10a2 2 0 0 1-2-2z"],
    ["h", "M20 21l-4 3M23 24l-3 4M27 27l-3 4"],
  ],
  tea: [
    ["f", "M11 20h23v8c0 7-5 11-11.500 11S11 35 11 28z"],
    ["s", "M34 23h3a4 4 0 0 1 0 9h-4M19 9c3 3-3 4 0 7M26 9c3 3-3 4 0 7"],
  ],
  "plant pot": [
    ["f", "M13 26h22l-3 14H16z"],
    ["s", "M24 26V14"],
    ["f", "M24 19c-8 1-12-3-12-9 7-1 12 2 12 9zM24 16c0-6 4-9 11-9 0 6-4 10-11 9z"],
  ],
  knife: [
    ["f", "M40 8c-2 11-10 19-21 24l-4-4z"],
    ["s", "M17 30l-8 8"],
  ],
};

/** Shapes of other categories. */
const OTHERS = [
  "M24 9a15 15 0 1 1 0 30 15 15 0 0 1 0-30z",
  "M12 11h24a2 2 0 0 1 2 2v22a2 2 0 0 1-2 2H12a2 2 0 0 1-2-2V13a2 2 0 0 1 2-2z",
  "M24 7l17 17-17 17L7 24z",
  "M24 8l14 8v16l-14 8-14-8V16z",
  "M24 8c9 11 13 15 13 20a13 13 0 0 1-26 0c0-5 4-9 13-20z",
];

/** A whole number that is always the same for a text. */
function digest(value) {
  let sum = 7;
  for (const letter of value) sum = (sum * 31 + letter.codePointAt(0)) % 1_000_003;
  return sum;
}

function drawn(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

/**
 * The picture of a product.
 * @param category its category, or what else it is told by
 * @param name what a screen reader says; nothing if it is empty
 */
export function picture(category, name) {
  const known = Object.keys(SHAPES).indexOf(category);
  const hue = known < 0 ? digest(category) % 360 : (known * 360) / 12 + 12;
  const node = drawn("svg", { viewBox: "0 0 48 48", class: "picture" });
  node.style.setProperty("--hue", hue);
  if (name) {
    node.setAttribute("role", "img");
    node.setAttribute("aria-label", name);
  } else node.setAttribute("aria-hidden", "true");
  const shapes = SHAPES[category] ?? [["f", OTHERS[digest(category) % OTHERS.length]]];
  for (const [kind, d] of shapes)
    node.append(drawn("path", { d, class: { f: "fill", s: "line", h: "light" }[kind] }));
  if (known < 0) {
    const letter = drawn("text", { x: 24, y: 30, class: "letter" });
    letter.textContent = [...category][0]?.toUpperCase() ?? "";
    node.append(letter);
  }
  return node;
}
