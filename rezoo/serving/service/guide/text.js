// Everything that the page says, in both languages.

const percent = (share) => `${Math.round(100 * share)}%`;

const ENGLISH = {
  title: "Shopping guide",
  intro: "Choose what you like. The lists change with every choice, and say why.",
  skip: "Skip to the lists",
  language: "Language",
  over: "Start over",
  you: "About you",
  youHint: "If you like: it makes the very first list yours.",
  age: "Age",
  gender: "Gender",
  taste: "You like",
  anyone: "any",
  visit: "Your choices",
  guidance: "Show me",
  only: "Only these categories",
  everything: "Everything",
  else: "Something else",
  similar: "Similar",
  like: (name) => `Similar to ${name}`,
  likeNone: (name) => `Nothing is similar to ${name}.`,
  close: "Close",
  modelHint: "From your choices",
  popular: "Most popular",
  popularHint: "What everybody sees",
  hits: (hits, asked) =>
    asked
      ? `Hit rate ${percent(hits / asked)}: ${hits} of ${asked} choices were in this list`
      : "No choice yet",
  because: (names) => `because you looked at ${names.join(" and ")}`,
  told: (values) => `because you said ${values.join(", ")}`,
  entered: "new",
  shelf: "The whole shop",
  more: "Show more",
  empty: "Nothing to show here. Choose fewer categories, or start over.",
  loading: "One moment …",
  footer: "Every list on this page is an answer of this service.",
  docs: "Its interface",
  changed: (name, count, first) =>
    `You chose ${name}. ${count} of the list are new` + (first ? `; first is ${first}.` : "."),
  listed: (count, first) => (count ? `${count} products; first is ${first}.` : "No products."),
  starting: "The model is being loaded. The page goes on by itself.",
  busy: (seconds) => `The service is busy. Trying again in ${seconds} s …`,
  down: "The service cannot be reached. What you chose is kept, and sent when it is back.",
  refused: (text) => `The service could not answer: ${text}`,
  retry: "Try again",
};

const CHINESE = {
  title: "购物向导",
  intro: "点选喜欢的商品，推荐随每次选择而变，并说明理由。",
  skip: "跳到推荐列表",
  language: "语言",
  over: "重新开始",
  you: "关于您",
  youHint: "可以不填；填了，第一份推荐就更适合您。",
  age: "年龄",
  gender: "性别",
  taste: "您喜欢",
  anyone: "不限",
  visit: "您的选择",
  guidance: "只看",
  only: "只看这些类别",
  everything: "全部",
  else: "换一批",
  similar: "相似",
  like: (name) => `相似商品：${name}`,
  likeNone: (name) => `没有与${name}相似的商品。`,
  close: "关闭",
  modelHint: "根据您的选择",
  popular: "热门商品",
  popularHint: "人人看到的都一样",
  hits: (hits, asked) =>
    asked ? `命中率 ${percent(hits / asked)}：${asked} 次选择中 ${hits} 次在此列表` : "尚未选择",
  because: (names) => `因为您看过${names.join("和")}`,
  told: (values) => `因为您说过：${values.join("、")}`,
  entered: "新",
  shelf: "全部商品",
  more: "显示更多",
  empty: "这里没有商品。请少选几个类别，或重新开始。",
  loading: "请稍候……",
  footer: "本页的每个列表都由此服务给出。",
  docs: "接口说明",
  changed: (name, count, first) =>
    `您选择了${name}。列表中有 ${count} 个新商品` + (first ? `，第一个是${first}。` : "。"),
  listed: (count, first) => (count ? `共 ${count} 个商品，第一个是${first}。` : "没有商品。"),
  starting: "模型正在加载，稍后自动继续。",
  busy: (seconds) => `服务繁忙，${seconds} 秒后重试……`,
  down: "无法连接服务。您的选择已保留，恢复后会自动发送。",
  refused: (text) => `服务无法回答：${text}`,
  retry: "重试",
};

/** Words of the simulated shop; those of another catalogue are shown as they are. */
const WORDS = {
  "under 25": "25 岁以下",
  "25-34": "25–34 岁",
  "35-44": "35–44 岁",
  "45-54": "45–54 岁",
  "55-64": "55–64 岁",
  "65 and over": "65 岁以上",
  female: "女",
  male: "男",
  scarf: "围巾",
  lamp: "台灯",
  kettle: "水壶",
  notebook: "笔记本",
  backpack: "背包",
  headphones: "耳机",
  novel: "小说",
  puzzle: "拼图",
  "running shoe": "跑鞋",
  tea: "茶",
  "plant pot": "花盆",
  knife: "厨刀",
  Nordic: "北欧",
  Rustic: "田园",
  Urban: "都市",
  Classic: "经典",
  Bright: "明快",
  Quiet: "素雅",
  Travel: "旅行",
  Festive: "节庆",
};

const LANGUAGES = {
  en: { tag: "en", table: ENGLISH, words: {} },
  zh: { tag: "zh-CN", table: CHINESE, words: WORDS },
};
const KEPT = "rezoo-guide-language";

let chosen = LANGUAGES[kept()] ? kept() : preferred();

function kept() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null; // storage may be switched off
  }
}

function preferred() {
  const known = (navigator.languages ?? []).map((tag) => tag.slice(0, 2).toLowerCase());
  return known.find((name) => LANGUAGES[name]) ?? "en";
}

export const language = () => chosen;

export function speak(name) {
  chosen = name;
  try {
    localStorage.setItem(KEPT, name);
  } catch {
    // then it is asked for again next time
  }
}

/** A text by its name; some take values. */
export function text(name, ...values) {
  const found = LANGUAGES[chosen].table[name];
  return typeof found === "function" ? found(...values) : found;
}

/** The name of a feature: a text of that name, else the name itself. */
export const label = (name) => (Object.hasOwn(ENGLISH, name) ? text(name) : name);

/** A value of the catalogue, translated where it is of the simulated shop. */
export function word(value) {
  const { words } = LANGUAGES[chosen];
  return Object.hasOwn(words, value) ? words[value] : String(value);
}

/** The name of a product: "Nordic scarf 17" is one of the simulated shop. */
export function named(name) {
  const parts = /^(\w+) (.+) (\d+)$/.exec(name);
  const { words } = LANGUAGES[chosen];
  if (!parts || !Object.hasOwn(words, parts[1]) || !Object.hasOwn(words, parts[2])) return name;
  return `${words[parts[1]]}${words[parts[2]]} ${parts[3]}`;
}

export const number = (value) =>
  new Intl.NumberFormat(LANGUAGES[chosen].tag, { minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(
    value,
  );

/** Write all texts of the page's own HTML. */
export function write() {
  const { tag } = LANGUAGES[chosen];
  document.documentElement.lang = tag;
  document.title = text("title");
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = text(node.dataset.text);
  for (const node of document.querySelectorAll("[data-label]"))
    node.setAttribute("aria-label", text(node.dataset.label));
  for (const node of document.querySelectorAll("[data-language]"))
    node.setAttribute("aria-pressed", String(node.dataset.language === chosen));
}
