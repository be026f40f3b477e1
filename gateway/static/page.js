// What JavaScript adds to the form: a preview, dropping a file, and the answer without leaving the page.
// The answer is the one that the server draws for the plain form; here it is only put in place.

const form = document.getElementById("form");
const input = document.getElementById("image");
const drop = document.getElementById("drop");
const preview = document.getElementById("preview");
const button = document.getElementById("classify");
const status = document.getElementById("status");
const outcome = document.getElementById("outcome");

document.documentElement.classList.add("scripted");

function showPreview() {
  const [file] = input.files;
  if (preview.src) URL.revokeObjectURL(preview.src);
  preview.hidden = !file;
  if (!file) return preview.removeAttribute("src");
  preview.src = URL.createObjectURL(file);
  preview.alt = file.name;
  outcome.replaceChildren();
  status.textContent = "";
}

function problem(title, detail) {
  const card = document.createElement("div");
  card.className = "card problem";
  card.setAttribute("role", "alert");
  card.append(Object.assign(document.createElement("h2"), { textContent: title }));
  card.append(Object.assign(document.createElement("p"), { textContent: detail }));
  outcome.replaceChildren(card);
}

async function classify(event) {
  event.preventDefault();
  const data = new FormData(form);
  data.append("without-picture", "1"); // it is on the page already
  button.disabled = true;
  outcome.replaceChildren();
  status.textContent = "Classifying…";
  try {
    const response = await fetch(form.action, { method: "POST", body: data, headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    outcome.replaceChildren(...page.getElementById("outcome").childNodes);
    document.title = page.title;
  } catch {
    problem("The service cannot be reached", "Check the connection and press Classify again.");
  } finally {
    status.textContent = "";
    button.disabled = false;
  }
}

// A picture that the browser cannot show may still be one that the service reads.
preview.addEventListener("error", () => { preview.hidden = true; });
input.addEventListener("change", showPreview);
form.addEventListener("submit", classify);

for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (!event.dataTransfer.files.length) return;
  const chosen = new DataTransfer();
  chosen.items.add(event.dataTransfer.files[0]);
  input.files = chosen.files;
  showPreview();
});
showPreview(); // a reload may have kept the chosen file
