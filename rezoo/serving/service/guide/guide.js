// The guide: what the shopper chose, the lists that answer it, and how often each list had the next choice.

import { byId, calm, fill, make, say } from "./dom.js";
import { attempt, drawNotice, tryAgain, waits } from "./notices.js";
import { picture } from "./pictures.js";
import { Lane, ask } from "./service.js";
import { label, named, number, speak, text, word, write } from "./text.js";
import { keep, keyOf, known, note, random, restart, visit } from "./visit.js";

const K = 10; // places of a list
const PAGE = 24; // products of the shelf at once
const CLOSE = 0.7; // share of the first reason's weight from which the second is told too
const SHORT = 60; // values of a column that can be chips, at most

let guide; // what the service says of its first model
let columns = []; // the lists side by side
let only = new Set(); // categories
const shelf = { column: null, values: [], start: 0, asked: 0 };

const categoryOf = (product) => {
  const value = product.about?.[shelf.column ?? "category"];
  return Array.isArray(value) ? value[0] : value;
};

// ---------------------------------------------------------------- questions

/** The fields that both an event and a question for a list have, for one model. */
function question(column) {
  const { asks, features, exclude } = column.guide;
  const asked = { visitor: visit.visitor, k: Math.min(K, column.guide.k), seen: false };
  if (asks.includes("reasons")) asked.reasons = true;
  if (asks.includes("filters") && only.size) asked.filters = { [shelf.column]: [...only] };
  if (visit.left.length) asked.exclude = visit.left.slice(-exclude);
  if (features.some(({ name }) => name in visit.told))
    asked.features = Object.fromEntries(features.map(({ name }) => [name, visit.told[name] ?? null]));
  return asked;
}

const models = () => columns.filter((column) => column.lane);
const listed = (column) => attempt(column.id, () => column.lane.list(question(column)), () => listed(column));
const refresh = () => Promise.all(models().map(listed));

// ---------------------------------------------------------------- what the shopper does

async function choose(product) {
  note(product, columns);
  drawVisit();
  drawPopular();
  columns.forEach(drawScore);
  const event = { item: product.item, type: "click", key: random() };
  const [sent] = await Promise.all(
    models().map((one) => attempt(one.id, () => one.lane.event({ ...question(one), ...event }), () => listed(one))),
  );
  if (!sent) return;
  const { entered, shown } = columns[0];
  say(text("changed", named(product.name), entered.size, shown[0] && named(shown[0].name)));
}

async function change(work) {
  work();
  keep();
  drawGuidance();
  drawPopular();
  await Promise.all([refresh(), loadShelf(0)]);
  const { shown } = columns[0];
  say(text("listed", shown.length, shown[0] && named(shown[0].name)));
}

function somethingElse() {
  change(() => {
    const shown = columns.flatMap((column) => column.shown).map(({ item }) => item);
    visit.left = [...new Set([...visit.left, ...shown])].slice(-guide.exclude);
  });
}

function startOver() {
  columns.forEach((column) => {
    column.lane?.forget();
    column.shown = [];
    column.entered = new Set();
  });
  restart();
  byId("like").hidden = true;
  change(() => only.clear());
  drawFeatures();
  drawVisit();
  columns.forEach(drawScore);
}

async function more(product, button) {
  const place = byId("like");
  await attempt("like", async () => {
    const told = await ask(`items/${encodeURIComponent(product.item)}/similar?k=${K}`, { waits: waits("like") });
    place.product = product;
    place.shown = told.items.map(known);
    place.asked = button;
    place.hidden = false;
    drawLike();
    byId("like-title").focus();
    place.scrollIntoView({ block: "nearest", behavior: calm.matches ? "auto" : "smooth" });
  }, () => more(product, button));
}

function closeLike() {
  const { asked } = byId("like");
  byId("like").hidden = true;
  (asked?.isConnected ? asked : byId("lists")).focus();
}

/** The next products of the shelf, from `start` on. */
async function loadShelf(start) {
  const asked = ++shelf.asked;
  const query = new URLSearchParams({ start, limit: PAGE });
  if (only.size) query.set(shelf.column, [...only].join(","));
  await attempt("shelf", async () => {
    const told = await ask(`items?${query}`, { waits: waits("shelf") });
    if (asked !== shelf.asked) return;
    describe(told.columns);
    shelf.start = start + told.items.length;
    shelf.shown = [...(start ? shelf.shown : []), ...told.items.map(known)];
    byId("more").hidden = told.items.length < PAGE;
    byId("shelf").hidden = !shelf.shown.length;
    drawShelf();
  }, () => loadShelf(start));
}

/** Which column of the items' table can be chips: `category`, else the first with few texts. */
function describe(described) {
  if (shelf.column) return;
  const texts = Object.entries(described).filter(([, one]) => one.values?.length && one.values.length <= SHORT);
  const [name, one] = texts.find(([name]) => name === "category") ?? texts[0] ?? [];
  if (!name) return;
  shelf.column = name;
  shelf.values = one.values;
  drawGuidance();
}

// ---------------------------------------------------------------- drawing

let numbers = 0;

/** A product that can be chosen, with its picture, price and reason. */
function card(product, { why = "", entered = false } = {}) {
  const category = categoryOf(product);
  const { price } = product.about;
  const own = `product-${++numbers}`;
  const choice = make("button", { type: "button", className: "choose", textContent: named(product.name) });
  choice.setAttribute("aria-describedby", own);
  choice.onclick = () => choose(product);
  const facts = make("p", { className: "facts" });
  if (typeof price === "number") facts.append(make("span", { className: "price", textContent: number(price) }));
  if (category !== undefined && category !== null) facts.append(make("span", { textContent: word(category) }));
  if (entered) facts.append(make("span", { className: "badge", textContent: text("entered") }));
  const words = make("div", { className: "words", id: own }, facts, why && make("p", { className: "why", textContent: why }));
  const node = make("li", { className: "product", "data-key": product.key });
  node.append(picture(String(category ?? product.name), category ? word(category) : ""));
  node.append(make("div", { className: "text" }, choice, words));
  if (guide.similar) {
    const like = make("button", { type: "button", className: "similar", textContent: text("similar") });
    like.setAttribute("aria-label", text("like", named(product.name)));
    like.onclick = () => more(product, like);
    node.append(like);
  }
  return node;
}

/** Why a model has a product in its list. */
function reason(column, product) {
  const told = product.because ?? []; // the strongest reason first
  const reasons = told.filter(({ weight }) => weight > 0 && weight >= CLOSE * told[0].weight).slice(0, 2);
  if (reasons.length) return text("because", reasons.map((one) => named(known(one).name)));
  const features = column.guide.features.map(({ name }) => visit.told[name]).filter((value) => value !== undefined);
  return features.length && !visit.chosen.length ? text("told", features.map(word)) : "";
}

/** A column of the page for a list: of a model, or of what is popular. */
function addColumn(id, lettered, about) {
  const title = make("h2", { id: `list-${id}` });
  const hint = make("p", { className: "hint" });
  const score = make("p", { className: "score" });
  const meter = make("div", { className: "meter" }, make("span"));
  meter.setAttribute("aria-hidden", "true");
  const list = make("ol", { className: "list" });
  const empty = make("p", { className: "empty", textContent: text("loading") });
  const section = make("section", { className: `column column-${id}` });
  section.setAttribute("aria-labelledby", title.id);
  section.append(make("header", {}, title, hint, score, meter), list, empty);
  byId("lists").append(section);
  const column = { id, lettered, guide: about, title, hint, score, meter, list, empty, shown: [], entered: new Set() };
  columns.push(column);
  return column;
}

function addModel(id, lettered, prefix, about) {
  const column = addColumn(id, lettered, about);
  const show = (items) => {
    const before = new Set(column.shown.map(({ key }) => key));
    column.shown = items.map((one) => ({ ...known(one), because: one.because }));
    column.entered = new Set(before.size ? column.shown.map(({ key }) => key).filter((key) => !before.has(key)) : []);
    column.answered = true;
    drawColumn(column);
  };
  column.lane = new Lane(prefix, show, waits(id));
}

function drawColumn(column) {
  const { id, list, shown, entered, empty } = column;
  column.title.textContent = id === "popular" ? text("popular") : text("model", column.lettered, column.guide.model);
  column.hint.textContent = text(id === "popular" ? "popularHint" : "modelHint");
  fill(list, shown.map((one) => card(one, { why: column.lane ? reason(column, one) : "", entered: entered.has(one.key) })));
  empty.hidden = shown.length > 0;
  empty.textContent = text(column.answered ? "empty" : "loading");
  drawScore(column);
}

function drawScore({ id, score, meter }) {
  const hits = visit.hits[id] ?? 0;
  score.textContent = text("hits", hits, visit.asked);
  meter.firstChild.style.width = visit.asked ? `${(100 * hits) / visit.asked}%` : "0";
}

function drawPopular() {
  const column = columns.find(({ id }) => id === "popular");
  if (!column) return;
  const chosen = new Set([...visit.chosen.map(({ key }) => key), ...visit.left.map(keyOf)]);
  const passes = (product) => {
    const value = product.about?.[shelf.column];
    return !only.size || (Array.isArray(value) ? value : [value]).some((one) => only.has(one));
  };
  column.shown = guide.popular.map(known).filter((one) => !chosen.has(one.key) && passes(one)).slice(0, K);
  column.answered = true;
  drawColumn(column);
}

function drawVisit() {
  const newest = visit.chosen.slice(-12).reverse();
  fill(byId("chosen"), newest.map((product) => {
    const category = categoryOf(product);
    const name = make("span", { textContent: named(product.name) });
    return make("li", { "data-key": product.key }, picture(String(category ?? product.name), ""), name);
  }));
  byId("visit").hidden = !newest.length;
  byId("you").hidden = newest.length > 0 || !byId("features").children.length;
}

/** Groups of radio buttons, or number fields, for what the models take of a stranger. */
function drawFeatures() {
  const all = new Map(models().flatMap(({ guide }) => guide.features.map((one) => [one.name, one])));
  const shown = [...all.values()].filter(({ kind }) => kind !== "other");
  const active = document.activeElement?.id;
  byId("features").replaceChildren(...shown.map(feature));
  if (active) byId(active)?.focus();
}

function feature({ name, kind, values }) {
  const told = (value) => {
    if (value === null) delete visit.told[name];
    else visit.told[name] = value;
    keep();
    refresh().then(() => say(text("listed", columns[0].shown.length, columns[0].shown[0] && named(columns[0].shown[0].name))));
  };
  if (kind === "number") {
    const field = make("input", { type: "number", step: "any", id: `feature-${name}`, value: visit.told[name] ?? "" });
    field.onchange = () => told(field.value === "" ? null : Number(field.value));
    return make("label", { className: "feature" }, make("span", { textContent: label(name) }), field);
  }
  const group = make("fieldset", { className: "feature" }, make("legend", { textContent: label(name) }));
  const chips = make("div", { className: "chips" });
  [null, ...inOrder(values)].forEach((value, n) => {
    const radio = make("input", { type: "radio", name: `feature-${name}`, id: `feature-${name}-${n}` });
    radio.checked = (visit.told[name] ?? null) === value;
    radio.onchange = () => told(value);
    chips.append(make("label", { className: "chip" }, radio, make("span", { textContent: value === null ? text("anyone") : word(value) })));
  });
  group.append(chips);
  return group;
}

/** "under 25" before "25-34", and numbers as numbers; other texts as they come. */
function inOrder(values) {
  const least = (value) => (/^under\b/.test(value) ? -1 : parseFloat(value));
  return values.some((value) => Number.isNaN(least(value))) ? values : [...values].sort((a, b) => least(a) - least(b));
}

function drawGuidance() {
  const chip = (value, pressed, press) => {
    const node = make("button", { type: "button", className: "chip", textContent: value === null ? text("everything") : word(value) });
    node.dataset.value = JSON.stringify(value);
    node.setAttribute("aria-pressed", String(pressed));
    node.onclick = () => change(press);
    return node;
  };
  const place = byId("categories");
  const active = place.contains(document.activeElement) && document.activeElement.dataset.value;
  const can = shelf.values.length > 1 && models().every(({ guide }) => guide.asks.includes("filters"));
  const toggle = (value) => () => (only.has(value) ? only.delete(value) : only.add(value));
  const chips = can ? [chip(null, !only.size, () => only.clear()), ...shelf.values.map((one) => chip(one, only.has(one), toggle(one)))] : [];
  place.replaceChildren(...chips);
  place.hidden = !chips.length;
  if (active) [...place.children].find(({ dataset }) => dataset.value === active)?.focus();
}

function drawLike() {
  const place = byId("like");
  if (place.hidden) return;
  byId("like-title").textContent = place.shown.length ? text("like", named(place.product.name)) : text("likeNone");
  fill(byId("like-items"), place.shown.map((one) => card(one)));
}

const drawShelf = () => fill(byId("shelf-items"), (shelf.shown ?? []).map((one) => card(one)));

function drawAll() {
  write();
  drawNotice();
  if (!guide) return;
  drawFeatures();
  drawVisit();
  drawGuidance();
  drawPopular();
  models().forEach(drawColumn);
  drawLike();
  drawShelf();
}

// ---------------------------------------------------------------- the beginning

async function begin() {
  await attempt("start", async () => {
    const patient = { tries: Infinity, waits: waits("start") };
    const first = await ask("guide.json", patient);
    const second = first.beside && (await ask(`${first.beside}guide.json`, patient));
    guide = first;
    byId("lists").replaceChildren();
    columns = [];
    addModel("a", second ? "A" : "", "", first);
    if (second) addModel("b", "B", first.beside, second);
    if (first.popular) addColumn("popular");
    byId("lists").classList.add(`lists-${columns.length}`);
  }, begin);
  if (!guide) return;
  drawAll();
  await Promise.all([refresh(), loadShelf(0)]);
  drawPopular(); // with what the shelf tells of the products
}

for (const button of document.querySelectorAll("[data-language]"))
  button.onclick = () => {
    speak(button.dataset.language);
    drawAll();
  };
byId("over").onclick = startOver;
byId("else").onclick = somethingElse;
byId("close").onclick = closeLike;
byId("more").onclick = () => loadShelf(shelf.start);
addEventListener("online", tryAgain);
write();
begin();
