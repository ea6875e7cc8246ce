// What a stranger may tell before the first choice: age band, taste, whatever the models take.

import { byId, make } from "./dom.js";
import { label, text, word } from "./text.js";
import { keep, visit } from "./visit.js";

/** A group of radio buttons, or a number field, for each feature; `told()` is called after each change. */
export function drawFeatures(features, told) {
  const active = document.activeElement?.id;
  const choose = (name, value) => {
    if (value === null) delete visit.told[name];
    else visit.told[name] = value;
    keep();
    told();
  };
  const groups = features.map((one) => (one.kind === "number" ? field(one, choose) : group(one, choose)));
  byId("features").replaceChildren(...groups);
  if (active) byId(active)?.focus();
}

function field({ name }, choose) {
  const input = make("input", {
    id: `feature-${name}`,
    type: "number",
    step: "any",
    value: visit.told[name] ?? "",
  });
  input.onchange = () => choose(name, input.value === "" ? null : Number(input.value));
  return make("label", { className: "feature" }, make("span", { textContent: label(name) }), input);
}

function group({ name, values }, choose) {
  const chips = [null, ...inOrder(values)].map((value, n) => {
    const radio = make("input", { id: `feature-${name}-${n}`, type: "radio", name: `feature-${name}` });
    radio.checked = (visit.told[name] ?? null) === value;
    radio.onchange = () => choose(name, value);
    const said = make("span", { textContent: value === null ? text("anyone") : word(value) });
    return make("label", { className: "chip" }, radio, said);
  });
  const legend = make("legend", { textContent: label(name) });
  return make("fieldset", { className: "feature" }, legend, make("div", { className: "chips" }, ...chips));
}

/** "under 25" before "25-34", and numbers as numbers; other texts as they come. */
function inOrder(values) {
  const least = (value) => (/^under\b/.test(value) ? -Infinity : parseFloat(value));
  return values.some((value) => Number.isNaN(least(value)))
    ? values
    : [...values].sort((a, b) => least(a) - least(b));
}
