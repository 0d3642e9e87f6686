// Colours of numbers: cividis, which is even to the eye and the same to those who see fewer colours.
import { interpolateCividis } from "d3-scale-chromatic";

const TABLE = Array.from({ length: 256 }, (_, k) => interpolateCividis(k / 255).match(/\d+/g).map(Number));

/** The range of colours for numbers from low to high: from 0 on, or as far below as above it where signs differ; NaN of NaN. */
export function rangeOf(low, high) {
  if (low < 0 && -low < high / 1000) return [0, high]; // rounding
  if (low < 0 && high > 0) return [-Math.max(-low, high), Math.max(-low, high)];
  if (low >= 0 && low <= high / 2) return [0, high];
  if (high <= 0 && high >= low / 2) return [low, 0];
  return [low, high];
}

/** Write the colour of a number into pixels; nothing for NaN. */
export function dye(pixels, at, value, [low, high]) {
  if (Number.isNaN(value)) return;
  const share = high > low ? (value - low) / (high - low) : value === 0 ? 0 : 0.5;
  const [red, green, blue] = TABLE[Math.max(0, Math.min(255, Math.round(255 * share)))];
  pixels[at] = red;
  pixels[at + 1] = green;
  pixels[at + 2] = blue;
  pixels[at + 3] = 255;
}

/** The scale as a CSS gradient. */
export const GRADIENT = `linear-gradient(to right, ${[0, 32, 64, 96, 128, 160, 192, 224, 255]
  .map((k) => `rgb(${TABLE[k].join(",")})`)
  .join(",")})`;
