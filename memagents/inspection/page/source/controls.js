// Play, step, scrub: by buttons, by the slider, by the keyboard.
import { element } from "./dom.js";
import { icon } from "./icons.js";

const SPEEDS = [1, 2, 4, 8, 16, 32];

export function controls(store, host, { parting }) {
  const button = (id, title, onclick) =>
    element("button", { type: "button", title, id, "aria-label": title, onclick: left(onclick) }, icon(id));
  const play = button("play", "play (space)", toggle);
  const slider = element("input", { type: "range", id: "slider", min: 0, max: store.steps - 1, step: 1, value: 0 });
  slider.setAttribute("aria-label", "step");
  const number = element("output", { id: "step" });
  const speed = element(
    "select",
    { id: "speed", title: "steps a second", "aria-label": "steps a second" },
    ...SPEEDS.map((one) => element("option", { value: one, selected: one === 4 }, `${one}/s`)),
  );
  const track = element("div", { className: "track" }, slider);
  if (parting >= 0 && store.steps > 1) {
    const tick = element("span", { className: "tick", title: `the actions part at step ${parting}` });
    tick.style.left = `calc(8px + (100% - 16px) * ${parting / (store.steps - 1)})`;
    track.append(tick);
  }
  host.append(
    button("first", "first step (home)", () => store.go(0)),
    button("back", "one step back (←)", () => store.go(store.step - 1)),
    play,
    button("on", "one step on (→)", () => store.go(store.step + 1)),
    button("last", "last step (end)", () => store.go(store.steps - 1)),
    track,
    number,
    speed,
  );
  slider.addEventListener("input", () => store.go(Number(slider.value)));

  let timer = null;
  function stop() {
    clearInterval(timer);
    timer = null;
    play.replaceChildren(icon("play"));
    play.setAttribute("aria-label", "play (space)");
  }
  function start() {
    if (store.step === store.steps - 1) store.go(0);
    timer = setInterval(() => {
      store.go(store.step + 1);
      if (store.step === store.steps - 1) stop();
    }, 1000 / Number(speed.value));
    play.replaceChildren(icon("pause"));
    play.setAttribute("aria-label", "pause (space)");
  }
  function toggle() {
    if (timer === null) start();
    else stop();
  }
  /** After a click with the pointer the keys belong to the page again. */
  function left(act) {
    return (event) => {
      act();
      if (event.detail) event.currentTarget.blur();
    };
  }
  speed.addEventListener("change", () => {
    if (timer !== null) {
      stop();
      start();
    }
    speed.blur();
  });
  const keys = {
    " ": toggle,
    ArrowLeft: () => store.go(store.step - 1),
    ArrowRight: () => store.go(store.step + 1),
    Home: () => store.go(0),
    End: () => store.go(store.steps - 1),
    Escape: () => store.follow(null),
  };
  function pressed(event) {
    const act = keys[event.key];
    const { target } = event;
    if (!act || event.ctrlKey || event.metaKey || event.altKey || target.tagName === "SELECT") return;
    if (event.key === " " && target.closest("button, summary")) return;
    event.preventDefault();
    act();
  }
  document.addEventListener("keydown", pressed);
  const show = () => {
    slider.value = store.step;
    number.textContent = `${store.step} of ${store.steps - 1}`;
    document.documentElement.dataset.step = store.step;
  };
  store.on("step", show);
  show();
  return () => {
    stop();
    document.removeEventListener("keydown", pressed);
  };
}
