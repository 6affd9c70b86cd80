// The server: its memories, what is called, and what is wrong.

import { spark } from "./charts.js";
import { ago, bytes, count, h, latency, meter, pill, rate, share, tile } from "./dom.js";

export const alarms = (list) => list.length > 0 &&
  h("section", { class: "alarms", "aria-label": "Active alarms" },
    list.map((alarm) => h("p", {}, h("strong", {}, `Alarm ${alarm.name}`), ` of ${alarm.memory}, for ${ago(alarm.active_seconds)}: `,
                          alarm.message)));

function occupancy(memory) {
  if (memory.state === "loading") {
    return [meter(memory.slots_loaded, memory.slots_to_load, `Recovery of ${memory.name}`),
            h("small", {}, `recovering, ${share(memory.slots_loaded, memory.slots_to_load)}`)];
  }
  return [meter(memory.live_slots, memory.capacity, `Live slots of ${memory.name}`),
          h("small", {}, `${count(memory.live_slots)} of ${count(memory.capacity)}`)];
}

function memoryRow(memory) {
  return h("tr", {},
    h("th", { scope: "row" }, h("a", { href: `#/m/${encodeURIComponent(memory.name)}`, "data-key": `m-${memory.name}` }, memory.name),
      memory.message && h("small", { class: "bad" }, memory.message)),
    h("td", { "data-name": "State" }, pill(memory.state)),
    h("td", { "data-name": "Occupancy", class: "occupancy" }, occupancy(memory)),
    h("td", { "data-name": "Values", class: "number" }, count(memory.distinct_values)),
    h("td", { "data-name": "Step", class: "number" }, count(memory.step)),
    h("td", { "data-name": "Reads / s", class: "number" }, rate(memory.rows_read_per_second)),
    h("td", { "data-name": "Writes / s", class: "number" }, rate(memory.observations_per_second)),
    h("td", { "data-name": "Turn p99", class: "number" }, latency(memory.turn_p99_seconds)));
}

function memories(list) {
  if (list.length === 0) {
    return h("p", { class: "empty" }, "There is no memory that you may see. ",
             h("code", {}, "evokectl memory create faces --key-dim 128 --capacity 100000"), " makes one.");
  }
  const columns = ["Memory", "State", "Occupancy", "Values", "Step", "Reads / s", "Writes / s", "Turn p99"];
  return h("div", { class: "scroll" }, h("table", { class: "stack" },
    h("caption", { class: "unseen" }, "Memories; rates of the last ten seconds, latencies of the last minute"),
    h("thead", {}, h("tr", {}, columns.map((name, i) => h("th", { scope: "col", class: i > 2 && "number" }, name)))),
    h("tbody", {}, list.map(memoryRow))));
}

function calls(list) {
  if (list.length === 0) return h("p", { class: "empty" }, "Nobody has called in the last two minutes.");
  const columns = ["Method", "Last two minutes", "Calls / s", "Errors / s", "p50", "p99"];
  return h("div", { class: "scroll" }, h("table", { class: "stack" },
    h("caption", { class: "unseen" }, "gRPC calls by method; rates of the last ten seconds, latencies of the last minute"),
    h("thead", {}, h("tr", {}, columns.map((name, i) => h("th", { scope: "col", class: i > 1 && "number" }, name)))),
    h("tbody", {}, list.map((call) => h("tr", {},
      h("th", { scope: "row" }, h("span", { class: "quiet" }, `${call.method.split("/")[0]}/`), call.method.split("/")[1]),
      h("td", { "data-name": "Last two minutes" }, spark(call.calls, `Calls of ${call.method} in the last two minutes, at most ${Math.max(...call.calls)} a second`)),
      h("td", { "data-name": "Calls / s", class: "number" }, rate(call.per_second)),
      h("td", { "data-name": "Errors / s", class: call.errors_per_second > 0 ? "number bad" : "number" }, rate(call.errors_per_second)),
      h("td", { "data-name": "p50", class: "number" }, latency(call.p50_seconds)),
      h("td", { "data-name": "p99", class: "number" }, latency(call.p99_seconds)))))));
}

export function serverView(status) {
  const sum = (field) => status.calls.reduce((all, call) => all + call[field], 0);
  const busy = status.calls.filter((call) => call.calls.some((n) => n > 0));
  return [
    alarms(status.alarms),
    h("h1", { tabindex: -1 }, "Server"),
    h("dl", { class: "tiles" },
      tile("Up", ago(status.uptime_seconds), `version ${status.version}`),
      tile("Calls", `${rate(sum("per_second"))} / s`, `${rate(sum("errors_per_second"))} / s not OK`),
      tile("Memories", count(status.memories.length), `seen as ${status.caller.name}, ${status.caller.role}`),
      tile("RAM planned", bytes(status.memory_planned_bytes),
           status.memory_budget_bytes ? `of ${bytes(status.memory_budget_bytes)}` : "no budget"),
      tile("Instructions", status.simd, `fingerprint ${status.arithmetic_fingerprint.slice(0, 8)}`)),
    h("section", { "aria-labelledby": "memories" }, h("h2", { id: "memories" }, "Memories"), memories(status.memories)),
    h("section", { "aria-labelledby": "calls" }, h("h2", { id: "calls" }, "Calls"), calls(busy)),
    h("p", { class: "quiet foot" }, `Instance ${status.instance} · commit ${status.commit} · configuration ${status.config_digest} · `,
      h("a", { href: "/statusz" }, "/statusz"), " · ", h("a", { href: "/metrics" }, "/metrics")),
  ];
}
