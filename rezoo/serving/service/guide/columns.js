// The lists side by side: of one or two models, and of what is popular.

import { card } from "./cards.js";
import { known } from "./catalogue.js";
import { byId, fill, make } from "./dom.js";
import { named, text, word } from "./text.js";
import { visit } from "./visit.js";

const CLOSE = 0.7; // share of the first reason's weight from which the second is told too

/** One list, with how often it had what was chosen next. */
export class Column {
  /**
   * @param id "a", "b" or "popular"
   * @param guide what the service says of its model; undefined for what is popular
   * @param letter before the model's name, where there are two
   */
  constructor(id, guide, letter = "") {
    Object.assign(this, { id, guide, letter, shown: [], entered: new Set(), similar: false });
    this.title = make("h2", { id: `list-${id}` });
    this.hint = make("p", { className: "hint" });
    this.score = make("p", { className: "score" });
    this.meter = make("span");
    const meter = make("div", { className: "meter", "aria-hidden": "true" }, this.meter);
    this.list = make("ol", { className: "list" });
    this.empty = make("p", { className: "empty", textContent: text("loading") });
    const head = make("header", {}, this.title, this.hint, this.score, meter);
    const section = make("section", { className: `column column-${id}` }, head, this.list, this.empty);
    section.setAttribute("aria-labelledby", this.title.id);
    byId("lists").append(section);
  }

  /** Show an answer. */
  show(items) {
    const before = new Set(this.shown.map(({ key }) => key));
    const changes = this.guide && before.size;
    this.shown = items.map((one) => ({ ...known(one), because: one.because }));
    this.entered = new Set(this.shown.map(({ key }) => key).filter((key) => changes && !before.has(key)));
    this.answered = true;
    this.draw();
  }

  /** Forget what was shown, so that nothing of the next list is new. */
  clear() {
    this.shown = [];
    this.entered = new Set();
  }

  draw() {
    const { guide, letter, shown, entered, similar } = this;
    this.title.textContent = guide ? [letter, guide.model].filter(Boolean).join(" · ") : text("popular");
    this.hint.textContent = text(guide ? "modelHint" : "popularHint");
    const cards = shown.map((one) =>
      card(one, { why: this.#reason(one), entered: entered.has(one.key), similar }),
    );
    fill(this.list, cards);
    this.empty.hidden = shown.length > 0;
    this.empty.textContent = text(this.answered ? "empty" : "loading");
    this.drawScore();
  }

  drawScore() {
    const hits = visit.hits[this.id] ?? 0;
    this.score.textContent = text("hits", hits, visit.asked);
    this.meter.style.width = visit.asked ? `${(100 * hits) / visit.asked}%` : "0";
  }

  /** Why the model has a product in its list. */
  #reason({ because = [] }) {
    if (!this.guide) return "";
    const [strongest] = because;
    const reasons = because
      .filter(({ weight }) => weight > 0 && weight >= CLOSE * strongest.weight)
      .slice(0, 2);
    if (reasons.length)
      return text(
        "because",
        reasons.map((one) => named(known(one).name)),
      );
    const told = this.guide.features
      .map(({ name }) => visit.told[name])
      .filter((value) => value !== undefined);
    return told.length && !visit.chosen.length ? text("told", told.map(word)) : "";
  }
}
