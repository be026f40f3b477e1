// Renews the status page's figures every few seconds. The server draws them; only what changes is put in their place, so
// that focus and scrolling stay where they are.

const SECONDS = 5;
const stale = document.getElementById("stale");

async function renew() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok) throw new Error(response.status);
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    part.replaceChildren(...fresh.getElementById(part.id).childNodes);
  }
}

async function keepFresh() {
  if (!document.hidden) {
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
