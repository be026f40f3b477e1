// Many pictures as a table that sorts by any column, and as files to keep.

import { words, percent } from "./card.js";

const sorting = { key: "", falling: false };
const { compare } = new Intl.Collator(document.documentElement.lang, { numeric: true });
const order = (a, b) => (typeof a === "string" ? compare(a, b) : a - b);

const VALUES = {
  filename: (card) => card.file.name,
  label: (card) => (card.result ? words.labels[card.result.label] : "\uffff"),
  score: (card) => card.result?.score ?? -1,
  in_scope: (card) => card.result?.in_scope_score ?? -1,
  milliseconds: (card) => card.milliseconds ?? Infinity,
};

export function showTable(region, cards) {
  for (const button of region.querySelectorAll("button[data-key]")) {
    const { key } = button.dataset;
    const direction = sorting.falling ? "descending" : "ascending";
    button.parentElement.setAttribute("aria-sort", sorting.key === key ? direction : "none");
    button.onclick = () => {
      sorting.falling = sorting.key === key && !sorting.falling;
      sorting.key = key;
      showTable(region, cards);
    };
  }
  const sorted = [...cards];
  if (sorting.key) {
    const value = VALUES[sorting.key];
    sorted.sort((a, b) => order(value(a), value(b)));
    if (sorting.falling) sorted.reverse();
  }
  const rows = sorted.map(row);
  const body = region.querySelector("tbody");
  if (rows.length !== body.rows.length || rows.some((each, index) => each !== body.rows[index])) {
    body.replaceChildren(...rows);
  }
}

// Each card's row is made anew only when the card has changed: there may be a thousand.
const made = new WeakMap();

function row(card) {
  const known = made.get(card);
  if (known?.state === card.state && known.problem === card.problem) return known.cells;
  const picture = known?.picture ?? thumbnail(card);
  const cells = newRow(card, picture);
  known?.cells.replaceWith(cells);
  made.set(card, { state: card.state, problem: card.problem, picture, cells });
  return cells;
}

function thumbnail(card) {
  const picture = document.createElement("img");
  Object.assign(picture, { alt: "", width: 40, height: 40, onerror: () => { picture.hidden = true; } });
  picture.loading = "lazy"; // before its address is known
  picture.src = card.address;
  return picture;
}

function newRow(card, picture) {
  const cells = document.createElement("tr");
  const { result, problem } = card;
  const time = `${card.milliseconds} ${words.ms}`;
  const texts = result && card.state === "done"
    ? [words.labels[result.label], percent(result.score), result.in_scope ? words.yes : words.no, time]
    : [problem ? `${problem.title}. ${problem.detail}` : "…", "", "", ""];
  for (const content of [picture, card.file.name, ...texts]) {
    const cell = document.createElement("td");
    cell.append(content);
    cells.append(cell);
  }
  return cells;
}

// A name that begins like a formula would be run by a spreadsheet.
function quoted(value) {
  const text = String(value ?? "");
  const harmless = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

export function toCsv(cards) {
  const labels = Object.keys(words.labels);
  const lines = [["filename", "label", "score", "in_scope", "in_scope_score", ...labels, "milliseconds", "error"]];
  for (const card of cards) {
    const record = card.record();
    const { filename, label, score, in_scope: inScope, in_scope_score: inScopeScore, scores = [], error } = record;
    const byLabel = Object.fromEntries(scores.map((each) => [each.label, each.score]));
    const problem = error ? [error.title, error.detail].filter(Boolean).join(": ") : "";
    const answer = [filename, label, score, inScope, inScopeScore, ...labels.map((each) => byLabel[each])];
    lines.push([...answer, record.milliseconds, problem]);
  }
  const text = lines.map((line) => line.map(quoted).join(",")).join("\r\n");
  return `\ufeff${text}\r\n`; // by its first character spreadsheets know that it is UTF-8
}

export function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
