// Pictures turned as their EXIF says, as the server turns them.
//
// Browsers do so by themselves, but for WebP not all of them.

const ORIENTATION = 0x0112;

/** Two pixels side by side, to be shown one below the other. */
const SIDEWAYS = "UklGRk4AAABXRUJQVlA4WAoAAAAIAAAAAQAAAAAAVlA4TA4AAAAvAQAAAAcQEf0PRET/A0VYSUYaAAAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAA=";

/** What takes a picture of a width and height to where it belongs, by the number that EXIF gives. */
const TURNS = {
  2: (w, h) => [-1, 0, 0, 1, w, 0],
  3: (w, h) => [-1, 0, 0, -1, w, h],
  4: (w, h) => [1, 0, 0, -1, 0, h],
  5: (w, h) => [0, 1, 1, 0, 0, 0],
  6: (w, h) => [0, 1, -1, 0, h, 0],
  7: (w, h) => [0, -1, -1, 0, h, w],
  8: (w, h) => [0, -1, 1, 0, 0, w],
};

/** A picture as something to draw from. Fails when the browser cannot read it. */
export async function upright(blob) {
  const bitmap = await createImageBitmap(blob);
  const turn = TURNS[webpOrientation(await blob.arrayBuffer())];
  if (!turn || (await browserTurnsWebp())) return bitmap;
  const { width, height } = bitmap;
  const matrix = turn(width, height);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = matrix[0] === 0 ? [height, width] : [width, height];
  const context = canvas.getContext("2d");
  context.setTransform(...matrix);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas;
}

let turning = null;
function browserTurnsWebp() {
  const bytes = Uint8Array.from(atob(SIDEWAYS), (letter) => letter.charCodeAt(0));
  turning ??= createImageBitmap(new Blob([bytes], { type: "image/webp" })).then((bitmap) => bitmap.height === 2);
  return turning;
}

/** The orientation in the EXIF of a WebP file; 1 when it has none, or is of another format. */
function webpOrientation(buffer) {
  const bytes = new DataView(buffer);
  const name = (at) => String.fromCharCode(...new Uint8Array(buffer, at, 4));
  if (buffer.byteLength < 12 || name(0) !== "RIFF" || name(8) !== "WEBP") return 1;
  for (let at = 12; at + 8 <= buffer.byteLength; ) {
    const length = bytes.getUint32(at + 4, true);
    const start = at + 8;
    if (name(at) === "EXIF" && start + length <= buffer.byteLength) {
      const prefix = length > 6 && name(start) === "Exif" ? 6 : 0;
      return tiffOrientation(new DataView(buffer, start + prefix, length - prefix));
    }
    at = start + length + (length % 2);
  }
  return 1;
}

function tiffOrientation(exif) {
  try {
    const little = exif.getUint16(0) === 0x4949;
    const directory = exif.getUint32(4, little);
    const count = exif.getUint16(directory, little);
    for (let at = directory + 2; at < directory + 2 + 12 * count; at += 12) {
      if (exif.getUint16(at, little) === ORIENTATION) return exif.getUint16(at + 8, little);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return 1;
}
