// The list of cases: filtered, sorted, and drawn only around what the reader sees.

const CHUNK = 10;
const AHEAD = "1500px 0px";

const SCORES = {
  change: (one) => one.change,
  "deeds-change": (one) => less(one.deeds[1], one.deeds[0]),
  "deeds-tuned": (one) => one.deeds[1],
  "relevance-change": (one) => less(one.relevance[1], one.relevance[0]),
  "relevance-base": (one) => one.relevance[0],
  "relevance-tuned": (one) => one.relevance[1],
  "keywords-change": (one) => less(one.keywords[1], one.keywords[0]),
  "keywords-base": (one) => one.keywords[0],
  "keywords-tuned": (one) => one.keywords[1],
  cosine: (one) => one.cosine,
  "length-tuned": (one) => one.length[1],
  "length-change": (one) => less(one.length[1], one.length[0]),
  "seconds-tuned": (one) => one.seconds[1],
};
data.extras.forEach((_, place) => {
  SCORES[`extra-${place}-change`] = (one) => less(one.extras[place][1], one.extras[place][0]);
  SCORES[`extra-${place}-tuned`] = (one) => one.extras[place][1];
});

const VIEWS = {
  all: () => true,
  worse: (one) => trend(one.change) === "worse",
  proven: (one) => !isMissing(one.provenWorse),
  better: (one) => trend(one.change) === "better" && !one.wrong,
  wrong: (one) => one.wrong,
  different: (one) => one.differs,
  failed: (one) => one.failed,
};

/** The cases a choice asks for, in its order, and how many each view would show. */
function select(choice) {
  const query = queryOf(choice.search);
  const among = cases.filter(
    (one) => (choice.category === "" || data.categories[one.prompt.category][0] === choice.category)
      && (choice.adapter === "" || data.adapters[one.adapter] === choice.adapter)
      && query.every((wanted) => haystack(one).includes(wanted)),
  );
  const counts = Object.fromEntries(Object.entries(VIEWS).map(([view, keeps]) => [view, among.filter(keeps).length]));
  return { shown: order(among.filter(VIEWS[choice.view]), choice), counts, among: among.length, query };
}

const queryOf = (search) => canonical(search).split(" ").filter(Boolean);

/** Sorted by a score; cases without it come last whatever the direction, equal ones stay in the report's order. */
function order(found, { sort, descending }) {
  const score = SCORES[sort];
  if (!score) return descending ? found.reverse() : found;
  const sign = descending ? -1 : 1;
  return found.sort((one, other) => {
    const [first, second] = [score(one), score(other)];
    if (isMissing(first) || isMissing(second)) return isMissing(first) - isMissing(second) || one.order - other.order;
    return sign * (first - second) || one.order - other.order;
  });
}

/** Draws chunks of cases when they come near the screen, and takes them away when they are far. */
class CaseList {
  constructor(host) {
    this.host = host;
    this.chunks = [];
    this.shown = [];
    this.height = 420;
    this.keepsAll = false;
    this.observer = new IntersectionObserver((entries) => this.follow(entries), { rootMargin: AHEAD });
  }

  show(shown, look) {
    this.shown = shown;
    this.look = look;
    this.observer.disconnect();
    this.chunks = [];
    for (let start = 0; start < shown.length; start += CHUNK) {
      const node = h("div", { class: "chunk" });
      const chunk = { node, start, end: Math.min(start + CHUNK, shown.length), full: false };
      node.chunk = chunk;
      this.reserve(chunk);
      this.chunks.push(chunk);
    }
    this.host.replaceChildren(...this.chunks.map((chunk) => chunk.node));
    if (this.chunks.length) this.fill(this.chunks[0]);
    for (const chunk of this.chunks) {
      if (this.keepsAll) this.fill(chunk);
      this.observer.observe(chunk.node);
    }
  }

  reserve(chunk) {
    chunk.node.style.minHeight = `${Math.round(chunk.height ?? this.height * (chunk.end - chunk.start))}px`;
  }

  fill(chunk) {
    if (chunk.full) return;
    const articles = this.shown
      .slice(chunk.start, chunk.end)
      .map((one, place) => renderCase(one, chunk.start + place, this.shown.length, this.look));
    chunk.node.replaceChildren(...articles);
    chunk.node.style.minHeight = "";
    chunk.full = true;
  }

  empty(chunk) {
    if (!chunk.full || this.keepsAll || chunk.node.contains(document.activeElement)) return;
    chunk.height = chunk.node.offsetHeight;
    this.height = chunk.height / (chunk.end - chunk.start);
    this.reserve(chunk);
    chunk.node.replaceChildren();
    chunk.full = false;
  }

  follow(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.fill(target.chunk);
      else this.empty(target.chunk);
    }
  }

  /** All of it at once, for paper. */
  keepAll(keeps) {
    this.keepsAll = keeps;
    if (keeps) this.chunks.forEach((chunk) => this.fill(chunk));
  }

  /** Draws the case at a place with its neighbours, and gives back its article. */
  reveal(place) {
    const chunk = this.chunks[Math.floor(place / CHUNK)];
    if (!chunk) return null;
    const at = this.chunks.indexOf(chunk);
    for (const near of this.chunks.slice(Math.max(0, at - 1), at + 2)) this.fill(near);
    return document.getElementById(this.shown[place].anchor);
  }

  placeOf(anchor) {
    return this.shown.findIndex((one) => one.anchor === anchor);
  }
}
