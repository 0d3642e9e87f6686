// Numbers as people read them.

/** A number with three digits that count. */
export function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value).replace("-", "−");
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
  return text.replaceAll("-", "−");
}

/** A number beside an axis, where there is little room, with as many digits as its steps need. */
export function tick(value, step) {
  const size = Math.abs(value);
  let digits = 0;
  while (digits < 6 && Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) > 1e-6 * step * 10 ** digits) digits++;
  if (digits > 0 && digits < 6 && size < 1e3) return value.toFixed(digits).replaceAll("-", "−");
  if (value !== 0 && (size >= 1e5 || size < 1e-2)) return value.toExponential(1).replace(".0e", "e").replace("+", "").replaceAll("-", "−");
  return short(value);
}

/** A word beside an axis. */
export function clipped(word) {
  return word.length > 7 ? `${word.slice(0, 4)}…` : word;
}

/** A share as per cent. */
export function percent(share) {
  if (share > 0 && share < 0.01) return "< 1 %";
  return `${Math.round(100 * share)} %`;
}

/** A number beside others that reach so far: what is next to nothing among them is not spelled out. */
export function among(value, most) {
  return value !== 0 && Math.abs(value) < most / 1000 ? "≈ 0" : short(value);
}

/** A plural where it is one. */
export function counted(number, word) {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
}

/** The place of the largest of some values, −1 where there is none. */
export function largest(count, value) {
  let best = -1;
  for (let k = 0; k < count; k++) if (value(k) > (best < 0 ? -Infinity : value(best))) best = k;
  return best;
}
