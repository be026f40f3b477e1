// Renews the status page's figures every few seconds. The server draws them; only what changes is put in their place, so
// that focus and scrolling stay where they are.

const SECONDS = 5;
const page = document.documentElement;
const stale = document.getElementById("stale");
const pause = document.getElementById("pause");

page.classList.add("scripted");
const isPaused = () => pause.getAttribute("aria-pressed") === "true";
pause.addEventListener("click", () => pause.setAttribute("aria-pressed", String(!isPaused())));

// The page keeps its language, whichever was chosen in another tab meanwhile.
async function renew() {
  const response = await fetch(location.pathname, { headers: { Accept: "text/html", "X-Page-Language": page.lang } });
  if (!response.ok) throw new Error(response.status);
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  if (isPaused()) return;
  for (const part of document.querySelectorAll("[data-live]")) {
    part.replaceChildren(...fresh.getElementById(part.id).childNodes);
  }
}

async function keepFresh() {
  if (!document.hidden && !isPaused()) {
    try {
      await renew();
      if (stale.textContent) stale.textContent = "";
    } catch {
      stale.textContent = stale.dataset.words;
    }
  }
  setTimeout(keepFresh, 1000 * SECONDS);
}

setTimeout(keepFresh, 1000 * SECONDS);
