// What was classified earlier in this visit: small pictures and their classes, in this tab's session storage only.

import { words, percent } from "./card.js";

const KEY = "history";
const KEPT = 24;
const SIDE = 64;

const section = document.getElementById("history");
const list = section.querySelector("ul");

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? [];
  } catch {
    return [];
  }
}

function write(entries) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(entries));
  } catch {
    // The storage is full or switched off: the history stays as it was.
  }
}

function thumbnail(picture) {
  if (!picture.naturalWidth) return null;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  const side = Math.min(picture.naturalWidth, picture.naturalHeight);
  const left = (picture.naturalWidth - side) / 2;
  const top = (picture.naturalHeight - side) / 2;
  canvas.getContext("2d").drawImage(picture, left, top, side, side, 0, 0, SIDE, SIDE);
  return canvas.toDataURL("image/jpeg", 0.8);
}

export function remember(card) {
  const { label, score, in_scope: inScope } = card.result;
  const entry = { filename: card.file.name, label, score, inScope, picture: thumbnail(card.find(".picture")) };
  write([entry, ...read()].slice(0, KEPT));
  // Not all of them anew: there may be many answers a second.
  list.prepend(draw(entry));
  if (list.children.length > KEPT) list.lastElementChild.remove();
  section.hidden = false;
}

export function forget() {
  write([]);
  showHistory();
}

export function showHistory() {
  const entries = read();
  section.hidden = !entries.length;
  list.replaceChildren(...entries.map(draw));
}

function draw({ filename, label, score, inScope, picture }) {
  const item = document.createElement("li");
  if (picture) item.append(Object.assign(document.createElement("img"), { src: picture, alt: "", width: 48, height: 48 }));
  const text = document.createElement("span");
  text.append(Object.assign(document.createElement("strong"), { textContent: words.labels[label] }));
  text.append(` ${percent(score)}`);
  if (inScope === false) text.append(`, ${words.doubtful}`);
  text.append(document.createElement("br"), filename);
  item.append(text);
  return item;
}
