// Pictures as the server takes them.

import { upright } from "./upright.js";

const JPEG_QUALITY = 0.95;

/** The same picture as JPEG, its longer side at most `side`; nothing when the browser cannot read it. */
export async function jpegCopy(blob, side = Infinity) {
  const picture = await upright(blob).catch(() => null);
  if (!picture) return null;
  const scale = Math.min(1, side / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const context = canvas.getContext("2d");
  // In front of white, as the server reads what is transparent.
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close?.();
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", JPEG_QUALITY));
}
