// Residual curves on a logarithmic axis: SVG by hand, thinned to what a screen can show.

const NS = "http://www.w3.org/2000/svg";
const MOST_POINTS = 240;
const LEFT = 44, BOTTOM = 40, TOP = 8, RIGHT = 8;

function node(name, attributes, text) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export class Chart {
  constructor(svg) {
    this.svg = svg;
    this.clear();
  }

  clear() {
    this.curves = new Map();
    this.svg.replaceChildren();
  }

  // Adds a point of a trajectory; a residual that is not yet defined has none.
  add(trajectory, colour, depth, residual, status) {
    if (!this.curves.has(trajectory)) this.curves.set(trajectory, { colour, points: [], status });
    const curve = this.curves.get(trajectory);
    curve.status = status;
    if (residual !== null && residual > 0) curve.points.push([depth, residual]);
  }

  draw() {
    const { svg } = this;
    const width = svg.clientWidth || 600, height = svg.clientHeight || 220;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    let deepest = 8, low = 1, high = 1;
    for (const { points } of this.curves.values()) {
      for (const [depth, residual] of points) {
        deepest = Math.max(deepest, depth);
        low = Math.min(low, residual);
        high = Math.max(high, residual);
      }
    }
    const bottom = Math.min(Math.floor(Math.log10(low)), -2), top = Math.ceil(Math.log10(high) - 0.01);
    const x = (depth) => LEFT + ((width - LEFT - RIGHT) * depth) / deepest;
    const y = (residual) => TOP + ((height - TOP - BOTTOM) * (top - Math.log10(residual))) / (top - bottom);
    const parts = [];
    for (let power = bottom; power <= top; power += 1) {
      const at = y(10 ** power);
      parts.push(node("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: at, y2: at }));
      parts.push(node("text", { x: LEFT - 8, y: at + 4, "text-anchor": "end" }, power < -3 ? `1e${power}` : String(10 ** power)));
    }
    const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((size) => deepest / size <= 8) ?? 2000;
    for (let depth = 0; depth <= deepest; depth += step) {
      parts.push(node("text", { x: x(depth), y: height - 22, "text-anchor": "middle" }, String(depth)));
    }
    parts.push(node("text", { x: (LEFT + width - RIGHT) / 2, y: height - 4, "text-anchor": "middle" }, "iterations"));
    for (const [trajectory, curve] of this.curves) {
      const { points, colour, status } = curve;
      if (!points.length) continue;
      const every = Math.max(1, Math.ceil(points.length / MOST_POINTS));
      const kept = points.filter((_, at) => at % every === 0 || at === points.length - 1);
      const line = kept.map(([depth, residual]) => `${x(depth).toFixed(1)},${y(residual).toFixed(1)}`).join(" ");
      const drawn = node("polyline", { points: line, stroke: colour });
      drawn.append(node("title", {}, `trajectory ${trajectory + 1}`));
      parts.push(drawn);
      if (status !== "running") {
        const [depth, residual] = points[points.length - 1];
        parts.push(node("circle", { cx: x(depth), cy: y(residual), r: 4, fill: colour }));
      }
    }
    svg.replaceChildren(...parts);
  }
}
