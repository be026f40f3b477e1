// Draws an explanation over its picture: coloured where the picture spoke for the class.

const COLOUR = [255, 64, 0];
const SIDE = 240; // pixels of the canvas, which the browser stretches over what was seen of the picture
const WHOLE = { left: 0, top: 0, right: 1, bottom: 1 }; // for a model's archive that says no region

export function drawOverlay(canvas, { region = WHOLE, strengths }) {
  const rows = strengths.length;
  const columns = strengths[0].length;
  const small = new OffscreenCanvas(columns, rows);
  const context = small.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  strengths.flat().forEach((strength, index) => pixels.data.set([...COLOUR, Math.round(255 * strength)], 4 * index));
  context.putImageData(pixels, 0, 0);
  canvas.width = canvas.height = SIDE;
  const large = canvas.getContext("2d");
  large.imageSmoothingQuality = "high";
  large.drawImage(small, 0, 0, SIDE, SIDE);
  canvas.style.left = `${100 * region.left}%`;
  canvas.style.top = `${100 * region.top}%`;
  canvas.style.width = `${100 * (region.right - region.left)}%`;
  canvas.style.height = `${100 * (region.bottom - region.top)}%`;
}
