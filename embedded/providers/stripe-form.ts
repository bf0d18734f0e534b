/** Parameters of a request in Stripe's form encoding: `metadata[orgId]=…`, `items[0][price]=…`. */
export type FormValue = string | FormValue[] | { [name: string]: FormValue };
export type Form = { [name: string]: FormValue };

/** Reads Stripe's form encoding; brackets name members, numbers and `[]` name places in a list. */
export function parseForm(encoded: string): Form {
  const form: Form = {};
  for (const [name, value] of new URLSearchParams(encoded)) {
    const path = name.split(/[[\]]+/).filter((part, index) => index === 0 || part !== "");
    put(form, name.endsWith("[]") ? [...path, ""] : path, value);
  }
  return listed(form) as Form;
}

function put(form: Form, path: readonly string[], value: string): void {
  let place = form;
  for (const part of path.slice(0, -1)) {
    const next = Object.hasOwn(place, part) ? place[part] : undefined;
    const inner = typeof next === "object" && !Array.isArray(next) ? next : {};
    Object.defineProperty(place, part, { value: inner, enumerable: true, writable: true, configurable: true });
    place = inner;
  }
  const last = path.at(-1) || String(Object.keys(place).length);
  Object.defineProperty(place, last, { value, enumerable: true, writable: true, configurable: true });
}

/** Members named 0, 1, 2 … are a list. */
function listed(value: FormValue): FormValue {
  if (typeof value === "string") return value;
  const entries = Object.entries(value).map(([name, inner]) => [name, listed(inner)] as const);
  if (entries.length > 0 && entries.every(([name], index) => name === String(index))) {
    return entries.map(([, inner]) => inner);
  }
  return Object.fromEntries(entries);
}
