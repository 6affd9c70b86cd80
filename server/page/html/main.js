// What is shown: the address behind '#' decides, and every two seconds the figures are asked for again.
//
//   #/                          the server
//   #/m/NAME                    a memory
//   #/m/NAME/slot/3             ... and a slot in its explorer
//   #/m/NAME/value/17           ... and a value

import * as api from "./api.js";
import { ago, h, pill, say, swap } from "./dom.js";
import { answerView, explorerForm, slotView, valueView } from "./explorer_view.js";
import { memoryFigures, memoryHead } from "./memory_view.js";
import { serverView } from "./server_view.js";

const EVERY_MS = 2000;
const byId = (id) => document.getElementById(id);
let paused = false;
let shown = {};        // {name, explored} of the view that is there
let round = 0;         // counts what was asked for: an answer to an earlier one is late
let refreshing = false;

function route() {
  const [, kind, name, what, which] = location.hash.replace(/^#/, "").split("/").map(decodeURIComponent);
  return kind === "m" && name ? { name, what, which } : {};
}

// --- signing in -----------------------------------------------------------------------------------------------------

function showSignIn(message) {
  shown = {};
  byId("leave").hidden = byId("pause").hidden = true;
  swap(byId("notice"));
  swap(byId("view"), h("section", { class: "signin" },
    h("h1", { tabindex: -1 }, "Sign in"),
    h("p", {}, "This server wants a token, the same as for its API. You will see the memories that the token may name."),
    message && h("p", { class: "bad", role: "alert" }, message),
    h("form", { onsubmit: (event) => {
      event.preventDefault();
      const fields = event.target.elements;
      api.signIn(fields.token.value.trim(), fields.keep.checked);
      refresh();
    } },
      h("label", {}, "Token", h("input", { name: "token", id: "token", type: "password", autocomplete: "off", required: true })),
      h("label", { class: "check" }, h("input", { name: "keep", type: "checkbox" }), "Keep it until this tab is closed"),
      h("button", { class: "main" }, "Sign in"))));
  byId("token").focus();
}

function onError(error) {
  if (error.status === 401) {
    const wrong = api.signedIn();
    api.signOut();
    return showSignIn(wrong ? error.message : "");
  }
  if (shown.name === undefined) swap(byId("view"));  // nothing is coming
  swap(byId("notice"), h("p", { class: "alarms" }, error.message, error.reason && h("small", {}, ` (${error.reason})`)));
}

// --- the explorer ---------------------------------------------------------------------------------------------------

async function explore(name, load, view) {
  const mine = ++round;
  const place = byId("found");
  place.setAttribute("aria-busy", "true");
  let nodes;
  try {
    nodes = view(name, await load());
  } catch (error) {
    if (error.status === 401) return onError(error);
    nodes = [h("p", { class: "empty bad", role: "alert" }, error.message)];
  }
  if (mine !== round || place !== byId("found")) return;
  place.removeAttribute("aria-busy");
  swap(place, nodes);
  const heading = place.querySelector("h3");
  if (heading) {
    heading.focus({ preventScroll: true });
    byId("explorer").scrollIntoView({ block: "start" });
    say(heading.textContent);
  }
}

function askEmbedding(name, text) {
  const numbers = text.split(/[\s,;[\]]+/).filter(Boolean).map(Number);
  if (numbers.length === 0 || numbers.some(Number.isNaN)) {
    return swap(byId("found"), h("p", { class: "empty bad", role: "alert" }, "These are not all numbers."));
  }
  explore(name, () => api.query(name, numbers), answerView);
}

function exploreRoute({ name, what, which }) {
  const wanted = what && which ? `${what}/${which}` : "";
  if (shown.explored === wanted) return;
  shown.explored = wanted;
  if (what === "slot") explore(name, () => api.neighborsOf(name, which), slotView);
  else if (what === "value") explore(name, () => api.slotsOfValue(name, which), valueView);
  else swap(byId("found"), h("p", { class: "empty" }, "Give a slot or a value, or choose one of those lately evicted, ",
                             "to see what lies near and why the memory answers as it does."));
  const field = byId(`ask-${what}`);
  if (field) field.value = which;
}

// --- what is live ---------------------------------------------------------------------------------------------------

function showMemory(memory, at) {
  document.title = `${memory.name} · Evoke`;
  if (shown.name !== memory.name) {
    swap(byId("view"),
      h("nav", { "aria-label": "Where you are" }, h("a", { href: "#/" }, "Server"), " / ", h("span", {}, memory.name)),
      h("div", { class: "heading", id: "head" }, memoryHead(memory)),
      h("div", { id: "figures" }),
      h("section", { class: "panel", id: "explorer", "aria-labelledby": "explore" },
        h("h2", { id: "explore" }, "Explorer"),
        explorerForm((kind, what) => { location.hash = `#/m/${encodeURIComponent(memory.name)}/${kind}/${what}`; },
                     (text) => askEmbedding(memory.name, text)),
        h("div", { id: "found" })));
    shown = { name: memory.name };
    if (!at.what) byId("head").querySelector("h1").focus();
  }
  swap(byId("head"), memoryHead(memory));
  swap(byId("figures"), memoryFigures(memory));
  exploreRoute(at);
}

function showServer(status) {
  document.title = "Evoke";
  const first = shown.name !== "";
  swap(byId("view"), serverView(status));
  shown = { name: "" };
  if (first && document.activeElement === document.body) byId("view").querySelector("h1").focus({ preventScroll: true });
}

async function refresh() {
  if (refreshing) return;
  refreshing = true;
  const at = route();
  try {
    const answer = at.name ? await api.memory(at.name) : await api.status();
    if (at.name === route().name) {
      swap(byId("notice"));
      byId("leave").hidden = !api.signedIn();
      byId("pause").hidden = false;
      if (at.name) showMemory(answer, route());
      else showServer(answer);
      if (!at.name) swap(byId("server"), pill(answer.state), h("span", { class: "quiet" }, ` up ${ago(answer.uptime_seconds)}`));
    }
  } catch (error) {
    if (!(error instanceof api.ApiError)) throw error;
    if (error.status === 0) swap(byId("server"), pill("unreachable"));
    onError(error);
  } finally {
    refreshing = false;
  }
  if (at.name !== route().name) refresh();
}

byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  byId("pause").textContent = paused ? "Go on" : "Pause";
  say(paused ? "Figures stand still." : "Figures are live.");
  if (!paused) refresh();
});
byId("leave").addEventListener("click", () => {
  api.signOut();
  location.hash = "#/";
  swap(byId("server"));
  refresh();
});
addEventListener("hashchange", () => {
  const at = route();
  if (shown.name && shown.name === at.name) exploreRoute(at);
  else refresh();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !paused) refresh();
});
setInterval(() => {
  if (!paused && !document.hidden && !byId("token")) refresh();
}, EVERY_MS);
refresh();
