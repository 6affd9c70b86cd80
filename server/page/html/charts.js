// Small charts. Each is one image with a sentence for those who do not see it; numbers that matter stand beside it as text.

import { count, h, svg } from "./dom.js";

const HEIGHT = 40;  // in units of the view box, which is stretched

// Stacked columns, one a second: series is [{name, className, values}].
export function columns(series, { label, format = count }) {
  const length = Math.max(...series.map((one) => one.values.length));
  const sums = Array.from({ length }, (_, i) => series.reduce((sum, one) => sum + (one.values[i] || 0), 0));
  const peak = Math.max(...sums, 0);
  const bars = [];
  for (let i = 0; i < length && peak > 0; i++) {
    let below = 0;
    for (const one of series) {
      const height = ((one.values[i] || 0) / peak) * HEIGHT;
      if (height === 0) continue;
      bars.push(svg("rect", { class: one.className, x: i + 0.1, width: 0.8, y: HEIGHT - below - height, height }));
      below += height;
    }
  }
  const last = sums[length - 1];
  return h("figure", { class: "chart" },
    h("div", { class: "plot" },
      h("span", { class: "peak", "aria-hidden": "true" }, peak > 0 ? format(peak) : ""),
      svg("svg", { viewBox: `0 0 ${length} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
                   "aria-label": `${label}, the last ${length} seconds: ${format(last)} now, at most ${format(peak)}.` }, bars)),
    h("div", { class: "axis", "aria-hidden": "true" }, h("span", {}, "2 min ago"), h("span", {}, "now")),
    series.length > 1 && h("figcaption", { class: "legend" },
      series.map((one) => h("span", {}, h("i", { class: one.className }), `${one.name} `,
                            h("b", {}, format(one.values[length - 1] || 0))))));
}

// Of ages: bins of equal width.
export function histogram(ages) {
  const most = Math.max(...ages.bins.map((bin) => bin.count), 0);
  if (most === 0) return h("p", { class: "quiet" }, "No slot is live.");
  const q = ages.quantiles;
  const width = ages.bins.length;
  return h("figure", { class: "chart" },
    h("div", { class: "plot" },
      svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
                   "aria-label": `Ages of ${count(ages.sampled)} sampled slots in steps: half are below ${count(q["0.5"])}, ` +
                                 `nine of ten below ${count(q["0.9"])}, the oldest is ${count(q["1"])}.` },
        ages.bins.map((bin, i) => svg("rect", { class: "age", x: i + 0.06, width: 0.88,
                                                y: HEIGHT * (1 - bin.count / most), height: HEIGHT * (bin.count / most) },
          svg("title", {}, `${count(bin.from)} to ${count(bin.to)} steps: ${count(bin.count)}`))))),
    h("div", { class: "axis", "aria-hidden": "true" },
      h("span", {}, "0"), h("span", {}, count(Math.round(ages.bins[width - 1].to / 2))), h("span", {}, `${count(ages.bins[width - 1].to)} steps`)),
    h("figcaption", { class: "legend" }, h("span", {}, "median ", h("b", {}, count(q["0.5"]))),
      h("span", {}, "90 % below ", h("b", {}, count(q["0.9"]))), h("span", {}, "oldest ", h("b", {}, count(q["1"]))),
      h("span", { class: "quiet" }, `of ${count(ages.sampled)} sampled`)));
}

// A line without axes, for a row of a table.
export function spark(values, label) {
  const peak = Math.max(...values, 1);
  const points = values.map((value, i) => `${i},${(18 - (17 * value) / peak).toFixed(1)}`).join(" ");
  return svg("svg", { class: "spark", viewBox: `0 0 ${values.length - 1} 19`, preserveAspectRatio: "none", role: "img",
                      "aria-label": label },
             svg("polyline", { points }));
}

// A similarity between -1 and 1: what is below 0 is drawn as nothing.
export const bar = (similarity, className) =>
  h("span", { class: `bar ${className}`, "aria-hidden": "true" },
    h("i", { style: { "--part": `${Math.max(0, Math.min(1, similarity)) * 100}%` } }));
