// Completion of the filters of a search: `t` offers `tag:`, and `is:open tag:b` offers `is:open tag:bug`.

import { byId, h } from "./dom.js";

const VALUES = {
  is: () => ["open", "closed", "in_progress", "resolved", "duplicate"],
  status: () => optionsOf("status"),
  priority: () => optionsOf("priority"),
  tag: () => optionsOf("tag"),
  project: () => [],
  external: () => [],
  source: () => [],
  created: () => periods(),
  updated: () => periods(),
};

const optionsOf = (name) => [...byId("filters").elements[name].options].map((option) => option.value).filter(Boolean);

function periods() {
  const daysAgo = (days) => `>${new Date(Date.now() - days * 86400000).toISOString().slice(0, 10)}`;
  return [daysAgo(1), daysAgo(7), daysAgo(30)];
}

/** Return the texts that can complete a search. */
export function complete(text) {
  const [, before, minus, word] = /^(.*?)([-\u2013]?)([^\s"]*)$/su.exec(text);
  const [name, value] = word.toLowerCase().split(":", 2);
  if (value === undefined) {
    if (!name) return [];
    return Object.keys(VALUES).filter((field) => field.startsWith(name)).map((field) => `${before}${minus}${field}:`);
  }
  const values = Object.hasOwn(VALUES, name) ? VALUES[name]() : [];
  return values.filter((each) => each.startsWith(value) && each !== value).map((each) => `${before}${minus}${name}:${each}`);
}

/** Offer completions while a user types a search. */
export function start() {
  const input = byId("filters").elements.q;
  input.addEventListener("input", () => {
    byId("completions").replaceChildren(...complete(input.value).map((value) => h("option", { value })));
  });
}
