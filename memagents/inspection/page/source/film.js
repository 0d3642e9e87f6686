// The film: the picture of the shown step, and the strip of all steps below it.
import { element } from "./dom.js";
import { still } from "./image.js";
import { rangeOf } from "./scale.js";
import { LEFT } from "./chart.js";

/** What stands for a step where a picture is wanted: the environment's, else the observation. */
export class Scene {
  constructor(episode) {
    this.episode = episode;
    const observations = episode.observations();
    const most = Math.max(0, ...observations.map((one) => one.shape.length));
    this.observation = observations.find((one) => one.shape.length === most) ?? null;
    this.range = this.observation ? rangeOf(this.observation.low, this.observation.high) : null;
  }

  get films() {
    return this.episode.told.film !== null;
  }

  load() {
    return Promise.all([this.episode.loadTexts(), this.films ? null : this.observation?.load()]);
  }

  /** A new element with the picture of a step. */
  at(step) {
    if (step >= this.episode.steps) return element("span", { className: "nothing" }, "ended");
    const url = this.episode.picture(step);
    if (url) return element("img", { src: url, alt: `what was seen at step ${step}`, className: "picture" });
    if (this.observation) return still(this.observation, this.range, step);
    return element("span", { className: "nothing" }, "no picture");
  }
}

/** Add the film of one recording. */
export function film(store, host, scene, caption) {
  const screen = element("div", { className: "screen" });
  host.append(element("figcaption", { className: "film-name", title: caption }, caption), screen);
  const words = element("pre", { className: "words" });
  if (scene.episode.texts) {
    const summary = element("summary", {}, "what the environment says");
    host.append(element("details", { open: !scene.films }, summary, words));
  }
  let image = null;
  const show = () => {
    words.textContent = scene.episode.text(Math.min(store.step, scene.episode.steps - 1));
    screen.classList.toggle("ended", store.step >= scene.episode.steps);
    const step = Math.min(store.step, scene.episode.steps - 1);
    if (!scene.films) {
      screen.replaceChildren(scene.at(step));
      return;
    }
    if (!image) screen.replaceChildren((image = scene.at(step)));
    image.src = scene.episode.picture(step);
    image.alt = `what was seen at step ${step}`;
    image.dataset.step = step;
  };
  store.on("step", show);
  show();
}

/** Add the strip of pictures above the charts, one for every so many steps in view. */
export function strip(store, host, scene) {
  const box = element("div", { className: "strip" });
  box.style.marginLeft = `${LEFT}px`;
  host.append(box);
  let drawn = "";
  const show = () => {
    const [from, to] = store.view;
    const width = Math.max(60, host.clientWidth - LEFT - 10);
    const room = Math.max(1, Math.floor(width / 64));
    const first = Math.max(0, Math.ceil(from));
    const count = Math.max(1, Math.min(store.steps - 1, Math.floor(to)) - first + 1);
    const shown = Math.min(count, room);
    const key = `${first} ${count} ${shown} ${Math.round(width)}`;
    if (key === drawn) return;
    drawn = key;
    const one = width / shown;
    box.replaceChildren(
      ...Array.from({ length: shown }, (_, k) => {
        const step = first + Math.floor(((k + 0.5) * count) / shown);
        const go = () => store.go(step);
        const button = element("button", { className: "frame", title: `step ${step}`, onclick: go, type: "button" });
        button.setAttribute("aria-label", `go to step ${step}`);
        button.style.width = `${one}px`;
        button.append(scene.at(step));
        button.dataset.from = first + Math.floor((k * count) / shown);
        button.dataset.to = first + Math.floor(((k + 1) * count) / shown);
        return button;
      }),
    );
    point();
  };
  const point = () => {
    for (const { classList, dataset } of box.children)
      classList.toggle("here", store.step >= Number(dataset.from) && store.step < Number(dataset.to));
  };
  store.on("view", show);
  store.on("step", point);
  show();
  return show;
}
