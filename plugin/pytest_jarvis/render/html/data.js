// The page's data: read once from the JSON that stands beside this script (see payload.py for its order).

const data = JSON.parse(document.getElementById("donnees").textContent);
const words = data.words;

/** An element of HTML. `on` holds listeners; a property that is null, undefined or false is left out. */
function h(tag, properties = {}, ...children) {
  return build(document.createElement(tag), properties, children);
}

/** An element of SVG. */
function s(tag, properties = {}, ...children) {
  return build(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

function build(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const isMissing = (value) => value === null || value === undefined;

function number(value, digits = 2) {
  return isMissing(value) ? words.dash : unsigned(value, digits).replace("-", "−");
}

function signed(value, digits = 2) {
  if (isMissing(value)) return words.dash;
  const shown = unsigned(value, digits);
  return shown.startsWith("-") ? shown.replace("-", "−") : `+${shown}`;
}

function unsigned(value, digits) {
  const shown = value.toFixed(digits).replace(".", ",");
  return /^-[0,]+$/.test(shown) ? shown.slice(1) : shown;
}

function percent(value) {
  return isMissing(value) ? words.dash : `${number(value * 100, 0)}\u00a0%`;
}

/** A sentence with its figures: `fill("{n} cas", {n: 3})`. */
function fill(sentence, values) {
  return sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** One of two sentences, by a French count: 0 and 1 are singular. */
function counted(forms, n, values = {}) {
  return fill(n < 2 ? forms[0] : forms[1], { n, ...values });
}

const named = (places) => places.map((place) => data.strings[place]);

const prompts = data.prompts.map(([id, category, text, intended, tool, keywords, echoed, leaked]) => ({
  id, category, text, intended, tool, leaked, keywords: named(keywords), echoed: named(echoed),
}));

const responses = data.responses.map((row) => {
  const [arm, replicate, text, thinking, finish, tokens, seconds, cut, keywords, terms, tools, keywordMatch, relevance, choice, deed] = row;
  return {
    arm, replicate, text, thinking, finish, tokens, seconds, cut, keywordMatch, relevance,
    deed: deed && { label: data.strings[deed[0]], done: deed[1] === 1 },
    choice: choice && { name: data.strings[choice[0]], right: choice[1] === 1 },
    keywords: named(keywords), terms: named(terms), tools: named(tools), extras: row.slice(15),
  };
});

const mean = (values) => {
  const known = values.filter((value) => !isMissing(value));
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
};
const less = (after, before) => (isMissing(after) || isMissing(before) ? null : after - before);

const cases = data.cases.map((row, order) => {
  const [prompt, adapter, anchor, base, tuned, failedBase, failedTuned] = row;
  const [relevanceBase, relevanceTuned, keywordsBase, keywordsTuned, cosine, provenWorse] = row.slice(7);
  const one = {
    order, anchor, adapter, provenWorse, cosine,
    prompt: prompts[prompt],
    arms: [base.map((place) => responses[place]), tuned.map((place) => responses[place])],
    failures: [failedBase, failedTuned],
    relevance: [relevanceBase, relevanceTuned],
    keywords: [keywordsBase, keywordsTuned],
    open: false,
  };
  one.length = one.arms.map((arm) => mean(arm.map((response) => response.text.length)));
  one.seconds = one.arms.map((arm) => mean(arm.map((response) => response.seconds)));
  one.extras = data.extras.map((_, place) => one.arms.map((arm) => mean(arm.map((response) => response.extras[place]))));
  one.deeds = one.arms.map((arm) => mean(arm.map((response) => (response.deed ? Number(response.deed.done) : null))));
  one.wrong = !isMissing(one.deeds[1]) && one.deeds[1] <= 0.5;
  one.change = ranked(less(one.deeds[1], one.deeds[0]), less(keywordsTuned, keywordsBase), less(relevanceTuned, relevanceBase));
  one.differs = differs(one.arms);
  one.failed = failedBase.length + failedTuned.length > 0 || !base.length || !tuned.length;
  return one;
});

/** One number that orders changes: by deeds, then keywords, then relevance, each in [-1, 1]. */
function ranked(...changes) {
  return changes.every(isMissing) ? null : changes.reduce((sum, change) => sum * 100 + (change ?? 0), 0);
}

function differs([base, tuned]) {
  const texts = new Map(base.map((response) => [response.replicate, response.text]));
  return tuned.some((response) => texts.has(response.replicate) && texts.get(response.replicate) !== response.text);
}

/** The relevance at the right end of the drawings: the highest of a case, up to the next tenth. */
const mostRelevance = Math.min(1, (Math.floor(cases.reduce((most, one) => Math.max(most, ...one.relevance), 0) * 10) + 1) / 10);

/** The replicates of a case, each with what both arms gave: {replicate, sides: [[response, failure], …]}. */
function replicatesOf(one) {
  const sides = [0, 1].map((side) => ({
    responses: new Map(one.arms[side].map((response) => [response.replicate, response])),
    failures: new Map(one.failures[side].map((failure) => [failure[0], failure])),
  }));
  const found = new Set(sides.flatMap((side) => [...side.responses.keys(), ...side.failures.keys()]));
  return [...found].sort((one, other) => one - other).map((replicate) => ({
    replicate,
    sides: sides.map((side) => [side.responses.get(replicate), side.failures.get(replicate)]),
  }));
}

/** What a search looks in: all that stands in a case, in canonical form; made once. */
function haystack(one) {
  if (one.haystack === undefined) {
    const { id, text, intended, tool, keywords } = one.prompt;
    const texts = one.arms.flat().map((response) => response.text);
    const reasons = one.failures.flat().map((failure) => failure[2]);
    one.haystack = canonical([id, text, intended ?? "", tool ?? "", ...keywords, ...texts, ...reasons].join("\n"));
  }
  return one.haystack;
}
