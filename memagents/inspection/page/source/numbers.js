// Numbers as people read them.

/** A number with three digits that count. */
export function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value).replace("-", "−");
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
  return text.replaceAll("-", "−");
}

/** A share as per cent. */
export function percent(share) {
  if (share > 0 && share < 0.01) return "< 1 %";
  return `${Math.round(100 * share)} %`;
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
