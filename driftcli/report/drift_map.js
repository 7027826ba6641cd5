// The drift map: peaks and motion over time and depth on a canvas; zoomed and moved by wheel, fingers and keys.

const SHORTEST_S = 0.02;
const SHORTEST_UM = 4;
const NARROW_PX = 700; // below it, before and after stand one above the other
const EDGE = { left: 62, right: 14, top: 24, bottom: 44, between: 26 };

class DriftMap {
  constructor(data, canvas, overlay, readout) {
    Object.assign(this, { data, canvas, overlay, readout });
    this.context = canvas.getContext("2d");
    this.shanks = new Map();
    this.home = { time: data.time_limits_s, depth: data.depth_limits_um };
    this.view = "both";
    this.withMotion = true;
    this.panels = [];
    this.pointers = new Map(); // those that are down, where
    this.hovering = null; // where the pointer is
    this.frames = 0;
    this.#listen();
    this.choose(data.shanks[0]?.shank);
    this.reset();
  }

  // A shank is unpacked when it is first shown.
  choose(number) {
    if (!this.shanks.has(number)) {
      const packed = this.data.shanks.find((each) => each.shank === number);
      const motion = packed?.motion ? new Motion(packed.motion) : null;
      this.shanks.set(number, { number, peaks: unpackPeaks(packed?.peaks ?? { count: 0 }), motion });
    }
    this.shank = this.shanks.get(number);
    this.redraw();
  }

  reset() {
    this.limits = { time: [...this.home.time], depth: [...this.home.depth] };
    this.redraw();
  }

  // Zoom by a factor (below 1: closer) about a place; what is under the pointer stays there.
  zoom(factor, about = {}, along = ["time", "depth"]) {
    for (const axis of along) {
      const [from, to] = this.limits[axis];
      const [least, most] = this.home[axis];
      const shortest = Math.min(axis === "time" ? SHORTEST_S : SHORTEST_UM, most - least);
      const span = Math.min(Math.max((to - from) * factor, shortest), most - least);
      const centre = about[axis] ?? (from + to) / 2;
      this.#moveTo(axis, centre - ((centre - from) * span) / (to - from), span);
    }
    this.redraw();
  }

  pan(time, depth) {
    for (const [axis, by] of [["time", time], ["depth", depth]]) {
      const [from, to] = this.limits[axis];
      this.#moveTo(axis, from + by, to - from);
    }
    this.redraw();
  }

  panByShare(time, depth) {
    const { time: t, depth: d } = this.limits;
    this.pan(time * (t[1] - t[0]), depth * (d[1] - d[0]));
  }

  #moveTo(axis, from, span) {
    const [least, most] = this.home[axis];
    const start = Math.min(Math.max(from, least), most - span);
    this.limits[axis] = span >= most - least ? [least, most] : [start, start + span];
  }

  get isHome() {
    return ["time", "depth"].every((axis) => this.limits[axis].every((value, i) => value === this.home[axis][i]));
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.#draw();
    });
  }

  // ---- Drawing

  #draw() {
    const began = performance.now();
    this.canvas.dataset.view = this.view; // the style sheet gives it its height by that
    this.#fit(this.canvas);
    this.#fit(this.overlay);
    this.panels = this.#layout(this.canvas.clientWidth, this.canvas.clientHeight);
    this.context.fillStyle = "#fff"; // who saves the picture gets it on white
    this.context.fillRect(0, 0, this.canvas.clientWidth, this.canvas.clientHeight);
    let drawn = 0;
    for (const panel of this.panels) drawn += this.#drawPanel(panel);
    this.#expose(drawn, performance.now() - began);
    this.#read();
  }

  #fit(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const size = [canvas.clientWidth, canvas.clientHeight].map((length) => Math.max(1, Math.round(length * ratio)));
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  #layout(width, height) {
    const across = width - EDGE.left - EDGE.right;
    const along = height - EDGE.top - EDGE.bottom;
    if (this.view !== "both") return [this.#panel(this.view, EDGE.left, EDGE.top, across, along, true, true)];
    if (width >= NARROW_PX) {
      const half = (across - EDGE.between) / 2;
      return [
        this.#panel("before", EDGE.left, EDGE.top, half, along, true, true),
        this.#panel("after", EDGE.left + half + EDGE.between, EDGE.top, half, along, false, true),
      ];
    }
    const half = (along - EDGE.top - 4) / 2;
    return [
      this.#panel("before", EDGE.left, EDGE.top, across, half, true, false),
      this.#panel("after", EDGE.left, height - EDGE.bottom - half, across, half, true, true),
    ];
  }

  #panel(state, left, top, width, height, withDepth, withTime) {
    const { time, depth } = this.limits;
    const [perSecond, perUm] = [width / (time[1] - time[0]), height / (depth[1] - depth[0])];
    return {
      state, left, top, width, height, withDepth, withTime, perSecond, perUm, limits: { time, depth },
      x: (seconds) => left + (seconds - time[0]) * perSecond,
      y: (um) => top + height - (um - depth[0]) * perUm,
      place: (x, y) => ({ time: time[0] + (x - left) / perSecond, depth: depth[0] + (top + height - y) / perUm }),
      holds: (x, y) => x >= left && x <= left + width && y >= top && y <= top + height,
    };
  }

  #drawPanel(panel) {
    const context = this.context;
    drawAxes(context, panel, this.data.time_units);
    context.save();
    context.beginPath();
    context.rect(panel.left, panel.top, panel.width, panel.height);
    context.clip();
    const drawn = drawPeaks(context, panel, this.shank.peaks);
    drawLeftOut(context, panel, this.data.left_out);
    if (this.withMotion && this.shank.motion) drawMotion(context, panel, this.shank.motion);
    drawBreaks(context, panel, this.data.breaks_s);
    context.restore();
    context.strokeStyle = INK;
    context.lineWidth = 1;
    context.strokeRect(panel.left, panel.top, panel.width, panel.height);
    return drawn;
  }

  // What is shown, for whoever asks without looking.
  #expose(drawn, took) {
    const { time, depth } = this.limits;
    Object.assign(this.canvas.dataset, {
      shank: this.shank.number ?? "", points: drawn, frame: ++this.frames, frameMs: took.toFixed(1),
      timeFrom: time[0], timeTo: time[1], depthFrom: depth[0], depthTo: depth[1],
      panels: JSON.stringify(this.panels.map(({ state, left, top, width, height }) => ({ state, left, top, width, height }))),
    });
  }

  // ---- The read-out

  // Of the place under the pointer, or of all that is shown.
  #read() {
    const pointed = this.hovering && this.#pointed(this.hovering);
    const context = this.overlay.getContext("2d");
    context.clearRect(0, 0, this.overlay.clientWidth, this.overlay.clientHeight);
    const { time, depth } = this.limits;
    const seconds = (value) => `${number(value, decimalsFor(time[1] - time[0], 100))} s`;
    const um = (value) => `${number(value, decimalsFor(depth[1] - depth[0], 100))} µm`;
    if (!pointed) {
      this.readout.textContent = `Showing ${seconds(time[0])} to ${seconds(time[1])}, ${um(depth[0])} to ${um(depth[1])}.`;
      return;
    }
    const { panel, time: at, depth: shown } = pointed;
    this.#drawCross(context, at, shown);
    const motion = this.shank.motion;
    const recorded = panel.state === "after" && motion ? motion.recordedDepth(at, shown) : shown;
    const words = [`time ${seconds(at)}`, panel.state === "after" ? `corrected depth ${um(shown)}` : `depth ${um(shown)}`];
    const displacement = motion ? motion.at(motion.displacement, at, recorded) : NaN;
    const error = motion?.error ? motion.at(motion.error, at, recorded) : NaN;
    words.push(motion ? `displacement ${number(displacement, 2)} µm` : "no motion of this shank");
    if (!Number.isNaN(error)) words.push(`expected error ± ${number(error, 2)} µm`);
    for (const [from, to, reason] of this.data.left_out) {
      if (at >= from && at < to) words.push(`left out of the estimate (${this.data.reasons[reason]})`);
    }
    this.readout.textContent = words.join(" · ");
    Object.assign(this.readout.dataset, { time: at, depth: recorded, displacement, error });
  }

  #drawCross(context, time, depth) {
    context.strokeStyle = "rgba(51, 56, 63, 0.55)";
    context.lineWidth = 1;
    for (const panel of this.panels) {
      context.beginPath();
      context.moveTo(panel.x(time), panel.top);
      context.lineTo(panel.x(time), panel.top + panel.height);
      context.moveTo(panel.left, panel.y(depth));
      context.lineTo(panel.left + panel.width, panel.y(depth));
      context.stroke();
    }
  }

  // ---- Pointer, wheel and keys

  #pointed(event) {
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const panel = this.panels.find((each) => each.holds(x, y));
    return panel && { panel, ...panel.place(x, y) };
  }

  #listen() {
    const on = (name, handler) => this.canvas.addEventListener(name, handler.bind(this), { passive: false });
    on("wheel", this.#onWheel);
    on("pointerdown", this.#onDown);
    on("pointermove", this.#onMove);
    for (const name of ["pointerup", "pointercancel"]) on(name, (event) => this.#onUp(event));
    on("pointerleave", (event) => {
      if (event.pointerType !== "mouse") return; // what a finger pointed at stays told
      this.hovering = null;
      this.#read();
    });
    on("dblclick", () => this.reset());
    on("keydown", this.#onKey);
    new ResizeObserver(() => this.redraw()).observe(this.canvas);
  }

  #onWheel(event) {
    const pointed = this.#pointed(event);
    const turned = (event.deltaY || event.deltaX) * (event.deltaMode === 1 ? 16 : 1);
    if (!pointed || (turned > 0 && this.isHome)) return; // nothing is further out: the page scrolls on
    event.preventDefault();
    const along = event.shiftKey ? ["time"] : event.altKey ? ["depth"] : ["time", "depth"];
    this.zoom(Math.min(2, Math.max(0.5, Math.exp(turned * 0.0015))), pointed, along);
  }

  #onDown(event) {
    if (event.button !== 0 || !this.#pointed(event)) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.hovering = event;
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    this.canvas.classList.add("dragged");
    this.#read();
  }

  #onUp(event) {
    this.pointers.delete(event.pointerId);
    if (!this.pointers.size) this.canvas.classList.remove("dragged");
  }

  // One pointer drags; two drag by their middle and zoom by their distance.
  #onMove(event) {
    this.hovering = event;
    if (!this.pointers.has(event.pointerId)) {
      this.#read();
      return;
    }
    const [wasAt, wasApart] = this.#middle();
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    const [at, apart] = this.#middle();
    const { perSecond, perUm } = this.panels[0];
    this.pan((wasAt[0] - at[0]) / perSecond, (at[1] - wasAt[1]) / perUm);
    if (wasApart && apart) this.zoom(wasApart / apart, this.#pointed({ clientX: at[0], clientY: at[1] }));
  }

  #middle() {
    const [first, second = first] = [...this.pointers.values()];
    const middle = [(first[0] + second[0]) / 2, (first[1] + second[1]) / 2];
    return [middle, Math.hypot(second[0] - first[0], second[1] - first[1])];
  }

  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = ACTIONS[KEYS[event.key]];
    if (!act) return;
    event.preventDefault();
    act(this);
  }
}

const ACTIONS = {
  in: (map) => map.zoom(1 / 1.5),
  out: (map) => map.zoom(1.5),
  left: (map) => map.panByShare(-0.15, 0),
  right: (map) => map.panByShare(0.15, 0),
  up: (map) => map.panByShare(0, 0.15),
  down: (map) => map.panByShare(0, -0.15),
  reset: (map) => map.reset(),
  flip: (map) => show(map, map.view === "before" ? "after" : "before"),
};
const KEYS = {
  "+": "in", "=": "in", "-": "out", "_": "out", 0: "reset", b: "flip", B: "flip",
  ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down",
};
