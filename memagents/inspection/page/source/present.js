// The shown step in numbers: reward, value, entropy, and what the policy makes of its actions.
import { element } from "./dom.js";
import { icon } from "./icons.js";
import { actionName, sideName } from "./names.js";
import { among, percent, short } from "./numbers.js";

const MOST = 12; // actions that are listed
export const SERIES = ["rewards", "decisions", "values", "entropy", "actions", "probabilities", "action_values", "action_mean", "action_std"];

/** Whether the actions of a recording are single choices. */
function choices(recording) {
  return recording.action_sizes.length === 1;
}

/** Add the numbers of one recording. */
export function present(store, host, recordings, side, episode) {
  const recording = recordings[side];
  const numbers = element("dl", { className: "numbers" });
  const bars = element("div", { className: "bars", role: "list" });
  const heading = recordings.length > 1 ? element("h3", { title: recording.name }, sideName(recordings, side)) : null;
  host.append(element("section", { className: "present" }, heading, numbers, bars));
  const show = () => {
    const { step } = store;
    if (step >= episode.steps) {
      numbers.replaceChildren(element("div", { className: "soft" }, `ended after ${episode.steps} steps`));
      bars.replaceChildren();
      return;
    }
    const pairs = [["reward", "rewards"], ["value", "values"], ["entropy", "entropy"]].filter(([, name]) => episode.tensor(name));
    numbers.replaceChildren(
      ...pairs.map(([word, name]) =>
        element("div", {}, element("dt", {}, word), element("dd", {}, short(episode.tensor(name).at(step, 0)))),
      ),
    );
    const idle = episode.tensor("decisions")?.at(step, 0) === 0;
    if (idle) numbers.append(element("div", { className: "soft" }, "the action does not matter here"));
    bars.classList.toggle("idle", idle);
    bars.replaceChildren(...rowsOf(recording, episode, step));
  };
  store.on("step", show);
  show();
}

function rowsOf(recording, episode, step) {
  const actions = episode.tensor("actions");
  if (episode.tensor("action_mean")) return continuous(episode, step);
  const [probabilities, values] = [episode.tensor("probabilities"), episode.tensor("action_values")];
  const shown = probabilities ?? values;
  if (!shown) return [element("p", { className: "soft" }, `action ${short(actions.at(step, 0))}`)];
  const all = listed(recording, actions, shown, step);
  const low = probabilities ? 0 : Math.min(0, values.low);
  const high = probabilities ? 1 : Math.max(0, values.high);
  const kept = all.length <= MOST ? all : all.filter((one) => one.chosen || one.rank < MOST);
  const rows = kept.map(({ name, value, chosen }) => bar(name, value, chosen, low, high, probabilities !== null));
  if (kept.length < all.length) rows.push(element("p", { className: "soft" }, `and ${all.length - kept.length} less likely ones`));
  return rows;
}

/** The actions with their numbers, and which was chosen. */
function listed(recording, actions, shown, step) {
  const chosen = new Set();
  const names = [];
  const parts = recording.action_sizes;
  if (parts.reduce((sum, count) => sum + count, 0) === shown.size && parts.length) {
    let begin = 0;
    parts.forEach((count, part) => {
      chosen.add(begin + actions.at(step, part));
      for (let k = 0; k < count; k++) names.push(choices(recording) ? actionName(recording, k) : `${part}: ${k}`);
      begin += count;
    });
  } else {
    for (let k = 0; k < shown.size; k++) {
      names.push(`bit ${k}`);
      if (actions.size === shown.size && actions.at(step, k) > 0.5) chosen.add(k);
      if (actions.size === 1 && shown.size > 1) names[k] = actionName(recording, k);
    }
    if (actions.size === 1 && shown.size > 1) chosen.add(actions.at(step, 0));
  }
  const all = names.map((name, k) => ({ name, value: shown.at(step, k), chosen: chosen.has(k) }));
  [...all].sort((one, other) => other.value - one.value).forEach((one, rank) => (one.rank = rank));
  return all;
}

function bar(name, value, chosen, low, high, shares) {
  const fill = element("span", { className: "fill" });
  const span = high - low || 1;
  fill.style.left = `${(100 * (Math.min(0, value) - low)) / span}%`;
  fill.style.width = `${(100 * Math.abs(value)) / span}%`;
  return element(
    "div",
    { className: chosen ? "bar chosen" : "bar", role: "listitem" },
    element("span", { className: "mark", "aria-hidden": "true" }, chosen ? icon("chosen") : ""),
    element("span", { className: "name", title: chosen ? `${name} (chosen)` : name }, name),
    element("span", { className: "line" }, fill),
    element("span", { className: "value" }, shares ? percent(value) : among(value, Math.max(Math.abs(low), Math.abs(high)))),
  );
}

function continuous(episode, step) {
  const [actions, mean, std] = ["actions", "action_mean", "action_std"].map((name) => episode.tensor(name));
  const rows = Array.from({ length: Math.min(MOST, mean.size) }, (_, k) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, `action ${k}`),
      element("td", {}, short(k < actions.size ? actions.at(step, k) : NaN)),
      element("td", {}, `${short(mean.at(step, k))} ± ${short(std.at(step, k))}`),
    ),
  );
  const head = element("tr", {}, ...["", "chosen", "mean ± deviation"].map((text) => element("th", { scope: "col" }, text)));
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
  const more = mean.size > MOST ? element("p", { className: "soft" }, `and ${mean.size - MOST} more`) : null;
  return [table, more].filter(Boolean);
}
