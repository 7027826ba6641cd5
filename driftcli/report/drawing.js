// How the drift map is drawn: scales, axes, peaks, motion. A panel is a place on the canvas with limits of time and depth.

// Units are [name, how many seconds it has, the span in s beyond which it is used], from the shortest on.
function timeUnit(span, units) {
  return units.filter(([, , beyond]) => span > beyond).pop() ?? units[0];
}

function niceStep(span, most) {
  const raw = span / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999999);
}

function ticks(from, to, most) {
  const step = niceStep(to - from, most);
  const found = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to + step * 1e-9; i++) found.push(i * step);
  return { at: found, decimals: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function number(value, decimals) {
  const rounded = Number(value.toFixed(decimals)) || 0; // no -0
  const options = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  return rounded.toLocaleString("en", options).replace("-", "−");
}

function decimalsFor(span, extent) {
  return Math.min(6, Math.max(0, Math.ceil(-Math.log10(span / extent))));
}

// From small amplitudes to large ones: ever darker, so that the order shows without seeing colours, too. They are those
// of the figures: matplotlib's magma, reversed, from 22 % on.
const RAMP = ["#fd9668", "#f4675c", "#d8456c", "#b0357b", "#882781", "#601880", "#38106c", "#130d34", "#000004"];
const INK = "#33383f";
const FAINT = "#d9dde2";
const MOTION = "#0072b2";
const ERROR_BAND = "rgba(0, 114, 178, 0.22)";
const LEFT_OUT = "rgba(226, 229, 233, 0.7)";
const LEFT_OUT_BAR = "#6b7280";
const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

function channels(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

const COLOURS = Array.from({ length: 256 }, (_, i) => {
  const place = (i / 255) * (RAMP.length - 1);
  const index = Math.min(Math.floor(place), RAMP.length - 2);
  const [from, to] = [channels(RAMP[index]), channels(RAMP[index + 1])];
  return from.map((value, c) => Math.round(value + (place - index) * (to[c] - value)));
});
const PIXELS = Uint32Array.from(COLOURS, ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0);
const DOTS = document.createElement("canvas"); // peaks are set here before they are drawn

function drawAxes(context, panel, units) {
  const { time, depth } = panel.limits;
  const [unit, seconds] = timeUnit(time[1] - time[0], units);
  const along = ticks(time[0] / seconds, time[1] / seconds, Math.max(2, panel.width / 85));
  const up = ticks(depth[0], depth[1], Math.max(2, panel.height / 45));
  const bottom = panel.top + panel.height;
  context.font = FONT;
  context.fillStyle = INK;
  context.strokeStyle = FAINT;
  context.lineWidth = 1;
  context.textAlign = "center";
  for (const value of along.at) {
    const x = panel.x(value * seconds);
    line(context, x, panel.top, x, bottom);
    if (panel.withTime) context.fillText(number(value, along.decimals), x, bottom + 17);
  }
  context.textAlign = "right";
  for (const value of up.at) {
    const y = panel.y(value);
    line(context, panel.left, y, panel.left + panel.width, y);
    if (panel.withDepth) context.fillText(number(value, up.decimals), panel.left - 7, y + 4);
  }
  context.textAlign = "left";
  context.font = FONT.replace("12px", "600 13px");
  context.fillText(panel.state === "before" ? "Before" : "After", panel.left, panel.top - 8);
  context.font = FONT;
  context.textAlign = "center";
  if (panel.withTime) context.fillText(`time (${unit})`, panel.left + panel.width / 2, bottom + 36);
  if (!panel.withDepth) return;
  context.save();
  context.translate(14, panel.top + panel.height / 2);
  context.rotate(-Math.PI / 2);
  context.fillText("depth (µm)", 0, 0);
  context.restore();
}

function line(context, fromX, fromY, toX, toY) {
  context.beginPath();
  context.moveTo(fromX, fromY);
  context.lineTo(toX, toY);
  context.stroke();
}

// Peaks there fade; a bar at the top shows spans that are shorter than a pixel, too.
function drawLeftOut(context, panel, spans) {
  for (const [from, to] of spans) {
    const [x, end] = [panel.x(from), panel.x(to)];
    context.fillStyle = LEFT_OUT;
    context.fillRect(x, panel.top, end - x, panel.height);
    context.fillStyle = LEFT_OUT_BAR;
    context.fillRect(x, panel.top, Math.max(end - x, 2), 5);
  }
}

function drawBreaks(context, panel, times) {
  for (const time of times) {
    for (const [style, width, dashes] of [["#fff", 3, []], [INK, 1.2, [6, 4]]]) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.setLineDash(dashes);
      line(context, panel.x(time), panel.top, panel.x(time), panel.top + panel.height);
    }
  }
  context.setLineDash([]);
}

// Peaks are set pixel by pixel: a picture of 200,000 of them takes a few milliseconds so.
function drawPeaks(context, panel, peaks) {
  const { count, times, order, colour } = peaks;
  if (!count) return 0;
  const depths = peaks[panel.state];
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.ceil(panel.width * ratio), Math.ceil(panel.height * ratio)];
  const [from, to] = panel.limits.time;
  const [low, high] = panel.limits.depth;
  let visible = 0;
  for (let i = 0; i < count; i++) {
    visible += times[i] >= from && times[i] <= to && depths[i] >= low && depths[i] <= high;
  }
  // large enough to be seen, small enough not to hide each other
  const radius = ratio * Math.min(2.5, Math.max(0.5, Math.sqrt((0.12 * panel.width * panel.height) / (visible + 1))));
  const edge = Math.ceil(radius);
  const row = width + 2 * edge;
  const disc = discOffsets(radius, row);
  const picture = new ImageData(row, height + 2 * edge);
  const pixels = new Uint32Array(picture.data.buffer);
  const [perSecond, perUm] = [panel.perSecond * ratio, panel.perUm * ratio];
  for (const i of order) {
    if (!(times[i] >= from && times[i] <= to && depths[i] >= low && depths[i] <= high)) continue;
    const x = Math.min(width - 1, ((times[i] - from) * perSecond) | 0);
    const y = Math.min(height - 1, ((high - depths[i]) * perUm) | 0);
    const centre = (y + edge) * row + x + edge;
    const pixel = PIXELS[colour[i]];
    for (const offset of disc) pixels[centre + offset] = pixel;
  }
  DOTS.width = picture.width;
  DOTS.height = picture.height;
  DOTS.getContext("2d").putImageData(picture, 0, 0);
  const size = [picture.width / ratio, picture.height / ratio];
  context.drawImage(DOTS, panel.left - edge / ratio, panel.top - edge / ratio, ...size);
  return visible;
}

// Before: the way that the tissue at each window takes. After: what is found of it in the corrected peaks.
function drawMotion(context, panel, motion) {
  const before = panel.state === "before";
  const values = before ? motion.displacement : motion.residual;
  if (!values) return;
  const rows = rowsInView(panel, motion);
  motion.windows.forEach((depth, column) => {
    const at = (row) => values[row * motion.windows.length + column];
    strokeMotion(context, panel, motion, rows, depth, at, "rgba(255, 255, 255, 0.85)", 3.5);
    if (before && motion.error) fillBand(context, panel, motion, rows, depth, column, at);
    strokeMotion(context, panel, motion, rows, depth, at, MOTION, 1.5);
  });
}

function rowsInView(panel, motion) {
  const [from, to] = panel.limits.time;
  return [Math.max(0, countUpTo(motion.times, from) - 1), Math.min(motion.times.length - 1, countUpTo(motion.times, to))];
}

// A line, with the lowest and highest of the bins that share a pixel.
function strokeMotion(context, panel, motion, [first, last], depth, at, style, width) {
  context.beginPath();
  context.strokeStyle = style;
  context.lineWidth = width;
  context.lineJoin = "round";
  let column = -Infinity;
  let [lowest, highest] = [0, 0];
  let isOn = false;
  const finish = () => {
    if (isOn && highest > lowest) {
      context.lineTo(column, panel.y(depth + lowest));
      context.lineTo(column, panel.y(depth + highest));
    }
  };
  for (let row = first; row <= last; row++) {
    const value = at(row);
    const x = Math.round(panel.x(motion.times[row]) * 2) / 2;
    if (Number.isNaN(value)) {
      finish();
      isOn = false;
      continue;
    }
    if (isOn && x === column) {
      [lowest, highest] = [Math.min(lowest, value), Math.max(highest, value)];
    } else {
      finish();
      if (isOn) context.lineTo(x, panel.y(depth + value));
      else context.moveTo(outer(panel, motion, row, x, -1), panel.y(depth + value));
      context.lineTo(x, panel.y(depth + value));
      [column, lowest, highest] = [x, value, value];
      isOn = true;
    }
    if (motion.changes.has(row) || row === motion.times.length - 1) {
      finish();
      context.lineTo(outer(panel, motion, row, x, 1), panel.y(depth + value));
      isOn = false;
    }
  }
  finish();
  context.stroke();
}

// How far the outer bin of a side holds: to the step, or to the end of what is shown.
function outer(panel, motion, row, x, direction) {
  const change = motion.changes.get(direction > 0 ? row : row - 1);
  if (change !== undefined) return panel.x(change);
  if (direction < 0 && row === 0) return Math.min(x, panel.left);
  return direction > 0 && row === motion.times.length - 1 ? Math.max(x, panel.left + panel.width) : x;
}

function fillBand(context, panel, motion, [first, last], depth, column, at) {
  context.fillStyle = ERROR_BAND;
  const [upper, lower] = [[], []];
  const finish = () => {
    if (upper.length > 1) {
      context.beginPath();
      for (const [x, y] of [...upper, ...lower.reverse()]) context.lineTo(x, y);
      context.fill();
    }
    upper.length = lower.length = 0;
  };
  const every = Math.max(1, Math.floor((last - first) / (2 * panel.width)));
  for (let row = first; row <= last; row++) {
    const error = motion.error[row * motion.windows.length + column];
    const isKnown = !Number.isNaN(error);
    if (isKnown && (row % every === 0 || row === last)) {
      const x = panel.x(motion.times[row]);
      upper.push([x, panel.y(depth + at(row) + error)]);
      lower.push([x, panel.y(depth + at(row) - error)]);
    }
    if (!isKnown || motion.changes.has(row)) finish();
  }
  finish();
}

function discOffsets(radius, row) {
  if (radius < 0.75) return [0];
  const offsets = [];
  const reach = Math.ceil(radius);
  const shift = radius < 1.25 ? 0.5 : 0; // the smallest is a square of 2 × 2
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      if ((x - shift) ** 2 + (y - shift) ** 2 <= radius ** 2) offsets.push(y * row + x);
    }
  }
  return offsets;
}
