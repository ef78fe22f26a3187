// What the reader chooses: filters, search, order, a case by its link, keys, colours, paper.

const MOST_UNFOLDED_ON_PAPER = 100;
const DEFAULTS = { view: "all", category: "", adapter: data.adapters.length > 1 ? data.adapters[0] : "", search: "", sort: "order", descending: false };
const IN_LINK = { view: "voir", category: "categorie", adapter: "adaptateur", search: "cherche", sort: "tri", descending: "sens" };

const byId = (id) => document.getElementById(id);
const controls = {
  search: byId("search"), category: byId("category"), adapter: byId("adapter"), sort: byId("sort"),
  direction: byId("direction"), differences: byId("differences"), unfold: byId("unfold"), reset: byId("reset"),
  views: [...document.querySelectorAll("[data-view]")], count: byId("count"), none: byId("none"), keys: byId("keys"),
};
const list = new CaseList(byId("cases"));
let choice = { ...DEFAULTS };
let showsDifferences = false;
let target = null;

function update({ keepsLink = false } = {}) {
  const found = select(choice);
  for (const button of controls.views) {
    button.setAttribute("aria-pressed", String(button.dataset.view === choice.view));
    button.querySelector(".n").textContent = String(found.counts[button.dataset.view]);
  }
  if (controls.search.value !== choice.search) controls.search.value = choice.search;
  for (const name of ["category", "adapter", "sort"]) if (controls[name]) controls[name].value = choice[name];
  controls.direction.textContent = choice.descending ? words.descending : words.ascending;
  controls.reset.hidden = isDefault();
  list.show(found.shown, { differences: showsDifferences, query: found.query });
  controls.none.hidden = found.shown.length > 0;
  const total = choice.adapter === "" ? cases.length : cases.filter((one) => data.adapters[one.adapter] === choice.adapter).length;
  controls.count.textContent = counted(words.count, found.shown.length, { total });
  if (!keepsLink) {
    target = null;
    writeLink();
  }
}

const isDefault = () => Object.keys(DEFAULTS).every((name) => choice[name] === DEFAULTS[name]);

function choose(change) {
  choice = { ...choice, ...change };
  update();
}

// The link: a case, or what is chosen.

function writeLink() {
  const chosen = new URLSearchParams();
  for (const [name, key] of Object.entries(IN_LINK)) {
    if (choice[name] !== DEFAULTS[name]) chosen.set(key, name === "descending" ? "desc" : choice[name]);
  }
  const link = chosen.toString();
  if (link || /=|^#cas-/.test(location.hash)) history.replaceState(null, "", link ? `#${link}` : "#liste");
}

function readChoice(link) {
  const chosen = new URLSearchParams(link);
  const read = (name) => chosen.get(IN_LINK[name]) ?? DEFAULTS[name];
  choice = {
    view: read("view") in VIEWS ? read("view") : DEFAULTS.view,
    category: data.categories.some(([name]) => name === read("category")) ? read("category") : "",
    adapter: read("adapter") === "" || data.adapters.includes(read("adapter")) ? read("adapter") : DEFAULTS.adapter,
    search: read("search"),
    sort: read("sort") in SCORES ? read("sort") : DEFAULTS.sort,
    descending: chosen.get(IN_LINK.descending) === "desc",
  };
}

function followLink() {
  let link = location.hash.slice(1);
  try {
    link = decodeURIComponent(link);
  } catch {
    return; // not a link of ours
  }
  if (link.startsWith("cas-")) openCase(link);
  else if (link.includes("=")) {
    readChoice(location.hash.slice(1));
    update({ keepsLink: true });
  }
}

/** Goes to a case by its link; lifts the filters that hide it. */
function openCase(anchor) {
  const one = cases.find((candidate) => candidate.anchor === anchor);
  if (!one) {
    announce(words.unknownCase);
    return;
  }
  if (list.placeOf(anchor) < 0) {
    choice = { ...DEFAULTS, adapter: DEFAULTS.adapter && data.adapters[one.adapter] };
    update({ keepsLink: true });
    announce(words.filtersLifted);
  }
  goTo(list.placeOf(anchor));
}

function announce(sentence) {
  controls.count.textContent = sentence;
}

/** Scrolls to a shown case, marks it and gives it the focus. */
function goTo(place) {
  const article = list.reveal(place);
  if (!article) return;
  for (const old of document.querySelectorAll(".case.target")) unmark(old);
  target = list.shown[place].anchor;
  article.classList.add("target");
  article.setAttribute("aria-current", "true");
  article.focus({ preventScroll: true });
  article.scrollIntoView({ block: "start" });
  requestAnimationFrame(() => article.isConnected && article.scrollIntoView({ block: "start" })); // once those above have their height
}

function unmark(article) {
  article.classList.remove("target");
  article.removeAttribute("aria-current");
}

/** The place to step from: the case that has the focus, was gone to, or is the first on the screen. */
function currentPlace() {
  const focused = document.activeElement?.closest?.(".case");
  const known = list.placeOf(focused?.id ?? target);
  if (known >= 0) return known;
  const first = [...document.querySelectorAll(".case")].find((article) => article.getBoundingClientRect().bottom > 120);
  if (!first) return list.host.getBoundingClientRect().top > 0 ? -0.5 : list.shown.length - 0.5; // before all, or after
  const place = list.placeOf(first.id);
  return first.getBoundingClientRect().top > 120 ? place - 0.5 : place;
}

function step(by) {
  const from = currentPlace();
  const next = by > 0 ? Math.floor(from) + 1 : Math.ceil(from) - 1;
  if (next >= 0 && next < list.shown.length) goTo(next);
}

// Keys: only where nothing is being typed, and not at all once they are switched off.

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  ArrowRight: () => step(1),
  ArrowLeft: () => step(-1),
  "/": () => {
    controls.search.focus();
    controls.search.select();
  },
  o: () => {
    const box = list.reveal(Math.max(0, Math.ceil(currentPlace())))?.querySelector(".others");
    if (box) box.open = !box.open;
  },
  d: () => controls.differences.click(),
};

function pressed(event) {
  if (event.key === "Escape" && event.target === controls.search) {
    choose({ search: "" });
    controls.search.blur();
    return;
  }
  const isTyping = event.target.closest?.("input, select, textarea, [contenteditable]");
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping || !controls.keys.checked) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

function listen() {
  for (const button of controls.views) button.addEventListener("click", () => choose({ view: button.dataset.view }));
  for (const name of ["category", "adapter", "sort"]) {
    controls[name]?.addEventListener("change", () => choose({ [name]: controls[name].value }));
  }
  controls.search.addEventListener("input", () => choose({ search: controls.search.value }));
  controls.direction.addEventListener("click", () => choose({ descending: !choice.descending }));
  controls.reset.addEventListener("click", () => {
    choice = { ...DEFAULTS };
    update();
    controls.search.focus();
  });
  controls.differences.addEventListener("click", () => {
    showsDifferences = !showsDifferences;
    controls.differences.setAttribute("aria-pressed", String(showsDifferences));
    document.body.classList.toggle("shows-differences", showsDifferences);
    redraw();
  });
  controls.unfold.addEventListener("click", () => unfoldAll(controls.unfold.getAttribute("aria-pressed") !== "true"));
  document.addEventListener("keydown", pressed);
  addEventListener("hashchange", followLink);
  addEventListener("beforeprint", () => onPaper(true));
  addEventListener("afterprint", () => onPaper(false));
  matchMedia("print").addEventListener("change", (event) => onPaper(event.matches));
}

/** Draws the same cases again, and stays at the case that was being read. */
function redraw() {
  const place = Math.floor(currentPlace());
  const anchor = place > 0 || target ? list.shown[Math.max(0, place)]?.anchor : null;
  update({ keepsLink: true });
  if (anchor) goTo(list.placeOf(anchor));
}

function unfoldAll(opens) {
  controls.unfold.setAttribute("aria-pressed", String(opens));
  for (const one of cases) one.open = opens;
  redraw();
}

// Paper: all that is filtered, and the folded parts open; afterwards as it was.

let foldedBefore = null;

function onPaper(isPrinting) {
  if (isPrinting === (foldedBefore !== null)) return;
  list.keepAll(isPrinting);
  if (isPrinting) {
    const few = list.shown.length <= MOST_UNFOLDED_ON_PAPER;
    foldedBefore = [...document.querySelectorAll("details:not([open])")].filter((box) => few || !box.matches(".others"));
    for (const box of foldedBefore) {
      box.open = true;
      box.dispatchEvent(new Event("toggle")); // its own comes too late for paper
    }
  } else {
    for (const box of foldedBefore) box.open = false;
    foldedBefore = null;
  }
}

// Colours: those of the system, or the other ones, remembered where the browser allows it.

const THEMES = ["auto", "light", "dark"];

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme").textContent = words.themes[THEMES.indexOf(theme)];
}

function startTheme() {
  let theme = "auto";
  const remembered = (act) => {
    try {
      return act();
    } catch {
      return null; // no storage here: the choice lasts as long as the page
    }
  };
  const kept = remembered(() => localStorage.getItem("jarvis-theme"));
  if (THEMES.includes(kept)) theme = kept;
  setTheme(theme);
  byId("theme").addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    setTheme(theme);
    remembered(() => localStorage.setItem("jarvis-theme", theme));
  });
}

/** Makes what searches look in while nothing else is to do, so that the first one is as quick as the others. */
function prepareSearch(from = 0) {
  if (from >= cases.length) return;
  const later = window.requestIdleCallback ?? ((act) => setTimeout(act, 50));
  later(() => {
    cases.slice(from, from + 50).forEach(haystack);
    prepareSearch(from + 50);
  });
}

/** A table takes the focus only where it scrolls. */
function followTables() {
  const observer = new ResizeObserver((entries) => {
    for (const { target: box } of entries) box.tabIndex = box.scrollWidth > box.clientWidth ? 0 : -1;
  });
  for (const box of document.querySelectorAll(".table")) observer.observe(box);
}

startTheme();
listen();
followTables();
update({ keepsLink: true });
followLink();
prepareSearch();
document.documentElement.dataset.ready = "true";
