// The guide: what the shopper does, what the models are asked, and the page after each answer.

import { card, chosen } from "./cards.js";
import { categories, describe, isOf, keyOf, known } from "./catalogue.js";
import { Column } from "./columns.js";
import { byId, calm, fill, make, say } from "./dom.js";
import { drawFeatures } from "./features.js";
import { attempt, drawNotice, tryAgain, waits } from "./notices.js";
import { Lane, ask } from "./service.js";
import { named, speak, text, word, write } from "./text.js";
import { keep, note, random, restart, visit } from "./visit.js";

const K = 10; // places of a list
const PAGE = 24; // products of the shelf at once
const CHOSEN = 12; // choices that are shown, the newest

let guide; // what the service says of its first model
const models = []; // a column for each, with a lane of its own
let popular; // a column, or undefined
const only = new Set(); // categories
const shelf = { shown: [], asked: 0 };
const like = { shown: [] };

const columns = () => [...models, popular].filter(Boolean);

// What the models are asked.

/** The fields that both an event and a question for a list have, for one model. */
function question({ guide: { asks, features, exclude, k } }) {
  const asked = { visitor: visit.visitor, k: Math.min(K, k), seen: false };
  if (asks.includes("reasons")) asked.reasons = true;
  if (only.size) asked.filters = { [categories.column]: [...only] };
  if (visit.left.length) asked.exclude = visit.left.slice(-exclude);
  if (features.some(({ name }) => name in visit.told))
    asked.features = Object.fromEntries(features.map(({ name }) => [name, visit.told[name] ?? null]));
  return asked;
}

const listed = (model) =>
  attempt(
    model.id,
    () => model.lane.list(question(model)),
    () => listed(model),
  );

function sent(model, event) {
  return attempt(
    model.id,
    () => model.lane.event({ ...question(model), ...event }),
    () => listed(model),
  );
}

/** The next products of the shelf, from `start` on. */
async function loadShelf(start = 0) {
  const asked = ++shelf.asked;
  const query = new URLSearchParams({ start, limit: PAGE });
  if (only.size) query.set("filters", JSON.stringify({ [categories.column]: [...only] }));
  const work = async () => {
    const { items, columns, total } = await ask(`items?${query}`, { waits: waits("shelf") });
    if (asked !== shelf.asked) return;
    describe(columns);
    shelf.shown = [...shelf.shown.slice(0, start), ...items.map(known)];
    byId("more").hidden = shelf.shown.length >= total;
    byId("shelf").hidden = !total;
    drawShelf();
    drawChips();
  };
  await attempt("shelf", work, () => loadShelf(start));
}

// What the shopper does.

async function choose(product) {
  note(product, columns());
  drawVisit();
  drawPopular();
  const event = { item: product.item, type: "click", key: random() };
  const [done] = await Promise.all(models.map((model) => sent(model, event)));
  const [{ entered, shown }] = models;
  if (done) say(text("changed", named(product.name), entered.size, shown[0] && named(shown[0].name)));
}

async function refresh() {
  drawPopular();
  const [done] = await Promise.all(models.map(listed));
  const [{ shown }] = models;
  if (done) say(text("listed", shown.length, shown[0] && named(shown[0].name)));
}

function narrow(change) {
  change();
  drawChips();
  refresh();
  loadShelf();
}

function somethingElse() {
  const shown = columns().flatMap((column) => column.shown.map(({ item }) => item));
  visit.left = [...new Set([...visit.left, ...shown])].slice(-guide.exclude);
  keep();
  refresh();
}

function startOver() {
  models.forEach((model) => model.lane.forget());
  columns().forEach((column) => column.clear());
  restart();
  byId("like").hidden = true;
  narrow(() => only.clear());
  drawYou();
  drawVisit();
}

async function similar(product, button) {
  const path = `items/${encodeURIComponent(product.item)}/similar?k=${Math.min(K, guide.k)}`;
  const work = async () => {
    const { items } = await ask(path, { waits: waits("like") });
    Object.assign(like, { product, button, shown: items.map(known) });
    byId("like").hidden = false;
    drawLike();
    byId("like-title").focus();
    byId("like").scrollIntoView({ block: "nearest", behavior: calm.matches ? "auto" : "smooth" });
  };
  await attempt("like", work, () => similar(product, button));
}

function closeLike() {
  byId("like").hidden = true;
  (like.button.isConnected ? like.button : byId("lists")).focus();
}

// The page.

function drawPopular() {
  const left = new Set([...visit.chosen.map(({ key }) => key), ...visit.left.map(keyOf)]);
  const fits = (product) => !left.has(product.key) && isOf(product, only);
  popular?.show(guide.popular.filter((one) => fits(known(one))).slice(0, K));
}

/** What was chosen, and in which lists it stood. */
function drawVisit() {
  columns().forEach((column) => column.drawScore());
  fill(byId("chosen"), visit.chosen.slice(-CHOSEN).reverse().map(chosen));
  byId("visit").hidden = !visit.chosen.length;
  byId("you").hidden = visit.chosen.length > 0 || !byId("features").children.length;
}

function drawYou() {
  const all = new Map(models.flatMap(({ guide }) => guide.features.map((one) => [one.name, one])));
  drawFeatures(
    [...all.values()].filter(({ kind }) => kind !== "other"),
    refresh,
  );
}

function drawChips() {
  const chip = (value, pressed, change) => {
    const label = value === null ? text("everything") : word(value);
    const node = make("button", {
      type: "button",
      className: "chip",
      textContent: label,
      "aria-pressed": String(pressed),
    });
    node.onclick = () => narrow(change);
    return node;
  };
  const toggle = (value) => () => only.delete(value) || only.add(value);
  const place = byId("categories");
  const active = [...place.children].indexOf(document.activeElement);
  const chips = categories.values.map((value) => chip(value, only.has(value), toggle(value)));
  place.hidden = !chips.length;
  place.replaceChildren(
    chip(null, !only.size, () => only.clear()),
    ...chips,
  );
  place.children[active]?.focus();
}

function drawLike() {
  if (byId("like").hidden) return;
  byId("like-title").textContent = text(like.shown.length ? "like" : "likeNone", named(like.product.name));
  fill(
    byId("like-items"),
    like.shown.map((one) => card(one, { similar: guide.similar })),
  );
}

const drawShelf = () =>
  fill(
    byId("shelf-items"),
    shelf.shown.map((one) => card(one, { similar: guide.similar })),
  );

function drawAll() {
  write();
  drawNotice();
  if (!guide) return;
  drawYou();
  drawVisit();
  drawChips();
  drawPopular();
  models.forEach((model) => model.draw());
  drawLike();
  drawShelf();
}

// The beginning.

function addModel(about, prefix, id, letter) {
  const model = new Column(id, about, letter);
  model.similar = guide.similar;
  model.lane = new Lane(prefix, (items) => model.show(items), waits(id));
  models.push(model);
}

async function begin() {
  const patient = { tries: Infinity, waits: waits("start") };
  const work = async () => {
    const first = await ask("guide.json", patient);
    const second = first.beside && (await ask(`${first.beside}guide.json`, patient));
    if (guide) return; // asked twice
    guide = first;
    addModel(first, "", "a", second ? "A" : "");
    if (second) addModel(second, first.beside, "b", "B");
    if (first.popular) popular = Object.assign(new Column("popular"), { similar: guide.similar });
    byId("lists").classList.add(`lists-${columns().length}`);
  };
  if (!(await attempt("start", work, begin))) return;
  drawAll();
  refresh();
  loadShelf();
}

for (const button of document.querySelectorAll("[data-language]"))
  button.onclick = () => {
    speak(button.dataset.language);
    drawAll();
  };
document.addEventListener("choose", ({ detail }) => choose(detail));
document.addEventListener("similar", ({ detail, target }) => similar(detail, target));
byId("over").onclick = startOver;
byId("else").onclick = somethingElse;
byId("close").onclick = closeLike;
byId("more").onclick = () => loadShelf(shelf.shown.length);
addEventListener("online", tryAgain);
write();
begin();
