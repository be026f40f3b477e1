// The page with JavaScript: several pictures at once, each with its own card, progress, retry and explanation.
// Without it the form posts and the server draws the same cards.

import { Card, words, fill, isBusy, setBusy } from "./card.js";
import { droppedFiles } from "./dropped.js";
import { showTable, toCsv, save } from "./table.js";
import { remember, showHistory, forget } from "./history.js";

const AT_ONCE = 4; // requests under way; more would only wait in the server's queue

const $ = (id) => document.getElementById(id);
const form = $("form");
const input = $("image");
let cards = [];
let table = false;
let unread = 0; // files and folders of the last drop

document.documentElement.classList.add("scripted");
input.required = false; // with nothing chosen, Classify opens the file chooser

function add(files, unreadOnes = 0) {
  unread = unreadOnes;
  if (unread) show();
  for (const file of files) {
    const card = new Card(file, { onRemove: remove, onAnswer: remember, onChange: show });
    cards.push(card);
    $("cards").append(card.element);
  }
  if (!files.length) return;
  for (const element of $("cards").querySelectorAll(".card")) { // those that the server drew for a plain form
    if (!cards.some((card) => card.element === element)) element.remove();
  }
  document.querySelector("#results > .problem")?.remove();
  show();
  $("classify").focus();
}

function remove(card) {
  const focused = card.element.contains(document.activeElement);
  const index = cards.indexOf(card);
  cards = cards.filter((each) => each !== card);
  card.element.remove();
  show();
  if (!focused) return;
  const next = cards[index] ?? cards[index - 1];
  (next?.find(next.state === "sending" ? ".cancel" : ".remove") ?? input).focus();
}

// Many answers a second are drawn once a frame.
let planned = 0;
function show() {
  planned ||= requestAnimationFrame(() => {
    planned = 0;
    draw();
  });
}

function draw() {
  $("tools").hidden = cards.length < 2;
  if (cards.length < 2) table = false;
  $("cards").hidden = table;
  $("table").hidden = !table;
  $("view-cards").setAttribute("aria-pressed", String(!table));
  $("view-table").setAttribute("aria-pressed", String(table));
  $("csv").disabled = $("json").disabled = !cards.some((card) => card.state === "done");
  if (table) showTable($("table"), cards);
  say();
}

// Tell in a sentence, which screen readers read out, how far things are.
function say() {
  const count = (state) => cards.filter((card) => card.state === state).length;
  const [done, failed, sending, waiting] = ["done", "failed", "sending", "waiting"].map(count);
  const status = $("status");
  let sentence = "";
  let title = words.title;
  status.classList.toggle("unseen", cards.length === 1 && done === 1 && !unread); // the card says the same to the eye
  if (sending) {
    sentence = fill(words.progress, { done, count: cards.length });
  } else if (waiting) {
    sentence = fill(words.chosen, { count: waiting });
  } else if (cards.length === 1 && done) {
    const name = words.labels[cards[0].result.label];
    title = `${name[0].toUpperCase()}${name.slice(1)} – ${title}`;
    sentence = `${name}. ${cards[0].sureness()}`;
    if (!cards[0].result.in_scope) sentence += `. ${words.doubt}`;
  } else if (cards.length) {
    sentence = fill(words.answered, { done, count: cards.length });
    if (failed) sentence += ` ${fill(words.failed, { failed })}`;
  }
  if (unread) sentence = `${sentence} ${fill(words.unread, { count: unread })}`.trim();
  document.title = title;
  if (status.textContent !== sentence) status.textContent = sentence; // the same anew would be read out again
}

async function classify(event) {
  event.preventDefault();
  if (isBusy($("classify"))) return;
  const queue = cards.filter((card) => card.state === "waiting");
  if (!queue.length) {
    input.click();
    return;
  }
  setBusy($("classify"), true);
  const worker = async () => {
    for (let card = queue.shift(); card; card = queue.shift()) {
      if (cards.includes(card)) await card.classify(); // it may have been removed meanwhile
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  setBusy($("classify"), false);
}

function take(chooser) {
  add(chooser.files);
  chooser.value = ""; // the same file may be chosen again
}
for (const chooser of [input, $("camera")]) chooser.addEventListener("change", () => take(chooser));
$("photo").addEventListener("click", () => $("camera").click());
form.addEventListener("submit", classify);

for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").classList.remove("over");
});
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  const dropped = await droppedFiles(event.dataTransfer);
  add(dropped.files, dropped.unread);
});
document.addEventListener("paste", (event) => add(event.clipboardData.files));

for (const button of document.querySelectorAll(".sample")) {
  button.addEventListener("click", async () => {
    try {
      const answer = await fetch(button.dataset.sample);
      if (!answer.ok) throw new Error(answer.statusText);
      const picture = await answer.blob();
      add([new File([picture], button.dataset.name, { type: picture.type })]);
    } catch {
      $("status").classList.remove("unseen");
      $("status").textContent = `${words.unreachableTitle}. ${words.unreachable}`;
    }
  });
}

$("view-cards").addEventListener("click", () => { table = false; show(); });
$("view-table").addEventListener("click", () => { table = true; show(); });
$("csv").addEventListener("click", () => save("pictures.csv", "text/csv", toCsv(cards)));
$("json").addEventListener("click", () => {
  save("pictures.json", "application/json", JSON.stringify(cards.map((card) => card.record()), null, 2));
});
$("remove-all").addEventListener("click", () => {
  for (const card of [...cards]) card.remove();
  input.focus();
});
$("forget").addEventListener("click", () => { forget(); input.focus(); });
showHistory();
take(input); // what was chosen before this script had come
