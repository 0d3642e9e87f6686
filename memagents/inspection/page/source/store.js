// What is shown now: the step, the part of the episode in view, and what was clicked. Others listen.

export class Store {
  constructor(steps) {
    this.steps = steps;
    this.step = 0;
    this.view = [-0.5, steps - 0.5];
    this.trail = null; // see trail.js
    this.listeners = { step: [], view: [], trail: [] };
  }

  on(what, listener) {
    this.listeners[what].push(listener);
  }

  tell(what) {
    for (const listener of this.listeners[what]) listener();
  }

  go(step) {
    const next = Math.max(0, Math.min(this.steps - 1, Math.round(step)));
    if (next === this.step) return;
    this.step = next;
    const [from, to] = this.view;
    if (next < from || next > to) this.look(next - (to - from) / 2, next + (to - from) / 2);
    this.tell("step");
  }

  /** Bring a part of the episode into view. */
  look(from, to) {
    const low = Math.max(-0.5, Math.min(from, this.steps - 1.5));
    const high = Math.min(this.steps - 0.5, Math.max(to, low + 1));
    if (low === this.view[0] && high === this.view[1]) return;
    this.view = [low, high];
    this.tell("view");
  }

  follow(trail) {
    this.trail = trail;
    this.tell("trail");
  }
}
