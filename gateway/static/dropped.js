// The files of a drop, with those in its folders.

export async function droppedFiles({ items, files }) {
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean); // now: they are gone afterwards
  if (!entries.some((entry) => entry.isDirectory)) return [...files];
  const found = (await Promise.all(entries.map(filesOf))).flat();
  found.sort((a, b) => (a.fullPath < b.fullPath ? -1 : 1));
  return Promise.all(found.map((entry) => new Promise((resolve, reject) => { entry.file(resolve, reject); })));
}

async function filesOf(entry) {
  if (entry.name.startsWith(".")) return []; // hidden ones
  if (!entry.isDirectory) return [entry];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!some.length) return found; // it gives a hundred or so at a time
    found.push(...(await Promise.all(some.map(filesOf))).flat());
  }
}
