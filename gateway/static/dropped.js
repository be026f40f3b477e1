// The files of a drop, with those in its folders, and how many files and folders could not be read.

export async function droppedFiles({ items, files }) {
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean); // now: they are gone afterwards
  if (!entries.some((entry) => entry.isDirectory)) return { files: [...files], unread: 0 };
  const found = (await Promise.all(entries.map(filesOf))).flat();
  found.sort((a, b) => (a.fullPath < b.fullPath ? -1 : 1));
  const read = (await Promise.all(found.map(fileOf))).filter(Boolean);
  return { files: read, unread: found.length - read.length };
}

// The files in an entry; a folder that cannot be read, or not to its end, is among them.
async function filesOf(entry) {
  if (entry.name.startsWith(".")) return []; // hidden ones
  if (!entry.isDirectory) return [entry];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve) => { reader.readEntries(resolve, () => resolve(null)); });
    if (!some) return [...found, entry];
    if (!some.length) return found; // it gives a hundred or so at a time
    found.push(...(await Promise.all(some.map(filesOf))).flat());
  }
}

function fileOf(entry) {
  return new Promise((resolve) => {
    if (entry.isDirectory) resolve(null);
    else entry.file(resolve, () => resolve(null));
  });
}
