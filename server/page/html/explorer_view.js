// The explorer: a slot, a value or an embedding, and why the memory answers as it does.

import { bar } from "./charts.js";
import { count, h, share } from "./dom.js";

const href = (name, kind, what) => `#/m/${encodeURIComponent(name)}/${kind}/${what}`;
const percent = (weight) => (weight > 0 && weight < 0.001 ? "< 0.1 %" : share(weight, 1));

const isImage = (list) => list.length > 0 && ["png", "jpeg"].includes(list[list.length - 1].kind);

// What was stored with an observation. An image is drawn by the browser's decoder; the rest is text.
function payload(one, note) {
  const about = `step ${count(one.step)}${note ? `, ${note}` : ""}, ${count(one.bytes)} bytes`;
  if (isImage([one])) {
    return h("figure", { class: "payload" },
      h("img", { src: `data:image/${one.kind};base64,${one.data}`, alt: `Image of ${about}`, loading: "lazy" }), h("figcaption", {}, about));
  }
  const text = one.kind === "bytes" ? `${one.data.replace(/(..)/g, "$1 ").trim()}${one.bytes * 2 > one.data.length ? " …" : ""}` : one.data;
  return h("figure", { class: "payload" }, h("pre", { class: one.kind, tabindex: text.length > 200 ? 0 : undefined }, text),
           h("figcaption", {}, about));
}

function payloads(list, writtenStep) {
  return list.map((one, i) => payload(one, one.step === writtenStep ? "latest" : i === 0 ? "first" : ""));
}

function thumbnail(list) {
  const latest = list[list.length - 1];
  if (!latest) return h("span", { class: "quiet" }, "–");
  if (isImage(list)) {
    return h("img", { class: "thumb", src: `data:image/${latest.kind};base64,${latest.data}`, alt: `Image of step ${latest.step}`, loading: "lazy" });
  }
  const text = latest.kind === "bytes" ? `${latest.data.slice(0, 16)}…` : latest.data;
  return h("code", { class: "snippet", title: text.slice(0, 300) }, text.slice(0, 40));
}

// Softmax weights over all neighbors that the memory would use: [[value, similarity], ...] by descending similarity.
function weightsOf(pairs, inverseTemperature) {
  const raw = pairs.map(([, similarity]) => Math.exp(inverseTemperature * (similarity - pairs[0][1])));
  const sum = raw.reduce((all, one) => all + one, 0);
  return raw.map((one) => one / sum);
}

const nearest = (reply, wanted) => reply.neighbors.find(wanted);
const place = (n) => `slot ${n.slot} at ${n.similarity.toFixed(3)}`;

function whyOfSlot(reply) {
  const { slot, answer, values_and_similarities: pairs } = reply;
  const same = nearest(reply, (n) => n.value === slot.value);
  const other = nearest(reply, (n) => n.value !== slot.value);
  const lines = [h("li", {}, "Asked for exactly this key, the memory answers ", h("b", {}, answer.value),
                   ` with confidence ${percent(answer.confidence)}.`)];
  if (pairs.length > 0) {
    const agrees = pairs[0][0] === slot.value;
    lines.push(h("li", { class: agrees ? "good" : "contested" }, "Without this slot it would answer ", h("b", {}, pairs[0][0]),
                 ` with confidence ${percent(weightsOf(pairs, answer.inverse_temperature)[0])}: `,
                 agrees ? "another slot of its value is the nearest." : "a slot of another value is the nearest."));
  }
  if (same) lines.push(h("li", {}, `The nearest other slot of value ${slot.value}: ${place(same)}.`));
  else lines.push(h("li", {}, `Among the nearest ${reply.neighbors.length} no other slot has value ${slot.value}.`));
  if (other) lines.push(h("li", {}, `The nearest slot of another value: ${place(other)}, of value `, h("b", {}, other.value),
                          `; its similarity is ${(1 - other.similarity).toFixed(3)} below that of the key to itself.`));
  return h("ul", { class: "why" }, lines);
}

function whyOfAnswer(reply) {
  const { answer } = reply;
  if (!answer.answered) return h("p", { class: "empty" }, "The memory is empty: it has no answer.");
  const other = nearest(reply, (n) => n.value !== answer.value);
  const first = reply.neighbors[0];
  return h("ul", { class: "why" },
    h("li", {}, "The memory answers ", h("b", {}, answer.value), ` with confidence ${percent(answer.confidence)}, from ${place(first)}.`),
    other && h("li", { class: first.similarity - other.similarity < 0.1 ? "contested" : "good" },
      `The nearest slot of another value: ${place(other)}, of value `, h("b", {}, other.value),
      `, ${(first.similarity - other.similarity).toFixed(3)} behind.`));
}

// `weights` of the neighbors that are shown, and what the column is called.
function neighbors(name, reply, value, weights, weightName) {
  if (reply.neighbors.length === 0) return h("p", { class: "empty" }, "There are no neighbors.");
  const names = ["", "Slot", "Value", "Similarity", weightName, "Age", "Hits"];
  return h("div", { class: "scroll" }, h("table", { class: "neighbors" },
    h("caption", {}, `The nearest ${reply.neighbors.length} of ${count(reply.values_and_similarities.length)} neighbors; `,
      h("span", { class: "same key" }, `value ${value}`), " and ", h("span", { class: "other key" }, "other values")),
    h("thead", {}, h("tr", {}, names.map((column, i) => h("th", { scope: "col", class: i > 2 && "number" }, column || h("span", { class: "unseen" }, "Latest payload"))))),
    h("tbody", {}, reply.neighbors.map((n, i) => {
      const kind = n.value === value ? "same" : "other";
      return h("tr", { class: kind },
        h("td", {}, n.payloads_known ? thumbnail(n.payloads) : h("span", { class: "quiet", title: "written again meanwhile" }, "–")),
        h("th", { scope: "row" }, h("a", { href: href(name, "slot", n.slot) }, String(n.slot))),
        h("td", {}, h("a", { class: `value ${kind}`, href: href(name, "value", n.value) }, n.value)),
        h("td", { class: "number similarity" }, bar(n.similarity, kind), h("span", {}, n.similarity.toFixed(3))),
        h("td", { class: "number", "data-name": "weight" }, percent(weights[i])),
        h("td", { class: "number", "data-name": "age" }, count(n.age)),
        h("td", { class: "number", "data-name": "hits" }, count(n.hits)));
    }))));
}

function slotHead(name, slot) {
  return [h("h3", { tabindex: -1 }, `Slot ${slot.slot}`),
    h("dl", { class: "tiles small" }, [["Value", h("a", { href: href(name, "value", slot.value) }, slot.value)],
      ["Age", `${count(slot.age)} steps`], ["Hits", count(slot.hits)], ["Written at step", count(slot.written_step)]]
      .map(([term, what]) => h("div", { class: "tile" }, h("dt", {}, term), h("dd", {}, h("strong", {}, what))))),
    slot.payloads.length > 0
      ? h("div", { class: "gallery", role: "group", "aria-label": "Payloads" }, payloads(slot.payloads, slot.written_step))
      : h("p", { class: "quiet" }, "Nothing was stored with it.")];
}

export const slotView = (name, reply) => [...slotHead(name, reply.slot),
  h("h4", {}, "Why"), whyOfSlot(reply),
  neighbors(name, reply, reply.slot.value, weightsOf(reply.values_and_similarities, reply.answer.inverse_temperature),
            "Weight without it")];

export const answerView = (name, reply) => [h("h3", { tabindex: -1 }, "Answer"), whyOfAnswer(reply),
  reply.answer.answered && neighbors(name, reply, reply.answer.value, reply.neighbors.map((n) => n.weight), "Weight")];

export function valueView(name, reply) {
  const [of] = reply.values;
  if (of.slots.length === 0) {
    return [h("h3", { tabindex: -1 }, `Value ${of.value}`), h("p", { class: "empty" }, "No live slot has it: it was never taught, or is forgotten.")];
  }
  return [h("h3", { tabindex: -1 }, `Value ${of.value}`),
    h("p", {}, `${count(of.live_slots)} live slot${of.live_slots === 1 ? "" : "s"}, ${count(of.observations)} observation${of.observations === 1 ? "" : "s"} in all`,
      of.slots.length < of.live_slots ? `; the ${of.slots.length} written last:` : "."),
    h("ul", { class: "cards" }, of.slots.map((slot) => h("li", {},
      h("a", { class: isImage(slot.payloads) ? "card" : "card text", href: href(name, "slot", slot.slot) }, thumbnail(slot.payloads), h("strong", {}, `Slot ${slot.slot}`),
        h("span", { class: "quiet" }, `age ${count(slot.age)}, ${count(slot.hits)} hit${slot.hits === 1 ? "" : "s"}`)))))];
}

// The form above the results; `go(kind, what)` is called with what was asked for.
export function explorerForm(go, ask) {
  const field = (kind, label, properties) => h("form", { class: "ask", onsubmit: (event) => {
    event.preventDefault();
    const what = event.target.elements.what.value.trim();
    if (what) go(kind, what);
  } }, h("label", {}, label, h("input", { name: "what", autocomplete: "off", required: true, ...properties })),
    h("button", {}, "Look"));
  return h("div", { class: "asks" },
    field("slot", "Slot", { id: "ask-slot", inputmode: "numeric", pattern: "[0-9]+", title: "A whole number from 0 on", placeholder: "0" }),
    field("value", "Value", { id: "ask-value", inputmode: "numeric", pattern: "-?[0-9]+", title: "A whole number", placeholder: "17" }),
    h("details", { class: "embedding" }, h("summary", {}, "Embedding"),
      h("form", { onsubmit: (event) => {
        event.preventDefault();
        ask(event.target.elements.numbers.value);
      } }, h("label", {}, "Numbers, apart by commas or blanks; any scale",
             h("textarea", { name: "numbers", rows: 3, required: true, spellcheck: "false" })), h("button", {}, "Ask"))));
}
