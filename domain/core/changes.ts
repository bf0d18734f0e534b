import { isDeepStrictEqual } from "node:util";

/** A partial update: absent leaves a field as it is, null clears it. */
export type Patch<Fields> = {
  readonly [K in keyof Fields]?: Fields[K] | (undefined extends Fields[K] ? null : never);
};

/**
 * What of a partial update differs from what is known: the facts worth recording. Values are compared deeply, the
 * order of keys does not matter; clearing what is not there is no change.
 */
export function changesIn<Fields extends object>(known: Fields, patch: Patch<Fields>): Patch<Fields> {
  const changed = Object.entries(patch).filter(
    ([field, value]) =>
      value !== undefined && !isDeepStrictEqual(value ?? undefined, (known as Record<string, unknown>)[field]),
  );
  return Object.fromEntries(changed) as Patch<Fields>;
}

/** The fields after a partial update. */
export function patched<Fields extends object>(known: Fields, patch: Patch<Fields>): Fields {
  const fields = { ...known } as Record<string, unknown>;
  for (const [field, value] of Object.entries(patch)) {
    if (value === null) delete fields[field];
    else if (value !== undefined) fields[field] = value;
  }
  return fields as Fields;
}

/** Fields without the absent ones and the nulls: a first version made of a partial update. */
export function present<Fields extends object>(patch: Patch<Fields>): Fields {
  return patched({} as Fields, patch);
}
