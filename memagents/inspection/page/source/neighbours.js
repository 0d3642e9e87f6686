// Episodic control: which stored situations answered at the shown step.
import { element } from "./dom.js";
import { icon } from "./icons.js";
import { actionName } from "./names.js";
import { among, counted, percent, short } from "./numbers.js";

const NAMES = ["rows", "weights", "values", "ages", "found"];
const MOST = 5; // of an action

/** Load the neighbours of a memory; null where it has none. */
export function neighboursIn(trace) {
  const found = NAMES.map((name) => trace.get(`neighbour_${name}`) ?? null);
  const whole = found[0] && found[1] && found[0].shape.length === 2;
  return whole ? Object.fromEntries(NAMES.map((name, k) => [name, found[k]])) : null;
}

/** The row of those that are not listed. */
function rest(count, share, own) {
  const told = element("td", { colSpan: 3, className: "soft" }, `and ${count}, of ${share} together`);
  return element("tr", { className: own ? "chosen" : "" }, element("th", { scope: "row" }), told);
}

export async function neighbourTable(store, host, recording, episode, { rows, weights, values, ages, found: counts }) {
  await Promise.all([rows, weights, values, ages, counts].map((one) => one?.load()));
  const [actions, count] = rows.shape;
  const body = element("tbody");
  const head = ["action", "weight", "value", "age"].map((text) => element("th", { scope: "col" }, text));
  const table = element("table", { className: "neighbours" }, element("thead", {}, element("tr", {}, ...head)), body);
  host.append(
    element("p", { className: "soft" }, `The nearest stored situations at the shown step: their share in the action's value, their own value, and their age, where 0 is the one used last.`),
    element("div", { className: "scroll" }, table),
  );
  const reach = values ? Math.max(Math.abs(values.low), Math.abs(values.high)) : 0;
  const chosen = (step) => episode.tensor("actions")?.at(step, 0);
  const show = () => {
    const { step } = store;
    if (step >= episode.steps) return body.replaceChildren();
    const lines = [];
    for (let action = 0; action < actions; action++) {
      const found = Array.from({ length: count }, (_, k) => action * count + k).filter((k) => rows.at(step, k) >= 0);
      const name = actionName(recording, action);
      const own = chosen(step) === action;
      const cells = (k) => [percent(weights.at(step, k)), values ? among(values.at(step, k), reach) : short(null), short(ages?.at(step, k))];
      const shown = found.slice(0, MOST).map(cells);
      if (!shown.length) shown.push(["nothing stored", "", ""]);
      shown.forEach((texts, k) => {
        const heading = element("th", { scope: "row", title: name }, ...(k ? [] : own ? [icon("chosen"), name] : [name]));
        const row = element("tr", { className: own ? "chosen" : "" }, heading, ...texts.map((text) => element("td", {}, text)));
        lines.push(row);
      });
      const left = (counts ? counts.at(step, action) : found.length) - found.slice(0, MOST).length;
      const share = 1 - found.slice(0, MOST).reduce((sum, k) => sum + weights.at(step, k), 0);
      if (left > 0) lines.push(rest(counted(left, "further one"), percent(Math.max(0, share)), own));
    }
    return body.replaceChildren(...lines);
  };
  store.on("step", show);
  show();
}
