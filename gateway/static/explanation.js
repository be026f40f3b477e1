// Draws an explanation over its picture: coloured where the picture spoke for the class.

const COLOUR = [255, 64, 0];
const SIDE = 240; // pixels of the canvas, which the browser stretches over what was seen of the picture
const LONGEST = 1.25; // as in model/images.py: of a longer picture the network sees the middle only

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
  const { naturalWidth: width, naturalHeight: height } = picture;
  const [across, down] = [Math.min(1, (LONGEST * height) / width), Math.min(1, (LONGEST * width) / height)];
  canvas.style.left = `${50 * (1 - across)}%`;
  canvas.style.top = `${50 * (1 - down)}%`;
  canvas.style.width = `${100 * across}%`;
  canvas.style.height = `${100 * down}%`;
}
