// Draws an explanation over its picture: coloured where the picture spoke for the class.

const COLOUR = [255, 64, 0];
const SIDE = 240; // pixels of the canvas, which the browser stretches over the picture's middle square

export function drawOverlay(canvas, picture, strengths) {
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
  // The network sees the middle square only.
  const { naturalWidth: width, naturalHeight: height } = picture;
  const side = Math.min(width, height);
  canvas.style.left = `${(50 * (width - side)) / width}%`;
  canvas.style.top = `${(50 * (height - side)) / height}%`;
  canvas.style.width = `${(100 * side) / width}%`;
  canvas.style.height = `${(100 * side) / height}%`;
}
