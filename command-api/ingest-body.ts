/**
 * A body as facts are made of: at its top a null stays, because it clears a field; further down an absent member, a
 * null and an empty text are the same, and none of them is kept.
 */
export function withoutAbsent<Body extends object>(body: Body): Body {
  return Object.fromEntries(
    Object.entries(body).flatMap(([field, value]) => {
      if (value === undefined) return [];
      return [[field, value === "" ? null : withoutAbsentInside(value)]];
    }),
  ) as Body;
}

function withoutAbsentInside(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutAbsentInside);
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(([, member]) => member !== undefined && member !== null && member !== "");
  return Object.fromEntries(kept.map(([name, member]) => [name, withoutAbsentInside(member)]));
}
