// What is read rather than looked at: the headline, what happened, refusals, keys and models.

import {
  NONE, attribute, byId, clock, compact, keep, make, mark, money, plural, say, share, whole,
} from "./dom.js";

const TONES = {
  good: ["✓", "All is well"], note: ["❚❚", "Worth knowing"], warn: ["▲", "Attention"],
  bad: ["✕", "Trouble"], gone: ["?", "No answer"], wait: ["…", "Waiting"],
};
const ALSO_MAX = 4;
const FEED_MAX = 200;

// -- the headline ---------------------------------------------------------------------------------

export class Headline {
  #said = "";

  draw(state) {
    const [worst, ...others] = state.troubles;
    if (worst === undefined) {
      const served = plural(state.models.length, "model is", "models are");
      const rest = `${served} served by ${plural(state.backends.length, "backend", "backends")}.`;
      this.#show("good", "All is well.", [rest], "good");
      return;
    }
    const also = others.slice(0, ALSO_MAX).map((trouble) => trouble.words);
    if (others.length > ALSO_MAX) also.push(`… and ${others.length - ALSO_MAX} more.`);
    this.#show(worst.tone, worst.words, also, worst.key);
  }

  /** Say that nobody answers; what was known before is still below, and pale. */
  lost(words, detail) {
    this.#show("gone", words, [detail], "gone");
  }

  /** `key` is what is said aloud once: numbers that move are not news. */
  #show(tone, words, also, key) {
    const [sign, name] = TONES[tone];
    mark(byId("headline"), "tone", tone);
    say(byId("headline-sign"), sign);
    say(byId("headline-tone"), tone === "good" ? "" : name);
    say(byId("headline-words"), words);
    keep(byId("also"), also.map((text, n) => ({ text, n })), (one) => one.n,
      () => make("li"), (row, one) => say(row, one.text));
    const title = `${sign} ${tone === "good" ? "All is well" : words}`.slice(0, 80);
    if (document.title !== title) document.title = title;
    if (this.#said !== key) {
      this.#said = key;
      say(byId("announce"), words);
    }
  }
}

// -- what happened --------------------------------------------------------------------------------

const KINDS = {
  failover: "⇄", resume: "↻", breaker: "⊘", level: "◐", backend: "⌂", operator: "☞",
  engine: "⚙", worker: "⚒", alarm: "!",
};

export class Feed {
  #parent = byId("feed");

  add(happenings) {
    for (const one of happenings) {
      const row = make("li");
      mark(row, "tone", one.tone);
      mark(row, "kind", one.kind);
      const sign = make("span", "kind", KINDS[one.kind] ?? "·");
      sign.setAttribute("aria-hidden", "true");
      const words = make("span", "words");
      words.append(make("b", "", one.kind), " ", one.words);
      row.append(make("time", "", clock(one.at)), sign, words);
      this.#parent.prepend(row);
    }
    while (this.#parent.childElementCount > FEED_MAX) this.#parent.lastElementChild.remove();
    byId("feed-empty").hidden = this.#parent.childElementCount > 0;
    this.#parent.hidden = this.#parent.childElementCount === 0;
  }
}

// -- refusals -------------------------------------------------------------------------------------

export function drawRefusals(reasons) {
  byId("refusals-empty").hidden = reasons.length > 0;
  byId("refusals").parentElement.hidden = reasons.length === 0;
  keep(byId("refusals"), reasons, (one) => one.reason, () => cells(3), (row, one) => {
    say(row.cells[0], one.reason);
    say(row.cells[1], whole(one.minute));
    say(row.cells[2], whole(one.all));
    mark(row.cells[1], "tone", one.minute ? "warn" : "");
  });
}

function cells(count) {
  const row = make("tr");
  for (let n = 0; n < count; n += 1) {
    const cell = make(n ? "td" : "th", n ? "number" : "");
    if (!n) cell.scope = "row";
    row.append(cell);
  }
  return row;
}

// -- keys -----------------------------------------------------------------------------------------

const KEY_COLUMNS = [
  { id: "name", title: "Key", value: (key) => key.name, show: (key) => key.name },
  { id: "calls", title: "Calls", value: (_key, spent) => spent.calls, show: (_key, spent) => whole(spent.calls) },
  {
    id: "prompt", title: "Tokens in", value: (_key, spent) => spent.prompt_tokens,
    show: (_key, spent) => compact(spent.prompt_tokens),
  },
  {
    id: "cached", title: "Cached", value: (_key, spent) => cachedShare(spent),
    show: (_key, spent) => (spent.prompt_tokens ? share(cachedShare(spent)) : NONE),
  },
  {
    id: "completion", title: "Tokens out", value: (_key, spent) => spent.completion_tokens,
    show: (_key, spent) => compact(spent.completion_tokens),
  },
  { id: "cost", title: "Cost", value: (_key, spent) => spent.cost_usd, show: (_key, spent) => costOf(spent) },
];

const cachedShare = (spent) => (spent.prompt_tokens ? spent.cached_tokens / spent.prompt_tokens : 0);

/** Words for numbers are what a long table costs most: none are made where none have moved. */
function isSame(one, other) {
  return one !== undefined && Object.keys(other).every((name) => one[name] === other[name]);
}

function costOf(spent) {
  if (spent.unpriced === spent.calls) return spent.calls ? "no price" : money(0);
  return money(spent.cost_usd) + (spent.unpriced ? " +" : "");
}

export class Keys {
  #time = "hour";
  #by = "cost";
  #isDown = true;
  #keys = [];

  constructor() {
    for (const column of KEY_COLUMNS) {
      const head = make("th", column.id === "name" ? "" : "number");
      head.scope = "col";
      mark(head, "column", column.id);
      const button = make("button", "", column.title);
      button.type = "button";
      button.addEventListener("click", () => this.#sortBy(column.id));
      head.append(button);
      byId("keys-head").append(head);
    }
    for (const time of ["hour", "day"]) {
      byId(`keys-${time}`).addEventListener("click", () => {
        this.#time = time;
        this.draw(this.#keys);
      });
    }
  }

  draw(keys) {
    this.#keys = keys;
    say(byId("keys-count"), keys.length ? String(keys.length) : "");
    byId("keys-empty").hidden = keys.length > 0;
    byId("keys").parentElement.hidden = keys.length === 0;
    for (const time of ["hour", "day"])
      attribute(byId(`keys-${time}`), "aria-pressed", String(time === this.#time));
    for (const head of byId("keys-head").children) {
      const isIt = head.dataset.column === this.#by;
      attribute(head, "aria-sort", isIt ? (this.#isDown ? "descending" : "ascending") : null);
    }
    keep(byId("keys"), this.#sorted(), (key) => key.name, () => this.#create(), (row, key) => {
      const spent = key[this.#time];
      if (isSame(row.spent, spent)) return;
      row.spent = spent;
      KEY_COLUMNS.forEach((column, n) => say(row.kept[n], column.show(key, spent)));
      attribute(row.kept[5], "title", spent.unpriced ? `${plural(spent.unpriced, "call has", "calls have")} no known price` : null);
    });
  }

  #create() {
    const row = cells(KEY_COLUMNS.length);
    row.kept = [...row.cells];
    KEY_COLUMNS.forEach((column, n) => mark(row.kept[n], "column", column.id));
    return row;
  }

  #sortBy(id) {
    this.#isDown = this.#by === id ? !this.#isDown : id !== "name";
    this.#by = id;
    this.draw(this.#keys);
  }

  #sorted() {
    const { value } = KEY_COLUMNS.find((column) => column.id === this.#by);
    const sign = this.#isDown ? -1 : 1;
    const of = (key) => value(key, key[this.#time]);
    return [...this.#keys].sort((a, b) => {
      const [one, other] = [of(a), of(b)];
      if (one !== other) return one < other ? -sign : sign;
      return a.name < b.name ? -1 : 1;
    });
  }
}

// -- models ---------------------------------------------------------------------------------------

export function drawModels(state) {
  const tones = new Map(state.backends.map((backend) => [backend.name, backend.tone]));
  const keyOf = (model) => JSON.stringify([model.name, model.tiers]);
  keep(byId("models"), state.models, keyOf, createModel, (row, model) => {
    mark(row, "tone", model.is_served ? "good" : "bad");
    say(row.served, model.is_served ? "served" : "nobody serves it");
    for (const place of row.places) mark(place.node, "tone", tones.get(place.backend) ?? "");
  });
}

/** Tiers change only with the fleet file; a row is then made anew. */
function createModel(model) {
  const row = make("li");
  const head = make("p", "model");
  head.append(make("b", "", model.name), " ");
  row.served = head.appendChild(make("span", "served"));
  const chain = make("p", "chain");
  row.places = [];
  model.tiers.forEach((tier, n) => {
    if (n) chain.append(make("span", "then", "→"));
    const group = make("span", "tier");
    for (const place of tier) {
      const node = make("span", "place", place.backend);
      if (tier.length > 1) node.append(make("span", "part", String(place.share)));
      node.title = `asked for ${place.model}`;
      row.places.push({ node, backend: place.backend });
      group.append(node);
    }
    chain.append(group);
  });
  row.append(head, chain);
  return row;
}
