// Texts: their canonical form as the scoring has it, where phrases stand in them, what differs, how they are shown.

const LETTERS = new Map([
  ["’", "'"], ["‘", "'"], ["ʼ", "'"], ["´", "'"], ["\u2010", "-"],
  ["œ", "oe"], ["Œ", "OE"], ["æ", "ae"], ["Æ", "AE"],
]);
const WORD = /[\p{L}\p{N}]+(?:_+[\p{L}\p{N}]+)*/gu;
const TOKEN = /[\p{L}\p{N}\p{M}_]+|[^\s\p{L}\p{N}\p{M}_]/gu;
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;
const MOST_DIFF_CELLS = 4_000_000;

const folded = new Map();

/** One character without case, accent or ligature; nothing for one that is not seen. */
function fold(char) {
  let known = folded.get(char);
  if (known === undefined) {
    known = foldText(char);
    folded.set(char, known);
  }
  return known;
}

function foldText(text) {
  const mapped = text.replace(/[’‘ʼ´œŒæÆ\u2010]/g, (char) => LETTERS.get(char));
  const lower = mapped.normalize("NFKC").toLowerCase().replaceAll("ß", "ss").replaceAll("ς", "σ");
  return lower.normalize("NFD").replace(/[\p{M}\p{Cf}]/gu, "").replace(/[’‘ʼ´œæ\u2010]/g, (char) => LETTERS.get(char));
}

/** The canonical form of a whole text, on one line: what a search looks in. */
function canonical(text) {
  return foldText(text).replace(/\s+/gu, " ").trim();
}

/** The canonical form with, for each of its characters, where it starts and ends in the text. */
function traced(text) {
  let form = "";
  const starts = [];
  const ends = [];
  let at = 0;
  for (const char of text) {
    const plain = fold(char);
    const after = at + char.length;
    for (let unit = 0; unit < plain.length; unit += 1) {
      starts.push(at);
      ends.push(after);
    }
    if (plain === "" && ends.length) ends[ends.length - 1] = after; // a combining accent goes with its letter
    form += plain;
    at = after;
  }
  return { form, starts, ends };
}

function wordsOf(form) {
  return [...form.matchAll(WORD)].map((match) => ({ word: match[0], start: match.index, end: match.index + match[0].length }));
}

/** Where the words of the phrases stand consecutively in a traced text; else, as the substring mode finds them. */
function findPhrases(trace, words, phrases, kind) {
  const ranges = [];
  for (const phrase of phrases) {
    const wanted = wordsOf(foldText(phrase)).map((item) => item.word);
    const before = ranges.length;
    if (wanted.length) {
      for (let first = 0; first + wanted.length <= words.length; first += 1) {
        if (wanted.every((word, place) => words[first + place].word === word)) {
          const last = words[first + wanted.length - 1];
          ranges.push({ start: trace.starts[words[first].start], end: trace.ends[last.end - 1], kind });
        }
      }
    }
    if (ranges.length === before) ranges.push(...findInside(trace, canonical(phrase), kind));
  }
  return ranges;
}

/** Where a canonical text stands in a traced one, words or not. */
function findInside(trace, wanted, kind) {
  const ranges = [];
  for (let at = wanted ? trace.form.indexOf(wanted) : -1; at >= 0; at = trace.form.indexOf(wanted, at + wanted.length)) {
    ranges.push({ start: trace.starts[at], end: trace.ends[at + wanted.length - 1], kind });
  }
  return ranges;
}

/** What of two texts is not in the other: ranges of words, [of the first, of the second]. */
function differences(first, second) {
  const left = [...first.matchAll(TOKEN)];
  const right = [...second.matchAll(TOKEN)];
  let head = 0;
  while (head < left.length && head < right.length && left[head][0] === right[head][0]) head += 1;
  let tail = 0;
  const most = Math.min(left.length, right.length) - head;
  while (tail < most && left[left.length - 1 - tail][0] === right[right.length - 1 - tail][0]) tail += 1;
  const kept = commonTokens(left.slice(head, left.length - tail), right.slice(head, right.length - tail));
  const inBoth = (place, total, own) => place < head || place >= total - tail || own.has(place - head);
  return [
    rangesOf(left, (place) => inBoth(place, left.length, kept[0]), "gone"),
    rangesOf(right, (place) => inBoth(place, right.length, kept[1]), "new"),
  ];
}

/** A longest common subsequence, as the places it takes in both. */
function commonTokens(left, right) {
  const kept = [new Set(), new Set()];
  const width = right.length + 1;
  if (left.length * right.length > MOST_DIFF_CELLS) return kept;
  const lengths = new Uint16Array((left.length + 1) * width);
  for (let i = left.length - 1; i >= 0; i -= 1) {
    for (let j = right.length - 1; j >= 0; j -= 1) {
      lengths[i * width + j] = left[i][0] === right[j][0]
        ? lengths[(i + 1) * width + j + 1] + 1
        : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
    }
  }
  for (let i = 0, j = 0; i < left.length && j < right.length;) {
    if (left[i][0] === right[j][0]) {
      kept[0].add(i);
      kept[1].add(j);
      i += 1;
      j += 1;
    } else if (lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) i += 1;
    else j += 1;
  }
  return kept;
}

function rangesOf(tokens, isCommon, kind) {
  const ranges = [];
  let open = null;
  tokens.forEach((token, place) => {
    if (isCommon(place)) open = null;
    else if (open) open.end = token.index + token[0].length;
    else {
      open = { start: token.index, end: token.index + token[0].length, kind };
      ranges.push(open);
    }
  });
  return ranges;
}

/** The text as nodes: marked in its ranges, its hidden characters shown by their numbers. Never as markup. */
function shownText(text, ranges = []) {
  const fragment = document.createDocumentFragment();
  const cuts = new Set([0, text.length]);
  for (const range of ranges) cuts.add(range.start).add(range.end);
  const ordered = [...cuts].sort((one, other) => one - other);
  for (let place = 0; place + 1 < ordered.length; place += 1) {
    const [start, end] = [ordered[place], ordered[place + 1]];
    const kinds = [...new Set(ranges.filter((range) => range.start <= start && range.end >= end).map((range) => range.kind))];
    const nodes = visible(text.slice(start, end));
    if (kinds.length) fragment.append(marked(kinds, nodes));
    else fragment.append(...nodes);
  }
  return fragment;
}

function marked(kinds, nodes) {
  const tag = kinds.includes("gone") ? "del" : kinds.includes("new") ? "ins" : "mark";
  return h(tag, { class: kinds.join(" ") }, ...nodes);
}

/** Strings, and elements for the characters that a reader would not see or that would turn others around. */
function visible(text) {
  if (!HIDDEN.test(text)) return [text];
  const nodes = [];
  let plain = "";
  const chars = [...text];
  chars.forEach((char, place) => {
    if (char === "\n" || char === "\t" || !HIDDEN.test(char) || joinsPictures(chars, place)) plain += char;
    else {
      if (plain) nodes.push(plain);
      plain = "";
      const number = char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      nodes.push(h("span", { class: "hidden-char" }, `U+${number}`));
    }
  });
  if (plain) nodes.push(plain);
  return nodes;
}

function joinsPictures(chars, place) {
  const isPicture = (char) => char !== undefined && /[\p{Extended_Pictographic}\p{Emoji_Modifier}\uFE0F]/u.test(char);
  return chars[place] === "\u200d" && isPicture(chars[place - 1]) && isPicture(chars[place + 1]);
}
