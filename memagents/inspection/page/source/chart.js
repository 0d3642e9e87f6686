// Charts over the steps of an episode, by uPlot: one axis of steps, one cursor, one view for all of them.
import uPlot from "uplot";
import { colour } from "./dom.js";

const FONT = "11px system-ui, sans-serif";
const WHOLE = [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000];
export const LEFT = 46; // of the plots, in pixels, so that all steps stand below one another
const TOP = 9; // where marks of steps are
const BOTTOM = 6; // where the lowest number of an axis ends

export class Charts {
  constructor(store, parting) {
    this.store = store;
    this.parting = parting; // step at which two recordings part, or −1
    this.all = new Set();
    store.on("step", () => this.all.forEach((chart) => this.place(chart)));
    store.on("view", () => this.all.forEach((chart) => this.show(chart)));
    store.on("trail", () => this.redraw());
  }

  /**
   * Add a chart.
   * @param host element that it fills
   * @param options height; data and series of uPlot; y: {range, flip, values, whole}; draw(u) paints below the marks;
   *   click(step, y) and hover(step, y), hover(null) when the pointer leaves; axis: whether steps are written below
   */
  add(host, { height, data, series, y, draw, click, hover, axis = true }) {
    const { store } = this;
    const axisStyle = { font: FONT, stroke: () => colour("--soft"), ticks: { show: false } };
    const grid = { stroke: () => colour("--line"), width: 1 };
    const u = new uPlot(
      {
        width: Math.max(120, host.clientWidth),
        height: height + TOP + (axis ? 18 : BOTTOM),
        padding: [TOP, 10, axis ? 0 : BOTTOM, 0],
        legend: { show: false },
        cursor: { sync: { key: "steps", scales: ["x", null] }, points: { show: false }, y: false, drag: { x: true, y: false, dist: 6 } },
        scales: {
          x: { time: false, range: (_, from, to) => (to - from < 1 ? [...store.view] : [from, to]) },
          y: { range: y.range, dir: y.flip ? -1 : 1 },
        },
        axes: [
          { ...axisStyle, show: axis, size: 18, gap: 3, incrs: WHOLE, grid: { show: false }, values: (_, at) => at.map(String) },
          {
            ...axisStyle,
            size: LEFT,
            gap: 4,
            space: y.space ?? 18,
            grid: y.flip ? { show: false } : grid,
            ...(y.whole ? { incrs: WHOLE } : {}),
            ...(y.splits ? { splits: y.splits } : {}),
            ...(y.values ? { values: (_, at, axis, space, step) => at.map((value) => y.values(value, step)) } : {}),
          },
        ],
        series: [{}, ...series],
        hooks: {
          draw: [(chart) => draw?.(chart), (chart) => this.mark(chart), (chart) => this.place(chart)],
          setScale: [(chart, key) => key === "x" && this.zoomed(chart)],
        },
      },
      data,
      host,
    );
    const cursor = document.createElement("div");
    cursor.className = "now";
    u.over.append(cursor);
    if (this.parting >= 0) {
      const line = document.createElement("div");
      line.className = "parting";
      u.over.append(line);
    }
    const at = (event) => {
      const box = u.over.getBoundingClientRect();
      const step = Math.round(u.posToVal(event.clientX - box.left, "x"));
      return [Math.max(0, Math.min(store.steps - 1, step)), u.posToVal(event.clientY - box.top, "y")];
    };
    u.over.addEventListener("click", (event) => {
      const [step, value] = at(event);
      store.go(step);
      click?.(step, value);
    });
    u.over.addEventListener("mousemove", (event) => hover?.(...at(event)));
    u.over.addEventListener("mouseleave", () => hover?.(null));
    u.over.addEventListener("dblclick", () => store.look(-0.5, store.steps - 0.5));
    this.all.add(u);
    this.show(u);
    return u;
  }

  /** Put the cursor at the step that is shown. */
  place(u) {
    const { step } = this.store;
    const put = (node, where) => {
      if (!node) return;
      const from = u.valToPos(where - 0.5, "x");
      const to = u.valToPos(where + 0.5, "x");
      const inside = to > -1 && from < u.over.clientWidth + 1;
      node.style.display = inside ? "" : "none";
      node.style.left = `${from}px`;
      node.style.width = `${Math.max(2, to - from)}px`;
    };
    put(u.over.querySelector(".now"), step);
    put(u.over.querySelector(".parting"), this.parting);
  }

  /** Bring what the store has in view. */
  show(u) {
    const [min, max] = this.store.view;
    u.setScale("x", { min, max });
  }

  zoomed(u) {
    const { min, max } = u.scales.x;
    const [from, to] = this.store.view;
    if (min === null || (Math.abs(min - from) < 1e-6 && Math.abs(max - to) < 1e-6)) return;
    this.store.look(Math.round(min) - 0.5, Math.round(max) + 0.5);
  }

  /** Point at the steps of what was clicked, from above the plot; the larger the share, the larger. */
  mark(u) {
    const marks = this.store.trail?.marks ?? [];
    const { ctx, bbox } = u;
    const unit = uPlot.pxRatio;
    ctx.save();
    ctx.fillStyle = colour("--mark");
    for (const { step, share } of marks) {
      const x = u.valToPos(step, "x", true);
      if (share < 0.01 || x < bbox.left || x > bbox.left + bbox.width) continue;
      const half = (2 + 3.5 * Math.sqrt(share)) * unit;
      ctx.beginPath();
      ctx.moveTo(x - half, bbox.top - 1 - 1.6 * half);
      ctx.lineTo(x + half, bbox.top - 1 - 1.6 * half);
      ctx.lineTo(x, bbox.top - 1);
      ctx.fill();
    }
    ctx.restore();
  }

  /** Draw all again, at once. */
  redraw() {
    this.all.forEach((u) => u.batch(() => u.redraw(false, true)));
  }

  resize() {
    this.all.forEach((u) => {
      const width = Math.max(120, u.root.parentElement.clientWidth);
      if (width === u.width) return;
      u.setSize({ width, height: u.height });
    });
  }
}
