// One case: its prompt, both answers side by side, its scores, its other replicates.

const ICONS = { better: "▲", worse: "▼", same: "=" };
const BASE_NAME = words.base;

/** The article of a case. `look` is what the reader chose: {differences, query}. */
function renderCase(one, place, total, look) {
  const replicates = replicatesOf(one);
  const title = `${one.anchor}-titre`;
  return h(
    "article",
    {
      id: one.anchor, class: `case arm-${one.adapter % 4}`, tabindex: "-1", "aria-labelledby": title,
      "aria-posinset": String(place + 1), "aria-setsize": String(total),
    },
    renderHead(one, title, look),
    renderKeywords(one),
    replicates.length ? renderPair(one, replicates[0], look) : h("p", { class: "empty" }, words.nothingDrawn),
    renderScores(one),
    renderOthers(one, replicates.slice(1), look),
  );
}

function renderHead(one, title, look) {
  const { prompt } = one;
  return h(
    "header", { class: "case-head" },
    h(
      "p", { class: "case-place" },
      h("a", { class: "case-link", href: `#${encodeURIComponent(one.anchor)}`, title: words.linkToCase }, h("bdi", {}, prompt.id)),
      h("span", { class: "case-category" }, ...visible(data.categories[prompt.category][1])),
      data.adapters.length > 1 ? h("span", { class: "case-adapter" }, h("bdi", {}, data.adapters[one.adapter])) : null,
      ...badges(one),
    ),
    h("h3", { id: title }, h("bdi", {}, shownText(prompt.text, searched(prompt.text, look)))),
    prompt.intended || prompt.tool
      ? h(
        "p", { class: "case-meant" },
        prompt.intended ? h("span", {}, words.intended, " ", h("bdi", {}, shownText(prompt.intended))) : null,
        prompt.tool ? h("span", {}, words.expectedTool, " ", h("code", {}, prompt.tool)) : null,
      )
      : null,
  );
}

function badges(one) {
  const found = [];
  const badge = (kind, text, title) => h("span", { class: `badge ${kind}`, title }, text);
  if (!isMissing(one.provenWorse)) {
    found.push(badge("worse", words.provenWorse, fill(words.pValue, { p: number(one.provenWorse, 4) })));
  } else if (trend(one.change) === "worse") found.push(badge("worse soft", words.worse));
  if (!one.differs && one.arms.every((arm) => arm.length)) found.push(badge("same", words.identical));
  if (one.prompt.leaked) found.push(badge("failed", words.leaked));
  if (one.failed) found.push(badge("failed", words.failed));
  return found;
}

const trend = (change) => (isMissing(change) || Math.abs(change) < 1e-6 ? "same" : change > 0 ? "better" : "worse");

/** The trend between two scores as they are printed: an arrow never contradicts the figures beside it. */
const shownTrend = (before, after, digits = 2) =>
  number(before, digits) === number(after, digits) ? "same" : trend(less(after, before));

/** How a trend is coloured, where less may be better. */
const looked = (seen, higherIsBetter) => (higherIsBetter ? seen : { better: "worse", worse: "better" }[seen] ?? seen);

function renderKeywords(one) {
  const share = (side, keyword) => {
    const arm = one.arms[side];
    return arm.length ? `${arm.filter((response) => response.keywords.includes(keyword)).length}/${arm.length}` : words.dash;
  };
  return h(
    "ul", { class: "keywords", "aria-label": words.keywordsLabel },
    ...one.prompt.keywords.map((keyword) => {
      const found = one.arms[1].some((response) => response.keywords.includes(keyword));
      const label = fill(words.keywordFound, { base: share(0, keyword), tuned: share(1, keyword) });
      return h(
        "li", { class: found ? "found" : "missing", title: label },
        h("bdi", {}, ...visible(keyword.replaceAll("|", " · "))), " ",
        one.prompt.echoed.includes(keyword) ? h("span", { class: "label" }, words.echoed, " ") : null,
        h("span", { class: "figures" }, `${share(0, keyword)} → ${share(1, keyword)}`),
      );
    }),
  );
}

/** Both answers of one replicate. */
function renderPair(one, { sides }, look) {
  const [[base], [tuned]] = sides;
  const changed = look.differences && base && tuned ? differences(base.text, tuned.text) : null;
  const label = [BASE_NAME, data.adapters[one.adapter]];
  return h(
    "div", { class: "pair" },
    ...sides.map(([response, failure], side) => {
      const kind = side ? "tuned" : "base";
      const name = h("h4", {}, h("span", { class: "swatch", "aria-hidden": "true" }), h("bdi", {}, label[side]));
      return h("section", { class: `answer ${kind}` }, name, ...renderAnswer(one, response, failure, changed?.[side], look));
    }),
  );
}

function renderAnswer(one, response, failure, changed, look) {
  if (!response) {
    const why = failure ? [h("strong", {}, fill(words.failedAt, { stage: failure[1] })), " ", h("bdi", {}, ...visible(failure[2]))] : [words.notDrawn];
    return [h("p", { class: "said failure" }, ...why)];
  }
  const ranges = changed ?? foundIn(response, look);
  const said = response.text
    ? h("p", { class: "said", dir: "auto" }, shownText(response.text, [...ranges, ...searched(response.text, look)]))
    : h("p", { class: "said empty" }, words.emptyResponse);
  const thinking = response.thinking
    ? h("details", { class: "thinking" }, h("summary", {}, words.thinking), h("p", { class: "said", dir: "auto" }, shownText(response.thinking)))
    : null;
  return [said, thinking, renderMeasures(one, response)];
}

function foundIn(response, look) {
  if (look.differences) return [];
  const trace = traced(response.text);
  const found = wordsOf(trace.form);
  return [
    ...findPhrases(trace, found, response.terms, "term"),
    ...findPhrases(trace, found, response.keywords.flatMap((keyword) => keyword.split("|")), "keyword"),
  ];
}

function searched(text, look) {
  if (!look.query.length) return [];
  const trace = traced(text);
  return look.query.flatMap((wanted) => findInside(trace, wanted, "searched"));
}

function renderMeasures(one, response) {
  const item = (label, value, kind) => h("li", kind ? { class: kind } : {}, label ? h("span", { class: "label" }, `${label} `) : null, value);
  const total = one.prompt.keywords.length;
  return h(
    "ul", { class: "measures" },
    response.deed ? item("", response.deed.label, response.deed.done ? "right" : "warned") : null,
    isMissing(response.relevance) ? null : item(words.relevance, number(response.relevance)),
    isMissing(response.keywordMatch) ? null : item(words.keywords, `${response.keywords.length}/${total}`),
    ...response.extras.map((value, place) => (isMissing(value) ? null : item(data.extras[place][0], number(value)))),
    response.choice ? item(words.choice, response.choice.name, response.choice.right ? "right" : "warned") : null,
    response.tools.length ? item(words.tools, response.tools.join(", "), "tools") : null,
    isMissing(response.tokens) ? null : item("", counted(words.tokens, response.tokens)),
    isMissing(response.seconds) ? null : item("", `${number(response.seconds, 1)}\u00a0s`),
    response.finish ? item("", words.finish[response.finish], "warned") : null,
    response.cut ? item("", counted(words.cut, response.cut), "warned") : null,
  );
}

function renderScores(one) {
  const score = (label, [before, after], digits, scale, higherIsBetter = 1) => (isMissing(before) && isMissing(after) ? null : h(
    "div", { class: "score" },
    h("dt", {}, label),
    h(
      "dd", {},
      scale ? renderSpan(before, after, scale) : null,
      h("span", { class: "figures" }, `${number(before, digits)} → ${number(after, digits)}`),
      h("span", { class: `change ${looked(shownTrend(before, after, digits), higherIsBetter)}` }, `${ICONS[shownTrend(before, after, digits)]} ${signed(less(after, before), digits)}`),
    ),
  ));
  /** A metric that others added; of pairs, one number. */
  const renderExtra = ([label, higherIsBetter, ofPairs], values) => (ofPairs
    ? (isMissing(values[1]) ? null : h("div", { class: "score" }, h("dt", {}, label), h("dd", {}, h("span", { class: "figures" }, number(values[1])))))
    : score(label, values, 2, 0, higherIsBetter));
  return h(
    "dl", { class: "scores" },
    score(words.deeds, one.deeds, 2, 1),
    score(words.relevance, one.relevance, 2, mostRelevance),
    score(words.keywords, one.keywords, 2, 1),
    ...one.extras.map((values, place) => renderExtra(data.extras[place], values)),
    isMissing(one.cosine) ? null : h(
      "div", { class: "score" }, h("dt", {}, words.cosine),
      h("dd", {}, h("span", { class: "figures" }, number(one.cosine))),
    ),
  );
}

/** From the base's score to the fine-tuned one, between 0 and `scale`. */
function renderSpan(before, after, scale) {
  const at = (value) => `${3 + Math.min(1, Math.max(0, value / scale)) * 94}%`;
  const both = !isMissing(before) && !isMissing(after);
  return s(
    "svg", { class: "span", "aria-hidden": "true" },
    s("line", { class: "track", x1: "3%", x2: "97%", y1: "8", y2: "8" }),
    both ? s("line", { class: `way ${shownTrend(before, after)}`, x1: at(before), x2: at(after), y1: "8", y2: "8" }) : null,
    isMissing(before) ? null : s("circle", { class: "dot base", cx: at(before), cy: "8", r: "4.5" }),
    isMissing(after) ? null : s("circle", { class: "dot tuned", cx: at(after), cy: "8", r: "4.5" }),
  );
}

/** The other replicates, made when they are first unfolded. */
function renderOthers(one, others, look) {
  if (!others.length) return null;
  const box = h("details", { class: "others" }, h("summary", {}, counted(words.others, others.length)));
  const unfold = () => {
    if (box.open && box.children.length === 1) {
      box.append(...others.map((replicate) => h(
        "div", { class: "replicate" },
        h("p", { class: "replicate-name" }, fill(words.replicate, { n: replicate.replicate + 1 })),
        renderPair(one, replicate, look),
      )));
    }
    one.open = box.open;
  };
  box.addEventListener("toggle", unfold);
  if (one.open) {
    box.open = true;
    unfold();
  }
  return box;
}
