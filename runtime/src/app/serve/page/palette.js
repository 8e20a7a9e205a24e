// Colours of classes, the same that the program draws with.

export const PALETTE = [
  [255, 82, 82],
  [29, 120, 214],
  [42, 157, 71],
  [244, 140, 6],
  [131, 56, 236],
  [0, 168, 168],
  [214, 40, 140],
  [128, 152, 20],
  [90, 70, 60],
  [58, 190, 240],
  [255, 190, 11],
  [67, 56, 158],
  [250, 220, 180],
  [0, 109, 91],
  [188, 108, 230],
  [150, 90, 30],
  [120, 220, 120],
  [120, 20, 50],
  [255, 150, 190],
  [90, 110, 130],
];

export function colorOf(classId) {
  return `rgb(${PALETTE[classId % PALETTE.length].join(" ")})`;
}

/** Black or white, whichever contrasts more with the colour of a class. */
export function inkOn(classId) {
  const [r, g, b] = PALETTE[classId % PALETTE.length].map((level) => {
    const share = level / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  const light = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return (light + 0.05) / 0.05 > 1.05 / (light + 0.05) ? "#000" : "#fff";
}
