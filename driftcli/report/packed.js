"use strict";

// What packed.py packed, unpacked; the first of the four parts of the page's script.

const MISSING = -32768;

function unpacked(ArrayType, base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new ArrayType(bytes.buffer);
}

function unpackPeaks(packed) {
  if (!packed.count) return { count: 0 };
  const { count, time, depth } = packed;
  const since = unpacked(Uint16Array, time.since);
  const scaled = (stored) => Float32Array.from(unpacked(Uint16Array, stored), (n) => depth.from + depth.step * n);
  const times = new Float64Array(count);
  for (let i = 0, ticks = 0; i < count; i++) times[i] = time.from + time.step * (ticks += since[i]);
  const colour = unpacked(Uint8Array, packed.amplitude);
  return { count, times, before: scaled(depth.before), after: scaled(depth.after), colour, order: byColour(colour) };
}

// The rows in ascending order of colour, so that the largest peaks are drawn last and nothing hides them.
function byColour(colour) {
  const next = new Uint32Array(257);
  for (const value of colour) next[value + 1]++;
  for (let i = 1; i < 257; i++) next[i] += next[i - 1];
  const order = new Uint32Array(colour.length);
  for (let i = 0; i < colour.length; i++) order[next[colour[i]]++] = i;
  return order;
}

// How many of ascending values are at most `value`.
function countUpTo(values, value) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function bracket(centres, at) {
  const clipped = Math.min(Math.max(at, centres[0]), centres[centres.length - 1]);
  if (centres.length === 1) return [0, 0, 0];
  const index = Math.min(Math.max(countUpTo(centres, clipped) - 1, 0), centres.length - 2);
  return [index, index + 1, (clipped - centres[index]) / (centres[index + 1] - centres[index])];
}

// The rules of lookup are those of driftcli's Motion.at: linear between bins and windows, never across a step.
class Motion {
  constructor(packed) {
    this.times = unpacked(Float64Array, packed.times_s);
    this.windows = packed.windows_um;
    this.displacement = this.#values(packed.displacement);
    this.error = packed.error && this.#values(packed.error);
    this.residual = packed.residual && this.#values(packed.residual);
    this.changes = this.#changesAtSteps(packed.steps_s);
  }

  #values(packed) {
    const scaled = (n) => (n === MISSING ? NaN : n * packed.step);
    return Float32Array.from(unpacked(Int16Array, packed.values), scaled);
  }

  // By the bin before a step: the time from which the bin after it holds.
  #changesAtSteps(steps) {
    const changes = new Map();
    for (let i = 0; i + 1 < this.times.length && steps.length; i++) {
      const first = countUpTo(steps, this.times[i]);
      const last = countUpTo(steps, this.times[i + 1]) - 1;
      const halfway = (this.times[i] + this.times[i + 1]) / 2;
      if (last >= first) changes.set(i, Math.min(Math.max(halfway, steps[first]), steps[last]));
    }
    return changes;
  }

  // Of the displacement, its error or what is left of it.
  at(values, time, depth) {
    const [row, next, share] = bracket(this.times, time);
    const change = this.changes.get(row);
    const weight = change === undefined ? share : Number(time >= change);
    const [column, following, part] = bracket(this.windows, depth);
    const across = (r) => {
      const from = values[r * this.windows.length + column];
      return part === 0 ? from : (1 - part) * from + part * values[r * this.windows.length + following];
    };
    if (weight === 0) return across(row);
    return weight === 1 ? across(next) : (1 - weight) * across(row) + weight * across(next);
  }

  // Where something at a corrected depth was recorded: depth = corrected depth + displacement at that depth.
  recordedDepth(time, corrected) {
    let depth = corrected;
    for (let i = 0; i < 20; i++) depth = corrected + this.at(this.displacement, time, depth);
    return depth;
  }
}
