// One memory, live: how full it is, what it does, how old its slots are and what it forgot.

import { columns, histogram } from "./charts.js";
import { ago, bytes, count, h, latency, meter, pill, rate, share, tile } from "./dom.js";

const link = (name, kind, what) =>
  h("a", { href: `#/m/${encodeURIComponent(name)}/${kind}/${what}`, "data-key": `${kind}-${what}` }, what);

function evictions(memory) {
  if (memory.evictions.length === 0) {
    return h("p", { class: "empty" }, memory.live_slots < memory.capacity
      ? `Nothing yet: ${count(memory.capacity - memory.live_slots)} slots are still free.`
      : "Nothing since the server started.");
  }
  const names = ["When", "Slot", "Forgot", "For", "Age", "At step"];
  return h("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": "Recent evictions" }, h("table", {},
    h("thead", {}, h("tr", {}, names.map((name, i) => h("th", { scope: "col", class: i === 5 ? "number roomy" : i > 0 && "number" }, name)))),
    h("tbody", {}, memory.evictions.map((one) => h("tr", {},
      h("td", {}, ago(one.seconds_ago)),
      h("td", { class: "number" }, link(memory.name, "slot", String(one.slot))),
      h("td", { class: "number" }, link(memory.name, "value", one.old_value)),
      h("td", { class: "number" }, link(memory.name, "value", one.new_value)),
      h("td", { class: "number" }, count(one.age)),
      h("td", { class: "number roomy" }, count(one.step)))))));
}

function spec(memory) {
  const of = memory.spec;
  const rows = [["Key dimension", of.key_dim], ["Capacity", count(of.capacity)], ["Neighbors k", of.choose_k],
    ["Margin", +of.margin.toPrecision(6)], ["Inverse temperature", of.inverse_temperature], ["Age noise", count(of.age_noise)],
    ["Batch", of.batch], ["Merge on miss", of.merge_on_miss ?? "off"], ["Fold misses", of.fold_misses ?? "off"],
    ["Payloads a slot", of.payload_history], ["Partitions", of.partitions], ["Durability", of.durability], ["Seed", of.seed],
    ["Index", memory.index], ["Shards", memory.shards], ["Sessions", memory.sessions], ["Epoch", memory.epoch],
    ["Turn", count(memory.turn)], ["First kept turn", count(memory.first_kept_turn)],
    ["Uncertified rows", count(memory.uncertified_rows)], ["Audit passes", count(memory.audit.passes)],
    ["Last snapshot", memory.last_snapshot_seconds_ago === null ? "none known" : `${ago(memory.last_snapshot_seconds_ago)} ago`],
    ["Uid", memory.uid], ["State hash", memory.state_hash]];
  return h("details", { "data-key": "spec" }, h("summary", { "data-key": "spec-summary" }, "Specification and state"),
    h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value))))));
}

// What changes with every look; the explorer stands beside it and stays.
export function memoryFigures(memory) {
  const of = memory.seconds;
  const writes = [{ name: "reinforced", className: "hit", values: of.hits },
                  { name: "new slot", className: "insert", values: of.inserts },
                  { name: "evicted another", className: "evict", values: of.evictions }];
  return [
    memory.message && h("p", { class: "alarms" }, memory.message),
    h("dl", { class: "tiles" },
      h("div", { class: "tile" }, h("dt", {}, "Occupancy"), h("dd", {}, h("strong", {}, share(memory.live_slots, memory.capacity)),
        meter(memory.live_slots, memory.capacity, "Live slots"),
        h("span", { class: "quiet" }, `${count(memory.live_slots)} of ${count(memory.capacity)} slots`))),
      tile("Values", count(memory.distinct_values),
           memory.distinct_values ? `${(memory.live_slots / memory.distinct_values).toFixed(1)} slots each` : "none yet"),
      tile("Step", count(memory.step), `turn ${count(memory.turn)}`),
      tile("Turn p50", latency(memory.turn_p50_seconds), `p99 ${latency(memory.turn_p99_seconds)}`),
      tile("RAM", bytes(memory.ram_bytes), `${bytes(memory.stored_bytes)} stored`)),
    h("div", { class: "panels" },
      h("section", { class: "panel", "aria-labelledby": "writes" }, h("h2", { id: "writes" }, "Observations a second"),
        columns(writes, { label: "Observations a second" })),
      h("section", { class: "panel", "aria-labelledby": "ages" }, h("h2", { id: "ages" }, "Ages of slots"), histogram(memory.ages)),
      h("section", { class: "panel", "aria-labelledby": "reads" }, h("h2", { id: "reads" }, "Rows read a second"),
        columns([{ name: "rows", className: "read", values: of.rows_read }], { label: "Rows read a second" })),
      h("section", { class: "panel", "aria-labelledby": "slowest" }, h("h2", { id: "slowest" }, "Slowest turn of each second"),
        columns([{ name: "turn", className: "slow", values: of.slowest_seconds }],
                { label: "Slowest turn of each second", format: latency })),
      h("section", { class: "panel wide", "aria-labelledby": "evictions" }, h("h2", { id: "evictions" }, "Lately evicted"),
        evictions(memory)),
      h("section", { class: "panel wide" }, spec(memory))),
  ];
}

export const memoryHead = (memory) => [
  h("h1", { tabindex: -1 }, memory.name), pill(memory.state),
  h("span", { class: "quiet" }, `${rate(memory.rows_read_per_second)} rows read and ${rate(memory.observations_per_second)} observations a second`)];
