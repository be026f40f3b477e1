// One picture on the page: its preview, its way to the server and back, its answer or what is wrong, its explanation.

import { drawOverlay } from "./explanation.js";

export const words = JSON.parse(document.getElementById("words").dataset.words);

const SMALL = 128; // pixels: a picture smaller than that on both sides is enlarged
const decimals = new Intl.NumberFormat(document.documentElement.lang, { minimumFractionDigits: 1 });
let made = 0; // cards

export function fill(sentence, facts) {
  return sentence.replace(/\{(\w+)\}/g, (_, name) => facts[name]);
}

// As score_text() in words.py: no score is so sure that it may be rounded to certainty.
export function percent(score) {
  return score >= 0.9995 ? `> ${decimals.format(99.9)} %` : `${decimals.format((100 * score).toFixed(1))} %`;
}

// Draw one bar for each class into a <dl>; an SVG, whose length needs no inline style.
export function drawBars(list, scores) {
  list.replaceChildren();
  for (const { label, score } of scores) {
    const bar = document.getElementById("bar").content.cloneNode(true);
    const svg = bar.querySelector("svg");
    bar.querySelector("dt").textContent = words.labels[label];
    svg.setAttribute("aria-label", words.labels[label]);
    svg.setAttribute("aria-valuenow", (100 * score).toFixed(1));
    svg.querySelector("rect").setAttribute("width", 100 * score);
    svg.setAttribute("aria-valuetext", percent(score));
    bar.querySelector(".number").textContent = percent(score);
    list.append(bar);
  }
}

// A button at work takes no presses; unlike one with `disabled` it keeps the focus.
export function setBusy(button, busy) {
  button.setAttribute("aria-disabled", String(busy));
}

export function isBusy(button) {
  return button.getAttribute("aria-disabled") === "true";
}

export class Card {
  constructor(file, { onRemove, onAnswer, onChange }) {
    this.file = file;
    this.onRemove = onRemove;
    this.onAnswer = onAnswer;
    this.onChange = onChange;
    this.state = "waiting"; // then sending, and done or failed
    this.element = document.getElementById("card").content.firstElementChild.cloneNode(true);
    this.find = (selector) => this.element.querySelector(selector);
    const picture = this.find(".picture");
    picture.addEventListener("error", () => { // one that the browser cannot show may still be one that is read
      picture.hidden = true;
      this.find(".frame").dataset.note = words.notShown;
      this.show();
    });
    picture.addEventListener("load", () => {
      const { naturalWidth: width, naturalHeight: height } = picture;
      picture.classList.toggle("small", Math.max(width, height) < SMALL);
      picture.classList.toggle("tall", height > width);
    });
    this.address = URL.createObjectURL(file);
    picture.src = this.address;
    picture.alt = file.name;
    const name = this.find(".filename");
    name.textContent = this.find(".problem .unseen").textContent = file.name;
    name.id = `file-${++made}`;
    for (const each of this.element.querySelectorAll("button, progress")) {
      each.setAttribute("aria-describedby", name.id);
    }
    this.find(".remove").addEventListener("click", () => this.remove());
    this.find(".cancel").addEventListener("click", () => this.request?.abort());
    this.find(".retry").addEventListener("click", () => this.classify());
    this.find(".why").addEventListener("click", () => this.explain());
    this.find("input[type=range]").addEventListener("input", () => this.setStrength());
  }

  remove() {
    this.request?.abort();
    URL.revokeObjectURL(this.address);
    this.onRemove(this);
  }

  sureness() {
    const { score } = this.result;
    return `${words.degrees.find(([least]) => score >= least)[1]}: ${percent(score)}`;
  }

  // What is written to CSV and JSON.
  record() {
    if (this.state === "done") return { ...this.result, filename: this.file.name, milliseconds: this.milliseconds };
    return { filename: this.file.name, error: this.problem ?? { title: words.unanswered } };
  }

  async classify() {
    this.state = "sending";
    this.problem = undefined;
    this.show();
    const started = performance.now();
    try {
      this.result = (await this.send("classify")).results[0];
      this.milliseconds = Math.round(performance.now() - started);
      this.state = "done";
    } catch (problem) {
      this.problem = problem;
      this.state = "failed";
    }
    this.show();
    if (this.state === "done") this.onAnswer(this);
  }

  // Send the picture; gives the answer, or throws a problem as the API has them.
  send(what) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest(); // fetch() says nothing of an upload's progress
      this.request = request;
      const progress = this.find("progress");
      request.open("POST", `/api/v1/${what}`);
      request.responseType = "json";
      request.setRequestHeader("X-Page-Language", document.documentElement.lang); // whatever another tab has chosen
      request.upload.addEventListener("progress", ({ loaded, total }) => { progress.value = (100 * loaded) / total; });
      request.upload.addEventListener("load", () => progress.removeAttribute("value")); // now the network thinks
      request.addEventListener("load", () => {
        const answer = request.response;
        if (request.status === 200 && answer) resolve(answer);
        else reject(answer?.detail ? answer : { title: words.unreachableTitle, detail: words.unreachable });
      });
      request.addEventListener("abort", () => reject({ title: words.cancelledTitle, detail: words.cancelled }));
      request.addEventListener("error", () => reject({ title: words.unreachableTitle, detail: words.unreachable }));
      const body = new FormData();
      body.append("image", this.file);
      request.send(body);
    });
  }

  show() {
    const { state, result, problem } = this;
    const focused = this.element.contains(document.activeElement) ? document.activeElement : null;
    this.find("progress").hidden = this.find(".cancel").hidden = state !== "sending";
    this.find(".remove").hidden = state === "sending";
    this.find(".answer").hidden = state !== "done";
    this.find(".why").hidden = state !== "done" || this.find(".picture").hidden;
    this.find(".problem").hidden = this.find(".retry").hidden = state !== "failed";
    if (state === "done") {
      this.find(".label").textContent = words.labels[result.label];
      this.find(".sure").textContent = this.sureness();
      this.find(".doubt").hidden = result.in_scope;
      this.find(".time").textContent = fill(words.time, { time: this.milliseconds });
      drawBars(this.find(".scores"), result.scores);
    }
    if (state === "failed") this.showProblem(problem);
    if (focused?.closest("[hidden]")) this.focus();
    this.onChange();
  }

  // Give the focus to the button that the card's state is waiting for.
  focus() {
    const wanted = { sending: ".cancel", failed: ".retry", done: ".why" }[this.state];
    (this.element.querySelector(`${wanted}:not([hidden])`) ?? this.find(".remove")).focus();
  }

  showProblem({ title, detail }) {
    this.find(".problem").hidden = false;
    this.find(".problem h2").textContent = title;
    this.find(".problem p").textContent = detail;
  }

  async explain() {
    const why = this.find(".why");
    if (isBusy(why)) return;
    const shown = why.getAttribute("aria-pressed") === "true";
    if (!shown && !this.explanation) {
      setBusy(why, true);
      this.find(".problem").hidden = true; // of an earlier try
      try {
        this.explanation = (await this.send("explain")).results[0].explanation;
      } catch (problem) {
        this.showProblem(problem);
        return;
      } finally {
        setBusy(why, false);
      }
      const canvas = this.find(".overlay");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", fill(words.explained, { label: words.labels[this.explanation.label] }));
      drawOverlay(canvas, this.explanation);
      this.setStrength();
    }
    why.setAttribute("aria-pressed", String(!shown));
    this.find(".overlay").hidden = this.find(".legend").hidden = shown;
  }

  setStrength() {
    this.find(".overlay").style.opacity = this.find("input[type=range]").value / 100;
  }
}
